// Blocks as MLX's codes, scales and biases: the same numbers in another order.
#include <cmath>

#include "kernels/ggml-inl.h"
#include "kernels/ggml.h"

namespace mlxmill::kernels {
namespace {

using base::GgmlType;
using std::uint8_t;

void store_u16(std::uint16_t value, uint8_t* to) {
  to[0] = static_cast<uint8_t>(value & 255);
  to[1] = static_cast<uint8_t>(value >> 8);
}

bool is_finite_f16(std::uint16_t h) { return (h & 0x7C00) != 0x7C00; }

// Nibble k of 2 n: of the low nibbles of n bytes, then of their high ones.
void pair_nibbles(const uint8_t* from, std::size_t n, uint8_t* to) {
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t first = 2 * k % n;
    const int shift = 2 * k < n ? 0 : 4;
    const int low = from[first] >> shift & 15;
    const int high = from[first + 1] >> shift & 15;
    to[k] = static_cast<uint8_t>(low | high << 4);
  }
}

// 32 codes of 5 bits from their nibbles and top bits: 8 codes in 5 bytes.
void pack_5_bits(const uint8_t* nibbles, const uint8_t* top, uint8_t* to) {
  for (std::size_t run = 0; run < 4; ++run) {
    std::uint64_t bits = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      const std::size_t code = run * 8 + k;
      const unsigned low = nibbles[code % 16] >> code / 16 * 4 & 15u;
      const unsigned high = top[run] >> k & 1u;
      bits |= std::uint64_t{low | high << 4} << 5 * k;
    }
    for (std::size_t b = 0; b < 5; ++b) to[run * 5 + b] = static_cast<uint8_t>(bits >> 8 * b);
  }
}

struct Affine {
  std::size_t minimum;  // Where the block's minimum lies; 0 for a bias of `zero` scales.
  std::size_t codes;    // Where the codes begin, in front of them the top bits.
  int bits;
  int zero;
};

Affine affine_of(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return {0, 2, 4, 8};
    case GgmlType::kQ4_1:
      return {2, 4, 4, 0};
    case GgmlType::kQ5_0:
      return {0, 6, 5, 16};
    case GgmlType::kQ5_1:
      return {2, 8, 5, 0};
    default:
      return {0, 2, 8, 128};  // Q8_0
  }
}

void repack_codes(const Affine& layout, const uint8_t* block, uint8_t* to) {
  const uint8_t* codes = block + layout.codes;
  if (layout.bits == 4) {
    pair_nibbles(codes, 16, to);
  } else if (layout.bits == 5) {
    pack_5_bits(codes, codes - 4, to);
  } else {
    // From -128..127 to 0..255.
    for (std::size_t k = 0; k < 32; ++k) to[k] = codes[k] ^ 0x80;
  }
}

std::size_t repack_affine(GgmlType type, const uint8_t* block, std::size_t n, QuantizedOut out) {
  const Affine layout = affine_of(type);
  const std::size_t bytes = base::ggml_type_info(type).block_bytes;
  auto* codes = static_cast<uint8_t*>(out.codes);
  auto* scales = static_cast<uint8_t*>(out.scales);
  auto* biases = static_cast<uint8_t*>(out.biases);
  std::size_t inexact = 0;
  for (std::size_t i = 0; i < n; ++i, block += bytes) {
    const std::uint16_t scale = load_u16(block);
    // A power of two times a number of F16 is one, but for overflow; its subnormals included.
    const std::uint16_t bias =
        layout.zero == 0
            ? load_u16(block + layout.minimum)
            : ref::f16_from_f32(ref::f32_from_f16(scale) * static_cast<float>(-layout.zero));
    if (!is_finite_f16(scale) || !is_finite_f16(bias)) ++inexact;
    store_u16(scale, scales + 2 * i);
    store_u16(bias, biases + 2 * i);
    repack_codes(layout, block, codes + 4 * static_cast<std::size_t>(layout.bits) * i);
  }
  return inexact;
}

// E8M0 and E4M3 are those of ggml, but for MLX's NaN and infinity and the sign that ggml ignores.
template <std::size_t kScales, std::size_t kRun>
std::size_t repack_e2m1(unsigned first_inexact, const uint8_t* block, std::size_t n,
                        QuantizedOut out) {
  auto* codes = static_cast<uint8_t*>(out.codes);
  auto* scales = static_cast<uint8_t*>(out.scales);
  std::size_t inexact = 0;
  for (std::size_t i = 0; i < n; ++i, block += kScales * (kRun + 1)) {
    bool exact = true;
    for (std::size_t s = 0; s < kScales; ++s) {
      exact = exact && block[s] < first_inexact;
      scales[i * kScales + s] = block[s];
      const std::size_t at = kScales + s * kRun;
      pair_nibbles(block + at, kRun, codes + (i * kScales + s) * kRun);
    }
    if (!exact) ++inexact;
  }
  return inexact;
}

}  // namespace

std::optional<Scheme> ggml_repack_scheme(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
    case GgmlType::kQ4_1:
    case GgmlType::kQ5_0:
    case GgmlType::kQ5_1:
    case GgmlType::kQ8_0:
      return Scheme{Mode::kAffine, affine_of(type).bits, 32};
    case GgmlType::kMXFP4:
      return Scheme{Mode::kMxfp4, 4, 32};
    case GgmlType::kNVFP4:
      return Scheme{Mode::kNvfp4, 4, 16};
    default:
      return std::nullopt;
  }
}

std::size_t repack_ggml(GgmlType type, const void* blocks, std::size_t n_blocks, QuantizedOut out) {
  const auto* first = static_cast<const uint8_t*>(blocks);
  if (type == GgmlType::kMXFP4) return repack_e2m1<1, 16>(255, first, n_blocks, out);
  if (type == GgmlType::kNVFP4) return repack_e2m1<4, 8>(127, first, n_blocks, out);
  return repack_affine(type, first, n_blocks, out);
}

}  // namespace mlxmill::kernels

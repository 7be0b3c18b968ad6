// The IQ types below 4 bits: blocks of 256 weights, each 4 or 8 of which are one point of a grid.
#include <array>
#include <bit>

#include "kernels/ggml-inl.h"
#include "kernels/ggml_iq1_grid.h"
#include "kernels/ggml_iq_grids.h"

namespace mlxmill::kernels {
namespace {

using base::GgmlType;
using std::uint8_t;

template <std::size_t kDim, std::size_t kN>
using Grid = std::array<std::array<std::int8_t, kDim>, kN>;

// The points' values from their indexes.
template <std::size_t kDim, std::size_t kN, std::size_t kValues>
constexpr Grid<kDim, kN> expand(const std::array<std::uint16_t, kN>& points,
                                const std::array<std::int8_t, kValues>& values) {
  constexpr std::size_t kBits = 16 / kDim;
  Grid<kDim, kN> grid{};
  for (std::size_t i = 0; i < kN; ++i) {
    for (std::size_t j = 0; j < kDim; ++j) {
      grid[i][j] = values[points[i] >> kBits * j & ((1u << kBits) - 1)];
    }
  }
  return grid;
}

constexpr std::array<std::int8_t, 3> kIq1Values = {-1, 0, 1};
constexpr std::array<std::int8_t, 3> kIq2Values = {8, 25, 43};
constexpr std::array<std::int8_t, 8> kIq3XxsValues = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr std::array<std::int8_t, 8> kIq3SValues = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr auto kIq1 = expand<8>(kIq1Grid, kIq1Values);
constexpr auto kIq2Xxs = expand<8>(kIq2XxsGrid, kIq2Values);
constexpr auto kIq2Xs = expand<8>(kIq2XsGrid, kIq2Values);
constexpr auto kIq2S = expand<8>(kIq2SGrid, kIq2Values);
constexpr auto kIq3Xxs = expand<4>(kIq3XxsGrid, kIq3XxsValues);
constexpr auto kIq3S = expand<4>(kIq3SGrid, kIq3SValues);

// Seven signs are stored; the eighth makes their number even.
constexpr unsigned even_signs(unsigned seven) {
  return seven | (static_cast<unsigned>(std::popcount(seven)) & 1) << 7;
}

// scale * point, the weights whose bits are set negated.
void put_point(const std::array<std::int8_t, 8>& point, float scale, unsigned signs, float* out) {
  static constexpr std::uint32_t kBits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  for (std::size_t j = 0; j < 8; ++j) {
    const std::uint32_t flip = (signs & kBits[j]) == 0 ? 0 : 0x80000000;
    out[j] = ref::float_of(ref::bits_of(scale * static_cast<float>(point[j])) ^ flip);
  }
}

std::array<std::int8_t, 8> join(const std::array<std::int8_t, 4>& a,
                                const std::array<std::int8_t, 4>& b) {
  return {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]};
}

// d * (s + 1/2) * step, in this order.
float half_step_scale(float d, unsigned scale, float step) {
  return d * (0.5f + static_cast<float>(scale)) * step;
}

// Per 32 weights: 4 bytes of points, 4 of signs and scale.
void decode_iq2_xxs(const uint8_t (&block)[66], float (&out)[256]) {
  const float d = load_f16(block);
  for (std::size_t group = 0; group < 8; ++group) {
    const uint8_t* points = block + 2 + group * 8;
    const std::uint32_t rest = load_u32(points + 4);
    const float scale = half_step_scale(d, rest >> 28, 0.25f);
    for (std::size_t i = 0; i < 4; ++i) {
      put_point(kIq2Xxs[points[i]], scale, even_signs(rest >> 7 * i & 127),
                out + group * 32 + i * 8);
    }
  }
}

// Per 8 weights 16 bits: point and signs; per 16 a nibble of scale.
void decode_iq2_xs(const uint8_t (&block)[74], float (&out)[256]) {
  const float d = load_f16(block);
  for (std::size_t i = 0; i < 32; ++i) {
    const unsigned code = load_u16(block + 2 + i * 2);
    const float scale = half_step_scale(d, nibble(block + 66, i / 2), 0.25f);
    put_point(kIq2Xs[code & 511], scale, even_signs(code >> 9), out + i * 8);
  }
}

// 32 bytes of points, 32 of signs, 8 of the points' top bits, 8 of scales.
void decode_iq2_s(const uint8_t (&block)[82], float (&out)[256]) {
  const float d = load_f16(block);
  for (std::size_t i = 0; i < 32; ++i) {
    const unsigned high = block[66 + i / 4] >> i % 4 * 2 & 3u;
    const float scale = half_step_scale(d, nibble(block + 74, i / 2), 0.25f);
    put_point(kIq2S[block[2 + i] | high << 8], scale, block[34 + i], out + i * 8);
  }
}

// 64 bytes of points, then per 32 weights 4 of signs and scale.
void decode_iq3_xxs(const uint8_t (&block)[98], float (&out)[256]) {
  const float d = load_f16(block);
  for (std::size_t group = 0; group < 8; ++group) {
    const std::uint32_t rest = load_u32(block + 66 + group * 4);
    const float scale = half_step_scale(d, rest >> 28, 0.5f);
    const uint8_t* points = block + 2 + group * 8;
    for (std::size_t i = 0; i < 4; ++i) {
      put_point(join(kIq3Xxs[points[2 * i]], kIq3Xxs[points[2 * i + 1]]), scale,
                even_signs(rest >> 7 * i & 127), out + group * 32 + i * 8);
    }
  }
}

// 64 bytes of points, 8 of their top bits, 32 of signs, 4 of scales.
void decode_iq3_s(const uint8_t (&block)[110], float (&out)[256]) {
  const float d = load_f16(block);
  for (std::size_t i = 0; i < 32; ++i) {
    const uint8_t* points = block + 2 + 2 * i;
    const unsigned high = block[66 + i / 4] >> i % 4 * 2;
    const float scale = d * static_cast<float>(1 + 2 * nibble(block + 106, i / 4));
    put_point(join(kIq3S[points[0] | (high & 1) << 8], kIq3S[points[1] | (high >> 1 & 1) << 8]),
              scale, block[74 + i], out + i * 8);
  }
}

void put_shifted(const std::array<std::int8_t, 8>& point, float scale, bool down, float* out) {
  const float shift = down ? -0.125f : 0.125f;
  for (std::size_t j = 0; j < 8; ++j) out[j] = scale * (static_cast<float>(point[j]) + shift);
}

// 32 bytes of points, then per 32 weights 16 bits: their top bits, scale and shift.
void decode_iq1_s(const uint8_t (&block)[50], float (&out)[256]) {
  const float d = load_f16(block);
  for (std::size_t i = 0; i < 32; ++i) {
    const unsigned rest = load_u16(block + 34 + i / 4 * 2);
    const float scale = d * static_cast<float>(2 * (rest >> 12 & 7) + 1);
    const unsigned high = rest >> i % 4 * 3 & 7;
    put_shifted(kIq1[block[2 + i] | high << 8], scale, (rest & 0x8000) != 0, out + i * 8);
  }
}

// 32 bytes of points, 16 of their top bits and shifts, 8 of scales, in whose four top nibbles is d.
void decode_iq1_m(const uint8_t (&block)[56], float (&out)[256]) {
  const uint8_t* scales = block + 48;
  unsigned d_bits = 0;
  for (std::size_t i = 0; i < 4; ++i) d_bits |= unsigned{scales[2 * i + 1]} >> 4 << 4 * i;
  const float d = ref::f32_from_f16(static_cast<std::uint16_t>(d_bits));
  for (std::size_t i = 0; i < 32; ++i) {
    const unsigned three = load_u16(scales + i / 8 * 2) >> i / 2 % 4 * 3 & 7u;
    const float scale = d * static_cast<float>(2 * three + 1);
    const unsigned rest = nibble(block + 32, i);
    put_shifted(kIq1[block[i] | (rest & 7) << 8], scale, (rest & 8) != 0, out + i * 8);
  }
}

}  // namespace

GgmlDecoder ggml_iq_decoder(GgmlType type) {
  switch (type) {
    case GgmlType::kIQ2_XXS:
      return decoder<GgmlType::kIQ2_XXS, 256, 66, decode_iq2_xxs>();
    case GgmlType::kIQ2_XS:
      return decoder<GgmlType::kIQ2_XS, 256, 74, decode_iq2_xs>();
    case GgmlType::kIQ2_S:
      return decoder<GgmlType::kIQ2_S, 256, 82, decode_iq2_s>();
    case GgmlType::kIQ3_XXS:
      return decoder<GgmlType::kIQ3_XXS, 256, 98, decode_iq3_xxs>();
    case GgmlType::kIQ3_S:
      return decoder<GgmlType::kIQ3_S, 256, 110, decode_iq3_s>();
    case GgmlType::kIQ1_S:
      return decoder<GgmlType::kIQ1_S, 256, 50, decode_iq1_s>();
    case GgmlType::kIQ1_M:
      return decoder<GgmlType::kIQ1_M, 256, 56, decode_iq1_m>();
    default:
      return nullptr;
  }
}

}  // namespace mlxmill::kernels

// Codes and their parameters in AVX-512 registers, for the engines in x86_bf16.h.
#pragma once

#include "kernels/x86_bf16.h"

#if MLXMILL_HAS_X86_BF16

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/matmul_engine.h"

MLXMILL_X86_BF16_BEGIN
namespace mlxmill::kernels::avx512 {

/// How the weights of one row lie in memory.
enum class Layout { kPlain, kBits2, kBits3, kBits4, kBits5, kBits6, kBits8, kFp4, kFp8 };

inline Layout layout_of(const MatrixView& w) {
  if (!w.scheme) return Layout::kPlain;
  if (w.scheme->mode == Mode::kMxfp8) return Layout::kFp8;
  if (w.scheme->mode != Mode::kAffine) return Layout::kFp4;
  switch (w.scheme->bits) {
    case 2:
      return Layout::kBits2;
    case 3:
      return Layout::kBits3;
    case 4:
      return Layout::kBits4;
    case 5:
      return Layout::kBits5;
    case 6:
      return Layout::kBits6;
    default:
      return Layout::kBits8;
  }
}

/// Calls f with the layout as a constant.
template <class F>
void with_layout(Layout layout, const F& f) {
  switch (layout) {
    case Layout::kPlain:
      return f.template operator()<Layout::kPlain>();
    case Layout::kBits2:
      return f.template operator()<Layout::kBits2>();
    case Layout::kBits3:
      return f.template operator()<Layout::kBits3>();
    case Layout::kBits4:
      return f.template operator()<Layout::kBits4>();
    case Layout::kBits5:
      return f.template operator()<Layout::kBits5>();
    case Layout::kBits6:
      return f.template operator()<Layout::kBits6>();
    case Layout::kBits8:
      return f.template operator()<Layout::kBits8>();
    case Layout::kFp4:
      return f.template operator()<Layout::kFp4>();
    default:
      return f.template operator()<Layout::kFp8>();
  }
}

constexpr int bits_of_layout(Layout layout) {
  switch (layout) {
    case Layout::kPlain:
      return 16;
    case Layout::kBits2:
      return 2;
    case Layout::kBits3:
      return 3;
    case Layout::kBits4:
    case Layout::kFp4:
      return 4;
    case Layout::kBits5:
      return 5;
    case Layout::kBits6:
      return 6;
    default:
      return 8;
  }
}

constexpr __mmask64 first_bytes(std::size_t n) {
  return n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1;
}
constexpr __mmask16 first_lanes(std::size_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1);
}

/// The first `left` bytes, zeros behind them; nothing beyond is read.
HWY_INLINE __m512i load_part(const std::uint8_t* from, std::size_t left) {
  if (left >= 64) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi8(first_bytes(left), from);
}

HWY_INLINE __m512 as_float(__m512i x) { return _mm512_castsi512_ps(x); }

/// E4M3 bytes in 32-bit lanes to F32.
HWY_INLINE __m512 fp8_to_float(__m512i byte) {
  const __m512i magnitude = _mm512_and_si512(byte, _mm512_set1_epi32(0x7F));
  const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(byte, _mm512_set1_epi32(0x80)), 24);
  // In F32 the same fields stand 2^120 too low. Subnormals are counted in units of 2^-9: F32
  // subnormals would cost an assist each.
  const __m512i normal =
      _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20), _mm512_set1_epi32(120 << 23));
  const __m512 subnormal = _mm512_mul_ps(_mm512_cvtepi32_ps(magnitude), _mm512_set1_ps(0x1p-9f));
  const __mmask16 low = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(8));
  const __m512i value = _mm512_mask_mov_epi32(normal, low, _mm512_castps_si512(subnormal));
  const __mmask16 nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7F));
  const __m512i bits = _mm512_or_si512(value, sign);
  return as_float(_mm512_mask_set1_epi32(bits, nan, 0x7FC00000));
}

/// E8M0 bytes in 32-bit lanes to F32.
HWY_INLINE __m512 e8m0_to_float(__m512i byte) {
  const __mmask16 zero = _mm512_testn_epi32_mask(byte, byte);
  return as_float(_mm512_mask_set1_epi32(_mm512_slli_epi32(byte, 23), zero, 0x00400000));
}

/// What the parameters of a weight are, found out once.
struct Parameters {
  explicit Parameters(const MatrixView& w)
      : affine(is_affine(w)),
        e4m3(w.scheme && w.scheme->mode == Mode::kNvfp4),
        type(w.type),
        element_bytes(affine ? dtype_bytes(w.type) : 1),
        groups(groups_of(w)),
        group_shift(static_cast<unsigned>(std::countr_zero(group_of(w)))),
        factor(w.factor) {}

  /// Where those of row n start.
  const std::uint8_t* row(const void* at, std::size_t n) const {
    return static_cast<const std::uint8_t*>(at) + n * groups * element_bytes;
  }

  bool affine;
  bool e4m3;
  DType type;
  std::size_t element_bytes;
  std::size_t groups;
  unsigned group_shift;  // Groups count a power of two of weights.
  float factor;
};

/// Sixteen parameters of a row from group g on, times the weight's factor; 0 behind the last.
HWY_INLINE __m512 load_parameters(const Parameters& p, const std::uint8_t* row, std::size_t g) {
  const __mmask16 mask = first_lanes(p.groups - g);
  const __m512 factor = _mm512_set1_ps(p.factor);
  const std::uint8_t* from = row + g * p.element_bytes;
  if (!p.affine) {
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, from));
    const __m512 x = p.e4m3 ? fp8_to_float(bytes) : e8m0_to_float(bytes);
    return _mm512_maskz_mul_ps(mask, x, factor);
  }
  if (p.type == DType::kF32) return _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from), factor);
  const __m256i halves = _mm256_maskz_loadu_epi16(mask, from);
  if (p.type == DType::kF16) return _mm512_mul_ps(_mm512_cvtph_ps(halves), factor);
  return _mm512_mul_ps(as_float(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16)), factor);
}

/// Room for the parameters of a row: vectors of 16 may be loaded from any of them on.
inline std::size_t parameter_room(const MatrixView& w) { return round_up(groups_of(w), 16) + 16; }

/// The scales (or biases) of a row, then zeros up to parameter_room.
HWY_INLINE void decode_parameters(const Parameters& p, const std::uint8_t* row, float* to) {
  std::size_t g = 0;
  for (; g < p.groups; g += 16) _mm512_store_ps(to + g, load_parameters(p, row, g));
  _mm512_store_ps(to + g, _mm512_setzero_ps());
}

// For each byte of eight codes: which byte of the stream each 64-bit lane takes, and at which bit
// each code starts.
struct Spread {
  alignas(64) std::uint8_t bytes[64];
  alignas(64) std::uint8_t bits[64];
};
template <int kBits>
constexpr Spread make_spread() {
  Spread spread{};
  for (int i = 0; i < 64; ++i) {
    const int byte = i % 8 < kBits ? i % 8 : kBits - 1;
    spread.bytes[i] = static_cast<std::uint8_t>(i / 8 * kBits + byte);
    spread.bits[i] = static_cast<std::uint8_t>(i % 8 * kBits);
  }
  return spread;
}
template <int kBits>
inline constexpr Spread kSpread = make_spread<kBits>();

/// 64 codes of kBits, one a byte, in order; the bits above them are the next codes'.
template <int kBits>
HWY_INLINE __m512i spread_codes(__m512i stream) {
  const __m512i lanes = _mm512_permutexvar_epi8(_mm512_load_si512(kSpread<kBits>.bytes), stream);
  return _mm512_multishift_epi64_epi8(_mm512_load_si512(kSpread<kBits>.bits), lanes);
}

/// The sum of the lanes of each of four vectors.
HWY_INLINE __m128 sum_lanes(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512 all = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all),
                                    _mm512_castps512_ps256(_mm512_shuffle_f32x4(all, all, 0xEE)));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

}  // namespace mlxmill::kernels::avx512
MLXMILL_X86_BF16_END

#endif  // MLXMILL_HAS_X86_BF16

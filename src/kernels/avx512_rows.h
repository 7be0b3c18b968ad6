// Rows of weights as BF16, each rounded once from scale * code + bias, for products with many rows.
#pragma once

#include "kernels/avx512_decode.h"

#if MLXMILL_HAS_X86_BF16

MLXMILL_X86_BF16_BEGIN
namespace mlxmill::kernels::avx512 {

/// Sixteen codes, one a byte, as F32.
template <Layout kLayout>
HWY_INLINE __m512 codes_to_float(__m128i bytes) {
  const __m512i codes = _mm512_cvtepu8_epi32(bytes);
  if constexpr (kLayout == Layout::kFp8) {
    return fp8_to_float(codes);
  } else if constexpr (kLayout == Layout::kFp4) {
    const __m512 values = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f,
                                         -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    return _mm512_permutexvar_ps(codes, values);
  } else {
    return _mm512_cvtepi32_ps(codes);
  }
}

/// 64 codes from the first `left` bytes of the stream, one a byte.
template <Layout kLayout>
HWY_INLINE __m512i load_codes(const std::uint8_t* from, std::size_t left) {
  constexpr int kBits = bits_of_layout(kLayout);
  const __m512i v = load_part(from, std::min(left, std::size_t{8 * kBits}));
  if constexpr (kBits == 8) return v;
  return _mm512_and_si512(spread_codes<kBits>(v), _mm512_set1_epi8((1 << kBits) - 1));
}

template <Layout kLayout>
HWY_INLINE __m512 decode16(__m128i bytes, float scale, float bias) {
  return _mm512_fmadd_ps(codes_to_float<kLayout>(bytes), _mm512_set1_ps(scale),
                         _mm512_set1_ps(bias));
}

HWY_INLINE __m512 bf16_to_float(__m256i halves) {
  return as_float(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

HWY_INLINE void store_bf16_pair(std::uint8_t* to, __m512 low, __m512 high) {
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  std::memcpy(to, &both, 64);
}

/// Decodes weights [first, last) of row n, a multiple of 64 each; those from cols on are 0. Runs of
/// 32 go to place(k - first). `parameters` holds twice parameter_room.
template <Layout kLayout, class Place>
void decode_row(const MatrixView& w, std::size_t n, std::size_t first, std::size_t last,
                float* parameters, const Place& place) {
  const std::uint8_t* from = weight_row(w, n);
  const std::size_t bytes = row_bytes(w);
  if constexpr (kLayout == Layout::kPlain) {
    for (std::size_t k = first; k < last; k += 32) {
      const std::size_t at = std::min(bytes, k * 2);
      __m512i v = load_part(from + at, bytes - at);
      if (w.factor != 1.0f) {
        const __m512 factor = _mm512_set1_ps(w.factor);
        const __m512 low = _mm512_mul_ps(bf16_to_float(_mm512_castsi512_si256(v)), factor);
        const __m512 high = _mm512_mul_ps(bf16_to_float(_mm512_extracti64x4_epi64(v, 1)), factor);
        store_bf16_pair(place(k - first), low, high);
      } else {
        _mm512_storeu_si512(place(k - first), v);
      }
    }
  } else {
    constexpr std::size_t kBits = static_cast<std::size_t>(bits_of_layout(kLayout));
    const Parameters p(w);
    const unsigned group = p.group_shift;
    float* scales = parameters;
    float* biases = parameters + parameter_room(w);
    decode_parameters(p, p.row(w.scales, n), scales);
    if (p.affine) {
      decode_parameters(p, p.row(w.biases, n), biases);
    } else {
      std::memset(biases, 0, parameter_room(w) * 4);
    }
    for (std::size_t k = first; k < last; k += 64) {
      const std::size_t at = std::min(bytes, k * kBits / 8);
      const __m512i codes = load_codes<kLayout>(from + at, bytes - at);
      const std::size_t g0 = k >> group;
      const std::size_t g1 = (k + 16) >> group;
      const std::size_t g2 = (k + 32) >> group;
      const std::size_t g3 = (k + 48) >> group;
      store_bf16_pair(
          place(k - first),
          decode16<kLayout>(_mm512_castsi512_si128(codes), scales[g0], biases[g0]),
          decode16<kLayout>(_mm512_extracti32x4_epi32(codes, 1), scales[g1], biases[g1]));
      store_bf16_pair(
          place(k - first + 32),
          decode16<kLayout>(_mm512_extracti32x4_epi32(codes, 2), scales[g2], biases[g2]),
          decode16<kLayout>(_mm512_extracti32x4_epi32(codes, 3), scales[g3], biases[g3]));
    }
  }
}

}  // namespace mlxmill::kernels::avx512
MLXMILL_X86_BF16_END

#endif  // MLXMILL_HAS_X86_BF16

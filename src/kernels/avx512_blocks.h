// Blocks of codes as vectors of BF16 that stand for them exactly, scales not yet applied.
//
// Codes are looked up in a table of 32 words by VPERMW, which heeds the low five bits of a word
// only, so no code has to be masked off. The price is an order: word j of vector v of a block is
// code v + j * vectors, and x has to be laid out alike.
#pragma once

#include "kernels/avx512_decode.h"

#if MLXMILL_HAS_X86_BF16

#include <algorithm>
#include <array>
#include <bit>

MLXMILL_X86_BF16_BEGIN
namespace mlxmill::kernels::avx512 {

/// Codes in a block (64 bytes of them, or 64 codes) and vectors of x that they meet.
constexpr std::size_t block_codes(Layout layout) {
  switch (layout) {
    case Layout::kPlain:
      return 32;
    case Layout::kBits2:
      return 256;
    case Layout::kBits4:
    case Layout::kFp4:
      return 128;
    default:
      return 64;
  }
}
constexpr std::size_t block_vectors(Layout layout) { return block_codes(layout) / 32; }

/// Vectors of weights that a block gives.
constexpr std::size_t block_parts(Layout layout) {
  const bool split = layout == Layout::kBits6 || layout == Layout::kBits8;
  return split ? 4 : block_vectors(layout);
}

constexpr std::size_t block_bytes(Layout layout) {
  return block_codes(layout) * static_cast<std::size_t>(bits_of_layout(layout)) / 8;
}

// Tables of BF16 by the low five bits of a word.
struct Tables {
  alignas(64) std::uint16_t low[32];   // Of the code, or its low four bits.
  alignas(64) std::uint16_t high[32];  // Of the four bits above.
};
template <Layout kLayout>
constexpr Tables make_tables() {
  constexpr unsigned kBits = static_cast<unsigned>(bits_of_layout(kLayout));
  constexpr std::uint16_t kFp4[16] = {0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040,
                                      0x4080, 0x40C0, 0x8000, 0xBF00, 0xBF80, 0xBFC0,
                                      0xC000, 0xC040, 0xC080, 0xC0C0};
  const auto bf16 = [](unsigned x) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) >> 16);
  };
  Tables tables{};
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned low = i & (kBits == 5 ? 31u : (1u << (kBits < 4 ? kBits : 4)) - 1);
    tables.low[i] = kLayout == Layout::kFp4 ? kFp4[i & 15] : bf16(low);
    tables.high[i] = bf16((i & (kBits == 6 ? 3u : 15u)) * 16);
  }
  return tables;
}
template <Layout kLayout>
inline constexpr Tables kTables = make_tables<kLayout>();

HWY_INLINE __m512bh as_bf16(__m512i x) {
  __m512bh y;
  std::memcpy(&y, &x, sizeof(y));
  return y;
}

/// E4M3 bytes in 16-bit lanes to BF16, exactly.
HWY_INLINE __m512i fp8_to_bf16(__m512i byte) {
  alignas(64) static constexpr std::uint16_t kSubnormals[32] = {0x0000, 0x3B00, 0x3B80, 0x3BC0,
                                                                0x3C00, 0x3C20, 0x3C40, 0x3C60};
  const __m512i magnitude = _mm512_and_si512(byte, _mm512_set1_epi16(0x7F));
  const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(byte, _mm512_set1_epi16(0x80)), 8);
  __m512i value = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), _mm512_set1_epi16(120 << 7));
  const __mmask32 low = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
  value = _mm512_mask_permutexvar_epi16(value, low, magnitude, _mm512_load_si512(kSubnormals));
  const __mmask32 nan = _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x7F));
  return _mm512_mask_set1_epi16(_mm512_or_si512(value, sign), nan, 0x7FC0);
}

// For each byte of a 64-bit lane the bit at which it starts when words move down by kBits.
template <int kBits>
constexpr std::array<std::uint8_t, 64> make_word_shift() {
  std::array<std::uint8_t, 64> starts{};
  for (int i = 0; i < 64; ++i) {
    starts[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>((i % 8 * 8 + kBits) % 64);
  }
  return starts;
}
template <int kBits>
alignas(64) inline constexpr std::array<std::uint8_t, 64> kWordShift = make_word_shift<kBits>();

/// Words moved down by kBits; what comes in above is the next word's. It runs beside the products,
/// where a shift would wait for them.
template <int kBits>
HWY_INLINE __m512i words_from_bit(__m512i x) {
  return _mm512_multishift_epi64_epi8(_mm512_load_si512(kWordShift<kBits>.data()), x);
}

HWY_INLINE __m512i look(__m512i table, __m512i index) {
  return _mm512_permutexvar_epi16(index, table);
}

/// Calls meet(w, v) for every vector of 32 BF16 weights of a block and the vector of x it belongs
/// to, in order: block_parts vectors of weights, as many for each vector of x. Two that meet the
/// same x are the low and the high bits of the same codes.
template <Layout kLayout, class Meet>
HWY_INLINE void visit_block(__m512i v, const Meet& meet) {
  const __m512i low = _mm512_load_si512(kTables<kLayout>.low);
  const __m512i high = _mm512_load_si512(kTables<kLayout>.high);
  if constexpr (kLayout == Layout::kPlain) {
    meet(v, 0);
  } else if constexpr (kLayout == Layout::kBits4 || kLayout == Layout::kFp4) {
    meet(look(low, v), 0);
    meet(look(low, words_from_bit<4>(v)), 1);
    meet(look(low, words_from_bit<8>(v)), 2);
    meet(look(low, words_from_bit<12>(v)), 3);
  } else if constexpr (kLayout == Layout::kBits2) {
    meet(look(low, v), 0);
    meet(look(low, words_from_bit<2>(v)), 1);
    meet(look(low, words_from_bit<4>(v)), 2);
    meet(look(low, words_from_bit<6>(v)), 3);
    meet(look(low, words_from_bit<8>(v)), 4);
    meet(look(low, words_from_bit<10>(v)), 5);
    meet(look(low, words_from_bit<12>(v)), 6);
    meet(look(low, words_from_bit<14>(v)), 7);
  } else if constexpr (kLayout == Layout::kFp8) {
    meet(fp8_to_bf16(v), 0);
    meet(fp8_to_bf16(_mm512_srli_epi16(v, 8)), 1);
  } else if constexpr (kLayout == Layout::kBits3 || kLayout == Layout::kBits5) {
    const __m512i codes = spread_codes<bits_of_layout(kLayout)>(v);
    meet(look(low, codes), 0);
    meet(look(low, words_from_bit<8>(codes)), 1);
  } else {
    __m512i codes = v;
    if constexpr (kLayout == Layout::kBits6) codes = spread_codes<6>(v);
    meet(look(low, codes), 0);
    meet(look(high, words_from_bit<4>(codes)), 0);
    meet(look(low, words_from_bit<8>(codes)), 1);
    meet(look(high, words_from_bit<12>(codes)), 1);
  }
}

/// Sums of x (BF16) by group, then zeros up to a multiple of sixteen.
inline void sum_groups(const MatrixView& w, const std::uint8_t* x, float* sums) {
  const std::size_t group = group_of(w);
  const std::size_t groups = groups_of(w);
  std::fill(sums + groups, sums + round_up(groups, 16), 0.0f);
  for (std::size_t g = 0; g < groups; ++g) {
    __m512 sum = _mm512_setzero_ps();
    for (std::size_t k = g * group; k < (g + 1) * group; k += 16) {
      const __m512i halves =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 2 * k)));
      sum = _mm512_add_ps(sum, as_float(_mm512_slli_epi32(halves, 16)));
    }
    sums[g] = _mm512_reduce_add_ps(sum);
  }
}

}  // namespace mlxmill::kernels::avx512
MLXMILL_X86_BF16_END

#endif  // MLXMILL_HAS_X86_BF16

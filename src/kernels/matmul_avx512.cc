// Products with AVX-512 BF16: every product of a BF16 activation with a code is exact, sums are F32.
//
// The weights of one row meet x as they are read. Codes are looked up as BF16 in a table of 32 words
// by VPERMW, which heeds the low five bits of a word only, so no code has to be masked off; x is
// laid out once in the order in which the shifts bring the codes up.
#include "kernels/matmul_engine.h"
#include "kernels/x86_bf16.h"

#if MLXMILL_HAS_X86_BF16

#include "kernels/avx512_decode.h"
#include "kernels/avx512_rows.h"
#include "kernels/ref/floats.h"
#include "kernels/x86_features.h"

MLXMILL_X86_BF16_BEGIN
namespace mlxmill::kernels {
namespace avx512 {
namespace {

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
  alignas(64) static constexpr std::uint16_t kSubnormals[32] = {
      0x0000, 0x3B00, 0x3B80, 0x3BC0, 0x3C00, 0x3C20, 0x3C40, 0x3C60};
  const __m512i magnitude = _mm512_and_si512(byte, _mm512_set1_epi16(0x7F));
  const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(byte, _mm512_set1_epi16(0x80)), 8);
  __m512i value = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), _mm512_set1_epi16(120 << 7));
  const __mmask32 low = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
  value =
      _mm512_mask_permutexvar_epi16(value, low, magnitude, _mm512_load_si512(kSubnormals));
  const __mmask32 nan = _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x7F));
  return _mm512_mask_set1_epi16(_mm512_or_si512(value, sign), nan, 0x7FC0);
}

HWY_INLINE __m512i look(__m512i table, __m512i index) {
  return _mm512_permutexvar_epi16(index, table);
}

/// Calls meet(w, v) for every vector of 32 BF16 weights of a block and the vector of x it belongs
/// to. Sums over a vector may take parts of one code (its low and high bits).
template <Layout kLayout, class Meet>
HWY_INLINE void visit_block(__m512i v, const Meet& meet) {
  const __m512i low = _mm512_load_si512(kTables<kLayout>.low);
  const __m512i high = _mm512_load_si512(kTables<kLayout>.high);
  if constexpr (kLayout == Layout::kPlain) {
    meet(v, 0);
  } else if constexpr (kLayout == Layout::kBits4 || kLayout == Layout::kFp4) {
    meet(look(low, v), 0);
    meet(look(low, _mm512_srli_epi16(v, 4)), 1);
    meet(look(low, _mm512_srli_epi16(v, 8)), 2);
    meet(look(low, _mm512_srli_epi16(v, 12)), 3);
  } else if constexpr (kLayout == Layout::kBits2) {
    meet(look(low, v), 0);
    meet(look(low, _mm512_srli_epi16(v, 2)), 1);
    meet(look(low, _mm512_srli_epi16(v, 4)), 2);
    meet(look(low, _mm512_srli_epi16(v, 6)), 3);
    meet(look(low, _mm512_srli_epi16(v, 8)), 4);
    meet(look(low, _mm512_srli_epi16(v, 10)), 5);
    meet(look(low, _mm512_srli_epi16(v, 12)), 6);
    meet(look(low, _mm512_srli_epi16(v, 14)), 7);
  } else if constexpr (kLayout == Layout::kFp8) {
    meet(fp8_to_bf16(v), 0);
    meet(fp8_to_bf16(_mm512_srli_epi16(v, 8)), 1);
  } else if constexpr (kLayout == Layout::kBits3 || kLayout == Layout::kBits5) {
    const __m512i codes = spread_codes<bits_of_layout(kLayout)>(v);
    meet(look(low, codes), 0);
    meet(look(low, _mm512_srli_epi16(codes, 8)), 1);
  } else {
    __m512i codes = v;
    if constexpr (kLayout == Layout::kBits6) codes = spread_codes<6>(v);
    meet(look(low, codes), 0);
    meet(look(high, _mm512_srli_epi16(codes, 4)), 0);
    meet(look(low, _mm512_srli_epi16(codes, 8)), 1);
    meet(look(high, _mm512_srli_epi16(codes, 12)), 1);
  }
}

// A prepared row for the vector kernel: x in the order of visit_block, then its sums by group.
std::size_t x_words(const MatrixView& w) {
  return round_up(w.cols, block_codes(layout_of(w)));
}
std::size_t vector_row_bytes(const MatrixView& w) {
  return x_words(w) * 2 + (is_affine(w) ? round_up(groups_of(w), 16) * 4 : 0);
}

void sum_groups(const MatrixView& w, const std::uint8_t* x, float* sums) {
  const std::size_t group = group_of(w);
  const std::size_t groups = groups_of(w);
  std::fill(sums + groups, sums + round_up(groups, 16), 0.0f);
  for (std::size_t g = 0; g < groups; ++g) {
    __m512 sum = _mm512_setzero_ps();
    for (std::size_t k = g * group; k < (g + 1) * group; k += 16) {
      const __m512i halves = _mm512_cvtepu16_epi32(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 2 * k)));
      sum = _mm512_add_ps(sum, as_float(_mm512_slli_epi32(halves, 16)));
    }
    sums[g] = _mm512_reduce_add_ps(sum);
  }
}

/// Word j of vector v of each block is x[block + v + j * vectors].
template <std::size_t kVectors>
void lay_out(const std::uint8_t* x, std::size_t cols, std::uint16_t* to) {
  alignas(64) std::uint16_t from[32 * kVectors];
  for (std::size_t k = 0; k < cols; k += 32 * kVectors) {
    const std::size_t now = std::min(32 * kVectors, cols - k);
    if (now < 32 * kVectors) std::memset(from, 0, sizeof(from));
    std::memcpy(from, x + 2 * k, now * 2);
    for (std::size_t v = 0; v < kVectors; ++v) {
      for (std::size_t j = 0; j < 32; ++j) to[k + v * 32 + j] = from[v + j * kVectors];
    }
  }
}

void prepare_vector_row(const Product& p, std::size_t i, std::uint8_t* prepared) {
  const MatrixView& w = p.weight;
  std::uint8_t* to = prepared + i * vector_row_bytes(w);
  auto* words = reinterpret_cast<std::uint16_t*>(to);
  switch (block_vectors(layout_of(w))) {
    case 1:
      lay_out<1>(x_row(p, i), w.cols, words);
      break;
    case 2:
      lay_out<2>(x_row(p, i), w.cols, words);
      break;
    case 4:
      lay_out<4>(x_row(p, i), w.cols, words);
      break;
    default:
      lay_out<8>(x_row(p, i), w.cols, words);
  }
  if (is_affine(w)) sum_groups(w, x_row(p, i), reinterpret_cast<float*>(to + x_words(w) * 2));
}

/// Which of the scales from the block's first on each lane takes.
__m512i scale_lanes(std::size_t block, std::size_t group) {
  alignas(64) std::uint32_t lanes[16];
  for (std::uint32_t i = 0; i < 16; ++i) {
    lanes[i] = static_cast<std::uint32_t>(i * block / 16 / group);
  }
  return _mm512_load_si512(lanes);
}

template <Layout kLayout, std::size_t kM>
HWY_INLINE void vector_row(const MatrixView& w, const std::uint8_t* codes,
                           const std::uint8_t* const (&x)[kM], const float* scales, __m512i lanes,
                           __m512 (&total)[kM]) {
  constexpr std::size_t kCodes = block_codes(kLayout);
  constexpr std::size_t kBlockBytes = block_bytes(kLayout);
  // Far enough that a line is there when its turn comes, within a page or the next.
  constexpr std::size_t kAhead = 2048;
  const std::size_t group = group_of(w);
  std::size_t left = row_bytes(w);
  for (std::size_t k = 0; k < w.cols; k += kCodes, codes += kBlockBytes) {
    __m512i v;
    if (left >= 64 && kBlockBytes == 64) {
      v = _mm512_loadu_si512(codes);
    } else {
      v = load_part(codes, std::min(left, kBlockBytes));
    }
    left -= std::min(left, kBlockBytes);
    _mm_prefetch(reinterpret_cast<const char*>(codes) + kAhead, _MM_HINT_T0);
    __m512 dot[kM];
    for (std::size_t m = 0; m < kM; ++m) {
      dot[m] = kLayout == Layout::kPlain ? total[m] : _mm512_setzero_ps();
    }
    visit_block<kLayout>(v, [&](__m512i weights, std::size_t vector) MLXMILL_X86_BF16_ATTR {
      for (std::size_t m = 0; m < kM; ++m) {
        const __m512i xs = _mm512_load_si512(x[m] + 2 * k + 64 * vector);
        dot[m] = _mm512_dpbf16_ps(dot[m], as_bf16(weights), as_bf16(xs));
      }
    });
    if constexpr (kLayout == Layout::kPlain) {
      for (std::size_t m = 0; m < kM; ++m) total[m] = dot[m];
    } else {
      const __m512 scale = _mm512_permutexvar_ps(lanes, _mm512_loadu_ps(scales + k / group));
      for (std::size_t m = 0; m < kM; ++m) total[m] = _mm512_fmadd_ps(dot[m], scale, total[m]);
    }
  }
}

template <Layout kLayout, std::size_t kM>
void vector_rows(const Product& p, const std::uint8_t* prepared, std::size_t first,
                 std::size_t last, float* scratch) {
  const MatrixView& w = p.weight;
  const bool affine = is_affine(w);
  const std::size_t padded_groups = round_up(groups_of(w), 16);
  float* scales = scratch;
  float* biases = scratch + parameter_room(w);
  const __m512i lanes = scale_lanes(block_codes(kLayout), group_of(w));
  const std::uint8_t* x[kM];
  for (std::size_t m = 0; m < kM; ++m) x[m] = prepared + m * vector_row_bytes(w);
  for (std::size_t n = first; n < last; ++n) {
    __m512 total[kM];
    for (__m512& t : total) t = _mm512_setzero_ps();
    if (kLayout != Layout::kPlain) decode_parameters(w, w.scales, n, scales);
    if (affine) {
      decode_parameters(w, w.biases, n, biases);
      for (std::size_t m = 0; m < kM; ++m) {
        const auto* sums = reinterpret_cast<const float*>(x[m] + x_words(w) * 2);
        for (std::size_t g = 0; g < padded_groups; g += 16) {
          total[m] =
              _mm512_fmadd_ps(_mm512_load_ps(biases + g), _mm512_load_ps(sums + g), total[m]);
        }
      }
    }
    vector_row<kLayout, kM>(w, weight_row(w, n), x, scales, lanes, total);
    for (std::size_t m = 0; m < kM; ++m) {
      const float y = _mm512_reduce_add_ps(total[m]);
      ref::store(p.type, kLayout == Layout::kPlain ? y * w.factor : y, y_row(p, m), n);
    }
  }
}

template <Layout kLayout>
void vector_rows_any(const Product& p, const std::uint8_t* prepared, std::size_t first,
                     std::size_t last, float* scratch) {
  switch (p.count) {
    case 1:
      return vector_rows<kLayout, 1>(p, prepared, first, last, scratch);
    case 2:
      return vector_rows<kLayout, 2>(p, prepared, first, last, scratch);
    case 3:
      return vector_rows<kLayout, 3>(p, prepared, first, last, scratch);
    default:
      return vector_rows<kLayout, 4>(p, prepared, first, last, scratch);
  }
}

// Many rows of x: weights are decoded to BF16 once, and rows meet rows.

constexpr std::size_t kBatchRows = 32;

std::size_t batch_cols(const MatrixView& w) { return round_up(w.cols, 64); }

void prepare_batch_row(const Product& p, std::size_t i, std::uint8_t* prepared) {
  std::uint8_t* to = prepared + i * batch_cols(p.weight) * 2;
  std::memcpy(to, x_row(p, i), p.weight.cols * 2);
  std::memset(to + p.weight.cols * 2, 0, (batch_cols(p.weight) - p.weight.cols) * 2);
}

/// y of kM rows of x and kN of weights, in one pass over both.
template <std::size_t kM, std::size_t kN>
HWY_INLINE void batch_tile(const Product& p, const std::uint8_t* x, std::size_t i,
                           const std::uint8_t* w, std::size_t n) {
  const std::size_t stride = batch_cols(p.weight) * 2;
  __m512 sum[kM][kN];
  for (auto& row : sum) {
    for (__m512& s : row) s = _mm512_setzero_ps();
  }
  for (std::size_t at = 0; at < stride; at += 64) {
    __m512bh weights[kN];
    for (std::size_t b = 0; b < kN; ++b) {
      weights[b] = as_bf16(_mm512_load_si512(w + b * stride + at));
    }
    for (std::size_t a = 0; a < kM; ++a) {
      const __m512bh xs = as_bf16(_mm512_load_si512(x + a * stride + at));
      for (std::size_t b = 0; b < kN; ++b) sum[a][b] = _mm512_dpbf16_ps(sum[a][b], xs, weights[b]);
    }
  }
  for (std::size_t a = 0; a < kM; ++a) {
    for (std::size_t b = 0; b < kN; ++b) {
      ref::store(p.type, _mm512_reduce_add_ps(sum[a][b]), y_row(p, i + a), n + b);
    }
  }
}

template <std::size_t kN>
void batch_columns(const Product& p, const std::uint8_t* prepared, const std::uint8_t* w,
                   std::size_t n) {
  const std::size_t stride = batch_cols(p.weight) * 2;
  std::size_t i = 0;
  for (; i + 4 <= p.count; i += 4) batch_tile<4, kN>(p, prepared + i * stride, i, w, n);
  for (; i < p.count; ++i) batch_tile<1, kN>(p, prepared + i * stride, i, w, n);
}

void batch_rows(const Product& p, const std::uint8_t* prepared, std::size_t first,
                std::size_t last, std::uint8_t* scratch) {
  const std::size_t stride = batch_cols(p.weight) * 2;
  std::uint8_t* decoded = scratch + parameter_room(p.weight) * 8;
  with_layout(layout_of(p.weight), [&]<Layout kLayout>() MLXMILL_X86_BF16_ATTR {
    for (std::size_t n = first; n < last; ++n) {
      std::uint8_t* to = decoded + (n - first) * stride;
      decode_row<kLayout>(p.weight, n, 0, batch_cols(p.weight), reinterpret_cast<float*>(scratch),
                          [to](std::size_t k) { return to + k * 2; });
    }
  });
  std::size_t n = first;
  for (; n + 4 <= last; n += 4) batch_columns<4>(p, prepared, decoded + (n - first) * stride, n);
  for (; n < last; ++n) batch_columns<1>(p, prepared, decoded + (n - first) * stride, n);
}

// The engine.

bool supported() { return x86_has_avx512_bf16(); }

bool takes(const Product& p) {
  return p.type == DType::kBF16 && (p.weight.scheme || p.weight.type == DType::kBF16);
}

std::size_t prepared_bytes(const Product& p) {
  return p.count * (p.count <= kVectorRows ? vector_row_bytes(p.weight) : batch_cols(p.weight) * 2);
}

void prepare(const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
  for (std::size_t i = first; i < last; ++i) {
    if (p.count <= kVectorRows) {
      prepare_vector_row(p, i, prepared);
    } else {
      prepare_batch_row(p, i, prepared);
    }
  }
}

std::size_t scratch_bytes(const Product& p) {
  const std::size_t parameters = parameter_room(p.weight) * 8;
  return parameters + (p.count <= kVectorRows ? 0 : kBatchRows * batch_cols(p.weight) * 2);
}

std::size_t task_rows(const Product& p) {
  return p.count <= kVectorRows ? vector_task_rows(p.weight) : kBatchRows;
}

void compute(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
             std::uint8_t* scratch) {
  if (p.count > kVectorRows) return batch_rows(p, prepared, first, last, scratch);
  with_layout(layout_of(p.weight), [&]<Layout kLayout>() MLXMILL_X86_BF16_ATTR {
    vector_rows_any<kLayout>(p, prepared, first, last, reinterpret_cast<float*>(scratch));
  });
}

}  // namespace
}  // namespace avx512

const MatmulEngine& avx512_bf16_engine() {
  static const MatmulEngine engine{
      "avx512-bf16",    avx512::supported,     avx512::takes,     avx512::prepared_bytes,
      avx512::prepare, avx512::scratch_bytes, avx512::task_rows, avx512::compute};
  return engine;
}

}  // namespace mlxmill::kernels
MLXMILL_X86_BF16_END

#endif  // MLXMILL_HAS_X86_BF16

// Products with AVX-512 BF16: every product of a BF16 activation with a code is exact, sums are
// F32.
//
// Few rows of x meet the codes of each row of the weight as they are read, and scales are applied
// to sums over groups. For many, rows of weights are decoded once.
#include "kernels/matmul_engine.h"
#include "kernels/x86_bf16.h"

#if MLXMILL_HAS_X86_BF16

#include "kernels/avx512_blocks.h"
#include "kernels/avx512_rows.h"
#include "kernels/ref/floats.h"
#include "kernels/x86_features.h"

MLXMILL_X86_BF16_BEGIN
namespace mlxmill::kernels {
namespace avx512 {
namespace {

// A prepared row for the vector kernel: x in the order of visit_block, then its sums by group.
std::size_t x_words(const MatrixView& w) { return round_up(w.cols, block_codes(layout_of(w))); }
std::size_t vector_row_bytes(const MatrixView& w) {
  return x_words(w) * 2 + (is_affine(w) ? round_up(groups_of(w), 16) * 4 : 0);
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

/// Which of sixteen scales each lane takes in a block, counted from the block's first.
__m512i scale_lanes(std::size_t block, std::size_t group) {
  alignas(64) std::uint32_t lanes[16];
  for (std::uint32_t i = 0; i < 16; ++i) {
    lanes[i] = static_cast<std::uint32_t>(i * block / 16 / group);
  }
  return _mm512_load_si512(lanes);
}

/// Rows of the weight that are read side by side: their sums hide each other's latencies.
template <std::size_t kM>
inline constexpr std::size_t kSideBySide = kM == 1 ? 4 : (kM == 2 ? 2 : 1);

/// Adds one block of codes times its scales to the totals of kM rows of x.
template <Layout kLayout, std::size_t kM>
HWY_INLINE void meet_block(__m512i v, const std::uint8_t* const (&x)[kM], std::size_t k,
                           __m512 scale, __m512* total) {
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
  for (std::size_t m = 0; m < kM; ++m) {
    total[m] = kLayout == Layout::kPlain ? dot[m] : _mm512_fmadd_ps(dot[m], scale, total[m]);
  }
}

/// A weight with all that its rows have in common.
struct Rows {
  explicit Rows(const MatrixView& w)
      : weight(w),
        parameters(w),
        bytes(row_bytes(w)),
        lanes(scale_lanes(block_codes(layout_of(w)), group_of(w))),
        x_bytes(vector_row_bytes(w)),
        sums_at(x_words(w) * 2) {}

  MatrixView weight;
  Parameters parameters;
  std::size_t bytes;    // Of the codes of a row.
  __m512i lanes;        // scale_lanes.
  std::size_t x_bytes;  // Of a prepared row of x,
  std::size_t sums_at;  // whose group sums start there.
};

/// Totals of kR rows of the weight from n on: sixteen groups at a time, whose scales stay in
/// registers.
template <Layout kLayout, std::size_t kR, std::size_t kM>
HWY_INLINE void meet_rows(const Rows& rows, std::size_t n, const std::uint8_t* const (&x)[kM],
                          __m512 (&total)[kR][kM]) {
  constexpr std::size_t kCodes = block_codes(kLayout);
  constexpr std::size_t kBlockBytes = block_bytes(kLayout);
  const std::size_t cols = rows.weight.cols;
  const std::size_t bytes = rows.bytes;
  const unsigned shift = rows.parameters.group_shift;
  const std::size_t stretch = kLayout == Layout::kPlain ? cols : std::size_t{16} << shift;
  const auto* codes = static_cast<const std::uint8_t*>(rows.weight.data) + n * bytes;
  const std::size_t ahead = fetch_ahead(bytes, kR);
  __m512 scale[kR];
  for (__m512& s : scale) s = _mm512_setzero_ps();
  std::size_t at = 0;
  for (std::size_t k0 = 0; k0 < cols; k0 += stretch) {
    for (std::size_t r = 0; r < kR && kLayout != Layout::kPlain; ++r) {
      scale[r] = load_parameters(rows.parameters, rows.parameters.row(rows.weight.scales, n + r),
                                 k0 >> shift);
    }
    const std::size_t k1 = std::min(cols, k0 + stretch);
    // The permutation heeds the low four bits of an index only.
    const auto index = [&](std::size_t k) MLXMILL_X86_BF16_ATTR {
      return _mm512_add_epi32(rows.lanes, _mm512_set1_epi32(static_cast<int>(k >> shift)));
    };
    std::size_t k = k0;
    // Whole vectors may be loaded while 64 bytes are left.
    for (; k < k1 && bytes - at >= 64; k += kCodes, at += kBlockBytes) {
      const __m512i which = index(k);
      for (std::size_t r = 0; r < kR; ++r) {
        const std::uint8_t* from = codes + r * bytes + at;
        _mm_prefetch(reinterpret_cast<const char*>(from) + ahead, _MM_HINT_T1);
        meet_block<kLayout, kM>(_mm512_loadu_si512(from), x, k,
                                _mm512_permutexvar_ps(which, scale[r]), total[r]);
      }
    }
    for (; k < k1; k += kCodes, at += kBlockBytes) {
      const __m512i which = index(k);
      for (std::size_t r = 0; r < kR; ++r) {
        meet_block<kLayout, kM>(load_part(codes + r * bytes + at, bytes - at), x, k,
                                _mm512_permutexvar_ps(which, scale[r]), total[r]);
      }
    }
  }
}

/// What the biases add: each times the sum of x over its group.
template <std::size_t kM>
HWY_INLINE void add_biases(const Rows& rows, std::size_t n, const std::uint8_t* const (&x)[kM],
                           __m512* total) {
  const std::uint8_t* row = rows.parameters.row(rows.weight.biases, n);
  for (std::size_t g = 0; g < rows.parameters.groups; g += 16) {
    const __m512 biases = load_parameters(rows.parameters, row, g);
    for (std::size_t m = 0; m < kM; ++m) {
      total[m] = _mm512_fmadd_ps(biases, _mm512_load_ps(x[m] + rows.sums_at + 4 * g), total[m]);
    }
  }
}

/// Outputs n to n + kR of kM rows of x.
template <Layout kLayout, std::size_t kR, std::size_t kM>
HWY_INLINE void vector_outputs(const Rows& rows, std::size_t n, const std::uint8_t* const (&x)[kM],
                               std::uint8_t* const (&y)[kM]) {
  __m512 total[kR][kM];
  for (std::size_t r = 0; r < kR; ++r) {
    for (std::size_t m = 0; m < kM; ++m) total[r][m] = _mm512_setzero_ps();
    if (rows.parameters.affine) add_biases<kM>(rows, n + r, x, total[r]);
  }
  meet_rows<kLayout, kR, kM>(rows, n, x, total);
  const __m512 zero = _mm512_setzero_ps();
  for (std::size_t m = 0; m < kM; ++m) {
    alignas(16) float sums[4];
    _mm_store_ps(sums,
                 sum_lanes(total[0][m], kR > 1 ? total[1 % kR][m] : zero,
                           kR > 2 ? total[2 % kR][m] : zero, kR > 3 ? total[3 % kR][m] : zero));
    for (std::size_t r = 0; r < kR; ++r) {
      const float sum = kLayout == Layout::kPlain ? sums[r] * rows.weight.factor : sums[r];
      ref::store(DType::kBF16, sum, y[m], n + r);
    }
  }
}

template <Layout kLayout, std::size_t kM>
void vector_rows(const Product& p, const std::uint8_t* prepared, std::size_t first,
                 std::size_t last) {
  constexpr std::size_t kR = kSideBySide<kM>;
  const Rows rows(p.weight);
  const std::uint8_t* x[kM];
  std::uint8_t* y[kM];
  for (std::size_t m = 0; m < kM; ++m) {
    x[m] = prepared + m * rows.x_bytes;
    y[m] = y_row(p, m);
  }
  std::size_t n = first;
  for (; n + kR <= last; n += kR) vector_outputs<kLayout, kR, kM>(rows, n, x, y);
  for (; n < last; ++n) vector_outputs<kLayout, 1, kM>(rows, n, x, y);
}

template <Layout kLayout>
void vector_rows_any(const Product& p, const std::uint8_t* prepared, std::size_t first,
                     std::size_t last) {
  switch (p.count) {
    case 1:
      return vector_rows<kLayout, 1>(p, prepared, first, last);
    case 2:
      return vector_rows<kLayout, 2>(p, prepared, first, last);
    case 3:
      return vector_rows<kLayout, 3>(p, prepared, first, last);
    default:
      return vector_rows<kLayout, 4>(p, prepared, first, last);
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

void batch_rows(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
                std::uint8_t* scratch) {
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
    vector_rows_any<kLayout>(p, prepared, first, last);
  });
}

}  // namespace
}  // namespace avx512

const MatmulEngine& avx512_bf16_engine() {
  static const MatmulEngine engine{"avx512-bf16",         /*portable=*/false,     avx512::supported,
                                   avx512::takes,         avx512::prepared_bytes, avx512::prepare,
                                   avx512::scratch_bytes, avx512::task_rows,      avx512::compute};
  return engine;
}

}  // namespace mlxmill::kernels
MLXMILL_X86_BF16_END

#endif  // MLXMILL_HAS_X86_BF16

// Products of few rows with affine codes in integers: AVX-512 VNNI multiplies codes as they are
// stored, without a table in between.
//
// Each group of x becomes integers of 16 bits with a power of two of its own, as high and low
// bytes. What has at least 1/128 of the group's largest magnitude is exact, the rest is rounded to
// 2^-15 of it. Sums over a group are exact; groups are added in F32.
#include "kernels/matmul_engine.h"
#include "kernels/x86_bf16.h"

#if MLXMILL_HAS_X86_BF16

#include "kernels/avx512_blocks.h"
#include "kernels/ref/floats.h"
#include "kernels/x86_features.h"

HWY_PUSH_ATTRIBUTES(MLXMILL_X86_VNNI_FEATURES)
namespace mlxmill::kernels {
namespace vnni {
namespace {

using avx512::bits_of_layout;
using avx512::Layout;
using avx512::Parameters;

/// Codes in a byte, once codes that straddle bytes are spread.
constexpr std::size_t codes_per_byte(Layout layout) {
  return layout == Layout::kBits2 ? 4 : (layout == Layout::kBits4 ? 2 : 1);
}

/// A block is what fills 64 bytes: so many codes, and so many bytes where they are stored.
constexpr std::size_t codes_of_block(Layout layout) { return 64 * codes_per_byte(layout); }
constexpr std::size_t bytes_of_block(Layout layout) {
  return codes_of_block(layout) * static_cast<std::size_t>(bits_of_layout(layout)) / 8;
}

// A prepared row: bytes of x by block (for each code of a byte 64 high ones, then 64 low ones),
// sums of x by group, and the powers of two by group.
std::size_t padded_codes(const MatrixView& w) {
  return round_up(w.cols, codes_of_block(avx512::layout_of(w)));
}
std::size_t padded_groups(const MatrixView& w) { return round_up(groups_of(w), 16); }
std::size_t row_bytes_prepared(const MatrixView& w) {
  return padded_codes(w) * 2 + padded_groups(w) * 8;
}

/// The largest magnitude among n values of BF16, a multiple of 16, as bits.
std::uint32_t largest(const std::uint8_t* x, std::size_t n) {
  __m256i most = _mm256_setzero_si256();
  for (std::size_t k = 0; k < n; k += 16) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 2 * k));
    most = _mm256_max_epu16(most, _mm256_and_si256(v, _mm256_set1_epi16(0x7FFF)));
  }
  return static_cast<std::uint32_t>(_mm512_reduce_max_epu32(_mm512_cvtepu16_epi32(most)));
}

/// One group of x to bytes, high * 256 + low. Returns what an integer counts.
float split_group(const std::uint8_t* x, std::size_t n, std::uint8_t* high, std::uint8_t* low) {
  constexpr std::uint32_t kTiny = 20;  // Exponents from which on all below are powers of two, too.
  const std::uint32_t exponent = largest(x, n) >> 7;
  if (exponent < kTiny || exponent == 255) {
    std::memset(high, 0, n);
    std::memset(low, 0, n);
    return exponent == 255 ? ref::float_of(ref::kQuietNanF32) : 0.0f;
  }
  const __m512 factor = _mm512_set1_ps(ref::float_of((268 - exponent) << 23));
  for (std::size_t k = 0; k < n; k += 16) {
    const __m512i halves =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 2 * k)));
    const __m512 value = avx512::as_float(_mm512_slli_epi32(halves, 16));
    // The high byte of anything above would be 128.
    const __m512i fixed = _mm512_min_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(value, factor)),
                                           _mm512_set1_epi32(32639));
    const __m512i up = _mm512_srai_epi32(_mm512_add_epi32(fixed, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + k), _mm512_cvtepi32_epi8(up));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low + k), _mm512_cvtepi32_epi8(fixed));
  }
  return ref::float_of((exponent - 14) << 23);
}

/// 64 bytes: every kStep-th of those from `from` on.
template <std::size_t kStep>
HWY_INLINE void take_every(const std::uint8_t* from, std::uint8_t* to) {
  if constexpr (kStep == 1) {
    _mm512_store_si512(to, _mm512_loadu_si512(from));
  } else {
    // The low byte of each lane, lanes of kStep bytes.
    for (std::size_t i = 0; i < kStep; ++i) {
      const __m512i v = _mm512_loadu_si512(from + 64 * i);
      if constexpr (kStep == 2) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32 * i), _mm512_cvtepi16_epi8(v));
      } else {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 * i), _mm512_cvtepi32_epi8(v));
      }
    }
  }
}

template <std::size_t kPerByte>
void lay_out(const std::uint8_t* high, const std::uint8_t* low, std::size_t n, std::uint8_t* to) {
  for (std::size_t k = 0; k < n; k += 64 * kPerByte) {
    for (std::size_t v = 0; v < kPerByte; ++v, to += 128) {
      take_every<kPerByte>(high + k + v, to);
      take_every<kPerByte>(low + k + v, to + 64);
    }
  }
}

void prepare_row(const Product& p, std::size_t i, std::uint8_t* prepared) {
  const MatrixView& w = p.weight;
  const std::size_t codes = padded_codes(w);
  const std::size_t group = group_of(w);
  thread_local std::vector<std::uint8_t> bytes;
  // Whole vectors are loaded from up to three bytes further on.
  bytes.resize(2 * codes + 128);
  std::uint8_t* high = bytes.data();
  std::uint8_t* low = high + codes + 64;
  std::uint8_t* to = prepared + i * row_bytes_prepared(w);
  auto* sums = reinterpret_cast<float*>(to + codes * 2);
  float* units = sums + padded_groups(w);
  std::fill(units, units + padded_groups(w), 0.0f);
  for (std::size_t g = 0; g < groups_of(w); ++g) {
    units[g] = split_group(x_row(p, i) + 2 * g * group, group, high + g * group, low + g * group);
  }
  std::memset(high + w.cols, 0, codes - w.cols);
  std::memset(low + w.cols, 0, codes - w.cols);
  avx512::sum_groups(w, x_row(p, i), sums);
  switch (codes_per_byte(avx512::layout_of(w))) {
    case 1:
      return lay_out<1>(high, low, codes, to);
    case 2:
      return lay_out<2>(high, low, codes, to);
    default:
      return lay_out<4>(high, low, codes, to);
  }
}

/// A weight with all that its rows have in common.
struct Rows {
  explicit Rows(const MatrixView& w)
      : weight(w),
        parameters(w),
        bytes(row_bytes(w)),
        x_bytes(row_bytes_prepared(w)),
        sums_at(padded_codes(w) * 2),
        units_at(sums_at + padded_groups(w) * 4) {
    const std::size_t block = codes_of_block(avx512::layout_of(w));
    alignas(64) std::uint32_t of_lane[16];
    for (std::uint32_t i = 0; i < 16; ++i) {
      of_lane[i] = static_cast<std::uint32_t>(i * block / 16 / group_of(w));
    }
    lanes = _mm512_load_si512(of_lane);
  }

  MatrixView weight;
  Parameters parameters;
  std::size_t bytes;     // Of the codes of a row.
  std::size_t x_bytes;   // Of a prepared row of x,
  std::size_t sums_at;   // where its group sums start,
  std::size_t units_at;  // and its powers of two.
  __m512i lanes;         // The group of each lane in a block, counted from the block's first.
};

/// The sums of one block of codes times x, 16 lanes of 32 bits.
template <Layout kLayout>
HWY_INLINE __m512i dot_block(__m512i v, const std::uint8_t* x) {
  constexpr int kBits = bits_of_layout(kLayout);
  constexpr std::size_t kPerByte = codes_per_byte(kLayout);
  const __m512i mask = _mm512_set1_epi8(static_cast<char>((1 << kBits) - 1));
  __m512i high = _mm512_setzero_si512();
  __m512i low = _mm512_setzero_si512();
  if constexpr (kBits == 3 || kBits == 5 || kBits == 6) v = avx512::spread_codes<kBits>(v);
  for (std::size_t i = 0; i < kPerByte; ++i) {
    __m512i codes = i == 0 ? v : _mm512_srli_epi16(v, static_cast<unsigned>(i) * kBits);
    if constexpr (kBits != 8) codes = _mm512_and_si512(codes, mask);
    high = _mm512_dpbusd_epi32(high, codes, _mm512_load_si512(x + 128 * i));
    low = _mm512_dpbusd_epi32(low, codes, _mm512_load_si512(x + 128 * i + 64));
  }
  return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
}

/// Rows of the weight that are read side by side: their sums hide each other's latencies.
template <std::size_t kM>
inline constexpr std::size_t kSideBySide = kM == 1 ? 4 : (kM == 2 ? 2 : 1);

/// Adds to the totals of kR rows of the weight from n on: sixteen groups at a time, whose scales
/// stay in registers.
template <Layout kLayout, std::size_t kR, std::size_t kM>
HWY_INLINE void meet_rows(const Rows& rows, std::size_t n, const std::uint8_t* const (&x)[kM],
                          __m512 (&total)[kR][kM]) {
  constexpr std::size_t kCodes = codes_of_block(kLayout);
  constexpr std::size_t kBytes = bytes_of_block(kLayout);
  const std::size_t cols = rows.weight.cols;
  const std::size_t bytes = rows.bytes;
  const unsigned shift = rows.parameters.group_shift;
  const std::size_t stretch = std::size_t{16} << shift;
  const auto* codes = static_cast<const std::uint8_t*>(rows.weight.data) + n * bytes;
  const std::size_t ahead = fetch_ahead(bytes, kR);
  std::size_t at = 0;
  for (std::size_t k0 = 0; k0 < cols; k0 += stretch) {
    __m512 scale[kR][kM];
    const std::size_t g = k0 >> shift;
    for (std::size_t r = 0; r < kR; ++r) {
      const __m512 own = avx512::load_parameters(rows.parameters,
                                                 rows.parameters.row(rows.weight.scales, n + r), g);
      const __m512 bias = avx512::load_parameters(
          rows.parameters, rows.parameters.row(rows.weight.biases, n + r), g);
      for (std::size_t m = 0; m < kM; ++m) {
        scale[r][m] = _mm512_mul_ps(own, _mm512_load_ps(x[m] + rows.units_at + 4 * g));
        const __m512 sums = _mm512_load_ps(x[m] + rows.sums_at + 4 * g);
        total[r][m] = _mm512_fmadd_ps(bias, sums, total[r][m]);
      }
    }
    const std::size_t k1 = std::min(cols, k0 + stretch);
    for (std::size_t k = k0; k < k1; k += kCodes, at += kBytes) {
      // The permutation heeds the low four bits of an index only.
      const __m512i which =
          _mm512_add_epi32(rows.lanes, _mm512_set1_epi32(static_cast<int>(k >> shift)));
      const bool whole = bytes - at >= 64;
      for (std::size_t r = 0; r < kR; ++r) {
        const std::uint8_t* from = codes + r * bytes + at;
        _mm_prefetch(reinterpret_cast<const char*>(from) + ahead, _MM_HINT_T1);
        const __m512i v = whole ? _mm512_loadu_si512(from) : avx512::load_part(from, bytes - at);
        for (std::size_t m = 0; m < kM; ++m) {
          const __m512 dot = _mm512_cvtepi32_ps(dot_block<kLayout>(v, x[m] + 2 * k));
          total[r][m] =
              _mm512_fmadd_ps(dot, _mm512_permutexvar_ps(which, scale[r][m]), total[r][m]);
        }
      }
    }
  }
}

/// Outputs n to n + kR of kM rows of x.
template <Layout kLayout, std::size_t kR, std::size_t kM>
HWY_INLINE void outputs(const Rows& rows, std::size_t n, const std::uint8_t* const (&x)[kM],
                        std::uint8_t* const (&y)[kM]) {
  __m512 total[kR][kM];
  for (auto& row : total) {
    for (__m512& t : row) t = _mm512_setzero_ps();
  }
  meet_rows<kLayout, kR, kM>(rows, n, x, total);
  const __m512 zero = _mm512_setzero_ps();
  for (std::size_t m = 0; m < kM; ++m) {
    alignas(16) float sums[4];
    _mm_store_ps(sums, avx512::sum_lanes(total[0][m], kR > 1 ? total[1 % kR][m] : zero,
                                         kR > 2 ? total[2 % kR][m] : zero,
                                         kR > 3 ? total[3 % kR][m] : zero));
    for (std::size_t r = 0; r < kR; ++r) ref::store(DType::kBF16, sums[r], y[m], n + r);
  }
}

template <Layout kLayout, std::size_t kM>
void few_rows(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last) {
  constexpr std::size_t kR = kSideBySide<kM>;
  const Rows rows(p.weight);
  const std::uint8_t* x[kM];
  std::uint8_t* y[kM];
  for (std::size_t m = 0; m < kM; ++m) {
    x[m] = prepared + m * rows.x_bytes;
    y[m] = y_row(p, m);
  }
  std::size_t n = first;
  for (; n + kR <= last; n += kR) outputs<kLayout, kR, kM>(rows, n, x, y);
  for (; n < last; ++n) outputs<kLayout, 1, kM>(rows, n, x, y);
}

template <Layout kLayout>
void any_rows(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last) {
  switch (p.count) {
    case 1:
      return few_rows<kLayout, 1>(p, prepared, first, last);
    case 2:
      return few_rows<kLayout, 2>(p, prepared, first, last);
    case 3:
      return few_rows<kLayout, 3>(p, prepared, first, last);
    default:
      return few_rows<kLayout, 4>(p, prepared, first, last);
  }
}

// The engine.

bool takes(const Product& p) {
  return p.type == DType::kBF16 && p.count <= kVectorRows && is_affine(p.weight);
}

std::size_t prepared_bytes(const Product& p) { return p.count * row_bytes_prepared(p.weight); }

void prepare(const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
  for (std::size_t i = first; i < last; ++i) prepare_row(p, i, prepared);
}

void compute(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
             std::uint8_t* /*scratch*/) {
  switch (avx512::layout_of(p.weight)) {
    case Layout::kBits2:
      return any_rows<Layout::kBits2>(p, prepared, first, last);
    case Layout::kBits3:
      return any_rows<Layout::kBits3>(p, prepared, first, last);
    case Layout::kBits4:
      return any_rows<Layout::kBits4>(p, prepared, first, last);
    case Layout::kBits5:
      return any_rows<Layout::kBits5>(p, prepared, first, last);
    case Layout::kBits6:
      return any_rows<Layout::kBits6>(p, prepared, first, last);
    default:
      return any_rows<Layout::kBits8>(p, prepared, first, last);
  }
}

}  // namespace
}  // namespace vnni

const MatmulEngine& avx512_vnni_engine() {
  static const MatmulEngine engine{"avx512-vnni",
                                   /*portable=*/false,
                                   x86_has_avx512_vnni,
                                   vnni::takes,
                                   vnni::prepared_bytes,
                                   vnni::prepare,
                                   [](const Product&) { return std::size_t{0}; },
                                   [](const Product& p) { return vector_task_rows(p.weight); },
                                   vnni::compute};
  return engine;
}

}  // namespace mlxmill::kernels
HWY_POP_ATTRIBUTES

#endif  // MLXMILL_HAS_X86_BF16

// Products with affine and FP4 codes in integers, on every SIMD target: codes meet x as the
// integers that they are (FP4 as twice its value), and only sums over a group become floats.
// Sums over a group are exact; groups are added in F32.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_integers.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/active_target.h"
#include "kernels/integer_products-inl.h"
#include "kernels/integer_rows-inl.h"
#include "kernels/matmul_engine.h"
#include "kernels/ref/matmul.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_INTEGERS_OWN

/// Field k of every lane of 16 bits, or of both bytes in it.
template <class T, int kBits, std::size_t k, class V>
HWY_INLINE auto field(V words) {
  using L = Lanes<T>;
  constexpr int kShift = static_cast<int>(k) * kBits;
  if constexpr (8 * sizeof(T) == kBits) {
    return hn::BitCast(typename L::Int(), words);
  } else if constexpr (sizeof(T) == 2 && kShift + kBits == 16) {
    return hn::BitCast(typename L::Int(), hn::ShiftRight<kShift>(words));
  } else {
    constexpr unsigned kMask = ((1u << kBits) - 1) * (sizeof(T) == 1 ? 0x0101u : 1u);
    const auto moved = kShift == 0 ? words : hn::ShiftRight<kShift>(words);
    return hn::BitCast(
        typename L::Int(),
        hn::And(moved, hn::Set(typename L::Word(), static_cast<std::uint16_t>(kMask))));
  }
}

/// The codes of one vector of 16 bits each; 16 bytes are read.
HWY_INLINE auto spread_codes(const Spread& spread, const std::uint8_t* codes) {
  using L = Lanes<std::int16_t>;
  const auto places = hn::Load(typename L::Byte(), spread.from);
  const auto pairs = hn::TableLookupBytes(hn::LoadDup128(typename L::Byte(), codes), places);
  const auto top =
      hn::Mul(hn::BitCast(typename L::Word(), pairs), hn::Load(typename L::Word(), spread.factor));
  return hn::ShiftRightSame(top, spread.down);
}

/// The codes of one chunk of FP4, a byte each; half a vector is read.
HWY_INLINE auto fp4_codes(const std::uint8_t* codes) {
  using Byte = Lanes<std::int8_t>::Byte;
  const hn::Half<Byte> half;
  const hn::Repartition<std::uint16_t, decltype(half)> words;
  const auto stored = hn::LoadU(half, codes);
  const auto high = hn::BitCast(half, hn::ShiftRight<4>(hn::BitCast(words, stored)));
  const auto indices = hn::And(hn::Combine(Byte(), high, stored), hn::Set(Byte(), 15));
  const auto table = hn::LoadDup128(Byte(), reinterpret_cast<const std::uint8_t*>(kFp4Doubled));
  return hn::BitCast(Lanes<std::int8_t>::Int(), hn::TableLookupBytes(table, indices));
}

/// What is added up over one group for kM rows of x: sums of products in two vectors each. Vectors
/// are no members: not every compiler gives implicit constructors the target's instructions.
template <class T, Form kForm, std::size_t kM>
struct GroupSums {
  using L = Lanes<T>;
  using C = Chunk<T, kForm>;
  using Sums = hn::Vec<typename L::Sum>;

  /// One chunk of codes; `at` is the place of its first one in the rows of x.
  static HWY_INLINE void add(const std::uint8_t* codes, const Spread& spread,
                             const T* const (&x)[kM], std::size_t at, Sums (&low)[kM],
                             Sums (&high)[kM]) {
    if constexpr (is_fp4(kForm)) {
      const auto all = fp4_codes(codes);
      if constexpr (sizeof(T) == 2) {
        const typename L::Int d;
        const auto pairs = hn::BitCast(d, all);
        add_shorts(hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs)), x, at, low, high);
        add_shorts(hn::ShiftRight<8>(pairs), x, at + L::kCount, low, high);
      } else {
        add_fields(hn::BitCast(typename L::Word(), all), x, at, low, high,
                   std::make_index_sequence<1>());
      }
    } else if constexpr (kForm != Form::kAny) {
      const auto words = hn::BitCast(typename L::Word(), hn::LoadU(typename L::Byte(), codes));
      add_fields(words, x, at, low, high, std::make_index_sequence<C::kFields>());
    } else {
      const auto first = spread_codes(spread, codes);
      const auto second = spread_codes(spread, codes + spread.bytes);
      const typename L::Int d;
      if constexpr (sizeof(T) == 2) {
        add_shorts(hn::BitCast(d, first), x, at, low, high);
        add_shorts(hn::BitCast(d, second), x, at + L::kCount, low, high);
      } else {
        const auto both = hn::BitCast(d, hn::Or(first, hn::ShiftLeft<8>(second)));
        add_fields(both, x, at, low, high, std::make_index_sequence<1>());
      }
    }
  }

  template <class V, std::size_t... k>
  static HWY_INLINE void add_fields(V words, const T* const (&x)[kM], std::size_t at,
                                    Sums (&low)[kM], Sums (&high)[kM], std::index_sequence<k...>) {
    if constexpr (sizeof(T) == 2) {
      (add_shorts(field<T, C::kBits, k>(words), x, at + k * L::kCount, low, high), ...);
    } else {
      using Short = hn::Repartition<std::int16_t, typename L::Int>;
      hn::Vec<Short> pairs[kM];
      for (std::size_t m = 0; m < kM; ++m) pairs[m] = hn::Zero(Short());
      (add_bytes(field<T, C::kBits, k>(words), x, at + k * L::kCount, pairs), ...);
      for (std::size_t m = 0; m < kM; ++m) {
        low[m] = hn::ReorderWidenMulAccumulate(typename L::Sum(), pairs[m],
                                               hn::Set(Short(), std::int16_t{1}), low[m], high[m]);
      }
    }
  }

  template <class V>
  static HWY_INLINE void add_shorts(V code, const T* const (&x)[kM], std::size_t at,
                                    Sums (&low)[kM], Sums (&high)[kM]) {
    for (std::size_t m = 0; m < kM; ++m) {
      const auto xs = hn::LoadU(typename L::Int(), x[m] + at);
      low[m] = hn::ReorderWidenMulAccumulate(typename L::Sum(), code, xs, low[m], high[m]);
    }
  }

  template <class V, class P>
  static HWY_INLINE void add_bytes(V code, const T* const (&x)[kM], std::size_t at,
                                   P (&pairs)[kM]) {
    for (std::size_t m = 0; m < kM; ++m) {
      const auto xs = hn::LoadU(typename L::Int(), x[m] + at);
      pairs[m] = hn::Add(pairs[m], pair_products<is_fp4(kForm)>(hn::DFromV<P>(), code, xs));
    }
  }
};

/// Rows of a weight, ready to meet rows of x.
struct WeightRows {
  const std::uint8_t* codes;  // At least integers::kReadAhead bytes more can be read.
  std::size_t code_bytes;     // From row to row.
  std::size_t ahead;          // How far ahead codes are fetched.
  const float* scales;        // Of consecutive rows, groups_of() each; a vector more can be read.
  const float* biases;
  float* units;  // Room for four times those of a row of x.
};

/// Units of two groups of FP4 for the sums over one chunk: its low and its high codes lie in halves
/// of a vector, and groups in halves of those. Two floats more are read.
template <class D>
HWY_INLINE auto units_of_halves(D d, const float* units) {
  const auto both = hn::LoadDup128(d, units);
  return hn::InterleaveLower(d, both, both);
}

/// Outputs n to n + kR of rows i to i + kM of x. kChunks: how many make a group; 0: any number.
template <class T, Form kForm, std::size_t kR, std::size_t kM, std::size_t kChunks = 0>
HWY_INLINE void meet(const Product& p, const WeightRows& weights, const Spread& spread,
                     const std::uint8_t* prepared, std::size_t i, std::size_t n) {
  static_assert(kR * kM <= 4);
  using L = Lanes<T>;
  using C = Chunk<T, kForm>;
  using Float = typename L::Float;
  const std::size_t groups = groups_of(p.weight);
  const std::size_t units_step = padded(groups);
  const T* x[kM];
  hn::Vec<Float> total[4];
  for (auto& t : total) t = hn::Zero(Float());
  for (std::size_t m = 0; m < kM; ++m) {
    const std::uint8_t* from = prepared + (i + m) * integers::prepared_row_bytes(p);
    x[m] = reinterpret_cast<const T*>(from);
    const auto* sums = reinterpret_cast<const float*>(from + integers::integer_bytes(p));
    for (std::size_t r = 0; r < kR; ++r) {
      const std::size_t at = r * groups;
      total[r * kM + m] = meet_parameters(
          Float(), weights.scales + at, weights.biases + at, sums, sums + units_step, groups,
          weights.units + (r * kM + m) * units_step, total[r * kM + m]);
    }
  }
  const std::uint8_t* codes = weights.codes;
  const std::size_t chunk_bytes = kForm == Form::kAny ? 2 * spread.bytes
                                  : is_fp4(kForm)     ? L::kBytes / 2
                                                      : L::kBytes;
  const std::size_t group = group_of(p.weight);
  std::size_t at = 0;
  constexpr bool kTwoGroups = kForm == Form::kNvfp4 && C::kCodes == 32;  // In a chunk.
  constexpr std::size_t kStep = kTwoGroups ? 2 : 1;
  for (std::size_t g = 0; g < groups; g += kStep) {
    hn::Vec<typename L::Sum> low[kR][kM];
    hn::Vec<typename L::Sum> high[kR][kM];
    for (std::size_t r = 0; r < kR; ++r) {
      for (std::size_t m = 0; m < kM; ++m) low[r][m] = high[r][m] = hn::Zero(typename L::Sum());
    }
    const auto add_chunk = [&]() HWY_ATTR {
      for (std::size_t r = 0; r < kR; ++r) {
        const std::uint8_t* row = codes + r * weights.code_bytes;
        hwy::Prefetch(row + weights.ahead);
        GroupSums<T, kForm, kM>::add(row, spread, x, at, low[r], high[r]);
      }
      at += C::kCodes;
      codes += chunk_bytes;
    };
    if constexpr (kTwoGroups) {
      add_chunk();
    } else if constexpr (kChunks == 0) {
      for (std::size_t k = 0; k < group; k += C::kCodes) add_chunk();
    } else {
      for (std::size_t c = 0; c < kChunks; ++c) add_chunk();
    }
    for (std::size_t r = 0; r < kR; ++r) {
      for (std::size_t m = 0; m < kM; ++m) {
        const std::size_t k = r * kM + m;
        const auto dot = hn::ConvertTo(Float(), hn::Add(low[r][m], high[r][m]));
        const float* unit = weights.units + k * units_step + g;
        if constexpr (kTwoGroups) {
          total[k] = hn::MulAdd(dot, units_of_halves(Float(), unit), total[k]);
        } else {
          total[k] = hn::MulAdd(dot, hn::Set(Float(), *unit), total[k]);
        }
      }
    }
  }
  const auto four = sums_of_lanes(Float(), total[0], total[1], total[2], total[3]);
  HWY_ALIGN float out[4];
  hn::StoreU(four, hn::DFromV<decltype(four)>(), out);
  for (std::size_t r = 0; r < kR; ++r) {
    for (std::size_t m = 0; m < kM; ++m) {
      ref::store(p.type, out[r * kM + m], y_row(p, i + m), n + r);
    }
  }
}

/// Fetches scales and biases of row n, which the next task of a thread begins with.
HWY_INLINE void fetch_parameters(const MatrixView& w, std::size_t n) {
  hwy::Prefetch(parameter_row(w, w.scales, n));
  if (is_affine(w)) hwy::Prefetch(parameter_row(w, w.biases, n));
}

/// Whether reading beyond the codes of row n stays within the weight.
bool reads_within(const MatrixView& w, std::size_t n) {
  return (w.rows - n - 1) * row_bytes(w) >= integers::kReadAhead;
}

template <class T, Form kForm>
void rows(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
          std::uint8_t* scratch) {
  const MatrixView& w = p.weight;
  const std::size_t room = integers::parameter_room(w, vector_task_rows(w));
  auto* scales = reinterpret_cast<float*>(scratch);
  float* units = scales + 2 * room;
  auto* copy = reinterpret_cast<std::uint8_t*>(units + 4 * padded(groups_of(w)));
  load_parameters(w, first, last, scales, scales + room);
  const Spread spread(w.scheme->bits);
  const std::size_t panel =
      std::max<std::size_t>(4, integers::kPanelBytes / integers::prepared_row_bytes(p) / 4 * 4);
  for (std::size_t i0 = 0; i0 < p.count; i0 += panel) {
    const std::size_t i1 = std::min(p.count, i0 + panel);
    // Rows read side by side share x; memory is read faster one by one, where codes cost little.
    constexpr std::size_t kSide = kForm == Form::kEight ? 1 : 2;
    const std::size_t step = i1 - i0 == 1 ? kSide : i1 - i0 == 2 ? 2 : 1;
    for (std::size_t n = first; n < last;) {
      const std::size_t now = last - n < step ? 1 : step;
      fetch_parameters(w, n + (last - first));
      WeightRows weights{weight_row(w, n),
                         row_bytes(w),
                         fetch_ahead(row_bytes(w), now),
                         scales + (n - first) * groups_of(w),
                         scales + room + (n - first) * groups_of(w),
                         units};
      if (kForm == Form::kAny && !reads_within(w, n + now - 1)) {
        weights.codes = copy;
        weights.code_bytes = integers::copied_row_bytes(w);
        for (std::size_t r = 0; r < now; ++r) {
          std::memcpy(copy + r * weights.code_bytes, weight_row(w, n + r), row_bytes(w));
        }
      }
      if (i1 - i0 == 1 && now == kSide) {
        // Groups of 64 are what most models have.
        constexpr std::size_t kOf64 = 64 / Chunk<T, kForm>::kCodes;
        if (group_of(w) == 64) {
          meet<T, kForm, kSide, 1, kOf64>(p, weights, spread, prepared, i0, n);
        } else {
          meet<T, kForm, kSide, 1>(p, weights, spread, prepared, i0, n);
        }
      } else if (now == 2) {
        meet<T, kForm, 2, 2>(p, weights, spread, prepared, i0, n);
      } else {
        std::size_t i = i0;
        for (; i + 4 <= i1; i += 4) meet<T, kForm, 1, 4>(p, weights, spread, prepared, i, n);
        for (; i + 2 <= i1; i += 2) meet<T, kForm, 1, 2>(p, weights, spread, prepared, i, n);
        if (i < i1) meet<T, kForm, 1, 1>(p, weights, spread, prepared, i, n);
      }
      n += now;
    }
  }
}

/// Calls f<T, form>().
template <class F>
HWY_INLINE void with_form(const Product& p, const F& f) {
  const Scheme& scheme = *p.weight.scheme;
  const auto with_type = [&]<class T>() HWY_ATTR {
    if (scheme.mode == Mode::kMxfp4) return f.template operator()<T, Form::kFp4>();
    if (scheme.mode == Mode::kNvfp4) return f.template operator()<T, Form::kNvfp4>();
    if constexpr (sizeof(T) == 2) {
      if (scheme.bits == 8) return f.template operator()<T, Form::kEight>();
    }
    const auto group = static_cast<std::size_t>(scheme.group_size);
    if (scheme.bits == 4 && group % Chunk<T, Form::kFour>::kCodes == 0) {
      return f.template operator()<T, Form::kFour>();
    }
    f.template operator()<T, Form::kAny>();
  };
  if (integers::takes_int8(p)) return with_type.template operator()<std::int8_t>();
  with_type.template operator()<std::int16_t>();
}

HWY_NOINLINE void prepare_rows(const Product& p, std::size_t first, std::size_t last,
                               std::uint8_t* prepared) {
  with_form(p, [&]<class T, Form kForm>() HWY_ATTR {
    for (std::size_t i = first; i < last; ++i) {
      prepare_row<T, kForm>(p, i, prepared + i * integers::prepared_row_bytes(p));
    }
  });
}

HWY_NOINLINE void compute_rows(const Product& p, const std::uint8_t* prepared, std::size_t first,
                               std::size_t last, std::uint8_t* scratch) {
  with_form(p, [&]<class T, Form kForm>()
                   HWY_ATTR { rows<T, kForm>(p, prepared, first, last, scratch); });
}

#elif MLXMILL_INTEGERS_OF_AVX2

using N_AVX2::compute_rows;
using N_AVX2::prepare_rows;

#else

void prepare_rows(const Product& /*p*/, std::size_t /*first*/, std::size_t /*last*/,
                  std::uint8_t* /*prepared*/) {}

void compute_rows(const Product& p, const std::uint8_t* /*prepared*/, std::size_t first,
                  std::size_t last, std::uint8_t* /*scratch*/) {
  ref::compute(p, first, last);
}

#endif  // MLXMILL_INTEGERS_OWN

void prepare_here(const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
  prepare_rows(p, first, last, prepared);
}

void compute_here(const Product& p, const std::uint8_t* prepared, std::size_t first,
                  std::size_t last, std::uint8_t* scratch) {
  record_target(HWY_TARGET);
  compute_rows(p, prepared, first, last, scratch);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {
namespace {

HWY_EXPORT(prepare_here);
HWY_EXPORT(compute_here);

/// Whether the SIMD target in force has more than a reference for this.
bool target_in_force_has_code() {
  const std::int64_t target = target_in_force();
  return target != HWY_SSE2 && target != HWY_SCALAR;
}

MatmulEngine engine_of(const char* name, bool (*takes)(const Product&)) {
  return integers::integer_engine(
      name, takes,
      [](const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
        HWY_DYNAMIC_DISPATCH(prepare_here)(p, first, last, prepared);
      },
      [](const Product& p) {
        const MatrixView& w = p.weight;
        const std::size_t floats =
            2 * integers::parameter_room(w, vector_task_rows(w)) + 4 * padded(groups_of(w));
        return floats * sizeof(float) + 4 * integers::copied_row_bytes(w);
      },
      [](const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
         std::uint8_t* scratch) {
        HWY_DYNAMIC_DISPATCH(compute_here)(p, prepared, first, last, scratch);
      });
}

}  // namespace

const MatmulEngine& int16_engine() {
  static const MatmulEngine engine = engine_of("highway-int16", [](const Product& p) {
    // Groups of 16 are read by twos.
    const bool whole = group_of(p.weight) != 16 || p.weight.cols % 32 == 0;
    return integers::takes_int16(p) && whole && p.count <= kVectorRows &&
           target_in_force_has_code();
  });
  return engine;
}

const MatmulEngine& int8_engine() {
  static const MatmulEngine engine = engine_of("highway-int8", [](const Product& p) {
    return integers::takes_int8(p) && target_in_force_has_code();
  });
  return engine;
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE

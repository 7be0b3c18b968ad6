// x as integers, in the order in which products read them, and how codes lie beside it. Compiled
// once per target.
//
// Each group of x becomes integers with a unit of its own. Of 16 bits: the unit is a power of two;
// what has at least 1/128 of the group's largest magnitude is exact, the rest is rounded to 2^-15
// of it. Of 8 bits (Product::int8_x): the unit is 1/127 of the largest magnitude.

#if defined(MLXMILL_KERNELS_INTEGER_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_INTEGER_ROWS_INL_H_
#undef MLXMILL_KERNELS_INTEGER_ROWS_INL_H_
#else
#define MLXMILL_KERNELS_INTEGER_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "kernels/float_rows-inl.h"
#include "kernels/integer_rows.h"
#include "kernels/ref/matmul.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

// How codes lie in memory.
enum class Form {
  kFour,     // Four bits, read a whole vector at once.
  kEight,    // Eight bits.
  kAny,      // Two to six bits, spread by shuffles.
  kFp4,      // FP4, as twice its value by a shuffle.
  kNvfp4,    // The same in groups of 16.
  kInOrder,  // Decoded before.
};

constexpr bool is_fp4(Form form) { return form == Form::kFp4 || form == Form::kNvfp4; }

/// Vectors in which codes meet integers T. Thirty-two bytes at most: groups are whole vectors.
template <class T>
struct Lanes {
  using Int = hn::CappedTag<T, 32 / sizeof(T)>;
  using Byte = hn::Repartition<std::uint8_t, Int>;
  using Word = hn::Repartition<std::uint16_t, Int>;
  using Sum = hn::Repartition<std::int32_t, Int>;
  using Float = hn::Repartition<float, Int>;
  static constexpr std::size_t kCount = hn::MaxLanes(Int());
  static constexpr std::size_t kBytes = kCount * sizeof(T);
};

/// Codes that are read together, as kFields vectors of T.
template <class T, Form kForm>
struct Chunk {
  static constexpr int kBits = kForm == Form::kFour ? 4 : 8;
  static constexpr std::size_t kCodes = Lanes<T>::kBytes * (kForm == Form::kFour ? 2 : 1);
  static constexpr std::size_t kFields = kCodes / Lanes<T>::kCount;
};

/// How codes of any number of bits spread to 16 bits each: two bytes are shuffled to each, moved up
/// by a product until the code is at the top, and down to the bottom.
struct Spread {
  alignas(32) std::uint8_t from[32];
  alignas(32) std::uint16_t factor[16];
  int down;
  std::size_t bytes;  // Of the codes of one vector.

  explicit Spread(int bits) : from{}, factor{}, down(16 - bits), bytes{} {
    constexpr std::size_t kCount = Lanes<std::int16_t>::kCount;
    bytes = kCount * static_cast<std::size_t>(bits) / 8;
    for (std::size_t k = 0; k < kCount; ++k) {
      const std::size_t bit = k * static_cast<std::size_t>(bits);
      from[2 * k] = static_cast<std::uint8_t>(bit / 8);
      from[2 * k + 1] = static_cast<std::uint8_t>(bit / 8 + 1);
      factor[k] = static_cast<std::uint16_t>(1u << (static_cast<std::size_t>(down) - bit % 8));
    }
  }
};

/// One group of x to n integers. Returns their unit: NaN when an element is not finite.
template <class T>
float to_integers(const float* x, std::size_t n, T* to) {
  constexpr float kTiny = 0x1p-107f;  // Below all is zero; units stay normal numbers.
  Floats most = hn::Zero(FloatTag());
  bool finite = true;
  for (std::size_t k = 0; k < n; k += kLanes) {
    const Floats v = hn::LoadU(FloatTag(), x + k);
    finite = finite && hn::AllTrue(FloatTag(), hn::IsFinite(v));
    most = hn::Max(most, hn::Abs(v));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(FloatTag(), most));
  if (!finite || largest < kTiny) {
    std::fill(to, to + n, T{0});
    return finite ? 0.0f : ref::float_of(ref::kQuietNanF32);
  }
  float unit = largest / 127;
  float factor = 127 / largest;
  if constexpr (sizeof(T) == 2) {
    const std::uint32_t exponent = ref::bits_of(largest) >> 23;
    unit = ref::float_of((exponent - 14) << 23);
    factor = ref::float_of((268 - exponent) << 23);
  }
  const hn::Rebind<T, FloatTag> d;
  for (std::size_t k = 0; k < n; k += kLanes) {
    const Floats v = hn::Mul(hn::LoadU(FloatTag(), x + k), set_float(factor));
    hn::StoreU(hn::DemoteTo(d, hn::NearestInt(v)), d, to + k);
  }
  return unit;
}

/// Which code of a chunk of n is in byte `byte` of fp4_codes(): low halves of the stored bytes come
/// first, then high ones.
constexpr std::size_t place_of_fp4(std::size_t byte, std::size_t n) {
  return byte % (n / 2) * 2 + byte / (n / 2);
}

/// Integers in the order in which vectors of codes meet them.
template <class T, Form kForm>
void lay_out(const T* from, std::size_t n, T* to) {
  using C = Chunk<T, kForm>;
  constexpr std::size_t kCount = Lanes<T>::kCount;
  if constexpr (kForm == Form::kInOrder) {
    std::copy_n(from, n, to);
    return;
  }
  for (std::size_t chunk = 0; chunk < n; chunk += C::kCodes) {
    for (std::size_t field = 0; field < C::kFields; ++field) {
      for (std::size_t i = 0; i < kCount; ++i) {
        std::size_t code = i * C::kFields + field;
        if constexpr (kForm == Form::kAny) {
          // Bytes hold two vectors of 16 bits, one in the low and one in the high halves.
          code = sizeof(T) == 1 ? i % 2 * (kCount / 2) + i / 2 : field * kCount + i;
        } else if constexpr (is_fp4(kForm)) {
          code = place_of_fp4(code, C::kCodes);
        }
        to[chunk + field * kCount + i] = from[chunk + code];
      }
    }
  }
}

template <class T, Form kForm>
void prepare_row(const Product& p, std::size_t i, std::uint8_t* prepared) {
  const MatrixView& w = p.weight;
  const std::size_t group = group_of(w);
  thread_local std::vector<float> floats;
  thread_local std::vector<T> plain;
  floats.resize(padded(w.cols));
  plain.resize(w.cols);
  widen(p.type, x_row(p, i), w.cols, floats.data());
  auto* sums = reinterpret_cast<float*>(prepared + integers::integer_bytes(p));
  float* units = sums + padded(groups_of(w));
  std::fill(sums, units + padded(groups_of(w)), 0.0f);
  for (std::size_t g = 0; g < groups_of(w); ++g) {
    const float* x = floats.data() + g * group;
    T* to = plain.data() + g * group;
    units[g] = to_integers(x, group, to);
    if constexpr (sizeof(T) == 1) {
      // Of what x became, so that weights, not their codes, meet the error.
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < group; ++k) sum += to[k];
      sums[g] = static_cast<float>(sum) * units[g];
    } else {
      sums[g] = sum_of_floats(x, group);
    }
  }
  lay_out<T, kForm>(plain.data(), w.cols, reinterpret_cast<T*>(prepared));
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target

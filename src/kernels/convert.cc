// Conversion between float types, and the search for NaN and infinity.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/active_target.h"
#include "kernels/floats-inl.h"
#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

template <DType kFrom, DType kTo>
void convert(const std::uint8_t* HWY_RESTRICT from, std::uint8_t* HWY_RESTRICT to, std::size_t n) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store_floats<kTo>(load_floats<kFrom>(from + i * kBytes<kFrom>), to + i * kBytes<kTo>);
  }
  ref::convert_floats(from + i * kBytes<kFrom>, kFrom, to + i * kBytes<kTo>, kTo, n - i);
}

template <DType kFrom>
void convert_from(const std::uint8_t* from, std::uint8_t* to, DType to_type, std::size_t n) {
  switch (to_type) {
    case DType::kF16:
      return convert<kFrom, DType::kF16>(from, to, n);
    case DType::kBF16:
      return convert<kFrom, DType::kBF16>(from, to, n);
    default:
      return convert<kFrom, DType::kF32>(from, to, n);
  }
}

void convert_floats_here(const void* src, DType from_type, void* dst, DType to_type,
                         std::size_t n) {
  record_target(HWY_TARGET);
  const auto* from = static_cast<const std::uint8_t*>(src);
  auto* to = static_cast<std::uint8_t*>(dst);
  switch (from_type) {
    case DType::kF16:
      return convert_from<DType::kF16>(from, to, to_type, n);
    case DType::kBF16:
      return convert_from<DType::kBF16>(from, to, to_type, n);
    default:
      return convert_from<DType::kF32>(from, to, to_type, n);
  }
}

/// Counts lanes whose magnitude bits reach `infinity`; the rest of a vector is left to the caller.
template <class Lane>
std::size_t count_from(const std::uint8_t* from, Lane infinity, std::size_t n, std::size_t* done) {
  const hn::ScalableTag<Lane> d;
  const auto mask = hn::Set(d, hwy::LimitsMax<Lane>());
  const auto largest = hn::Set(d, static_cast<Lane>(infinity - 1));
  std::size_t count = 0;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto magnitude = hn::And(load_bytes(d, from + i * sizeof(Lane)), mask);
    count += hn::CountTrue(d, hn::Gt(magnitude, largest));
  }
  *done = i;
  return count;
}

std::size_t count_non_finite_here(const void* src, DType type, std::size_t n) {
  record_target(HWY_TARGET);
  const auto* from = static_cast<const std::uint8_t*>(src);
  std::size_t done = 0;
  std::size_t count = 0;
  switch (type) {
    case DType::kF16:
      count = count_from<std::int16_t>(from, 0x7C00, n, &done);
      break;
    case DType::kBF16:
      count = count_from<std::int16_t>(from, 0x7F80, n, &done);
      break;
    default:
      count = count_from<std::int32_t>(from, 0x7F800000, n, &done);
      break;
  }
  const std::size_t element_bytes = type == DType::kF32 ? 4 : 2;
  return count + ref::count_non_finite(from + done * element_bytes, type, n - done);
}

#else

void convert_floats_here(const void* src, DType from, void* dst, DType to, std::size_t n) {
  record_target(HWY_TARGET);
  ref::convert_floats(src, from, dst, to, n);
}

std::size_t count_non_finite_here(const void* src, DType type, std::size_t n) {
  record_target(HWY_TARGET);
  return ref::count_non_finite(src, type, n);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {

HWY_EXPORT(convert_floats_here);
HWY_EXPORT(count_non_finite_here);

void convert_floats(const void* src, DType from, void* dst, DType to, std::size_t n) {
  if (from == to) {
    if (n != 0) std::memcpy(dst, src, n * dtype_bytes(from));
    return;
  }
  HWY_DYNAMIC_DISPATCH(convert_floats_here)(src, from, dst, to, n);
}

std::size_t count_non_finite(const void* src, DType type, std::size_t n) {
  return HWY_DYNAMIC_DISPATCH(count_non_finite_here)(src, type, n);
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE

// Norms, gates and rotations of rows, on every SIMD target.
#include "kernels/decoder.h"

#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/decoder.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/active_target.h"
#include "kernels/floats-inl.h"
#include "kernels/ref/decoder.h"
#include "kernels/sigmoid-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

template <DType kType>
void norm_row(const RmsNorm& n, const std::uint8_t* x, std::uint8_t* y) {
  constexpr std::size_t kB = kBytes<kType>;
  Floats sums[2] = {hn::Zero(FloatTag()), hn::Zero(FloatTag())};
  std::size_t i = 0;
  for (; i + 2 * kLanes <= n.cols; i += 2 * kLanes) {
    const Floats a = load_floats<kType>(x + i * kB);
    const Floats b = load_floats<kType>(x + (i + kLanes) * kB);
    sums[0] = hn::MulAdd(a, a, sums[0]);
    sums[1] = hn::MulAdd(b, b, sums[1]);
  }
  float sum = hn::GetLane(hn::SumOfLanes(FloatTag(), hn::Add(sums[0], sums[1])));
  for (; i < n.cols; ++i) sum += ref::load(kType, x, i) * ref::load(kType, x, i);
  const float factor = 1 / std::sqrt(sum / static_cast<float>(n.cols) + n.epsilon);
  const auto* weight = static_cast<const std::uint8_t*>(n.weight);
  const Floats factors = set_float(factor);
  for (i = 0; i + kLanes <= n.cols; i += kLanes) {
    Floats v = round_floats<kType>(hn::Mul(load_floats<kType>(x + i * kB), factors));
    if (weight != nullptr) v = hn::Mul(v, load_floats<kType>(weight + i * kB));
    store_floats<kType>(v, y + i * kB);
  }
  for (; i < n.cols; ++i) {
    ref::store(kType, ref::load(kType, x, i) * factor, y, i);
    if (weight != nullptr)
      ref::store(kType, ref::load(kType, y, i) * ref::load(kType, weight, i), y, i);
  }
}

template <DType kType>
void norm_rows(const RmsNorm& n, std::size_t first, std::size_t last) {
  for (std::size_t row = first; row < last; ++row) {
    norm_row<kType>(n, element(n.x, kType, row * n.cols), element(n.y, kType, row * n.cols));
  }
}

template <DType kType>
void add_part(const void* a, const void* b, void* y, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store_floats<kType>(
        hn::Add(load_floats<kType>(element(a, kType, i)), load_floats<kType>(element(b, kType, i))),
        element(y, kType, i));
  }
  for (; i < count; ++i) ref::store(kType, ref::load(kType, a, i) + ref::load(kType, b, i), y, i);
}

template <DType kType>
void gate_part(const Gate& g, std::size_t first, std::size_t last) {
  std::size_t i = first;
  for (; i + kLanes <= last; i += kLanes) {
    const Floats x = load_floats<kType>(element(g.gate, kType, i));
    const Floats up = load_floats<kType>(element(g.up, kType, i));
    Floats inner = x;
    if (g.kind == GateKind::kGeluTanh) {
      // (1 + tanh(u)) / 2 is the sigmoid of 2u.
      const Floats cube = hn::Mul(hn::Mul(x, x), x);
      inner = hn::Mul(hn::MulAdd(cube, set_float(0.044715f), x), set_float(1.5957691216057308f));
    }
    store_floats<kType>(hn::Mul(hn::Mul(x, sigmoid(inner)), up), element(g.y, kType, i));
  }
  ref::gate(g, i, last);
}

template <DType kType>
void rotate_halves(const Rotation& r, std::size_t head, std::size_t first, std::size_t last) {
  constexpr std::size_t kB = kBytes<kType>;
  const std::size_t half = r.dims / 2;
  for (std::size_t t = first; t < last; ++t) {
    const std::uint8_t* x = element(r.x, kType, head * r.head_step + t * r.token_step);
    std::uint8_t* y = element(r.y, kType, (head * r.length + t) * r.size);
    for (std::size_t j = 0; j < half; j += kLanes) {
      const Floats a = load_floats<kType>(x + j * kB);
      const Floats b = load_floats<kType>(x + (j + half) * kB);
      const Floats cosine = hn::LoadU(FloatTag(), r.cosines + t * half + j);
      const Floats sine = hn::LoadU(FloatTag(), r.sines + t * half + j);
      store_floats<kType>(hn::Sub(hn::Mul(a, cosine), hn::Mul(b, sine)), y + j * kB);
      store_floats<kType>(hn::Add(hn::Mul(a, sine), hn::Mul(b, cosine)), y + (j + half) * kB);
    }
    std::memcpy(y + r.dims * kB, x + r.dims * kB, (r.size - r.dims) * kB);
  }
}

/// Calls f with the type as a constant.
template <class F>
void with_type(DType type, const F& f) {
  if (type == DType::kBF16) return f.template operator()<DType::kBF16>();
  if (type == DType::kF16) return f.template operator()<DType::kF16>();
  f.template operator()<DType::kF32>();
}

void rms_norm_here(const RmsNorm& n, std::size_t first, std::size_t last) {
  record_target(HWY_TARGET);
  with_type(n.type, [&]<DType kType>() HWY_ATTR { norm_rows<kType>(n, first, last); });
}

void add_here(DType type, const void* a, const void* b, void* y, std::size_t count) {
  record_target(HWY_TARGET);
  with_type(type, [&]<DType kType>() HWY_ATTR { add_part<kType>(a, b, y, count); });
}

void gate_here(const Gate& g, std::size_t first, std::size_t last) {
  record_target(HWY_TARGET);
  with_type(g.type, [&]<DType kType>() HWY_ATTR { gate_part<kType>(g, first, last); });
}

void rotate_here(const Rotation& r, std::size_t head, std::size_t first, std::size_t last) {
  record_target(HWY_TARGET);
  if (r.traditional || r.dims / 2 % kLanes != 0) return ref::rotate(r, head, first, last);
  with_type(r.type, [&]<DType kType>() HWY_ATTR { rotate_halves<kType>(r, head, first, last); });
}

#else

void rms_norm_here(const RmsNorm& n, std::size_t first, std::size_t last) {
  record_target(HWY_TARGET);
  ref::rms_norm(n, first, last);
}

void add_here(DType type, const void* a, const void* b, void* y, std::size_t count) {
  record_target(HWY_TARGET);
  for (std::size_t i = 0; i < count; ++i)
    ref::store(type, ref::load(type, a, i) + ref::load(type, b, i), y, i);
}

void gate_here(const Gate& g, std::size_t first, std::size_t last) {
  record_target(HWY_TARGET);
  ref::gate(g, first, last);
}

void rotate_here(const Rotation& r, std::size_t head, std::size_t first, std::size_t last) {
  record_target(HWY_TARGET);
  ref::rotate(r, head, first, last);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {
namespace {

HWY_EXPORT(rms_norm_here);
HWY_EXPORT(add_here);
HWY_EXPORT(gate_here);
HWY_EXPORT(rotate_here);

// Elements that are worth waking another thread.
constexpr std::size_t kTaskElements = 32768;

/// Calls part(first, last) for parts of `count` things of `each` elements.
template <class Part>
void in_parts(std::size_t count, std::size_t each, base::ThreadPool& pool, const Part& part) {
  const std::size_t task = std::max<std::size_t>(1, kTaskElements / std::max<std::size_t>(1, each));
  pool.run((count + task - 1) / task,
           [&](std::size_t i, int /*worker*/) { part(i * task, std::min(count, (i + 1) * task)); });
}

}  // namespace

void rms_norm(const RmsNorm& n, base::ThreadPool& pool) {
  in_parts(n.rows, n.cols, pool, [&](std::size_t first, std::size_t last) {
    HWY_DYNAMIC_DISPATCH(rms_norm_here)(n, first, last);
  });
}

void add(DType type, const void* a, const void* b, void* y, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(add_here)(type, a, b, y, count);
}

void gate(const Gate& g, base::ThreadPool& pool) {
  in_parts(g.count, 1, pool, [&](std::size_t first, std::size_t last) {
    HWY_DYNAMIC_DISPATCH(gate_here)(g, first, last);
  });
}

void rotate(const Rotation& r, base::ThreadPool& pool) {
  in_parts(r.heads, r.length * r.size, pool, [&](std::size_t first, std::size_t last) {
    for (std::size_t head = first; head < last; ++head) {
      HWY_DYNAMIC_DISPATCH(rotate_here)(r, head, 0, r.length);
    }
  });
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE

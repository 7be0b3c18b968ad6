#include "runtime/views.h"

#include <cstring>
#include <numeric>
#include <utility>

namespace mlxmill::runtime {
namespace {

/// Whether elements follow each other in row-major order; axes of 1 may have any stride.
bool is_row_major(const mx::Shape& shape, const mx::Strides& strides) {
  std::int64_t step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] != 1 && strides[axis] != step) return false;
    step *= shape[axis];
  }
  return true;
}

std::size_t elements(const mx::Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, [](std::size_t n, int extent) {
    return n * static_cast<std::size_t>(extent);
  });
}

/// Another look at what x holds, from `offset` elements of the new type behind its first.
mx::array view_of(const mx::array& x, mx::Dtype dtype, mx::Shape shape, const mx::Strides& strides,
                  std::int64_t offset) {
  const bool dense = is_row_major(shape, strides);
  const std::size_t size = elements(shape);
  // How many elements lie from the first to the last.
  std::size_t reach = size == 0 ? 0 : 1;
  for (std::size_t axis = 0; axis < shape.size() && size != 0; ++axis) {
    reach += static_cast<std::size_t>((shape[axis] - 1) * strides[axis]);
  }
  mx::array view(std::move(shape), dtype, nullptr, {});
  const mx::array::Flags flags{dense || reach == size, dense, dense && size <= 1};
  view.copy_shared_buffer(x, strides, flags, reach, offset);
  view.set_status(mx::array::Status::available);
  return view;
}

mx::Strides row_major_strides(const mx::Shape& shape) {
  mx::Strides strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0; step *= shape[axis]) strides[axis] = step;
  return strides;
}

/// The one extent of -1 in a shape, worked out.
mx::Shape completed(mx::Shape shape, std::size_t size) {
  std::size_t known = 1;
  int* open = nullptr;
  for (int& extent : shape) {
    if (extent == -1) {
      open = &extent;
    } else {
      known *= static_cast<std::size_t>(extent);
    }
  }
  if (open != nullptr) *open = known == 0 ? 0 : static_cast<int>(size / known);
  return shape;
}

/// Copies elements of `from`, in any layout, to where `strides` (in elements) place them.
void copy(const mx::array& from, std::uint8_t* to, const mx::Strides& strides) {
  const mx::Shape& shape = from.shape();
  const auto width = static_cast<std::int64_t>(from.itemsize());
  const auto* source = from.data<std::uint8_t>();
  if (from.size() == 0) return;
  if (is_row_major(shape, from.strides()) && is_row_major(shape, strides)) {
    std::memcpy(to, source, from.nbytes());
    return;
  }
  const std::size_t last = shape.size() - 1;
  const std::int64_t step = from.strides()[last];
  const std::int64_t step_to = strides[last];
  const std::int64_t length = shape[last];
  mx::Shape at(shape.size(), 0);
  for (std::size_t done = 0; done < from.size(); done += static_cast<std::size_t>(length)) {
    std::int64_t offset = 0;
    std::int64_t offset_to = 0;
    for (std::size_t axis = 0; axis < last; ++axis) {
      offset += at[axis] * from.strides()[axis];
      offset_to += at[axis] * strides[axis];
    }
    const std::uint8_t* run = source + offset * width;
    std::uint8_t* run_to = to + offset_to * width;
    if (step == 1 && step_to == 1) {
      std::memcpy(run_to, run, static_cast<std::size_t>(length * width));
    } else {
      for (std::int64_t i = 0; i < length; ++i) {
        std::memcpy(run_to + i * step_to * width, run + i * step * width,
                    static_cast<std::size_t>(width));
      }
    }
    for (std::size_t axis = last; axis-- > 0;) {
      if (++at[axis] < shape[axis]) break;
      at[axis] = 0;
    }
  }
}

}  // namespace

bool on_cpu() { return mx::default_device() == mx::Device(mx::Device::cpu); }

bool at_hand(const mx::array& x) { return x.is_available() && on_cpu(); }

mx::array settled(mx::array x) {
  if (on_cpu() && !x.is_available()) mx::eval(x);
  return x;
}

void settle(std::vector<mx::array> arrays) {
  if (on_cpu()) mx::eval(std::move(arrays));
}

mx::array reshaped(const mx::array& x, mx::Shape shape) {
  if (!at_hand(x) || !is_row_major(x.shape(), x.strides())) {
    return mx::reshape(x, std::move(shape));
  }
  shape = completed(std::move(shape), x.size());
  if (elements(shape) != x.size()) return mx::reshape(x, std::move(shape));
  const mx::Strides strides = row_major_strides(shape);
  return view_of(x, x.dtype(), std::move(shape), strides, 0);
}

mx::array swapped(const mx::array& x, int a, int b) {
  if (!at_hand(x)) return mx::swapaxes(x, a, b);
  mx::Shape shape = x.shape();
  mx::Strides strides = x.strides();
  std::swap(shape[static_cast<std::size_t>(a)], shape[static_cast<std::size_t>(b)]);
  std::swap(strides[static_cast<std::size_t>(a)], strides[static_cast<std::size_t>(b)]);
  return view_of(x, x.dtype(), std::move(shape), strides, 0);
}

mx::array part_of(const mx::array& bytes, std::size_t begin, mx::Shape shape, mx::Dtype dtype) {
  const mx::Strides strides = row_major_strides(shape);
  return view_of(bytes, dtype, std::move(shape), strides,
                 static_cast<std::int64_t>(begin / dtype.size()));
}

mx::array section(const mx::array& x, int axis, int begin, int end) {
  mx::Shape shape = x.shape();
  const std::size_t which =
      static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(x.ndim()) : axis);
  if (begin == 0 && end == shape[which]) return x;
  if (!at_hand(x)) {
    mx::Shape start(shape.size(), 0);
    start[which] = begin;
    shape[which] = end;
    return mx::slice(x, std::move(start), std::move(shape));
  }
  shape[which] = end - begin;
  return view_of(x, x.dtype(), std::move(shape), x.strides(), begin * x.strides()[which]);
}

void copy_row_major(const mx::array& x, void* to) {
  copy(x, static_cast<std::uint8_t*>(to), row_major_strides(x.shape()));
}

mx::array replaced(mx::array to, const mx::array& part, int axis, int begin) {
  const int end = begin + part.shape(axis);
  const bool now = at_hand(to) && at_hand(part);
  if (now && part.dtype() == to.dtype() && to.is_donatable()) {
    mx::array place = section(to, axis, begin, end);
    copy(part, place.data<std::uint8_t>(), place.strides());
    return to;
  }
  mx::Shape start(to.ndim(), 0);
  mx::Shape stop = to.shape();
  start[static_cast<std::size_t>(axis)] = begin;
  stop[static_cast<std::size_t>(axis)] = end;
  mx::array result = mx::slice_update(to, part, std::move(start), std::move(stop));
  return now ? settled(std::move(result)) : result;
}

}  // namespace mlxmill::runtime

// What primitives that run on the CPU alone have in common.
#pragma once

#include <mlx/backend/cpu/encoder.h>
#include <mlx/mlx.h>
#include <mlx/primitives.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "mlxmill/dtype.h"

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// The shape with another last extent.
inline mx::Shape with_last(mx::Shape shape, int last) {
  shape.back() = last;
  return shape;
}

class CpuPrimitive : public mx::Primitive {
 public:
  using Primitive::Primitive;

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error(std::string(name()) + " has no GPU form");
  }

 protected:
  friend std::vector<mx::array> results_of(const std::shared_ptr<CpuPrimitive>& primitive,
                                           std::vector<mx::array> inputs,
                                           std::vector<mx::Shape> shapes,
                                           const std::vector<mx::Dtype>& types);

  /// Does the work: behind what the stream has yet to do, or at once.
  template <class F>
  void dispatch(F&& work) {
    if (at_once_) {
      work();
    } else {
      mx::cpu::get_command_encoder(stream()).dispatch(std::forward<F>(work));
    }
  }

  /// x in row-major order in memory: itself, or a copy that is made before what is dispatched next.
  mx::array row_major(const mx::array& x);

  static void allocate(mx::array& y) { y.set_data(mx::allocator::malloc(y.nbytes())); }

 private:
  bool at_once_ = false;
  std::vector<mx::array> copies_;  ///< That work done at once reads.
};

/// Results of a primitive, of these shapes and types. Where all inputs are at hand
/// (runtime/views.h) they are computed now, on this thread and those of the pool: a step of
/// libmlx's graph costs some microseconds, most of them for another thread to take it over.
std::vector<mx::array> results_of(const std::shared_ptr<CpuPrimitive>& primitive,
                                  std::vector<mx::array> inputs, std::vector<mx::Shape> shapes,
                                  const std::vector<mx::Dtype>& types);

inline DType dtype_of(mx::Dtype type) {
  if (type == mx::float16) return DType::kF16;
  return type == mx::bfloat16 ? DType::kBF16 : DType::kF32;
}

inline bool is_float(mx::Dtype type) {
  return type == mx::float16 || type == mx::bfloat16 || type == mx::float32;
}

inline mx::Stream cpu_stream() { return mx::default_stream(mx::Device::cpu); }

}  // namespace mlxmill::runtime

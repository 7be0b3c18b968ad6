// What primitives that run on the CPU alone have in common.
#pragma once

#include <mlx/backend/cpu/encoder.h>
#include <mlx/mlx.h>
#include <mlx/primitives.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "mlxmill/dtype.h"

namespace mlxmill::runtime {

namespace mx = mlx::core;

class CpuPrimitive : public mx::Primitive {
 public:
  using Primitive::Primitive;

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error(std::string(name()) + " has no GPU form");
  }

 protected:
  template <class F>
  void dispatch(F&& work) {
    mx::cpu::get_command_encoder(stream()).dispatch(std::forward<F>(work));
  }

  static void allocate(mx::array& y) { y.set_data(mx::allocator::malloc(y.nbytes())); }
};

inline DType dtype_of(mx::Dtype type) {
  if (type == mx::float16) return DType::kF16;
  return type == mx::bfloat16 ? DType::kBF16 : DType::kF32;
}

inline bool is_float(mx::Dtype type) {
  return type == mx::float16 || type == mx::bfloat16 || type == mx::float32;
}

inline mx::Stream cpu_stream() { return mx::default_stream(mx::Device::cpu); }

}  // namespace mlxmill::runtime

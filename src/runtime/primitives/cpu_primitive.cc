#include "runtime/primitives/cpu_primitive.h"

#include <algorithm>
#include <utility>

#include "runtime/views.h"

namespace mlxmill::runtime {

mx::array CpuPrimitive::row_major(const mx::array& x) {
  if (x.flags().row_contiguous) return x;
  mx::array copy(x.shape(), x.dtype(), nullptr, {});
  allocate(copy);
  if (at_once_) {
    copy_row_major(x, copy.data<void>());
    copies_.push_back(copy);
    return copy;
  }
  auto& encoder = mx::cpu::get_command_encoder(stream());
  encoder.dispatch(
      [x = mx::array::unsafe_weak_copy(x), to = copy.data<void>()] { copy_row_major(x, to); });
  encoder.add_temporary(copy);
  return copy;
}

std::vector<mx::array> results_of(const std::shared_ptr<CpuPrimitive>& primitive,
                                  std::vector<mx::array> inputs, std::vector<mx::Shape> shapes,
                                  const std::vector<mx::Dtype>& types) {
  if (!std::all_of(inputs.begin(), inputs.end(), at_hand)) {
    return mx::array::make_arrays(std::move(shapes), types, primitive, inputs);
  }
  std::vector<mx::array> results;
  results.reserve(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    results.emplace_back(std::move(shapes[i]), types[i], nullptr, std::vector<mx::array>{});
  }
  primitive->at_once_ = true;
  primitive->eval_cpu(inputs, results);
  for (const mx::array& result : results) result.set_status(mx::array::Status::available);
  return results;
}

}  // namespace mlxmill::runtime

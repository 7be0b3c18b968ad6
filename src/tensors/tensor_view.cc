#include "tensors/tensor_view.h"

#include <utility>

namespace mlxmill::tensors {

Packed::Packed(const Scheme& scheme, TensorView codes, TensorView scales,
               std::optional<TensorView> biases, std::optional<TensorView> factor)
    : scheme_(scheme) {
  std::vector<TensorView> parts;
  parts.reserve(4);
  parts.push_back(std::move(codes));
  parts.push_back(std::move(scales));
  if (biases) parts.push_back(*std::move(biases));
  if (factor) parts.push_back(*std::move(factor));
  parts_ = std::move(parts);
}

}  // namespace mlxmill::tensors

#include "runtime/linear.h"

#include <algorithm>
#include <string>

#include "runtime/primitives/product.h"
#include "runtime/watch.h"

namespace mlxmill::runtime {
namespace {

std::string mode_of(const Linear& layer) { return std::string(mode_name(layer.scheme.mode)); }

/// The gathered product with plain weights. libmlx's CPU backend has it in float32 only.
mx::array gathered(const mx::array& weight, const mx::array& x, const mx::array& indices,
                   bool sorted) {
  const auto product = [&](const mx::array& rows, const mx::array& experts) {
    return mx::gather_mm(rows, mx::swapaxes(experts, -1, -2), std::nullopt, indices, sorted);
  };
  const bool on_cpu = mx::default_device() == mx::Device(mx::Device::cpu);
  if (!on_cpu || x.dtype() == mx::float32) return product(x, weight);
  // Few choices: their experts alone are copied. Many: all are widened, one layer at a time.
  if (indices.size() < static_cast<std::size_t>(weight.shape(0))) {
    return mx::matmul(x, mx::swapaxes(mx::take(weight, indices, 0), -1, -2));
  }
  return mx::astype(product(mx::astype(x, mx::float32), mx::astype(weight, mx::float32)),
                    x.dtype());
}

}  // namespace

mx::array apply(const Linear& layer, const mx::array& x) {
  if (Watch* watch = Watch::current()) watch->met(layer, x);
  if (multiplies_on_cpu(layer, x, 2)) return multiply_on_cpu({&layer}, x)[0];
  if (layer.scales) {
    mx::array y =
        mx::quantized_matmul(x, layer.weight, *layer.scales, layer.biases, /*transpose=*/true,
                             layer.scheme.group_size, layer.scheme.bits, mode_of(layer));
    return layer.bias ? mx::add(y, *layer.bias) : y;
  }
  const mx::array transposed = mx::swapaxes(layer.weight, -1, -2);
  return layer.bias ? mx::addmm(*layer.bias, x, transposed) : mx::matmul(x, transposed);
}

std::vector<mx::array> apply_all(const std::vector<const Linear*>& layers, const mx::array& x) {
  const auto here = [&](const Linear* layer) { return multiplies_on_cpu(*layer, x, 2); };
  if (std::all_of(layers.begin(), layers.end(), here)) {
    if (Watch* watch = Watch::current()) {
      for (const Linear* layer : layers) watch->met(*layer, x);
    }
    return multiply_on_cpu(layers, x);
  }
  std::vector<mx::array> results;
  for (const Linear* layer : layers) results.push_back(apply(*layer, x));
  return results;
}

mx::array apply_transposed(const Linear& layer, const mx::array& x) {
  if (!layer.scales) return mx::matmul(x, layer.weight);
  return mx::quantized_matmul(x, layer.weight, *layer.scales, layer.biases, /*transpose=*/false,
                              layer.scheme.group_size, layer.scheme.bits, mode_of(layer));
}

mx::array apply_gathered(const Linear& layer, const mx::array& x, const mx::array& indices,
                         bool sorted) {
  if (Watch* watch = Watch::current()) watch->met(layer, x, indices);
  mx::array y =
      multiplies_on_cpu(layer, x, 3) ? gather_on_cpu(layer, x, indices)
      : layer.scales
          ? mx::gather_qmm(x, layer.weight, *layer.scales, layer.biases, std::nullopt, indices,
                           /*transpose=*/true, layer.scheme.group_size, layer.scheme.bits,
                           mode_of(layer), std::nullopt, sorted)
          : gathered(layer.weight, x, indices, sorted);
  if (!layer.bias) return y;
  return mx::add(y, mx::expand_dims(mx::take(*layer.bias, indices, 0), -2));
}

mx::array rows(const Linear& layer, const mx::array& ids, mx::Dtype dtype) {
  if (has_rows_on_cpu(layer, ids)) return rows_on_cpu(layer, ids, dtype);
  const mx::array taken = mx::take(layer.weight, ids, 0);
  if (!layer.scales) return taken;
  std::optional<mx::array> biases;
  if (layer.biases) biases = mx::take(*layer.biases, ids, 0);
  std::optional<mx::Dtype> result;
  if (!layer.biases) result = dtype;
  return mx::dequantize(taken, mx::take(*layer.scales, ids, 0), biases, layer.scheme.group_size,
                        layer.scheme.bits, mode_of(layer), std::nullopt, result);
}

}  // namespace mlxmill::runtime

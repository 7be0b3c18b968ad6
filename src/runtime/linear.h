// Products with weights, plain or quantized: the one place that decides what computes them, and
// that tells a Watch (runtime/watch.h) what they read.
#pragma once

#include <mlx/mlx.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mlxmill/scheme.h"

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// A weight [..., out, in] with its optional bias [..., out]; quantized when there are scales.
struct Linear {
  mx::array weight;
  std::optional<mx::array> scales;
  std::optional<mx::array> biases;  ///< Of the groups; affine only.
  std::optional<mx::array> bias;
  Scheme scheme;          ///< Of the codes.
  bool int8_x = false;    ///< On the CPU, x may be rounded to 8 bits (kernels::Product::int8_x).
  std::string path = {};  ///< Of the module.
  /// Of the modules that a stack was made of, one for each matrix; null where it is one of the
  /// model's own.
  std::shared_ptr<const std::vector<std::string>> stacked_of = nullptr;

  int outputs() const { return weight.shape(-2); }
};

/// x [..., in] to [..., out]: x W^T + bias.
mx::array apply(const Linear& layer, const mx::array& x);

/// As apply, of several layers that read the same x.
std::vector<mx::array> apply_all(const std::vector<const Linear*>& layers, const mx::array& x);

/// x [..., out] to [..., in]: x W, without the bias. Not told to a Watch.
mx::array apply_transposed(const Linear& layer, const mx::array& x);

/// Each row by the expert that its index names. Requires x [..., 1, in] and indices whose shape
/// broadcasts with x's leading axes; result [..., 1, out]. `sorted`: equal indices stand together.
mx::array apply_gathered(const Linear& layer, const mx::array& x, const mx::array& indices,
                         bool sorted);

/// Rows of an embedding: ids [...] to [..., dims], in `dtype` where codes do not say.
mx::array rows(const Linear& layer, const mx::array& ids, mx::Dtype dtype);

}  // namespace mlxmill::runtime

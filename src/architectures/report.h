// How a checkpoint differs from what config.json describes, told so that a person can act on it.
#pragma once

#include <string>
#include <vector>

#include "mlxmill/error.h"
#include "tensors/tensor_view.h"

namespace mlxmill::architectures {

using tensors::TensorView;

/// Collects differences; keeps the first of each kind and counts the rest.
class Report {
 public:
  void missing(const std::string& name, const base::Shape& expected);
  void unexpected(const TensorView& view);
  void ill_formed(const std::string& name, const std::string& expected, const std::string& got);

  bool empty() const { return missing_.n + unexpected_.n + ill_formed_.n == 0; }
  std::size_t n_missing() const { return missing_.n; }

  /// kUnsupported when the differences are those of a quantization nothing here reads, else
  /// kInvalidInput.
  Error error(std::string_view family, bool mlx_quantized) const;

 private:
  struct Group {
    std::size_t n = 0;
    std::vector<std::string> shown;
  };
  static void add(Group& group, std::string text);
  static void append(std::string& text, const Group& group, std::string_view what);

  Group missing_;
  Group unexpected_;
  Group ill_formed_;
  bool foreign_quantization_ = false;
  bool has_scales_ = false;
  bool adapter_ = false;
};

/// True for a name or dtype that only a quantized checkpoint has, other than MLX's own.
bool looks_quantized(const TensorView& view);

}  // namespace mlxmill::architectures

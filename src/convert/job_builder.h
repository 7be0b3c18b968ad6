// Turns the modules of a layout into jobs and output tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "architectures/declaration.h"
#include "convert/conversion.h"
#include "formats/quantization_config.h"
#include "quantize/recipe.h"

namespace mlxmill::convert {

/// What becomes of every module alike.
struct JobSettings {
  std::optional<DType> dtype;  ///< Floats are cast to this; empty keeps them.
  bool dequantize = false;     ///< Packed modules become floats.
  std::optional<formats::QuantizationConfig> packed;  ///< The source's, when it is MLX-quantized.
};

/// Appends to a Conversion's jobs, outputs and planned modules.
class JobBuilder {
 public:
  JobBuilder(Conversion& conversion, JobSettings settings)
      : c_(conversion), settings_(std::move(settings)) {}

  /// Makes room for these modules.
  void expect(const std::vector<architectures::Module>& modules);

  /// Errors: kInvalidInput when a packed module's shapes fit no scheme its config names.
  Status add(const architectures::Module& module, const quantize::Decision& decision);

 private:
  Status add_packed(const architectures::Module& module);
  void add_copy(const architectures::Module& module, std::size_t index);
  void add_quantize(const architectures::Module& module, const Scheme& scheme);
  void add_dequantize(const architectures::Module& module, const Scheme& scheme);
  std::size_t add_output(std::string name, DType dtype, base::Shape shape, const Job& job);
  DType cast_type(const architectures::Module& module, std::size_t index) const;
  void note_plan(const architectures::Module& module, std::optional<Scheme> scheme,
                 std::string reason);

  Conversion& c_;
  JobSettings settings_;
  std::optional<DType> own_dtype_;  ///< Of the module at hand, by its rule.
};

}  // namespace mlxmill::convert

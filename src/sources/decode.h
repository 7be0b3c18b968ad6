// What a checkpoint's files keep, as weights: the one place that knows how others quantize.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"
#include "mlxmill/result.h"
#include "sources/source_table.h"

namespace mlxmill::sources {

/// A checkpoint's tensors, every weight under its plain name. Weights whose codes MLX can hold as
/// they are are packed views (tensors/tensor_view.h); the others are computed floats.
struct DecodedSource {
  std::string method;  ///< "gptq", "fp8", ...; empty for plain weights.
  std::vector<tensors::TensorView> tensors;
  /// Tensors that say nothing about weights, and why.
  std::vector<std::pair<std::string, std::string>> dropped;
  /// What mlx-lm writes as config.json's `quantization` for this method's codes; null where it has
  /// no own form.
  base::Value quantization;
  /// The float type of the scales that were kept, when it is a 16-bit one.
  std::optional<DType> scale_type;
  std::vector<std::string> warnings;
  /// config.json's quantization_config still says what the tensors are.
  bool keeps_settings = false;
};

/// The settings of the checkpoint's quantization: config.json's quantization_config, that of its
/// text_config, or `beside`, the contents of ModelOpt's hf_quant_config.json or of another file of
/// their own (null when there is none). Null for plain weights and for MLX's own.
const base::Value* settings_of(const base::Value& config, const base::Value& beside);

/// Turns everything into weights; plain ones stay as they are. BitNet's bytes, for which mlx-lm has
/// modules of its own, become MLX codes only with `repack`. Errors: kUnsupported for a method, or a
/// variant of one, that is not read, naming it and a tensor; kInvalidInput for tensors that do not
/// fit each other.
Result<DecodedSource> decode(const base::Value& config, const base::Value& beside,
                             std::vector<tensors::TensorView> tensors, const ReadSmall& read,
                             bool repack = false);

}  // namespace mlxmill::sources

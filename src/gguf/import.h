// A GGUF file as the Hugging Face checkpoint that it was made from: config.json, tensors under
// their names there, tokenizer files. What is rebuilt and what cannot be: docs/FORMATS.md.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/value.h"
#include "formats/gguf.h"
#include "mlxmill/result.h"
#include "tensors/tensor_view.h"

namespace mlxmill::gguf {

struct ImportedModel {
  base::Value config;  ///< config.json
  /// Under Hugging Face names, or MLX's where a layer is laid out as MLX has it.
  std::vector<tensors::TensorView> tensors;
  /// tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja: name and
  /// text. No tokenizer.json when the file's tokenizer is of a kind that is not known; a warning
  /// says so.
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<std::string> warnings;
};

/// `views`: one for each of model.tensors, in their order and under the names of the file. Reads
/// nothing of the file but the factors of RoPE (rope_freqs, rope_factors_*).
/// Errors: kUnsupported for an architecture that is not known, with the list of those that are, and
/// for RoPE factors that no known scaling gives; kInvalidInput for metadata that is missing, of the
/// wrong type or out of range, naming the key; kIo.
Result<ImportedModel> import_gguf(const formats::GgufModel& model,
                                  std::vector<tensors::TensorView> views);

/// The values of general.architecture that can be imported, in alphabetical order.
std::vector<std::string> importable_architectures();

/// One of them, and the values of model_type that it may become.
struct Importable {
  std::string architecture;
  std::vector<std::string> model_types;
};

/// All of them, in alphabetical order.
std::vector<Importable> importable_models();

}  // namespace mlxmill::gguf

// Which files of a repository a conversion needs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/remote_model.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// What of a repository is wanted. GGUF models are files: everything else is rebuilt from them.
struct Selection {
  std::vector<const RemoteFile*> small;  ///< Config, tokenizer, terms, card; needed first.
  const RemoteFile* index = nullptr;     ///< That names the weights; among `small`.
  std::string gguf;  ///< The file to open, first of its parts; empty for others.
  std::vector<const RemoteFile*> weights;  ///< Final only without an index.
};

/// Chooses from the list of files alone: safetensors before PyTorch's before GGUF. `file` asks for
/// a GGUF file, by its path or by a quantization that its name holds ("Q8_0"). Errors: kNotFound
/// when there are no weights that are read, or not that file; kUsage when several GGUF files would
/// do.
Result<Selection> select_files(const RemoteModel& model, std::string_view file);

/// Completes `selection.weights` by the text of its index. Errors: those of the index;
/// kInvalidInput for a shard that the repository lacks.
Status select_indexed(const RemoteModel& model, std::string_view index_text, Selection& selection);

}  // namespace mlxmill::hub

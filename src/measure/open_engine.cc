#include "measure/engine.h"
#include "measure/logits_file.h"

namespace mlxmill::measure {

Result<std::unique_ptr<Engine>> open_engine(const std::filesystem::path& path,
                                            const EvalOptions& /*options*/) {
  if (is_logits_file(path)) return open_logits_engine(path);
  return Error(Code::kUnsupported, "this build runs no models")
      .at(path.string())
      .hint(
          "give files of logits (.safetensors, docs/EVALUATION.md), or compare the weights alone "
          "with --weights-only");
}

}  // namespace mlxmill::measure

#include "measure/engine.h"
#include "measure/logits_file.h"

namespace mlxmill::measure {

Result<std::unique_ptr<Engine>> open_engine(const std::filesystem::path& path,
                                            const EvalOptions& options) {
  if (is_logits_file(path)) return open_logits_engine(path);
  return open_model_engine(path, options);
}

}  // namespace mlxmill::measure

#include "measure/model_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "measure/logits_file.h"
#include "mlxmill/inspect.h"

namespace mlxmill::measure {

Status folder_facts(const std::filesystem::path& path, EvalModel& model) {
  MLXMILL_ASSIGN(const ModelInfo info, inspect_model(path));
  model.name = path.filename().string();
  model.bytes = info.bytes;
  model.bits_per_weight = info.bits_per_weight;
  return {};
}

evaluate::WindowRule rule_of(const EvalOptions& options) {
  evaluate::WindowRule rule;
  rule.protocol = options.protocol;
  rule.context = options.context;
  rule.stride = options.stride.value_or(std::max(options.context / 2, 1));
  rule.samples = options.samples;
  rule.seed = options.seed;
  return rule;
}

std::string describe_protocol(const EvalOptions& options) {
  if (options.weights_only) return "weights only";
  if (options.layers_only) return "modules only; " + evaluate::describe(rule_of(options));
  if (options.candidates.empty() || !is_logits_file(options.candidates.front())) {
    return evaluate::describe(rule_of(options));
  }
  return options.protocol == EvalProtocol::kLlamaPerplexity
             ? "llama-perplexity, windows of the files, second half"
             : "windows of the files, every position";
}

std::string describe_encoding(const evaluate::RowEncoding& encoding) {
  switch (encoding.kind) {
    case ReferenceEncoding::kTop:
      return encoding.top < encoding.vocabulary
                 ? fmt::format("top {} of {} tokens, {} sampled from the tail", encoding.top,
                               encoding.vocabulary, encoding.samples)
                 : "exact";
    case ReferenceEncoding::kFloat16:
      return "float16 log-probabilities";
    case ReferenceEncoding::kFloat32:
      break;
  }
  return "exact";
}

}  // namespace mlxmill::measure

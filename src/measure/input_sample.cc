#include "measure/input_sample.h"

#include <algorithm>

namespace mlxmill::measure {
namespace {

/// The middle of part `i` of `parts` equal ones of [0, n).
std::size_t middle(std::size_t i, std::size_t parts, std::size_t n) {
  return (2 * i + 1) * n / (2 * parts);
}

}  // namespace

std::vector<SampledWindow> choose_positions(std::span<const evaluate::Window> windows) {
  std::vector<SampledWindow> chosen;
  const std::size_t n = std::min(windows.size(), kSampledWindows);
  for (std::size_t w = 0; w < n; ++w) {
    SampledWindow sampled{middle(w, n, windows.size()), {}};
    const evaluate::Window& window = windows[sampled.window];
    const std::size_t scored = window.end - window.begin;
    const std::size_t tokens = std::min(scored, kSampledTokens / n);
    for (std::size_t i = 0; i < tokens; ++i) {
      sampled.positions.push_back(window.begin +
                                  static_cast<std::uint32_t>(middle(i, tokens, scored)));
    }
    chosen.push_back(std::move(sampled));
  }
  return chosen;
}

void InputSample::add(std::vector<ModuleInput> inputs) {
  for (ModuleInput& input : inputs) inputs_[input.module].push_back(std::move(input));
}

std::span<const ModuleInput> InputSample::of(std::string_view module) const {
  const auto found = inputs_.find(module);
  if (found == inputs_.end()) return {};
  return found->second;
}

Result<InputSample> sample_inputs(Engine& engine, std::span<const evaluate::Window> windows,
                                  const SampleProgress& progress) {
  const std::vector<SampledWindow> chosen = choose_positions(windows);
  InputSample sample;
  for (std::size_t w = 0; w < chosen.size(); ++w) {
    if (!progress(w, chosen.size())) {
      return Error(Code::kCancelled, "stopped while inputs of modules were sampled");
    }
    const evaluate::Window& window = windows[chosen[w].window];
    MLXMILL_ASSIGN(std::vector<ModuleInput> inputs,
                   engine.inputs_at(window.tokens, chosen[w].positions));
    sample.add(std::move(inputs));
    sample.tokens += chosen[w].positions.size();
  }
  progress(chosen.size(), chosen.size());
  return sample;
}

}  // namespace mlxmill::measure

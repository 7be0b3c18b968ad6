// What reaches the modules of the reference, at some positions of the evaluated text.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/windows.h"
#include "measure/engine.h"
#include "mlxmill/result.h"
#include "mlxmill/run.h"

namespace mlxmill::measure {

/// Positions that are sampled of all windows together. For each the rows that reached every module
/// are held in the type they were computed in: 1.7 MB a position for a model of 8 billion
/// parameters.
inline constexpr std::size_t kSampledTokens = 128;
/// They lie in at most so many windows.
inline constexpr std::size_t kSampledWindows = 8;

/// Positions of one window.
struct SampledWindow {
  std::size_t window = 0;
  std::vector<std::uint32_t> positions;  ///< Rising.
};

/// Windows spread evenly over all, and evenly spread scored positions of each: the middles of equal
/// parts. So the first token of a text, whose activations are like no other's, is seldom among
/// them.
std::vector<SampledWindow> choose_positions(std::span<const evaluate::Window> windows);

class InputSample {
 public:
  void add(std::vector<ModuleInput> inputs);
  /// All that reached a module; empty for one that multiplied nothing.
  std::span<const ModuleInput> of(std::string_view module) const;
  std::uint64_t tokens = 0;

 private:
  std::map<std::string, std::vector<ModuleInput>, std::less<>> inputs_;
};

/// Called with windows done and in all; false stops.
using SampleProgress = std::function<bool(std::size_t done, std::size_t total)>;

/// Runs the engine over the chosen positions' windows. Errors: those of Engine::inputs_at;
/// kCancelled.
Result<InputSample> sample_inputs(Engine& engine, std::span<const evaluate::Window> windows,
                                  const SampleProgress& progress);

}  // namespace mlxmill::measure

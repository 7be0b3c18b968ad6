#include "gguf/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mlxmill::gguf {
namespace {

// Of all published models of this kind.
constexpr double kLow = 1.0;
constexpr double kHigh = 4.0;
// The factors are F32, computed in F32.
constexpr double kTolerance = 1e-5;

double factor_of(double frequency, double factor, double original) {
  const double wave = 2 * std::numbers::pi / frequency;
  if (wave < original / kHigh) return 1;
  if (wave > original / kLow) return factor;
  const double smooth = (original / wave - kLow) / (kHigh - kLow);
  return 1 / ((1 - smooth) / factor + smooth);
}

bool gives(std::span<const float> factors, double base, double factor, double original) {
  const double n = static_cast<double>(factors.size());
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double frequency = 1 / std::pow(base, static_cast<double>(i) / n);
    const double expected = factor_of(frequency, factor, original);
    if (!(std::abs(factors[i] - expected) <= kTolerance * expected)) return false;
  }
  return true;
}

}  // namespace

Result<base::Value> llama3_rope_of(std::span<const float> factors, double base) {
  const double factor =
      factors.empty() ? 0 : static_cast<double>(*std::max_element(factors.begin(), factors.end()));
  // 8192 is that of every Llama 3; others have been seen in small models only.
  std::int64_t original = 8192;
  bool found = factor >= 1 && gives(factors, base, factor, static_cast<double>(original));
  for (std::int64_t other = 32; !found && factor >= 1 && other <= (1 << 24); other *= 2) {
    original = other;
    found = gives(factors, base, factor, static_cast<double>(original));
  }
  if (!found) {
    return Error(
               Code::kUnsupported,
               "its factors are not those of Llama 3's RoPE scaling; no config.json can hold them")
        .at("tensor \"rope_freqs.weight\"");
  }
  base::Value result{base::Object()};
  result.set("factor", factor);
  result.set("low_freq_factor", kLow);
  result.set("high_freq_factor", kHigh);
  result.set("original_max_position_embeddings", original);
  return result;
}

std::optional<std::int64_t> turned_frequencies(std::span<const float> factors) {
  const auto end = std::find_if(factors.begin(), factors.end(), [](float f) { return f != 1; });
  if (end == factors.end() || !std::all_of(end, factors.end(), [](float f) { return f >= 1e29f; }))
    return std::nullopt;
  return end - factors.begin();
}

}  // namespace mlxmill::gguf

#include "generate/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace mlxmill::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

Error out_of_range(std::string_view flag, std::string_view expected, double got) {
  return {Code::kUsage, fmt::format("{}: expected {}, got {}", flag, expected, got)};
}

Status check_unit(std::string_view flag, double value) {
  if (value >= 0 && value <= 1) return {};
  return out_of_range(flag, "a number from 0 to 1", value);
}

Status check_penalties(const Penalties& penalties) {
  if (!(penalties.repetition >= 0) || !std::isfinite(penalties.repetition)) {
    return out_of_range("--repetition-penalty", "a number of at least 0", penalties.repetition);
  }
  if (!std::isfinite(penalties.presence)) {
    return out_of_range("--presence-penalty", "a finite number", penalties.presence);
  }
  if (!std::isfinite(penalties.frequency)) {
    return out_of_range("--frequency-penalty", "a finite number", penalties.frequency);
  }
  const int shortest = std::min(
      {penalties.repetition_context, penalties.presence_context, penalties.frequency_context});
  if (shortest < 1) return out_of_range("penalty context", "at least 1 token", shortest);
  return {};
}

Status check_tokens(const SamplingOptions& options, int size) {
  for (const auto& [token, bias] : options.logit_bias) {
    if (token < 0 || token >= size) {
      return out_of_range("--logit-bias", fmt::format("tokens from 0 to {}", size - 1), token);
    }
    if (std::isnan(bias)) return out_of_range("--logit-bias", "numbers", bias);
  }
  return {};
}

std::span<const int> last(std::span<const int> history, int context) {
  const std::size_t n = std::min(history.size(), static_cast<std::size_t>(context));
  return history.last(n);
}

/// Each token once, so that a penalty hits a repeated one as often as mlx-lm's indexing does.
std::vector<int> distinct(std::span<const int> tokens, int size) {
  std::vector<int> result;
  for (const int token : tokens) {
    if (token >= 0 && token < size) result.push_back(token);
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

}  // namespace

Result<Sampler> Sampler::create(SamplingOptions options, int vocabulary_size) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature)) {
    return out_of_range("--temp", "a number of at least 0", options.temperature);
  }
  MLXMILL_TRY(check_unit("--top-p", options.top_p));
  MLXMILL_TRY(check_unit("--min-p", options.min_p));
  MLXMILL_TRY(check_unit("--xtc-probability", options.xtc_probability));
  if (!(options.xtc_threshold >= 0 && options.xtc_threshold <= 0.5)) {
    return out_of_range("--xtc-threshold", "a number from 0 to 0.5", options.xtc_threshold);
  }
  if (options.top_k < 0) return out_of_range("--top-k", "at least 0", options.top_k);
  if (options.min_tokens_to_keep < 1) {
    return out_of_range("--min-tokens-to-keep", "at least 1", options.min_tokens_to_keep);
  }
  MLXMILL_TRY(check_penalties(options.penalties));
  MLXMILL_TRY(check_tokens(options, vocabulary_size));
  return Sampler(std::move(options), vocabulary_size);
}

double Sampler::uniform() {
  // 53 random bits: std::uniform_real_distribution differs between libraries.
  return static_cast<double>(random_() >> 11U) * 0x1p-53;
}

void Sampler::penalize(std::span<float> logits, std::span<const int> history) const {
  for (const auto& [token, bias] : options_.logit_bias) {
    logits[static_cast<std::size_t>(token)] += static_cast<float>(bias);
  }
  const Penalties& penalties = options_.penalties;
  if (penalties.repetition != 0 && penalties.repetition != 1) {
    const auto factor = static_cast<float>(penalties.repetition);
    for (const int token : distinct(last(history, penalties.repetition_context), size_)) {
      float& logit = logits[static_cast<std::size_t>(token)];
      logit = logit < 0 ? logit * factor : logit / factor;
    }
  }
  if (penalties.presence != 0) {
    for (const int token : distinct(last(history, penalties.presence_context), size_)) {
      logits[static_cast<std::size_t>(token)] -= static_cast<float>(penalties.presence);
    }
  }
  if (penalties.frequency != 0) {
    for (const int token : last(history, penalties.frequency_context)) {
      if (token < 0 || token >= size_) continue;
      logits[static_cast<std::size_t>(token)] -= static_cast<float>(penalties.frequency);
    }
  }
}

void to_log_probabilities(std::span<float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  const double log_sum = largest + std::log(sum);
  for (float& logit : logits) logit = static_cast<float>(logit - log_sum);
}

void Sampler::filter(std::span<float> log_probabilities) {
  const auto keep_at_least = [&](float threshold) {
    for (float& value : log_probabilities) {
      if (value < threshold) value = kNever;
    }
  };
  if (options_.top_p > 0 && options_.top_p < 1) {
    sorted_.assign(log_probabilities.begin(), log_probabilities.end());
    std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
    double total = 0;
    for (const float value : sorted_) total += std::exp(static_cast<double>(value));
    double above = 0;
    std::size_t last_kept = 0;
    for (std::size_t i = 0; i < sorted_.size() && above < options_.top_p * total; ++i) {
      above += std::exp(static_cast<double>(sorted_[i]));
      last_kept = i;
    }
    keep_at_least(sorted_[last_kept]);
  }
  if (options_.min_p > 0) {
    const float largest = *std::max_element(log_probabilities.begin(), log_probabilities.end());
    float threshold = largest + static_cast<float>(std::log(options_.min_p));
    const auto kept = static_cast<std::size_t>(options_.min_tokens_to_keep);
    if (kept > 1) {
      sorted_.assign(log_probabilities.begin(), log_probabilities.end());
      const std::size_t k = std::min(kept, sorted_.size()) - 1;
      std::nth_element(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(k),
                       sorted_.end(), std::greater<>());
      threshold = std::min(threshold, sorted_[k]);
    }
    keep_at_least(threshold);
  }
}

void Sampler::exclude_top_choices(std::span<float> log_probabilities) const {
  double total = 0;
  for (const float value : log_probabilities) total += std::exp(static_cast<double>(value));
  const double threshold = options_.xtc_threshold * total;
  double least = std::numeric_limits<double>::infinity();
  for (const float value : log_probabilities) {
    const double probability = std::exp(static_cast<double>(value));
    if (probability > threshold) least = std::min(least, probability);
  }
  for (std::size_t i = 0; i < log_probabilities.size(); ++i) {
    if (!(std::exp(static_cast<double>(log_probabilities[i])) > least)) continue;
    const auto& spared = options_.xtc_special_tokens;
    if (std::find(spared.begin(), spared.end(), static_cast<int>(i)) != spared.end()) continue;
    log_probabilities[i] = kNever;
  }
}

Result<int> Sampler::draw(std::span<float> logits) {
  float largest = kNever;
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) {
      return Error(Code::kInvalidInput, fmt::format("logit of token {} is NaN", i))
          .hint("do the weights hold NaN or infinity? mlxmill verify MODEL tells");
    }
    if (logits[i] > largest) {
      largest = logits[i];
      best = i;
    }
  }
  if (!std::isfinite(largest)) {
    return Error(Code::kInvalidInput, "no logit is finite");
  }
  if (options_.temperature == 0) return static_cast<int>(best);
  to_log_probabilities(logits);
  filter(logits);
  if (options_.xtc_probability > 0 && uniform() <= options_.xtc_probability) {
    exclude_top_choices(logits);
  }
  // (log-probability, token) of what is left; mlx-lm takes top-k last.
  std::vector<std::pair<float, int>> left;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kNever) left.emplace_back(logits[i], static_cast<int>(i));
  }
  if (options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < left.size()) {
    const auto better = [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    };
    std::nth_element(left.begin(), left.begin() + options_.top_k, left.end(), better);
    left.resize(static_cast<std::size_t>(options_.top_k));
    std::sort(left.begin(), left.end(),
              [](const auto& a, const auto& b) { return a.second < b.second; });
  }
  if (left.empty()) return static_cast<int>(best);
  float top = kNever;
  for (const auto& [value, token] : left) top = std::max(top, value);
  double total = 0;
  std::vector<double> cumulative;
  cumulative.reserve(left.size());
  for (const auto& [value, token] : left) {
    total += std::exp((static_cast<double>(value) - top) / options_.temperature);
    cumulative.push_back(total);
  }
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), uniform() * total) -
                      cumulative.begin();
  return left[std::min(static_cast<std::size_t>(chosen), left.size() - 1)].second;
}

}  // namespace mlxmill::generate

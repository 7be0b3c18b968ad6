#include "evaluate/windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>

namespace mlxmill::evaluate {
namespace {

constexpr int kMlxLmSamples = 256;

Error too_short(const std::string& name, std::size_t tokens, std::size_t needed) {
  return Error(Code::kInvalidInput,
               fmt::format("text '{}' has {} tokens, fewer than the {} that this protocol needs",
                           name, tokens, needed))
      .hint("give a longer text or a smaller --context");
}

std::vector<std::int32_t> joined(const TokenText& text) {
  std::vector<std::int32_t> tokens;
  for (const auto& record : text.records) tokens.insert(tokens.end(), record.begin(), record.end());
  return tokens;
}

// n indices spread evenly over `count` windows.
std::vector<std::size_t> spread(std::size_t count, std::optional<int> samples) {
  const std::size_t n = samples ? std::min(count, static_cast<std::size_t>(*samples)) : count;
  std::vector<std::size_t> chosen(n);
  for (std::size_t i = 0; i < n; ++i) chosen[i] = i * count / n;
  return chosen;
}

Status add_strided(const WindowRule& rule, const TokenText& text, std::uint32_t index,
                   std::vector<Window>& windows) {
  const std::vector<std::int32_t> tokens = joined(text);
  const std::size_t lead = rule.bos ? 1 : 0;
  const std::size_t length = static_cast<std::size_t>(rule.context) - lead;
  const auto stride = std::min(static_cast<std::size_t>(rule.stride), length);
  if (tokens.size() < length) return too_short(text.name, tokens.size() + lead, length + lead);
  const std::size_t count = (tokens.size() - length + stride - 1) / stride + 1;
  for (const std::size_t w : spread(count, rule.samples)) {
    const std::size_t first = w * stride;
    const std::size_t last = std::min(first + length, tokens.size());
    // Text tokens from here on are not yet scored; each needs something before it in the window.
    const std::size_t unscored = w == 0 ? 0 : first - stride + length;
    const std::size_t fresh = std::max(unscored, first + 1 - lead);
    if (fresh >= last) continue;
    Window window{index, {}, 0, 0};
    if (rule.bos) window.tokens.push_back(*rule.bos);
    window.tokens.insert(window.tokens.end(), tokens.begin() + static_cast<std::ptrdiff_t>(first),
                         tokens.begin() + static_cast<std::ptrdiff_t>(last));
    window.begin = static_cast<std::uint32_t>(fresh - first + lead - 1);
    window.end = static_cast<std::uint32_t>(window.tokens.size() - 1);
    windows.push_back(std::move(window));
  }
  return {};
}

Status add_llama(const WindowRule& rule, const TokenText& text, std::uint32_t index,
                 std::vector<Window>& windows) {
  const std::vector<std::int32_t> tokens = joined(text);
  const auto context = static_cast<std::size_t>(rule.context);
  if (tokens.size() < 2 * context) return too_short(text.name, tokens.size(), 2 * context);
  std::size_t count = tokens.size() / context;
  if (rule.samples) count = std::min(count, static_cast<std::size_t>(*rule.samples));
  for (std::size_t w = 0; w < count; ++w) {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(w * context);
    Window window{index, {first, first + rule.context}, 0, 0};
    if (rule.bos) window.tokens.front() = *rule.bos;
    window.begin = static_cast<std::uint32_t>(context / 2);
    window.end = static_cast<std::uint32_t>(context - 1);
    windows.push_back(std::move(window));
  }
  return {};
}

// All texts are one data set, as there.
Status add_mlx_lm(const WindowRule& rule, std::span<const TokenText> texts,
                  std::vector<Window>& windows) {
  std::vector<std::pair<std::uint32_t, const std::vector<std::int32_t>*>> records;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    for (const auto& record : texts[t].records) {
      records.emplace_back(static_cast<std::uint32_t>(t), &record);
    }
  }
  const auto context = static_cast<std::size_t>(rule.context);
  const auto wanted = static_cast<std::size_t>(rule.samples.value_or(kMlxLmSamples));
  std::vector<std::int32_t> tokens;
  std::vector<std::uint32_t> owners;
  for (const std::size_t r : numpy_permutation(rule.seed, records.size())) {
    if (wanted > 0 && tokens.size() >= wanted * context) break;
    const auto& [text, record] = records[r];
    tokens.insert(tokens.end(), record->begin(), record->end());
    owners.resize(tokens.size(), text);
  }
  if (tokens.size() < context) {
    return too_short(texts.size() == 1 ? texts[0].name : "all", tokens.size(), context);
  }
  std::size_t count = tokens.size() / context;
  if (wanted > 0) count = std::min(count, wanted);
  for (std::size_t w = 0; w < count; ++w) {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(w * context);
    windows.push_back({owners[w * context],
                       {first, first + rule.context},
                       0,
                       static_cast<std::uint32_t>(context - 1)});
  }
  return {};
}

Status check_rule(const WindowRule& rule) {
  const int least = rule.protocol == EvalProtocol::kLlamaPerplexity ? 4 : 2;
  if (rule.context < least) {
    return Error(Code::kUsage, fmt::format("a context of {} is too small: {} needs at least {}",
                                           rule.context, protocol_name(rule.protocol), least));
  }
  if (rule.protocol == EvalProtocol::kStrided && (rule.stride < 1 || rule.stride > rule.context)) {
    return Error(Code::kUsage, fmt::format("the stride must be from 1 to the context of {}, got {}",
                                           rule.context, rule.stride));
  }
  return {};
}

}  // namespace

std::string describe(const WindowRule& rule) {
  std::string text = fmt::format("{}, context {}", protocol_name(rule.protocol), rule.context);
  if (rule.protocol == EvalProtocol::kStrided) text += fmt::format(", stride {}", rule.stride);
  if (rule.protocol == EvalProtocol::kMlxLmPerplexity) text += fmt::format(", seed {}", rule.seed);
  if (rule.samples) text += fmt::format(", {} samples", *rule.samples);
  return text;
}

Result<std::vector<Window>> make_windows(const WindowRule& rule, std::span<const TokenText> texts) {
  MLXMILL_TRY(check_rule(rule));
  std::vector<Window> windows;
  if (rule.protocol == EvalProtocol::kMlxLmPerplexity) {
    MLXMILL_TRY(add_mlx_lm(rule, texts, windows));
    return windows;
  }
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const auto index = static_cast<std::uint32_t>(t);
    MLXMILL_TRY(rule.protocol == EvalProtocol::kStrided
                    ? add_strided(rule, texts[t], index, windows)
                    : add_llama(rule, texts[t], index, windows));
  }
  return windows;
}

std::uint64_t scored_positions(std::span<const Window> windows) {
  std::uint64_t n = 0;
  for (const Window& window : windows) n += window.end - window.begin;
  return n;
}

Status check_windows(std::span<const Window> windows, std::int64_t vocabulary, std::size_t texts) {
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const Window& window = windows[w];
    if (window.text >= texts || window.begin >= window.end || window.end >= window.tokens.size()) {
      return Error(Code::kInvalidInput, fmt::format("window {} scores positions it lacks", w));
    }
    for (const std::int32_t id : window.tokens) {
      if (id >= 0 && id < vocabulary) continue;
      return Error(Code::kInvalidInput, fmt::format("window {}: token id {} is outside the "
                                                    "vocabulary of {}",
                                                    w, id, vocabulary))
          .hint("the tokens come from another tokenizer");
    }
  }
  return {};
}

std::vector<std::size_t> numpy_permutation(std::uint32_t seed, std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 generator(seed);
  for (std::size_t i = n; i-- > 1;) {
    const std::uint32_t mask = std::bit_ceil(static_cast<std::uint32_t>(i) + 1) - 1;
    std::uint32_t j = 0;
    do {
      j = static_cast<std::uint32_t>(generator()) & mask;
    } while (j > i);
    std::swap(order[i], order[j]);
  }
  return order;
}

}  // namespace mlxmill::evaluate

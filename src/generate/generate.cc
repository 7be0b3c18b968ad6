#include "mlxmill/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/process.h"
#include "generate/drafter.h"
#include "generate/reusable.h"
#include "generate/sampler.h"
#include "generate/stop_strings.h"

namespace mlxmill {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<int> as_ints(std::span<const TokenId> ids) { return {ids.begin(), ids.end()}; }

/// The answer as it is shown: decoded, and cut at stop strings.
class Output {
 public:
  Output(const Tokenizer& tokenizer, const GenerateOptions& options, const OnText& on_text)
      : stream_(tokenizer), stops_(options.stop), on_text_(on_text) {}

  Status add(TokenId id) {
    MLXMILL_ASSIGN(const std::string piece, stream_.add(id));
    show(stops_.push(piece));
    return {};
  }

  Status finish() {
    MLXMILL_ASSIGN(const std::string rest, stream_.finish());
    show(stops_.push(rest));
    show(stops_.finish());
    return {};
  }

  bool stopped() const { return stops_.stopped(); }
  bool cancelled() const { return cancelled_; }
  std::string take_text() { return std::move(text_); }

 private:
  void show(const std::string& piece) {
    text_ += piece;
    // An empty piece, too: the caller may want to stop before the next character is whole.
    if (on_text_ && !cancelled_ && !on_text_(piece)) cancelled_ = true;
  }

  TokenStream stream_;
  generate::StopStrings stops_;
  const OnText& on_text_;
  std::string text_;
  bool cancelled_ = false;
};

Status check_prompt(const Model& model, const ModelCache& cache, std::span<const TokenId> prompt) {
  if (prompt.empty()) {
    return Error(Code::kUsage, "the prompt has no tokens").hint("give the model some text");
  }
  const auto length = static_cast<std::int64_t>(prompt.size());
  if (length > model.facts().context) {
    return Error(Code::kUsage, fmt::format("the prompt has {} tokens, the context {}", length,
                                           model.facts().context))
        .hint("--context gives the model more room");
  }
  if (length <= cache.length()) {
    return Error(Code::kUsage, fmt::format("the prompt has {} tokens, the cache {} already", length,
                                           cache.length()));
  }
  return {};
}

}  // namespace

std::string_view finish_name(Finish finish) {
  constexpr std::string_view kNames[] = {"end of text", "stop string", "max tokens", "context full",
                                         "cancelled"};
  return kNames[static_cast<std::size_t>(finish)];
}

void rewind_cache(const Model& model, ModelCache& cache, std::span<const TokenId> seen,
                  std::span<const TokenId> prompt) {
  const auto length = static_cast<std::int64_t>(generate::reusable(seen, prompt));
  if (cache.length() != length && !cache.trim_to(length)) cache = model.new_cache();
}

Result<Generated> generate_text(const Model& model, const Tokenizer& tokenizer, ModelCache& cache,
                                std::span<const TokenId> prompt, const GenerateOptions& options,
                                const OnText& on_text) {
  MLXMILL_TRY(check_prompt(model, cache, prompt));
  MLXMILL_ASSIGN(
      generate::Sampler sampler,
      generate::Sampler::create(options.sampling, static_cast<int>(model.facts().vocabulary)));
  std::vector<TokenId> ends = tokenizer.eos();
  ends.insert(ends.end(), options.end_tokens.begin(), options.end_tokens.end());
  Generated result;
  result.prompt_tokens = prompt.size();
  result.cached_tokens = static_cast<std::size_t>(cache.length());
  std::vector<int> history = as_ints(prompt);
  generate::NextLogits next(model, cache, options.draft, options.draft_tokens);
  Output output(tokenizer, options, on_text);
  Clock::time_point start = Clock::now();
  while (true) {
    if (!result.ids.empty() && output.stopped()) {
      result.finish = Finish::kStopString;
      break;
    }
    if (output.cancelled()) {
      result.finish = Finish::kCancelled;
      break;
    }
    if (options.max_tokens >= 0 &&
        static_cast<std::int64_t>(result.ids.size()) >= options.max_tokens) {
      result.finish = Finish::kMaxTokens;
      break;
    }
    if (static_cast<std::int64_t>(history.size()) > model.facts().context) {
      result.finish = Finish::kContext;
      break;
    }
    const std::int64_t room =
        options.max_tokens < 0 ? std::numeric_limits<std::int64_t>::max()
                               : options.max_tokens - static_cast<std::int64_t>(result.ids.size());
    MLXMILL_ASSIGN(const std::span<float> logits, next.after(history, room, sampler));
    sampler.penalize(logits, history);
    MLXMILL_ASSIGN(const int token, sampler.draw(logits));
    if (result.ids.empty()) {
      result.prompt_seconds = seconds_since(start);
      start = Clock::now();
    }
    const auto id = static_cast<TokenId>(token);
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      result.finish = Finish::kEndToken;
      break;
    }
    result.ids.push_back(id);
    history.push_back(token);
    MLXMILL_TRY(output.add(id));
  }
  result.generation_seconds = seconds_since(start);
  result.drafted_tokens = next.right_guesses();
  MLXMILL_TRY(next.finish(history));
  MLXMILL_TRY(output.finish());
  result.text = output.take_text();
  result.peak_memory = base::peak_memory();
  return result;
}

}  // namespace mlxmill

#include "generate/drafter.h"

#include <algorithm>

#include "generate/reusable.h"

namespace mlxmill::generate {
namespace {

/// Forgets what the cache holds beyond `length` tokens.
Status forget(ModelCache& cache, std::size_t length, std::string_view whose) {
  const auto keep = static_cast<std::int64_t>(length);
  if (cache.length() <= keep || cache.trim_to(keep)) return {};
  return Error(Code::kUnsupported, std::string(whose) +
                                       " cannot forget tokens again, which "
                                       "guesses need")
      .hint("leave out --draft-model (recurrent states and --max-kv-size are in its way)");
}

}  // namespace

Result<std::vector<int>> Drafter::guess(std::span<const int> history, std::int64_t most,
                                        int id_limit, const Sampler& sampler) {
  seen_.resize(reusable<int>(seen_, history));
  MLXMILL_TRY(forget(cache_, seen_.size(), "the draft model"));
  std::vector<int> text(history.begin(), history.end());
  std::vector<int> guesses;
  const auto limit =
      static_cast<std::size_t>(std::min<std::int64_t>(id_limit, model_.facts().vocabulary));
  for (std::int64_t i = 0; i < most; ++i) {
    if (static_cast<std::int64_t>(text.size()) > model_.facts().context) break;
    MLXMILL_ASSIGN(Logits logits,
                   model_.run(std::span<const int>(text).subspan(seen_.size()), cache_));
    seen_ = text;
    sampler.penalize(logits.values, text);
    const auto likeliest = std::max_element(
        logits.values.begin(), logits.values.begin() + static_cast<std::ptrdiff_t>(limit));
    text.push_back(static_cast<int>(likeliest - logits.values.begin()));
    guesses.push_back(text.back());
  }
  return guesses;
}

NextLogits::NextLogits(const Model& model, ModelCache& cache, const Model* draft,
                       std::int64_t guesses)
    : model_(model), cache_(cache), most_guesses_(guesses) {
  if (draft && guesses > 0) drafter_.emplace(*draft);
}

std::span<float> NextLogits::row(std::size_t position) {
  return std::span(logits_.values).subspan(position * logits_.vocabulary, logits_.vocabulary);
}

/// Whether the rows at hand go on to the token after `history`.
bool NextLogits::guessed(std::span<const int> history) const {
  if (logits_.positions == 0 || history.size() <= first_) return false;
  const std::size_t drawn = history.size() - first_;
  return drawn < logits_.positions && guesses_[drawn - 1] == history.back();
}

Result<std::span<float>> NextLogits::after(std::span<const int> history, std::int64_t room,
                                           const Sampler& sampler) {
  if (guessed(history)) {
    ++right_;
    return row(history.size() - first_);
  }
  MLXMILL_TRY(forget(cache_, history.size() - 1, "the model"));
  const auto unread = [&] { return history.subspan(static_cast<std::size_t>(cache_.length())); };
  guesses_.clear();
  first_ = history.size();
  if (!drafter_) {
    MLXMILL_ASSIGN(logits_, model_.run(unread(), cache_));
    return row(0);
  }
  // Of a prompt only the last token's logits are wanted.
  if (unread().size() > 1) {
    MLXMILL_ASSIGN(logits_, model_.run(unread().first(unread().size() - 1), cache_));
  }
  const std::int64_t most =
      std::min({most_guesses_, room - 1,
                model_.facts().context - static_cast<std::int64_t>(history.size())});
  MLXMILL_ASSIGN(guesses_, drafter_->guess(history, most,
                                           static_cast<int>(model_.facts().vocabulary), sampler));
  std::vector<int> ids{history.back()};
  ids.insert(ids.end(), guesses_.begin(), guesses_.end());
  MLXMILL_ASSIGN(logits_, model_.run(ids, cache_, LogitsOf::kAll));
  return row(0);
}

Status NextLogits::finish(std::span<const int> history) {
  return forget(cache_, history.size(), "the model");
}

}  // namespace mlxmill::generate

#include <algorithm>

#include "mlxmill/tokenizer.h"

namespace mlxmill {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";
/// A character has at most four bytes: only so many replacement characters at the end of a text
/// can still become one.
constexpr int kMaxOpen = 3;
/// Tokens without any text of their own do not pile up for ever.
constexpr std::size_t kMaxWindow = 64;

/// Bytes of `text` that more tokens cannot change.
std::size_t settled(std::string_view text) {
  for (int i = 0; i < kMaxOpen && text.ends_with(kReplacement); ++i) {
    text.remove_suffix(kReplacement.size());
  }
  return text.size();
}

}  // namespace

TokenStream::TokenStream(Tokenizer tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

Result<std::string> TokenStream::add(TokenId id) {
  // A token that is left out must not stand at the beginning of the window: decoders treat what
  // comes first in a text in ways of its own.
  if (skip_special_tokens_ && tokenizer_.is_special(id)) return std::string();
  const std::string before = text_.substr(0, given_);
  window_.push_back(id);
  MLXMILL_ASSIGN(text_, tokenizer_.decode(window_, skip_special_tokens_));
  if (!text_.starts_with(before)) {
    // The token changed what has been given: it is read alone.
    window_.assign(1, id);
    context_ = 0;
    given_ = 0;
    MLXMILL_ASSIGN(text_, tokenizer_.decode(window_, skip_special_tokens_));
  }
  const std::size_t end = std::max(settled(text_), given_);
  std::string text = text_.substr(given_, end - given_);
  given_ = end;
  if (given_ == text_.size() && (!text.empty() || window_.size() > kMaxWindow)) {
    // All is given: the newest tokens become what the next ones are read behind.
    window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(context_));
    context_ = window_.size();
    MLXMILL_ASSIGN(text_, tokenizer_.decode(window_, skip_special_tokens_));
    given_ = text_.size();
  } else if (window_.size() > kMaxWindow) {
    // Bytes that never become a character: the last few tokens hold all that is open.
    const std::size_t open = text_.size() - given_;
    window_.erase(window_.begin(), window_.end() - kMaxOpen);
    context_ = 0;
    MLXMILL_ASSIGN(text_, tokenizer_.decode(window_, skip_special_tokens_));
    given_ = text_.size() - std::min(open, text_.size());
  }
  return text;
}

Result<std::string> TokenStream::finish() {
  std::string text = text_.substr(std::min(given_, text_.size()));
  window_.clear();
  text_.clear();
  context_ = 0;
  given_ = 0;
  return text;
}

}  // namespace mlxmill

// What this room is in a build without it.
#include "mlxmill/tokenizer.h"

namespace mlxmill {

struct Tokenizer::Parts {
  std::vector<TokenId> eos;
};

namespace {

Error absent() {
  return Error(Code::kUnsupported, "this mlxmill was built without tokenizers")
      .hint("build it with -DMLXMILL_WITH_RUNTIME=ON");
}

}  // namespace

// No Tokenizer can come to be: the functions below exist so that programs link.
Result<Tokenizer> Tokenizer::open(const std::filesystem::path&) { return absent(); }
Result<std::vector<TokenId>> Tokenizer::encode(std::string_view, bool) const { return absent(); }
Result<std::string> Tokenizer::decode(std::span<const TokenId>, bool) const { return absent(); }
std::size_t Tokenizer::size() const { return 0; }
std::size_t Tokenizer::id_limit() const { return 0; }
std::optional<std::string> Tokenizer::token_bytes(TokenId) const { return {}; }
std::optional<std::string> Tokenizer::token_spelling(TokenId) const { return {}; }
std::optional<TokenId> Tokenizer::find(std::string_view) const { return {}; }
bool Tokenizer::is_special(TokenId) const { return false; }
std::optional<TokenId> Tokenizer::bos() const { return {}; }
const std::vector<TokenId>& Tokenizer::eos() const { return parts_->eos; }
std::vector<std::string> Tokenizer::chat_templates() const { return {}; }
Result<std::string> Tokenizer::render_chat(std::string_view, const ChatOptions&) const {
  return absent();
}

TokenStream::TokenStream(Tokenizer tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}
Result<std::string> TokenStream::add(TokenId) { return absent(); }
Result<std::string> TokenStream::finish() {
  // clang takes a member that no function names for unused.
  context_ = given_ = 0;
  skip_special_tokens_ = false;
  return absent();
}

}  // namespace mlxmill

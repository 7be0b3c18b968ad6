// Text to token ids and back, and chats to text, as the files beside a model say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill {

using TokenId = std::uint32_t;

/// What a chat template is given beside the messages. JSON texts are those of transformers'
/// apply_chat_template.
struct ChatOptions {
  /// End with what makes the model answer.
  bool add_generation_prompt = true;
  /// Leave the last message open, so that the model goes on with it. Not with
  /// add_generation_prompt.
  bool continue_final_message = false;
  std::string template_name{};   ///< Empty: "tool_use" where there are tools and one of that name,
                                 ///< else "default".
  std::string template_text{};   ///< A template to use instead of the model's; empty: the model's.
  std::string tools_json{};      ///< A list of functions, or empty.
  std::string documents_json{};  ///< A list of documents, or empty.
  std::string variables_json{};  ///< An object of further variables, or empty; they win over
                                 ///< bos_token and the like.
};

/// The tokenizer of a model folder. Copies share one; all functions may be called from several
/// threads at once.
class Tokenizer {
 public:
  /// Reads tokenizer.json; without one tokenizer.model (SentencePiece) or vocab.json with
  /// merges.txt. Also tokenizer_config.json, special_tokens_map.json, added_tokens.json, the chat
  /// templates, and the ids of config.json and generation_config.json, where they are. Token ids
  /// are those of transformers' AutoTokenizer; docs/CLI.md says where it departs from a file and
  /// this follows. Errors: kNotFound without a tokenizer; kInvalidInput for damaged or hostile
  /// files, naming them; kUnsupported for a tokenizer of another kind or when mlxmill was built
  /// without it.
  static Result<Tokenizer> open(const std::filesystem::path& folder);

  /// The token ids of a text. With `add_special_tokens` also what the tokenizer puts around every
  /// text (often a bos token); special tokens spelled in the text become one id either way.
  /// Errors: kInvalidInput when the text is no UTF-8, naming the byte where it stops being that, or
  /// when a regular expression of the tokenizer gives up on it.
  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special_tokens = true) const;

  /// The text of token ids; bytes that make no UTF-8 become U+FFFD. Ids without a token are left
  /// out.
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special_tokens = false) const;

  /// Count of tokens, added ones included: transformers' len(tokenizer).
  std::size_t size() const;
  /// One more than the largest id: at most this many rows of an embedding are tokens.
  std::size_t id_limit() const;

  /// The bytes that a token stands for in the middle of a text; half a character in some. Nothing
  /// for an id without a token.
  std::optional<std::string> token_bytes(TokenId id) const;
  /// The spelling of a token in the vocabulary.
  std::optional<std::string> token_spelling(TokenId id) const;
  /// The id of a token by its spelling.
  std::optional<TokenId> find(std::string_view spelling) const;
  /// Whether decode leaves the token out when it skips special tokens.
  bool is_special(TokenId id) const;

  std::optional<TokenId> bos() const;
  /// The tokens that end a text: those of generation_config.json, else of config.json, and the
  /// tokenizer's own. In order.
  const std::vector<TokenId>& eos() const;

  /// Names of the chat templates; a single one is "default".
  std::vector<std::string> chat_templates() const;

  /// Renders a chat, a JSON list of messages with "role" and "content" (and whatever else the
  /// template knows), as transformers' apply_chat_template does. Templates are code from
  /// strangers: they see nothing but the chat, and run within bounds on steps, nesting, memory and
  /// output. Encode the result without special tokens: templates write their own. Errors: kUsage
  /// for arguments that contradict each other or a name without a template, kInvalidInput for JSON
  /// that is none, a template that fails, refuses the chat or passes a bound, kUnsupported when the
  /// model has no template.
  Result<std::string> render_chat(std::string_view messages_json,
                                  const ChatOptions& options = {}) const;

 private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

  std::shared_ptr<const Parts> parts_;
};

/// The text of token ids that come one by one. Never gives a part of a character; what it gives,
/// put together, is what decode gives for all. (One exception: where bytes that made whole
/// characters are followed by bytes that make none, decode may turn all of them into U+FFFD.)
class TokenStream {
 public:
  explicit TokenStream(Tokenizer tokenizer, bool skip_special_tokens = true);

  /// The text that is certain now; often empty.
  Result<std::string> add(TokenId id);
  /// The rest, when no more ids come. Begins anew.
  Result<std::string> finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  std::vector<TokenId> window_;  // Tokens whose text is not all given, behind those before them.
  std::size_t context_ = 0;      // How many of them have been given whole.
  std::size_t given_ = 0;        // Bytes of the window's text that have been given.
  std::string text_;             // The window's text.
};

}  // namespace mlxmill

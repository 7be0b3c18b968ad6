// Text from a model: one answer, or a conversation. Needs a build with the runtime.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"
#include "mlxmill/run.h"
#include "mlxmill/sampling.h"
#include "mlxmill/tokenizer.h"

namespace mlxmill {

struct GenerateOptions {
  SamplingOptions sampling;
  /// At most so many tokens; negative: until the model or the context ends.
  std::int64_t max_tokens = 100;
  /// The answer ends before the first of these.
  std::vector<std::string> stop;
  /// Tokens that end the answer, beside the tokenizer's.
  std::vector<TokenId> end_tokens;
  /// A smaller model with the same tokens, which must live as long: it guesses up to draft_tokens
  /// tokens, and the model checks them at once. What is drawn does not depend on it, only how fast.
  /// Neither model may have recurrent states or ModelOptions::max_kv_size.
  const Model* draft = nullptr;
  std::int64_t draft_tokens = 3;
};

enum class Finish : std::uint8_t {
  kEndToken,    ///< The model ended its answer.
  kStopString,  ///< One of GenerateOptions::stop came.
  kMaxTokens,
  kContext,    ///< The sequence is as long as ModelOptions::context.
  kCancelled,  ///< The caller asked to stop.
};

/// "end of text", "stop string", ...
std::string_view finish_name(Finish finish);

struct Generated {
  std::string text;
  std::vector<TokenId> ids;  ///< Of the answer, without the end token.
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;   ///< Of these, how many the cache held already.
  std::size_t drafted_tokens = 0;  ///< Of the answer, how many the draft model had guessed.
  double prompt_seconds = 0;       ///< Until the first token was drawn.
  double generation_seconds = 0;   ///< From then on.
  std::uint64_t peak_memory = 0;   ///< Peak resident set of the process, bytes; 0 where unknown.
  Finish finish = Finish::kMaxTokens;
};

/// Gets the text as it comes, whole characters only; returns false to stop.
using OnText = std::function<bool(std::string_view text)>;

/// Goes on after `prompt`, whose first cache.length() tokens are those the cache holds. Afterwards
/// the cache holds the prompt and all of the answer but perhaps its last token.
/// Errors: kUsage for bad options, for an empty prompt, and for one that is longer than the context
/// or not longer than the cache; kUnsupported for a draft where tokens cannot be forgotten; those
/// of Model::run and TokenStream.
Result<Generated> generate_text(const Model& model, const Tokenizer& tokenizer, ModelCache& cache,
                                std::span<const TokenId> prompt, const GenerateOptions& options,
                                const OnText& on_text = {});

/// Leaves in the cache, which has `seen` these tokens, those that `prompt` begins with too, all but
/// the prompt's last: that one is run in any case, for its logits. A cache that cannot go back so
/// far begins anew.
void rewind_cache(const Model& model, ModelCache& cache, std::span<const TokenId> seen,
                  std::span<const TokenId> prompt);

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant".
  std::string content;
};

/// A JSON list of messages, as Tokenizer::render_chat takes them. Errors: kInvalidInput for text
/// that is not UTF-8.
Result<std::string> messages_json(std::span<const ChatMessage> messages);
/// The inverse. Errors: kInvalidInput for anything but a list of objects with two strings.
Result<std::vector<ChatMessage>> parse_messages(std::string_view json);

/// A conversation. What the model has read stays in its cache as long as the rendered chat goes on
/// with it. Threads: one call at a time.
class ChatSession {
 public:
  /// `system`: the first message; empty: none. `variables_json`: see ChatOptions. The model and the
  /// tokenizer must live as long.
  ChatSession(const Model& model, Tokenizer tokenizer, GenerateOptions options, std::string system,
              std::string variables_json = {});

  /// Adds the user's message and the answer, even a cancelled one. On an error nothing is added.
  Result<Generated> say(std::string text, const OnText& on_text = {});
  /// Draws the last answer anew. Errors: kUsage when there is none.
  Result<Generated> retry(const OnText& on_text = {});

  /// Forgets everything but the system message.
  void reset();
  /// A new system message, from the beginning of the conversation.
  void set_system(std::string text);

  const std::vector<ChatMessage>& messages() const { return messages_; }
  /// Errors: kInvalidInput for roles that are not "system" at the start, then "user" and
  /// "assistant" in turns, with an answer at the end.
  Status set_messages(std::vector<ChatMessage> messages);

 private:
  Result<Generated> answer(const std::vector<ChatMessage>& messages, const OnText& on_text);

  const Model& model_;
  Tokenizer tokenizer_;
  GenerateOptions options_;
  std::string variables_json_;
  std::vector<ChatMessage> messages_;
  ModelCache cache_;
  std::vector<TokenId> seen_;  // What the cache holds.
  std::uint64_t answers_ = 0;
};

}  // namespace mlxmill

#include <fmt/format.h>

#include <algorithm>

#include "formats/json.h"
#include "formats/unicode.h"
#include "mlxmill/generate.h"

namespace mlxmill {
namespace {

constexpr std::string_view kSystem = "system";
constexpr std::string_view kUser = "user";
constexpr std::string_view kAssistant = "assistant";

Result<std::string> text_of(const base::Value& message, std::string_view key) {
  const base::Value* value = message.find(key);
  const std::string* text = value ? value->as_string() : nullptr;
  if (!text) {
    return Error(Code::kInvalidInput, fmt::format("expected messages with the text '{}', got {}",
                                                  key, value ? value->type_name() : "none"));
  }
  return *text;
}

}  // namespace

Result<std::string> messages_json(std::span<const ChatMessage> messages) {
  base::Array list;
  for (const ChatMessage& message : messages) {
    if (!formats::is_utf8(message.content)) {
      return Error(Code::kInvalidInput, fmt::format("the {} message is not UTF-8", message.role));
    }
    list.emplace_back(base::Object{{"role", base::Value(message.role)},
                                   {"content", base::Value(message.content)}});
  }
  return formats::dump_json(base::Value(std::move(list)));
}

Result<std::vector<ChatMessage>> parse_messages(std::string_view json) {
  MLXMILL_ASSIGN(const base::Value value, formats::parse_json(json));
  const base::Array* list = value.as_array();
  if (!list) {
    return Error(Code::kInvalidInput,
                 fmt::format("expected a list of messages, got {}", value.type_name()));
  }
  std::vector<ChatMessage> messages;
  for (const base::Value& entry : *list) {
    ChatMessage message;
    MLXMILL_ASSIGN(message.role, text_of(entry, "role"));
    MLXMILL_ASSIGN(message.content, text_of(entry, "content"));
    messages.push_back(std::move(message));
  }
  return messages;
}

ChatSession::ChatSession(const Model& model, Tokenizer tokenizer, GenerateOptions options,
                         std::string system, std::string variables_json)
    : model_(model),
      tokenizer_(std::move(tokenizer)),
      options_(std::move(options)),
      variables_json_(std::move(variables_json)),
      cache_(model.new_cache()) {
  set_system(std::move(system));
}

Result<Generated> ChatSession::answer(const std::vector<ChatMessage>& messages,
                                      const OnText& on_text) {
  MLXMILL_ASSIGN(const std::string json, messages_json(messages));
  ChatOptions chat;
  chat.variables_json = variables_json_;
  MLXMILL_ASSIGN(const std::string text, tokenizer_.render_chat(json, chat));
  MLXMILL_ASSIGN(const std::vector<TokenId> prompt, tokenizer_.encode(text, false));
  rewind_cache(model_, cache_, seen_, prompt);
  GenerateOptions options = options_;
  // Every answer draws numbers of its own, or a retry would say the same again.
  options.sampling.seed += answers_++;
  Result<Generated> result = generate_text(model_, tokenizer_, cache_, prompt, options, on_text);
  // The cache has read the beginning of these, and nothing else, whatever came in between.
  seen_ = prompt;
  if (result) seen_.insert(seen_.end(), result->ids.begin(), result->ids.end());
  seen_.resize(std::min(seen_.size(), static_cast<std::size_t>(cache_.length())));
  return result;
}

Result<Generated> ChatSession::say(std::string text, const OnText& on_text) {
  std::vector<ChatMessage> messages = messages_;
  messages.push_back({std::string(kUser), std::move(text)});
  Result<Generated> result = answer(messages, on_text);
  if (!result) return result;
  messages.push_back({std::string(kAssistant), result->text});
  messages_ = std::move(messages);
  return result;
}

Result<Generated> ChatSession::retry(const OnText& on_text) {
  if (messages_.empty() || messages_.back().role != kAssistant) {
    return Error(Code::kUsage, "there is no answer yet");
  }
  std::vector<ChatMessage> messages(messages_.begin(), messages_.end() - 1);
  Result<Generated> result = answer(messages, on_text);
  if (result) messages_.back().content = result->text;
  return result;
}

void ChatSession::reset() {
  const bool has_system = !messages_.empty() && messages_.front().role == kSystem;
  messages_.resize(has_system ? 1 : 0);
}

void ChatSession::set_system(std::string text) {
  messages_.clear();
  if (!text.empty()) messages_.push_back({std::string(kSystem), std::move(text)});
}

Status ChatSession::set_messages(std::vector<ChatMessage> messages) {
  std::size_t i = !messages.empty() && messages.front().role == kSystem ? 1 : 0;
  for (std::string_view expected = kUser; i < messages.size(); ++i) {
    if (messages[i].role != expected) {
      return Error(Code::kInvalidInput, fmt::format("message {}: expected role '{}', got '{}'", i,
                                                    expected, messages[i].role));
    }
    expected = expected == kUser ? kAssistant : kUser;
  }
  if (!messages.empty() && messages.back().role == kUser) {
    return Error(Code::kInvalidInput, "the last message has no answer");
  }
  messages_ = std::move(messages);
  return {};
}

}  // namespace mlxmill

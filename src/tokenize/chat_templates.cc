#include "tokenize/chat_templates.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/quoted.h"
#include "formats/json.h"
#include "tokenize/engine.h"

namespace mlxmill::tokenize {
namespace {

using base::Value;

// The longest published have some 20 kB.
constexpr std::uint64_t kMaxTemplateBytes = 4 << 20;
constexpr std::string_view kMore = "additional_chat_templates";
constexpr std::string_view kSuffix = ".jinja";

Result<ChatTemplates> read_files(const formats::ModelFolder& folder) {
  ChatTemplates templates;
  if (folder.has("chat_template.jinja")) {
    MLXMILL_ASSIGN(std::string text, folder.read("chat_template.jinja", kMaxTemplateBytes));
    templates.emplace_back("default", std::move(text));
  }
  std::error_code failure;
  if (!std::filesystem::is_directory(folder.path() / kMore, failure)) return templates;
  MLXMILL_ASSIGN(const formats::ModelFolder more,
                 formats::ModelFolder::open(folder.path() / kMore));
  for (const std::string& name : more.names()) {
    if (!name.ends_with(kSuffix)) continue;
    // By its path from the model folder, which it may not leave.
    MLXMILL_ASSIGN(std::string text,
                   folder.read(fmt::format("{}/{}", kMore, name), kMaxTemplateBytes));
    templates.emplace_back(name.substr(0, name.size() - kSuffix.size()), std::move(text));
  }
  return templates;
}

/// The member "chat_template" of a file: a text, or a list of names and texts.
Result<ChatTemplates> read_member(const Value& object, std::string_view file) {
  ChatTemplates templates;
  const Value* given = object.find("chat_template");
  if (!given || given->is_null()) return templates;
  if (const std::string* text = given->as_string()) {
    templates.emplace_back("default", *text);
    return templates;
  }
  if (given->as_object()) {
    for (const base::Member& member : *given->as_object()) {
      if (member.value.as_string()) templates.emplace_back(member.key, *member.value.as_string());
    }
    return templates;
  }
  const auto wrong = [&](std::string_view key, const Value& got) {
    return Error(Code::kInvalidInput,
                 fmt::format("{} is {}; expected a text, or a list of objects with \"name\" and "
                             "\"template\"",
                             key, got.type_name()))
        .at(file);
  };
  if (!given->as_array()) return wrong("\"chat_template\"", *given);
  for (const Value& entry : *given->as_array()) {
    const Value* name = entry.find("name");
    const Value* text = entry.find("template");
    if (!name || !name->as_string() || !text || !text->as_string()) {
      return wrong("an entry of \"chat_template\"", entry);
    }
    templates.emplace_back(*name->as_string(), *text->as_string());
  }
  return templates;
}

const std::string* find(const ChatTemplates& templates, std::string_view name) {
  // Of two with one name the last counts, as in a dict.
  for (auto entry = templates.rbegin(); entry != templates.rend(); ++entry) {
    if (entry->first == name) return &entry->second;
  }
  return nullptr;
}

Result<std::string> choose(const ChatTemplates& templates, const ChatOptions& options) {
  if (!options.template_text.empty()) return options.template_text;
  if (templates.empty()) {
    return Error(Code::kUnsupported, "the model has no chat template")
        .hint("it may be no chat model; give it plain text, or a template of your own");
  }
  const std::string* found = nullptr;
  if (!options.template_name.empty()) {
    found = find(templates, options.template_name);
  } else {
    if (!options.tools_json.empty()) found = find(templates, "tool_use");
    if (!found) found = find(templates, "default");
  }
  if (found) return *found;
  std::string names;
  for (const auto& [name, text] : templates) {
    names += (names.empty() ? "" : ", ") + base::quoted(name);
  }
  return Error(Code::kUsage, options.template_name.empty()
                                 ? std::string("no chat template is named \"default\"")
                                 : fmt::format("no chat template is named {}",
                                               base::quoted(options.template_name)))
      .hint("there are " + names);
}

Result<Value> parse(std::string_view json, std::string_view what) {
  Result<Value> value = formats::parse_json(json, {.refuse_duplicate_keys = false});
  if (!value) return std::move(value.error().at(what));
  return value;
}

Result<Value> parse_list(std::string_view json, std::string_view what) {
  if (json.empty()) return Value();
  MLXMILL_ASSIGN(Value value, parse(json, what));
  if (!value.as_array()) {
    return Error(Code::kInvalidInput, fmt::format("is {}; expected a list", value.type_name()))
        .at(what);
  }
  return value;
}

/// A variable that is null where neither the list nor another variable of the name is given.
Status set_list(Value& context, std::string_view name, std::string_view json) {
  if (json.empty() && context.find(name)) return {};
  MLXMILL_ASSIGN(Value list, parse_list(json, name));
  context.set(name, std::move(list));
  return {};
}

/// A message without members that are null: many templates fail on them. What a model thought
/// goes by three names.
Value normalized(const Value& message) {
  Value result{base::Object()};
  const Value* thought = nullptr;
  for (const std::string_view key : {"reasoning_content", "thinking", "reasoning"}) {
    const Value* value = message.find(key);
    if (!thought && value && !value->is_null()) thought = value;
  }
  if (thought) result.set("thinking", *thought);
  for (const base::Member& member : *message.as_object()) {
    if (!member.value.is_null()) result.set(member.key, member.value);
  }
  if (thought) result.set("reasoning_content", *thought);
  return result;
}

Result<Value> messages_of(std::string_view json) {
  MLXMILL_ASSIGN(Value list, parse_list(json.empty() ? "[]" : json, "messages"));
  if (list.as_array()->empty()) {
    return Error(Code::kInvalidInput, "the chat has no messages").at("messages");
  }
  for (Value& message : *list.as_array()) {
    if (!message.as_object()) {
      return Error(Code::kInvalidInput,
                   fmt::format("one is {}; expected an object with \"role\" and \"content\"",
                               message.type_name()))
          .at("messages");
    }
    message = normalized(message);
  }
  return list;
}

Result<Value> variables_of(const std::vector<std::pair<std::string, std::string>>& named,
                           const ChatOptions& options) {
  Value variables{base::Object()};
  for (const auto& [name, text] : named) variables.set(name, text);
  if (options.variables_json.empty()) return variables;
  MLXMILL_ASSIGN(const Value more, parse(options.variables_json, "template variables"));
  if (!more.as_object()) {
    return Error(Code::kInvalidInput, fmt::format("are {}; expected an object", more.type_name()))
        .at("template variables");
  }
  for (const base::Member& member : *more.as_object()) variables.set(member.key, member.value);
  return variables;
}

// What transformers appends to the message that is to be continued, to find its end again.
constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";

/// Puts the mark behind the text of a message part and gives the text; none where it has none under
/// `key`.
std::optional<std::string> mark(Value& object, std::string_view key) {
  const Value* given = object.find(key);
  if (!given || !given->as_string()) return std::nullopt;
  std::string text = *given->as_string();
  object.set(key, text + std::string(kTag));
  return text;
}

/// Puts the mark behind the text of the last message, or behind its last part that is text.
std::optional<std::string> mark_final(Value& messages) {
  Value& last = messages.as_array()->back();
  if (std::optional<std::string> text = mark(last, "content")) return text;
  for (base::Member& member : *last.as_object()) {
    base::Array* parts = member.key == "content" ? member.value.as_array() : nullptr;
    for (std::size_t i = parts ? parts->size() : 0; i > 0; --i) {
      if (std::optional<std::string> text = mark((*parts)[i - 1], "text")) return text;
    }
  }
  return std::nullopt;
}

// What Python's str.strip() takes away, in UTF-8.
constexpr std::string_view kSpaces[] = {" ",      "\t",     "\n",     "\v",     "\f",     "\r",
                                        "\x1c",   "\x1d",   "\x1e",   "\x1f",   "\u0085", "\u00a0",
                                        "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
                                        "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                        "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

std::string_view strip_end(std::string_view text) {
  const auto ends = [&](std::string_view space) { return text.ends_with(space); };
  const std::string_view* space = nullptr;
  while ((space = std::ranges::find_if(kSpaces, ends)) != std::end(kSpaces)) {
    text.remove_suffix(space->size());
  }
  return text;
}

std::string_view strip(std::string_view text) {
  const auto begins = [&](std::string_view space) { return text.starts_with(space); };
  const std::string_view* space = nullptr;
  while ((space = std::ranges::find_if(kSpaces, begins)) != std::end(kSpaces)) {
    text.remove_prefix(space->size());
  }
  return strip_end(text);
}

/// Cuts behind `text`, the last message's, which has to be there whole but for spaces around it.
Result<std::string> cut_after_final(std::string rendered, std::string_view text) {
  const std::string_view mark = kTag.substr(0, kTag.size() - 1);
  const std::size_t at = rendered.rfind(mark);
  if (at == std::string::npos || rendered.find(strip(text)) == std::string::npos) {
    return Error(Code::kInvalidInput,
                 "the chat template leaves out the last message or a part of it, so it cannot be "
                 "continued");
  }
  const bool spaces_kept = std::string_view(rendered).substr(at, kTag.size()) == kTag;
  rendered.resize(at);
  if (!spaces_kept) rendered.resize(strip_end(rendered).size());
  return rendered;
}

}  // namespace

Result<ChatTemplates> read_chat_templates(const formats::ModelFolder& folder,
                                          const Settings& settings) {
  MLXMILL_ASSIGN(ChatTemplates templates, read_files(folder));
  if (!templates.empty()) return templates;
  MLXMILL_ASSIGN(templates, read_member(settings.config, "tokenizer_config.json"));
  if (!templates.empty()) return templates;
  MLXMILL_ASSIGN(const Value file, read_object(folder, "chat_template.json"));
  return read_member(file, "chat_template.json");
}

Result<std::string> render_chat(const ChatTemplates& templates,
                                const std::vector<std::pair<std::string, std::string>>& named,
                                std::string_view messages_json, const ChatOptions& options) {
  if (options.continue_final_message && options.add_generation_prompt) {
    return Error(Code::kUsage,
                 "a chat cannot both go on with its last message and begin an answer");
  }
  MLXMILL_ASSIGN(const std::string source, choose(templates, options));
  MLXMILL_ASSIGN(Value messages, messages_of(messages_json));
  std::optional<std::string> final_text;
  if (options.continue_final_message) {
    final_text = mark_final(messages);
    if (!final_text) {
      return Error(Code::kInvalidInput, "the last message has no text to continue").at("messages");
    }
  }
  MLXMILL_ASSIGN(Value context, variables_of(named, options));
  context.set("messages", std::move(messages));
  MLXMILL_TRY(set_list(context, "tools", options.tools_json));
  MLXMILL_TRY(set_list(context, "documents", options.documents_json));
  context.set("add_generation_prompt", options.add_generation_prompt);
  MLXMILL_ASSIGN(std::string rendered, render_template(source, context));
  return final_text ? cut_after_final(std::move(rendered), *final_text) : rendered;
}

}  // namespace mlxmill::tokenize

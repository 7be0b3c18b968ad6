// The chat templates of a model folder, and chats as templates are given them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/model_folder.h"
#include "mlxmill/result.h"
#include "mlxmill/tokenizer.h"
#include "tokenize/settings.h"

namespace mlxmill::tokenize {

/// Names and texts; a single one is "default".
using ChatTemplates = std::vector<std::pair<std::string, std::string>>;

/// chat_template.jinja and additional_chat_templates/NAME.jinja; without those the one or ones of
/// tokenizer_config.json; without those chat_template.json. Errors: kInvalidInput, naming the file.
Result<ChatTemplates> read_chat_templates(const formats::ModelFolder& folder,
                                          const Settings& settings);

/// Renders a chat; see Tokenizer::render_chat. `named` are "bos_token" and the like.
Result<std::string> render_chat(const ChatTemplates& templates,
                                const std::vector<std::pair<std::string, std::string>>& named,
                                std::string_view messages_json, const ChatOptions& options);

}  // namespace mlxmill::tokenize

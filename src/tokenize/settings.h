// What the files beside a tokenizer say about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"
#include "formats/model_folder.h"
#include "mlxmill/result.h"

namespace mlxmill::tokenize {

/// A token that is matched whole in a text, with the flags of tokenizer.json's "added_tokens".
struct AddedToken {
  std::string content;
  std::optional<std::int64_t> id;  ///< Where a file gives one; the library counts on otherwise.
  bool single_word = false, lstrip = false, rstrip = false, special = false;
  std::optional<bool> normalized;  ///< Default: when it is not special.
  bool only_if_absent = false;     ///< What tokenizer.json says of it stays.
};

struct Settings {
  std::string tokenizer_class;  ///< Without "Fast"; empty where no file names one.
  std::string model_type;
  /// "bos_token" and the like with their texts: what templates are given.
  std::vector<std::pair<std::string, std::string>> named;
  std::vector<AddedToken> added;
  bool add_bos = false, add_eos = false;  ///< Of tokenizers that are no tokenizer.json.
  bool legacy = true;                     ///< Default by class, see class_rules.h.
  bool legacy_given = false;
  std::optional<bool> add_prefix_space;
  bool clean_up_spaces = false;
  bool clean_up_spaces_of_bpe = false;
  std::optional<std::int64_t> bos_id;
  std::vector<std::int64_t> eos_ids;
  base::Value config;  ///< tokenizer_config.json, for its chat template.

  /// The text of "bos_token" and the like.
  const std::string* find_named(std::string_view name) const;
  /// Gives a named token its text where no file does.
  void set_default(std::string_view name, std::string_view text);
};

/// Reads tokenizer_config.json, special_tokens_map.json, added_tokens.json, config.json and
/// generation_config.json, whichever are there. Errors: kInvalidInput, naming file and key.
Result<Settings> read_settings(const formats::ModelFolder& folder);

/// A JSON object of the folder; null where there is no such file.
Result<base::Value> read_object(const formats::ModelFolder& folder, std::string_view name);

}  // namespace mlxmill::tokenize

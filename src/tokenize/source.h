// The files a tokenizer may lie in, as the text of a tokenizer.json.
#pragma once

#include <string>

#include "formats/model_folder.h"
#include "mlxmill/result.h"
#include "tokenize/settings.h"

namespace mlxmill::tokenize {

struct Source {
  std::string json;        ///< Text of a tokenizer.json.
  std::string file;        ///< What it was made of, for messages.
  bool from_json = false;  ///< It is the folder's own tokenizer.json.
};

/// tokenizer.json, else tokenizer.model, else vocab.json with merges.txt. Adds to `settings` what
/// the file says of special tokens. Errors: kNotFound without any; kInvalidInput, kUnsupported,
/// naming the file.
Result<Source> find_source(const formats::ModelFolder& folder, Settings& settings);

}  // namespace mlxmill::tokenize

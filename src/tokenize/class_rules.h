// Where transformers builds a tokenizer by its class and not by its tokenizer.json.
#pragma once

#include "base/value.h"
#include "tokenize/settings.h"

namespace mlxmill::tokenize {

/// Whether transformers 5 reads the tokenizer as its class LlamaTokenizer: the class is named, and
/// the model type is not one that it reads as the file says.
bool is_llama_class(const Settings& settings);

/// The settings for Engine::load of a tokenizer.json. Source: tokenization_llama.py and
/// tokenization_auto.py of transformers 5.24. `from_json` is whether a tokenizer.json was there.
base::Value engine_settings(const Settings& settings, bool from_json);

}  // namespace mlxmill::tokenize

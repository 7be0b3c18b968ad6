// Byte-level BPE, and the ways it splits a text into words before it.
//
// Source: the table of pre-tokenizers in src/llama-vocab.cpp of ggml-org/llama.cpp.
#include <fmt/format.h>

#include <algorithm>

#include "base/quoted.h"
#include "gguf/tokenizer_json.h"
#include "vocabulary/byte_level.h"

namespace mlxmill::gguf {
namespace {

using base::Object;
using vocabulary::byte_level_step;
using vocabulary::Split;

struct Known {
  std::string_view pre;
  Split split;
  bool whole_words = false;  ///< ignore_merges, and a bos token unless the file says otherwise.
};

constexpr Known kKnown[] = {
    {"llama-bpe", Split::kLlama3, true},
    {"llama3", Split::kLlama3, true},
    {"llama-v3", Split::kLlama3, true},
    {"falcon3", Split::kLlama3, true},
    {"falcon-h1", Split::kLlama3, true},
    {"pixtral", Split::kLlama3, true},
    {"midm-2.0", Split::kLlama3, true},
    {"lfm2", Split::kLlama3, true},
    {"dbrx", Split::kLlama3},
    {"smaug-bpe", Split::kLlama3},
    {"glm4", Split::kLlama3},
    {"chatglm-bpe", Split::kLlama3},
    {"qwen2", Split::kQwen2},
    {"deepseek-r1-qwen", Split::kQwen2},
    {"kormo", Split::kQwen2},
    {"megrez", Split::kQwen2},
    {"stablelm2", Split::kQwen2},
    {"hunyuan", Split::kQwen2},
    {"solar-open", Split::kQwen2},
    {"qwen35", Split::kQwen35},
    {"gpt-2", Split::kGpt2},
    {"phi-2", Split::kGpt2},
    {"mpt", Split::kGpt2},
    {"olmo", Split::kGpt2},
    {"jais", Split::kGpt2},
    {"trillion", Split::kGpt2},
    {"gigachat", Split::kGpt2},
    {"mellum", Split::kGpt2},
    {"a.x-4.0", Split::kGpt2},
    {"starcoder", Split::kGpt2Digits},
    {"refact", Split::kGpt2Digits},
    {"command-r", Split::kGpt2Digits},
    {"smollm", Split::kGpt2Digits},
    {"codeshell", Split::kGpt2Digits},
    {"exaone", Split::kGpt2Digits},
    {"minerva-7b", Split::kGpt2Digits},
    {"tekken", Split::kTekken, true},
    {"gpt-4o", Split::kGpt4o},
    {"llama4", Split::kGpt4o},
    {"kanana2", Split::kGpt4o},
    {"minimax-m2", Split::kGpt4o},
    {"deepseek-v3", Split::kDeepseek3},
    {"hunyuan-dense", Split::kDeepseek3},
    {"joyai-llm", Split::kDeepseek3},
    {"grok-2", Split::kQwen2},
    {"exaone4", Split::kGpt2},
    {"granite-docling", Split::kGpt2},
    {"mellum2", Split::kGpt2Digits},
    {"bailingmoe", Split::kBailing},
    {"bailingmoe2", Split::kBailing},
    {"llada-moe", Split::kBailing},
    {"seed-coder", Split::kSeed},
    {"exaone-moe", Split::kExaoneMoe},
    {"kimi-k2", Split::kKimi},
};

/// Files of before tokenizer.ggml.pre: the architectures that had one tokenizer then.
constexpr Known kByArchitecture[] = {
    {"gpt2", Split::kGpt2},
    {"phi2", Split::kGpt2},
    {"starcoder", Split::kGpt2Digits},
    {"qwen2", Split::kQwen2},
    {"starcoder2", Split::kGpt2Digits},
    {"qwen2moe", Split::kQwen2},
    {"olmo", Split::kGpt2},
    {"command-r", Split::kGpt2Digits},
};

const Known* known(const Vocabulary& vocabulary, std::string_view architecture) {
  for (const Known& entry : kKnown) {
    if (entry.pre == vocabulary.pre) return &entry;
  }
  if (!vocabulary.pre.empty() && vocabulary.pre != "default") return nullptr;
  for (const Known& entry : kByArchitecture) {
    if (entry.pre == architecture) return &entry;
  }
  return nullptr;
}

}  // namespace

Result<std::vector<Merge>> listed_merges(const Vocabulary& vocabulary,
                                         const BpeTokenizer& tokenizer) {
  const TokenIndex index = index_of(tokenizer.tokens);
  std::vector<Merge> merges;
  merges.reserve(vocabulary.merges.size());
  std::string joined;
  for (const std::string_view text : vocabulary.merges) {
    const auto wrong = [&](std::string_view why) {
      return Error(Code::kInvalidInput,
                   fmt::format("number {} is {}, {}", merges.size(), base::quoted(text), why))
          .at("metadata \"tokenizer.ggml.merges\"");
    };
    // The left part may begin with a space, so the first place to look is behind it.
    const std::size_t space = text.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == text.size()) {
      return wrong("which is no pair of tokens with a space between");
    }
    const auto left = index.find(text.substr(0, space));
    const auto right = index.find(text.substr(space + 1));
    joined.assign(text.substr(0, space)).append(text.substr(space + 1));
    if (left == index.end() || right == index.end() || index.find(joined) == index.end()) {
      return wrong("of which a part or the whole is no token");
    }
    merges.push_back({left->second, right->second});
  }
  return merges;
}

bool adds_bos_by_default(const Vocabulary& vocabulary) {
  if (vocabulary.model == "llama" || vocabulary.model == "gemma4") return true;
  const Known* entry = known(vocabulary, "");
  return entry && entry->whole_words && entry->split == Split::kLlama3;
}

Result<std::optional<BpeTokenizer>> byte_level_bpe(const Vocabulary& vocabulary,
                                                   std::string_view architecture) {
  const Known* kind = known(vocabulary, architecture);
  if (!kind) return std::optional<BpeTokenizer>();
  BpeTokenizer result;
  result.tokens = vocabulary.tokens;
  for (std::size_t id = 0; id < result.tokens.size(); ++id) {
    const TokenType type = vocabulary.types[id];
    if (vocabulary.is_padding(id)) result.tokens[id] = {};
    if (result.tokens[id].empty()) continue;
    if (type != TokenType::kControl && type != TokenType::kUserDefined &&
        type != TokenType::kUnknown) {
      continue;
    }
    result.added.push_back(static_cast<TokenId>(id));
    if (type != TokenType::kUserDefined) result.special.push_back(static_cast<TokenId>(id));
  }
  MLXMILL_ASSIGN(result.merges, listed_merges(vocabulary, result));
  if (kind->pre == "qwen2" || kind->pre == "qwen35") result.normalizer = Object{{"type", "NFC"}};
  result.ignore_merges = kind->whole_words;
  result.pre_tokenizer =
      vocabulary::byte_level_words(kind->split, vocabulary.add_space_prefix.value_or(false));
  result.decoder = byte_level_step(true, true);
  result.post_processor =
      template_processing(vocabulary, vocabulary.add_bos.value_or(adds_bos_by_default(vocabulary)),
                          vocabulary.add_eos.value_or(false));
  if (result.post_processor.is_null()) {
    result.post_processor = byte_level_step(true, true);
    result.post_processor.set("trim_offsets", false);
  }
  return std::optional<BpeTokenizer>(std::move(result));
}

}  // namespace mlxmill::gguf

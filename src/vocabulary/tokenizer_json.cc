#include <fmt/format.h>

#include <algorithm>

#include "formats/json.h"
#include "vocabulary/bpe_tokenizer.h"

namespace mlxmill::vocabulary {
namespace {

using base::Value;

std::string on_one_line(const Value& value) { return formats::dump_json(value, {-1, false}); }

std::vector<std::string> spelled(const std::vector<std::string_view>& tokens) {
  std::vector<std::string> result(tokens.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = on_one_line(Value(tokens[i]));
  return result;
}

/// Everything before the model.
std::string head(const Steps& steps, const std::vector<TokenId>& added,
                 const std::vector<TokenId>& special, const std::vector<std::string>& spelled) {
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  out += "  \"added_tokens\": [";
  const char* comma = "\n    ";
  for (const TokenId id : added) {
    const bool is_special = std::binary_search(special.begin(), special.end(), id);
    out += fmt::format(
        "{}{{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": {}}}",
        comma, id, spelled[id], is_special);
    comma = ",\n    ";
  }
  out += fmt::format(
      "\n  ],\n  \"normalizer\": {},\n  \"pre_tokenizer\": {},\n  \"post_processor\": {},\n"
      "  \"decoder\": {},\n",
      on_one_line(steps.normalizer), on_one_line(steps.pre_tokenizer),
      on_one_line(steps.post_processor), on_one_line(steps.decoder));
  return out;
}

}  // namespace

TokenIndex index_of(const std::vector<std::string_view>& tokens) {
  TokenIndex index;
  index.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty()) index.emplace(tokens[i], static_cast<TokenId>(i));
  }
  return index;
}

std::string tokenizer_json(const BpeTokenizer& tokenizer) {
  // Written by hand: as dynamic values, vocabulary and merges would take ten times their text.
  const TokenIndex index = index_of(tokenizer.tokens);
  const std::vector<std::string> spelled = vocabulary::spelled(tokenizer.tokens);
  std::string out = head(tokenizer, tokenizer.added, tokenizer.special, spelled);
  out += fmt::format(
      "  \"model\": {{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": {},\n"
      "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
      "    \"fuse_unk\": {},\n    \"byte_fallback\": {},\n    \"ignore_merges\": {},\n"
      "    \"vocab\": {{",
      tokenizer.unknown ? spelled[*tokenizer.unknown] : "null", tokenizer.fuse_unknown,
      tokenizer.byte_fallback, tokenizer.ignore_merges);
  const char* comma = "\n";
  for (std::size_t i = 0; i < spelled.size(); ++i) {
    const auto found = index.find(tokenizer.tokens[i]);
    if (found == index.end() || found->second != i) continue;
    out += fmt::format("{}      {}: {}", comma, spelled[i], i);
    comma = ",\n";
  }
  out += "\n    },\n    \"merges\": [";
  comma = "\n      [";
  for (const Merge& merge : tokenizer.merges) {
    out += comma;
    out += spelled[merge.left];
    out += ", ";
    out += spelled[merge.right];
    out += ']';
    comma = ",\n      [";
  }
  out += "\n    ]\n  }\n}\n";
  return out;
}

std::string tokenizer_json(const UnigramTokenizer& tokenizer) {
  const std::vector<std::string> spelled = vocabulary::spelled(tokenizer.tokens);
  std::string out = head(tokenizer, tokenizer.added, tokenizer.special, spelled);
  out += fmt::format("  \"model\": {{\n    \"type\": \"Unigram\",\n    \"unk_id\": {},\n",
                     tokenizer.unknown ? fmt::format("{}", *tokenizer.unknown) : "null");
  out += fmt::format("    \"byte_fallback\": {},\n    \"vocab\": [", tokenizer.byte_fallback);
  const char* comma = "\n";
  for (std::size_t i = 0; i < spelled.size(); ++i) {
    // As the doubles that the floats are, as transformers writes them.
    const double score = static_cast<double>(tokenizer.scores[i]);
    out += fmt::format("{}      [{}, {}]", comma, spelled[i], formats::python_float(score));
    comma = ",\n";
  }
  out += "\n    ]\n  }\n}\n";
  return out;
}

base::Object replace_step(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", base::Object{{"String", from}}}, {"content", to}};
}

base::Object sequence_step(const char* items, base::Array list) {
  return {{"type", "Sequence"}, {items, std::move(list)}};
}

}  // namespace mlxmill::vocabulary

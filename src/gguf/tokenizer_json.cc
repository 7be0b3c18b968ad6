#include "gguf/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/json.h"

namespace mlxmill::gguf {
namespace {

using base::Value;

std::string on_one_line(const Value& value) { return formats::dump_json(value, {-1, false}); }

base::Object special_token(std::string_view text, std::int64_t type) {
  return {{"SpecialToken", base::Object{{"id", text}, {"type_id", type}}}};
}

base::Object sequence(const char* name, std::int64_t type) {
  return {{"Sequence", base::Object{{"id", name}, {"type_id", type}}}};
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
  std::vector<std::string> spelled(tokenizer.tokens.size());
  for (std::size_t i = 0; i < spelled.size(); ++i) {
    spelled[i] = on_one_line(Value(tokenizer.tokens[i]));
  }
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  out += "  \"added_tokens\": [";
  const char* comma = "\n    ";
  for (const TokenId id : tokenizer.added) {
    const bool special = std::binary_search(tokenizer.special.begin(), tokenizer.special.end(), id);
    out += fmt::format(
        "{}{{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": {}}}",
        comma, id, spelled[id], special);
    comma = ",\n    ";
  }
  out += fmt::format(
      "\n  ],\n  \"normalizer\": {},\n  \"pre_tokenizer\": {},\n  \"post_processor\": {},\n"
      "  \"decoder\": {},\n",
      on_one_line(tokenizer.normalizer), on_one_line(tokenizer.pre_tokenizer),
      on_one_line(tokenizer.post_processor), on_one_line(tokenizer.decoder));
  out += fmt::format(
      "  \"model\": {{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": {},\n"
      "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
      "    \"fuse_unk\": {},\n    \"byte_fallback\": {},\n    \"ignore_merges\": {},\n"
      "    \"vocab\": {{",
      tokenizer.unknown ? spelled[*tokenizer.unknown] : "null", tokenizer.fuse_unknown,
      tokenizer.byte_fallback, tokenizer.ignore_merges);
  comma = "\n";
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

Value template_processing(const Vocabulary& vocabulary, bool add_bos, bool add_eos) {
  add_bos = add_bos && vocabulary.bos;
  add_eos = add_eos && vocabulary.eos;
  if (!add_bos && !add_eos) return {};
  const auto text = [&](std::int64_t id) {
    return vocabulary.tokens[static_cast<std::size_t>(id)];
  };
  base::Array single;
  base::Array pair;
  const auto add = [&](const char* name, std::int64_t type, base::Array& to) {
    if (add_bos) to.emplace_back(special_token(text(*vocabulary.bos), type));
    to.emplace_back(sequence(name, type));
    if (add_eos) to.emplace_back(special_token(text(*vocabulary.eos), type));
  };
  add("A", 0, single);
  add("A", 0, pair);
  add("B", 1, pair);
  Value tokens{base::Object()};
  const auto describe = [&](std::int64_t id) {
    tokens.set(text(id), base::Object{{"id", text(id)},
                                      {"ids", base::Array{id}},
                                      {"tokens", base::Array{Value(text(id))}}});
  };
  if (add_bos) describe(*vocabulary.bos);
  if (add_eos) describe(*vocabulary.eos);
  return base::Object{{"type", "TemplateProcessing"},
                      {"single", std::move(single)},
                      {"pair", std::move(pair)},
                      {"special_tokens", std::move(tokens)}};
}

}  // namespace mlxmill::gguf

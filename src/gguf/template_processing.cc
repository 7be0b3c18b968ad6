#include "gguf/tokenizer_json.h"

namespace mlxmill::gguf {
namespace {

using base::Value;

base::Object special_token(std::string_view text, std::int64_t type) {
  return {{"SpecialToken", base::Object{{"id", text}, {"type_id", type}}}};
}

base::Object sequence(const char* name, std::int64_t type) {
  return {{"Sequence", base::Object{{"id", name}, {"type_id", type}}}};
}

}  // namespace

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

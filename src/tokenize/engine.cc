#include "tokenize/engine.h"

#include <fmt/format.h>

#include "formats/json.h"
#include "formats/unicode.h"
#include "tokenize/text_library.h"

namespace mlxmill::tokenize {
namespace {

const std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string take(const MlxmillBytes& bytes) {
  std::string text;
  if (bytes.size > 0) text.assign(reinterpret_cast<const char*>(bytes.data), bytes.size);
  mlxmill_text_free_bytes(bytes);
  return text;
}

/// The library quotes names out of files: nothing in them may reach a terminal as a command.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 2000)) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    out += control ? ' ' : c;
  }
  return out;
}

Error failure(std::int32_t status, const MlxmillBytes& error) {
  const std::string text = printable(take(error));
  if (status == kMlxmillTextPanic) {
    return Error(Code::kInvalidInput, fmt::format("the tokenizers library gave up: {}", text));
  }
  return Error(status == kMlxmillTextLimit ? Code::kNoMemory : Code::kInvalidInput, text);
}

std::string on_one_line(const base::Value& value) { return formats::dump_json(value, {-1, false}); }

/// The first byte of `text` that begins no UTF-8.
std::optional<std::size_t> not_utf8(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    if (!formats::next_code_point(text, pos, false)) return begin;
  }
  return {};
}

}  // namespace

void Engine::Free::operator()(MlxmillTokenizer* tokenizer) const {
  mlxmill_tokenizer_free(tokenizer);
}

Result<Engine> Engine::load(std::string_view json, const base::Value& settings) {
  const std::string replaced = settings.is_null() ? "{}" : on_one_line(settings);
  MlxmillTokenizer* out = nullptr;
  MlxmillBytes error{};
  const std::int32_t status = mlxmill_tokenizer_load(
      bytes_of(json), json.size(), bytes_of(replaced), replaced.size(), &out, &error);
  if (status != kMlxmillTextOk) return failure(status, error);
  Engine engine;
  engine.tokenizer_.reset(out);
  return engine;
}

Result<std::vector<TokenId>> Engine::encode(std::string_view text, bool add_special) const {
  if (const auto wrong = not_utf8(text)) {
    return Error(Code::kInvalidInput, fmt::format("the text is no UTF-8 from byte {} on", *wrong));
  }
  MlxmillIds ids{};
  MlxmillBytes error{};
  const std::int32_t status = mlxmill_tokenizer_encode(tokenizer_.get(), bytes_of(text),
                                                       text.size(), add_special, &ids, &error);
  if (status != kMlxmillTextOk) return failure(status, error);
  std::vector<TokenId> result;
  if (ids.size > 0) result.assign(ids.data, ids.data + ids.size);
  mlxmill_text_free_ids(ids);
  return result;
}

Result<std::string> Engine::decode(std::span<const TokenId> ids, bool skip_special) const {
  MlxmillBytes out{};
  MlxmillBytes error{};
  const std::int32_t status = mlxmill_tokenizer_decode(tokenizer_.get(), ids.data(), ids.size(),
                                                       skip_special, &out, &error);
  if (status != kMlxmillTextOk) return failure(status, error);
  return take(out);
}

std::optional<std::string> Engine::spelling(TokenId id) const {
  MlxmillBytes out{};
  MlxmillBytes error{};
  if (mlxmill_tokenizer_token(tokenizer_.get(), id, &out, &error) == kMlxmillTextOk) {
    return take(out);
  }
  mlxmill_text_free_bytes(error);
  return {};
}

std::optional<TokenId> Engine::find(std::string_view spelling) const {
  TokenId id = 0;
  MlxmillBytes error{};
  if (mlxmill_tokenizer_id(tokenizer_.get(), bytes_of(spelling), spelling.size(), &id, &error) ==
      kMlxmillTextOk) {
    return id;
  }
  mlxmill_text_free_bytes(error);
  return {};
}

Result<base::Value> Engine::describe() const {
  MlxmillBytes out{};
  MlxmillBytes error{};
  const std::int32_t status = mlxmill_tokenizer_describe(tokenizer_.get(), &out, &error);
  if (status != kMlxmillTextOk) return failure(status, error);
  return formats::parse_json(take(out), {.max_depth = 256});
}

Result<std::string> render_template(std::string_view source, const base::Value& context,
                                    const TemplateLimits& limits) {
  const std::string variables = on_one_line(context);
  const std::string bounds = fmt::format(
      R"({{"steps": {}, "output": {}, "memory": {}, "milliseconds": {}}})", limits.steps,
      limits.output_bytes,
      // What the library copies of both is not the template's doing.
      limits.memory_bytes + limits.output_bytes + 16 * (variables.size() + source.size()),
      limits.milliseconds);
  MlxmillBytes out{};
  MlxmillBytes error{};
  const std::int32_t status =
      mlxmill_template_render(bytes_of(source), source.size(), bytes_of(variables),
                              variables.size(), bytes_of(bounds), bounds.size(), &out, &error);
  if (status == kMlxmillTextOk) return take(out);
  Error wrong = failure(status, error);
  return Error(Code::kInvalidInput, fmt::format("the chat template fails: {}", wrong.what()));
}

}  // namespace mlxmill::tokenize

#include "tokenize/token_bytes.h"

#include <charconv>

#include "vocabulary/byte_level.h"

namespace mlxmill::tokenize {
namespace {

using base::Value;

void read_step(const Value& step, Spelling& to) {
  const Value* type = step.find("type");
  if (!type || !type->as_string()) return;
  const std::string& name = *type->as_string();
  if (name == "ByteLevel") to.byte_level = true;
  if (name == "ByteFallback") to.byte_fallback = true;
  const auto text = [&](const Value* value) {
    return value && value->as_string() ? *value->as_string() : std::string();
  };
  if (name == "Metaspace") to.space = text(step.find("replacement"));
  if (name == "Replace" && text(step.find("content")) == " ") {
    const Value* pattern = step.find("pattern");
    to.space = pattern ? text(pattern->find("String")) : std::string();
  }
  const Value* inner = step.find("decoders");
  if (!inner || !inner->as_array()) return;
  for (const Value& one : *inner->as_array()) read_step(one, to);
}

/// "<0x0A>"
bool is_byte(std::string_view token, char& byte) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return false;
  unsigned value = 0;
  const auto [end, failure] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  byte = static_cast<char>(value);
  return failure == std::errc() && end == token.data() + 5;
}

}  // namespace

Spelling spelling_of(const Value& decoder) {
  Spelling spelling;
  read_step(decoder, spelling);
  return spelling;
}

std::string bytes_of(std::string_view token, const Spelling& spelling) {
  if (spelling.byte_level) {
    return vocabulary::byte_level_bytes(token).value_or(std::string(token));
  }
  char byte = 0;
  if (spelling.byte_fallback && is_byte(token, byte)) return std::string(1, byte);
  std::string bytes(token);
  if (spelling.space.empty()) return bytes;
  for (std::size_t at = 0; (at = bytes.find(spelling.space, at)) != std::string::npos; ++at) {
    bytes.replace(at, spelling.space.size(), " ");
  }
  return bytes;
}

}  // namespace mlxmill::tokenize

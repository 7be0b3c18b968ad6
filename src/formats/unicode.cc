#include "formats/unicode.h"

#include <fmt/format.h>

#include <algorithm>

namespace mlxmill::formats {

void append_utf8(std::string& text, std::uint32_t code_point) {
  const auto byte = [&](std::uint32_t value) { text += static_cast<char>(value); };
  if (code_point < 0x80) {
    byte(code_point);
  } else if (code_point < 0x800) {
    byte(0xC0 | (code_point >> 6));
    byte(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    byte(0xE0 | (code_point >> 12));
    byte(0x80 | ((code_point >> 6) & 0x3F));
    byte(0x80 | (code_point & 0x3F));
  } else {
    byte(0xF0 | (code_point >> 18));
    byte(0x80 | ((code_point >> 12) & 0x3F));
    byte(0x80 | ((code_point >> 6) & 0x3F));
    byte(0x80 | (code_point & 0x3F));
  }
}

std::optional<std::uint32_t> next_code_point(std::string_view text, std::size_t& pos,
                                             bool allow_surrogates) {
  if (pos >= text.size()) return std::nullopt;
  const auto at = [&](std::size_t i) -> std::uint32_t {
    return static_cast<unsigned char>(text[i]);
  };
  const std::uint32_t first = at(pos);
  if (first < 0x80) {
    ++pos;
    return first;
  }
  // The smallest code point of each length: below it the spelling is overlong.
  std::size_t length = 0;
  std::uint32_t value = 0;
  std::uint32_t smallest = 0;
  if ((first & 0xE0) == 0xC0) {
    length = 2, value = first & 0x1F, smallest = 0x80;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3, value = first & 0x0F, smallest = 0x800;
  } else if ((first & 0xF8) == 0xF0) {
    length = 4, value = first & 0x07, smallest = 0x10000;
  } else {
    return std::nullopt;
  }
  if (text.size() - pos < length) return std::nullopt;
  for (std::size_t i = 1; i < length; ++i) {
    const std::uint32_t next = at(pos + i);
    if ((next & 0xC0) != 0x80) return std::nullopt;
    value = (value << 6) | (next & 0x3F);
  }
  if (value < smallest || value > 0x10FFFF) return std::nullopt;
  if (!allow_surrogates && is_surrogate(value)) return std::nullopt;
  pos += length;
  return value;
}

bool is_utf8(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    if (!next_code_point(text, pos, false)) return false;
  }
  return true;
}

std::string quote(std::string_view text) {
  constexpr std::size_t kMaxBytes = 100;
  std::string quoted = "'";
  std::size_t pos = 0;
  while (pos < text.size()) {
    if (pos >= kMaxBytes) return quoted + "...'";
    const std::size_t before = pos;
    const auto code_point = next_code_point(text, pos, false);
    if (!code_point) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[pos++]));
    } else if (*code_point < 0x20 || (*code_point >= 0x7F && *code_point < 0xA0)) {
      quoted += fmt::format("\\x{:02x}", *code_point);
    } else {
      quoted += text.substr(before, pos - before);
    }
  }
  return quoted + "'";
}

std::string quote_few(const std::vector<std::string_view>& names) {
  constexpr std::size_t kShown = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i > 0 ? ", " : "") + quote(names[i]);
  }
  if (names.size() > kShown) text += ", ...";
  return text;
}

}  // namespace mlxmill::formats

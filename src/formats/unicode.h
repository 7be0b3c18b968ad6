// UTF-8, and the form of it that can also hold Python's lone surrogates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxmill::formats {

inline bool is_surrogate(std::uint32_t code_point) {
  return code_point >= 0xD800 && code_point <= 0xDFFF;
}

/// Appends a code point. A lone surrogate takes three bytes that strict UTF-8 does not know.
void append_utf8(std::string& text, std::uint32_t code_point);

/// Reads the code point at `pos` and moves past it. Empty where the bytes are no UTF-8: overlong,
/// cut off, past U+10FFFF, and surrogates unless they are allowed.
std::optional<std::uint32_t> next_code_point(std::string_view text, std::size_t& pos,
                                             bool allow_surrogates);

/// Whether all of `text` is UTF-8, without surrogates.
bool is_utf8(std::string_view text);

/// Text from a file for a message: in single quotes, control characters and bytes that are no UTF-8
/// escaped, cut after 100 bytes. Nothing in it can reach the terminal as a command.
std::string quote(std::string_view text);

/// The first few of a list, for a message.
std::string quote_few(const std::vector<std::string_view>& names);

}  // namespace mlxmill::formats

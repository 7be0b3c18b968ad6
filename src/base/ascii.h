// Letters and digits of ASCII, whatever the locale says.
#pragma once

#include <string>
#include <string_view>

namespace mlxmill::base {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The text with A to Z as a to z; every other byte stays.
inline std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace mlxmill::base

#include "base/quoted.h"

#include <fmt/format.h>

namespace mlxmill::base {

std::string quoted(std::string_view text) {
  constexpr std::size_t kMaxShown = 160;
  std::string result = "\"";
  for (const char c : text.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '"' || c == '\\') {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result + (text.size() > kMaxShown ? "...\"" : "\"");
}

}  // namespace mlxmill::base

#include "report/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "formats/unicode.h"

namespace mlxmill::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

void append_escaped(std::string& out, std::string_view character) {
  const auto c = static_cast<unsigned char>(character[0]);
  if (character == "&") {
    out += "&amp;";
  } else if (character == "<") {
    out += "&lt;";
  } else if (character == ">") {
    out += "&gt;";
  } else if (character == "\"") {
    out += "&quot;";
  } else if (character == "'") {
    out += "&#39;";
  } else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
    out += kReplacement;
  } else {
    out += character;
  }
}

// C1 controls, surrogates' neighbours and the code points that HTML calls errors; and those that
// turn the direction of what follows.
bool is_unfit(std::uint32_t c) {
  return (c >= 0x80 && c < 0xA0) || (c & 0xFFFEU) == 0xFFFEU || (c >= 0xFDD0 && c <= 0xFDEF) ||
         (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const auto c = formats::next_code_point(text, at, false);
    if (!c) {
      out += kReplacement;
      at = begin + 1;
    } else if (is_unfit(*c)) {
      out += kReplacement;
    } else {
      append_escaped(out, text.substr(begin, at - begin));
    }
  }
  return out;
}

std::string escape_token(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    if (c == '\n') {
      shown += "\xE2\x8F\x8E";  // A return symbol.
    } else if (c == '\t') {
      shown += "\xE2\x87\xA5";
    } else {
      shown += c;
    }
  }
  return escape(shown);
}

std::string number(double value) {
  if (value == 0) return "0";
  if (!std::isfinite(value)) return value > 0 ? "∞" : "-∞";
  const double size = std::fabs(value);
  if (size < 1e-4) return fmt::format("{:.2e}", value);
  const int digits = std::clamp(3 - static_cast<int>(std::floor(std::log10(size))), 0, 7);
  return fmt::format("{:.{}f}", value, digits);
}

std::string with_error(const Estimate& estimate) {
  if (!(estimate.error > 0) || !std::isfinite(estimate.error)) return number(estimate.value);
  const int place = 1 - static_cast<int>(std::floor(std::log10(estimate.error)));
  if (place > 7) return fmt::format("{:.3e} ± {:.1e}", estimate.value, estimate.error);
  const int digits = std::max(place, 0);
  return fmt::format("{:.{}f} ± {:.{}f}", estimate.value, digits, estimate.error, digits);
}

std::string percent(double share, int digits) {
  return fmt::format("{:.{}f} %", share * 100, digits);
}

std::string size(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.2f} MB", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.1f} kB", value / 1e3);
  return fmt::format("{} bytes", bytes);
}

std::string heat_scale(std::string_view low, std::string_view high) {
  return fmt::format("<div class=\"scale\">{}<i></i>{}</div>\n", escape(low), escape(high));
}

}  // namespace mlxmill::report

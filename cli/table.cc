#include "table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace mlxmill::cli {
namespace {

// Characters on the screen: bytes of UTF-8 that do not continue a character.
std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string scaled(double value, std::string_view unit) {
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, unit);
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  // 999.5 would be printed as 1000 of the smaller unit.
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return scaled(value, kUnits[unit]);
}

std::string format_exact(std::uint64_t number) {
  const std::string digits = fmt::format("{}", number);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

std::string format_count(std::uint64_t number) {
  const auto value = static_cast<double>(number);
  if (value >= 999.5e9) return scaled(value / 1e12, "trillion");
  if (value >= 999.5e6) return scaled(value / 1e9, "billion");
  if (number >= 1'000'000) return scaled(value / 1e6, "million");
  return format_exact(number);
}

std::string format_seconds(double seconds) {
  if (!(seconds < 1e9)) return "very long";
  if (seconds < 1) return fmt::format("{:.0f} ms", std::ceil(seconds * 1000));
  if (seconds < 60) return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 2 : 1);
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string plural(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", format_exact(count), noun, count == 1 ? "" : "s");
}

std::string bar(std::uint64_t part, std::uint64_t whole, int width) {
  if (part == 0 || whole == 0 || width <= 0) return "";
  const long length = std::lround(percent(part, whole) / 100 * width);
  return std::string(static_cast<std::size_t>(std::clamp<long>(length, 1, width)), '#');
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text(std::string_view indent) const {
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      widths[c] = std::max(widths[c], display_width(row[c]));
    }
  }
  std::string result;
  for (const auto& row : rows_) {
    std::string line(indent);
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (widths[c] == 0) continue;  // A column that no row uses takes no room.
      const std::string padding(widths[c] - display_width(row[c]), ' ');
      line += columns_[c] == Align::kRight ? padding + row[c] : row[c] + padding;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

void Summary::add(std::string label, std::vector<std::string> lines) {
  if (!lines.empty()) entries_.emplace_back(std::move(label), std::move(lines));
}

std::string Summary::text() const {
  std::size_t width = 0;
  for (const auto& [label, lines] : entries_) width = std::max(width, label.size());
  std::string result;
  for (const auto& [label, lines] : entries_) {
    for (std::size_t i = 0; i < lines.size(); ++i) {
      result += fmt::format("{:<{}}  {}\n", i == 0 ? label : "", width, lines[i]);
    }
  }
  return result;
}

}  // namespace mlxmill::cli

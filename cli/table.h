// Numbers and columns for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlxmill::cli {

/// "950 bytes", "11.55 MB": decimal units, as disks and the Hub count.
std::string format_bytes(std::uint64_t bytes);

/// "11,547,040".
std::string format_exact(std::uint64_t number);

/// "5.77 million", "1.24 billion"; exact below a million.
std::string format_count(std::uint64_t number);

/// "40 ms", "1.25 s", "12.3 s", "2 min 05 s", "1 h 02 min".
std::string format_seconds(double seconds);

/// "1 file", "2 files".
std::string plural(std::uint64_t count, std::string_view noun);

/// `part` of `whole` as a bar of '#', `width` characters at most, at least one when `part` is not
/// 0.
std::string bar(std::uint64_t part, std::uint64_t whole, int width);

/// `part` of `whole` in percent.
double percent(std::uint64_t part, std::uint64_t whole);

/// Rows of cells, printed with aligned columns and without trailing blanks.
class Table {
 public:
  enum class Align { kLeft, kRight };

  explicit Table(std::vector<Align> columns) : columns_(std::move(columns)) {}

  /// Adds a row; cells beyond the last column are dropped, missing ones are empty.
  void add(std::vector<std::string> cells);

  bool empty() const { return rows_.empty(); }

  /// Every row on a line that starts with `indent`.
  std::string text(std::string_view indent = "") const;

 private:
  std::vector<Align> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// A label and its lines: the label stands before the first, the others are aligned with it.
class Summary {
 public:
  /// Adds lines under `label`; none at all adds nothing.
  void add(std::string label, std::vector<std::string> lines);
  void add(std::string label, std::string line) {
    add(std::move(label), std::vector<std::string>{std::move(line)});
  }

  std::string text() const;

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> entries_;
};

}  // namespace mlxmill::cli

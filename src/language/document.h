// A file of the project's languages (declarations, recipes) as a tree of values in the order of the
// file, each with its line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/quoted.h"
#include "mlxmill/result.h"

namespace mlxmill::language {

struct Entry;

/// One value of the file. Tables keep their entries in the order they are written.
struct Node {
  using Items = std::vector<Node>;
  using Entries = std::vector<Entry>;

  std::variant<std::string, std::int64_t, double, bool, Items, Entries> value;
  std::uint32_t line = 0;

  const std::string* as_string() const { return std::get_if<std::string>(&value); }
  const std::int64_t* as_int() const { return std::get_if<std::int64_t>(&value); }
  const double* as_float() const { return std::get_if<double>(&value); }
  const bool* as_bool() const { return std::get_if<bool>(&value); }
  const Items* as_array() const { return std::get_if<Items>(&value); }
  const Entries* as_table() const { return std::get_if<Entries>(&value); }

  /// "a string", "a table", ...: for messages.
  std::string_view type_name() const;
};

struct Entry {
  std::string key;
  std::uint32_t line = 0;
  Node value;
};

/// Parses TOML in ASCII. Errors: kInvalidInput at `file:line` for bad TOML, other characters, and
/// dates, which no such file holds.
Result<Node> parse_document(std::string_view text, std::string_view file_name);

/// Reads the entries of one table by name and notices those nobody asked for.
class TableReader {
 public:
  /// `node` must be a table and outlive the reader.
  TableReader(const Node& node, std::string_view file_name);

  /// The entry's value, or null when there is none.
  const Node* find(std::string_view key);
  /// A string; empty when there is none and it is not `required`.
  Result<std::optional<std::string>> string(std::string_view key);
  /// A string or an array of strings; empty when there is none.
  Result<std::vector<std::string>> strings(std::string_view key);
  /// Complains about the first entry that was not asked for, naming the nearest key that is known.
  Status finish() const;

  std::uint32_t line() const { return node_->line; }
  std::string_view file_name() const { return file_name_; }
  /// kInvalidInput at `file:line` of the node.
  Error error(const Node& at, std::string_view what) const;
  Error error(std::uint32_t at_line, std::string_view what) const;

 private:
  const Node* node_;
  std::string_view file_name_;
  std::vector<std::string> asked_;
};

/// kInvalidInput at `file:line`.
Error error_at(std::string_view file_name, std::uint32_t line, std::string_view what);

using base::quoted;

/// Characters to insert, delete or replace to make one text of the other (Levenshtein). Costs the
/// product of the lengths.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate with the smallest edit distance to `word`, when it is near enough to be meant.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

}  // namespace mlxmill::language

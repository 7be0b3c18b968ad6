#include "language/document.h"

#include <fmt/format.h>

// toml++ assumes that a table header goes on with a key, which "[#" does not; as an assumption that
// is undefined behaviour with clang. Without it the parser reports the file.
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT_ASSUME(condition) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>
#include <tuple>

namespace mlxmill::language {
namespace {

// A declaration is a page of text; the limit keeps a file given by mistake from being parsed at
// all.
constexpr std::size_t kMaxFileBytes = 1 << 20;

Result<Node> convert(const toml::node& node, std::string_view file_name);

Result<Node> convert_table(const toml::table& table, std::string_view file_name) {
  using Position = std::tuple<std::uint32_t, std::uint32_t, const toml::key*, const toml::node*>;
  std::vector<Position> order;
  for (auto&& [key, value] : table) {
    order.emplace_back(key.source().begin.line, key.source().begin.column, &key, &value);
  }
  // toml++ sorts its tables by key; the file's order is the order of the output.
  std::sort(order.begin(), order.end());
  Node::Entries entries;
  for (const auto& [line, column, key, value] : order) {
    MLXMILL_ASSIGN(Node child, convert(*value, file_name));
    entries.push_back(Entry{std::string(key->str()), line, std::move(child)});
  }
  Node result;
  result.value = std::move(entries);
  return result;
}

Result<Node> convert(const toml::node& node, std::string_view file_name) {
  Node result;
  const auto line = static_cast<std::uint32_t>(node.source().begin.line);
  if (const toml::table* table = node.as_table()) {
    MLXMILL_ASSIGN(result, convert_table(*table, file_name));
  } else if (const toml::array* array = node.as_array()) {
    Node::Items items;
    for (const toml::node& item : *array) {
      MLXMILL_ASSIGN(Node child, convert(item, file_name));
      items.push_back(std::move(child));
    }
    result.value = std::move(items);
  } else if (const auto* text = node.as_string()) {
    result.value = text->get();
  } else if (const auto* integer = node.as_integer()) {
    result.value = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    result.value = number->get();
  } else if (const auto* boolean = node.as_boolean()) {
    result.value = boolean->get();
  } else {
    return error_at(file_name, line, "a date or time has no meaning here");
  }
  result.line = line;
  return result;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view Node::type_name() const {
  constexpr std::string_view kNames[] = {"a string",  "an integer", "a float",
                                         "a boolean", "an array",   "a table"};
  return kNames[value.index()];
}

Result<Node> parse_document(std::string_view text, std::string_view file_name) {
  if (text.size() > kMaxFileBytes) {
    return error_at(
        file_name, 1,
        fmt::format("the file has {} bytes; expected at most {}", text.size(), kMaxFileBytes));
  }
  // toml++ 3.3.0 reaches undefined behaviour on some other characters (marzer/tomlplusplus#190).
  const auto odd = std::find_if(text.begin(), text.end(),
                                [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  if (odd != text.end()) {
    const auto line = 1 + std::count(text.begin(), odd, '\n');
    return error_at(
        file_name, static_cast<std::uint32_t>(line),
        fmt::format("byte {:#04x} is not ASCII; expected ASCII", static_cast<unsigned char>(*odd)));
  }
  const toml::parse_result parsed = toml::parse(text, file_name);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return error_at(file_name, static_cast<std::uint32_t>(error.source().begin.line),
                    error.description());
  }
  return convert(parsed.table(), file_name);
}

TableReader::TableReader(const Node& node, std::string_view file_name)
    : node_(&node), file_name_(file_name) {}

const Node* TableReader::find(std::string_view key) {
  asked_.emplace_back(key);
  for (const Entry& entry : *node_->as_table()) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

Result<std::optional<std::string>> TableReader::string(std::string_view key) {
  const Node* node = find(key);
  if (!node) return std::optional<std::string>();
  if (const std::string* text = node->as_string()) return std::optional<std::string>(*text);
  return error(*node,
               fmt::format("{} is wrong; expected a string, got {}", key, node->type_name()));
}

Result<std::vector<std::string>> TableReader::strings(std::string_view key) {
  const Node* node = find(key);
  std::vector<std::string> result;
  if (!node) return result;
  if (const std::string* text = node->as_string()) {
    result.push_back(*text);
    return result;
  }
  if (const Node::Items* items = node->as_array()) {
    for (const Node& item : *items) {
      if (!item.as_string()) {
        return error(item,
                     fmt::format("{} is wrong; expected strings, got {}", key, item.type_name()));
      }
      result.push_back(*item.as_string());
    }
    return result;
  }
  return error(*node, fmt::format("{} is wrong; expected a string or an array of strings, got {}",
                                  key, node->type_name()));
}

Status TableReader::finish() const {
  for (const Entry& entry : *node_->as_table()) {
    if (std::find(asked_.begin(), asked_.end(), entry.key) != asked_.end()) continue;
    Error unknown = error(entry.line, fmt::format("unknown key {}", quoted(entry.key)));
    if (const auto near = nearest(entry.key, asked_)) {
      unknown.hint(fmt::format("did you mean \"{}\"?", *near));
    }
    return unknown;
  }
  return {};
}

Error TableReader::error(const Node& at, std::string_view what) const {
  return error_at(file_name_, at.line, what);
}

Error TableReader::error(std::uint32_t at_line, std::string_view what) const {
  return error_at(file_name_, at_line, what);
}

Error error_at(std::string_view file_name, std::uint32_t line, std::string_view what) {
  return Error(Code::kInvalidInput, std::string(what)).at(fmt::format("{}:{}", file_name, line));
}

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  if (word.size() > 64) return std::nullopt;
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace mlxmill::language

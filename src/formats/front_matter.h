// The YAML block at the head of a model card, taken apart by lines: enough to keep what a card
// says, no YAML parser.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxmill::formats {

/// A top-level key and its lines as they stand, line ends turned into "\n".
struct FrontMatterBlock {
  std::string key;
  std::string text;  ///< Whole lines, the one with the key first.
};

/// The blocks of a card's front matter, in order; none when the card has no front matter, when it
/// has no end, or is longer than 1 MiB. Left out are comments between blocks, keys that occur
/// before, and every block that is_simple_yaml_entry does not vouch for: what is kept cannot break
/// the card it is put into.
std::vector<FrontMatterBlock> parse_front_matter(std::string_view card);

/// The items of a block whose value is a list, in flow or block style, or one scalar; unquoted.
std::vector<std::string> list_items(const FrontMatterBlock& block);

/// The value of a block that holds one scalar on one line, unquoted, without a comment.
std::optional<std::string> scalar_of(const FrontMatterBlock& block);

/// A YAML scalar that reads back as this string: plain where that is safe, else in double quotes.
std::string yaml_string(std::string_view text);

}  // namespace mlxmill::formats

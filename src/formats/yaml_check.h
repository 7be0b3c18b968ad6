// Says whether a piece of YAML is of the simple kind that cannot break the document it is put into.
#pragma once

#include <string_view>

namespace mlxmill::formats {

/// True when `text`, whole lines of which the first begins with a key at column 0, is one entry of
/// a YAML map in the plain part of the language: scalars (plain, quoted, block), lists in flow or
/// block style, nested maps. False for everything else: what is not proven valid counts as broken.
/// No anchors, aliases, tags, flow maps or tabs.
bool is_simple_yaml_entry(std::string_view text);

/// The same question for a plain (unquoted) scalar on one line.
bool is_plain_yaml_scalar(std::string_view text, bool in_flow);

}  // namespace mlxmill::formats

#include "formats/shard_index.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/json.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// A name that cannot lead anywhere but to an entry of the folder itself.
bool is_plain_shard_name(std::string_view name, std::string_view ending) {
  constexpr std::string_view kForbidden("/\\\0", 3);
  return name.ends_with(ending) && !name.starts_with('.') &&
         name.find_first_of(kForbidden) == std::string_view::npos;
}

}  // namespace

Result<ShardIndex> parse_shard_index(std::string_view text, std::string_view ending) {
  MLXMILL_ASSIGN(const base::Value document, parse_json(text));
  const auto invalid = [](std::string what) { return Error(Code::kInvalidInput, std::move(what)); };
  if (!document.as_object()) {
    return invalid(fmt::format("holds {}; expected an object", document.type_name()));
  }
  const base::Value* map = document.find("weight_map");
  if (!map) return invalid("has no weight_map");
  const base::Object* entries = map->as_object();
  if (!entries)
    return invalid(fmt::format("weight_map is {}; expected an object", map->type_name()));
  if (entries->empty()) return invalid("weight_map is empty");
  ShardIndex index;
  index.reserve(entries->size());
  for (const base::Member& entry : *entries) {
    const std::string* shard = entry.value.as_string();
    if (!shard || !is_plain_shard_name(*shard, ending)) {
      return invalid(fmt::format(
          "the shard of tensor {} is {}; expected a plain file name ending in {}", quote(entry.key),
          shard ? quote(*shard) : std::string(entry.value.type_name()), ending));
    }
    index.emplace_back(entry.key, *shard);
  }
  std::sort(index.begin(), index.end());
  return index;
}

}  // namespace mlxmill::formats

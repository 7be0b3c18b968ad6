#include "formats/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/decimal.h"
#include "formats/json_tokens.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

using base::Array;
using base::Object;
using base::Value;

Value float_value(const std::string& spelling) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (spelling == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (spelling == "Infinity") return kInfinity;
  if (spelling == "-Infinity") return -kInfinity;
  return base::parse_decimal(spelling);
}

Value integer_value(std::string& spelling) {
  std::int64_t value = 0;
  const char* const end = spelling.data() + spelling.size();
  const auto [stopped, failure] = std::from_chars(spelling.data(), end, value);
  if (failure == std::errc() && stopped == end) return value;
  return base::BigInteger{std::move(spelling)};
}

// transformers' spelling of a float that JSON has none for.
std::optional<Value> tagged_float(const Object& object) {
  if (object.size() != 1 || object.front().key != "__float__") return std::nullopt;
  const std::string* tag = object.front().value.as_string();
  if (!tag || (*tag != "NaN" && *tag != "Infinity" && *tag != "-Infinity")) return std::nullopt;
  return float_value(*tag);
}

class Builder {
 public:
  Builder(std::string_view text, const JsonLimits& limits)
      : tokens_(text, limits), limits_(limits) {}

  Result<Value> build() {
    while (true) {
      MLXMILL_ASSIGN(const JsonToken token, tokens_.next());
      switch (token) {
        case JsonToken::kBeginObject:
          open_.push_back({Object{}, {}, {}});
          break;
        case JsonToken::kBeginArray:
          open_.push_back({Array{}, {}, {}});
          break;
        case JsonToken::kKey:
          open_.back().key = tokens_.content();
          open_.back().key_offsets.push_back(tokens_.offset());
          break;
        case JsonToken::kEndObject:
          MLXMILL_TRY(check_keys(open_.back()));
          [[fallthrough]];
        case JsonToken::kEndArray:
          close();
          break;
        case JsonToken::kEnd:
          return std::move(root_);
        default:
          add(scalar(token));
          break;
      }
    }
  }

 private:
  struct Level {
    Value container;
    std::string key;                       // Of the member that comes next.
    std::vector<std::size_t> key_offsets;  // One for each member.
  };

  Value scalar(JsonToken token) {
    switch (token) {
      case JsonToken::kString:
        return std::move(tokens_.content());
      case JsonToken::kInteger:
        return integer_value(tokens_.content());
      case JsonToken::kFloat:
        return float_value(tokens_.content());
      case JsonToken::kTrue:
        return true;
      case JsonToken::kFalse:
        return false;
      default:
        return {};
    }
  }

  void add(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (Object* object = open_.back().container.as_object()) {
      object->push_back({std::move(open_.back().key), std::move(value)});
    } else {
      open_.back().container.as_array()->push_back(std::move(value));
    }
  }

  void close() {
    Value done = std::move(open_.back().container);
    open_.pop_back();
    if (const Object* object = done.as_object()) {
      if (auto value = tagged_float(*object)) done = std::move(*value);
    }
    add(std::move(done));
  }

  // By sorting: a hash table can be fed with keys that collide.
  Status check_keys(Level& level) {
    Object& members = *level.container.as_object();
    if (members.size() < 2) return {};
    std::vector<std::size_t> order(members.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const int difference = members[a].key.compare(members[b].key);
      return difference != 0 ? difference < 0 : a < b;
    });
    std::vector<bool> dropped(members.size(), false);
    std::optional<std::size_t> duplicate;
    std::size_t first = order[0];
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (members[order[i]].key != members[first].key) {
        first = order[i];
        continue;
      }
      duplicate = std::min(order[i], duplicate.value_or(order[i]));
      // Python keeps the first one's place and the last one's value.
      members[first].value = std::move(members[order[i]].value);
      dropped[order[i]] = true;
    }
    if (!duplicate) return {};
    if (limits_.refuse_duplicate_keys) {
      return tokens_.error_at(
          level.key_offsets[*duplicate],
          fmt::format("the key {} appears twice in one object", quote(members[*duplicate].key)));
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (dropped[i]) continue;
      if (kept != i) members[kept] = std::move(members[i]);
      ++kept;
    }
    members.resize(kept);
    return {};
  }

  JsonTokens tokens_;
  JsonLimits limits_;
  std::vector<Level> open_;
  Value root_;
};

}  // namespace

Result<Value> parse_json(std::string_view text, const JsonLimits& limits) {
  return Builder(text, limits).build();
}

}  // namespace mlxmill::formats

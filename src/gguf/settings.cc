#include "gguf/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <set>
#include <vector>

#include "base/quoted.h"
#include "base/split.h"
#include "gguf/rope.h"

namespace mlxmill::gguf {
namespace {

using base::Value;

// Of what is kept for expressions; the metadata itself is bounded by the reader.
constexpr std::size_t kMaxText = 256;
constexpr std::size_t kMaxList = 8192;
constexpr std::size_t kMaxParts = 8;
constexpr std::size_t kMaxKeys = 1024;
constexpr std::size_t kMaxShapes = 256;
constexpr std::uint64_t kMaxFactors = 8192;
constexpr std::int64_t kMaxNumber = std::int64_t{1} << 32;

/// Keys that must be numbers, one or one for each layer, wherever an architecture has them.
constexpr std::string_view kCounts[] = {"block_count",
                                        "context_length",
                                        "embedding_length",
                                        "feed_forward_length",
                                        "vocab_size",
                                        "expert_count",
                                        "expert_used_count",
                                        "expert_feed_forward_length",
                                        "expert_shared_feed_forward_length",
                                        "attention.head_count",
                                        "attention.head_count_kv",
                                        "attention.key_length",
                                        "attention.value_length",
                                        "attention.sliding_window",
                                        "rope.dimension_count",
                                        "rope.scaling.original_context_length"};
constexpr std::string_view kReals[] = {"attention.layer_norm_rms_epsilon",
                                       "attention.layer_norm_epsilon",
                                       "rope.freq_base",
                                       "rope.freq_base_swa",
                                       "rope.scaling.factor",
                                       "rope.scaling.attn_factor"};

std::vector<std::string> parts_of(std::string_view key) {
  const std::vector<std::string_view> parts = base::split_at_dots(key);
  return {parts.begin(), parts.end()};
}

/// The double that the shortest decimal of an F32 stands for: 1e-05, not 9.999999747378752e-06.
double shortest(double value) {
  const auto narrow = static_cast<float>(value);
  if (!std::isfinite(value) || static_cast<double>(narrow) != value) return value;
  return std::strtod(fmt::format("{}", narrow).c_str(), nullptr);
}

Value with_short_floats(const Value& value) {
  if (const double* number = value.as_float()) return Value(shortest(*number));
  const base::Array* list = value.as_array();
  if (!list) return value;
  base::Array result;
  result.reserve(list->size());
  for (const Value& item : *list) result.push_back(with_short_floats(item));
  return Value(std::move(result));
}

bool is_kept(const Value& value) {
  if (const std::string* text = value.as_string()) return text->size() <= kMaxText;
  const base::Array* list = value.as_array();
  if (!list) return true;
  return list->size() <= kMaxList && std::none_of(list->begin(), list->end(), [](const Value& v) {
           return v.as_string() || v.as_array();
         });
}

Error wrong(std::string_view key, std::string_view expected, const Value& got) {
  return Error(Code::kInvalidInput, fmt::format("expected {}, got {}", expected, got.type_name()))
      .at(fmt::format("metadata {}", base::quoted(std::string(key))));
}

Status check_count(std::string_view key, const Value& value) {
  if (const base::Array* list = value.as_array()) {
    for (const Value& item : *list) {
      if (item.as_array()) return wrong(key, "a list of numbers", item);
      // Mixed attention is written as a list of booleans.
      if (!item.as_bool()) MLXMILL_TRY(check_count(key, item));
    }
    return {};
  }
  const std::int64_t* number = value.as_int();
  if (!number) return wrong(key, "an integer", value);
  if (*number >= 0 && *number <= kMaxNumber) return {};
  return Error(Code::kInvalidInput, fmt::format("it is {}; expected 0 to {}", *number, kMaxNumber))
      .at(fmt::format("metadata {}", base::quoted(std::string(key))));
}

Status check_types(const Value& metadata, std::string_view architecture) {
  for (const std::string_view name : kCounts) {
    const std::string key = fmt::format("{}.{}", architecture, name);
    if (const Value* value = metadata.find(key)) MLXMILL_TRY(check_count(key, *value));
  }
  for (const std::string_view name : kReals) {
    const std::string key = fmt::format("{}.{}", architecture, name);
    const Value* value = metadata.find(key);
    if (!value || value->as_int()) continue;
    if (!value->as_float()) return wrong(key, "a number", *value);
    if (!std::isfinite(*value->as_float())) {
      return Error(Code::kInvalidInput, "it is not finite; expected a number")
          .at(fmt::format("metadata {}", base::quoted(key)));
    }
  }
  return {};
}

/// One number where a list holds the same for every layer.
Value collapsed(Value value, std::int64_t n_layers) {
  const base::Array* list = value.as_array();
  if (!list || list->empty() || static_cast<std::int64_t>(list->size()) != n_layers) return value;
  const Value first = list->front();
  const bool same = first.as_int() && std::all_of(list->begin(), list->end(),
                                                  [&](const Value& v) { return v == first; });
  return same ? first : value;
}

/// "blk.12.attn_q.weight" -> "attn_q.weight".
std::string_view without_layer(std::string_view name) {
  if (!name.starts_with("blk.")) return name;
  const std::size_t dot = name.find('.', 4);
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

void add_shapes(Value& settings, std::span<const tensors::TensorView> views) {
  std::set<std::string_view> seen;
  Value shapes{base::Object()};
  for (const tensors::TensorView& view : views) {
    const std::string_view name = without_layer(view.name);
    if (name.size() > kMaxText || seen.size() >= kMaxShapes || !seen.insert(name).second) continue;
    const std::vector<std::string> parts = parts_of(name);
    if (parts.size() > kMaxParts) continue;
    base::Array shape;
    for (const std::int64_t extent : view.shape) shape.emplace_back(extent);
    set_path(shapes, parts, Value(std::move(shape)));
  }
  settings.set("shapes", std::move(shapes));
}

/// The numbers of a small F32 tensor; empty when there is no such tensor.
Result<std::vector<float>> numbers_of(const formats::GgufModel& model, std::string_view name) {
  std::vector<float> result;
  const auto found = std::find_if(model.tensors.begin(), model.tensors.end(),
                                  [&](const auto& entry) { return entry.tensor.name == name; });
  if (found == model.tensors.end()) return result;
  const formats::GgufTensor& tensor = found->tensor;
  if (tensor.type != base::GgmlType::kF32 || tensor.elements == 0 ||
      tensor.elements > kMaxFactors) {
    return Error(Code::kInvalidInput, fmt::format("it holds {} elements; expected 1 to {} of F32",
                                                  tensor.elements, kMaxFactors))
        .at(fmt::format("tensor {}", base::quoted(std::string(name))));
  }
  std::vector<std::byte> bytes(tensor.elements * 4);
  MLXMILL_TRY(model.parts[found->part].file.read_at(tensor.begin, bytes));
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      bits |= std::to_integer<std::uint32_t>(bytes[i + k]) << (8 * k);
    }
    result.push_back(std::bit_cast<float>(bits));
    if (!std::isfinite(result.back())) {
      return Error(Code::kNonFinite, "it holds a number that is not finite")
          .at(fmt::format("tensor {}", base::quoted(std::string(name))));
    }
  }
  return result;
}

Status add_rope(Value& settings, const formats::GgufModel& model) {
  for (const std::string_view name : {"rope_factors_long", "rope_factors_short"}) {
    MLXMILL_ASSIGN(const auto numbers, numbers_of(model, fmt::format("{}.weight", name)));
    if (numbers.empty()) continue;
    base::Array list;
    for (const float number : numbers) list.emplace_back(shortest(static_cast<double>(number)));
    settings.set(name, Value(std::move(list)));
  }
  MLXMILL_ASSIGN(const auto factors, numbers_of(model, "rope_freqs.weight"));
  // All ones is no scaling: some files have them for every model.
  if (factors.empty() ||
      std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1; })) {
    return {};
  }
  if (const auto turned = turned_frequencies(factors)) {
    Value proportional{base::Object()};
    proportional.set("turned", *turned);
    settings.set("proportional_rope", std::move(proportional));
    return {};
  }
  const Value* rope = settings.find("rope");
  const Value* base = rope ? rope->find("freq_base") : nullptr;
  const double theta = base && base->as_float() ? *base->as_float() : 10000.0;
  MLXMILL_ASSIGN(Value scaling, llama3_rope_of(factors, theta));
  settings.set("llama3_rope", std::move(scaling));
  return {};
}

}  // namespace

Result<std::string> architecture_of(const Value& metadata) {
  const Value* value = metadata.find("general.architecture");
  const Error error =
      Error(Code::kInvalidInput, fmt::format("it is {}; expected the name of an architecture",
                                             value ? value->type_name() : "missing"))
          .at("metadata \"general.architecture\"");
  if (!value || !value->as_string()) return error;
  if (value->as_string()->empty() || value->as_string()->size() > kMaxText) return error;
  return *value->as_string();
}

void set_path(Value& object, std::span<const std::string> path, Value value) {
  Value* at = &object;
  for (; path.size() > 1; path = path.subspan(1)) {
    base::Object* members = at->as_object();
    auto found = std::find_if(members->begin(), members->end(),
                              [&](const base::Member& member) { return member.key == path[0]; });
    if (found == members->end()) {
      members->push_back({path[0], Value(base::Object())});
      found = std::prev(members->end());
    } else if (!found->value.as_object()) {
      found->value = Value(base::Object());
    }
    at = &found->value;
  }
  at->set(path[0], std::move(value));
}

Result<Value> settings_of(const formats::GgufModel& model, std::string_view architecture,
                          std::span<const tensors::TensorView> views) {
  const Value& metadata = model.metadata();
  MLXMILL_TRY(check_types(metadata, architecture));
  const std::string prefix = fmt::format("{}.", architecture);
  const Value* blocks = metadata.find(prefix + "block_count");
  const std::int64_t n_layers = blocks && blocks->as_int() ? *blocks->as_int() : 0;
  Value settings{base::Object()};
  if (!metadata.as_object()) return settings;
  std::size_t n_kept = 0;
  for (const base::Member& member : *metadata.as_object()) {
    std::string_view key = member.key;
    const bool own = key.starts_with(prefix);
    if (own) key.remove_prefix(prefix.size());
    const bool shared =
        key.starts_with("general.") || key.starts_with("tokenizer.") || key.starts_with("xielu.");
    if (!own && !shared) continue;
    if (!is_kept(member.value)) continue;
    const std::vector<std::string> parts = parts_of(key);
    if (parts.size() > kMaxParts) continue;
    if (++n_kept > kMaxKeys) {
      return Error(Code::kInvalidInput,
                   fmt::format("the metadata has more than {} keys about the model", kMaxKeys));
    }
    Value value = with_short_floats(member.value);
    set_path(settings, parts, own ? collapsed(std::move(value), n_layers) : std::move(value));
  }
  add_shapes(settings, views);
  MLXMILL_TRY(add_rope(settings, model));
  return settings;
}

}  // namespace mlxmill::gguf

#include "formats/quantization_config.h"

#include <fmt/format.h>

namespace mlxmill::formats {
namespace {

Result<std::optional<int>> optional_int(const base::Value& object, std::string_view key) {
  const base::Value* value = object.find(key);
  if (!value || value->is_null()) return std::optional<int>();
  const std::int64_t* number = value->as_int();
  if (!number || *number < 1 || *number > 1024) {
    return Error(Code::kInvalidInput, fmt::format("'{}' is {}; expected a small positive integer",
                                                  key, value->type_name()));
  }
  return std::optional<int>(static_cast<int>(*number));
}

Result<Scheme> read_scheme(const base::Value& object) {
  Mode mode = Mode::kAffine;
  if (const base::Value* value = object.find("mode"); value && !value->is_null()) {
    const std::string* name = value->as_string();
    const auto known = name ? mode_from_name(*name) : std::nullopt;
    if (!known) {
      return Error(Code::kInvalidInput,
                   fmt::format("unknown mode {}; expected affine, mxfp4, nvfp4 or mxfp8",
                               name ? "'" + *name + "'" : std::string(value->type_name())));
    }
    mode = *known;
  }
  MLXMILL_ASSIGN(const std::optional<int> bits, optional_int(object, "bits"));
  MLXMILL_ASSIGN(const std::optional<int> group_size, optional_int(object, "group_size"));
  Result<Scheme> scheme = make_scheme(mode, bits, group_size);
  if (!scheme) return Error(Code::kInvalidInput, scheme.error().what());
  return scheme;
}

}  // namespace

std::optional<Scheme> QuantizationConfig::for_module(const std::string& path) const {
  const auto it = entries.find(path);
  return it == entries.end() ? std::optional<Scheme>(scheme) : it->second;
}

Result<std::optional<QuantizationConfig>> read_quantization_config(const base::Value& config) {
  const base::Value* value = config.find("quantization");
  if (!value || value->is_null()) return std::optional<QuantizationConfig>();
  const base::Object* object = value->as_object();
  if (!object) {
    return Error(Code::kInvalidInput, fmt::format("is {}; expected an object", value->type_name()))
        .at("config.json: quantization");
  }
  QuantizationConfig result;
  Result<Scheme> scheme = read_scheme(*value);
  if (!scheme) return std::move(scheme).error().at("config.json: quantization");
  result.scheme = *scheme;
  for (const base::Member& member : *object) {
    if (const bool* quantized = member.value.as_bool()) {
      if (!*quantized) result.entries.emplace(member.key, std::nullopt);
    } else if (member.value.as_object()) {
      Result<Scheme> own = read_scheme(member.value);
      if (!own) return std::move(own).error().at("config.json: quantization: " + member.key);
      result.entries.emplace(member.key, *own);
    }
  }
  return std::optional<QuantizationConfig>(std::move(result));
}

}  // namespace mlxmill::formats

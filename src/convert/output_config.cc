#include "convert/output_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/json.h"

namespace mlxmill::convert {

using base::Object;
using base::Value;

Value scheme_entry(const Scheme& scheme) {
  return Value(Object{{"group_size", Value(scheme.group_size)},
                      {"bits", Value(scheme.bits)},
                      {"mode", Value(mode_name(scheme.mode))}});
}

Value module_entry(const quantize::Decision& decision) {
  const bool full = !decision.own_entry;
  Object entry;
  if (full || decision.entry_has_group_size) {
    entry.push_back({"group_size", Value(decision.scheme->group_size)});
  }
  if (full || decision.entry_has_bits) entry.push_back({"bits", Value(decision.scheme->bits)});
  if (full || decision.entry_has_mode) {
    entry.push_back({"mode", Value(mode_name(decision.scheme->mode))});
  }
  return Value(std::move(entry));
}

Value quantization_value(const Scheme& scheme,
                         const std::vector<std::pair<std::string, quantize::Decision>>& decisions) {
  Value result = scheme_entry(scheme);
  Object& object = *result.as_object();
  for (const auto& [path, decision] : decisions) {
    if (!decision.own_entry || !decision.scheme) continue;
    object.push_back({path, module_entry(decision)});
  }
  return result;
}

std::string output_config_text(Value config, const Value& quantization, bool drop_quantization,
                               bool keep_vision) {
  if (drop_quantization) {
    config.erase("quantization");
    config.erase("quantization_config");
  }
  if (!quantization.is_null()) config.set("quantization", quantization);
  if (const Value* own = config.find("quantization"))
    config.set("quantization_config", Value(*own));
  config.erase("_name_or_path");
  if (!keep_vision) config.erase("vision_config");
  return formats::dump_json(config, {.indent = 4, .sort_keys = true});
}

void drop_quantization_config(Value& config) {
  config.erase("quantization_config");
  if (const Value* text = config.find("text_config"); text && text->find("quantization_config")) {
    Value own = *text;
    own.erase("quantization_config");
    config.set("text_config", std::move(own));
  }
}

std::string index_text(std::uint64_t total_size, std::uint64_t total_parameters,
                       std::vector<std::pair<std::string_view, std::string_view>> weight_map) {
  std::sort(weight_map.begin(), weight_map.end());
  // Written as it goes: as a value it would take several times the memory.
  std::string text = fmt::format(
      "{{\n    \"metadata\": {{\n        \"total_size\": {},\n        \"total_parameters\": {}\n"
      "    }},\n    \"weight_map\": {{",
      total_size, total_parameters);
  std::size_t expected = text.size() + 16;
  for (const auto& [tensor, file] : weight_map) expected += tensor.size() + file.size() + 16;
  text.reserve(expected);
  const char* before = "\n        ";
  for (const auto& [tensor, file] : weight_map) {
    text += before;
    formats::append_json_quoted(text, tensor);
    text += ": ";
    formats::append_json_quoted(text, file);
    before = ",\n        ";
  }
  text += weight_map.empty() ? "}\n}" : "\n    }\n}";
  return text;
}

}  // namespace mlxmill::convert

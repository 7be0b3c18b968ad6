#include <fmt/format.h>

#include <algorithm>

#include "architectures/built_in.h"
#include "architectures/declaration.h"
#include "architectures/language.h"
#include "architectures/unknown_model.h"

namespace mlxmill::architectures {
namespace {

/// The names in config.json's `architectures`, which may be a string or a list.
std::vector<std::string> architectures_of(const base::Value& config) {
  std::vector<std::string> names;
  const base::Value* value = config.find("architectures");
  if (!value) return names;
  if (value->as_string()) names.push_back(*value->as_string());
  if (const base::Array* array = value->as_array()) {
    for (const base::Value& item : *array) {
      if (item.as_string()) names.push_back(*item.as_string());
    }
  }
  return names;
}

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

Result<Catalogue> Catalogue::built_in() {
  Catalogue catalogue;
  for (const BuiltInFile& file : built_in_files()) {
    MLXMILL_ASSIGN(Declaration declaration, Declaration::parse(file.text, file.name));
    catalogue.declarations_.push_back(std::move(declaration));
  }
  return catalogue;
}

Result<Catalogue> Catalogue::for_config(const base::Value& config) {
  const base::Value* model_type = config.find("model_type");
  if (!model_type || !model_type->as_string()) return built_in();
  const std::string quoted_type = '"' + *model_type->as_string() + '"';
  Catalogue catalogue;
  for (const BuiltInFile& file : built_in_files()) {
    // A file cannot serve a type that it does not name.
    if (file.text.find(quoted_type) == std::string_view::npos) continue;
    MLXMILL_ASSIGN(Declaration declaration, Declaration::parse(file.text, file.name));
    catalogue.declarations_.push_back(std::move(declaration));
  }
  // An unknown type is answered with the nearest names of all.
  return catalogue.find(config) ? Result<Catalogue>(std::move(catalogue)) : built_in();
}

void Catalogue::add(Declaration declaration) {
  declarations_.insert(declarations_.begin(), std::move(declaration));
}

Result<Declaration> Catalogue::find(const base::Value& config) const {
  const base::Value* model_type = config.find("model_type");
  if (!model_type || !model_type->as_string()) {
    return Error(Code::kInvalidInput, fmt::format("model_type is {}; expected a string",
                                                  model_type ? model_type->type_name() : "missing"))
        .at("config.json");
  }
  const std::string& type = *model_type->as_string();
  const std::vector<std::string> architectures = architectures_of(config);
  const Declaration* plain = nullptr;
  std::vector<std::string> known;
  for (const Declaration& declaration : declarations_) {
    for (const std::string& name : declaration.model_types()) known.push_back(name);
    if (!contains(declaration.model_types(), type)) continue;
    const std::vector<std::string>& claimed = declaration.architecture_names();
    if (claimed.empty()) {
      if (!plain) plain = &declaration;
      continue;
    }
    for (const std::string& name : architectures) {
      if (contains(claimed, name)) return declaration;
    }
  }
  if (plain) return *plain;
  Error unknown(Code::kUnknownModel, fmt::format("no family serves model_type {}", quoted(type)));
  const auto near = nearest(type, known);
  unknown.hint(fmt::format(
      "{}a new family is one text file, given with --architecture FILE: docs/ARCHITECTURES.md",
      near ? fmt::format("the nearest name known is \"{}\"; ", *near) : ""));
  return std::move(unknown).at("config.json");
}

Result<Choice> Catalogue::choose(const base::Value& config, std::span<const TensorView> tensors,
                                 bool exact_norms, bool to_run) const {
  Result<Declaration> found = find(config);
  if (found) {
    MLXMILL_ASSIGN(Layout layout, found->apply(config, tensors, exact_norms, to_run));
    std::vector<std::string> warnings = std::move(layout.warnings);
    return Choice{*std::move(found), std::move(layout), std::move(warnings)};
  }
  if (found.error().code() != Code::kUnknownModel) return std::move(found).error();
  std::vector<std::pair<std::int64_t, const Declaration*>> candidates;
  for (const Declaration& declaration : declarations_) {
    if (const auto order = declaration.stand_in_order(config)) {
      candidates.emplace_back(*order, &declaration);
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [order, declaration] : candidates) {
    const std::string& type = declaration->model_types().front();
    base::Value as_family = config;
    as_family.set("model_type", type);
    Result<Layout> layout = declaration->apply(as_family, tensors, exact_norms, to_run);
    if (!layout) continue;
    layout->config_edits.push_back({{"model_type"}, base::Value(type)});
    return Choice{*declaration,
                  *std::move(layout),
                  {fmt::format("model_type {} is unknown; config.json and tensors are those of "
                               "family {}, so the output is one, with model_type \"{}\"",
                               quoted(*config.find("model_type")->as_string()),
                               declaration->family(), type)}};
  }
  return unknown_model(std::move(found).error(), config, tensors);
}

}  // namespace mlxmill::architectures

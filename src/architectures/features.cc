// What a declaration file tells about its family in a few words.
#include <algorithm>

#include "architectures/language.h"
#include "architectures/program.h"

namespace mlxmill::architectures::detail {
namespace {

/// The kinds of rules that leave every element as it is.
constexpr std::string_view kMoving[] = {"drop",  "refuse",  "rename",  "copy",      "stack",
                                        "split", "reshape", "squeeze", "transpose", "only"};

/// The patterns of a rule of that kind, as written.
std::vector<std::string_view> patterns(const Node& rule, std::string_view kind) {
  std::vector<std::string_view> result;
  for (const Entry& entry : *rule.as_table()) {
    if (entry.key != kind) continue;
    if (const std::string* one = entry.value.as_string()) result.push_back(*one);
    if (const Node::Items* items = entry.value.as_array()) {
      for (const Node& item : *items) {
        if (item.as_string()) result.push_back(*item.as_string());
      }
    }
  }
  return result;
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return text.find(word) != std::string_view::npos;
  });
}

/// A layer from hidden states to words: no embedding, but with as many rows.
bool is_output(const ModuleSpec& spec) {
  if (spec.kind != ModuleKind::kLinear && spec.kind != ModuleKind::kTensors) return false;
  const std::vector<Expression>& extents = spec.parameters[0].extents;
  return extents.size() == 2 && contains_any(extents[0].text(), {"vocab"});
}

std::string text_of(const PathTemplate& path) {
  std::string text;
  for (const PathTemplate::Element& element : path.elements) text += element.text;
  return text;
}

/// Whether any module is such, as the predicate says of its path and specification.
template <typename Predicate>
bool any_module(const Program& program, const Predicate& predicate) {
  for (const Block& block : program.blocks) {
    const std::string at = block.at ? text_of(*block.at) + "." : "";
    for (const ModuleSpec& spec : block.modules) {
      if (predicate(at + text_of(spec.path), spec)) return true;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> features_of(const Program& program,
                                     const std::vector<const Node*>& rules) {
  const auto any_pattern = [&](std::string_view kind,
                               std::initializer_list<std::string_view> words) {
    return std::any_of(rules.begin(), rules.end(), [&](const Node* rule) {
      const auto texts = patterns(*rule, kind);
      return std::any_of(texts.begin(), texts.end(),
                         [&](std::string_view text) { return contains_any(text, words); });
    });
  };
  const bool arithmetic = std::any_of(rules.begin(), rules.end(), [](const Node* rule) {
    const Node::Entries& entries = *rule->as_table();
    return std::none_of(entries.begin(), entries.end(), [](const Entry& entry) {
      return std::find(std::begin(kMoving), std::end(kMoving), entry.key) != std::end(kMoving);
    });
  });
  std::vector<std::string> features;
  if (program.forward) features.emplace_back("runs");
  const auto add = [&](bool applies, const char* feature) {
    if (applies) features.emplace_back(feature);
  };
  add(program.blocks.empty(), "any tensors");
  add(any_module(program,
                 [](std::string_view path, const ModuleSpec&) {
                   return contains_any(path, {"expert", "switch_"});
                 }),
      "experts");
  const auto has_output = [&](bool conditional) {
    return any_module(program, [&](std::string_view, const ModuleSpec& spec) {
      return is_output(spec) && (!conditional || spec.when);
    });
  };
  add(!program.blocks.empty() && (!has_output(false) || has_output(true)), "tied output");
  add(any_pattern("drop", {"vision", "visual", "audio"}), "multimodal: text part");
  add(any_module(program,
                 [](std::string_view, const ModuleSpec& spec) {
                   return spec.rule && (spec.rule->bits || spec.rule->group_size);
                 }),
      "own bits");
  add(any_module(program,
                 [](std::string_view, const ModuleSpec& spec) {
                   return spec.kind == ModuleKind::kBitLinear;
                 }),
      "ternary");
  add(arithmetic, "arithmetic");
  add(program.stands_in.has_value(), "stands in for unknown types");
  return features;
}

}  // namespace mlxmill::architectures::detail

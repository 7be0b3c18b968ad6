#include "plan_groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "table.h"

namespace mlxmill::cli {
namespace {

// The last part of a path that is not a layer number: "gate" of "model.layers.0.mlp.gate".
std::string module_name(const std::string& path) {
  std::string rest = path;
  while (true) {
    const std::size_t dot = rest.rfind('.');
    std::string last = dot == std::string::npos ? rest : rest.substr(dot + 1);
    const bool is_number = last.find_first_not_of("0123456789") == std::string::npos;
    if (!is_number || dot == std::string::npos) return last;
    rest.resize(dot);
  }
}

// Every family calls its normalization layers something with "norm" in it, except GPT-2's ln_1,
// ln_f.
bool is_norm(const std::string& name) {
  return name.find("norm") != std::string::npos || name.starts_with("ln_");
}

std::string parent(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::string() : name.substr(0, dot);
}

}  // namespace

ModuleIndex::ModuleIndex(const Plan& plan) {
  for (const PlannedModule& module : plan.modules) by_path_.emplace(module.path, &module);
}

const PlannedModule* ModuleIndex::find(const std::string& tensor) const {
  // A bare parameter ("layers.0.A_log") is its own module; "q_proj.weight" belongs to q_proj.
  for (const std::string& path : {tensor, parent(tensor)}) {
    const auto found = by_path_.find(path);
    if (found != by_path_.end()) return found->second;
  }
  return nullptr;
}

std::vector<CodingGroup> coding_groups(const Plan& plan) {
  const ModuleIndex index(plan);
  std::map<const PlannedModule*, DType> dtypes;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (const PlannedModule* module = index.find(tensor.name)) dtypes.emplace(module, tensor.dtype);
  }
  std::vector<CodingGroup> groups;
  for (const PlannedModule& module : plan.modules) {
    const auto dtype = dtypes.find(&module);
    std::string coding = "unknown";
    if (module.scheme) {
      coding = describe(*module.scheme);
    } else if (dtype != dtypes.end()) {
      coding = dtype_name(dtype->second);
    }
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const CodingGroup& g) { return g.coding == coding; });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), CodingGroup{});
      group->coding = coding;
      group->scheme = module.scheme;
    }
    group->modules += 1;
    group->parameters += module.parameters;
    group->bytes += module.bytes;
  }
  std::stable_sort(groups.begin(), groups.end(), [](const CodingGroup& a, const CodingGroup& b) {
    return a.parameters > b.parameters;
  });
  return groups;
}

std::vector<KeptGroup> kept_groups(const Plan& plan) {
  const bool quantized = std::any_of(plan.modules.begin(), plan.modules.end(),
                                     [](const PlannedModule& m) { return m.scheme.has_value(); });
  std::vector<KeptGroup> groups;
  if (!quantized) return groups;
  for (const PlannedModule& module : plan.modules) {
    if (module.scheme) continue;
    std::string what = module_name(module.path);
    if (module.reason.empty() && is_norm(what)) what = "norm";
    auto group = std::find_if(groups.begin(), groups.end(), [&](const KeptGroup& g) {
      return g.what == what && g.reason == module.reason;
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), KeptGroup{});
      group->what = what;
      group->reason = module.reason;
    }
    group->modules += 1;
    group->paths.push_back(module.path);
  }
  return groups;
}

std::string describe(const KeptGroup& group) {
  const std::string what = group.what == "norm" ? plural(group.modules, group.what)
                                                : fmt::format("{} {}", group.modules, group.what);
  return group.reason.empty() ? what : what + ": " + group.reason;
}

}  // namespace mlxmill::cli

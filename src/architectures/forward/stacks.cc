#include "architectures/forward/stacks.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "base/quoted.h"
#include "mlxmill/scheme.h"
#include "tensors/view.h"

namespace mlxmill::architectures {
namespace {

using Members = std::vector<const Module*>;

std::string scheme_text(const Module& module) {
  return module.packed_scheme ? describe(*module.packed_scheme) : "not quantized";
}

/// What a tensor is called in its module: "weight".
std::string_view part_name(const Module& module, const TensorView& view) {
  return std::string_view(view.name).substr(module.path.size() + 1);
}

Status check_alike(const Members& members) {
  const Module& first = *members[0];
  for (const Module* module : members) {
    if (module->packed_scheme != first.packed_scheme) {
      return Error(Code::kUnsupported,
                   fmt::format("{} is {}, but {} is {}; as they are computed together, they must "
                               "be quantized alike",
                               module->path, scheme_text(*module), first.path, scheme_text(first)))
          .hint("quantize all of them in one way");
    }
    bool same = module->tensors.size() == first.tensors.size();
    for (std::size_t i = 0; same && i < first.tensors.size(); ++i) {
      same = part_name(*module, module->tensors[i]) == part_name(first, first.tensors[i]);
    }
    if (!same) {
      return Error(Code::kInvalidInput,
                   fmt::format("{} has other tensors than {}, with which it is computed",
                               module->path, first.path));
    }
  }
  return {};
}

Result<Module> stacked(const StackSpec& stack, const Members& members) {
  MLXMILL_TRY(check_alike(members));
  const Module& first = *members[0];
  Module result;
  result.path = stack.path;
  result.kind = ModuleKind::kStacked;
  result.keep_dtype = first.keep_dtype;
  result.packed = first.packed;
  result.packed_scheme = first.packed_scheme;
  result.stacked_of = stack.of;
  for (std::size_t i = 0; i < first.tensors.size(); ++i) {
    std::vector<TensorView> views;
    views.reserve(members.size());
    for (const Module* member : members) views.push_back(member->tensors[i]);
    MLXMILL_ASSIGN(TensorView view, tensors::stack(views));
    view.name = fmt::format("{}.{}", stack.path, part_name(first, first.tensors[i]));
    result.tensors.push_back(std::move(view));
  }
  return result;
}

}  // namespace

Status stack_modules(std::span<const StackSpec> stacks, Layout& layout) {
  if (stacks.empty()) return {};
  std::map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < layout.modules.size(); ++i) places[layout.modules[i].path] = i;
  std::vector<bool> taken(layout.modules.size());
  std::map<std::size_t, Module> made;  // By the place of the first that each is made of.
  for (const StackSpec& stack : stacks) {
    Members members;
    for (const std::string& path : stack.of) {
      const auto found = places.find(path);
      if (found == places.end() || taken[found->second]) {
        return Error(Code::kInvalidInput,
                     fmt::format("{} is {}, but {} is stacked of it", base::quoted(path),
                                 found == places.end() ? "no module" : "in a stack already",
                                 base::quoted(stack.path)));
      }
      taken[found->second] = true;
      members.push_back(&layout.modules[found->second]);
    }
    MLXMILL_ASSIGN(Module module, stacked(stack, members));
    made.emplace(places.at(stack.of[0]), std::move(module));
  }
  std::vector<Module> modules;
  for (std::size_t i = 0; i < layout.modules.size(); ++i) {
    if (const auto found = made.find(i); found != made.end()) {
      modules.push_back(std::move(found->second));
    } else if (!taken[i]) {
      modules.push_back(std::move(layout.modules[i]));
    }
  }
  layout.modules = std::move(modules);
  return {};
}

}  // namespace mlxmill::architectures

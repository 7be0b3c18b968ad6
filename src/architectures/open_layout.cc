// A family without [[modules]]: the names alone say what the modules are.
#include <algorithm>
#include <map>

#include "architectures/layout.h"
#include "architectures/report.h"
#include "base/ascii.h"

namespace mlxmill::architectures {
namespace {

/// Order of names with their numbers as numbers: layer 2 before layer 10.
struct NaturalLess {
  using is_transparent = void;

  bool operator()(std::string_view a, std::string_view b) const {
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < a.size() && j < b.size()) {
      if (!base::is_digit(a[i]) || !base::is_digit(b[j])) {
        if (a[i] != b[j]) return a[i] < b[j];
        ++i;
        ++j;
        continue;
      }
      const std::string_view x = take_number(a, i);
      const std::string_view y = take_number(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    }
    if ((i < a.size()) != (j < b.size())) return j < b.size();
    return a < b;  // 01 and 1 are one number but two names
  }

  /// The digits at `at` without leading zeros; `at` moves past them.
  static std::string_view take_number(std::string_view text, std::size_t& at) {
    while (at + 1 < text.size() && text[at] == '0' && base::is_digit(text[at + 1])) ++at;
    const std::size_t begin = at;
    while (at < text.size() && base::is_digit(text[at])) ++at;
    return text.substr(begin, at - begin);
  }
};

bool matches(const std::vector<Pattern>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const Pattern& pattern) { return pattern.match(name).has_value(); });
}

/// Codes of an MLX-quantized source, when the module's tensors are such.
std::optional<Scheme> packed(const TensorView* weight, const TensorView* scales,
                             const base::Value& config) {
  const base::Value* quantization = config.find("quantization");
  if (!weight || !scales || !quantization || !quantization->as_object()) return std::nullopt;
  if (weight->shape.empty() || scales->shape.empty()) return std::nullopt;
  const base::Value* bits = quantization->find("bits");
  if (!bits || !bits->as_int() || *bits->as_int() < 2 || *bits->as_int() > 8) return std::nullopt;
  // Without [[modules]] nothing says how long a row is; the config's bits do.
  if (weight->shape.back() > (std::int64_t{1} << 40)) return std::nullopt;
  auto scheme = packed_scheme(*weight, *scales, weight->shape.back() * 32 / *bits->as_int());
  if (!scheme) return std::nullopt;
  return *scheme;
}

}  // namespace

Result<std::vector<Module>> open_modules(const detail::Program& program, const Scope& scope,
                                         const TensorTable& tensors) {
  std::map<std::string, std::vector<const TensorView*>, NaturalLess> groups;
  Report report;
  for (const TensorView& view : tensors.views()) {
    if (looks_quantized(view)) report.unexpected(view);
    const std::size_t dot = view.name.rfind('.');
    groups[dot == std::string::npos ? "" : view.name.substr(0, dot)].push_back(&view);
  }
  if (!report.empty()) return report.error(program.family, false);
  std::vector<Module> result;
  for (auto& [path, views] : groups) {
    // weight, scales, biases, then the rest by name.
    const auto rank = [](const TensorView* view) {
      const std::string_view name = std::string_view(view->name).substr(view->name.rfind('.') + 1);
      return name == "weight" ? 0 : name == "scales" ? 1 : name == "biases" ? 2 : 3;
    };
    std::sort(views.begin(), views.end(), [&](const TensorView* a, const TensorView* b) {
      return std::pair(rank(a), std::string_view(a->name)) <
             std::pair(rank(b), std::string_view(b->name));
    });
    Module module;
    module.path = path;
    const ModuleKind stack =
        views[0]->shape.size() == 2 ? ModuleKind::kLinear : ModuleKind::kStacked;
    if (!path.empty() && rank(views[0]) == 0 && can_take_codes(*views[0], stack) &&
        !matches(program.raw, path)) {
      module.kind = stack;
      take_codes(module, *views[0]);
      views.erase(views.begin());
      for (const TensorView* view : views) {
        module.tensors.push_back(*view);
        module.keep_dtype.push_back(view->keeps_dtype || matches(program.keep_dtype, view->name));
      }
      result.push_back(std::move(module));
      continue;
    }
    for (const TensorView* view : views) {
      module.tensors.push_back(*view);
      module.keep_dtype.push_back(view->keeps_dtype || matches(program.keep_dtype, view->name));
    }
    const TensorView* weight = path.empty() || rank(views[0]) != 0 ? nullptr : views[0];
    const TensorView* scales = views.size() > 1 && rank(views[1]) == 1 ? views[1] : nullptr;
    const std::size_t n_axes = weight ? weight->shape.size() : 0;
    module.packed_scheme = packed(weight, scales, scope.config());
    module.packed = module.packed_scheme.has_value();
    const bool quantizable = module.packed || (weight && is_mlx_float(weight->dtype));
    if (quantizable && (n_axes == 2 || n_axes == 3) && !matches(program.raw, path)) {
      module.kind = n_axes == 2 ? ModuleKind::kLinear : ModuleKind::kStacked;
    }
    result.push_back(std::move(module));
  }
  return result;
}

}  // namespace mlxmill::architectures

#include "quantize/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/split.h"
#include "language/document.h"
#include "language/expression.h"

namespace mlxmill::quantize {
namespace {

using base::Value;
using language::Environment;
using language::error_at;
using language::quoted;

constexpr std::size_t kShownPaths = 5;
/// More than any condition within the language's limits takes.
constexpr std::int64_t kMaxExpressionSteps = 10'000;

std::optional<std::int64_t> number_of(std::string_view part) {
  std::int64_t number = 0;
  const char* end = part.data() + part.size();
  const auto [stop, problem] = std::from_chars(part.data(), end, number);
  if (problem != std::errc() || stop != end || number < 0) return std::nullopt;
  return number;
}

/// The model as a recipe's conditions see it.
struct Model {
  std::int64_t n_layers = 0;
  /// Which part of a path is the layer number; empty: the first that is a number.
  std::optional<std::size_t> layer_part;
  std::set<std::string_view> paths;
};

std::optional<std::int64_t> layer_of(const Model& model, std::string_view path) {
  const std::vector<std::string_view> parts = base::split_at_dots(path);
  if (model.layer_part) {
    return *model.layer_part < parts.size() ? number_of(parts[*model.layer_part]) : std::nullopt;
  }
  for (const std::string_view part : parts) {
    if (const auto number = number_of(part)) return number;
  }
  return std::nullopt;
}

/// What the names of a condition stand for at one module.
class ModuleNames final : public Environment {
 public:
  ModuleNames(const Model& model, const Candidate& module) : model_(model), module_(module) {}

  Result<Operand> name(const std::vector<std::string>& path) const override {
    const std::string& name = path[0];
    if (path.size() > 1) return Operand();
    if (name == "path") return Operand(Value(module_.path));
    if (name == "kind") return Operand(Value(module_.kind));
    if (name == "layers") return Operand(Value(model_.n_layers));
    if (name == "rows") return Operand(Value(module_.rows));
    if (name == "columns") return Operand(Value(module_.columns));
    const auto layer = layer_of(model_, module_.path);
    return layer ? Operand(Value(*layer)) : Operand();
  }
  /// given(...) and shape_of(...) are about the source, which a recipe does not see.
  bool has_key(const std::vector<std::string>&) const override { return false; }
  const base::Shape* tensor_shape(std::string_view) const override { return nullptr; }
  bool has_tensor(std::string_view path) const override { return model_.paths.count(path) != 0; }
  bool spend(std::int64_t steps) const override { return (steps_left_ -= steps) > 0; }
  std::string missing(std::string_view name) const override {
    return fmt::format("{} has no {}; narrow the match, or write {} ?? 0", module_.path, name,
                       name);
  }

 private:
  const Model& model_;
  const Candidate& module_;
  mutable std::int64_t steps_left_ = kMaxExpressionSteps;
};

Decision unquantized(std::string reason) {
  Decision decision;
  decision.reason = std::move(reason);
  return decision;
}

std::string does_not_divide(std::int64_t columns, int group_size, std::string_view whose = "") {
  return fmt::format("rows of {} are not divisible by the group size {}{}", columns, group_size,
                     whose);
}

/// What a run without a recipe makes of a module.
Decision decide_as_run(const Candidate& module, const Scheme& run) {
  // mlx-lm tests the run's group size even where an entry brings its own.
  if (module.columns % run.group_size != 0) {
    return unquantized(does_not_divide(module.columns, run.group_size));
  }
  if (module.family_forbids) return unquantized("the family keeps it unquantized");
  Decision decision;
  if (!module.family_bits && !module.family_group_size && !module.family_affine) {
    decision.scheme = run;
    return decision;
  }
  // An entry without a mode means affine, whatever the run's mode.
  const bool as_run = module.family_affine && run.mode == Mode::kAffine;
  const Scheme own{Mode::kAffine, module.family_bits.value_or(as_run ? run.bits : 4),
                   module.family_group_size.value_or(as_run ? run.group_size : 64)};
  if (module.columns % own.group_size != 0) {
    return unquantized(does_not_divide(module.columns, own.group_size, " its family asks for"));
  }
  decision.scheme = own;
  decision.own_entry = true;
  decision.entry_has_bits = module.family_bits.has_value() || module.family_affine;
  decision.entry_has_group_size = module.family_group_size.has_value() || module.family_affine;
  return decision;
}

/// A recipe bound to one model.
class Application {
 public:
  Application(const RecipeFile& file, const Scheme& run, std::span<const Candidate> modules,
              int n_layers)
      : file_(file), run_(run), modules_(modules) {
    model_.n_layers = n_layers;
    for (const Candidate& module : modules) model_.paths.insert(module.path);
    n_matched_.resize(file.rules.size());
    n_forbidden_.resize(file.rules.size());
    taken_by_.resize(file.rules.size());
    result_.uses.resize(file.rules.size());
  }

  Result<AppliedRecipe> apply() {
    MLXMILL_TRY(find_layer_part());
    MLXMILL_TRY(fill_in_schemes());
    for (const Candidate& module : modules_) {
      MLXMILL_ASSIGN(Decision decision, decide(module));
      result_.decisions.push_back(std::move(decision));
    }
    for (std::size_t i = 0; i < file_.rules.size(); ++i) {
      if (!file_.rules[i].optional && result_.uses[i].modules == 0 && !is_kept_so(i)) {
        return unused(i);
      }
    }
    return std::move(result_);
  }

 private:
  Error error(const RecipeRule& rule, std::string_view what) const {
    return error_at(file_.file_name, rule.line, what);
  }

  Status find_layer_part() {
    if (!file_.layer_of) return {};
    const auto found = std::find_if(modules_.begin(), modules_.end(), [&](const Candidate& module) {
      return file_.layer_of->matches(module.path);
    });
    if (found == modules_.end()) {
      return Error(Code::kInvalidInput,
                   fmt::format("the recipe does not fit this model: it has no module {}",
                               file_.layer_of->text()))
          .at(file_.file_name);
    }
    const std::vector<std::string_view> parts = base::split_at_dots(found->path);
    const auto number = std::find_if(parts.begin(), parts.end(),
                                     [](std::string_view part) { return number_of(part); });
    model_.layer_part =
        static_cast<std::size_t>(number == parts.end() ? parts.size() - 1 : number - parts.begin());
    return {};
  }

  Status fill_in_schemes() {
    for (const RecipeRule& rule : file_.rules) {
      std::optional<Scheme> scheme;
      if (rule.has_settings()) {
        const Mode mode = rule.mode.value_or(run_.mode);
        const bool as_run = mode == run_.mode;
        const auto open = [&](std::optional<int> own, int of_run) {
          return own || !as_run ? own : std::optional<int>(of_run);
        };
        const Result<Scheme> made =
            make_scheme(mode, open(rule.bits, run_.bits), open(rule.group_size, run_.group_size));
        if (!made) {
          Error problem = error(rule, made.error().what());
          if (!rule.mode) problem.hint("the rule names no mode, so the run's holds");
          return problem;
        }
        scheme = *made;
      }
      schemes_.push_back(scheme);
    }
    return {};
  }

  static bool fits(const RecipeRule& rule, const Candidate& module) {
    return !module.path.empty() &&
           std::any_of(rule.patterns.begin(), rule.patterns.end(),
                       [&](const PathPattern& p) { return p.matches(module.path); });
  }

  Result<bool> matches(std::size_t i, const Candidate& module) const {
    const RecipeRule& rule = file_.rules[i];
    // Norms and other parameters can only be kept.
    const bool concerned = module.quantizable || rule.keep || rule.dtype;
    if (!concerned || !fits(rule, module)) return false;
    if (!rule.when) return true;
    return rule.when->condition(ModuleNames(model_, module));
  }

  Result<Decision> decide(const Candidate& module) {
    std::optional<std::size_t> taken;
    for (std::size_t i = 0; i < file_.rules.size(); ++i) {
      // Once decided, later rules are only looked at to tell why they decided nothing.
      if (taken && (file_.rules[i].optional || result_.uses[i].modules != 0)) continue;
      const Result<bool> match = matches(i, module);
      if (!match && !taken) return match.error();
      if (!match || !*match) continue;
      ++n_matched_[i];
      if (taken) {
        taken_by_[i] = *taken;
      } else {
        taken = i;
      }
    }
    if (!taken) return module.quantizable ? decide_as_run(module, run_) : Decision();
    MLXMILL_ASSIGN(Decision decision, decide_by(*taken, module));
    decision.rule = file_.where(file_.rules[*taken]);
    return decision;
  }

  Result<Decision> decide_by(std::size_t i, const Candidate& module) {
    const RecipeRule& rule = file_.rules[i];
    if (rule.has_settings() && module.family_forbids && !rule.override_family) {
      ++n_forbidden_[i];
      return unquantized("the family keeps it unquantized");
    }
    ++result_.uses[i].modules;
    result_.uses[i].parameters += module.parameters;
    if (rule.as_run) return decide_as_run(module, run_);
    Decision decision;
    if (!rule.has_settings()) {
      if (module.quantizable) decision.reason = "the recipe keeps it unquantized";
      decision.dtype = rule.dtype;
      return decision;
    }
    Scheme scheme = *schemes_[i];
    if (module.family_affine && scheme.mode != Mode::kAffine) scheme = Scheme{};
    if (module.columns % scheme.group_size != 0) {
      std::string reason = does_not_divide(module.columns, scheme.group_size);
      if (!rule.group_size || rule.optional) return unquantized(std::move(reason));
      return error(rule, fmt::format("{}: {}", module.path, reason))
          .hint("match fewer modules, or mark the rule optional to leave such modules unquantized");
    }
    decision.scheme = scheme;
    decision.own_entry = true;
    decision.entry_has_mode = !module.family_affine;
    return decision;
  }

  /// Whether a module that the rule matches comes as the codes it asks for.
  bool is_kept_so(std::size_t i) const {
    return std::any_of(modules_.begin(), modules_.end(), [&](const Candidate& module) {
      return module.kept && module.kept == schemes_[i] && fits(file_.rules[i], module);
    });
  }

  /// Why a rule that had to decide something did not.
  Error unused(std::size_t i) const {
    const RecipeRule& rule = file_.rules[i];
    const std::string text = quoted(rule.match_text());
    if (n_forbidden_[i] != 0) {
      return error(rule, fmt::format("the family keeps all {} modules that {} matches unquantized",
                                     n_forbidden_[i], text))
          .hint("override_family = true quantizes them all the same");
    }
    if (n_matched_[i] != 0) {
      return error(rule, fmt::format("all {} modules that {} matches were taken by earlier rules, "
                                     "the last by the one of line {}",
                                     n_matched_[i], text, file_.rules[taken_by_[i]].line))
          .hint("put the rule before those");
    }
    std::vector<std::string_view> concerned;
    std::size_t n_others = 0;
    std::size_t n_kept = 0;
    std::size_t n_fitting = 0;
    for (const Candidate& module : modules_) {
      const bool is_concerned = module.quantizable || !rule.has_settings();
      if (is_concerned) concerned.push_back(module.path);
      if (!fits(rule, module)) continue;
      ++(is_concerned ? n_fitting : module.kept ? n_kept : n_others);
    }
    if (n_fitting != 0) {
      return error(rule, fmt::format("its condition holds for none of the {} modules that fit {}",
                                     n_fitting, text));
    }
    if (n_kept != 0) {
      return error(rule, fmt::format("{} matches {} modules that the source holds as other codes, "
                                     "which are kept",
                                     text, n_kept))
          .hint("--requantize quantizes them anew; optional = true leaves them as they are");
    }
    if (n_others != 0) {
      return error(rule, fmt::format("{} matches {} modules, none of which can be quantized", text,
                                     n_others));
    }
    return error(rule,
                 fmt::format(
                     "{} matches no module of this model; the nearest: {}", text,
                     fmt::join(nearest_paths(rule.patterns[0], concerned, kShownPaths), ", ")))
        .hint("optional = true lets the rule match nothing");
  }

  const RecipeFile& file_;
  const Scheme& run_;
  std::span<const Candidate> modules_;
  Model model_;
  std::vector<std::optional<Scheme>> schemes_;  ///< By rule; empty without settings.
  std::vector<std::uint64_t> n_matched_;
  std::vector<std::uint64_t> n_forbidden_;
  std::vector<std::size_t> taken_by_;
  AppliedRecipe result_;
};

}  // namespace

Result<AppliedRecipe> apply_recipe(const RecipeFile* recipe, const Scheme& run,
                                   std::span<const Candidate> modules, int n_layers) {
  if (recipe) return Application(*recipe, run, modules, n_layers).apply();
  AppliedRecipe result;
  for (const Candidate& module : modules) {
    result.decisions.push_back(module.quantizable ? decide_as_run(module, run) : Decision());
  }
  return result;
}

}  // namespace mlxmill::quantize

// A recipe applied to one model: which scheme for which module, by which rule.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/dtype.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"
#include "quantize/recipe_file.h"

namespace mlxmill::quantize {

/// A module as a recipe sees it.
struct Candidate {
  std::string_view path;
  std::string_view kind = "linear";  ///< "linear", "embedding", "stacked", or "other".
  /// Its weight is float and of a kind that mlx-lm quantizes. Rules with settings are about such
  /// modules only; rules that keep are about all.
  bool quantizable = true;
  /// The source holds the weight as codes of this scheme, and they are kept: no rule changes them.
  std::optional<Scheme> kept;
  std::int64_t rows = 0;     ///< Of its weight; 0 where that has one axis.
  std::int64_t columns = 0;  ///< Last extent of its weight.
  std::uint64_t parameters = 0;
  /// The family's own restriction. It holds unless a rule says otherwise; a rule's settings come
  /// before the family's.
  bool family_forbids = false;
  std::optional<int> family_bits;
  std::optional<int> family_group_size;
  /// Affine in every mode and with an entry that names no mode, under named recipes too.
  bool family_affine = false;
};

/// What a recipe decides for one module.
struct Decision {
  std::optional<Scheme> scheme;  ///< Empty: stays unquantized.
  /// The module gets an entry of its own under config.json's `quantization`, as mlx-lm writes one
  /// for every module whose predicate gives settings. The entry holds what that predicate gave.
  bool own_entry = false;
  bool entry_has_mode = false;
  bool entry_has_bits = true;
  bool entry_has_group_size = true;
  std::string reason;          ///< Why not quantized.
  std::optional<DType> dtype;  ///< Its floats are stored so, not in the run's dtype.
  std::string rule;            ///< "my.toml:12"; empty where no rule decided.
};

/// What one rule of a recipe did.
struct RuleUse {
  std::uint64_t modules = 0;  ///< That it decided.
  std::uint64_t parameters = 0;
};

struct AppliedRecipe {
  std::vector<Decision> decisions;  ///< By module.
  std::vector<RuleUse> uses;        ///< By rule.
};

/// Decides for all modules of a model. Without a recipe (null), and for modules that no rule
/// matches, what the family says holds, else the run's scheme. A rule's settings left open are the
/// run's, or the mode's when the rule names another mode.
/// Errors: kInvalidInput at `file:line` for a rule that decides nothing and is not optional, unless
/// modules it matches are kept as the codes it asks for, with the nearest module paths; for
/// settings libmlx does not have; for a group size a rule names itself that does not divide a
/// module's rows, unless the rule is optional; for a `when` that cannot be worked out.
Result<AppliedRecipe> apply_recipe(const RecipeFile* recipe, const Scheme& run,
                                   std::span<const Candidate> modules, int n_layers);

/// Paths of `paths` that are nearest to what a pattern may have meant, layer numbers as `*`, each
/// once, at most `limit`.
std::vector<std::string> nearest_paths(const PathPattern& pattern,
                                       std::span<const std::string_view> paths, std::size_t limit);

}  // namespace mlxmill::quantize

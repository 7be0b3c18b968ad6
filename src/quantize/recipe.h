// A recipe: which scheme for which module.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"
#include "mlxmill/scheme.h"

namespace mlxmill::quantize {

/// A module as a recipe sees it.
struct Candidate {
  std::string_view path;
  std::int64_t columns = 0;  ///< Last extent of its weight.
  /// The family's own restriction; a named recipe replaces it, as in mlx-lm.
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
  std::string reason;  ///< Why not quantized.
};

/// A recipe bound to one model. Without a name, every module gets the run's scheme unless the
/// family says otherwise.
class Recipe {
 public:
  /// `name` is "" or one of recipe_names(); `paths` are all module paths of the model, `n_layers`
  /// its layer count. Source: mlx_lm/convert.py mixed_quant_predicate_builder, mlx_lm/utils.py
  /// quantize_model. Errors: kUsage for an unknown name, a mode other than affine, or a model
  /// without any "down_proj".
  static Result<Recipe> make(std::string_view name, const Scheme& scheme,
                             std::span<const std::string> paths, int n_layers);

  Decision decide(const Candidate& candidate) const;

 private:
  Decision decide_mixed(const Candidate& candidate) const;

  Scheme scheme_;
  int low_bits_ = 0;  ///< 0: no mixed recipe.
  int high_bits_ = 0;
  int n_layers_ = 0;
  std::size_t layer_position_ = 0;  ///< Which dot-separated part of a path is the layer number.
};

std::vector<std::string> recipe_names();

}  // namespace mlxmill::quantize

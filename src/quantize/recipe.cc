#include "quantize/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace mlxmill::quantize {
namespace {

struct Mixed {
  std::string_view name;
  int low_bits;
  int high_bits;
};

constexpr std::array<Mixed, 4> kMixed = {{
    {"mixed_2_6", 2, 6},
    {"mixed_3_4", 3, 4},
    {"mixed_3_6", 3, 6},
    {"mixed_4_6", 4, 6},
}};

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t dot = path.find('.');
    parts.push_back(path.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    path.remove_prefix(dot + 1);
  }
}

bool is_number(std::string_view part) {
  return !part.empty() &&
         std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool contains(std::string_view path, std::string_view part) {
  return path.find(part) != std::string_view::npos;
}

}  // namespace

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const Mixed& mixed : kMixed) names.emplace_back(mixed.name);
  return names;
}

Result<Recipe> Recipe::make(std::string_view name, const Scheme& scheme,
                            std::span<const std::string> paths, int n_layers) {
  Recipe recipe;
  recipe.scheme_ = scheme;
  recipe.n_layers_ = n_layers;
  if (name.empty()) return recipe;

  const auto mixed =
      std::find_if(kMixed.begin(), kMixed.end(), [&](const Mixed& m) { return m.name == name; });
  if (mixed == kMixed.end()) {
    return Error(Code::kUsage, fmt::format("unknown recipe '{}'; expected {}", name,
                                           fmt::join(recipe_names(), ", ")));
  }
  if (scheme.mode != Mode::kAffine) {
    return Error(Code::kUsage, fmt::format("recipe {} needs affine quantization; got {}", name,
                                           mode_name(scheme.mode)));
  }
  const auto down = std::find_if(paths.begin(), paths.end(),
                                 [](const std::string& p) { return contains(p, "down_proj"); });
  if (down == paths.end()) {
    return Error(
        Code::kUsage,
        fmt::format("recipe {} does not fit this model: it has no module named down_proj", name));
  }
  const auto parts = split(*down);
  const auto number = std::find_if(parts.begin(), parts.end(), is_number);
  recipe.layer_position_ =
      static_cast<std::size_t>(number == parts.end() ? parts.size() - 1 : number - parts.begin());
  recipe.low_bits_ = mixed->low_bits;
  recipe.high_bits_ = mixed->high_bits;
  return recipe;
}

Decision Recipe::decide_mixed(const Candidate& candidate) const {
  const std::string_view path = candidate.path;
  const auto parts = split(path);
  int index = 0;
  if (parts.size() > layer_position_) {
    const std::string_view part = parts[layer_position_];
    std::from_chars(part.data(), part.data() + part.size(), index);
  }
  const int eighth = n_layers_ / 8;
  // The first and last eighth of the layers and every third one between; Python's % of a negative
  // is never reached, as index < eighth is true then.
  const bool more = index < eighth || index >= 7 * n_layers_ / 8 || (index - eighth) % 3 == 2;
  const bool value =
      contains(path, "v_proj") || contains(path, "v_a_proj") || contains(path, "v_b_proj");
  const bool high = ((value || contains(path, "down_proj")) && more) || contains(path, "lm_head");

  Decision decision;
  decision.scheme = Scheme{Mode::kAffine, high ? high_bits_ : low_bits_, scheme_.group_size};
  decision.own_entry = true;
  decision.entry_has_mode = !candidate.family_affine;
  return decision;
}

Decision Recipe::decide(const Candidate& candidate) const {
  Decision decision;
  // mlx-lm tests the run's group size even where an entry brings its own.
  if (candidate.columns % scheme_.group_size != 0) {
    decision.reason = fmt::format("rows of {} are not divisible by the group size {}",
                                  candidate.columns, scheme_.group_size);
    return decision;
  }
  if (low_bits_ != 0) return decide_mixed(candidate);
  if (candidate.family_forbids) {
    decision.reason = "the family keeps it unquantized";
    return decision;
  }
  if (!candidate.family_bits && !candidate.family_group_size && !candidate.family_affine) {
    decision.scheme = scheme_;
    return decision;
  }
  // An entry without a mode means affine, whatever the run's mode.
  const bool as_run = candidate.family_affine && scheme_.mode == Mode::kAffine;
  const Scheme own{Mode::kAffine, candidate.family_bits.value_or(as_run ? scheme_.bits : 4),
                   candidate.family_group_size.value_or(as_run ? scheme_.group_size : 64)};
  if (candidate.columns % own.group_size != 0) {
    decision.reason =
        fmt::format("rows of {} are not divisible by the group size {} its family asks for",
                    candidate.columns, own.group_size);
    return decision;
  }
  decision.scheme = own;
  decision.own_entry = true;
  decision.entry_has_bits = candidate.family_bits.has_value() || candidate.family_affine;
  decision.entry_has_group_size =
      candidate.family_group_size.has_value() || candidate.family_affine;
  return decision;
}

}  // namespace mlxmill::quantize

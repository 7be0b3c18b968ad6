// Any bytes as a recipe, applied to a tiny model: errors are fine, crashes and long runs are not.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "quantize/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mlxmill;
  static const std::vector<quantize::Candidate> modules = [] {
    std::vector<quantize::Candidate> list;
    const auto add = [&](std::string_view path, std::string_view kind, bool quantizable,
                         std::int64_t columns) {
      quantize::Candidate module;
      module.path = path;
      module.kind = kind;
      module.quantizable = quantizable;
      module.rows = quantizable ? 64 : 0;
      module.columns = columns;
      module.parameters = 64 * static_cast<std::uint64_t>(columns);
      list.push_back(module);
    };
    add("model.embed_tokens", "embedding", true, 128);
    add("model.layers.0.self_attn.v_proj", "linear", true, 128);
    add("model.layers.0.mlp.down_proj", "linear", true, 96);
    add("model.layers.11.mlp.gate", "linear", true, 128);
    add("model.layers.11.mlp.switch_mlp.up_proj", "stacked", true, 128);
    add("model.layers.11.norm", "other", false, 128);
    add("", "other", false, 3);
    add("lm_head", "linear", true, 128);
    list[3].family_bits = 8;
    list[3].family_group_size = 64;
    list[7].family_forbids = true;
    return list;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto recipe = quantize::RecipeFile::parse(text, "fuzz.toml");
  if (!recipe) return 0;
  for (const Scheme run : {Scheme{Mode::kAffine, 4, 64}, Scheme{Mode::kMxfp4, 4, 32}}) {
    const auto applied = quantize::apply_recipe(&*recipe, run, modules, 12);
    if (!applied) continue;
    if (applied->decisions.size() != modules.size()) __builtin_trap();
    for (std::size_t i = 0; i < modules.size(); ++i) {
      const quantize::Decision& decision = applied->decisions[i];
      if (!decision.scheme) continue;
      // Only what libmlx can hold, and only where it can be held.
      const Scheme& s = *decision.scheme;
      if (!make_scheme(s.mode, s.bits, s.group_size)) __builtin_trap();
      if (!modules[i].quantizable || modules[i].columns % s.group_size != 0) __builtin_trap();
    }
  }
  return 0;
}

#include "quantize/recipe.h"

#include <gtest/gtest.h>

namespace mlxmill::quantize {
namespace {

constexpr Scheme kFour{Mode::kAffine, 4, 64};

Candidate candidate(std::string_view path, std::int64_t columns = 256) {
  Candidate c;
  c.path = path;
  c.rows = 128;
  c.columns = columns;
  c.parameters = 128 * static_cast<std::uint64_t>(columns);
  return c;
}

Candidate norm(std::string_view path) {
  Candidate c = candidate(path);
  c.kind = "other";
  c.quantizable = false;
  return c;
}

Decision decide(const Candidate& module, const Scheme& run = kFour) {
  return apply_recipe(nullptr, run, {&module, 1}, 8)->decisions[0];
}

Result<AppliedRecipe> apply_text(std::string_view text, std::string_view name,
                                 std::span<const Candidate> modules, const Scheme& run,
                                 int n_layers) {
  const Result<RecipeFile> file = RecipeFile::parse(text, name);
  if (!file) return file.error();
  return apply_recipe(&*file, run, modules, n_layers);
}

Result<AppliedRecipe> apply_mine(std::string_view text, std::span<const Candidate> modules,
                                 const Scheme& run = kFour, int n_layers = 8) {
  return apply_text(text, "my.toml", modules, run, n_layers);
}

Result<AppliedRecipe> apply_built_in(std::string_view name, std::span<const Candidate> modules,
                                     const Scheme& run = kFour, int n_layers = 8) {
  return apply_text(*built_in_recipe(name), name, modules, run, n_layers);
}

const std::vector<Candidate>& small_model() {
  static const std::vector<Candidate> modules = [] {
    std::vector<Candidate> list;
    list.push_back(candidate("model.embed_tokens"));
    list.back().kind = "embedding";
    for (const char* path : {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.gate",
                             "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.gate"}) {
      list.push_back(candidate(path));
    }
    list.push_back(candidate("model.layers.1.mlp.switch_mlp.up_proj"));
    list.back().kind = "stacked";
    list.push_back(norm("model.norm"));
    list.push_back(candidate("lm_head"));
    return list;
  }();
  return modules;
}

TEST(Recipe, PlainGivesEveryModuleTheRunsScheme) {
  const Decision decision = decide(candidate("lm_head"));
  EXPECT_EQ(decision.scheme, kFour);
  EXPECT_FALSE(decision.own_entry);
  EXPECT_EQ(decision.rule, "");
}

TEST(Recipe, LeavesRowsThatTheGroupDoesNotDivide) {
  const Decision decision = decide(candidate("lm_head", 96));
  EXPECT_EQ(decision.scheme, std::nullopt);
  EXPECT_EQ(decision.reason, "rows of 96 are not divisible by the group size 64");
}

TEST(Recipe, FamilyEntryIsAffineWhateverTheRunsMode) {
  Candidate gate = candidate("model.layers.0.mlp.gate");
  gate.family_bits = 8;
  gate.family_group_size = 64;
  const Decision decision = decide(gate, {Mode::kMxfp4, 4, 32});
  EXPECT_EQ(decision.scheme, (Scheme{Mode::kAffine, 8, 64}));
  EXPECT_TRUE(decision.own_entry);
  EXPECT_FALSE(decision.entry_has_mode);
}

TEST(Recipe, FamilyEntryKeepsToTheKeysTheFamilyGave) {
  Candidate lora = candidate("lora.2");
  lora.family_bits = 8;
  const Decision decision = decide(lora, {Mode::kAffine, 4, 32});
  EXPECT_EQ(decision.scheme, (Scheme{Mode::kAffine, 8, 64}));
  EXPECT_TRUE(decision.entry_has_bits);
  EXPECT_FALSE(decision.entry_has_group_size);
}

TEST(Recipe, FamilyEntryThatDoesNotDivideTheRowsIsLeftOut) {
  Candidate gate = candidate("gate", 96);
  gate.family_group_size = 64;
  EXPECT_EQ(decide(gate, {Mode::kMxfp4, 4, 32}).reason,
            "rows of 96 are not divisible by the group size 64 its family asks for");
}

TEST(Recipe, AffineModulesTakeTheRunsBitsAndNameNoMode) {
  Candidate fused = candidate("model.layers.0.self_attn.qkv_proj", 128);
  fused.family_affine = true;
  const Decision as_run = decide(fused, {Mode::kAffine, 3, 32});
  EXPECT_EQ(as_run.scheme, (Scheme{Mode::kAffine, 3, 32}));
  EXPECT_TRUE(as_run.own_entry && as_run.entry_has_bits && as_run.entry_has_group_size);
  EXPECT_FALSE(as_run.entry_has_mode);
  const Decision other = decide(fused, {Mode::kMxfp4, 4, 32});
  EXPECT_EQ(other.scheme, (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_FALSE(other.entry_has_mode);
  const std::vector<Candidate> modules = {candidate("model.layers.0.mlp.down_proj"), fused};
  const Decision mixed = apply_built_in("mixed_3_6", modules)->decisions[1];
  EXPECT_EQ(mixed.scheme, (Scheme{Mode::kAffine, 6, 64}));  // its name ends as v_proj's does
  EXPECT_FALSE(mixed.entry_has_mode);
}

TEST(Recipe, MixedFollowsTheLayerNumber) {
  const std::vector<Candidate> modules = {
      candidate("model.layers.0.mlp.down_proj"),
      candidate("model.layers.2.mlp.down_proj"),
      candidate("model.layers.4.mlp.down_proj"),
      candidate("model.layers.14.self_attn.v_proj"),
      candidate("model.layers.0.self_attn.q_proj"),
      candidate("lm_head"),
      candidate("model.embed_tokens"),
      candidate("model.layers.3.mlp.down_proj", 96),
  };
  const Result<AppliedRecipe> applied = apply_built_in("mixed_3_6", modules, kFour, 16);
  ASSERT_TRUE(applied) << applied.error().message();
  // The first eighth, between, (4 - 2) % 3 == 2, the last eighth, ...
  const int expected[] = {6, 3, 6, 6, 3, 6, 3};
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(applied->decisions[i].scheme->bits, expected[i]) << modules[i].path;
    EXPECT_TRUE(applied->decisions[i].own_entry && applied->decisions[i].entry_has_mode);
  }
  EXPECT_EQ(applied->decisions[7].reason, "rows of 96 are not divisible by the group size 64");
}

TEST(Recipe, MixedReplacesTheFamilysRule) {
  std::vector<Candidate> modules = {candidate("model.layers.5.mlp.gate"),
                                    candidate("model.layers.5.mlp.down_proj")};
  modules[0].family_forbids = true;
  const Decision decision = apply_built_in("mixed_4_6", modules)->decisions[0];
  EXPECT_EQ(decision.scheme, (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_TRUE(decision.own_entry);
}

TEST(Recipe, MixedRefusesWhatItCannotServe) {
  const std::vector<Candidate> gpt2 = {candidate("model.h.0.mlp.c_proj")};
  EXPECT_EQ(apply_built_in("mixed_2_6", gpt2).error().message(),
            "mixed_2_6: the recipe does not fit this model: it has no module **down_proj**");
  const std::vector<Candidate> fits = {candidate("model.h.0.mlp.down_proj")};
  EXPECT_EQ(apply_built_in("mixed_2_6", fits, {Mode::kNvfp4, 4, 16}).error().message(),
            "mixed_2_6:5: nvfp4 quantization has no bit width 6; expected 4; the rule names no "
            "mode, so the run's holds");
}

TEST(Recipe, FirstMatchingRuleWins) {
  const auto applied = apply_mine(R"(
[[rules]]
match = "**.layers.0.**"
bits = 2
[[rules]]
match = "**.gate"
bits = 8
[[rules]]
match = "lm_head"
mode = "mxfp4"
)",
                                  small_model());
  ASSERT_TRUE(applied) << applied.error().message();
  const auto& d = applied->decisions;
  EXPECT_EQ(d[0].scheme, kFour);  // no rule: as the run
  EXPECT_FALSE(d[0].own_entry);
  EXPECT_EQ(d[1].scheme->bits, 2);
  EXPECT_EQ(d[2].scheme->bits, 2);
  EXPECT_EQ(d[2].rule, "my.toml:2");
  EXPECT_EQ(d[4].scheme->bits, 8);
  EXPECT_EQ(d[4].rule, "my.toml:5");
  EXPECT_TRUE(d[4].own_entry && d[4].entry_has_mode);
  EXPECT_EQ(d[7].scheme, (Scheme{Mode::kMxfp4, 4, 32}));  // the mode's own defaults
  EXPECT_EQ(d[6].scheme, std::nullopt);                   // a norm
  EXPECT_EQ(applied->uses[0].modules, 2u);
  EXPECT_EQ(applied->uses[1].modules, 1u);
  EXPECT_EQ(applied->uses[1].parameters, 128u * 256u);
}

TEST(Recipe, KeepsAndCasts) {
  const auto applied = apply_mine(R"(
[[rules]]
match = "**.gate"
dtype = "float32"
[[rules]]
match = "**.norm"
dtype = "float16"
[[rules]]
match = "lm_head"
keep = true
)",
                                  small_model());
  ASSERT_TRUE(applied) << applied.error().message();
  EXPECT_EQ(applied->decisions[2].dtype, DType::kF32);
  EXPECT_EQ(applied->decisions[2].scheme, std::nullopt);
  EXPECT_EQ(applied->decisions[2].reason, "the recipe keeps it unquantized");
  EXPECT_EQ(applied->decisions[6].dtype, DType::kF16);
  EXPECT_EQ(applied->decisions[6].reason, "");
  EXPECT_EQ(applied->decisions[7].dtype, std::nullopt);
  EXPECT_EQ(applied->decisions[7].scheme, std::nullopt);
}

TEST(Recipe, ConditionsSeeTheModule) {
  const auto bits = [](std::string_view when) {
    const std::string text =
        "[[rules]]\nmatch = \"**\"\nbits = 8\nwhen = \"\"\"" + std::string(when) + "\"\"\"\n";
    const auto applied = apply_mine(text, small_model());
    EXPECT_TRUE(applied) << applied.error().message();
    std::string picked;
    for (std::size_t i = 0; applied && i < small_model().size(); ++i) {
      const auto& scheme = applied->decisions[i].scheme;
      if (scheme && scheme->bits == 8) picked += std::to_string(i);
    }
    return picked;
  };
  EXPECT_EQ(bits("kind == 'embedding'"), "0");
  EXPECT_EQ(bits("kind == 'stacked'"), "5");
  EXPECT_EQ(bits("layer ?? -1 == 1"), "345");
  EXPECT_EQ(bits("layer ?? 0 < layers // 8"), "0127");
  EXPECT_EQ(bits("ends_with(path, 'gate')"), "24");
  EXPECT_EQ(bits("rows * columns == 32768 and has('lm_head') and path == 'lm_head'"), "7");
}

TEST(Recipe, AConditionThatNeedsALayerNumberSaysSo) {
  EXPECT_EQ(apply_mine("[[rules]]\nmatch = \"**\"\nbits = 8\nwhen = \"layer < 1\"\n", small_model())
                .error()
                .message(),
            "my.toml:4: in \"layer < 1\": model.embed_tokens has no layer; narrow the match, or "
            "write layer ?? 0");
}

TEST(Recipe, ARuleThatDecidesNothingIsAnError) {
  EXPECT_EQ(
      apply_mine("[[rules]]\nmatch = \"**.swich_mlp.*\"\nbits = 4\n", small_model())
          .error()
          .message(),
      "my.toml:1: \"**.swich_mlp.*\" matches no module of this model; the nearest: "
      "model.layers.*.mlp.switch_mlp.up_proj, model.layers.*.mlp.gate, model.embed_tokens, "
      "model.layers.*.self_attn.q_proj, lm_head; optional = true lets the rule match nothing");
  EXPECT_TRUE(apply_mine("[[rules]]\nmatch = \"**.swich_mlp.*\"\nbits = 4\noptional = true\n",
                         small_model()));
  EXPECT_EQ(
      apply_mine("[[rules]]\nmatch = \"**\"\nbits = 4\n[[rules]]\nmatch = \"**.gate\"\nbits = 8\n",
                 small_model())
          .error()
          .message(),
      "my.toml:4: all 2 modules that \"**.gate\" matches were taken by earlier rules, the "
      "last by the one of line 1; put the rule before those");
  EXPECT_EQ(
      apply_mine("[[rules]]\nmatch = \"**.norm\"\nbits = 4\n", small_model()).error().message(),
      "my.toml:1: \"**.norm\" matches 1 modules, none of which can be quantized");
  EXPECT_EQ(
      apply_mine("[[rules]]\nmatch = \"**.gate\"\nwhen = \"layer > 7\"\nbits = 8\n", small_model())
          .error()
          .message(),
      "my.toml:1: its condition holds for none of the 2 modules that fit \"**.gate when "
      "layer > 7\"");
}

TEST(Recipe, ARuleIsContentWithCodesThatAreKept) {
  constexpr std::string_view kText = "[[rules]]\nmatch = '**.switch_mlp.*'\nmode = 'mxfp4'\n";
  std::vector<Candidate> modules = small_model();
  Candidate& experts = modules[5];
  experts.quantizable = false;
  experts.kept = Scheme{Mode::kMxfp4, 4, 32};
  const auto applied = apply_mine(kText, modules);
  ASSERT_TRUE(applied) << applied.error().message();
  EXPECT_EQ(applied->decisions[5].scheme, std::nullopt);

  experts.kept = Scheme{Mode::kAffine, 4, 128};
  const auto other = apply_mine(kText, modules);
  ASSERT_FALSE(other);
  EXPECT_EQ(
      other.error().message(),
      "my.toml:1: \"**.switch_mlp.*\" matches 1 modules that the source holds as other codes, "
      "which are kept; --requantize quantizes them anew; optional = true leaves them as they "
      "are");
}

TEST(Recipe, TheFamilysWordHoldsUnlessOverridden) {
  std::vector<Candidate> modules = small_model();
  modules[2].family_forbids = modules[4].family_forbids = true;
  const std::string rule = "[[rules]]\nmatch = \"**.gate\"\nbits = 8\n";
  EXPECT_EQ(apply_mine(rule, modules).error().message(),
            "my.toml:1: the family keeps all 2 modules that \"**.gate\" matches unquantized; "
            "override_family = true quantizes them all the same");
  EXPECT_EQ(apply_mine(rule + "override_family = true\n", modules)->decisions[2].scheme->bits, 8);
  EXPECT_EQ(apply_mine("[[rules]]\nmatch = \"**\"\nbits = 8\n", modules)->decisions[2].reason,
            "the family keeps it unquantized");
  modules = small_model();
  modules[2].family_bits = 8;
  EXPECT_EQ(
      apply_mine("[[rules]]\nmatch = \"lm_head\"\nbits = 6\n", modules)->decisions[2].scheme->bits,
      8);
  EXPECT_EQ(
      apply_mine("[[rules]]\nmatch = \"**\"\nas_run = true\n", modules)->decisions[2].scheme->bits,
      8);
  EXPECT_EQ(apply_mine("[[rules]]\nmatch = \"**\"\nbits = 3\n", modules)->decisions[2].scheme->bits,
            3);
}

TEST(Recipe, AGroupSizeTheRuleNamesIsAPromise) {
  const std::vector<Candidate> modules = {candidate("a", 96), candidate("b")};
  const std::string rule = "[[rules]]\nmatch = \"*\"\ngroup_size = 64\n";
  EXPECT_EQ(apply_mine(rule, modules).error().message(),
            "my.toml:1: a: rows of 96 are not divisible by the group size 64; match fewer modules, "
            "or mark the rule optional to leave such modules unquantized");
  EXPECT_EQ(apply_mine(rule + "optional = true\n", modules)->decisions[0].reason,
            "rows of 96 are not divisible by the group size 64");
  EXPECT_EQ(apply_mine("[[rules]]\nmatch = \"*\"\nbits = 8\n", modules)->decisions[0].reason,
            "rows of 96 are not divisible by the group size 64");
  // A rule's own group is what counts, not the run's.
  EXPECT_EQ(apply_mine("[[rules]]\nmatch = \"a\"\ngroup_size = 32\n", modules)->decisions[0].scheme,
            (Scheme{Mode::kAffine, 4, 32}));
}

TEST(Recipe, LayersAreCountedWhereLayerOfSays) {
  const std::vector<Candidate> modules = {candidate("towers.3.layers.5.up"),
                                          candidate("towers.3.layers.6.up")};
  const std::string rule = "[[rules]]\nmatch = \"**\"\nwhen = \"layer == 3\"\nbits = 8\n";
  EXPECT_EQ(apply_mine(rule, modules)->uses[0].modules, 2u);
  EXPECT_EQ(apply_mine("layer_of = \"nothing\"\n" + rule, modules).error().message(),
            "my.toml: the recipe does not fit this model: it has no module nothing");
}

}  // namespace
}  // namespace mlxmill::quantize

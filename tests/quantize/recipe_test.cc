#include "quantize/recipe.h"

#include <gtest/gtest.h>

#include <array>

namespace mlxmill::quantize {
namespace {

constexpr Scheme kFour{Mode::kAffine, 4, 64};
const std::array<std::string, 3> kPaths = {"model.embed_tokens", "model.layers.0.mlp.down_proj",
                                           "lm_head"};

Candidate candidate(std::string_view path, std::int64_t columns = 256) {
  Candidate c;
  c.path = path;
  c.columns = columns;
  return c;
}

TEST(Recipe, PlainGivesEveryModuleTheRunsScheme) {
  const Recipe recipe = *Recipe::make("", kFour, kPaths, 8);
  const Decision decision = recipe.decide(candidate("lm_head"));
  EXPECT_EQ(decision.scheme, kFour);
  EXPECT_FALSE(decision.own_entry);
}

TEST(Recipe, LeavesRowsThatTheGroupDoesNotDivide) {
  const Recipe recipe = *Recipe::make("", kFour, kPaths, 8);
  const Decision decision = recipe.decide(candidate("lm_head", 96));
  EXPECT_EQ(decision.scheme, std::nullopt);
  EXPECT_EQ(decision.reason, "rows of 96 are not divisible by the group size 64");
}

TEST(Recipe, FamilyEntryIsAffineWhateverTheRunsMode) {
  const Recipe recipe = *Recipe::make("", {Mode::kMxfp4, 4, 32}, kPaths, 8);
  Candidate gate = candidate("model.layers.0.mlp.gate");
  gate.family_bits = 8;
  gate.family_group_size = 64;
  const Decision decision = recipe.decide(gate);
  EXPECT_EQ(decision.scheme, (Scheme{Mode::kAffine, 8, 64}));
  EXPECT_TRUE(decision.own_entry);
  EXPECT_FALSE(decision.entry_has_mode);
}

TEST(Recipe, FamilyEntryKeepsToTheKeysTheFamilyGave) {
  const Recipe recipe = *Recipe::make("", {Mode::kAffine, 4, 32}, kPaths, 8);
  Candidate lora = candidate("lora.2");
  lora.family_bits = 8;
  const Decision decision = recipe.decide(lora);
  EXPECT_EQ(decision.scheme, (Scheme{Mode::kAffine, 8, 64}));
  EXPECT_TRUE(decision.entry_has_bits);
  EXPECT_FALSE(decision.entry_has_group_size);
}

TEST(Recipe, FamilyEntryThatDoesNotDivideTheRowsIsLeftOut) {
  const Recipe recipe = *Recipe::make("", {Mode::kMxfp4, 4, 32}, kPaths, 8);
  Candidate gate = candidate("gate", 96);
  gate.family_group_size = 64;
  EXPECT_EQ(recipe.decide(gate).reason,
            "rows of 96 are not divisible by the group size 64 its family asks for");
}

TEST(Recipe, AffineModulesTakeTheRunsBitsAndNameNoMode) {
  Candidate fused = candidate("model.layers.0.self_attn.qkv_proj", 128);
  fused.family_affine = true;
  const Decision as_run = Recipe::make("", {Mode::kAffine, 3, 32}, kPaths, 8)->decide(fused);
  EXPECT_EQ(as_run.scheme, (Scheme{Mode::kAffine, 3, 32}));
  EXPECT_TRUE(as_run.own_entry && as_run.entry_has_bits && as_run.entry_has_group_size);
  EXPECT_FALSE(as_run.entry_has_mode);
  const Decision other = Recipe::make("", {Mode::kMxfp4, 4, 32}, kPaths, 8)->decide(fused);
  EXPECT_EQ(other.scheme, (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_FALSE(other.entry_has_mode);
  const Decision mixed = Recipe::make("mixed_3_6", kFour, kPaths, 8)->decide(fused);
  EXPECT_EQ(mixed.scheme, (Scheme{Mode::kAffine, 6, 64}));  // its name ends as v_proj's does
  EXPECT_FALSE(mixed.entry_has_mode);
}

TEST(Recipe, MixedFollowsTheLayerNumber) {
  const Recipe recipe = *Recipe::make("mixed_3_6", kFour, kPaths, 16);
  const auto bits = [&](std::string_view path) {
    return recipe.decide(candidate(path)).scheme->bits;
  };
  EXPECT_EQ(bits("model.layers.0.mlp.down_proj"), 6);  // first eighth
  EXPECT_EQ(bits("model.layers.2.mlp.down_proj"), 3);
  EXPECT_EQ(bits("model.layers.4.mlp.down_proj"), 6);      // (4 - 2) % 3 == 2
  EXPECT_EQ(bits("model.layers.14.self_attn.v_proj"), 6);  // last eighth
  EXPECT_EQ(bits("model.layers.0.self_attn.q_proj"), 3);
  EXPECT_EQ(bits("lm_head"), 6);
  EXPECT_EQ(bits("model.embed_tokens"), 3);
}

TEST(Recipe, MixedReplacesTheFamilysRule) {
  const Recipe recipe = *Recipe::make("mixed_4_6", kFour, kPaths, 8);
  Candidate forbidden = candidate("model.layers.5.mlp.gate");
  forbidden.family_forbids = true;
  const Decision decision = recipe.decide(forbidden);
  EXPECT_EQ(decision.scheme, (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_TRUE(decision.own_entry);
  EXPECT_TRUE(decision.entry_has_mode);
}

TEST(Recipe, RefusesWhatItCannotServe) {
  EXPECT_EQ(Recipe::make("mixed_9_9", kFour, kPaths, 8).error().message(),
            "unknown recipe 'mixed_9_9'; expected mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6");
  EXPECT_EQ(Recipe::make("mixed_2_6", {Mode::kNvfp4, 4, 16}, kPaths, 8).error().message(),
            "recipe mixed_2_6 needs affine quantization; got nvfp4");
  const std::array<std::string, 1> gpt2 = {"model.h.0.mlp.c_proj"};
  EXPECT_EQ(Recipe::make("mixed_2_6", kFour, gpt2, 8).error().message(),
            "recipe mixed_2_6 does not fit this model: it has no module named down_proj");
}

}  // namespace
}  // namespace mlxmill::quantize

// Rules that several families have in common, named with `use`.
#include <gtest/gtest.h>

#include "architectures/declaration.h"
#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using test::Checkpoint;
using test::element;
using test::Numbers;

TEST(UseRule, NamesTheFragmentsThatThereAre) {
  EXPECT_EQ(test::parse_error(test::with_identity("[[rules]]\nuse = \"tied\"\n")),
            "f.toml:3: there is no fragment \"tied\"; expected one of fused_experts, tied_output");
  EXPECT_EQ(test::parse_error(
                test::with_identity("[[rules]]\nuse = \"tied_output\"\nto = \"lm_head\"\n")),
            "f.toml:5: unknown key \"to\"");
}

TEST(UseRule, StandsWhereItIsWritten) {
  Checkpoint checkpoint;
  checkpoint.add("embed.weight", {3, 2});
  const auto config = test::object({{"tie_word_embeddings", Value(true)}});
  const char* const rename =
      "[[rules]]\nrename = \"embed.weight\"\nto = \"model.embed_tokens.weight\"\n";
  const char* const use = "[[rules]]\nuse = \"tied_output\"\n";
  const auto after = test::apply(std::string(rename) + use, config, checkpoint);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_NE(test::find(*after, "lm_head.weight"), nullptr);
  const auto before = test::apply(std::string(use) + rename, config, checkpoint);
  ASSERT_TRUE(before);
  EXPECT_EQ(test::find(*before, "lm_head.weight"), nullptr);
}

TEST(TiedOutput, IsTheEmbeddingWhereTheConfigSaysSoAndThereIsNone) {
  const char* const use = "[[rules]]\nuse = \"tied_output\"\n";
  const auto tied = test::object({{"tie_word_embeddings", Value(true)}});
  Checkpoint without;
  without.add("language_model.model.embed_tokens.weight", {3, 2});
  const auto layout = test::apply(use, tied, without);
  ASSERT_TRUE(layout) << layout.error().message();
  const TensorView* head = test::find(*layout, "language_model.lm_head.weight");
  ASSERT_NE(head, nullptr);
  EXPECT_EQ(without.gather(*head), without["language_model.model.embed_tokens.weight"]);

  Checkpoint with;
  with.add("model.embed_tokens.weight", {3, 2}).add("lm_head.weight", {3, 2});
  const auto own = test::apply(use, tied, with);
  ASSERT_TRUE(own);
  EXPECT_EQ(with.gather(*test::find(*own, "lm_head.weight")), with["lm_head.weight"]);

  for (const Value& config :
       {test::object({}), test::object({{"tie_word_embeddings", Value(false)}})}) {
    const auto untied = test::apply(use, config, without);
    ASSERT_TRUE(untied);
    EXPECT_EQ(test::find(*untied, "language_model.lm_head.weight"), nullptr);
  }
}

TEST(FusedExperts, BecomeGateUpAndDown) {
  Checkpoint checkpoint;
  checkpoint.add("l.0.mlp.experts.gate_up_proj", {2, 6, 4})
      .add("l.0.mlp.experts.down_proj", {2, 4, 3});
  const auto layout =
      test::apply("[[rules]]\nuse = \"fused_experts\"\n", test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  const Numbers& fused = checkpoint["l.0.mlp.experts.gate_up_proj"];
  for (const bool up : {false, true}) {
    const TensorView* view = test::find(
        *layout, up ? "l.0.mlp.switch_mlp.up_proj.weight" : "l.0.mlp.switch_mlp.gate_proj.weight");
    ASSERT_NE(view, nullptr);
    const Numbers half = checkpoint.gather(*view);
    ASSERT_EQ(half.shape, (base::Shape{2, 3, 4}));
    for (std::int64_t e = 0; e < 2; ++e) {
      for (std::int64_t row = 0; row < 3; ++row) {
        EXPECT_EQ(element(half, {e, row, 1}), element(fused, {e, row + (up ? 3 : 0), 1}));
      }
    }
  }
  const TensorView* down = test::find(*layout, "l.0.mlp.switch_mlp.down_proj.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(checkpoint.gather(*down), checkpoint["l.0.mlp.experts.down_proj"]);
}

TEST(FusedExperts, AreRefusedWhereTheRowsDoNotHalve) {
  Checkpoint checkpoint;
  checkpoint.add("l.0.mlp.experts.gate_up_proj", {2, 5, 4});
  EXPECT_EQ(test::apply_error("[[rules]]\nuse = \"fused_experts\"\n", test::object({}), checkpoint),
            "fused_experts.toml:2: tensor \"l.0.mlp.experts.gate_up_proj\": its shape [2, 5, 4] "
            "does not split into [2, 2] along axis 1");
}

}  // namespace
}  // namespace mlxmill::architectures

// A model_type nobody declared: taken for a family that it follows exactly, or described.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "architectures/declaration.h"
#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using test::Checkpoint;
using test::parse_error;
using test::with_identity;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Value llama_config() {
  return test::object({{"model_type", Value("mynewllama")},
                       {"hidden_size", Value(8)},
                       {"intermediate_size", Value(16)},
                       {"num_hidden_layers", Value(1)},
                       {"num_attention_heads", Value(2)},
                       {"vocab_size", Value(32)},
                       {"rms_norm_eps", Value(1e-5)}});
}

Checkpoint llama() {
  Checkpoint checkpoint;
  checkpoint.add("model.embed_tokens.weight", {32, 8}).add("model.norm.weight", {8});
  const std::string at = "model.layers.0.";
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    checkpoint.add(at + "self_attn." + name + ".weight", {8, 8});
  }
  checkpoint.add(at + "mlp.gate_proj.weight", {16, 8}).add(at + "mlp.up_proj.weight", {16, 8});
  checkpoint.add(at + "mlp.down_proj.weight", {8, 16}).add(at + "input_layernorm.weight", {8});
  return checkpoint.add(at + "post_attention_layernorm.weight", {8});
}

Result<Choice> choose(const Value& config, const Checkpoint& checkpoint) {
  MLXMILL_ASSIGN(const Catalogue catalogue, Catalogue::for_config(config));
  return catalogue.choose(config, checkpoint.views());
}

TEST(UnknownModel, IsTakenForTheFamilyItFollows) {
  const auto choice = choose(llama_config(), llama());
  ASSERT_TRUE(choice) << choice.error().message();
  EXPECT_EQ(choice->declaration.family(), "llama");
  EXPECT_THAT(choice->warnings,
              ElementsAre("model_type \"mynewllama\" is unknown; config.json and tensors are those "
                          "of family llama, so the output is one, with model_type \"llama\""));
  const Value output = with_edits(llama_config(), choice->layout.config_edits);
  EXPECT_EQ(*output.find("model_type"), Value("llama"));
}

TEST(UnknownModel, IsTakenForTheFirstThatFitsExactly) {
  Checkpoint biased = llama();
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    biased.add(std::string("model.layers.0.self_attn.") + name + ".bias", {8});
  }
  Value config = llama_config();
  config.set("num_key_value_heads", Value(2));
  const auto qwen2 = choose(config, biased);
  ASSERT_TRUE(qwen2) << qwen2.error().message();
  EXPECT_EQ(qwen2->declaration.family(), "qwen2");

  config.set("hidden_act", Value("gelu_pytorch_tanh"));
  config.set("head_dim", Value(4));
  EXPECT_FALSE(choose(config, llama()));
  config.set("model_type", Value("othergemma"));
  const auto gemma = choose(config, llama());
  ASSERT_TRUE(gemma) << gemma.error().message();
  EXPECT_EQ(gemma->declaration.family(), "gemma");
}

TEST(UnknownModel, IsNotTakenForAFamilyThatComputesOtherwise) {
  Value config = llama_config();
  config.set("embedding_multiplier", Value(12.0));
  const auto choice = choose(config, llama());
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code(), Code::kUnknownModel);
}

TEST(UnknownModel, IsDescribedWhenNothingFits) {
  Checkpoint odd = llama();
  odd.add("model.layers.0.mlp.experts.0.w1.weight", {4, 8});
  odd.add("model.layers.0.mlp.experts.1.w1.weight", {4, 8});
  const auto choice = choose(llama_config(), odd);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code(), Code::kUnknownModel);
  EXPECT_EQ(
      choice.error().message(),
      "config.json: no family serves model_type \"mynewllama\", and none fits its tensors; found "
      "12 kinds of tensors (\"model.layers.{l}.mlp.experts.{e}.w1.weight\" BF16 [4, 8] x 2, "
      "\"model.embed_tokens.weight\" BF16 [32, 8], "
      "\"model.layers.{l}.input_layernorm.weight\" BF16 [8], "
      "\"model.layers.{l}.mlp.down_proj.weight\" BF16 [8, 16], "
      "\"model.layers.{l}.mlp.gate_proj.weight\" BF16 [16, 8], "
      "\"model.layers.{l}.mlp.up_proj.weight\" BF16 [16, 8], "
      "\"model.layers.{l}.post_attention_layernorm.weight\" BF16 [8], "
      "\"model.layers.{l}.self_attn.k_proj.weight\" BF16 [8, 8], ...), and the keys "
      "\"model_type\", \"hidden_size\", \"intermediate_size\", \"num_hidden_layers\", "
      "\"num_attention_heads\", \"vocab_size\", \"rms_norm_eps\"; a new family is one text file, "
      "given with --architecture FILE: docs/ARCHITECTURES.md");
}

TEST(UnknownModel, LeavesKnownTypesToTheirFamilies) {
  Value config = llama_config();
  config.set("model_type", Value("llama"));
  const auto known = choose(config, llama());
  ASSERT_TRUE(known);
  EXPECT_TRUE(known->warnings.empty());
  EXPECT_TRUE(known->layout.config_edits.empty());
  config.set("hidden_size", Value(16));
  const auto broken = choose(config, llama());
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code(), Code::kInvalidInput);
}

TEST(StandsIn, IsParsed) {
  EXPECT_EQ(parse_error(with_identity("[stands_in]\norder = 1\nwhen = \"true\"")), "parsed");
  EXPECT_EQ(parse_error(with_identity("[stands_in]\nwhen = \"true\"")),
            "f.toml:3: [stands_in] needs an order; expected an integer");
  EXPECT_EQ(parse_error(with_identity("stands_in = 3")),
            "f.toml:3: stands_in must be written as [stands_in]");
  EXPECT_EQ(parse_error(with_identity("[stands_in]\norder = 1\nwenn = \"true\"")),
            "f.toml:5: unknown key \"wenn\"; did you mean \"when\"?");
}

TEST(Features, AreReadFromTheFile) {
  const auto of = [](std::string_view rest) {
    return Declaration::parse(with_identity(rest), "f.toml")->features();
  };
  EXPECT_THAT(of(""), ElementsAre("any tensors"));
  EXPECT_THAT(of("[[modules]]\nm = { norm = [1] }"), ElementsAre("tied output"));
  EXPECT_THAT(of("[[modules]]\nm = { linear = [\"vocab_size\", 1] }"), ElementsAre());
  EXPECT_THAT(of(R"([[rules]]
drop = ["{*}.visual.{*}", "x"]
why = "x"
[[modules]]
at = "l.{i < 2}"
"experts.{e < 2}" = { linear = [1, 1], quantize = { bits = 8 } }
"b" = { bitlinear = [4, 1] }
[[modules]]
lm_head = { linear = ["vocab_size", 1], when = "not tie_word_embeddings" }
[stands_in]
order = 1)"),
              ElementsAre("experts", "tied output", "multimodal: text part", "own bits", "ternary",
                          "stands in for unknown types"));
}

}  // namespace
}  // namespace mlxmill::architectures

// What config.json and tokenizer_config.json say for keys that published files have or lack.
#include <gmock/gmock.h>

#include <optional>

#include "formats/json.h"
#include "model_files.h"

namespace mlxmill::gguf {
namespace {

using test::file_text;
using test::llama;
using test::ModelFile;
using ::testing::HasSubstr;
namespace files = mlxmill::testing;

ImportedModel imported(const ModelFile& file) {
  auto model = file.import();
  EXPECT_TRUE(model) << model.error().message();
  return model ? *std::move(model) : ImportedModel();
}

base::Value parsed(std::string_view text) {
  const auto value = formats::parse_json(text);
  EXPECT_TRUE(value) << value.error().message();
  return value ? *value : base::Value();
}

base::Value config_of(const ModelFile& file, const char* key) {
  const ImportedModel model = imported(file);
  const base::Value* value = model.config.find(key);
  return value ? *value : base::Value("nothing there");
}

base::Value rope_scaling(const char* type,
                         std::initializer_list<std::pair<const char*, float>> keys) {
  ModelFile file = llama();
  if (type) file.own("rope.scaling.type", files::kString, files::text(type));
  for (const auto& [key, value] : keys) file.own(key, files::kF32, files::f32(value));
  return config_of(file, "rope_scaling");
}

TEST(Config, HoldsTheScalingOfRope) {
  const base::Value linear = parsed(R"({"type": "linear", "rope_type": "linear", "factor": 4.0})");
  EXPECT_EQ(rope_scaling("linear", {{"rope.scaling.factor", 4}}), linear);
  // What llama.cpp takes for granted, and the key of before October 2023.
  EXPECT_EQ(rope_scaling(nullptr, {{"rope.scaling.factor", 4}}), linear);
  EXPECT_EQ(rope_scaling(nullptr, {{"rope.scale_linear", 4}}), linear);
  EXPECT_TRUE(rope_scaling("none", {{"rope.scaling.factor", 4}}).is_null());
  EXPECT_TRUE(rope_scaling("linear", {}).is_null());
  EXPECT_TRUE(rope_scaling("linear", {{"rope.scaling.factor", 0}}).is_null());
  EXPECT_TRUE(rope_scaling("longrope", {}).is_null());
}

TEST(Config, HoldsTheScalingOfYarn) {
  ModelFile file = llama();
  file.own("rope.scaling.type", files::kString, files::text("yarn"));
  file.own("rope.scaling.factor", files::kF32, files::f32(8));
  file.own("rope.scaling.original_context_length", files::kU32, files::u32(4096));
  EXPECT_EQ(config_of(file, "rope_scaling"),
            parsed(R"({"type": "yarn", "rope_type": "yarn", "factor": 8.0,
                       "original_max_position_embeddings": 4096})"));
  file.own("rope.scaling.yarn_beta_fast", files::kF32, files::f32(16));
  file.own("rope.scaling.yarn_beta_slow", files::kF32, files::f32(2));
  EXPECT_EQ(config_of(file, "rope_scaling"),
            parsed(R"({"type": "yarn", "rope_type": "yarn", "factor": 8.0,
                       "original_max_position_embeddings": 4096, "beta_fast": 16.0,
                       "beta_slow": 2.0})"));
}

TEST(Config, RefusesScalingsThatItDoesNotKnow) {
  ModelFile file = llama();
  file.own("rope.scaling.type", files::kString, files::text("dynamic"));
  auto model = file.import();
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kUnsupported);
  EXPECT_THAT(model.error().message(),
              HasSubstr("metadata \"llama.rope.scaling.type\": it is \"dynamic\"; expected one of "
                        "none, linear, yarn, longrope"));
  file.own("rope.scaling.type", files::kU32, files::u32(1));
  model = file.import();
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(), HasSubstr("expected a text, got an integer"));
}

TEST(Config, TakesTheHeadSizeFromTheLengthOfKeys) {
  EXPECT_EQ(config_of(llama(), "head_dim"), base::Value(4));
  ModelFile file("llama");
  file.own("attention.key_length", files::kU32, files::u32(16));
  file.own("attention.value_length", files::kU32, files::u32(16));
  file.tensor("token_embd.weight", {5, 8}).tensor("blk.0.attn_q.weight", {32, 8});
  EXPECT_EQ(config_of(file, "head_dim"), base::Value(16));
  EXPECT_EQ(config_of(file, "hidden_size"), base::Value(8));
}

TEST(Config, ReadsWhetherTokensStandBeforeAndBehindAText) {
  struct Case {
    std::optional<bool> bos, eos;
    bool sentence_piece, expected_bos, expected_eos;
  };
  const Case cases[] = {{std::nullopt, std::nullopt, true, true, false},
                        {std::nullopt, std::nullopt, false, false, false},
                        {false, true, true, false, true},
                        {true, true, false, true, true}};
  for (const Case& one : cases) {
    ModelFile file = llama();
    one.sentence_piece ? file.sentence_piece() : file.tokenizer();
    file.set("tokenizer.ggml.bos_token_id", files::kU32, files::u32(1));
    file.set("tokenizer.ggml.eos_token_id", files::kU32, files::u32(2));
    const auto flag = [&](const char* key, std::optional<bool> value) {
      if (value) file.set(key, files::kBool, std::string(1, *value ? '\1' : '\0'));
    };
    flag("tokenizer.ggml.add_bos_token", one.bos);
    flag("tokenizer.ggml.add_eos_token", one.eos);
    const ImportedModel model = imported(file);
    const base::Value config = parsed(file_text(model, "tokenizer_config.json"));
    EXPECT_EQ(*config.find("add_bos_token"), base::Value(one.expected_bos));
    EXPECT_EQ(*config.find("add_eos_token"), base::Value(one.expected_eos));
    EXPECT_EQ(*config.find("bos_token"), base::Value(one.sentence_piece ? "<s>" : "b"));
    EXPECT_EQ(*config.find("eos_token"), base::Value(one.sentence_piece ? "a" : "ab"));
    const base::Value tokenizer = parsed(file_text(model, "tokenizer.json"));
    const base::Value* steps = tokenizer.find("post_processor");
    ASSERT_NE(steps, nullptr);
    const base::Value* single = steps->find("single");
    const std::size_t n = single ? single->as_array()->size() : 1;
    EXPECT_EQ(n, 1u + (one.expected_bos ? 1u : 0u) + (one.expected_eos ? 1u : 0u));
    EXPECT_EQ(*model.config.find("bos_token_id"), base::Value(1));
    EXPECT_EQ(*model.config.find("eos_token_id"), base::Value(2));
  }
}

std::string bools(const std::vector<bool>& list) {
  std::string elements;
  for (const bool item : list) elements += item ? '\1' : '\0';
  return files::array(files::kBool, list.size(), elements);
}

ModelFile gemma4(std::uint32_t n_layers) {
  ModelFile file("gemma4");
  file.own("block_count", files::kU32, files::u32(n_layers));
  file.own("attention.key_length", files::kU32, files::u32(4));
  file.own("attention.sliding_window", files::kU32, files::u32(8));
  return std::move(file.tensor("token_embd.weight", {5, 8}));
}

TEST(Config, KnowsLayersThatAreAllOfOneAttention) {
  const base::Value full = base::Array{"full_attention", "full_attention"};
  const base::Value sliding = base::Array{"sliding_attention", "sliding_attention"};
  for (const bool slides : {false, true}) {
    ModelFile file = gemma4(2);
    file.own("attention.sliding_window_pattern", files::kArray, bools({slides, slides}));
    EXPECT_EQ(config_of(file, "layer_types"), slides ? sliding : full);
    file.own("attention.sliding_window_pattern", files::kArray, test::ints({slides, slides}));
    EXPECT_EQ(config_of(file, "layer_types"), slides ? sliding : full);
  }
  ModelFile missing = gemma4(2);
  const auto model = missing.import();
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(), HasSubstr("attention.sliding_window_pattern"));
}

TEST(Config, TakesANumberForEveryHowManyLayersHaveNoWindow) {
  ModelFile file("gemma3");
  file.llama_tensors(5).own("attention.sliding_window", files::kU32, files::u32(8));
  EXPECT_EQ(config_of(file, "sliding_window_pattern"), base::Value(6));
  file.own("attention.sliding_window_pattern", files::kU32, files::u32(3));
  EXPECT_EQ(config_of(file, "sliding_window_pattern"), base::Value(3));
}

}  // namespace
}  // namespace mlxmill::gguf

// [forward]: what is evaluated for each layer, rotary tables, and what is refused.
#include "architectures/forward/forward.h"

#include <gmock/gmock.h>

#include <cmath>

#include "architectures/declaration.h"

namespace mlxmill::architectures {
namespace {

using ::testing::HasSubstr;

constexpr const char* kHead = R"toml(
family = "mine"
model_types = ["mine"]
[forward]
norm       = { epsilon = "eps" }
embedding  = { at = "embed", scale = "sqrt(16)" }
vocabulary = 10
at         = "layers.{i}"
final      = "norm"
head       = { at = "lm_head" }
)toml";

constexpr const char* kAttention = R"toml(
[[forward.steps]]
pre = "ln"
[forward.steps.attention]
q = "q"
k = "k"
v = "v"
o = "{'out' if i == 0 else '/shared.out'}"
heads = 4
kv_heads = 2
head_dim = 8
q_norm = { at = "qn", when = "i == 1", kind = "layer", offset = 1 }
window = "5 if i == 0 else 0"
rope = { dims = 8 }
)toml";

base::Value config_with(base::Object members) {
  members.push_back({"eps", base::Value(0.5)});
  return base::Value(std::move(members));
}

Result<Forward> evaluate(const std::string& text, const base::Value& config) {
  MLXMILL_ASSIGN(const Declaration declaration, Declaration::parse(text, "f.toml"));
  Layout layout;
  layout.n_layers = 2;
  return declaration.forward(config, layout);
}

TEST(Forward, IsEvaluatedForEachLayer) {
  const auto forward = evaluate(std::string(kHead) + kAttention, config_with({}));
  ASSERT_TRUE(forward) << forward.error().message();
  EXPECT_EQ(forward->embedding.path, "embed");
  EXPECT_EQ(forward->embedding.scale, 4);
  EXPECT_EQ(forward->norm.epsilon, 0.5);
  // There is no such module: the output is tied to the embedding.
  EXPECT_EQ(forward->head.path, "embed");
  ASSERT_EQ(forward->layers.size(), 2U);
  const auto& first = std::get<AttentionSpec>(forward->layers[0][0].block);
  const auto& second = std::get<AttentionSpec>(forward->layers[1][0].block);
  EXPECT_EQ(first.q, "layers.0.q");
  EXPECT_EQ(first.o, "layers.0.out");
  EXPECT_EQ(second.o, "shared.out");
  EXPECT_EQ(first.window, 5);
  EXPECT_EQ(second.window, 0);
  EXPECT_FALSE(first.q_norm);
  EXPECT_EQ(second.q_norm.kind, NormSpec::Kind::kLayer);
  EXPECT_EQ(second.q_norm.offset, 1);
  EXPECT_DOUBLE_EQ(first.scale, 1 / std::sqrt(8.0));
  EXPECT_EQ(first.rope.base, 10000);
  EXPECT_TRUE(first.rope.periods.empty());
}

RopeSpec rope_of(const base::Value& config) {
  const auto forward = evaluate(std::string(kHead) + kAttention, config);
  EXPECT_TRUE(forward) << forward.error().message();
  return forward ? std::get<AttentionSpec>(forward->layers[0][0].block).rope : RopeSpec();
}

TEST(Forward, RopeComesFromWhereConfigsHaveIt) {
  const base::Object linear = {
      {"rope_type", "linear"}, {"factor", base::Value(4.0)}, {"rope_theta", base::Value(500.0)}};
  const RopeSpec new_style = rope_of(config_with({{"rope_parameters", linear}}));
  EXPECT_EQ(new_style.base, 500);
  EXPECT_EQ(new_style.scale, 0.25);
  const base::Object old = {{"type", "linear"}, {"factor", base::Value(2)}};
  const RopeSpec old_style =
      rope_of(config_with({{"rope_theta", base::Value(100)}, {"rope_scaling", old}}));
  EXPECT_EQ(old_style.base, 100);
  EXPECT_EQ(old_style.scale, 0.5);
}

// Without one in the config, transformers takes the family's own.
TEST(Forward, RopeHasTheBaseOfItsFamily) {
  const auto base_of = [](const char* model_type, double base, base::Object more) {
    base::Object config = {
        {"model_type", base::Value(model_type)}, {"num_hidden_layers", base::Value(1)},
        {"num_attention_heads", base::Value(4)}, {"num_key_value_heads", base::Value(4)},
        {"hidden_size", base::Value(128)},       {"intermediate_size", base::Value(128)},
        {"num_local_experts", base::Value(2)},   {"num_experts_per_tok", base::Value(1)},
        {"rms_norm_eps", base::Value(1e-5)},     {"vocab_size", base::Value(16)}};
    for (base::Member& member : more) config.push_back(std::move(member));
    const base::Value value(std::move(config));
    const auto declaration = Catalogue::built_in()->find(value);
    ASSERT_TRUE(declaration) << declaration.error().message();
    Layout layout;
    layout.n_layers = 1;
    const auto forward = declaration->forward(value, layout);
    ASSERT_TRUE(forward) << forward.error().message();
    EXPECT_EQ(std::get<AttentionSpec>(forward->layers[0][0].block).rope.base, base) << model_type;
  };
  const base::Object theta = {{"rope_theta", base::Value(300.0)}};
  for (const auto& [model_type, base] :
       {std::pair("cohere", 5e5), std::pair("mixtral", 1e6), std::pair("smollm3", 2e6)}) {
    base_of(model_type, base, {});
    base_of(model_type, 300, {{"rope_parameters", base::Value(theta)}});
    base_of(model_type, 300, {{"rope_theta", base::Value(300.0)}});
  }
}

TEST(Forward, LongRopeHasBothTablesAndAMagnitude) {
  const base::Array shorter = {base::Value(1), base::Value(1), base::Value(2), base::Value(2)};
  const base::Array longer = {base::Value(4), base::Value(4), base::Value(4), base::Value(4)};
  const base::Object scaling = {
      {"type", "longrope"}, {"short_factor", shorter}, {"long_factor", longer}};
  const RopeSpec rope = rope_of(config_with({{"rope_scaling", scaling},
                                             {"original_max_position_embeddings", base::Value(64)},
                                             {"max_position_embeddings", base::Value(256)}}));
  ASSERT_EQ(rope.periods.size(), 4U);
  EXPECT_FLOAT_EQ(rope.periods[0], 1);
  EXPECT_FLOAT_EQ(rope.periods[2], 2 * 100);
  EXPECT_FLOAT_EQ(rope.long_periods[2], 4 * 100);
  EXPECT_EQ(rope.switch_at, 64);
  EXPECT_DOUBLE_EQ(rope.magnitude, std::sqrt(1 + std::log(4.0) / std::log(64.0)));
}

TEST(Forward, YarnLeavesFastPairsAndStretchesSlowOnes) {
  const base::Object scaling = {{"rope_type", "yarn"},
                                {"factor", base::Value(8.0)},
                                {"original_max_position_embeddings", base::Value(4096)}};
  const RopeSpec rope = rope_of(config_with({{"rope_scaling", scaling}}));
  ASSERT_EQ(rope.periods.size(), 4U);
  EXPECT_FLOAT_EQ(rope.periods[0], 1);
  EXPECT_FLOAT_EQ(rope.periods[3], 8 * 1000);
  EXPECT_DOUBLE_EQ(rope.magnitude, 0.1 * std::log(8.0) + 1);
}

struct Wrong {
  std::string steps;
  std::string message;
};

class ForwardRefuses : public ::testing::TestWithParam<Wrong> {};

TEST_P(ForwardRefuses, WithAMessage) {
  const auto forward = evaluate(kHead + GetParam().steps, config_with({}));
  ASSERT_FALSE(forward);
  EXPECT_THAT(forward.error().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Each, ForwardRefuses,
    ::testing::Values(
        Wrong{"[[forward.steps]]\npre = \"ln\"\n", "a step without a block"},
        Wrong{"[[forward.steps]]\nmlp = { up = \"u\", down = \"d\", actvation = \"'silu'\" }\n",
              "f.toml:12: unknown key \"actvation\""},
        Wrong{"[[forward.steps]]\nmlp = { up = \"u\", down = \"d\", activation = \"'wave'\" }\n",
              "activation \"wave\" is not known"},
        Wrong{"[[forward.steps]]\nmlp = { up = \"u\" }\n", "there is no down"},
        Wrong{"[[forward.steps]]\nparallel = true\nmlp = { up = \"u\", down = \"d\" }\n",
              "the first step is parallel to nothing"},
        Wrong{"[[forward.steps]]\n[forward.steps.attention]\nq = \"q\"\nk = \"k\"\no = "
              "\"o\"\nheads = 3\nkv_heads = 2\nhead_dim = 8\n",
              "heads must be a multiple of kv_heads"}));

TEST(Forward, RefusesWhatItCannotRotate) {
  const base::Object scaling = {{"rope_type", "spiral"}};
  const auto forward =
      evaluate(std::string(kHead) + kAttention, config_with({{"rope_scaling", scaling}}));
  ASSERT_FALSE(forward);
  EXPECT_EQ(forward.error().code(), Code::kUnsupported);
  EXPECT_THAT(forward.error().message(), HasSubstr("rotary embedding \"spiral\""));
}

}  // namespace
}  // namespace mlxmill::architectures

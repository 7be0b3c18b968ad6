// [forward]: blocks that lean on what steps before them made, and what is said when it is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "architectures/forward/forward.h"
#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using ::testing::HasSubstr;

Result<Forward> forward_of(const std::string& steps) {
  const std::string text = test::with_identity(R"(layers = "n"
[[modules]]
"embed" = { embedding = [8, 4] }
[forward]
embedding  = { at = "embed" }
vocabulary = 8
at         = "layers.{i}"
final      = { }
head       = { at = "embed" }
)" + steps);
  const Value config = test::object({{"n", Value(2)}});
  MLXMILL_ASSIGN(const Declaration declaration, Declaration::parse(text, "f.toml"));
  MLXMILL_ASSIGN(
      const Layout layout,
      declaration.apply(config, test::Checkpoint().add("embed.weight", {8, 4}).tensors()));
  return declaration.forward(config, layout);
}

std::string error_of(const std::string& steps) {
  const auto forward = forward_of(steps);
  return forward ? "evaluated" : forward.error().message();
}

std::string block(const std::string& table) { return "[[forward.steps]]\n" + table + "\n"; }

const std::string kInputs = block(
    R"(when = "i == 0"
keep = 0
per_layer_inputs = { embedding = "/rows", projection = "/p", norm = "/n", vocabulary = 8, layers = 2, size = 3 })");

TEST(ForwardBlocks, LayersHaveInputsOfTheirOwn) {
  const std::string gate = block(
      R"(scaled_by = "scalar"
per_layer_gate = { gate = "g", projection = "q" })");
  const auto forward = forward_of(kInputs + gate);
  ASSERT_TRUE(forward) << forward.error().message();
  ASSERT_EQ(forward->layers.size(), 2U);
  ASSERT_EQ(forward->layers[0].size(), 2U);
  EXPECT_EQ(std::get<PerLayerInputsSpec>(forward->layers[0][0].block).embedding, "rows");
  ASSERT_EQ(forward->layers[1].size(), 1U);
  EXPECT_EQ(std::get<PerLayerGateSpec>(forward->layers[1][0].block).gate, "layers.1.g");
  EXPECT_EQ(forward->layers[1][0].scaled_by, "layers.1.scalar");
  EXPECT_THAT(error_of(gate), HasSubstr("a per_layer_gate without per_layer_inputs before it"));
}

TEST(ForwardBlocks, OnlyAttentionAfterOneWithKeysBorrows) {
  const std::string own =
      R"(attention = { q = "q", k = "k", v = "v", o = "o", heads = 1, head_dim = 2)";
  const std::string lent =
      R"(attention = { q = "q", o = "o", heads = 1, head_dim = 2, borrows = true })";
  const auto forward =
      forward_of(block("when = \"i == 0\"\n" + own + " }") + block("when = \"i == 1\"\n" + lent));
  ASSERT_TRUE(forward) << forward.error().message();
  EXPECT_TRUE(std::get<AttentionSpec>(forward->layers[1][0].block).borrows);
  EXPECT_THAT(error_of(block(lent)), HasSubstr("attention that borrows without one before it"));
}

TEST(ForwardBlocks, OnlyAnMlpWithoutGateIsXielu) {
  const std::string mlp = R"(mlp = { up = "u", down = "d", xielu = "a")";
  ASSERT_TRUE(forward_of(block(mlp + " }")));
  EXPECT_THAT(error_of(block(mlp + R"(, gate = "g" })")), HasSubstr("an mlp without a gate"));
}

TEST(ForwardBlocks, StreamsStartBeforeTheyAreMixed) {
  const auto altup = [](const std::string& rest) {
    return block("keep = 0\naltup = { streams = 3, " + rest + " }");
  };
  const std::string start = altup(R"(does = "start", projections = "/p.{k}")");
  const std::string predict =
      altup(R"(does = "predict", active = 1, router = "r", router_norm = "n", coefficients = "c")");
  const auto forward = forward_of(start + predict);
  ASSERT_TRUE(forward) << forward.error().message();
  EXPECT_EQ(std::get<AltUpSpec>(forward->layers[0][0].block).projections,
            (std::vector<std::string>{"p.0", "p.1"}));
  EXPECT_EQ(std::get<AltUpSpec>(forward->layers[1][1].block).active, 1);
  EXPECT_THAT(error_of(predict), HasSubstr("altup without a start with as many streams"));
  EXPECT_THAT(error_of(altup(R"(does = "start", active = 3, projections = "p")")),
              HasSubstr("active is one of the streams"));
}

/// A time mix with everything but what it does to values.
std::string time_mix(const std::string& more) {
  return block(R"([forward.steps.time_mix]
r = "r"
k = "k"
v = "v"
o = "o"
w_in = "wi"
w_out = "wo"
a_in = "ai"
a_out = "ao"
g_in = "gi"
g_out = "go"
x_r = "xr"
x_w = "xw"
x_k = "xk"
x_v = "xv"
x_a = "xa"
x_g = "xg"
k_k = "kk"
k_a = "ka"
r_k = "rk"
norm = { at = "n", kind = "layer", epsilon = 0.5 }
head_dim = 2
)" + more);
}

TEST(ForwardBlocks, TimeMixesShareTheFirstOnesValues) {
  const auto forward = forward_of(time_mix(R"(heads = "2 + i"
v_in = { at = "vi", when = "i > 0" }
v_out = { at = "vo", when = "i > 0" }
)") + block(R"(channel_mix = { key = "fk", value = "fv", x_k = "fx", hidden = 4 })"));
  ASSERT_TRUE(forward) << forward.error().message();
  const auto& first = std::get<TimeMixSpec>(forward->layers[0][0].block);
  const auto& second = std::get<TimeMixSpec>(forward->layers[1][0].block);
  EXPECT_EQ(first.v_in, "");
  EXPECT_EQ(second.v_in, "layers.1.vi");
  EXPECT_EQ(second.v_out, "layers.1.vo");
  EXPECT_EQ(second.w_out, "layers.1.wo");
  EXPECT_EQ(second.x_g, "layers.1.xg");
  EXPECT_EQ(second.heads, 3);
  EXPECT_EQ(second.norm.epsilon, 0.5);
  EXPECT_EQ(std::get<ChannelMixSpec>(forward->layers[1][1].block).x_k, "layers.1.fx");
  EXPECT_THAT(error_of(time_mix("heads = 2\nv_in = \"vi\"\nv_out = \"vo\"\n")),
              HasSubstr("a time_mix with v_in without one before it that has none"));
  EXPECT_THAT(error_of(time_mix("heads = 2\nv_in = \"vi\"\n")),
              HasSubstr("time_mix needs both of v_in and v_out, or none"));
  EXPECT_THAT(error_of(time_mix("")), HasSubstr("heads is not there"));
  EXPECT_THAT(error_of(block(R"(time_mix = { r = "r" })")), HasSubstr("there is no k"));
  EXPECT_THAT(error_of(block(R"(channel_mix = { key = "k", value = "v", hidden = 4 })")),
              HasSubstr("there is no x_k"));
}

TEST(ForwardBlocks, AnIndexerChoosesBlocksForItsAttention) {
  const auto attention = [](const std::string& indexer, const std::string& more = "") {
    return block(
        "[forward.steps.attention]\nq = \"q\"\nk = \"k\"\nv = \"v\"\no = \"o\"\n"
        "heads = 4\nkv_heads = 2\nhead_dim = 8\n" +
        more + "indexer = { q = \"iq\", k = \"ik\", dim = 4, block = 8, top = 3" + indexer + " }");
  };
  const auto forward =
      forward_of(attention(R"(, heads = 2, local = 1, q_norm = "n", when = "i == 1")"));
  ASSERT_TRUE(forward) << forward.error().message();
  EXPECT_FALSE(std::get<AttentionSpec>(forward->layers[0][0].block).indexer);
  const auto& second = std::get<AttentionSpec>(forward->layers[1][0].block);
  ASSERT_TRUE(second.indexer);
  EXPECT_EQ(second.indexer->k, "layers.1.ik");
  EXPECT_EQ(second.indexer->q_norm.path, "layers.1.n");
  EXPECT_EQ(second.indexer->block, 8);
  EXPECT_EQ(second.indexer->local, 1);
  EXPECT_THAT(error_of(attention(", heads = 3")),
              HasSubstr("kv_heads must be a multiple of the indexer's heads"));
  EXPECT_THAT(error_of(attention(", heads = 2, local = 4")), HasSubstr("local is from 0 to top"));
  EXPECT_THAT(error_of(attention(", heads = 2, rope = { dims = 8 }")),
              HasSubstr("rope.dims is more than dim"));
  EXPECT_THAT(error_of(attention(", heads = 2", "window = 5\n")),
              HasSubstr("attention without window, chunk, shares, tiled and sinks"));
}

TEST(ForwardBlocks, OnlyAGateIsClamped) {
  const auto forward =
      forward_of(block(R"(mlp = { gate = "g", up = "u", down = "d", clamp = 7, alpha = 1.5 })"));
  ASSERT_TRUE(forward) << forward.error().message();
  EXPECT_EQ(std::get<MlpSpec>(forward->layers[0][0].block).clamp, 7);
  EXPECT_EQ(std::get<MlpSpec>(forward->layers[0][0].block).alpha, 1.5);
  const std::string problem = "clamp is for an mlp with a gate, without limit and sparsity";
  EXPECT_THAT(error_of(block(R"(mlp = { up = "u", down = "d", clamp = 7 })")), HasSubstr(problem));
  EXPECT_THAT(
      error_of(block(R"(mlp = { gate = "g", up = "u", down = "d", clamp = 7, limit = 2 })")),
      HasSubstr(problem));
}

TEST(ForwardBlocks, SaysWhatABlockLacks) {
  EXPECT_THAT(error_of(block(R"(mlp = { up = "u", down = "d", sparsity = 0.5 })")),
              HasSubstr("sparsity is from 0 to below 1, of an mlp with a gate"));
  EXPECT_THAT(error_of(block(R"([forward.steps.delta_net]
q = "q"
k = "k"
z = "z"
b = "b"
a = "a"
conv = "c"
a_log = "l"
dt_bias = "t"
norm = "n"
out = "o"
key_heads = 1
value_heads = 1
key_dim = 2
value_dim = 2
kernel = 4)")),
              HasSubstr("delta_net needs qkvz and ba; or z, b, a, and qkv or q, k and v"));
  EXPECT_THAT(error_of(block(R"([forward.steps.latent_attention]
q = "q"
kv_a = "a"
kv_b = "b"
o = "o"
heads = 1
rank = 4
nope_dim = 2
rope_dim = 2
value_dim = 2
indexer = { q = "iq", k = "ik", weights = "w", heads = 1, dim = 4, top = 2 })")),
              HasSubstr("an indexer needs q_a and q_b"));
}

}  // namespace
}  // namespace mlxmill::architectures

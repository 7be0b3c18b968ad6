// Modules that are stacked when a model is run.
#include "architectures/forward/stacks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string declaration(const std::string& stacks) {
  return test::with_identity(R"(layers = "n"
[[modules]]
"embed" = { embedding = [8, 64] }
[[modules]]
at = "layers.{i < n}"
"e.{k < 3}.w" = { linear = [4, 64], bias = true }
[forward]
embedding  = { at = "embed" }
vocabulary = 8
at         = "layers.{i}"
final      = { }
head       = { at = "embed" }
)") + stacks +
         "[[forward.steps]]\nlinear = { at = \"x\" }\n";
}

const std::string kStacks = R"(stacks = [{ of = "e.{k}.w", count = 3, to = "e.w" }]
)";

/// Experts of two layers; those of `coded` are affine codes of so many bits.
test::Checkpoint checkpoint(const std::vector<int>& coded = {0, 0, 0}) {
  test::Checkpoint result;
  result.add("embed.weight", {8, 64});
  for (int layer = 0; layer < 2; ++layer) {
    for (std::size_t e = 0; e < coded.size(); ++e) {
      const std::string path = "layers." + std::to_string(layer) + ".e." + std::to_string(e) + ".w";
      if (coded[e] == 0) {
        result.add(path + ".weight", {4, 64});
      } else {
        result.add(path + ".weight", {4, 2 * coded[e]}, DType::kU32);
        result.add(path + ".scales", {4, 1}).add(path + ".biases", {4, 1});
      }
      result.add(path + ".bias", {4});
    }
  }
  return result;
}

Result<Layout> stacked(const std::string& stacks, const test::Checkpoint& from) {
  const Value config = test::object(
      {{"n", Value(2)},
       {"quantization", test::object({{"bits", Value(4)}, {"group_size", Value(64)}})}});
  MLXMILL_ASSIGN(const Declaration parsed, Declaration::parse(declaration(stacks), "f.toml"));
  MLXMILL_ASSIGN(Layout layout, parsed.apply(config, from.tensors()));
  MLXMILL_ASSIGN(const Forward forward, parsed.forward(config, layout));
  MLXMILL_TRY(stack_modules(forward.stacks, layout));
  return layout;
}

std::string error_of(const std::string& stacks, const test::Checkpoint& from) {
  const auto layout = stacked(stacks, from);
  return layout ? "stacked" : layout.error().message();
}

TEST(Stacks, AModuleTakesThePlaceOfMany) {
  const test::Checkpoint from = checkpoint();
  const auto layout = stacked(kStacks, from);
  ASSERT_TRUE(layout) << layout.error().message();
  ASSERT_EQ(layout->modules.size(), 3U);
  const Module& second = layout->modules[2];
  EXPECT_EQ(second.path, "layers.1.e.w");
  EXPECT_EQ(second.kind, ModuleKind::kStacked);
  EXPECT_FALSE(second.packed);
  EXPECT_THAT(second.stacked_of, ElementsAre("layers.1.e.0.w", "layers.1.e.1.w", "layers.1.e.2.w"));
  const TensorView* weight = test::find(*layout, "layers.1.e.w.weight");
  ASSERT_TRUE(weight);
  EXPECT_EQ(weight->shape, (base::Shape{3, 4, 64}));
  const test::Numbers numbers = from.gather(*weight);
  for (const std::int64_t e : {0, 1, 2}) {
    const auto& own = from["layers.1.e." + std::to_string(e) + ".w.weight"];
    EXPECT_EQ(test::element(numbers, {e, 3, 5}), test::element(own, {3, 5}));
    // Read where it lies: nothing is computed.
    EXPECT_FALSE(weight->pieces[static_cast<std::size_t>(e)].computed);
  }
  ASSERT_TRUE(test::find(*layout, "layers.1.e.w.bias"));
  EXPECT_EQ(test::find(*layout, "layers.1.e.w.bias")->shape, (base::Shape{3, 4}));
}

TEST(Stacks, CodesAreStackedWithTheirScales) {
  const auto layout = stacked(kStacks, checkpoint({4, 4, 4}));
  ASSERT_TRUE(layout) << layout.error().message();
  const Module& first = layout->modules[1];
  EXPECT_TRUE(first.packed);
  EXPECT_EQ(first.packed_scheme, (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_EQ(test::find(*layout, "layers.0.e.w.weight")->shape, (base::Shape{3, 4, 8}));
  EXPECT_EQ(test::find(*layout, "layers.0.e.w.scales")->shape, (base::Shape{3, 4, 1}));
  EXPECT_EQ(test::find(*layout, "layers.0.e.w.biases")->shape, (base::Shape{3, 4, 1}));
}

TEST(Stacks, RefusesModulesThatWereQuantizedDifferently) {
  const auto bits = stacked(kStacks, checkpoint({4, 4, 8}));
  ASSERT_FALSE(bits);
  EXPECT_EQ(bits.error().code(), Code::kUnsupported);
  EXPECT_EQ(
      bits.error().message(),
      "layers.0.e.2.w is affine 8-bit, groups of 64, but layers.0.e.0.w is affine 4-bit, "
      "groups of 64; as they are computed together, they must be quantized alike; quantize all "
      "of them in one way");
  EXPECT_THAT(error_of(kStacks, checkpoint({4, 0, 4})),
              HasSubstr("layers.0.e.1.w is not quantized, but layers.0.e.0.w is affine 4-bit"));
}

TEST(Stacks, SaysWhatIsWrongWithAnEntry) {
  const test::Checkpoint from = checkpoint();
  EXPECT_THAT(error_of("stacks = 3\n", from), HasSubstr("stacks must be a list"));
  EXPECT_THAT(error_of("stacks = [3]\n", from), HasSubstr("a stack needs to, of and count"));
  EXPECT_THAT(error_of(R"(stacks = [{ of = "e.{k}.w", to = "e.w" }]
)",
                       from),
              HasSubstr("count is not there; expected a positive integer"));
  EXPECT_THAT(error_of(R"(stacks = [{ count = 2, to = "e.w" }]
)",
                       from),
              HasSubstr("there is no of; expected a module's path"));
  EXPECT_THAT(error_of(R"(stacks = [{ of = "e.0.w", count = 2, to = "e.w" }]
)",
                       from),
              HasSubstr("of needs {k}, which counts modules"));
  EXPECT_THAT(error_of(R"(stacks = [{ of = "e.{k}.w", count = 4, to = "e.w" }]
)",
                       from),
              HasSubstr("the model has no layers.0.e.3.w, which layers.0.e.w is stacked of"));
  EXPECT_THAT(error_of(R"(stacks = [{ of = "e.{k}.w", count = 3, to = "e.w", axis = 1 }]
)",
                       from),
              HasSubstr("unknown key \"axis\""));
  EXPECT_THAT(
      error_of(
          R"(stacks = [{ of = "e.{k}.w", count = 3, to = "a" }, { of = "e.{k}.w", count = 2, to = "b" }]
)",
          from),
      HasSubstr("\"layers.0.e.0.w\" is in a stack already, but \"layers.0.b\" is stacked of it"));
}

TEST(Stacks, ALayerMayHaveNone) {
  const auto layout =
      stacked(R"(stacks = [{ of = "e.{k}.w", count = 3, to = "e.w", when = "i == 1" }]
)",
              checkpoint());
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_TRUE(test::find(*layout, "layers.0.e.2.w.weight"));
  EXPECT_FALSE(test::find(*layout, "layers.0.e.w.weight"));
  EXPECT_TRUE(test::find(*layout, "layers.1.e.w.weight"));
}

TEST(Stacks, RefusesAModuleThatIsNotThere) {
  Layout layout;
  const std::vector<StackSpec> stacks = {{"s", {"a", "b"}}};
  const Status status = stack_modules(stacks, layout);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "\"a\" is no module, but \"s\" is stacked of it");
}

}  // namespace
}  // namespace mlxmill::architectures

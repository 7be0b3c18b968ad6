// Rules whose tensors are computed, by what they say is to be computed; tests/parity/ compares the
// numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "architectures/declaration.h"
#include "support.h"
#include "tensors/operation.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using test::apply;
using test::apply_error;
using test::Checkpoint;
using test::find;
using ::testing::HasSubstr;
using ::testing::Not;

/// 4-bit codes of [8, 64] in groups of 32.
Checkpoint coded() {
  Checkpoint checkpoint;
  checkpoint.add("a.weight", {8, 8}, DType::kU32)
      .add("a.scales", {8, 2})
      .add("a.biases", {8, 2})
      .add("b.weight", {8, 64});
  return checkpoint;
}

const char* const kDecode = "[[rules]]\ndecode = \"{m}.weight\"\ncolumns = \"n\"\n";

TEST(DecodeRule, MakesWeightsThatRememberTheirCodes) {
  const auto layout = apply(kDecode, test::object({{"n", Value(64)}}), coded());
  ASSERT_TRUE(layout) << layout.error().message();
  const TensorView* weight = find(*layout, "a.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->shape, (base::Shape{8, 64}));
  EXPECT_EQ(weight->dtype, DType::kBF16);
  EXPECT_FALSE(weight->packed);
  ASSERT_TRUE(weight->coded_as);
  EXPECT_EQ(*weight->coded_as, (Scheme{Mode::kAffine, 4, 32}));
  EXPECT_EQ(find(*layout, "a.scales"), nullptr);
  EXPECT_EQ(find(*layout, "a.biases"), nullptr);
  // Floats pass.
  EXPECT_FALSE(find(*layout, "b.weight")->coded_as);
}

TEST(DecodeRule, RemembersThroughWhatFollows) {
  const std::string rules = std::string(kDecode) +
                            "[[rules]]\nreshape = \"a.weight\"\nshape = [2, 4, -1]\n"
                            "[[rules]]\nsplit = \"a.weight\"\naxis = 1\nsizes = [1, 3]\n"
                            "to = [\"k.weight\", \"v.weight\"]\n"
                            "[[rules]]\ntranspose = \"k.weight\"\naxes = [0, 2, 1]\n";
  const auto layout = apply(rules, test::object({{"n", Value(64)}}), coded());
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(find(*layout, "k.weight")->shape, (base::Shape{2, 64, 1}));
  EXPECT_TRUE(find(*layout, "k.weight")->coded_as);
  EXPECT_EQ(find(*layout, "v.weight")->shape, (base::Shape{2, 3, 64}));
  EXPECT_TRUE(find(*layout, "v.weight")->coded_as);
}

TEST(DecodeRule, RefusesCodesThatDoNotFit) {
  EXPECT_EQ(apply_error(kDecode, test::object({{"n", Value(60)}}), coded()),
            "f.toml:3: tensor \"a.weight\": the codes do not fit the module");
  Checkpoint half;
  half.add("a.weight", {8, 8}, DType::kU32).add("a.scales", {8, 2});
  EXPECT_EQ(apply_error(kDecode, test::object({{"n", Value(64)}}), half),
            "f.toml:3: tensor \"a.weight\": its scales have no biases of the same kind");
  EXPECT_EQ(test::parse_error(test::with_identity("[[rules]]\ndecode = \"x\"\n")),
            "f.toml:3: decode has no columns");
}

TEST(ResidualGateRule, GivesBothParts) {
  Checkpoint checkpoint;
  checkpoint.add("l.gate", {4}).add("l.ids", {4}, DType::kI32);
  const std::string rule =
      "]\nto = [\"{m}.alpha\", \"{m}.beta\"]\ntemperature = 0.5\nepsilon = 0.25\n";
  const auto layout =
      apply("[[rules]]\nresidual_gate = [\"{m}.gate\"" + rule, test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(find(*layout, "l.gate"), nullptr);
  EXPECT_THAT(tensors::describe(*find(*layout, "l.alpha")),
              HasSubstr("residual gate 0.5 0.25 true -> F32 [4]"));
  EXPECT_THAT(tensors::describe(*find(*layout, "l.beta")),
              HasSubstr("residual gate 0.5 0.25 false -> F32 [4]"));
  EXPECT_EQ(
      apply_error("[[rules]]\nresidual_gate = [\"{m}.ids\"" + rule, test::object({}), checkpoint),
      "f.toml:3: tensor \"l.ids\": it is I32; expected BF16, F16 or F32");
  EXPECT_THAT(
      test::parse_error(test::with_identity("[[rules]]\nresidual_gate = \"x\"\nto = \"y\"\n")),
      HasSubstr("residual_gate needs two names in to, and temperature and epsilon"));
}

TEST(ConstantRule, PutsANumberBesideATensor) {
  Checkpoint checkpoint;
  checkpoint.add("l.0.up", {4}).add("l.1.up", {4});
  const auto config =
      test::object({{"alpha", Value(base::Array{Value(0.5), Value(2)})}, {"word", Value("x")}});
  const auto layout =
      apply("[[rules]]\nconstant = \"l.{i#}.up\"\nto = \"l.{i}.alpha\"\nvalue = \"alpha[i]\"\n",
            config, checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_NE(find(*layout, "l.0.up"), nullptr);
  ASSERT_NE(find(*layout, "l.1.alpha"), nullptr);
  EXPECT_EQ(find(*layout, "l.1.alpha")->dtype, DType::kF32);
  EXPECT_EQ(find(*layout, "l.1.alpha")->shape, base::Shape{});
  EXPECT_THAT(tensors::describe(*find(*layout, "l.0.alpha")), HasSubstr("constant 0.5"));
  EXPECT_THAT(apply_error("[[rules]]\nconstant = \"l.{i#}.up\"\nto = \"l.{i}.alpha\"\n"
                          "value = \"word\"\n",
                          config, checkpoint),
              HasSubstr("\"value\" is a string; expected a finite number"));
  EXPECT_THAT(test::parse_error(test::with_identity("[[rules]]\nconstant = \"x\"\nto = \"y\"\n")),
              HasSubstr("constant has no value"));
}

TEST(LogOfNegativeRule, TakesFloats) {
  Checkpoint checkpoint;
  checkpoint.add("a", {4}).add("b", {4}, DType::kI32);
  const auto layout = apply("[[rules]]\nlog_of_negative = \"a\"\n", test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_THAT(tensors::describe(*find(*layout, "a")), HasSubstr("log of negative"));
  EXPECT_THAT(apply_error("[[rules]]\nlog_of_negative = \"b\"\n", test::object({}), checkpoint),
              HasSubstr("it is I32; expected BF16, F16 or F32"));
}

TEST(FoldRule, MultipliesAndTakesAway) {
  const std::string rule = "[[rules]]\nfold = \"{m}.scale\"\nto = \"{m}.weight\"\n";
  Checkpoint checkpoint;
  checkpoint.add("a.weight", {3, 4}).add("a.scale", {3}, DType::kF32).add("b.weight", {3, 4});
  const auto layout = apply(rule, test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(find(*layout, "a.scale"), nullptr);
  EXPECT_THAT(tensors::describe(*find(*layout, "a.weight")), HasSubstr("multiply by"));
  EXPECT_THAT(tensors::describe(*find(*layout, "b.weight")), Not(HasSubstr("multiply by")));
  Checkpoint four;
  four.add("a.weight", {3, 4}).add("a.scale", {4});
  EXPECT_THAT(apply_error(rule, test::object({}), four),
              HasSubstr("it is BF16 [3, 4] and has 4 factors; expected one, or one for each"));
  Checkpoint alone;
  alone.add("a.scale", {1});
  EXPECT_THAT(apply_error(rule, test::object({}), alone),
              HasSubstr("there is no tensor \"a.weight\" to multiply"));
  Checkpoint whole;
  whole.add("a.weight", {3, 4}).add("a.scale", {1}, DType::kI32);
  EXPECT_THAT(apply_error(rule, test::object({}), whole),
              HasSubstr("it is I32; expected factors of BF16, F16 or F32"));
}

TEST(AnyFunction, LooksAtEveryTensorBeforeTheRule) {
  Checkpoint checkpoint;
  checkpoint.add("a.norm", {4}).add("b.7.moe", {4});
  const auto layout = apply(
      "[[rules]]\nadd = \"{*}norm\"\nvalue = 1\nwhen = \"any('b.{#}.moe')\"\n"
      "[[rules]]\nrename = \"b.{l#}.moe\"\nto = \"b.{l}.mlp\"\n"
      "[[rules]]\nadd = \"{*}norm\"\nvalue = 1\nwhen = \"any('b.{#}.moe')\"\n",
      test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  const std::string text = tensors::describe(*find(*layout, "a.norm"));
  EXPECT_THAT(text, HasSubstr("add 1"));
  EXPECT_EQ(text.find("add 1"), text.rfind("add 1"));
}

TEST(Modules, StandAtTheirBlockAndAtTwoPlaces) {
  Checkpoint checkpoint;
  checkpoint.add("l.0.alpha", {4})
      .add("l.0.o", {4})
      .add("l.0.g", {4})
      .add("l.1.alpha", {4})
      .add("l.1.o", {4})
      .add("l.1.g", {4});
  const auto layout = apply(
      "[[modules]]\nat = \"l.{i < 2}\"\n"
      "\"\" = { tensors = { alpha = [4], o = [4] }, when = \"i == 0\" }\n"
      "\" #first\" = { tensors = { g = [4] }, when = \"i == 1\" }\n"
      "\" #then\" = { tensors = { alpha = [4], o = [4] }, when = \"i == 1\" }\n"
      "\" #last\" = { tensors = { g = [4] }, when = \"i == 0\" }\n",
      test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  std::vector<std::string> names;
  for (const Module& module : layout->modules) {
    for (const TensorView& view : module.tensors) names.push_back(view.name);
  }
  EXPECT_THAT(names,
              ::testing::ElementsAre("l.0.alpha", "l.0.o", "l.0.g", "l.1.g", "l.1.alpha", "l.1.o"));
}

}  // namespace
}  // namespace mlxmill::architectures

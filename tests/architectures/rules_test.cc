// Each rule on small tensors of distinct numbers, against arrays computed directly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "architectures/declaration.h"
#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using test::apply;
using test::apply_error;
using test::Checkpoint;
using test::element;
using test::find;
using test::Numbers;
using test::parse_error;
using test::with_identity;

Numbers read(const Result<Layout>& layout, const Checkpoint& checkpoint, std::string_view name) {
  if (!layout) {
    ADD_FAILURE() << layout.error().message();
    return {};
  }
  const TensorView* view = test::find(*layout, name);
  if (view) return checkpoint.gather(*view);
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

TEST(DropRule, TellsWhatItDroppedAndWhy) {
  Checkpoint checkpoint;
  checkpoint.add("a.weight", {2}).add("lm_head.weight", {2});
  const char* rule = "[[rules]]\ndrop = \"lm_head.weight\"\nwhen = \"tied\"\nwhy = \"tied\"\n";
  const auto layout = apply(rule, test::object({{"tied", Value(true)}}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  ASSERT_EQ(layout->dropped.size(), 1u);
  EXPECT_EQ(layout->dropped[0].name, "lm_head.weight");
  EXPECT_EQ(layout->dropped[0].reason, "tied");
  EXPECT_EQ(test::find(*layout, "lm_head.weight"), nullptr);
  const auto kept = apply(rule, test::object({{"tied", Value(false)}}), checkpoint);
  ASSERT_TRUE(kept);
  EXPECT_NE(test::find(*kept, "lm_head.weight"), nullptr);
}

TEST(DropRule, SeesCapturesShapeAndDtype) {
  Checkpoint checkpoint;
  checkpoint.add("layers.1.w", {2}).add("layers.2.w", {2}).add("layers.10.w", {2});
  const auto config = test::object({{"n", Value(2)}});
  const auto layout =
      apply("[[rules]]\ndrop = \"{*}layers.{l#}.{*}\"\nwhen = \"l >= n\"\nwhy = \"MTP\"\n", config,
            checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->dropped.size(), 2u);
  const auto by_shape = apply(
      "[[rules]]\ndrop = \"{*}\"\nwhen = \"shape[0] == 2 and dtype == 'BF16'\"\nwhy = \"x\"\n",
      config, checkpoint);
  ASSERT_TRUE(by_shape);
  EXPECT_EQ(by_shape->dropped.size(), 3u);
}

TEST(RefuseRule, StopsWithItsReason) {
  Checkpoint checkpoint;
  checkpoint.add("a.weight_scale_inv", {2});
  EXPECT_EQ(apply_error("[[rules]]\nrefuse = \"{*}_scale_inv\"\nwhy = \"no fp8 yet\"\n",
                        test::object({}), checkpoint),
            "f.toml:3: tensor \"a.weight_scale_inv\": no fp8 yet");
}

TEST(RenameRule, RenamesAndRefusesCollisions) {
  Checkpoint checkpoint;
  checkpoint.add("h.0.w", {2, 3}).add("model.x", {2});
  const auto layout = apply(
      "[[rules]]\nrename = \"{n*}\"\nto = \"model.{n}\"\nwhen = \"not starts_with(n, 'model.')\"\n",
      test::object({}), checkpoint);
  EXPECT_EQ(read(layout, checkpoint, "model.h.0.w"), checkpoint["h.0.w"]);
  EXPECT_EQ(read(layout, checkpoint, "model.x"), checkpoint["model.x"]);
  EXPECT_EQ(
      apply_error("[[rules]]\nrename = \"{*}\"\nto = \"one\"\n", test::object({}), checkpoint),
      "f.toml:3: two tensors have the name \"one\"");
}

TEST(CopyRule, FillsOnlyWhatIsMissing) {
  const char* rule = "[[rules]]\ncopy = \"embed.weight\"\nto = \"head.weight\"\n";
  Checkpoint without;
  without.add("embed.weight", {3, 2});
  EXPECT_EQ(read(apply(rule, test::object({}), without), without, "head.weight"),
            without["embed.weight"]);
  Checkpoint with;
  with.add("embed.weight", {3, 2}).add("head.weight", {3, 2});
  EXPECT_EQ(read(apply(rule, test::object({}), with), with, "head.weight"), with["head.weight"]);
}

const char* const kStack =
    "[[rules]]\nstack = \"l.{l#}.e.{e#}.{p=up|down}\"\nto = \"l.{l}.s.{p}\"\ncount = \"n\"\n";

TEST(StackRule, OrdersSlicesByNumber) {
  Checkpoint checkpoint;
  for (const int e : {10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9}) {
    checkpoint.add("l.0.e." + std::to_string(e) + ".up", {2, 3});
  }
  const auto layout = apply(kStack, test::object({{"n", Value(11)}}), checkpoint);
  const Numbers stacked = read(layout, checkpoint, "l.0.s.up");
  EXPECT_EQ(stacked.shape, (base::Shape{11, 2, 3}));
  Numbers expected{{11, 2, 3}, {}};
  for (int e = 0; e < 11; ++e) {
    const auto& slice = checkpoint["l.0.e." + std::to_string(e) + ".up"].values;
    expected.values.insert(expected.values.end(), slice.begin(), slice.end());
  }
  EXPECT_EQ(stacked, expected);
}

TEST(StackRule, RefusesGapsExtrasAndMixedSlices) {
  const auto config = test::object({{"n", Value(3)}});
  Checkpoint gap;
  gap.add("l.0.e.0.up", {2}).add("l.0.e.2.up", {2});
  EXPECT_EQ(apply_error(kStack, config, gap),
            "f.toml:3: \"l.0.s.up\": slice 1 is missing; expected 3, got 2; is a shard missing?");
  Checkpoint extra;
  extra.add("l.0.e.0.up", {2}).add("l.0.e.1.up", {2}).add("l.0.e.2.up", {2}).add("l.0.e.3.up", {2});
  EXPECT_EQ(apply_error(kStack, config, extra),
            "f.toml:3: \"l.0.s.up\": slice 3 (\"l.0.e.3.up\") is beyond the 3 expected");
  Checkpoint mixed;
  mixed.add("l.0.e.0.up", {2}).add("l.0.e.1.up", {3}).add("l.0.e.2.up", {2});
  EXPECT_EQ(
      apply_error(kStack, config, mixed),
      "f.toml:3: \"l.0.s.up\": tensor \"l.0.e.1.up\": it is BF16 [3]; expected BF16 [2] as in "
      "\"l.0.e.0.up\"");
  Checkpoint dtypes;
  dtypes.add("l.0.e.0.up", {2}).add("l.0.e.1.up", {2}, DType::kF32).add("l.0.e.2.up", {2});
  EXPECT_NE(apply_error(kStack, config, dtypes).find("it is F32 [2]; expected BF16 [2]"),
            std::string::npos);
  // Hostile counts must not be allocated.
  EXPECT_NE(apply_error(kStack, test::object({{"n", Value(std::int64_t{1} << 60)}}), gap)
                .find("slice 1 is missing"),
            std::string::npos);
}

TEST(SplitRule, CutsByStepAndPartsAndSizes) {
  Checkpoint checkpoint;
  checkpoint.add("x.fused", {4, 6});
  const Numbers& fused = checkpoint["x.fused"];
  const auto steps = apply(
      "[[rules]]\nsplit = \"{m}.fused\"\naxis = -1\nevery = 2\nto = [\"{m}.even\", \"{m}.odd\"]\n",
      test::object({}), checkpoint);
  const Numbers odd = read(steps, checkpoint, "x.odd");
  ASSERT_EQ(odd.shape, (base::Shape{4, 3}));
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 3; ++c) EXPECT_EQ(element(odd, {r, c}), element(fused, {r, 2 * c + 1}));
  }
  const auto parts = apply("[[rules]]\nsplit = \"{m}.fused\"\nparts = 2\nto = \"{m}.part{#}\"\n",
                           test::object({}), checkpoint);
  const Numbers second = read(parts, checkpoint, "x.part1");
  ASSERT_EQ(second.shape, (base::Shape{2, 6}));
  for (int c = 0; c < 6; ++c) EXPECT_EQ(element(second, {1, c}), element(fused, {3, c}));
  const auto sizes = apply(
      "[[rules]]\nsplit = \"{m}.fused\"\naxis = 1\nsizes = [\"q\", 1, 1]\nto = [\"q\", \"k\", "
      "\"v\"]\n",
      test::object({{"q", Value(4)}}), checkpoint);
  EXPECT_EQ(element(read(sizes, checkpoint, "v"), {2, 0}), element(fused, {2, 5}));
  EXPECT_EQ(
      apply_error("[[rules]]\nsplit = \"x.fused\"\nsizes = [1, 2]\nto = [\"a\", \"b\"]\n",
                  test::object({}), checkpoint),
      "f.toml:3: tensor \"x.fused\": its shape [4, 6] does not split into [1, 2] along axis 0");
  EXPECT_EQ(
      apply_error("[[rules]]\nsplit = \"x.fused\"\nparts = 3\nto = \"p{#}\"\n", test::object({}),
                  checkpoint),
      "f.toml:3: tensor \"x.fused\": its shape [4, 6] does not split into [1, 1, 1] along axis "
      "0");
}

TEST(SplitRule, CutsStackedTensorsAcrossTheirPieces) {
  Checkpoint checkpoint;
  for (int e = 0; e < 5; ++e) checkpoint.add("e." + std::to_string(e), {4, 3});
  const std::string stack = "[[rules]]\nstack = \"e.{e#}\"\nto = \"all\"\n";
  const auto outer =
      apply(stack + "[[rules]]\nsplit = \"all\"\nsizes = [1, 3, 1]\nto = [\"a\", \"b\", \"c\"]\n" +
                "[[rules]]\nsplit = \"b\"\naxis = 1\nparts = 2\nto = [\"b.top\", \"b.low\"]\n" +
                "[[rules]]\ntranspose = \"b.low\"\naxes = [0, 2, 1]\n",
            test::object({}), checkpoint);
  const Numbers low = read(outer, checkpoint, "b.low");
  ASSERT_EQ(low.shape, (base::Shape{3, 3, 2}));
  for (int e = 0; e < 3; ++e) {
    const Numbers& source = checkpoint["e." + std::to_string(e + 1)];
    for (int c = 0; c < 3; ++c) {
      for (int r = 0; r < 2; ++r) EXPECT_EQ(element(low, {e, c, r}), element(source, {r + 2, c}));
    }
  }
  const auto strided =
      apply(stack + "[[rules]]\nsplit = \"all\"\nsizes = [1, 4]\nto = [\"a\", \"b\"]\n" +
                "[[rules]]\nsplit = \"b\"\nevery = 2\nto = [\"x\", \"y\"]\n",
            test::object({}), checkpoint);
  EXPECT_EQ(element(read(strided, checkpoint, "x"), {1, 0, 0}), element(checkpoint["e.3"], {0, 0}));
  EXPECT_EQ(element(read(strided, checkpoint, "y"), {1, 0, 0}), element(checkpoint["e.4"], {0, 0}));
}

TEST(TransposeRule, PermutesAxes) {
  Checkpoint checkpoint;
  checkpoint.add("e.0", {2, 3}).add("e.1", {2, 3});
  const auto layout =
      apply("[[rules]]\ntranspose = \"e.0\"\naxes = [1, 0]\n", test::object({}), checkpoint);
  const Numbers turned = read(layout, checkpoint, "e.0");
  ASSERT_EQ(turned.shape, (base::Shape{3, 2}));
  EXPECT_EQ(element(turned, {2, 1}), element(checkpoint["e.0"], {1, 2}));
  const auto moved = apply(
      "[[rules]]\nstack = \"e.{e#}\"\nto = \"all\"\n[[rules]]\ntranspose = \"all\"\n"
      "axes = [1, 0, 2]\n",
      test::object({}), checkpoint);
  const Numbers all = read(moved, checkpoint, "all");
  ASSERT_EQ(all.shape, (base::Shape{2, 2, 3}));
  EXPECT_EQ(element(all, {1, 0, 2}), element(checkpoint["e.0"], {1, 2}));
  EXPECT_EQ(element(all, {0, 1, 2}), element(checkpoint["e.1"], {0, 2}));
  EXPECT_EQ(apply_error("[[rules]]\ntranspose = \"e.0\"\naxes = [0, 2, 1]\n", test::object({}),
                        checkpoint),
            "f.toml:3: tensor \"e.0\": its shape [2, 3] has 2 axes; expected 3");
}

TEST(ReshapeRule, CutsLatentAttentionIntoItsHalves) {
  Checkpoint checkpoint;
  const int heads = 3, nope = 2, v = 4, rank = 5;
  checkpoint.add("kv_b", {heads * (nope + v), rank});
  const auto layout = apply(
      "[[rules]]\nreshape = \"kv_b\"\nshape = [\"heads\", \"nope + v\", -1]\n"
      "[[rules]]\nsplit = \"kv_b\"\naxis = 1\nsizes = [\"nope\", \"v\"]\nto = [\"k\", \"v\"]\n"
      "[[rules]]\ntranspose = \"k\"\naxes = [0, 2, 1]\n",
      test::object({{"heads", Value(heads)}, {"nope", Value(nope)}, {"v", Value(v)}}), checkpoint);
  const Numbers k = read(layout, checkpoint, "k");
  const Numbers out = read(layout, checkpoint, "v");
  ASSERT_EQ(k.shape, (base::Shape{heads, rank, nope}));
  ASSERT_EQ(out.shape, (base::Shape{heads, v, rank}));
  const Numbers& source = checkpoint["kv_b"];
  for (int h = 0; h < heads; ++h) {
    for (int r = 0; r < rank; ++r) {
      for (int d = 0; d < nope; ++d) {
        EXPECT_EQ(element(k, {h, r, d}), element(source, {h * (nope + v) + d, r}));
      }
      for (int d = 0; d < v; ++d) {
        EXPECT_EQ(element(out, {h, d, r}), element(source, {h * (nope + v) + nope + d, r}));
      }
    }
  }
}

TEST(ReshapeRule, TakesPiecesApartWhereOneWindowCannot) {
  // [kv, g + 2, d] cut to [kv, g, d] and read as [kv * g * d]: grouped attention's q out of a fused
  // qkv.
  Checkpoint checkpoint;
  const int kv = 2, g = 3, d = 4, width = 5;
  checkpoint.add("qkv", {kv * (g + 2) * d, width});
  const auto layout = apply(
      "[[rules]]\nreshape = \"qkv\"\nshape = [2, 5, 4, -1]\n"
      "[[rules]]\nsplit = \"qkv\"\naxis = 1\nsizes = [3, 1, 1]\nto = [\"q\", \"k\", \"v\"]\n"
      "[[rules]]\nreshape = [\"q\", \"k\", \"v\"]\nshape = [-1, 5]\n",
      test::object({}), checkpoint);
  const Numbers q = read(layout, checkpoint, "q");
  const Numbers values = read(layout, checkpoint, "v");
  ASSERT_EQ(q.shape, (base::Shape{kv * g * d, width}));
  ASSERT_EQ(values.shape, (base::Shape{kv * d, width}));
  const Numbers& source = checkpoint["qkv"];
  for (int n = 0; n < kv; ++n) {
    for (int r = 0; r < g * d; ++r) {
      EXPECT_EQ(element(q, {n * g * d + r, 1}), element(source, {n * (g + 2) * d + r, 1}));
    }
    for (int r = 0; r < d; ++r) {
      EXPECT_EQ(element(values, {n * d + r, 4}),
                element(source, {(n * (g + 2) + g + 1) * d + r, 4}));
    }
  }
}

TEST(ReshapeRule, ReadsWhatNoWindowHoldsInRowMajorOrder) {
  Checkpoint checkpoint;
  checkpoint.add("w", {4, 6});
  for (const char* shape : {"[24]", "[3, 8]"}) {
    const auto layout =
        apply("[[rules]]\ntranspose = \"w\"\naxes = [1, 0]\n[[rules]]\nreshape = \"w\"\nshape = " +
                  std::string(shape) + "\n",
              test::object({}), checkpoint);
    const Numbers turned = read(layout, checkpoint, "w");
    for (int k = 0; k < 24; ++k) {
      EXPECT_EQ(turned.values.at(static_cast<std::size_t>(k)),
                element(checkpoint["w"], {k % 4, k / 4}));
    }
  }
  EXPECT_EQ(
      apply_error("[[rules]]\nreshape = \"w\"\nshape = [5, -1]\n", test::object({}), checkpoint),
      "f.toml:3: tensor \"w\": its shape [4, 6] does not hold as many elements as [5, 4]");
  EXPECT_EQ(
      apply_error("[[rules]]\nreshape = \"w\"\nshape = [-1, -1]\n", test::object({}), checkpoint),
      "f.toml:3: tensor \"w\": shape has -1; expected extents, one of them may be -1");
}

TEST(SqueezeRule, DropsAxesOfExtentOne) {
  Checkpoint checkpoint;
  checkpoint.add("alpha", {1, 3, 1}).add("one", {1});
  const auto layout =
      apply("[[rules]]\nsqueeze = [\"alpha\", \"one\"]\n", test::object({}), checkpoint);
  EXPECT_EQ(read(layout, checkpoint, "alpha"), (Numbers{{3}, checkpoint["alpha"].values}));
  EXPECT_EQ(read(layout, checkpoint, "one"), (Numbers{{}, checkpoint["one"].values}));
}

TEST(ConcatRule, JoinsPartsInTheOrderOfThePatterns) {
  Checkpoint checkpoint;
  checkpoint.add("a.v", {1, 3}).add("a.q", {2, 3}).add("b.q", {2, 3}).add("b.v", {1, 3});
  const std::string rule = "[[rules]]\nconcat = [\"{m}.q\", \"{m}.v\"]\nto = \"{m}.qv\"\n";
  const auto layout = apply(rule, test::object({}), checkpoint);
  const Numbers joined = read(layout, checkpoint, "a.qv");
  ASSERT_EQ(joined.shape, (base::Shape{3, 3}));
  EXPECT_EQ(element(joined, {1, 2}), element(checkpoint["a.q"], {1, 2}));
  EXPECT_EQ(element(joined, {2, 0}), element(checkpoint["a.v"], {0, 0}));

  Checkpoint half;
  half.add("a.q", {2, 3});
  EXPECT_EQ(apply_error(rule, test::object({}), half),
            "f.toml:3: \"a.qv\": part 2 ({m}.v) is missing; is a shard missing?");
  half.add("a.v", {1, 4});
  EXPECT_EQ(apply_error(rule, test::object({}), half),
            "f.toml:3: \"a.qv\": tensor \"a.v\": it is BF16 [1, 4]; expected BF16 [2, 3] but for "
            "axis 0, as in \"a.q\"");
  EXPECT_EQ(parse_error(with_identity("[[rules]]\nconcat = \"a\"\nto = \"b\"\n")),
            "f.toml:3: concat needs a list of patterns, one for each part in its order");
}

TEST(ConcatRule, JoinsAlongAnyAxis) {
  Checkpoint checkpoint;
  checkpoint.add("a", {2, 3}).add("b", {2, 1});
  const auto layout = apply("[[rules]]\nconcat = [\"a\", \"b\"]\nto = \"c\"\naxis = -1\n",
                            test::object({}), checkpoint);
  const Numbers joined = read(layout, checkpoint, "c");
  ASSERT_EQ(joined.shape, (base::Shape{2, 4}));
  EXPECT_EQ(element(joined, {1, 3}), element(checkpoint["b"], {1, 0}));
  EXPECT_EQ(element(joined, {1, 1}), element(checkpoint["a"], {1, 1}));
}

TEST(ArithmeticRules, ComputeInTheDtypeOfTheTensor) {
  Checkpoint checkpoint;
  checkpoint.add("norm", {4}).add("w", {4, 6});
  const auto layout = apply(
      "[[rules]]\nadd = \"norm\"\nvalue = \"offset\"\n"
      "[[rules]]\nmultiply = \"w\"\nby = \"[2, 0.5]\"\naxis = 0\nsizes = [3, 1]\n"
      "[[rules]]\nnormalize = \"w\"\naxis = -1\nepsilon = 1e-7\n",
      test::object({{"offset", base::Value(1)}}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(tensors::describe(*find(*layout, "norm")).substr(0, 24), "BF16 add 1 -> BF16 [4] (");
  EXPECT_THAT(
      tensors::describe(*find(*layout, "w")),
      ::testing::HasSubstr("normalize 1 1e-07 -> BF16 [4, 6] (BF16 multiply along 0: 2 2 2 0.5"));
}

TEST(ArithmeticRules, RoundOnceWhenAskedTo) {
  Checkpoint checkpoint;
  checkpoint.add("norm.weight", {4}).add("w.weight", {4, 6});
  const auto declaration =
      Declaration::parse(with_identity("[[rules]]\nadd = \"norm.weight\"\nvalue = 1\n"
                                       "[[rules]]\nmultiply = \"w.weight\"\nby = 0.3\n"),
                         "f.toml");
  ASSERT_TRUE(declaration);
  const auto layout = declaration->apply(test::object({}), checkpoint.views(), true);
  ASSERT_TRUE(layout) << layout.error().message();
  const TensorView& norm = *find(*layout, "norm.weight");
  EXPECT_EQ(norm.dtype, DType::kF32);
  EXPECT_TRUE(norm.keeps_dtype);
  const TensorView& w = *find(*layout, "w.weight");
  EXPECT_EQ(w.dtype, DType::kBF16);
  EXPECT_THAT(tensors::describe(w),
              ::testing::StartsWith("BF16 cast -> BF16 [4, 6] (F32 multiply"));
}

TEST(ArithmeticRules, RefuseWhatDoesNotFit) {
  Checkpoint checkpoint;
  checkpoint.add("w", {4, 6}).add("ids", {4}, DType::kI32);
  const auto error = [&](const std::string& rule) {
    return apply_error("[[rules]]\n" + rule, test::object({}), checkpoint);
  };
  EXPECT_EQ(error("add = \"ids\"\nvalue = 1"),
            "f.toml:3: tensor \"ids\": it is I32; expected BF16, F16 or F32");
  EXPECT_EQ(error("add = \"w\"\nvalue = \"'x'\""),
            "f.toml:3: tensor \"w\": \"value\" is a string; expected a number");
  EXPECT_EQ(error("multiply = \"w\"\nby = \"[2]\"\naxis = 0\nsizes = [3]"),
            "f.toml:3: tensor \"w\": \"sizes\" come to 3; expected 4, its extent along axis 0");
  EXPECT_EQ(error("multiply = \"w\"\nby = \"[2]\"\naxis = 0\nsizes = [5]"),
            "f.toml:3: tensor \"w\": factor 0 does not fit axis 0 of [4, 6]");
  EXPECT_EQ(
      error("multiply = \"w\"\nby = 2\naxis = 0"),
      "f.toml:3: multiply needs by = a number, or by = a list of numbers with axis and sizes");
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "[[rules]]\nadd = \"w\"\nvalue = 1\n";
  EXPECT_EQ(apply_error(deep, test::object({}), checkpoint),
            "f.toml:99: tensor \"w\": more than 32 computations lie on top of each other");
}

}  // namespace
}  // namespace mlxmill::architectures

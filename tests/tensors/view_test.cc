// What happens to packed views, and what tells computations apart.
#include "tensors/view.h"

#include <gtest/gtest.h>

#include <set>

#include "base/checked_math.h"

namespace mlxmill::tensors {
namespace {

TensorView stored(std::string name, DType dtype, base::Shape shape, std::size_t index = 0) {
  return *view_of(SourceTensor{std::move(name), dtype, std::move(shape)}, index);
}

/// Weights [..., rows, columns] as 4-bit codes in groups of 32, affine or mxfp4.
TensorView packed(const base::Shape& shape, bool affine = true, std::size_t index = 0) {
  base::Shape codes = shape;
  codes.back() /= 8;
  base::Shape groups = shape;
  groups.back() /= 32;
  const DType scale_type = affine ? DType::kBF16 : DType::kU8;
  std::optional<TensorView> biases;
  if (affine) biases = stored("biases", scale_type, groups, index + 2);
  return packed_view("w",
                     Packed({affine ? Mode::kAffine : Mode::kMxfp4, 4, 32},
                            stored("codes", DType::kU32, codes, index),
                            stored("scales", scale_type, groups, index + 1), std::move(biases)),
                     DType::kBF16);
}

/// "codes scales biases" of a view's packed form, or "decoded".
std::string shapes(const TensorView& view) {
  if (!view.packed) return "decoded";
  const Packed& p = *view.packed;
  // The decoded weights stay the same tensor.
  base::Shape weights = p.scales().shape;
  weights.back() *= p.scheme().group_size;
  EXPECT_EQ(weights, view.shape);
  return base::to_string(p.codes().shape) + " " + base::to_string(p.scales().shape) +
         (p.biases() ? " " + base::to_string(p.biases()->shape) : "");
}

TEST(PackedView, HoldsTheShapeOfItsWeights) {
  const TensorView view = packed({6, 64});
  EXPECT_EQ(view.shape, (base::Shape{6, 64}));
  EXPECT_EQ(view.dtype, DType::kBF16);
  EXPECT_EQ(shapes(view), "[6, 8] [6, 2] [6, 2]");
  EXPECT_EQ(shapes(packed({6, 64}, false)), "[6, 8] [6, 2]");
  EXPECT_EQ(shapes(decoded(view)), "decoded");
  EXPECT_EQ(shapes(gathered(view)), "[6, 8] [6, 2] [6, 2]");
  EXPECT_EQ(depth(view), 1u);
  EXPECT_EQ(depth(gathered(view)), 2u);
  EXPECT_EQ(depth(stored("t", DType::kU8, {4})), 0u);
}

TEST(PackedView, FollowsSlices) {
  const TensorView view = packed({6, 128});
  EXPECT_EQ(shapes(slice(view, 0, 1, 6, 2)), "[3, 16] [3, 4] [3, 4]");
  EXPECT_EQ(shapes(slice(view, 1, 32, 96)), "[6, 8] [6, 2] [6, 2]");
  const TensorView columns = slice(view, 1, 32, 96);
  EXPECT_EQ(columns.packed->codes().pieces[0].offset, 4);
  EXPECT_EQ(columns.packed->scales().pieces[0].offset, 1);
  // Ends inside of a group, and steps over columns, leave only weights.
  EXPECT_EQ(shapes(slice(view, 1, 16, 96)), "decoded");
  EXPECT_EQ(shapes(slice(view, 1, 32, 80)), "decoded");
  EXPECT_EQ(shapes(slice(view, 1, 0, 128, 2)), "decoded");
  EXPECT_EQ(slice(view, 1, 16, 96).shape, (base::Shape{6, 80}));
}

TEST(PackedView, FollowsReshapesThatKeepItsRows) {
  const TensorView view = packed({6, 64});
  EXPECT_EQ(shapes(*reshape(view, {2, 3, 64})), "[2, 3, 8] [2, 3, 2] [2, 3, 2]");
  EXPECT_EQ(shapes(*reshape(view, {3, 128})), "decoded");
  EXPECT_EQ(shapes(*reshape(view, {6, 2, 32})), "decoded");
  EXPECT_EQ(reshape(view, {5, 64}).error().message(),
            "tensor \"w\": its shape [6, 64] does not hold as many elements as [5, 64]");
  EXPECT_FALSE(reshape(view, {6, -64}));
  EXPECT_FALSE(reshape(view, {std::int64_t{1} << 62, std::int64_t{1} << 62}));
}

TEST(PackedView, FollowsTransposesOfOuterAxes) {
  const TensorView view = packed({2, 3, 64});
  const std::size_t outer[] = {1, 0, 2};
  const std::size_t inner[] = {0, 2, 1};
  EXPECT_EQ(shapes(*transpose(view, outer)), "[3, 2, 8] [3, 2, 2] [3, 2, 2]");
  EXPECT_EQ(shapes(*transpose(view, inner)), "decoded");
  EXPECT_EQ(transpose(view, inner)->shape, (base::Shape{2, 64, 3}));
  const std::size_t two[] = {1, 0};
  EXPECT_EQ(transpose(view, two).error().message(),
            "tensor \"w\": its shape [2, 3, 64] has 3 axes; expected 2");
}

TEST(PackedView, FollowsStacksAndJoinsOfOneScheme) {
  const TensorView both[] = {packed({6, 64}), packed({6, 64}, true, 3)};
  EXPECT_EQ(shapes(*stack(both)), "[2, 6, 8] [2, 6, 2] [2, 6, 2]");
  EXPECT_EQ(shapes(*concatenate(both, 0)), "[12, 8] [12, 2] [12, 2]");
  EXPECT_EQ(concatenate(both, 0)->packed->codes().pieces[1].source, 3u);
  EXPECT_EQ(shapes(*concatenate(both, 1)), "decoded");
  EXPECT_EQ(concatenate(both, 1)->shape, (base::Shape{6, 128}));
  const TensorView mixed[] = {packed({6, 64}), packed({6, 64}, false, 3)};
  EXPECT_EQ(shapes(*stack(mixed)), "decoded");
  EXPECT_EQ(shapes(*concatenate(mixed, 0)), "decoded");
  const TensorView half[] = {packed({6, 64}), decoded(packed({6, 64}, true, 3))};
  EXPECT_EQ(shapes(*stack(half)), "decoded");
  EXPECT_EQ(shapes(*concatenate(half, 0)), "decoded");
}

TEST(PackedView, LosesItsCodesWhereTheyCannotFollow) {
  const TensorView view = packed({6, 64});
  EXPECT_EQ(shapes(*repeat(view, 0, 2)), "decoded");
  EXPECT_EQ(repeat(view, 0, 2)->shape, (base::Shape{12, 64}));
  EXPECT_EQ(shapes(*bit_cast(view, DType::kU16)), "decoded");
}

TEST(Views, MustBeAlikeToBeJoined) {
  const TensorView a = stored("a", DType::kBF16, {4, 8});
  const TensorView others[][2] = {{a, stored("b", DType::kF16, {4, 8})},
                                  {a, stored("b", DType::kBF16, {4, 9})},
                                  {a, stored("b", DType::kBF16, {4, 8, 1})}};
  EXPECT_EQ(stack(others[0]).error().message(),
            "tensor \"b\": it is F16 [4, 8]; expected BF16 [4, 8] as in \"a\"");
  EXPECT_EQ(stack(others[1]).error().message(),
            "tensor \"b\": it is BF16 [4, 9]; expected BF16 [4, 8] as in \"a\"");
  EXPECT_EQ(concatenate(others[1], 0).error().message(),
            "tensor \"b\": it is BF16 [4, 9]; expected BF16 [4, 8] but for axis 0, as in \"a\"");
  EXPECT_TRUE(concatenate(others[1], 1));
  EXPECT_FALSE(concatenate(others[2], 0));
}

TEST(Views, BitCastsNeedWholeElements) {
  const TensorView bytes = stored("b", DType::kU8, {3, 8});
  EXPECT_EQ(bit_cast(bytes, DType::kU32)->shape, (base::Shape{3, 2}));
  EXPECT_EQ(bit_cast(*bit_cast(bytes, DType::kU64), DType::kU16)->shape, (base::Shape{3, 4}));
  EXPECT_EQ(bit_cast(stored("b", DType::kU8, {8, 3}), DType::kU32).error().message(),
            "tensor \"b\": its rows U8 [8, 3] are no whole number of U32");
  EXPECT_FALSE(bit_cast(stored("b", DType::kU8, {}), DType::kU32));
  // A window that begins within an element has to be gathered.
  EXPECT_EQ(depth(*bit_cast(slice(bytes, 1, 4, 8), DType::kU32)), 0u);
  EXPECT_EQ(depth(*bit_cast(slice(stored("b", DType::kU8, {3, 9}), 1, 1, 5), DType::kU32)), 1u);
}

TEST(Views, AnAbsurdShapeIsNoTensor) {
  EXPECT_FALSE(view_of(SourceTensor{"a", DType::kU8, {-1}}, 0));
  EXPECT_FALSE(view_of(SourceTensor{"a", DType::kU8, {std::int64_t{1} << 62, 4}}, 0));
  EXPECT_FALSE(view_of(SourceTensor{"a", DType::kU8, base::Shape(9, 1)}, 0));
  EXPECT_TRUE(view_of(SourceTensor{"a", DType::kU8, base::Shape(8, 1)}, 0));
  EXPECT_TRUE(view_of(SourceTensor{"a", DType::kU8, {0, std::int64_t{1} << 62}}, 0));
}

TEST(Describe, TellsComputationsApart) {
  const TensorView a = stored("a", DType::kU8, {4, 32}, 0);
  const TensorView b = stored("b", DType::kU8, {4, 32}, 1);
  UnpackCodes forwards{4, {}};
  for (std::size_t k = 0; k < 8; ++k) forwards.order[k] = static_cast<std::uint8_t>(k);
  UnpackCodes backwards{4, {}};
  for (std::size_t k = 0; k < 8; ++k) backwards.order[k] = static_cast<std::uint8_t>(7 - k);
  const Scheme affine{Mode::kAffine, 4, 32};
  const std::vector<Operation> operations = {
      Gathered{},
      Cast{},
      AddConstant{1},
      AddConstant{1.0000000000000002},
      MultiplyConstant{1},
      MultiplyConstant{-0.0},
      MultiplyConstant{0.0},
      MultiplyAlong{0, {1, 2}},
      MultiplyAlong{1, {1, 2}},
      MultiplyAlong{0, {1, 2.0000002f}},
      Normalize{0, 1e-6},
      Normalize{1, 1e-6},
      Normalize{0, 1e-5},
      DecodePacked{affine},
      DecodePacked{{Mode::kAffine, 4, 64}},
      DecodePacked{{Mode::kMxfp4, 4, 32}},
      DecodePacked{affine, true},
      ScaleBlocks{128, 128},
      ScaleBlocks{1, 128},
      ScaleBlocks{128, 1},
      forwards,
      backwards,
      UnpackStream{3},
      UnpackStream{6},
      PackStream{3},
      PackStream{6},
      XorBytes{0x80},
      XorBytes{0x40},
      AddBytes{0x80},
      AddBytes{0x40},
      ShiftBytes{0, 3},
      ShiftBytes{2, 3},
      ShiftBytes{2, 1},
      Reciprocal{},
      MultiplyBy{},
      LogOfNegative{},
      Constant{1},
      Constant{2},
      ZeroToBias{0},
      ZeroToBias{1},
      DecodeGroups{0, true, false},
      DecodeGroups{1, true, false},
      DecodeGroups{0, false, false},
      DecodeGroups{0, true, true},
      DecodeGgml{base::GgmlType::kQ4_0},
      DecodeGgml{base::GgmlType::kQ4_1},
      RepackGgml{base::GgmlType::kQ4_0, affine, RepackGgml::Part::kCodes},
      RepackGgml{base::GgmlType::kQ4_0, affine, RepackGgml::Part::kScales},
      RepackGgml{base::GgmlType::kQ4_0, affine, RepackGgml::Part::kBiases},
      RepackGgml{base::GgmlType::kQ4_1, affine, RepackGgml::Part::kCodes},
  };
  std::set<std::string> seen;
  for (const Operation& operation : operations) {
    const std::string text = describe(Computed{operation, DType::kF16, {4, 32}, {a}});
    EXPECT_TRUE(seen.insert(text).second) << text;
  }
  // What comes out and what goes in count too.
  const std::vector<Computed> others = {
      {Cast{}, DType::kBF16, {4, 32}, {a}},
      {Cast{}, DType::kF16, {128}, {a}},
      {Cast{}, DType::kF16, {4, 32}, {b}},
      {Cast{}, DType::kF16, {4, 32}, {a, a}},
      {Cast{}, DType::kF16, {4, 32}, {*bit_cast(a, DType::kI8)}},
      {Cast{}, DType::kF16, {4, 32}, {gathered(a)}},
      {Cast{}, DType::kF16, {2, 32}, {slice(a, 0, 0, 2)}},
      {Cast{}, DType::kF16, {2, 32}, {slice(a, 0, 1, 3)}},
      {Cast{}, DType::kF16, {2, 32}, {slice(a, 0, 0, 4, 2)}},
  };
  for (const Computed& other : others) {
    const std::string text = describe(other);
    EXPECT_TRUE(seen.insert(text).second) << text;
  }
  // The names of tensors do not.
  EXPECT_EQ(describe(stored("x", DType::kU8, {4}, 3)), describe(stored("y", DType::kU8, {4}, 3)));
}

}  // namespace
}  // namespace mlxmill::tensors

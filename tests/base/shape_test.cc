// Shapes hold few extents themselves and more of them elsewhere: nobody may notice.
#include "base/shape.h"

#include <gtest/gtest.h>

#include <vector>

namespace mlxmill::base {
namespace {

std::vector<std::int64_t> extents(const Shape& shape) { return {shape.begin(), shape.end()}; }

TEST(Shape, HoldsAnyNumberOfExtents) {
  for (std::int64_t n = 0; n < 12; ++n) {
    std::vector<std::int64_t> want;
    Shape grown;
    for (std::int64_t i = 0; i < n; ++i) {
      want.push_back(i * i);
      grown.push_back(i * i);
    }
    EXPECT_EQ(extents(grown), want);
    EXPECT_EQ(extents(Shape(want)), want);
    EXPECT_EQ(extents(Shape(want.begin(), want.end())), want);
    EXPECT_EQ(grown, Shape(want));
    EXPECT_EQ(Shape(static_cast<std::size_t>(n), 7).size(), want.size());
    EXPECT_EQ(grown.empty(), n == 0);
    if (n > 0) {
      EXPECT_EQ(grown.front(), 0);
      EXPECT_EQ(grown.back(), (n - 1) * (n - 1));
    }
  }
}

TEST(Shape, IsCopiedAndMovedBetweenBothPlaces) {
  const Shape few = {1, 2, 3};
  const Shape many = {1, 2, 3, 4, 5};
  for (const Shape& from : {few, many}) {
    for (const Shape& to : {Shape(), few, many}) {
      Shape copy = to;
      copy = from;
      EXPECT_EQ(copy, from);
      const Shape& same = copy;
      copy = same;
      EXPECT_EQ(copy, from);
      Shape moved = to;
      moved = std::move(copy);
      EXPECT_EQ(moved, from);
      const Shape last(std::move(moved));
      EXPECT_EQ(last, from);
    }
  }
  EXPECT_NE(few, many);
  EXPECT_NE(few, (Shape{1, 2, 4}));
}

TEST(Shape, TakesExtentsInTheMiddle) {
  Shape shape = {2, 4};
  shape.insert(shape.begin() + 1, 3);
  EXPECT_EQ(shape, (Shape{2, 3, 4}));
  shape.insert(shape.begin(), 1);
  shape.insert(shape.end(), 5);
  EXPECT_EQ(shape, (Shape{1, 2, 3, 4, 5}));
  EXPECT_EQ(to_string(shape), "[1, 2, 3, 4, 5]");
  shape.resize(2);
  EXPECT_EQ(shape, (Shape{1, 2}));
  shape.resize(6, 9);
  EXPECT_EQ(shape, (Shape{1, 2, 9, 9, 9, 9}));
  shape.assign(shape.rbegin(), shape.rbegin());
  EXPECT_TRUE(shape.empty());
}

}  // namespace
}  // namespace mlxmill::base

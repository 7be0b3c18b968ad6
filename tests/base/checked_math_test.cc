#include "base/checked_math.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace mlxmill::base {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(CheckedMath, RefusesOverflow) {
  EXPECT_EQ(checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_mul(kMax, 1), kMax);
  EXPECT_EQ(checked_mul(0, kMax), 0u);
}

TEST(CheckedMath, CountsElements) {
  EXPECT_EQ(element_count({}), 1u);
  EXPECT_EQ(element_count(std::array<std::int64_t, 3>{2, 3, 4}), 24u);
  EXPECT_EQ(element_count(std::array<std::int64_t, 2>{0, 7}), 0u);
  EXPECT_EQ(element_count(std::array<std::int64_t, 1>{-1}), std::nullopt);
  EXPECT_EQ(
      element_count(std::array<std::int64_t, 2>{std::int64_t{1} << 40, std::int64_t{1} << 40}),
      std::nullopt);
}

TEST(CheckedMath, RoundsUp) {
  EXPECT_EQ(div_ceil(0, 4), 0u);
  EXPECT_EQ(div_ceil(5, 4), 2u);
  EXPECT_EQ(round_up(8, 4), 8u);
  EXPECT_EQ(round_up(9, 4), 12u);
}

}  // namespace
}  // namespace mlxmill::base

#include "evaluate/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mlxmill::evaluate {
namespace {

TEST(Sum, KeepsWhatDoubleLoses) {
  Sum sum;
  sum.add(1);
  sum.add(1e100);
  sum.add(1);
  sum.add(-1e100);
  EXPECT_EQ(sum.value(), 2);
}

TEST(MeanOf, GivesTheStandardErrorOfTheMean) {
  const std::vector<double> values = {1, 2, 3, 4};
  const Estimate mean = mean_of(values);
  EXPECT_DOUBLE_EQ(mean.value, 2.5);
  EXPECT_DOUBLE_EQ(mean.error, std::sqrt(5.0 / 3 / 4));
  EXPECT_EQ(mean_of(std::vector<double>{7}).error, 0);
}

TEST(ShareOf, IsTheBinomialOne) {
  const Estimate share = share_of(3, 10);
  EXPECT_DOUBLE_EQ(share.value, 0.3);
  EXPECT_DOUBLE_EQ(share.error, std::sqrt(0.3 * 0.7 / 9));
}

TEST(Quantiles, InterpolateAsNumpyDoes) {
  const Quantiles q = quantiles_of({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(q.median, 2.5);
  EXPECT_DOUBLE_EQ(q.p90, 3.7);
  EXPECT_EQ(q.min, 1);
  EXPECT_EQ(q.max, 4);
  EXPECT_EQ(quantiles_of({5}).p999, 5);
}

}  // namespace
}  // namespace mlxmill::evaluate

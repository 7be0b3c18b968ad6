#include "kernels/arithmetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace mlxmill::kernels {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(ResidualGate, IsWithinAFewUnitsOfTheFormula) {
  std::vector<float> x;
  for (int i = -400; i <= 400; ++i) x.push_back(static_cast<float>(i) * 0.0713f);
  for (const bool stream : {false, true}) {
    std::vector<float> y = x;
    residual_gate(y.data(), y.size(), 0.3f, 1e-3f, stream);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double w = static_cast<double>(x[i]) / 0.3;
      const double branch = sigmoid(w);
      const double expected =
          stream ? std::sqrt(std::max(sigmoid(-w) * (1 + branch), 1e-3)) : branch;
      EXPECT_NEAR(y[i], expected, 3e-6) << "x = " << x[i] << ", stream " << stream;
    }
  }
}

TEST(ResidualGate, EndsWhereTheExponentialDoes) {
  std::vector<float> x = {1e30f, -1e30f, 0, std::numeric_limits<float>::quiet_NaN()};
  std::vector<float> y = x;
  residual_gate(x.data(), x.size(), 1, 0.25f, false);
  EXPECT_EQ(x[0], 1);
  EXPECT_EQ(x[1], 0);
  EXPECT_EQ(x[2], 0.5f);
  EXPECT_TRUE(std::isnan(x[3]));
  residual_gate(y.data(), y.size(), 1, 0.25f, true);
  EXPECT_EQ(y[0], 0.5f);  // the root of epsilon
  EXPECT_EQ(y[1], 1);
  EXPECT_EQ(y[2], std::sqrt(0.75f));
  EXPECT_TRUE(std::isnan(y[3]));
}

}  // namespace
}  // namespace mlxmill::kernels

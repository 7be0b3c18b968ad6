// Rows as they are kept, and what can still be said of them.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <random>

#include "evaluate/float16.h"
#include "evaluate/position_score.h"
#include "evaluate/reference_row.h"

namespace mlxmill::evaluate {
namespace {

std::vector<float> random_row(std::uint32_t seed, std::size_t n, float spread) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> row(n);
  for (float& x : row) x = normal(generator);
  return row;
}

// KL in long double, by its definition.
double true_kl(const std::vector<float>& p, const std::vector<float>& q) {
  const auto lse = [](const std::vector<float>& x) {
    long double sum = 0;
    for (const float v : x) sum += std::exp(static_cast<long double>(v));
    return std::log(sum);
  };
  const long double a = lse(p);
  const long double b = lse(q);
  long double kl = 0;
  for (std::size_t i = 0; i < p.size(); ++i) kl += std::exp(p[i] - a) * ((p[i] - a) - (q[i] - b));
  return static_cast<double>(kl);
}

PositionScore score_with(ReferenceEncoding kind, std::uint32_t top, const std::vector<float>& p,
                         const std::vector<float>& q, std::uint64_t seed = 1) {
  const auto vocabulary = static_cast<std::int64_t>(p.size());
  const RowEncoding encoding{kind, vocabulary, top, top < p.size() ? kTailSamples : 0};
  Distribution distribution;
  EXPECT_TRUE(distribution.set(p));
  std::vector<std::byte> bytes(row_bytes(encoding));
  encode_row(encoding, distribution, 3, seed, bytes);
  ReferenceRow row;
  const Status decoded = decode_row(encoding, bytes, row);
  EXPECT_TRUE(decoded) << decoded.error().message();
  RowScratch scratch;
  PositionScore score;
  EXPECT_TRUE(score_row(q, 3, row, scratch, score));
  return score;
}

TEST(Rows, TrueDivergenceLiesWithinTheBounds) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const std::size_t n = 50 + seed * 20;
    const float spread = 0.5F + static_cast<float>(seed % 7);
    const std::vector<float> p = random_row(seed, n, spread);
    std::vector<float> q = p;
    const std::vector<float> noise = random_row(seed + 1000, n, 0.01F * static_cast<float>(seed));
    for (std::size_t i = 0; i < n; ++i) q[i] += noise[i];
    const double kl = true_kl(p, q);
    const PositionScore exact = score_with(ReferenceEncoding::kFloat32, 0, p, q);
    EXPECT_NEAR(exact.kl, kl, 1e-12 + 1e-12 * kl);
    for (const std::uint32_t top : {1U, 8U, 40U}) {
      const PositionScore s = score_with(ReferenceEncoding::kTop, top, p, q);
      EXPECT_LE(s.kl_low, kl + 1e-12) << seed << " " << top;
      EXPECT_GE(s.kl_high, kl - 1e-12) << seed << " " << top;
      EXPECT_EQ(s.nll, exact.nll);
      EXPECT_EQ(s.reference_nll, exact.reference_nll);
      EXPECT_EQ(s.common, exact.common);
    }
    const PositionScore half = score_with(ReferenceEncoding::kFloat16, 0, p, q);
    EXPECT_LE(half.kl_low, kl + 1e-12) << seed;
    EXPECT_GE(half.kl_high, kl - 1e-12) << seed;
    EXPECT_LT(half.kl_high - half.kl_low, 0.05 * (1 + kl)) << seed;
  }
}

TEST(Rows, TheSampleOfTheTailIsUnbiased) {
  const std::vector<float> p = random_row(1, 2000, 2);
  std::vector<float> q = p;
  const std::vector<float> noise = random_row(2, 2000, 0.5F);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] += noise[i];
  const double kl = true_kl(p, q);
  double sum = 0;
  double variance = 0;
  constexpr int kDraws = 400;
  for (int seed = 0; seed < kDraws; ++seed) {
    const PositionScore s =
        score_with(ReferenceEncoding::kTop, 20, p, q, static_cast<std::uint64_t>(seed));
    sum += s.kl;
    variance += s.sampling_variance;
  }
  EXPECT_LT(std::fabs(sum / kDraws - kl), 5 * std::sqrt(variance) / kDraws);
  EXPECT_GT(variance, 0);
}

TEST(Rows, AModelAgainstItselfHasNoDivergence) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> p = random_row(seed, 300, 5);
    for (const std::uint32_t top : {1U, 7U, 299U, 300U}) {
      const PositionScore s = score_with(ReferenceEncoding::kTop, top, p, p, seed);
      EXPECT_EQ(s.kl, 0);
      EXPECT_EQ(s.kl_low, 0);
      EXPECT_EQ(s.top, s.reference_top);
      EXPECT_EQ(s.common, 5);
    }
    const PositionScore s = score_with(ReferenceEncoding::kFloat32, 0, p, p);
    EXPECT_EQ(s.kl_high, 0);
  }
}

TEST(Rows, ShiftingAllLogitsChangesNothing) {
  std::vector<float> p = random_row(3, 100, 3);
  for (float& x : p) x = std::round(x * 64) / 64;  // So that the shift is exact.
  std::vector<float> shifted = p;
  for (float& x : shifted) x += 1024;
  const PositionScore s = score_with(ReferenceEncoding::kFloat32, 0, p, shifted);
  EXPECT_NEAR(s.kl, 0, 1e-12);
  EXPECT_NEAR(s.nll, s.reference_nll, 1e-12);
}

TEST(Distribution, RefusesNanAndInfiniteLogits) {
  std::vector<float> row = {1, 2, 3};
  Distribution d;
  row[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(d.set(row).error().message(), "the logit of token 2 is NaN");
  row[2] = 0;
  row[1] = -std::numeric_limits<float>::infinity();
  const Status status = d.set(row);
  EXPECT_EQ(status.error().message(), "the logit of token 1 is infinite");
  EXPECT_EQ(status.error().code(), Code::kNonFinite);
}

TEST(Distribution, TakesTheLargestFloats) {
  const std::vector<float> row = {3e38F, -3e38F, 3e38F};
  Distribution d;
  ASSERT_TRUE(d.set(row));
  EXPECT_DOUBLE_EQ(d.probability(0), 0.5);
  EXPECT_THAT(d.top(), testing::ElementsAre(0, 2, 1, -1, -1));
}

TEST(DecodeRow, RefusesWhatNoDistributionHas) {
  const std::vector<float> p = random_row(1, 30, 2);
  const RowEncoding encoding{ReferenceEncoding::kTop, 30, 4, 2};
  Distribution d;
  ASSERT_TRUE(d.set(p));
  std::vector<std::byte> good(row_bytes(encoding));
  encode_row(encoding, d, 0, 1, good);
  ReferenceRow row;
  ASSERT_TRUE(decode_row(encoding, good, row));
  EXPECT_FALSE(decode_row(encoding, std::span(good).first(good.size() - 1), row));
  int refused = 0;
  for (std::size_t i = 0; i + 4 <= good.size(); i += 4) {
    std::vector<std::byte> bad = good;
    std::fill_n(bad.begin() + static_cast<std::ptrdiff_t>(i), 4, std::byte{0x7F});
    refused += static_cast<int>(!decode_row(encoding, bad, row));
  }
  // Every id, logit and the upper half of every double; lower halves can be anything.
  EXPECT_GE(refused, 5 + 8 + 4 + 3);
}

TEST(Float16, RoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = from_float16(half);
    ASSERT_EQ(to_float16(value), half);
    ASSERT_EQ(to_float16(-value), half | 0x8000U);
    const float middle = (value + from_float16(static_cast<std::uint16_t>(bits + 1))) / 2;
    if (bits + 1 < 0x7C00) {
      ASSERT_EQ(to_float16(middle), half + (half & 1U)) << bits;
    }
  }
  EXPECT_EQ(from_float16(to_float16(1e30F)), 65504);
}

}  // namespace
}  // namespace mlxmill::evaluate

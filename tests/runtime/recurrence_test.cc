// RWKV 7's recurrence: every way to compute it against the formula in doubles.
#include "runtime/recurrence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace mlxmill::runtime {
namespace {

constexpr int kHeads = 2;
constexpr int kSize = 8;

enum class Kind {
  kUsual,
  kStubborn,  ///< All tokens remove and add along one key, fully, and nothing decays.
  kFading,    ///< Everything decays as fast as it can.
};

/// Inputs [heads, tokens, size], and what the formula makes of them.
struct Case {
  std::vector<float> r, w_log, k, v, a, b;
  std::vector<double> state, y;

  Case(int tokens, Kind kind) {
    std::mt19937 random(static_cast<std::uint32_t>(tokens));
    std::normal_distribution<float> normal;
    state.resize(kHeads * kSize * kSize);
    for (double& s : state) s = normal(random);
    first = std::vector<float>(state.begin(), state.end());
    state.assign(first.begin(), first.end());
    y.resize(static_cast<std::size_t>(kHeads * tokens * kSize));
    for (int h = 0; h < kHeads; ++h) {
      for (int t = 0; t < tokens; ++t) add_token(t == 0 || kind != Kind::kStubborn, kind, random);
    }
    for (int h = 0; h < kHeads; ++h) {
      for (int t = 0; t < tokens; ++t) step(h, h * tokens + t);
    }
  }

  mx::array array(const std::vector<float>& x) const {
    return mx::array(x.begin(), {kHeads, static_cast<int>(x.size()) / kHeads / kSize, kSize},
                     mx::float32);
  }
  Recurrence input() const {
    return {array(r), array(w_log), array(k), array(v), array(a), array(b)};
  }
  mx::array first_state() const {
    return mx::array(first.begin(), {kHeads, kSize, kSize}, mx::float32);
  }

  std::vector<float> first;

 private:
  void add_token(bool new_key, Kind kind, std::mt19937& random) {
    std::normal_distribution<float> normal;
    if (new_key) {
      key_.clear();
      float sum = 0;
      for (int i = 0; i < kSize; ++i) {
        key_.push_back(normal(random));
        sum += key_.back() * key_.back();
      }
      for (float& x : key_) x /= std::sqrt(sum);
    }
    for (int i = 0; i < kSize; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float share = kind == Kind::kStubborn ? 1.0F : 1 / (1 + std::exp(-normal(random)));
      const float rate = kind == Kind::kFading ? 1.0F : 1 / (1 + std::exp(-normal(random)));
      r.push_back(normal(random));
      w_log.push_back(kind == Kind::kStubborn ? 0.0F : -0.606531F * rate);
      k.push_back(normal(random));
      v.push_back(normal(random));
      a.push_back(-key_[at]);
      b.push_back(key_[at] * share);
    }
  }

  /// state = state diag(w) + (state a) b^T + v k^T, y = state r.
  void step(int head, int token) {
    const auto at = [&](const std::vector<float>& x, int i) {
      return double{x[static_cast<std::size_t>(token * kSize + i)]};
    };
    for (int i = 0; i < kSize; ++i) {
      double* row = state.data() + (head * kSize + i) * kSize;
      double removed = 0;
      for (int j = 0; j < kSize; ++j) removed += row[j] * at(a, j);
      double out = 0;
      for (int j = 0; j < kSize; ++j) {
        row[j] = row[j] * std::exp(at(w_log, j)) + removed * at(b, j) + at(v, i) * at(k, j);
        out += row[j] * at(r, j);
      }
      y[static_cast<std::size_t>(token * kSize + i)] = out;
    }
  }

  std::vector<float> key_;
};

void expect_close(const mx::array& got, const std::vector<double>& want, double tolerance) {
  const mx::array dense = mx::contiguous(got);
  mx::eval(dense);
  ASSERT_EQ(dense.size(), want.size());
  double largest = 0;
  for (const double x : want) largest = std::max(largest, std::abs(x));
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(dense.data<float>()[i], want[i], tolerance * largest) << i;
  }
}

using Recur = mx::array (*)(const Recurrence&, mx::array&);

class RecurrenceBy : public ::testing::TestWithParam<Recur> {};

TEST_P(RecurrenceBy, FollowsTheFormulaAtAnyLength) {
  for (const int tokens : {1, 2, 5, 15, 16, 17, 32, 50}) {
    for (const Kind kind : {Kind::kUsual, Kind::kStubborn, Kind::kFading}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, kind " << static_cast<int>(kind));
      const Case c(tokens, kind);
      mx::array state = c.first_state();
      const mx::array y = GetParam()(c.input(), state);
      expect_close(y, c.y, 3e-6);
      expect_close(state, c.state, 3e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, RecurrenceBy, ::testing::Values(recur_by_token, recur_by_chunks));

}  // namespace
}  // namespace mlxmill::runtime

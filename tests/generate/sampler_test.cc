#include "generate/sampler.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "python.h"
#include "temp_folder.h"

namespace mlxmill::generate {
namespace {

using testing::python_with;
using testing::run_python;
using testing::TempFolder;

constexpr int kSize = 500;

Sampler sampler(SamplingOptions options, int size = kSize) {
  Result<Sampler> made = Sampler::create(std::move(options), size);
  EXPECT_TRUE(made) << made.error().message();
  return *std::move(made);
}

std::vector<float> floats(const std::filesystem::path& path) {
  const std::string bytes = testing::read_file(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

SamplingOptions nucleus(double p) {
  SamplingOptions options;
  options.top_p = p;
  return options;
}

SamplingOptions least(double p, int kept, double top_p = 0) {
  SamplingOptions options;
  options.min_p = p;
  options.min_tokens_to_keep = kept;
  options.top_p = top_p;
  return options;
}

SamplingOptions with(Penalties penalties, std::vector<std::pair<int, double>> bias = {}) {
  SamplingOptions options;
  options.penalties = penalties;
  options.logit_bias = std::move(bias);
  return options;
}

std::vector<int> history() {
  std::vector<int> tokens = {3, 3, 7, 7, 7, 9, 11};
  for (int token = 40; token < 60; ++token) tokens.push_back(token);
  tokens.insert(tokens.end(), {7, 3});
  return tokens;
}

TEST(Sampler, FiltersAndPenaltiesAreThoseOfMlxLm) {
  const std::string python = python_with("import mlx_lm.sample_utils");
  if (python.empty()) GTEST_SKIP() << "MLXMILL_PYTHON names no interpreter with mlx-lm";
  const TempFolder folder;
  ASSERT_TRUE(run_python(
      python, {MLXMILL_SOURCE_DIR "/tests/generate/sampling_oracle.py", folder.path().string()}));
  // In the order of CASES in sampling_oracle.py.
  const std::vector<SamplingOptions> cases = {
      nucleus(0.9),
      nucleus(0.3),
      nucleus(0.001),
      least(0.1, 1),
      least(0.5, 7),
      least(0.05, 1, 0.95),
      with({.repetition = 1.3}),
      with({.repetition = 1.3, .repetition_context = 500}),
      with({.presence = 0.7, .presence_context = 500}),
      with({.frequency = 0.25, .frequency_context = 500}),
      with({.repetition = 0.8, .presence = 0.5, .frequency = 0.5}, {{3, 5.0}, {499, -2.5}}),
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::vector<float> got = floats(folder / fmt::format("{}.in", i));
    const std::vector<float> expected = floats(folder / fmt::format("{}.out", i));
    ASSERT_EQ(got.size(), expected.size());
    Sampler made = sampler(cases[i]);
    if (cases[i].top_p > 0 || cases[i].min_p > 0) {
      to_log_probabilities(got);
      made.filter(got);
    } else {
      made.penalize(got, history());
    }
    int kept = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
      if (std::isinf(expected[k])) {
        EXPECT_EQ(got[k], expected[k]) << "case " << i << " token " << k;
      } else {
        ++kept;
        EXPECT_NEAR(got[k], expected[k], 2e-6 * std::max(1.0F, std::fabs(expected[k])))
            << "case " << i << " token " << k;
      }
    }
    EXPECT_GT(kept, 0);
  }
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
  std::vector<float> logits = {1, 5, 5, 2};
  EXPECT_EQ(*sampler({}, 4).draw(logits), 1);
}

TEST(Sampler, DrawsInProportion) {
  SamplingOptions options;
  options.temperature = 0.5;
  options.seed = 7;
  Sampler made = sampler(options, 3);
  std::map<int, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    // Probabilities 1/2, 1/3, 1/6; squared at temperature 1/2: 9/14, 4/14, 1/14.
    std::vector<float> logits = {std::log(3.0F), std::log(2.0F), std::log(1.0F)};
    ++counts[*made.draw(logits)];
  }
  // Four standard deviations.
  EXPECT_NEAR(counts[0], kDraws * 9 / 14, 4 * std::sqrt(kDraws * 9 / 14.0 * 5 / 14));
  EXPECT_NEAR(counts[1], kDraws * 4 / 14, 4 * std::sqrt(kDraws * 4 / 14.0 * 10 / 14));
  EXPECT_NEAR(counts[2], kDraws / 14, 4 * std::sqrt(kDraws / 14.0 * 13 / 14));
}

TEST(Sampler, TheSameSeedDrawsTheSame) {
  SamplingOptions options;
  options.temperature = 1;
  options.seed = 3;
  const auto tokens = [&] {
    Sampler made = sampler(options, 50);
    std::vector<int> drawn;
    for (int i = 0; i < 20; ++i) {
      std::vector<float> logits(50, 0.0F);
      drawn.push_back(*made.draw(logits));
    }
    return drawn;
  };
  const std::vector<int> first = tokens();
  EXPECT_EQ(first, tokens());
  // The top 53 bits of the 64-bit Mersenne Twister's numbers, as fractions of 50.
  EXPECT_THAT(std::vector<int>(first.begin(), first.begin() + 5),
              ::testing::ElementsAre(27, 9, 29, 17, 27));
  options.seed = 4;
  EXPECT_NE(first, tokens());
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  SamplingOptions options;
  options.temperature = 100;
  options.top_k = 2;
  Sampler made = sampler(options, 5);
  for (int i = 0; i < 200; ++i) {
    std::vector<float> logits = {1, 4, 2, 4, 4};
    EXPECT_THAT(*made.draw(logits), ::testing::AnyOf(1, 3));
  }
}

TEST(Sampler, XtcLeavesOutAllButTheLeastOfTheTopChoices) {
  SamplingOptions options;
  options.temperature = 1;
  options.xtc_probability = 1;
  options.xtc_threshold = 0.1;
  const auto drawn = [](Sampler made) {
    std::map<int, int> counts;
    for (int i = 0; i < 500; ++i) {
      std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.15F),
                                   std::log(0.05F)};
      ++counts[*made.draw(logits)];
    }
    return counts;
  };
  std::map<int, int> counts = drawn(sampler(options, 4));
  EXPECT_EQ(counts[0] + counts[1], 0);
  EXPECT_GT(counts[2], 0);
  EXPECT_GT(counts[3], 0);
  options.xtc_special_tokens = {0};
  counts = drawn(sampler(options, 4));
  EXPECT_GT(counts[0], 0);
  EXPECT_EQ(counts[1], 0);
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  std::vector<float> logits = {1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_EQ(sampler({}, 2).draw(logits).error().what(), "logit of token 1 is NaN");
  logits.assign(2, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(sampler({}, 2).draw(logits).error().what(), "no logit is finite");
}

std::string refusal(const SamplingOptions& options) {
  const Result<Sampler> made = Sampler::create(options, 10);
  return made ? "" : made.error().message();
}

TEST(Sampler, NamesTheFlagThatIsWrong) {
  SamplingOptions options;
  options.temperature = -1;
  EXPECT_EQ(refusal(options), "--temp: expected a number of at least 0, got -1");
  options = nucleus(1.5);
  EXPECT_EQ(refusal(options), "--top-p: expected a number from 0 to 1, got 1.5");
  options = nucleus(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(refusal(options), "--top-p: expected a number from 0 to 1, got nan");
  options = {};
  options.xtc_threshold = 0.6;
  EXPECT_EQ(refusal(options), "--xtc-threshold: expected a number from 0 to 0.5, got 0.6");
  options = {};
  options.top_k = -2;
  EXPECT_EQ(refusal(options), "--top-k: expected at least 0, got -2");
  EXPECT_EQ(refusal(with({}, {{10, 1.0}})), "--logit-bias: expected tokens from 0 to 9, got 10");
  EXPECT_EQ(refusal(with({.repetition = -1})),
            "--repetition-penalty: expected a number of at least 0, got -1");
}

}  // namespace
}  // namespace mlxmill::generate

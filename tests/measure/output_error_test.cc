// Errors of outputs, by hand and against plain loops.
#include "measure/output_error.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace mlxmill::measure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModuleInput input_of(const std::vector<float>& values, std::size_t columns,
                     std::vector<std::uint32_t> matrices = {}) {
  auto rows = std::make_shared<InputRows>();
  rows->dtype = DType::kF32;
  rows->columns = columns;
  rows->values.resize(values.size() * sizeof(float));
  std::memcpy(rows->values.data(), values.data(), rows->values.size());
  return {"module", std::move(rows), std::move(matrices)};
}

std::vector<float> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(engine);
  return values;
}

TEST(OutputError, ByHand) {
  base::ThreadPool pool(1);
  // W = [[1, 2], [3, 4]], W' = [[1, 2], [3, 5]], x = (1, 1) and (2, 0): W x = (3, 7) and (2, 6),
  // and W' x differs by (0, 1) and (0, 0).
  auto error = OutputError::make(std::vector{input_of({1, 1}, 2), input_of({2, 0}, 2)}, {1, 2, 2});
  ASSERT_TRUE(error) << error.error().message();
  error->add(0, std::vector<float>{1, 2, 3, 5}, std::vector<float>{1, 2, 3, 4}, pool);
  ASSERT_TRUE(error->total());
  EXPECT_DOUBLE_EQ(*error->total(), std::sqrt(1.0 / (9 + 49 + 4 + 36)));
}

TEST(OutputError, AMatrixThatNoRowMetHasNone) {
  base::ThreadPool pool(1);
  // Three matrices [1, 2]. Row (1, 0) meets the first and the third, row (0, 1) the third and the
  // first.
  const std::vector inputs = {input_of({1, 0, 0, 1}, 2, {0, 2, 2, 0})};
  auto error = OutputError::make(inputs, {3, 1, 2});
  ASSERT_TRUE(error) << error.error().message();
  const std::vector<float> reference = {3, 4, 5, 6, 8, 6};
  const std::vector<float> candidate = {3, 5, 9, 9, 8, 6};
  // Ranges may begin and end anywhere between rows.
  error->add(2, std::span(candidate).subspan(4), std::span(reference).subspan(4), pool);
  error->add(0, std::span(candidate).first(4), std::span(reference).first(4), pool);
  EXPECT_THAT(error->each(), ElementsAre(std::optional(0.2), std::nullopt, std::optional(0.0)));
  EXPECT_DOUBLE_EQ(*error->total(), std::sqrt(1.0 / (25 + 100)));

  const auto unmet = OutputError::make({}, {2, 1, 2});
  ASSERT_TRUE(unmet);
  EXPECT_FALSE(unmet->total());
  EXPECT_THAT(unmet->each(), ElementsAre(std::nullopt, std::nullopt));
}

TEST(OutputError, AgreesWithPlainLoopsHoweverRangesAreCut) {
  constexpr std::size_t kMatrices = 3, kRows = 37, kColumns = 96, kTokens = 21;
  const auto x = random_floats(kTokens * kColumns, 1);
  const auto reference = random_floats(kMatrices * kRows * kColumns, 2);
  auto candidate = random_floats(reference.size(), 3);
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    candidate[i] = reference[i] + 0.01F * candidate[i];
  }
  double difference = 0;
  double size = 0;
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t row = 0; row < kMatrices * kRows; ++row) {
      double d = 0;
      double y = 0;
      for (std::size_t k = 0; k < kColumns; ++k) {
        const std::size_t at = row * kColumns + k;
        d += double{x[t * kColumns + k]} * (double{candidate[at]} - double{reference[at]});
        y += double{x[t * kColumns + k]} * double{reference[at]};
      }
      difference += d * d;
      size += y * y;
    }
  }
  base::ThreadPool pool(2);
  for (const std::size_t step : {std::size_t{1}, std::size_t{16}, kRows, kMatrices * kRows}) {
    // No matrices named: every row meets all of them.
    auto error =
        OutputError::make(std::vector{input_of(x, kColumns)}, {kMatrices, kRows, kColumns});
    ASSERT_TRUE(error);
    for (std::size_t row = 0; row < kMatrices * kRows; row += step) {
      const std::size_t n = std::min(step, kMatrices * kRows - row) * kColumns;
      error->add(row, std::span(candidate).subspan(row * kColumns, n),
                 std::span(reference).subspan(row * kColumns, n), pool);
    }
    EXPECT_NEAR(*error->total() / std::sqrt(difference / size), 1, 1e-5) << "rows " << step;
  }
}

TEST(OutputError, HalfPrecisionInputsAreReadAsTheyAre) {
  base::ThreadPool pool(1);
  auto rows = std::make_shared<InputRows>();
  rows->dtype = DType::kBF16;
  rows->columns = 2;
  for (const std::uint16_t bits : {0x4040, 0xBF80}) {  // 3 and -1.
    rows->values.push_back(static_cast<std::byte>(bits & 0xFF));
    rows->values.push_back(static_cast<std::byte>(bits >> 8));
  }
  auto error = OutputError::make(std::vector{ModuleInput{"module", rows, {}}}, {1, 1, 2});
  ASSERT_TRUE(error);
  error->add(0, std::vector<float>{1, 2}, std::vector<float>{1, 1}, pool);
  EXPECT_DOUBLE_EQ(*error->total(), 0.5);  // |-1| / |3 - 1|
}

TEST(OutputError, OutputsBeyondAllNumbersAreNoError) {
  base::ThreadPool pool(1);
  auto error = OutputError::make(
      std::vector{input_of({std::numeric_limits<float>::infinity(), 1}, 2)}, {1, 1, 2});
  ASSERT_TRUE(error);
  error->add(0, std::vector<float>{1, 2}, std::vector<float>{1, 1}, pool);
  EXPECT_FALSE(error->total());
}

TEST(OutputError, RefusesInputsOfOtherShapes) {
  const auto narrow = OutputError::make(std::vector{input_of({1, 2, 3}, 3)}, {1, 2, 2});
  ASSERT_FALSE(narrow);
  EXPECT_EQ(narrow.error().code(), Code::kInternal);
  EXPECT_THAT(narrow.error().message(), HasSubstr("rows of 3 numbers"));
  const auto uneven = OutputError::make(std::vector{input_of({1, 2, 3, 4}, 2, {0})}, {2, 1, 2});
  EXPECT_FALSE(uneven);
  const auto beyond = OutputError::make(std::vector{input_of({1, 2}, 2, {2})}, {2, 1, 2});
  ASSERT_FALSE(beyond);
  EXPECT_THAT(beyond.error().message(), HasSubstr("a row met matrix 2 of 2"));
}

}  // namespace
}  // namespace mlxmill::measure

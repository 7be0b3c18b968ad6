#include <gtest/gtest.h>

#include "mlxmill/result.h"
#include "mlxmill/scheme.h"

namespace mlxmill {
namespace {

Result<int> half(int n) {
  if (n % 2) return Error(Code::kUsage, "is odd").at("number").hint("try an even one");
  return n / 2;
}

Result<int> quarter(int n) {
  MLXMILL_ASSIGN(const int once, half(n));
  Result<int> twice = half(once);
  if (!twice) return std::move(twice).error().at("second step");
  return twice;
}

Status check(int n) {
  MLXMILL_TRY(half(n));
  return {};
}

TEST(Error, PrintsWhereWhatAndHint) {
  EXPECT_EQ(half(3).error().message(), "number: is odd; try an even one");
  EXPECT_EQ(Error(Code::kIo, "plain").message(), "plain");
}

TEST(Error, ContextGrowsOutwards) {
  EXPECT_EQ(quarter(6).error().message(), "second step: number: is odd; try an even one");
}

TEST(Error, FirstHintStays) {
  EXPECT_EQ(Error(Code::kIo, "x").hint("first").hint("second").hint(), "first");
}

TEST(Result, CarriesValueOrError) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_FALSE(quarter(1));
  EXPECT_TRUE(check(2).ok());
  EXPECT_EQ(check(1).error().code(), Code::kUsage);
}

TEST(Scheme, FillsInTheModesDefaults) {
  EXPECT_EQ(*make_scheme(Mode::kAffine, {}, {}), (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_EQ(*make_scheme(Mode::kMxfp4, {}, {}), (Scheme{Mode::kMxfp4, 4, 32}));
  EXPECT_EQ(*make_scheme(Mode::kNvfp4, {}, {}), (Scheme{Mode::kNvfp4, 4, 16}));
  EXPECT_EQ(*make_scheme(Mode::kMxfp8, {}, {}), (Scheme{Mode::kMxfp8, 8, 32}));
}

TEST(Scheme, RefusesWhatLibmlxCannotHold) {
  EXPECT_EQ(make_scheme(Mode::kAffine, 7, {}).error().message(),
            "affine quantization has no bit width 7; expected 2, 3, 4, 5, 6, 8");
  EXPECT_EQ(make_scheme(Mode::kNvfp4, 4, 32).error().message(),
            "nvfp4 quantization has no group size 32; expected 16");
  EXPECT_EQ(make_scheme(Mode::kAffine, 4, 48).error().code(), Code::kUsage);
}

TEST(Scheme, DescribesItself) {
  EXPECT_EQ(describe({Mode::kAffine, 3, 128}), "affine 3-bit, groups of 128");
  EXPECT_EQ(describe({Mode::kMxfp8, 8, 32}), "mxfp8");
}

}  // namespace
}  // namespace mlxmill

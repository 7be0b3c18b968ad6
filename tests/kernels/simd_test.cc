#include "mlxmill/simd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/kernels.h"

namespace mlxmill {
namespace {

TEST(Simd, SupportedTargetsAreCompiled) {
  EXPECT_FALSE(supported_simd_targets().empty());
  EXPECT_THAT(compiled_simd_targets(), testing::IsSupersetOf(supported_simd_targets()));
}

TEST(Simd, RefusesUnknownTargetAndNamesTheOthers) {
  const Status status = set_simd_target("AVX9");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kUsage);
  EXPECT_THAT(status.error().message(), testing::HasSubstr("AVX9"));
  EXPECT_THAT(status.error().message(), testing::HasSubstr(supported_simd_targets().front()));
}

TEST(Simd, RunsTheTargetItWasSetTo) {
  const float one = 1.0f;
  for (const std::string& name : supported_simd_targets()) {
    ASSERT_TRUE(set_simd_target(name));
    EXPECT_EQ(active_simd_target(), name) << "before a kernel ran";
    EXPECT_EQ(kernels::count_non_finite(&one, DType::kF32, 1), 0u);
    EXPECT_EQ(active_simd_target(), name);
  }
  ASSERT_TRUE(set_simd_target("auto"));
  EXPECT_EQ(kernels::count_non_finite(&one, DType::kF32, 1), 0u);
  EXPECT_EQ(active_simd_target(), supported_simd_targets().front());
}

}  // namespace
}  // namespace mlxmill

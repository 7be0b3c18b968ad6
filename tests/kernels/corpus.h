// Weights, buffers and target selection shared by the kernel tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/active_target.h"
#include "kernels/kernels.h"
#include "kernels/ref/ref.h"
#include "mlxmill/simd.h"

namespace mlxmill::kernels {

inline constexpr DType kFloatTypes[] = {DType::kF16, DType::kBF16, DType::kF32};

/// Every legal scheme.
inline std::vector<Scheme> all_schemes() {
  std::vector<Scheme> schemes = {
      {Mode::kMxfp4, 4, 32}, {Mode::kNvfp4, 4, 16}, {Mode::kMxfp8, 8, 32}};
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) schemes.push_back({Mode::kAffine, bits, group});
  }
  return schemes;
}

inline std::string name_of(const Scheme& scheme, DType type) {
  return "mode " + std::to_string(static_cast<int>(scheme.mode)) + " bits " +
         std::to_string(scheme.bits) + " group " + std::to_string(scheme.group_size) + " " +
         std::string(dtype_name(type));
}

/// `size` bytes that end where their allocation ends, `offset` bytes after where it starts, so a
/// sanitizer sees every byte read or written beyond them.
class ExactBuffer {
 public:
  explicit ExactBuffer(std::size_t size, std::size_t offset = 0)
      : size_(size), offset_(offset), bytes_(new std::uint8_t[size + offset]) {
    std::memset(bytes_.get(), 0xA5, size + offset);
  }
  ExactBuffer(const std::vector<std::uint8_t>& from, std::size_t offset)
      : ExactBuffer(from.size(), offset) {
    if (!from.empty()) std::memcpy(data(), from.data(), from.size());
  }
  std::uint8_t* data() { return bytes_.get() + offset_; }
  const std::uint8_t* data() const { return bytes_.get() + offset_; }
  std::size_t size() const { return size_; }
  friend bool operator==(const ExactBuffer& a, const ExactBuffer& b) {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data(), b.data(), a.size_) == 0);
  }

 private:
  std::size_t size_;
  std::size_t offset_;
  std::unique_ptr<std::uint8_t[]> bytes_;
};

/// Where and how the first difference is, or empty.
inline std::string difference(const ExactBuffer& got, const ExactBuffer& want) {
  if (got == want) return {};
  for (std::size_t i = 0; i < got.size() && i < want.size(); ++i) {
    if (got.data()[i] == want.data()[i]) continue;
    return "byte " + std::to_string(i) + ": got " + std::to_string(got.data()[i]) + ", expected " +
           std::to_string(want.data()[i]);
  }
  return "sizes differ";
}

/// Weights as raw elements of `type`, one group after another, each group probing one thing.
/// `finite` leaves out the groups that hold NaN and infinity.
inline std::vector<std::uint8_t> corpus(DType type, std::size_t group, bool finite) {
  std::mt19937 random(7);
  const auto uniform = [&] { return static_cast<float>(random()) * 0x1p-31f - 1.0f; };
  std::vector<float> w;
  const auto add = [&](auto make) {
    for (std::size_t j = 0; j < group; ++j) w.push_back(make(j));
  };
  for (const float scale :
       {1.0f, 0.02f, 1e-5f, 3e-8f, 1e-12f, 1e-39f, 3e-45f, 6e4f, 1e30f, 3.3e38f}) {
    for (int repeat = 0; repeat < 4; ++repeat) {
      add([&](std::size_t) {  // Close to gaussian.
        return scale * (uniform() + uniform() + uniform()) / 3;
      });
    }
    add([&](std::size_t) { return scale; });
    add([&](std::size_t) { return -scale; });
    add([&](std::size_t) { return scale * std::fabs(uniform()); });
    add([&](std::size_t) { return -scale * std::fabs(uniform()); });
    add([&](std::size_t) { return random() % 2 ? scale : -scale; });
    add([&](std::size_t) { return scale * (1 + uniform() / 256); });
    for (const float top : {3.0f, 7.0f, 15.0f, 31.0f, 63.0f, 255.0f}) {
      add([&](std::size_t j) {  // Quarters of a step: ties.
        const auto quarters = static_cast<float>(random() % static_cast<unsigned>(4 * top + 1));
        return scale * ((j == 0 ? 4 * top : quarters) / 4 - (j == 1 ? top : 0)) / top;
      });
    }
  }
  for (int exponent = -24; exponent < 15; ++exponent) {
    const float unit = std::ldexp(1.0f, exponent);
    add([&](std::size_t j) {  // FP4 midpoints and values.
      const float sign = random() % 2 ? 0.25f : -0.25f;
      return unit * (j == 0 ? 6.0f : sign * static_cast<float>(random() % 25));
    });
    add([&](std::size_t j) {  // E4M3 midpoints and values.
      const auto halves = static_cast<float>(random() % 33) / 2;
      return unit * (j == 0 ? 448.0f : std::ldexp(halves, static_cast<int>(random() % 15) - 9));
    });
  }
  add([&](std::size_t) { return 0.0f; });
  add([&](std::size_t) { return -0.0f; });
  add([&](std::size_t) { return random() % 2 ? 0.0f : -0.0f; });
  for (const float only : {1.0f, -1.0f, 1e-30f, -3.3e38f, 1e-45f}) {
    add([&](std::size_t j) { return j == group / 2 ? only : 0.0f; });
  }
  // The conversions below must not turn a finite weight into infinity.
  const float most = type == DType::kF16 ? 65504.0f : 3.38e38f;
  for (float& x : w) x = std::fmin(std::fmax(x, -most), most);
  if (!finite) {
    const float inf = INFINITY;
    for (const std::size_t at : {std::size_t{0}, group / 2 - 1, group - 1}) {
      for (const float bad : {inf, -inf, NAN, -NAN}) {
        add([&](std::size_t j) { return j == at ? bad : uniform(); });
        add([&](std::size_t j) { return j == at ? bad : 0.0f; });
        add([&](std::size_t) { return uniform(); });
      }
    }
    add([&](std::size_t) { return NAN; });
    add([&](std::size_t) { return inf; });
    add([&](std::size_t j) { return j % 2 ? inf : -inf; });
  }
  std::vector<std::uint8_t> out(w.size() * dtype_bytes(type));
  ref::convert_floats(w.data(), DType::kF32, out.data(), type, w.size());
  // Random bit patterns, infinities and NaNs made finite where asked.
  const std::size_t bytes = dtype_bytes(type);
  for (std::size_t i = 0; i < 97 * group; ++i) {
    std::uint32_t bits = random();
    const std::uint32_t field = type == DType::kF32    ? 0x7F800000u
                                : type == DType::kBF16 ? 0x7F80u
                                                       : 0x7C00u;
    if ((finite || random() % 64 != 0) && (bits & field) == field) bits &= ~(field & (field << 1));
    for (std::size_t b = 0; b < bytes; ++b) out.push_back(static_cast<std::uint8_t>(bits >> 8 * b));
  }
  return out;
}

/// Sets the target named by the parameter for the length of a test, and checks that it ran.
class TargetTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_target(GetParam())); }
  void TearDown() override {
    EXPECT_NE(last_target().load(), 0) << "no kernel ran";
    EXPECT_EQ(active_simd_target(), GetParam());
    ASSERT_TRUE(set_simd_target("auto"));
  }
};

inline std::string target_test_name(const testing::TestParamInfo<std::string>& info) {
  return info.param;
}

#define INSTANTIATE_FOR_TARGETS(suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(Targets, suite, testing::ValuesIn(supported_simd_targets()), \
                           target_test_name)

}  // namespace mlxmill::kernels

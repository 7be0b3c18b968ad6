// Conversion and the non-finite count against the scalar reference, on every target.
#include "kernels/corpus.h"

namespace mlxmill::kernels {
namespace {

class Convert : public TargetTest {};

std::vector<std::uint8_t> all_halves() {
  std::vector<std::uint8_t> bytes;
  for (unsigned h = 0; h < 0x10000; ++h) {
    bytes.push_back(static_cast<std::uint8_t>(h));
    bytes.push_back(static_cast<std::uint8_t>(h >> 8));
  }
  return bytes;
}

/// Every sign, exponent and kept mantissa of both 16-bit types, with what follows at, just below
/// and just above the tie, and random tails.
std::vector<std::uint8_t> telling_floats() {
  std::mt19937 random(3);
  std::vector<std::uint8_t> bytes;
  const auto add = [&](std::uint32_t bits) {
    for (int b = 0; b < 4; ++b) bytes.push_back(static_cast<std::uint8_t>(bits >> 8 * b));
  };
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t tail : {0x0000u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      add(high << 16 | tail);
    add(high << 16 | (random() & 0xFFFF));
    for (const std::uint32_t tail : {0x0FFFu, 0x1000u, 0x1001u}) {
      add(high << 16 | (random() & 0xE000) | tail);
    }
  }
  return bytes;
}

TEST_P(Convert, EveryValueAsReference) {
  for (const DType from : kFloatTypes) {
    const auto bytes = from == DType::kF32 ? telling_floats() : all_halves();
    const std::size_t n = bytes.size() / dtype_bytes(from);
    for (const DType to : kFloatTypes) {
      SCOPED_TRACE(std::string(dtype_name(from)) + " to " + std::string(dtype_name(to)));
      const ExactBuffer src(bytes, 1);
      ExactBuffer got(n * dtype_bytes(to), 3);
      ExactBuffer want(n * dtype_bytes(to));
      convert_floats(src.data(), from, got.data(), to, n);
      ref::convert_floats(src.data(), from, want.data(), to, n);
      EXPECT_EQ(difference(got, want), "");
    }
  }
}

TEST_P(Convert, EveryLength) {
  const auto bytes = telling_floats();
  for (const DType from : kFloatTypes) {
    for (const DType to : kFloatTypes) {
      for (std::size_t n = 0; n < 70; ++n) {
        const ExactBuffer src(
            {bytes.begin(), bytes.begin() + static_cast<long>(n * dtype_bytes(from))}, n % 4);
        ExactBuffer got(n * dtype_bytes(to), n % 3);
        ExactBuffer want(n * dtype_bytes(to));
        convert_floats(src.data(), from, got.data(), to, n);
        ref::convert_floats(src.data(), from, want.data(), to, n);
        ASSERT_EQ(difference(got, want), "") << n;
      }
    }
  }
}

TEST_P(Convert, CountsNonFinite) {
  for (const DType type : kFloatTypes) {
    const auto bytes = type == DType::kF32 ? telling_floats() : all_halves();
    const std::size_t n = bytes.size() / dtype_bytes(type);
    const ExactBuffer src(bytes, 1);
    const std::size_t want = ref::count_non_finite(src.data(), type, n);
    EXPECT_GT(want, 0u);
    EXPECT_EQ(count_non_finite(src.data(), type, n), want);
    for (std::size_t length = 0; length < 140; ++length) {
      const auto end = bytes.end() - static_cast<long>(bytes.size() / 2);
      const ExactBuffer part({end - static_cast<long>(length * dtype_bytes(type)), end},
                             length % 4);
      ASSERT_EQ(count_non_finite(part.data(), type, length),
                ref::count_non_finite(part.data(), type, length));
    }
  }
}

INSTANTIATE_FOR_TARGETS(Convert);

}  // namespace
}  // namespace mlxmill::kernels

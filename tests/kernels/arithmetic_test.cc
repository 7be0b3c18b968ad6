// Tables of 8-bit floats, casts, codes packed and unpacked, residual gates.
#include "kernels/arithmetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/ref/floats.h"

namespace mlxmill::kernels {
namespace {

std::vector<float> table(DType type) {
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<std::uint8_t>(i));
  std::vector<float> values(256);
  to_f32(bytes.data(), type, values.data(), 256);
  return values;
}

/// A number of `mantissa` bits and this exponent bias, before infinities and NaNs.
float small_float(int byte, int mantissa, int bias) {
  const int exponent = (byte & 0x7F) >> mantissa;
  const int fraction = byte & ((1 << mantissa) - 1);
  const int whole = exponent == 0 ? fraction : fraction + (1 << mantissa);
  const float value =
      std::ldexp(static_cast<float>(whole), (exponent == 0 ? 1 : exponent) - bias - mantissa);
  return byte & 0x80 ? -value : value;
}

void expect_same(float got, float want, int byte) {
  EXPECT_EQ(ref::bits_of(got), ref::bits_of(want)) << "byte " << byte;
}

TEST(ToF32, E4m3HasNoInfinities) {
  const std::vector<float> values = table(DType::kF8E4M3);
  for (int byte = 0; byte < 256; ++byte) {
    if ((byte & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(values[static_cast<std::size_t>(byte)])) << byte;
    } else {
      expect_same(values[static_cast<std::size_t>(byte)], small_float(byte, 3, 7), byte);
    }
  }
  EXPECT_EQ(values[0x7E], 448);
  EXPECT_EQ(values[1], 0x1p-9f);
}

TEST(ToF32, E5m2HasThem) {
  const std::vector<float> values = table(DType::kF8E5M2);
  for (int byte = 0; byte < 256; ++byte) {
    const float got = values[static_cast<std::size_t>(byte)];
    if ((byte & 0x7F) == 0x7C) {
      expect_same(got, byte & 0x80 ? -INFINITY : INFINITY, byte);
    } else if ((byte & 0x7F) > 0x7C) {
      EXPECT_TRUE(std::isnan(got)) << byte;
    } else {
      expect_same(got, small_float(byte, 2, 15), byte);
    }
  }
  EXPECT_EQ(values[0x7B], 57344);
  EXPECT_EQ(values[1], 0x1p-16f);
}

TEST(ToF32, E8m0IsAPowerOfTwo) {
  const std::vector<float> values = table(DType::kF8E8M0);
  for (int byte = 0; byte < 255; ++byte)
    expect_same(values[static_cast<std::size_t>(byte)], std::ldexp(1.0f, byte - 127), byte);
  EXPECT_TRUE(std::isnan(values[255]));
}

TEST(ToF32, Bytes) {
  const std::vector<float> i8 = table(DType::kI8);
  const std::vector<float> u8 = table(DType::kU8);
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(u8[static_cast<std::size_t>(byte)], static_cast<float>(byte));
    EXPECT_EQ(i8[static_cast<std::size_t>(byte)], static_cast<float>(byte - (byte & 0x80) * 2));
  }
}

template <typename T>
void expect_casts(DType type, const std::vector<T>& values, const std::vector<float>& expected) {
  // At an odd address.
  std::vector<std::uint8_t> bytes(values.size() * sizeof(T) + 1);
  std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
  std::vector<float> got(values.size());
  to_f32(bytes.data() + 1, type, got.data(), got.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(ref::bits_of(got[i]), ref::bits_of(expected[i])) << dtype_name(type) << " " << i;
}

TEST(ToF32, IntegersAndDoublesRoundToNearest) {
  expect_casts<std::int16_t>(DType::kI16, {0, -1, INT16_MIN, INT16_MAX}, {0, -1, -32768, 32767});
  expect_casts<std::uint16_t>(DType::kU16, {0, 65535}, {0, 65535});
  expect_casts<std::int32_t>(DType::kI32, {16777217, 16777219, INT32_MIN, INT32_MAX},
                             {16777216, 16777220, -0x1p31f, 0x1p31f});
  expect_casts<std::uint32_t>(DType::kU32, {16777217, UINT32_MAX}, {16777216, 0x1p32f});
  expect_casts<std::int64_t>(DType::kI64, {-16777217, INT64_MIN, INT64_MAX},
                             {-16777216, -0x1p63f, 0x1p63f});
  expect_casts<std::uint64_t>(DType::kU64, {0, UINT64_MAX}, {0, 0x1p64f});
  expect_casts<double>(DType::kF64, {0.1, 1e300, -0.0, 0x1p-150, 0x1.000001p0},
                       {0.1f, INFINITY, -0.0f, 0, 1});
}

TEST(IsNumber, EveryTypeButBool) {
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(is_number(static_cast<DType>(i)), static_cast<DType>(i) != DType::kBool);
}

TEST(AddAndMultiply, RoundTheConstantFirst) {
  // More than one block, and a tail.
  for (const DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
    const std::size_t width = dtype_bytes(type);
    const std::size_t n = 2500;
    std::vector<float> values;
    for (std::size_t i = 0; i < n; ++i) values.push_back(static_cast<float>(i % 250) - 100);
    std::vector<std::uint8_t> sum(n * width);
    for (std::size_t i = 0; i < n; ++i) ref::store(type, values[i], sum.data(), i);
    std::vector<std::uint8_t> product = sum;
    add(sum.data(), type, 0.3f, n);
    multiply(product.data(), type, 0.3f, n);
    const float rounded = ref::round_to(type, 0.3f);
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(ref::load(type, sum.data(), i), ref::round_to(type, values[i] + rounded)) << i;
      ASSERT_EQ(ref::load(type, product.data(), i), ref::round_to(type, values[i] * rounded)) << i;
    }
  }
}

std::vector<std::uint8_t> some_codes(std::size_t n, int bits) {
  std::vector<std::uint8_t> codes;
  std::uint32_t state = 7;
  for (std::size_t i = 0; i < n; ++i) {
    state = state * 1664525 + 1013904223;
    codes.push_back(static_cast<std::uint8_t>((state >> 24) & ((1u << bits) - 1)));
  }
  return codes;
}

TEST(Streams, PackAndUnpackEveryWidth) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const std::size_t n : {0u, 8u, 24u, 256u}) {
      const std::vector<std::uint8_t> codes = some_codes(n, bits);
      std::vector<std::uint8_t> stream(n * static_cast<std::size_t>(bits) / 8 + 1, 0xA5);
      pack_stream(codes.data(), bits, n, stream.data());
      EXPECT_EQ(stream.back(), 0xA5) << "written past the end";
      for (std::size_t bit = 0; bit < n * static_cast<std::size_t>(bits); ++bit) {
        const auto width = static_cast<std::size_t>(bits);
        ASSERT_EQ(stream[bit / 8] >> bit % 8 & 1, codes[bit / width] >> bit % width & 1);
      }
      std::vector<std::uint8_t> back(n + 1, 0x5A);
      unpack_stream(stream.data(), bits, n, back.data());
      EXPECT_EQ(back.back(), 0x5A) << "written past the end";
      back.pop_back();
      EXPECT_EQ(back, codes) << bits;
    }
  }
}

TEST(Words, UnpackInAnyOrder) {
  for (const int bits : {1, 2, 4, 8}) {
    const std::size_t per_word = 32 / static_cast<std::size_t>(bits);
    const std::vector<std::uint8_t> codes = some_codes(4 * per_word, bits);
    std::vector<std::uint8_t> words(16);
    pack_stream(codes.data(), bits, codes.size(), words.data());
    std::vector<std::uint8_t> order;
    for (std::size_t k = 0; k < per_word; ++k)
      order.push_back(static_cast<std::uint8_t>((k * 3 + 1) % per_word));
    std::vector<std::uint8_t> got(codes.size());
    unpack_words(words.data(), 4, bits, order, got.data());
    for (std::size_t i = 0; i < codes.size(); ++i)
      ASSERT_EQ(got[i], codes[i / per_word * per_word + order[i % per_word]]) << bits << " " << i;
  }
}

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

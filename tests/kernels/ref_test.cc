// The scalar reference against values derived by hand.
#include "kernels/ref/ref.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/ref/block_float.h"
#include "kernels/ref/codes.h"
#include "kernels/ref/floats.h"

namespace mlxmill::kernels::ref {
namespace {

using testing::ElementsAre;

struct Result {
  std::vector<unsigned> codes;  // of the values given, not of the padding
  float scale = 0;
  float bias = 0;
  unsigned byte = 0;
};

/// Quantizes one group: `values`, then `fill` up to the group size.
Result quantize_group(const Scheme& scheme, std::vector<float> values, float fill,
                      DType type = DType::kF32) {
  const std::size_t given = values.size();
  values.resize(static_cast<std::size_t>(scheme.group_size), fill);
  std::vector<std::uint8_t> weights(values.size() * 4);
  convert_floats(values.data(), DType::kF32, weights.data(), type, values.size());
  std::vector<std::uint8_t> codes(code_bytes(scheme, values.size()));
  std::uint8_t scale[4] = {};
  std::uint8_t bias[4] = {};
  quantize(scheme, weights.data(), type, values.size(), {codes.data(), scale, bias});
  Result result;
  for (std::size_t i = 0; i < given; ++i) {
    result.codes.push_back(get_code(codes.data(), scheme.bits, i));
  }
  result.byte = scale[0];
  if (scheme.mode == Mode::kAffine) {
    result.scale = load(type, scale, 0);
    result.bias = load(type, bias, 0);
  }
  return result;
}

TEST(RefFloats, RoundsToNearestTiesToEven) {
  EXPECT_EQ(bf16_from_f32(1.0f), 0x3F80);
  EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-8f), 0x3F80);            // tie, even below
  EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-7f + 0x1p-8f), 0x3F82);  // tie, even above
  EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-8f + 0x1p-20f), 0x3F81);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(bf16_from_f32(-NAN), 0x7FC0);
  EXPECT_EQ(f16_from_f32(1.0f + 0x1p-11f), 0x3C00);
  EXPECT_EQ(f16_from_f32(1.0f + 3 * 0x1p-11f), 0x3C02);
  EXPECT_EQ(f16_from_f32(65504.0f), 0x7BFF);
  EXPECT_EQ(f16_from_f32(65519.0f), 0x7BFF);
  EXPECT_EQ(f16_from_f32(-65520.0f), 0xFC00);
  EXPECT_EQ(f16_from_f32(0x1p-24f), 0x0001);
  EXPECT_EQ(f16_from_f32(0x1p-25f), 0x0000);
  EXPECT_EQ(f16_from_f32(-3 * 0x1p-25f), 0x8002);
  EXPECT_EQ(f16_from_f32(NAN), 0x7E00);
}

TEST(RefFloats, SixteenBitValuesSurviveF32) {
  for (unsigned h = 0; h < 0x10000; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float f16 = f32_from_f16(half);
    const float bf16 = f32_from_bf16(half);
    EXPECT_EQ(f16_from_f32(f16), is_nan(f16) ? kQuietNanF16 : half);
    EXPECT_EQ(bf16_from_f32(bf16), is_nan(bf16) ? kQuietNanBF16 : half);
  }
  EXPECT_EQ(f32_from_f16(0x0001), 0x1p-24f);
  EXPECT_EQ(f32_from_f16(0x83FF), -1023 * 0x1p-24f);
  EXPECT_EQ(f32_from_f16(0x3555), 1365 * 0x1p-12f);
  EXPECT_EQ(f32_from_f16(0xFC00), -INFINITY);
}

TEST(RefCodes, AreALittleEndianBitStream) {
  std::uint8_t three[3] = {};
  for (unsigned k = 0; k < 8; ++k) put_code(three, 3, k, k);
  EXPECT_THAT(three, ElementsAre(0x88, 0xC6, 0xFA));  // 0xFAC688 = sum of k << 3k
  std::uint8_t five[5] = {};
  for (unsigned k = 0; k < 8; ++k) put_code(five, 5, k, 31 - k);
  std::uint64_t want = 0;
  for (std::uint64_t k = 0; k < 8; ++k) want |= (31 - k) << 5 * k;
  for (unsigned b = 0; b < 5; ++b) EXPECT_EQ(five[b], want >> 8 * b & 0xFF);
  std::uint8_t six[3] = {};
  for (unsigned k = 0; k < 4; ++k) put_code(six, 6, k, 63 >> k);
  EXPECT_THAT(six, ElementsAre(0xFF, 0xF7, 0x1C));
  std::uint8_t four[4] = {};
  for (unsigned k = 0; k < 8; ++k) put_code(four, 4, k, k);
  EXPECT_THAT(four, ElementsAre(0x10, 0x32, 0x54, 0x76));
  EXPECT_EQ(get_code(six, 6, 2), 15u);
}

TEST(RefAffine, NegativeEdgeIsTheBiasAndTiesGoToEven) {
  // Range [-3, 0], 3 steps of 1; zero is code 3.
  const Result r = quantize_group({Mode::kAffine, 2, 32}, {-3, -2, -1, 0, -2.5, -1.5, -0.5}, 0);
  EXPECT_EQ(r.scale, 1.0f);
  EXPECT_EQ(r.bias, -3.0f);
  EXPECT_THAT(r.codes, ElementsAre(0, 1, 2, 3, 0, 2, 2));
}

TEST(RefAffine, PositiveEdgeMakesTheScaleNegative) {
  const Result r = quantize_group({Mode::kAffine, 2, 32}, {3, 2, 1, 0, 2.5, 1.5, 0.5}, 0);
  EXPECT_EQ(r.scale, -1.0f);
  EXPECT_EQ(r.bias, 3.0f);
  EXPECT_THAT(r.codes, ElementsAre(0, 1, 2, 3, 0, 2, 2));
}

TEST(RefAffine, ZeroWeightsKeepZeroBias) {
  const Result r = quantize_group({Mode::kAffine, 4, 64}, {0, -0.0f}, 0);
  EXPECT_EQ(r.scale, -1e-7f);
  EXPECT_EQ(r.bias, 0.0f);
  EXPECT_THAT(r.codes, ElementsAre(0, 0));
}

TEST(RefAffine, ConstantWeightsAreTheBias) {
  const Result r = quantize_group({Mode::kAffine, 8, 128}, {5, 5}, 5);
  EXPECT_EQ(r.bias, 5.0f);
  EXPECT_THAT(r.codes, ElementsAre(0, 0));
}

TEST(RefAffine, ScaleStretchesSoThatZeroIsACode) {
  // Range [-1, 2], 15 bins: step 0.2, edge 2, q0 = rint(2 / -0.2) = -10, scale 2 / -10.
  const Result r = quantize_group({Mode::kAffine, 4, 32}, {2, -1, 0}, 0);
  EXPECT_EQ(r.scale, 2.0f / -10.0f);
  EXPECT_EQ(r.bias, 2.0f);
  EXPECT_THAT(r.codes, ElementsAre(0, 15, 10));
}

TEST(RefAffine, CodesComeFromTheUnroundedScale) {
  // Range [-1, 0], 255 bins: scale 1/255 is stored as BF16 2^-8, but -1 + 255/255 must be code 255.
  const Result r = quantize_group({Mode::kAffine, 8, 32}, {-1, 0}, 0, DType::kBF16);
  EXPECT_EQ(r.scale, round_to(DType::kBF16, 1.0f / 255.0f));
  EXPECT_THAT(r.codes, ElementsAre(0, 255));
}

TEST(RefAffine, DequantizeRoundsTheProductAndTheSum) {
  // 3 * (1 + 2^-7) = 3 + 3 * 2^-7 rounds to 3 + 2^-5 in BF16 (unit 2^-6); adding 256 (unit 2) loses
  // it.
  const std::uint16_t scale = bf16_from_f32(1.0f + 0x1p-7f);
  const std::uint16_t small = bf16_from_f32(0.0f);
  const std::uint16_t large = bf16_from_f32(256.0f);
  std::uint8_t codes[8];
  std::memset(codes, 0xFF, sizeof(codes));
  std::uint16_t out[32];
  dequantize({Mode::kAffine, 2, 32}, {codes, &scale, &small}, DType::kBF16, 32, out);
  EXPECT_EQ(f32_from_bf16(out[31]), 3.0f + 0x1p-5f);
  dequantize({Mode::kAffine, 2, 32}, {codes, &scale, &large}, DType::kBF16, 32, out);
  EXPECT_EQ(f32_from_bf16(out[0]), 260.0f);
}

TEST(RefBlockFloat, E4M3RoundsToEvenAndSaturates) {
  EXPECT_EQ(fp8_from_f32(1.0f), 0x38);
  EXPECT_EQ(fp8_from_f32(17.0f), 0x58);  // between 16 and 18
  EXPECT_EQ(fp8_from_f32(19.0f), 0x5A);  // between 18 and 20
  EXPECT_EQ(fp8_from_f32(0x1p-9f), 0x01);
  EXPECT_EQ(fp8_from_f32(0x1p-10f), 0x00);
  EXPECT_EQ(fp8_from_f32(-3 * 0x1p-10f), 0x82);
  EXPECT_EQ(fp8_from_f32(-0.0f), 0x80);
  EXPECT_EQ(fp8_from_f32(448.0f), 0x7E);
  EXPECT_EQ(fp8_from_f32(-1e30f), 0xFE);
  for (unsigned byte = 0; byte < 256; ++byte) {
    const float value = f32_from_fp8(static_cast<std::uint8_t>(byte));
    if ((byte & 0x7F) == 0x7F) {
      EXPECT_TRUE(is_nan(value));
    } else {
      EXPECT_EQ(fp8_from_f32(value), byte);
    }
  }
}

TEST(RefBlockFloat, ScaleExponentRoundsUp) {
  EXPECT_EQ(scale_exponent(1.0f), 0);
  EXPECT_EQ(scale_exponent(std::nextafter(1.0f, 2.0f)), 1);
  EXPECT_EQ(scale_exponent(std::nextafter(1.0f, 0.0f)), 0);
  EXPECT_EQ(scale_exponent(0x1p-126f), -126);
  EXPECT_EQ(scale_exponent(0x1p-149f), -149);
  EXPECT_EQ(scale_exponent(3 * 0x1p-149f), -147);
  EXPECT_EQ(scale_exponent(0x1p-126f - 0x1p-149f), -126);
  EXPECT_EQ(scale_exponent(INFINITY), 127);
  for (int e = -149; e < 128; ++e) EXPECT_EQ(power_of_two(e), std::ldexp(1.0f, e));
}

TEST(RefBlockFloat, Mxfp4TiesGoToTheSmallerMagnitude) {
  const Result r =
      quantize_group({Mode::kMxfp4, 4, 32},
                     {6, 0.25, 0.26f, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 5.1f, -0.25, -0.3f, -6}, 0);
  EXPECT_EQ(r.byte, 127u);
  EXPECT_THAT(r.codes, ElementsAre(7, 0, 1, 1, 2, 3, 4, 5, 6, 7, 0, 9, 15));
}

TEST(RefBlockFloat, Mxfp4ScaleLeavesRoomForTheLargest) {
  const Result r = quantize_group({Mode::kMxfp4, 4, 32}, {6.5f, -6.5f, 1}, 0);
  EXPECT_EQ(r.byte, 128u);
  EXPECT_THAT(r.codes, ElementsAre(5, 13, 1));  // 3.25, -3.25, 0.5
}

TEST(RefBlockFloat, ZeroGroups) {
  EXPECT_EQ(quantize_group({Mode::kMxfp4, 4, 32}, {0}, 0).byte, 127u);
  EXPECT_EQ(quantize_group({Mode::kMxfp8, 8, 32}, {0}, 0).byte, 127u);
  EXPECT_EQ(quantize_group({Mode::kNvfp4, 4, 16}, {0}, 0).byte, 0u);
  EXPECT_THAT(quantize_group({Mode::kMxfp8, 8, 32}, {0.0f, -0.0f}, 0).codes, ElementsAre(0, 0x80));
}

TEST(RefBlockFloat, Nvfp4DividesByTheRoundedScale) {
  // 6.3 / 6 = 1.05 is stored as 1 (0x38): the codes come from 6.3 / 1 and 1.3 / 1.
  const Result r = quantize_group({Mode::kNvfp4, 4, 16}, {6.3f, 1.3f, -1.2f}, 0);
  EXPECT_EQ(r.byte, 0x38u);
  EXPECT_THAT(r.codes, ElementsAre(7, 3, 10));
}

TEST(RefBlockFloat, Nvfp4ScaleThatVanishesGivesZeros) {
  const Result r = quantize_group({Mode::kNvfp4, 4, 16}, {1e-4f, -1e-4f}, 0);
  EXPECT_EQ(r.byte, 0u);
  EXPECT_THAT(r.codes, ElementsAre(0, 0));
}

TEST(RefNonFinite, AreCountedAndNanIsCodeZero) {
  for (const Scheme& scheme : {Scheme{Mode::kAffine, 4, 32},
                               {Mode::kMxfp4, 4, 32},
                               {Mode::kNvfp4, 4, 16},
                               {Mode::kMxfp8, 8, 32}}) {
    const Result r = quantize_group(scheme, {NAN, 1, -1}, 0);
    EXPECT_EQ(r.codes[0], 0u);
    EXPECT_NE(r.codes[2], r.codes[1]);
    std::vector<float> w(static_cast<std::size_t>(scheme.group_size), INFINITY);
    w[1] = NAN;
    w[2] = 0;
    std::vector<std::uint8_t> out(256);
    EXPECT_EQ(quantize(scheme, w.data(), DType::kF32, w.size(), {out.data(), &out[128], &out[192]}),
              w.size() - 1);
  }
}

}  // namespace
}  // namespace mlxmill::kernels::ref

// Codecs against the scalar reference, byte for byte, on every target.
#include "kernels/corpus.h"

namespace mlxmill::kernels {
namespace {

class Codec : public TargetTest {};

struct Parts {
  ExactBuffer codes, scales, biases;
  Parts(const Scheme& scheme, DType type, std::size_t n, std::size_t offset)
      : codes(code_bytes(scheme, n), offset),
        scales(parameter_bytes(scheme, type, n), offset),
        biases(scheme.mode == Mode::kAffine ? scales.size() : 0, offset) {}
  static std::size_t parameter_bytes(const Scheme& scheme, DType type, std::size_t n) {
    return n / static_cast<std::size_t>(scheme.group_size) *
           (scheme.mode == Mode::kAffine ? dtype_bytes(type) : 1);
  }
  QuantizedOut out() { return {codes.data(), scales.data(), biases.data()}; }
  QuantizedIn in() const { return {codes.data(), scales.data(), biases.data()}; }
};

void expect_same_quantization(const Scheme& scheme, DType type,
                              const std::vector<std::uint8_t>& weights, std::size_t offset) {
  SCOPED_TRACE(name_of(scheme, type) + " offset " + std::to_string(offset));
  const std::size_t n = weights.size() / dtype_bytes(type);
  const ExactBuffer w(weights, offset);
  Parts got(scheme, type, n, offset);
  Parts want(scheme, type, n, 0);
  EXPECT_EQ(quantize(scheme, w.data(), type, n, got.out()),
            ref::quantize(scheme, w.data(), type, n, want.out()));
  EXPECT_EQ(difference(got.codes, want.codes), "");
  EXPECT_EQ(difference(got.scales, want.scales), "");
  EXPECT_EQ(difference(got.biases, want.biases), "");
}

TEST_P(Codec, QuantizesFiniteWeightsAsReference) {
  for (const Scheme& scheme : all_schemes()) {
    for (const DType type : kFloatTypes) {
      const auto weights = corpus(type, static_cast<std::size_t>(scheme.group_size), true);
      expect_same_quantization(scheme, type, weights, 0);
      expect_same_quantization(scheme, type, weights, 1);
    }
  }
}

TEST_P(Codec, QuantizesAndCountsNonFiniteWeightsAsReference) {
  for (const Scheme& scheme : all_schemes()) {
    for (const DType type : kFloatTypes) {
      const auto weights = corpus(type, static_cast<std::size_t>(scheme.group_size), false);
      const std::size_t n = weights.size() / dtype_bytes(type);
      ASSERT_GT(ref::count_non_finite(weights.data(), type, n), 0u);
      expect_same_quantization(scheme, type, weights, 3);
    }
  }
}

TEST_P(Codec, QuantizesAnyNumberOfGroups) {
  for (const Scheme& scheme : all_schemes()) {
    for (const DType type : kFloatTypes) {
      const auto group = static_cast<std::size_t>(scheme.group_size);
      const auto weights = corpus(type, group, false);
      // Around multiples of the vector length and of the block of 4096 codes.
      for (const std::size_t groups : {0, 1, 2, 3, 5, 7, 8, 9, 15, 17, 31, 33, 63, 65, 127, 129}) {
        const std::size_t bytes = groups * group * dtype_bytes(type);
        ASSERT_LE(bytes, weights.size());
        expect_same_quantization(
            scheme, type, {weights.end() - static_cast<long>(bytes), weights.end()}, groups % 4);
      }
    }
  }
}

void expect_same_weights(const Scheme& scheme, DType type, const Parts& parts, std::size_t n,
                         std::size_t offset) {
  SCOPED_TRACE(name_of(scheme, type) + " offset " + std::to_string(offset));
  ExactBuffer got(n * dtype_bytes(type), offset);
  ExactBuffer want(n * dtype_bytes(type));
  dequantize(scheme, parts.in(), type, n, got.data());
  ref::dequantize(scheme, parts.in(), type, n, want.data());
  EXPECT_EQ(difference(got, want), "");
}

TEST_P(Codec, DequantizesWhatItQuantizedAsReference) {
  for (const Scheme& scheme : all_schemes()) {
    for (const DType type : kFloatTypes) {
      const auto weights = corpus(type, static_cast<std::size_t>(scheme.group_size), true);
      const std::size_t n = weights.size() / dtype_bytes(type);
      Parts parts(scheme, type, n, 1);
      quantize(scheme, weights.data(), type, n, parts.out());
      expect_same_weights(scheme, type, parts, n, 3);
    }
  }
}

// Any code under any scale: subnormal, infinite and NaN ones, negative E4M3, every byte.
TEST_P(Codec, DequantizesArbitraryBytesAsReference) {
  std::mt19937 random(11);
  for (const Scheme& scheme : all_schemes()) {
    for (const DType type : kFloatTypes) {
      for (const std::size_t groups : {1, 7, 300}) {
        const std::size_t n = groups * static_cast<std::size_t>(scheme.group_size);
        Parts parts(scheme, type, n, groups % 2);
        for (ExactBuffer* part : {&parts.codes, &parts.scales, &parts.biases}) {
          for (std::size_t i = 0; i < part->size(); ++i) {
            part->data()[i] = static_cast<std::uint8_t>(random());
          }
        }
        for (std::size_t i = 0; scheme.mode != Mode::kAffine && i < parts.scales.size(); ++i) {
          parts.scales.data()[i] = static_cast<std::uint8_t>(i);
        }
        expect_same_weights(scheme, type, parts, n, 0);
        expect_same_weights(scheme, type, parts, n, 1);
      }
    }
  }
}

INSTANTIATE_FOR_TARGETS(Codec);

}  // namespace
}  // namespace mlxmill::kernels

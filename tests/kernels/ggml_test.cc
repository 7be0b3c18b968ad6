// Blocks of ggml: values worked out by hand, and repacked blocks against decoded ones. The gguf
// package and libmlx are the oracle for all of it in tests/parity/ggml_oracle_test.py.
#include "kernels/ggml.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "kernels/corpus.h"
#include "kernels/ref/floats.h"

namespace mlxmill::kernels {
namespace {

using base::GgmlType;
using ::testing::Each;
using ::testing::ElementsAre;
using Bytes = std::vector<std::uint8_t>;

constexpr GgmlType kRepacked[] = {GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0,
                                  GgmlType::kQ5_1, GgmlType::kQ8_0, GgmlType::kMXFP4,
                                  GgmlType::kNVFP4};

std::vector<GgmlType> all_types() {
  std::vector<GgmlType> types;
  for (const auto& info : base::kGgmlTypes) {
    if (info.block_elements > 0) types.push_back(static_cast<GgmlType>(info.id));
  }
  return types;
}

Bytes random_blocks(GgmlType type, std::size_t n) {
  std::mt19937 random(static_cast<unsigned>(type) + 1);
  Bytes blocks(n * base::ggml_type_info(type).block_bytes);
  for (auto& byte : blocks) byte = static_cast<std::uint8_t>(random());
  return blocks;
}

std::vector<float> decode(GgmlType type, const Bytes& blocks) {
  const base::GgmlTypeInfo& info = base::ggml_type_info(type);
  const std::size_t n = blocks.size() / info.block_bytes;
  std::vector<float> weights(n * info.block_elements, -1);
  decode_ggml(type, blocks.data(), n, weights.data());
  return weights;
}

// A block of zeros but for these bytes.
Bytes block_with(GgmlType type, const std::vector<std::pair<std::size_t, int>>& bytes) {
  Bytes block(base::ggml_type_info(type).block_bytes);
  for (const auto& [at, value] : bytes) block.at(at) = static_cast<std::uint8_t>(value);
  return block;
}

TEST(GgmlTypes, AreKnownOnceAndInOrder) {
  std::set<std::string_view> names;
  std::uint32_t next = 0;
  for (const auto& info : base::kGgmlTypes) {
    EXPECT_EQ(info.id, next++);
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(info.block_elements == 0, info.block_bytes == 0);
    EXPECT_EQ(base::find_ggml_type(info.id), &info);
  }
  EXPECT_EQ(base::find_ggml_type(next), nullptr);
  EXPECT_EQ(base::find_ggml_type(~0u), nullptr);
  EXPECT_EQ(base::ggml_type_info(GgmlType::kIQ2_XXS).name, "IQ2_XXS");
}

TEST(GgmlDecode, DecodesEveryTypeBlockByBlockAtAnyAddress) {
  constexpr std::size_t kBlocks = 37;
  for (const GgmlType type : all_types()) {
    const base::GgmlTypeInfo& info = base::ggml_type_info(type);
    SCOPED_TRACE(info.name);
    const Bytes blocks = random_blocks(type, kBlocks);
    const std::vector<float> all = decode(type, blocks);
    std::vector<float> one(info.block_elements);
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const auto begin = blocks.begin() + static_cast<std::ptrdiff_t>(i * info.block_bytes);
      const ExactBuffer block(Bytes(begin, begin + info.block_bytes), i % 4);
      decode_ggml(type, block.data(), 1, one.data());
      EXPECT_EQ(std::memcmp(one.data(), all.data() + i * one.size(), one.size() * 4), 0) << i;
    }
  }
}

TEST(GgmlDecode, TakesNoBlocks) {
  for (const GgmlType type : all_types()) decode_ggml(type, nullptr, 0, nullptr);
}

TEST(GgmlDecode, MakesNansOne) {
  // A scale that is NaN, and an infinite one times zero.
  for (const int scale : {0xFE, 0x7D, 0x7C}) {
    const auto weights = decode(GgmlType::kQ8_0, block_with(GgmlType::kQ8_0, {{1, scale}}));
    std::vector<std::uint32_t> bits;
    for (const float w : weights) bits.push_back(ref::bits_of(w));
    EXPECT_THAT(bits, Each(ref::kQuietNanF32));
  }
}

TEST(GgmlDecode, DecodesBlocksOf32) {
  // F16: 0x3800 is 0.5, 0x4000 is 2.
  auto w = decode(GgmlType::kQ4_0, block_with(GgmlType::kQ4_0, {{1, 0x38}, {2, 0x9F}}));
  EXPECT_EQ(w[0], 3.5f);
  EXPECT_EQ(w[16], 0.5f);
  EXPECT_EQ(w[1], -4.0f);
  w = decode(GgmlType::kQ4_1, block_with(GgmlType::kQ4_1, {{1, 0x38}, {3, 0x40}, {4, 0x1F}}));
  EXPECT_EQ(w[0], 9.5f);
  EXPECT_EQ(w[16], 2.5f);
  EXPECT_EQ(w[31], 2.0f);
  w = decode(GgmlType::kQ5_0, block_with(GgmlType::kQ5_0, {{1, 0x38}, {4, 0x01}, {6, 0x21}}));
  EXPECT_EQ(w[0], -7.5f);
  EXPECT_EQ(w[16], 1.0f);
  w = decode(GgmlType::kQ8_0, block_with(GgmlType::kQ8_0, {{1, 0x40}, {2, 0x80}, {33, 0x7F}}));
  EXPECT_EQ(w[0], -256.0f);
  EXPECT_EQ(w[31], 254.0f);
  w = decode(GgmlType::kIQ4_NL, block_with(GgmlType::kIQ4_NL, {{1, 0x38}, {2, 0xF0}}));
  EXPECT_EQ(w[0], -63.5f);
  EXPECT_EQ(w[16], 56.5f);
}

TEST(GgmlDecode, DecodesBlocksOf256) {
  // d 1, dmin 0.5; group 0 has scale 3 and minimum 5, group 7 scale 16 + 2 and minimum 32 + 1.
  auto w = decode(GgmlType::kQ4_K, block_with(GgmlType::kQ4_K, {{1, 0x3C},
                                                                {3, 0x38},
                                                                {4, 3},
                                                                {8, 5},
                                                                {7, 0x40},
                                                                {11, 0x80},
                                                                {15, 0x12},
                                                                {16, 0x0F},
                                                                {143, 0x40}}));
  EXPECT_EQ(w[0], 3 * 15 - 2.5f);
  EXPECT_EQ(w[31], -2.5f);
  EXPECT_EQ(w[255], 18 * 4 - 16.5f);
  // Point 1 is 43, 8, 8, ...; sign 1 alone sets the eighth; (15 + 1/2) / 4 is the scale.
  w = decode(GgmlType::kIQ2_XXS,
             block_with(GgmlType::kIQ2_XXS, {{1, 0x3C}, {2, 1}, {6, 1}, {9, 0xF0}}));
  EXPECT_THAT(std::vector<float>(w.begin(), w.begin() + 8),
              ElementsAre(-166.625f, 31, 31, 31, 31, 31, 31, -31));
  EXPECT_EQ(w[32], 1.0f);
}

TEST(GgmlDecode, DecodesBlockFloats) {
  auto w = decode(GgmlType::kMXFP4, block_with(GgmlType::kMXFP4, {{0, 128}, {1, 0xE7}}));
  EXPECT_EQ(w[0], 12.0f);
  EXPECT_EQ(w[16], -8.0f);
  w = decode(GgmlType::kMXFP4, block_with(GgmlType::kMXFP4, {{1, 0x12}}));
  EXPECT_EQ(w[0], 0x1p-127f);
  EXPECT_EQ(w[16], 0x1p-128f);
  // E4M3: 0x39 is 1.125, 0x01 is 2^-9.
  w = decode(GgmlType::kNVFP4,
             block_with(GgmlType::kNVFP4, {{0, 0x39}, {3, 1}, {4, 0x17}, {28, 2}}));
  EXPECT_EQ(w[0], 6.75f);
  EXPECT_EQ(w[8], 0.5625f);
  EXPECT_EQ(w[48], 0x1p-9f);
}

struct Repacked {
  Scheme scheme;
  Bytes codes, scales, biases;
  std::size_t inexact = 0;
};

Repacked repack(GgmlType type, const Bytes& blocks) {
  const base::GgmlTypeInfo& info = base::ggml_type_info(type);
  const std::size_t n = blocks.size() / info.block_bytes;
  Repacked out{*ggml_repack_scheme(type), {}, {}, {}};
  const bool affine = out.scheme.mode == Mode::kAffine;
  const std::size_t weights = n * info.block_elements;
  ExactBuffer codes(code_bytes(out.scheme, weights), 1);
  ExactBuffer scales(weights / static_cast<std::size_t>(out.scheme.group_size) * (affine ? 2 : 1),
                     1);
  ExactBuffer biases(affine ? scales.size() : 0, 1);
  out.inexact = repack_ggml(type, blocks.data(), n, {codes.data(), scales.data(), biases.data()});
  out.codes.assign(codes.data(), codes.data() + codes.size());
  out.scales.assign(scales.data(), scales.data() + scales.size());
  out.biases.assign(biases.data(), biases.data() + biases.size());
  return out;
}

Bytes as_f32(const Bytes& f16) {
  Bytes out(f16.size() * 2);
  convert_floats(f16.data(), DType::kF16, out.data(), DType::kF32, f16.size() / 2);
  return out;
}

// The weights that mlxmill's own dequantize makes of it, in F32.
std::vector<float> dequantized(const Repacked& packed, std::size_t n) {
  const bool affine = packed.scheme.mode == Mode::kAffine;
  const Bytes scales = affine ? as_f32(packed.scales) : packed.scales;
  const Bytes biases = as_f32(packed.biases);
  std::vector<float> weights(n);
  dequantize(packed.scheme, {packed.codes.data(), scales.data(), biases.data()}, DType::kF32, n,
             weights.data());
  return weights;
}

TEST(GgmlRepack, GivesTheSameWeights) {
  for (const GgmlType type : kRepacked) {
    const base::GgmlTypeInfo& info = base::ggml_type_info(type);
    SCOPED_TRACE(info.name);
    std::size_t exact = 0;
    const Bytes blocks = random_blocks(type, 3000);
    for (std::size_t i = 0; i < 3000; ++i) {
      const auto begin = blocks.begin() + static_cast<std::ptrdiff_t>(i * info.block_bytes);
      const Bytes block(begin, begin + info.block_bytes);
      const Repacked packed = repack(type, block);
      if (packed.inexact > 0) continue;
      ++exact;
      // Zeros may differ in sign; == does not see it.
      ASSERT_EQ(dequantized(packed, info.block_elements), decode(type, block)) << i;
    }
    EXPECT_GT(exact, type == GgmlType::kNVFP4 ? 100u : 2000u);
  }
}

TEST(GgmlRepack, WritesManyBlocksAsOneRow) {
  for (const GgmlType type : kRepacked) {
    const base::GgmlTypeInfo& info = base::ggml_type_info(type);
    SCOPED_TRACE(info.name);
    const Bytes blocks = random_blocks(type, 50);
    const Repacked all = repack(type, blocks);
    Repacked joined;
    for (std::size_t i = 0; i < 50; ++i) {
      const auto begin = blocks.begin() + static_cast<std::ptrdiff_t>(i * info.block_bytes);
      const Repacked one = repack(type, Bytes(begin, begin + info.block_bytes));
      joined.codes.insert(joined.codes.end(), one.codes.begin(), one.codes.end());
      joined.scales.insert(joined.scales.end(), one.scales.begin(), one.scales.end());
      joined.biases.insert(joined.biases.end(), one.biases.begin(), one.biases.end());
      joined.inexact += one.inexact;
    }
    EXPECT_EQ(all.codes, joined.codes);
    EXPECT_EQ(all.scales, joined.scales);
    EXPECT_EQ(all.biases, joined.biases);
    EXPECT_EQ(all.inexact, joined.inexact);
  }
}

TEST(GgmlRepack, SaysWhichTypesItHolds) {
  for (const GgmlType type : all_types()) {
    const bool repacked =
        std::find(std::begin(kRepacked), std::end(kRepacked), type) != std::end(kRepacked);
    EXPECT_EQ(ggml_repack_scheme(type).has_value(), repacked) << base::ggml_type_info(type).name;
  }
  EXPECT_EQ(ggml_repack_scheme(GgmlType::kQ5_1), (Scheme{Mode::kAffine, 5, 32}));
}

TEST(GgmlRepack, CountsBlocksThatF16CannotHold) {
  const auto inexact = [](GgmlType type, std::uint16_t scale, std::uint16_t minimum = 0) {
    const int high = scale >> 8;
    const int low = scale & 255;
    if (type == GgmlType::kQ4_1) {
      return repack(type,
                    block_with(type, {{0, low}, {1, high}, {2, minimum & 255}, {3, minimum >> 8}}))
          .inexact;
    }
    return repack(type, block_with(type, {{0, low}, {1, high}})).inexact;
  };
  // 8 * 8184 is within F16, 8 * 8192 past it; the smallest subnormal loses nothing.
  EXPECT_EQ(inexact(GgmlType::kQ4_0, ref::f16_from_f32(-8184)), 0u);
  EXPECT_EQ(inexact(GgmlType::kQ4_0, ref::f16_from_f32(8192)), 1u);
  EXPECT_EQ(inexact(GgmlType::kQ4_0, 1), 0u);
  EXPECT_EQ(inexact(GgmlType::kQ8_0, ref::f16_from_f32(511.5f)), 0u);
  EXPECT_EQ(inexact(GgmlType::kQ8_0, ref::f16_from_f32(512)), 1u);
  for (const std::uint16_t bad : {0x7C00, 0xFC00, 0x7E00, 0xFC01}) {
    EXPECT_EQ(inexact(GgmlType::kQ8_0, bad), 1u);
    EXPECT_EQ(inexact(GgmlType::kQ4_1, bad), 1u);
    EXPECT_EQ(inexact(GgmlType::kQ4_1, 0, bad), 1u);
  }
  EXPECT_EQ(inexact(GgmlType::kQ4_1, 0x7BFF, 0xFBFF), 0u);
  EXPECT_EQ(inexact(GgmlType::kMXFP4, 0xFE), 0u);
  EXPECT_EQ(inexact(GgmlType::kMXFP4, 0xFF), 1u);
  EXPECT_EQ(inexact(GgmlType::kNVFP4, 0x7E), 0u);
  EXPECT_EQ(inexact(GgmlType::kNVFP4, 0x7F), 1u);
  EXPECT_EQ(inexact(GgmlType::kNVFP4, 0x8000), 1u);
}

}  // namespace
}  // namespace mlxmill::kernels

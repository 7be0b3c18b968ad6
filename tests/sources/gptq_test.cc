// GPTQ and AWQ.
#include "sources/support.h"

namespace mlxmill::sources {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kGptq = R"({"quant_method": "gptq", "bits": 4, "group_size": 32})";
constexpr std::string_view kAwq = R"({"quant_method": "awq", "bits": 4, "group_size": 32})";

/// A module of 64 inputs in two groups and 16 outputs.
std::vector<Stored> gptq() {
  return {{"a.qweight", DType::kI32, {8, 16}},
          {"a.scales", DType::kF16, {2, 16}},
          {"a.qzeros", DType::kI32, {2, 2}}};
}
std::vector<Stored> awq() {
  return {{"a.qweight", DType::kI32, {64, 2}},
          {"a.scales", DType::kF16, {2, 16}},
          {"a.qzeros", DType::kI32, {2, 2}}};
}
std::vector<Stored> with(std::vector<Stored> stored, std::size_t at, Stored other) {
  stored[at] = std::move(other);
  return stored;
}
std::vector<Stored> with_index(const std::vector<std::int32_t>& index,
                               std::vector<Stored> stored = gptq()) {
  stored.push_back(
      {"a.g_idx", DType::kI32, {static_cast<std::int64_t>(index.size())}, bytes_of(index)});
  return stored;
}
std::vector<std::int32_t> runs() {
  std::vector<std::int32_t> index(64, 0);
  std::fill(index.begin() + 32, index.end(), 1);
  return index;
}

TEST(Gptq, BecomesPackedWeights) {
  for (const auto& [settings, stored] : {std::pair(kGptq, gptq()), std::pair(kAwq, awq()),
                                         std::pair(kGptq, awq()), std::pair(kAwq, gptq())}) {
    const DecodedSource source = *decoded(settings, stored);
    ASSERT_THAT(names(source), ElementsAre("a.weight"));
    const tensors::TensorView& weight = source.tensors[0];
    EXPECT_EQ(weight.shape, (base::Shape{16, 64}));
    EXPECT_EQ(weight.dtype, DType::kF16);
    ASSERT_TRUE(weight.packed);
    EXPECT_EQ(weight.packed->scheme(), (Scheme{Mode::kAffine, 4, 32}));
    EXPECT_EQ(weight.packed->codes().shape, (base::Shape{16, 8}));
    EXPECT_EQ(weight.packed->scales().shape, (base::Shape{16, 2}));
    EXPECT_EQ(weight.packed->biases()->shape, (base::Shape{16, 2}));
    EXPECT_EQ(source.scale_type, DType::kF16);
    EXPECT_EQ(source.quantization, json(R"({"group_size": 32, "bits": 4})"));
    EXPECT_THAT(source.warnings, IsEmpty());
    EXPECT_THAT(source.dropped, IsEmpty());
  }
}

TEST(Gptq, WeightsWithoutZeroPointsAreSymmetric) {
  const DecodedSource source = *decoded(kGptq, {gptq()[0], gptq()[1]});
  EXPECT_NE(tensors::describe(*source.tensors[0].packed->biases()).find("multiply -8"),
            std::string::npos);
}

TEST(Gptq, TheFormatSaysWhatZeroPointsAreStoredAs) {
  const auto add = [](std::string_view settings, const std::vector<Stored>& stored) {
    const DecodedSource source = *decoded(settings, stored);
    const auto& biases = source.tensors[0].packed->biases()->pieces[0].computed;
    return std::get<tensors::ZeroToBias>(biases->operation).add;
  };
  EXPECT_EQ(add(kGptq, gptq()), 1);
  EXPECT_EQ(add(R"({"quant_method": "gptq", "checkpoint_format": "gptq_v2"})", gptq()), 0);
  EXPECT_EQ(add(kAwq, gptq()), 0);
  EXPECT_EQ(add(kGptq, awq()), 0);
}

TEST(Gptq, LongGroupsAreCutAndOddOnesDecoded) {
  // One group of 256 for each row; groups of 24.
  const DecodedSource cut =
      *decoded(kGptq, {{"a.qweight", DType::kI32, {32, 16}}, {"a.scales", DType::kBF16, {1, 16}}});
  ASSERT_TRUE(cut.tensors[0].packed);
  EXPECT_EQ(cut.tensors[0].packed->scheme(), (Scheme{Mode::kAffine, 4, 128}));
  EXPECT_EQ(cut.tensors[0].packed->scales().shape, (base::Shape{16, 2}));
  const DecodedSource odd =
      *decoded(kGptq, {{"a.qweight", DType::kI32, {6, 16}}, {"a.scales", DType::kBF16, {2, 16}}});
  EXPECT_FALSE(odd.tensors[0].packed);
  EXPECT_EQ(odd.tensors[0].dtype, DType::kBF16);
}

TEST(Gptq, AnIndexInOrderChangesNothingAnotherOneDecodes) {
  EXPECT_TRUE(decoded(kGptq, with_index(runs()))->tensors[0].packed);
  std::vector<std::int32_t> mixed = runs();
  std::swap(mixed[0], mixed[63]);
  const DecodedSource source = *decoded(kGptq, with_index(mixed));
  EXPECT_FALSE(source.tensors[0].packed);
  EXPECT_EQ(source.tensors[0].coded_as, (Scheme{Mode::kAffine, 4, 32}));
  EXPECT_THAT(source.warnings,
              ElementsAre("1 of 1 modules keep columns in another order than their groups "
                          "(desc_act, actorder) or groups of a size that MLX does not have: they "
                          "are dequantized and quantized anew, which rounds them a second time"));
}

TEST(Gptq, RefusesABadIndex) {
  std::vector<std::int32_t> index = runs();
  index[5] = 2;
  EXPECT_EQ(refusal(kGptq, with_index(index)),
            "kInvalidInput tensor 'a.g_idx': entry 5 is group 2; expected 0 to 1");
  index[5] = -1;
  EXPECT_EQ(refusal(kGptq, with_index(index)),
            "kInvalidInput tensor 'a.g_idx': entry 5 is group -1; expected 0 to 1");
  index.resize(63);
  EXPECT_EQ(refusal(kGptq, with_index(index)),
            "kInvalidInput tensor 'a.g_idx': it is I32 [63]; expected I32 [64]");
  auto stored = gptq();
  stored.push_back({"a.g_idx", DType::kI32, {64}});
  EXPECT_EQ(refusal(kGptq, stored), "kInternal tensor 'a.g_idx': 0 bytes were read; expected 256");
  stored.back() = {"a.g_idx", DType::kI64, {64}};
  EXPECT_EQ(refusal(kGptq, stored),
            "kInvalidInput tensor 'a.g_idx': it is I64 [64]; expected I32 with 1 axis, none of "
            "them empty");
  stored.back() = {"a.g_idx", DType::kI32, {8, 8}};
  EXPECT_EQ(refusal(kGptq, stored),
            "kInvalidInput tensor 'a.g_idx': it is I32 [8, 8]; expected I32 with 1 axis, none of "
            "them empty");
}

TEST(Gptq, RefusesAnIndexThatDoesNotLieInARow) {
  // As a PyTorch file may expand a single number.
  std::vector<Stored> stored = with_index(runs());
  std::vector<tensors::TensorView> views = views_of(stored);
  views[3].pieces.edit()[0].strides = {0};
  const base::Value config(base::Object{{"quantization_config", json(kGptq)}});
  const auto result = decode(
      config, base::Value(), views,
      [](std::size_t) -> Result<std::vector<std::byte>> { return std::vector<std::byte>(); });
  ASSERT_FALSE(result);
  EXPECT_EQ(legible(result.error().message()),
            "tensor 'a.g_idx': its elements do not follow each other in the file");
  EXPECT_EQ(result.error().code(), Code::kUnsupported);
}

TEST(Gptq, RefusesAHugeIndex) {
  std::vector<Stored> stored = {{"a.qweight", DType::kI32, {1 << 16, 16}},
                                {"a.scales", DType::kF16, {1 << 12, 16}},
                                {"a.g_idx", DType::kI32, {1 << 19}}};
  EXPECT_EQ(refusal(kGptq, stored),
            "kUnsupported tensor 'a.g_idx': I32 [524288] is too large to be looked at as a whole");
}

TEST(Gptq, RefusesMissingParts) {
  EXPECT_EQ(refusal(kGptq, {gptq()[0], gptq()[2]}),
            "kInvalidInput tensor 'a.qweight': there is no 'a.scales', which it needs; is a shard "
            "missing?");
  // Scales alone are no module; they stay, for whoever matches names to say so.
  EXPECT_THAT(names(*decoded(kGptq, {gptq()[1]})), ElementsAre("a.scales"));
}

TEST(Gptq, RefusesPartsThatDoNotFit) {
  EXPECT_EQ(refusal(kGptq, with(gptq(), 0, {"a.qweight", DType::kI32, {8, 15}})),
            "kInvalidInput tensor 'a.qweight': it is I32 [8, 15]; expected 16 columns as in its "
            "scales [2, 16], or 4-bit codes of them");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 0, {"a.qweight", DType::kF32, {8, 16}})),
            "kInvalidInput tensor 'a.qweight': it is F32 [8, 16]; expected I32 with 2 axes, none "
            "of them empty");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 0, {"a.qweight", DType::kI32, {128}})),
            "kInvalidInput tensor 'a.qweight': it is I32 [128]; expected I32 with 2 axes, none of "
            "them empty");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 0, {"a.qweight", DType::kI32, {}})),
            "kInvalidInput tensor 'a.qweight': it is I32 []; expected I32 with 2 axes, none of "
            "them empty");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 1, {"a.scales", DType::kF64, {2, 16}})),
            "kInvalidInput tensor 'a.scales': it is F64 [2, 16]; expected F16, BF16 or F32 with 2 "
            "axes, none of them empty");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 1, {"a.scales", DType::kF16, {3, 16}})),
            "kInvalidInput tensor 'a.qzeros': it is I32 [2, 2]; expected 4-bit codes of [3, 16]");
  EXPECT_EQ(refusal(kGptq, {gptq()[0], {"a.scales", DType::kF16, {3, 16}}}),
            "kInvalidInput tensor 'a.weight': its 4-bit codes [16, 8], scales F16 [16, 3] do not "
            "fit each other");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 2, {"a.qzeros", DType::kI32, {2, 3}})),
            "kInvalidInput tensor 'a.qzeros': it is I32 [2, 3]; expected 4-bit codes of [2, 16]");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 2, {"a.qzeros", DType::kU8, {2, 2}})),
            "kInvalidInput tensor 'a.qzeros': it is U8 [2, 2]; expected I32 with 2 axes, none of "
            "them empty");
  EXPECT_EQ(refusal(kAwq, with(awq(), 0, {"a.qweight", DType::kI32, {63, 2}})),
            "kInvalidInput tensor 'a.qweight': it is I32 [63, 2]; expected a multiple of 32 "
            "inputs");
}

TEST(Gptq, RefusesEmptyParts) {
  const std::string tail = "; expected I32 with 2 axes, none of them empty";
  EXPECT_EQ(refusal(kGptq, with(gptq(), 0, {"a.qweight", DType::kI32, {0, 16}})),
            "kInvalidInput tensor 'a.qweight': it is I32 [0, 16]" + tail);
  EXPECT_EQ(refusal(kGptq, with(gptq(), 0, {"a.qweight", DType::kI32, {8, 0}})),
            "kInvalidInput tensor 'a.qweight': it is I32 [8, 0]" + tail);
  // No groups: columns would be divided by them.
  EXPECT_EQ(refusal(kGptq, with_index(runs(), with(gptq(), 1, {"a.scales", DType::kF16, {0, 16}}))),
            "kInvalidInput tensor 'a.scales': it is F16 [0, 16]; expected F16, BF16 or F32 with 2 "
            "axes, none of them empty");
  EXPECT_EQ(refusal(kGptq, with(gptq(), 2, {"a.qzeros", DType::kI32, {2, 0}})),
            "kInvalidInput tensor 'a.qzeros': it is I32 [2, 0]" + tail);
}

TEST(Gptq, OnlyFourBitsAreEverInAwqsPacking) {
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "bits": 8})",
                    {{"a.qweight", DType::kI32, {64, 4}}, {"a.scales", DType::kF16, {2, 16}}}),
            "kInvalidInput tensor 'a.qweight': it is I32 [64, 4]; expected 16 columns as in its "
            "scales [2, 16]");
}

TEST(Gptq, RefusesWeightsThatAreThereTwice) {
  auto stored = gptq();
  stored.push_back({"a.weight", DType::kF16, {16, 64}});
  EXPECT_EQ(refusal(kGptq, stored),
            "kInvalidInput tensor 'a.weight': the same weights are in 'a.qweight' too; which of "
            "them counts "
            "is not told");
}

TEST(Gptq, RefusesSettings) {
  const std::string where = "config.json: quantization_config: ";
  const std::string original = "convert the original checkpoint";
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "bits": 5})", {}),
            "kUnsupported " + where + "GPTQ with 5 bits; read are 2, 3, 4 and 8; " + original);
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "bits": 0})", {}),
            "kInvalidInput " + where + "bits is 0; expected 2 to 8");
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "bits": "4"})", {}),
            "kInvalidInput " + where + "bits is a string; expected 2 to 8");
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "group_size": -2})", {}),
            "kInvalidInput " + where + "group_size is -2; expected -1 to 1048576");
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "checkpoint_format": "marlin"})", {}),
            "kUnsupported " + where +
                "checkpoint_format 'marlin' of GPTQ is not read; read are 'gptq' and 'gptq_v2'; " +
                original);
  EXPECT_EQ(refusal(R"({"quant_method": "gptq", "is_marlin_format": true})",
                    {{"a.B", DType::kI32, {4, 32}}}),
            "kUnsupported " + where +
                "GPTQ in Marlin's packing is not read; its tensor 'a.B' is I32 [4, 32]; " +
                original);
  EXPECT_EQ(refusal(R"({"quant_method": "awq", "bits": 8})", {}),
            "kUnsupported " + where +
                "AWQ with 8 bits in version 'gemm' is not read; read are 4 bits in version "
                "'gemm'; " +
                original);
  EXPECT_EQ(refusal(R"({"quant_method": "awq", "version": "gemv_fast"})",
                    {{"a.qweight", DType::kI32, {16, 8}}}),
            "kUnsupported " + where +
                "AWQ with 4 bits in version 'gemv_fast' is not read; read are 4 bits in version "
                "'gemm'; its tensor 'a.qweight' is I32 [16, 8]; " +
                original);
  EXPECT_EQ(
      refusal(R"({"quant_method": "auto-round", "packing_format": "auto_round:exllamav2"})", {}),
      "kUnsupported " + where +
          "the packing 'exllamav2' of AutoRound is not read; read are auto_round, auto_gptq, "
          "gptqmodel, auto_awq, llm_compressor and fp8; " +
          original);
}

TEST(Gptq, AutoRoundWritesTheSameLayouts) {
  const auto add = [](std::string_view packing, const std::vector<Stored>& stored) {
    const DecodedSource source =
        *decoded(R"({"quant_method": "auto-round", "bits": 4, "packing_format": "auto_round:)" +
                     std::string(packing) + "\"}",
                 stored);
    const auto& biases = source.tensors[0].packed->biases()->pieces[0].computed;
    return std::get<tensors::ZeroToBias>(biases->operation).add;
  };
  EXPECT_EQ(add("auto_gptq", gptq()), 1);
  EXPECT_EQ(add("auto_awq", awq()), 0);
}

TEST(Gptq, SomeModulesMayHaveOtherBits) {
  const std::vector<Stored> eight = {{"a.qweight", DType::kI32, {16, 16}},
                                     {"a.scales", DType::kF16, {2, 16}},
                                     {"a.qzeros", DType::kI32, {2, 4}}};
  const DecodedSource source = *decoded(
      R"({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*a.*": {"bits": 8}}})", eight);
  ASSERT_TRUE(source.tensors[0].packed);
  EXPECT_EQ(source.tensors[0].packed->scheme(), (Scheme{Mode::kAffine, 8, 32}));
  EXPECT_NE(refusal(kGptq, eight), "accepted") << "unless the settings say so, that is damage";
}

TEST(Gptq, TheLastGroupMayBeShorter) {
  // 64 columns in groups of 48.
  const std::string_view settings = R"({"quant_method": "gptq", "bits": 4, "group_size": 48})";
  for (const auto& stored : {gptq(), with_index([] {
                               std::vector<std::int32_t> index(64, 0);
                               std::fill(index.begin() + 48, index.end(), 1);
                               return index;
                             }())}) {
    const DecodedSource source = *decoded(settings, stored);
    EXPECT_FALSE(source.tensors[0].packed);
    EXPECT_EQ(source.tensors[0].coded_as, (Scheme{Mode::kAffine, 4, 32}));
  }
}

}  // namespace
}  // namespace mlxmill::sources

// Eight-bit floats and the scales of their blocks.
#include "sources/support.h"

namespace mlxmill::sources {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr std::string_view kFp8 = R"({"quant_method": "fp8", "weight_block_size": [128, 128]})";
constexpr std::string_view kNoBlock = R"({"quant_method": "fp8"})";
constexpr std::string_view kMxfp8 = R"({"quant_method": "mxfp8"})";

/// The block that scales of this shape were taken for, "ROWSxCOLUMNS", or the refusal.
std::string block(std::string_view settings, const base::Shape& numbers, const base::Shape& scales,
                  DType scale_type = DType::kF32) {
  const auto result = decoded(settings, {{"a.weight", DType::kF8E4M3, numbers},
                                         {"a.weight_scale_inv", scale_type, scales}});
  if (!result) return legible(result.error().message());
  const tensors::TensorView& view = result->tensors[0];
  EXPECT_EQ(view.shape, numbers);
  EXPECT_EQ(view.dtype, DType::kBF16);
  EXPECT_FALSE(view.packed);
  const auto& op = std::get<tensors::ScaleBlocks>(view.pieces[0].computed->operation);
  return std::to_string(op.rows) + "x" + std::to_string(op.columns);
}

TEST(Fp8, FindsTheBlock) {
  EXPECT_EQ(block(kFp8, {300, 200}, {3, 2}), "128x128");
  EXPECT_EQ(block(kFp8, {64, 200}, {1, 2}), "128x128");
  EXPECT_EQ(block(kFp8, {64, 200}, {}), "64x200");
  EXPECT_EQ(block(kFp8, {300, 200}, {1}), "300x200");
  EXPECT_EQ(block(kFp8, {300, 200}, {300}), "1x200");
  EXPECT_EQ(block(kFp8, {300, 200}, {300, 1}), "1x200");
  EXPECT_EQ(block(kNoBlock, {256, 512}, {4, 2}), "64x256");
  EXPECT_EQ(block(kNoBlock, {300, 200}, {3, 2}), "128x128") << "the usual blocks first";
  EXPECT_EQ(block(kNoBlock, {301, 200}, {3, 2}), "128x128");
  EXPECT_EQ(block(kFp8, {4, 256, 128}, {4, 2, 1}), "128x128");
  EXPECT_EQ(block(kFp8, {4, 256, 128}, {4}), "256x128");
  EXPECT_EQ(block(kFp8, {4, 256, 128}, {1, 2, 1}), "128x128");
  for (const DType type : {DType::kF16, DType::kBF16, DType::kF8E8M0, DType::kU8})
    EXPECT_EQ(block(kFp8, {256, 128}, {2, 1}, type), "128x128");
}

TEST(Fp8, RefusesScalesThatFitNoBlock) {
  const auto message = [](const std::string& scales, const std::string& numbers) {
    return "tensor 'a.weight': its scales " + scales + " fit no blocks of F8_E4M3 " + numbers;
  };
  EXPECT_EQ(block(kFp8, {300, 200}, {3, 3}), message("F32 [3, 3]", "[300, 200]"));
  EXPECT_EQ(block(kFp8, {300, 200}, {301, 1}), message("F32 [301, 1]", "[300, 200]"));
  EXPECT_EQ(block(kFp8, {300, 200}, {1, 3, 2}), message("F32 [1, 3, 2]", "[300, 200]"));
  EXPECT_EQ(block(kFp8, {300, 200}, {0}), message("F32 [0]", "[300, 200]"));
  EXPECT_EQ(block(kFp8, {300, 200}, {3, 0}), message("F32 [3, 0]", "[300, 200]"));
  EXPECT_EQ(block(kFp8, {300}, {3}), message("F32 [3]", "[300]"));
  EXPECT_EQ(block(kFp8, {}, {}), message("F32 []", "[]"));
  EXPECT_EQ(block(kFp8, {0, 200}, {1}), message("F32 [1]", "[0, 200]"));
  EXPECT_EQ(block(kFp8, {4, 256, 128}, {3, 2, 1}), message("F32 [3, 2, 1]", "[4, 256, 128]"));
  EXPECT_EQ(block(kFp8, {256, 128}, {2, 1}, DType::kI32), message("I32 [2, 1]", "[256, 128]"));
  EXPECT_EQ(block(kFp8, {256, 128}, {2, 1}, DType::kF64), message("F64 [2, 1]", "[256, 128]"));
}

TEST(Fp8, RefusesWeightsOfOtherTypes) {
  for (const auto& [type, name] : {std::pair(DType::kI8, "I8"), std::pair(DType::kI32, "I32"),
                                   std::pair(DType::kF64, "F64")}) {
    EXPECT_EQ(refusal(kFp8, {{"a.weight", type, {128, 128}},
                             {"a.weight_scale_inv", DType::kF32, {1, 1}}}),
              std::string("kInvalidInput tensor 'a.weight': it is ") + name +
                  " [128, 128]; expected F8_E4M3 or F8_E5M2");
  }
  // Some files spell E4M3 as bytes.
  EXPECT_TRUE(decoded(
      kFp8, {{"a.weight", DType::kU8, {128, 128}}, {"a.weight_scale_inv", DType::kF32, {1, 1}}}));
  EXPECT_TRUE(decoded(
      kFp8, {{"a.weight", DType::kF8E5M2, {128, 128}}, {"a.weight_scale", DType::kF32, {1, 1}}}));
}

TEST(Fp8, RefusesScalesWithoutWeights) {
  EXPECT_EQ(refusal(kFp8, {{"a.weight_scale_inv", DType::kF32, {1, 1}}}),
            "kInvalidInput tensor 'a.weight_scale_inv': there is no 'a.weight' for it; is a shard "
            "missing?");
}

TEST(Fp8, RefusesTwoScales) {
  EXPECT_EQ(refusal(kFp8, {{"a.weight", DType::kF8E4M3, {128, 128}},
                           {"a.weight_scale_inv", DType::kF32, {1, 1}},
                           {"a.weight_scale", DType::kF32, {1, 1}}}),
            "kInvalidInput tensor 'a.weight_scale': 'a.weight' has another scale already");
}

TEST(Fp8, LeavesOutScalesOfActivationsAndOfFloats) {
  const DecodedSource source = *decoded(kFp8, {{"a.weight", DType::kF8E4M3, {128, 128}},
                                               {"a.weight_scale", DType::kF32, {}},
                                               {"a.input_scale", DType::kF32, {}},
                                               {"a.activation_scale", DType::kF32, {}},
                                               {"attn.k_scale", DType::kF32, {}},
                                               {"b.weight", DType::kBF16, {8, 8}},
                                               {"b.weight_scale_inv", DType::kF32, {1, 1}},
                                               {"norm.weight", DType::kBF16, {8}}});
  EXPECT_THAT(names(source), ElementsAre("b.weight", "norm.weight", "a.weight"));
  const std::string_view floats = "a scale of weights that are no 8-bit floats any more";
  const std::string_view activations = "a scale of activations";
  EXPECT_THAT(
      source.dropped,
      ElementsAre(Pair("b.weight_scale_inv", floats), Pair("a.input_scale", activations),
                  Pair("a.activation_scale", activations), Pair("attn.k_scale", activations)));
  EXPECT_THAT(source.warnings, IsEmpty());
  EXPECT_TRUE(source.quantization.is_null());
}

TEST(Fp8, BlocksMustBeTwoSizes) {
  for (const std::string_view size : {"128", "[128]", "[128, 0]", "[-1, 128]", "[128, 2097152]",
                                      "[128, 128.0]", "[128, 128, 128]", "\"128\""}) {
    EXPECT_EQ(
        refusal("{\"quant_method\": \"fp8\", \"weight_block_size\": " + std::string(size) + "}",
                {}),
        "kInvalidInput config.json: quantization_config: weight_block_size is wrong; "
        "expected two sizes, as [128, 128]")
        << size;
  }
  EXPECT_TRUE(decoded(R"({"quant_method": "fp8", "weight_block_size": null})", {}));
}

TEST(Mxfp8, KeepsItsBytes) {
  for (const std::string_view settings :
       {kMxfp8, std::string_view(R"({"quant_method": "fp8", "scale_fmt": "ue8m0",
                                     "weight_block_size": [32, 32]})")}) {
    const DecodedSource source = *decoded(settings, {{"a.weight", DType::kF8E4M3, {64, 96}},
                                                     {"a.weight_scale_inv", DType::kU8, {2, 3}}});
    const tensors::TensorView& weight = source.tensors[0];
    ASSERT_TRUE(weight.packed);
    EXPECT_EQ(weight.packed->scheme(), (Scheme{Mode::kMxfp8, 8, 32}));
    EXPECT_EQ(weight.packed->codes().shape, (base::Shape{64, 24}));
    EXPECT_EQ(weight.packed->scales().shape, (base::Shape{64, 3}));
    EXPECT_EQ(source.quantization, json(R"({"group_size": 32, "bits": 8, "mode": "mxfp8"})"));
  }
}

TEST(Mxfp8, RefusesExponentsThatDoNotFit) {
  const auto of = [](const base::Shape& numbers, const base::Shape& exponents) {
    return refusal(
        kMxfp8, {{"a.weight", DType::kF8E4M3, numbers}, {"a.weight_scale", DType::kU8, exponents}});
  };
  const auto message = [](const std::string& exponents, const std::string& numbers) {
    return "kInvalidInput tensor 'a.weight': its exponents F8_E8M0 " + exponents +
           " do not fit F8_E4M3 " + numbers;
  };
  EXPECT_EQ(of({64, 96}, {64, 4}), message("[64, 4]", "[64, 96]"));
  EXPECT_EQ(of({64, 96}, {3, 3}), message("[3, 3]", "[64, 96]"));
  EXPECT_EQ(of({64, 96}, {0, 3}), message("[0, 3]", "[64, 96]"));
  EXPECT_EQ(of({64, 96}, {3}), message("[3]", "[64, 96]"));
  EXPECT_EQ(of({96}, {3}), message("[3]", "[96]"));
  EXPECT_EQ(of({0, 96}, {1, 3}), message("[1, 3]", "[0, 96]"));
  EXPECT_EQ(of({64, 0}, {64, 0}), message("[64, 0]", "[64, 0]"));
  // Fewer experts than the numbers have would be read past their end.
  EXPECT_EQ(of({4, 64, 96}, {2, 64, 3}), message("[2, 64, 3]", "[4, 64, 96]"));
}

}  // namespace
}  // namespace mlxmill::sources

// Scales and codes of wrong types, ranks and widths, method by method.
#include "sources/support.h"

namespace mlxmill::sources {
namespace {

using namespace testing;

constexpr std::string_view kHostileGptq =
    R"({"quant_method": "gptq", "bits": 4, "group_size": 32})";
constexpr std::string_view kHostileAwq = R"({"quant_method": "awq", "bits": 4, "group_size": 32})";
constexpr std::string_view kHostileModelOpt =
    R"({"quant_method": "modelopt", "quant_algo": "NVFP4"})";

std::string gptq(std::string_view settings, const base::Shape& codes, DType scale_type,
                 const base::Shape& scales, const base::Shape& zeros) {
  return refusal(settings, {{"a.qweight", DType::kI32, codes},
                            {"a.scales", scale_type, scales},
                            {"a.qzeros", DType::kI32, zeros}});
}

TEST(HostileParts, GptqScales) {
  const std::string tail = "; expected F16, BF16 or F32 with 2 axes, none of them empty";
  const std::string head = "kInvalidInput tensor 'a.scales': it is ";
  EXPECT_EQ(gptq(kHostileGptq, {8, 16}, DType::kF16, {2, 16}, {2, 2}), "accepted");
  for (const base::Shape& shape : {base::Shape{}, base::Shape{32}, base::Shape{1, 2, 16}})
    EXPECT_EQ(gptq(kHostileGptq, {8, 16}, DType::kF16, shape, {2, 2}),
              head + "F16 " + base::to_string(shape) + tail);
  EXPECT_EQ(gptq(kHostileGptq, {8, 16}, DType::kI32, {2, 16}, {2, 2}), head + "I32 [2, 16]" + tail);
  EXPECT_EQ(gptq(kHostileGptq, {8, 16}, DType::kF8E4M3, {2, 16}, {2, 2}),
            head + "F8_E4M3 [2, 16]" + tail);
  EXPECT_EQ(gptq(kHostileGptq, {8, 16}, DType::kF16, {16, 2}, {2, 2}),
            "kInvalidInput tensor 'a.qweight': it is I32 [8, 16]; expected 2 columns as in its "
            "scales [16, 2], or 4-bit codes of them")
      << "the other way round";
}

TEST(HostileParts, GptqWidths) {
  EXPECT_EQ(gptq(kHostileGptq, {7, 16}, DType::kF16, {3, 16}, {3, 2}),
            "kInvalidInput tensor 'a.weight': its 4-bit codes [16, 7], scales F16 [16, 3] and zero "
            "points [16, 3] do not fit each other");
  EXPECT_EQ(gptq(R"({"quant_method": "gptq", "bits": 3})", {8, 32}, DType::kF16, {2, 32}, {2, 3}),
            "kInvalidInput tensor 'a.weight': its 3-bit codes [32, 8], scales F16 [32, 2] and zero "
            "points [32, 2] do not fit each other")
      << "8 words hold no whole number of 3-bit codes";
  EXPECT_EQ(gptq(R"({"quant_method": "gptq", "bits": 8})", {8, 16}, DType::kF16, {2, 16}, {2, 2}),
            "kInvalidInput tensor 'a.qzeros': it is I32 [2, 2]; expected 8-bit codes of [2, 16]");
}

TEST(HostileParts, Awq) {
  EXPECT_EQ(gptq(kHostileAwq, {64, 2}, DType::kF16, {2, 16}, {2, 2}), "accepted");
  EXPECT_EQ(gptq(kHostileAwq, {64, 3}, DType::kF16, {2, 16}, {2, 2}),
            "kInvalidInput tensor 'a.qweight': it is I32 [64, 3]; expected 16 columns as in its "
            "scales [2, 16], or 4-bit codes of them");
  EXPECT_EQ(gptq(kHostileAwq, {64, 2}, DType::kF16, {2, 16}, {2, 16}),
            "kInvalidInput tensor 'a.qzeros': it is I32 [2, 16]; expected 4-bit codes of [2, 16]");
  EXPECT_EQ(gptq(kHostileAwq, {64, 2}, DType::kF16, {3, 16}, {3, 2}),
            "kInvalidInput tensor 'a.weight': its 4-bit codes [16, 8], scales F16 [16, 3] and zero "
            "points [16, 3] do not fit each other");
  EXPECT_EQ(gptq(kHostileAwq, {64, 2}, DType::kF64, {2, 16}, {2, 2}),
            "kInvalidInput tensor 'a.scales': it is F64 [2, 16]; expected F16, BF16 or F32 with 2 "
            "axes, none of them empty");
}

TEST(HostileParts, ModelOpt) {
  const auto of = [](const base::Shape& codes, DType scale_type, const base::Shape& scales,
                     DType factor_type = DType::kF32, const base::Shape& factor = {}) {
    return refusal(kHostileModelOpt, {{"a.weight", DType::kU8, codes},
                                      {"a.weight_scale", scale_type, scales},
                                      {"a.weight_scale_2", factor_type, factor}});
  };
  const auto unfit = [](const std::string& codes, const std::string& scales) {
    return "kInvalidInput tensor 'a.weight': its FP4 codes U8 " + codes + " and scales " + scales +
           " do not fit each other";
  };
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}), "accepted");
  EXPECT_EQ(of({8, 31}, DType::kF8E4M3, {8, 4}), unfit("[8, 31]", "F8_E4M3 [8, 4]"));
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 5}), unfit("[8, 32]", "F8_E4M3 [8, 5]"));
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {32}), unfit("[8, 32]", "F8_E4M3 [32]"));
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {1, 8, 4}), unfit("[8, 32]", "F8_E4M3 [1, 8, 4]"));
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {}), unfit("[8, 32]", "F8_E4M3 []"));
  EXPECT_EQ(of({8, 32}, DType::kF32, {8, 4}), unfit("[8, 32]", "F32 [8, 4]"));
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}, DType::kF16),
            "kInvalidInput tensor 'a.weight_scale_2': it is F16 []; expected one F32 for each "
            "tensor");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}, DType::kF32, {8}),
            "kInvalidInput tensor 'a.weight_scale_2': it is F32 [8]; expected one F32 for each "
            "tensor");
  EXPECT_EQ(of({8, 32}, DType::kU8, {8, 2}),
            "kInvalidInput tensor 'a.weight_scale_2': it is F32 []; expected no factor beside "
            "exponents");
}

TEST(HostileParts, Mxfp8AndMxfp4Types) {
  const std::string_view mxfp8 = R"({"quant_method": "mxfp8"})";
  EXPECT_EQ(refusal(mxfp8, {{"a.weight", DType::kF8E4M3, {64, 96}},
                            {"a.weight_scale", DType::kI32, {64, 3}}}),
            "kInvalidInput tensor 'a.weight': its scales I32 [64, 3] fit no blocks of F8_E4M3 [64, "
            "96]");
  EXPECT_EQ(refusal(R"({"quant_method": "mxfp4"})", {{"e_blocks", DType::kF16, {2, 4, 3, 16}},
                                                     {"e_scales", DType::kU8, {2, 4, 3}}}),
            "kInvalidInput tensor 'e_blocks': its FP4 codes F16 [2, 4, 48] and scales U8 [2, 4, 3] "
            "do not fit each other");
  EXPECT_EQ(refusal(R"({"quant_method": "mxfp4"})", {{"e_blocks", DType::kU8, {2, 4, 3, 16}},
                                                     {"e_scales", DType::kF32, {2, 4, 3}}}),
            "kInvalidInput tensor 'e_blocks': its FP4 codes U8 [2, 4, 48] and scales F32 [2, 4, 3] "
            "do not fit each other");
}

}  // namespace
}  // namespace mlxmill::sources

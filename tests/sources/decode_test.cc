// What the methods share: settings, names of methods, sizes; and the smaller methods.
#include "sources/stored_coding.h"
#include "sources/support.h"

namespace mlxmill::sources {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

const std::string kWhere = "config.json: quantization_config: ";
constexpr std::string_view kModelOpt = R"({"quant_method": "modelopt", "quant_algo": "NVFP4"})";
constexpr std::string_view kMxfp4 = R"({"quant_method": "mxfp4"})";
constexpr std::string_view kBitnet = R"({"quant_method": "bitnet"})";

TEST(SettingsOf, OwnThenTextConfigThenModelOpt) {
  const base::Value modelopt = json(R"({"quant_method": "c"})");
  const auto method = [&](std::string_view config, const base::Value& beside) -> std::string {
    const base::Value value = json(config);
    const base::Value* settings = settings_of(value, beside);
    return settings ? *settings->find("quant_method")->as_string() : "none";
  };
  const std::string own = R"("quantization_config": {"quant_method": "a"})";
  const std::string text = R"("text_config": {"quantization_config": {"quant_method": "b"}})";
  EXPECT_EQ(method("{" + own + ", " + text + "}", modelopt), "a");
  EXPECT_EQ(method("{" + text + "}", modelopt), "b");
  EXPECT_EQ(method("{\"quantization_config\": null, " + text + "}", modelopt), "b");
  EXPECT_EQ(method("{}", modelopt), "c");
  EXPECT_EQ(method(R"({"text_config": 3})", modelopt), "c");
  EXPECT_EQ(method("{}", base::Value()), "none");
  // What MLX wrote itself is no source of another format, whatever stands beside it.
  EXPECT_EQ(method(R"({"quantization": {"bits": 4}, )" + own + "}", modelopt), "none");
  EXPECT_EQ(method(R"({"quantization": null, )" + own + "}", modelopt), "a");
}

TEST(Decode, PlainWeightsStayAsTheyAre) {
  const std::vector<Stored> stored = {{"a.weight", DType::kBF16, {4, 4}},
                                      {"odd", DType::kU8, {0, std::int64_t{1} << 60}}};
  const auto views = views_of(stored);
  const auto source = decode(json("{}"), base::Value(), views, nullptr);
  ASSERT_TRUE(source);
  EXPECT_THAT(names(*source), ElementsAre("a.weight", "odd"));
  EXPECT_EQ(source->method, "");
  EXPECT_TRUE(source->quantization.is_null());
}

TEST(Decode, RefusesAMethodThatIsNotRead) {
  const std::string read =
      "auto-round, awq, bitnet, compressed-tensors, fbgemm_fp8, fp8, gptq, intel/auto-round, "
      "modelopt, modelopt_fp4, modelopt_mixed, mxfp4, mxfp8";
  EXPECT_EQ(refusal(R"({"quant_method": "hqq"})",
                    {{"n.weight", DType::kBF16, {4}}, {"a.W_q", DType::kU8, {4, 2}}}),
            "kUnsupported " + kWhere +
                "the source is quantized with 'hqq', which is not read; "
                "read are " +
                read +
                "; its tensor 'a.W_q' is U8 [4, 2]; convert the original "
                "checkpoint");
  EXPECT_EQ(refusal(R"({"quant_method": ""})", {}),
            "kUnsupported " + kWhere +
                "the source is quantized with '', which is not read; read "
                "are " +
                read + "; convert the original checkpoint");
  EXPECT_EQ(refusal(R"({"bits": 4})", {}),
            "kInvalidInput " + kWhere + "quant_method is missing; expected a string");
  EXPECT_EQ(refusal(R"("gptq")", {}),
            "kInvalidInput " + kWhere + "quant_method is missing; expected a string");
  EXPECT_EQ(refusal(R"({"quant_method": 4})", {}),
            "kInvalidInput " + kWhere + "quant_method is an integer; expected a string");
  EXPECT_EQ(refusal(R"({"quant_method": null})", {}),
            "kInvalidInput " + kWhere + "quant_method is null; expected a string");
}

TEST(Decode, ModelOptsOwnFileNamesItsProducer) {
  const base::Value modelopt =
      json(R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}})");
  const auto source = decode(json("{}"), modelopt, {}, nullptr);
  ASSERT_TRUE(source);
  EXPECT_EQ(source->method, "modelopt");
}

TEST(Decode, RefusesAbsurdExtents) {
  // Nothing is in such a tensor, so that a file can hold it; but sizes are made of its extents.
  EXPECT_EQ(refusal(R"({"quant_method": "gptq"})",
                    {{"a.qweight", DType::kI32, {0, std::int64_t{1} << 60}},
                     {"a.scales", DType::kF16, {1, std::int64_t{1} << 60}}}),
            "kInvalidInput tensor 'a.qweight': it is I32 [0, 1152921504606846976]; expected "
            "extents that multiply to 2^48 at most");
  EXPECT_EQ(
      refusal(kMxfp4,
              {{"e_blocks", DType::kU8, {std::int64_t{1} << 40, 0, std::int64_t{1} << 40, 16}}}),
      "kInvalidInput tensor 'e_blocks': it is U8 [1099511627776, 0, 1099511627776, 16]; "
      "expected extents that multiply to 2^48 at most");
}

TEST(Decode, MoreThanEightAxesAreNoTensor) {
  const auto view = tensors::view_of(tensors::SourceTensor{"a", DType::kU8, base::Shape(9, 1)}, 0);
  ASSERT_FALSE(view);
  EXPECT_EQ(legible(view.error().message()),
            "tensor 'a': the shape [1, 1, 1, 1, 1, 1, 1, 1, 1] is no tensor's; expected at most 8 "
            "axes");
}

TEST(StoredCodings, NamesWhatOthersWrite) {
  const auto of = [](std::string_view settings, const std::vector<Stored>& stored) {
    std::vector<tensors::SourceTensor> tensors;
    for (const Stored& s : stored) tensors.push_back({s.name, s.dtype, s.shape});
    std::string text;
    const base::Value config(base::Object{{"quantization_config", json(settings)}});
    for (const auto& [name, coding] : stored_codings(config, tensors))
      text += name + ": " + coding.coding + " " + std::to_string(coding.parameters) + "; ";
    return text;
  };
  EXPECT_EQ(of(R"({"quant_method": "gptq", "bits": 4})", {{"a.qweight", DType::kI32, {8, 16}},
                                                          {"a.scales", DType::kF16, {2, 16}},
                                                          {"n.weight", DType::kBF16, {16}}}),
            "a.qweight: gptq 4-bit, groups of 32 1024; a.scales: gptq 4-bit, groups of 32 0; ");
  EXPECT_EQ(of(R"({"quant_method": "awq", "bits": 4})",
               {{"a.qweight", DType::kI32, {64, 2}}, {"a.scales", DType::kF16, {2, 16}}}),
            "a.qweight: awq 4-bit, groups of 32 1024; a.scales: awq 4-bit, groups of 32 0; ");
  EXPECT_EQ(of("{}", {{"a.weight", DType::kF8E4M3, {192, 256}},
                      {"a.weight_scale_inv", DType::kF32, {2, 2}}}),
            "a.weight: fp8, blocks of 128 x 128 49152; a.weight_scale_inv: fp8, blocks of 128 x "
            "128 0; ");
  EXPECT_EQ(of("{}", {{"a.weight", DType::kU8, {8, 32}},
                      {"a.weight_scale", DType::kF8E4M3, {8, 4}},
                      {"a.weight_scale_2", DType::kF32, {}}}),
            "a.weight: nvfp4 512; a.weight_scale: nvfp4 0; a.weight_scale_2: nvfp4 0; ");
  EXPECT_EQ(
      of("{}", {{"e_blocks", DType::kU8, {2, 4, 2, 16}}, {"e_scales", DType::kU8, {2, 4, 2}}}),
      "e_blocks: mxfp4 512; e_scales: mxfp4 0; ");
  EXPECT_EQ(of("{}", {{"a.weight", DType::kF8E4M3, {8, 8}}}), "") << "no scale, no coding";
  EXPECT_EQ(
      of(R"({"bits": 3})", {{"a.qweight", DType::kI32, {}}, {"a.scales", DType::kF16, {0, 0}}}),
      "");
}

TEST(ModelOpt, Decodes) {
  const DecodedSource source =
      *decoded(kModelOpt, {{"a.weight", DType::kU8, {8, 32}},
                           {"a.weight_scale", DType::kF8E4M3, {8, 4}},
                           {"a.weight_scale_2", DType::kF32, {}},
                           {"a.input_scale", DType::kF32, {}},
                           {"b.weight", DType::kF8E4M3, {8, 8}},
                           {"b.weight_scale", DType::kF32, {}},
                           {"c.weight", DType::kBF16, {8, 8}},
                           {"c.weight_scale", DType::kF32, {}},
                           {"c.weight_scale_2", DType::kF32, {}},
                           {"e.down_proj", DType::kU8, {2, 8, 32}},
                           {"e.down_proj_weight_scale", DType::kF8E4M3, {2, 8, 4}},
                           {"e.down_proj_weight_scale_2", DType::kF32, {2}},
                           {"e.down_proj_input_scale", DType::kF32, {}}});
  EXPECT_THAT(names(source),
              ::testing::UnorderedElementsAre("a.weight", "b.weight", "c.weight", "e.down_proj"));
  // Whether MLX can hold the factor is for the module to say.
  EXPECT_TRUE(find(source, "a.weight")->packed->factor());
  EXPECT_EQ(find(source, "a.weight")->packed->factor()->shape, (base::Shape{8, 1}));
  EXPECT_EQ(find(source, "e.down_proj")->packed->factor()->shape, (base::Shape{2, 8, 1}));
  EXPECT_EQ(find(source, "a.weight")->shape, (base::Shape{8, 64}));
  EXPECT_EQ(find(source, "e.down_proj")->shape, (base::Shape{2, 8, 64}));
  const std::string_view floats = "a scale of weights that are floats already";
  EXPECT_THAT(source.dropped,
              ElementsAre(Pair("a.input_scale", "a scale of activations"),
                          Pair("e.down_proj_input_scale", "a scale of activations"),
                          Pair("c.weight_scale", floats), Pair("c.weight_scale_2", floats)));
}

TEST(ModelOpt, RefusesWhatDoesNotFit) {
  EXPECT_EQ(refusal(kModelOpt, {{"a.weight_scale", DType::kF32, {}}}),
            "kInvalidInput tensor 'a.weight_scale': there is no 'a.weight' for it; is a shard "
            "missing?");
  EXPECT_EQ(
      refusal(kModelOpt, {{"a.weight", DType::kI8, {8, 8}}, {"a.weight_scale", DType::kF32, {}}}),
      "kInvalidInput tensor 'a.weight': it is I8 [8, 8]; expected U8 or F8_E4M3");
  EXPECT_EQ(refusal(kModelOpt, {{"a.weight", DType::kF8E4M3, {8, 8}},
                                {"a.weight_scale", DType::kF32, {}},
                                {"a.weight_scale_2", DType::kF32, {}}}),
            "kInvalidInput tensor 'a.weight_scale_2': it is F32 []; expected no second scale "
            "beside 8-bit floats");
  EXPECT_EQ(refusal(kModelOpt, {{"a.weight", DType::kU8, {3, 8, 32}},
                                {"a.weight_scale", DType::kF8E4M3, {3, 8, 4}},
                                {"a.weight_scale_2", DType::kF32, {2}}}),
            "kInvalidInput tensor 'a.weight_scale_2': it is F32 [2]; expected one F32 for each "
            "tensor");
  EXPECT_EQ(refusal(R"({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"})",
                    {{"a.pre_quant_scale", DType::kF32, {8}}}),
            "kUnsupported tensor 'a.pre_quant_scale': ModelOpt's 'W4A16_AWQ' is not read; convert "
            "the original checkpoint");
  EXPECT_EQ(refusal(R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "B"}})",
                    {{"a.weight_scale_inv", DType::kF32, {8}}}),
            "kInvalidInput tensor 'a.weight_scale_inv': there is no 'a.weight' for it; is a shard "
            "missing?");
}

TEST(Mxfp4, KeepsItsBytes) {
  const DecodedSource source = *decoded(kMxfp4, {{"e.down_proj_blocks", DType::kU8, {2, 4, 3, 16}},
                                                 {"e.down_proj_scales", DType::kU8, {2, 4, 3}}});
  ASSERT_THAT(names(source), ElementsAre("e.down_proj_blocks"));
  EXPECT_EQ(source.tensors[0].shape, (base::Shape{2, 4, 96}));
  ASSERT_TRUE(source.tensors[0].packed);
  EXPECT_EQ(source.tensors[0].packed->scheme(), (Scheme{Mode::kMxfp4, 4, 32}));
  EXPECT_EQ(source.quantization, json(R"({"group_size": 32, "bits": 4, "mode": "mxfp4"})"));
}

TEST(Mxfp4, RefusesWhatDoesNotFit) {
  const auto of = [](const base::Shape& blocks, DType type, const base::Shape& scales) {
    return refusal(kMxfp4, {{"e_blocks", DType::kU8, blocks}, {"e_scales", type, scales}});
  };
  const std::string head = "kInvalidInput tensor 'e_blocks': ";
  EXPECT_EQ(of({2, 4, 3, 8}, DType::kU8, {2, 4, 3}),
            head + "it is U8 [2, 4, 3, 8]; expected 16 bytes for each block");
  EXPECT_EQ(of({3, 16}, DType::kU8, {3}),
            head + "it is U8 [3, 16]; expected 16 bytes for each block");
  EXPECT_EQ(of({}, DType::kU8, {3}), head + "it is U8 []; expected 16 bytes for each block");
  EXPECT_EQ(of({2, 4, 3, 16}, DType::kU8, {2, 4, 4}),
            head + "its FP4 codes U8 [2, 4, 48] and scales U8 [2, 4, 4] do not fit each other");
  EXPECT_EQ(of({2, 4, 0, 16}, DType::kU8, {2, 4, 0}),
            head + "its FP4 codes U8 [2, 4, 0] and scales U8 [2, 4, 0] do not fit each other");
  EXPECT_EQ(of({2, 4, 3, 16}, DType::kF8E4M3, {2, 4, 3}),
            "kInvalidInput tensor 'e_scales': it is F8_E4M3 [2, 4, 3]; expected U8 exponents");
  EXPECT_EQ(refusal(kMxfp4, {{"e_blocks", DType::kU8, {2, 4, 3, 16}}}),
            head + "there is no 'e_scales', which it needs; is a shard missing?");
}

TEST(Bitnet, StaysUnlessRepacked) {
  const std::vector<Stored> stored = {{"a.weight", DType::kU8, {8, 128}},
                                      {"a.weight_scale", DType::kBF16, {1}}};
  const DecodedSource kept = *decoded(kBitnet, stored);
  EXPECT_THAT(names(kept), ElementsAre("a.weight", "a.weight_scale"));
  EXPECT_TRUE(kept.keeps_settings);
  const DecodedSource repacked = *decoded(kBitnet, stored, true);
  ASSERT_THAT(names(repacked), ElementsAre("a.weight"));
  EXPECT_FALSE(repacked.keeps_settings);
  EXPECT_EQ(repacked.tensors[0].shape, (base::Shape{32, 128}));
  EXPECT_EQ(repacked.tensors[0].packed->scheme(), (Scheme{Mode::kAffine, 2, 128}));
}

TEST(Bitnet, RefusesWhatDoesNotFit) {
  const auto of = [](const base::Shape& weight, DType type, const base::Shape& scale) {
    return refusal(kBitnet, {{"a.weight", DType::kU8, weight}, {"a.weight_scale", type, scale}},
                   true);
  };
  const std::string tail = "; expected [outputs / 4, a multiple of 128 inputs]";
  EXPECT_EQ(of({8, 96}, DType::kBF16, {1}),
            "kInvalidInput tensor 'a.weight': it is U8 [8, 96]" + tail);
  EXPECT_EQ(of({128}, DType::kBF16, {1}), "kInvalidInput tensor 'a.weight': it is U8 [128]" + tail);
  EXPECT_EQ(of({0, 128}, DType::kBF16, {1}),
            "kInvalidInput tensor 'a.weight': it is U8 [0, 128]" + tail);
  EXPECT_EQ(of({8, 0}, DType::kBF16, {1}),
            "kInvalidInput tensor 'a.weight': it is U8 [8, 0]" + tail);
  EXPECT_EQ(of({8, 128}, DType::kBF16, {2}),
            "kInvalidInput tensor 'a.weight_scale': it is BF16 [2]; expected one float");
  EXPECT_EQ(of({8, 128}, DType::kI32, {1}),
            "kInvalidInput tensor 'a.weight_scale': it is I32 [1]; expected one float");
}

}  // namespace
}  // namespace mlxmill::sources

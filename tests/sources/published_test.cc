// Settings and tensors as those who publish quantized models write them.
#include "sources/support.h"

namespace mlxmill::sources {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kActivations = "a scale of activations";

std::vector<Stored> fp8(const std::string& path, const base::Shape& scales,
                        const std::string& suffix = "weight_scale_inv", DType type = DType::kF32) {
  return {{path + ".weight", DType::kF8E4M3, {256, 256}}, {path + "." + suffix, type, scales}};
}

std::vector<Stored> all(std::initializer_list<std::vector<Stored>> parts) {
  std::vector<Stored> stored;
  for (const auto& part : parts) stored.insert(stored.end(), part.begin(), part.end());
  return stored;
}

bool is_decoded(const DecodedSource& source, std::string_view name) {
  const tensors::TensorView* view = find(source, name);
  return view && !view->packed && view->dtype == DType::kBF16 && view->pieces[0].computed;
}

int added_to_zeros(const DecodedSource& source) {
  const auto& biases = source.tensors[0].packed->biases()->pieces[0].computed;
  return std::get<tensors::ZeroToBias>(biases->operation).add;
}

TEST(Published, DeepSeekAndQwenFp8) {
  for (const std::string_view settings :
       {R"({"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
            "weight_block_size": [128, 128]})",
        R"({"activation_scheme": "dynamic", "modules_to_not_convert": ["lm_head", "mlp.gate"],
            "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]})"}) {
    const DecodedSource source = *decoded(
        settings, all({fp8("mlp.up_proj", {2, 2}), {{"mlp.gate.weight", DType::kBF16, {8, 256}}}}));
    EXPECT_TRUE(is_decoded(source, "mlp.up_proj.weight"));
    EXPECT_FALSE(is_decoded(source, "mlp.gate.weight")) << "named as not converted: it stays";
    EXPECT_TRUE(source.quantization.is_null());
    EXPECT_THAT(source.warnings, IsEmpty());
  }
}

// The tensors tell; a list that contradicts them changes nothing.
TEST(Published, ListsOfModulesAreNotNeeded) {
  const DecodedSource source = *decoded(R"({"quant_method": "fp8", "weight_block_size": [128, 128],
                   "modules_to_not_convert": ["a", "re:.*b", 7]})",
                                        all({fp8("a", {2, 2}), fp8("b", {2, 2})}));
  EXPECT_TRUE(is_decoded(source, "a.weight"));
  EXPECT_TRUE(is_decoded(source, "b.weight"));
}

TEST(Published, MistralFp8) {
  const DecodedSource source = *decoded(
      R"({"activation_scheme": "static", "dequantize": false, "quant_method": "fp8",
          "modules_to_not_convert": ["model.vision_tower", "lm_head"], "weight_block_size": null})",
      all({fp8("q_proj", {}, "weight_scale_inv", DType::kBF16),
           {{"q_proj.activation_scale", DType::kBF16, {}}}}));
  EXPECT_THAT(names(source), ElementsAre("q_proj.weight"));
  EXPECT_TRUE(is_decoded(source, "q_proj.weight"));
  EXPECT_THAT(source.dropped, ElementsAre(Pair("q_proj.activation_scale", kActivations)));
}

TEST(Published, StackedExpertsOfTransformers) {
  const std::vector<Stored> stored = {
      {"mlp.experts.gate_up_proj", DType::kF8E4M3, {4, 256, 128}},
      {"mlp.experts.gate_up_proj_scale_inv", DType::kF32, {4, 2, 1}},
      {"mlp.experts.gate_up_proj_activation_scale", DType::kF32, {4}},
      {"mlp.experts.down_proj", DType::kF8E4M3, {4, 128, 160}},
      {"mlp.experts.down_proj_scale_inv", DType::kF32, {4, 1, 2}}};
  const DecodedSource source =
      *decoded(R"({"quant_method": "fp8", "weight_block_size": [128, 128]})", stored);
  EXPECT_THAT(names(source),
              UnorderedElementsAre("mlp.experts.gate_up_proj", "mlp.experts.down_proj"));
  EXPECT_EQ(find(source, "mlp.experts.gate_up_proj")->shape, (base::Shape{4, 256, 128}));
  EXPECT_TRUE(is_decoded(source, "mlp.experts.gate_up_proj"));
  EXPECT_TRUE(is_decoded(source, "mlp.experts.down_proj"));
  EXPECT_THAT(source.dropped,
              ElementsAre(Pair("mlp.experts.gate_up_proj_activation_scale", kActivations)));
  // One scale for each expert, as static per-tensor quantization has them.
  EXPECT_TRUE(is_decoded(
      *decoded(R"({"quant_method": "fp8"})", {stored[0], {stored[1].name, DType::kF32, {4, 1, 1}}}),
      "mlp.experts.gate_up_proj"));
  EXPECT_EQ(refusal(R"({"quant_method": "fp8", "weight_block_size": [128, 128]})",
                    {stored[0], {stored[1].name, DType::kF32, {3, 2, 1}}}),
            "kInvalidInput tensor 'mlp.experts.gate_up_proj': its scales F32 [3, 2, 1] fit no "
            "blocks of F8_E4M3 [4, 256, 128]");
}

TEST(Published, GptqOfQwenAndOfGptqModel) {
  const std::vector<Stored> stored = {
      {"a.qweight", DType::kI32, {16, 32}},
      {"a.qzeros", DType::kI32, {1, 4}},
      {"a.scales", DType::kF16, {1, 32}},
      {"a.g_idx", DType::kI32, {128}, bytes_of(std::vector<std::int32_t>(128, 0))}};
  const auto add = [&](std::string_view settings) {
    const DecodedSource source = *decoded(settings, stored);
    EXPECT_EQ(source.tensors[0].packed->scheme(), (Scheme{Mode::kAffine, 4, 128}));
    return added_to_zeros(source);
  };
  EXPECT_EQ(add(R"({"bits": 4, "damp_percent": 0.01, "dataset": null, "desc_act": false,
                    "group_size": 128, "modules_in_block_to_quantize": null, "quant_method": "gptq",
                    "sym": true, "true_sequential": true})"),
            1);
  EXPECT_EQ(add(R"({"bits": 4, "checkpoint_format": "gptq", "desc_act": false, "dynamic": null,
                    "group_size": 128, "lm_head": false, "meta": {"quantizer": ["gptqmodel:4.0"]},
                    "pack_dtype": "int32", "quant_method": "gptq", "sym": true})"),
            1);
  EXPECT_EQ(add(R"({"bits": 4, "format": "gptq_v2", "group_size": 128, "quant_method": "gptq"})"),
            0)
      << "transformers 5";
}

TEST(Published, AutoRound) {
  const std::vector<Stored> gptq = {{"a.qweight", DType::kI32, {8, 16}},
                                    {"a.scales", DType::kF16, {2, 16}},
                                    {"a.qzeros", DType::kI32, {2, 2}}};
  const auto add = [&](std::string_view method, std::string_view packing) {
    std::string settings = R"({"autoround_version": "0.6.0", "bits": 4, "data_type": "int",
        "group_size": 32, "sym": false, "quant_method": ")" +
                           std::string(method) + "\"";
    if (!packing.empty()) settings += R"(, "packing_format": ")" + std::string(packing) + "\"";
    return added_to_zeros(*decoded(settings + "}", gptq));
  };
  for (const std::string_view method : {"auto-round", "intel/auto-round"}) {
    EXPECT_EQ(add(method, "auto_round:auto_gptq"), 1);
    EXPECT_EQ(add(method, "auto_round:gptq"), 1);
    EXPECT_EQ(add(method, ""), 1);
    EXPECT_EQ(add(method, "auto_round"), 0);
    EXPECT_EQ(add(method, "auto_round:gptqmodel"), 0);
  }
  const DecodedSource blocks =
      *decoded(R"({"quant_method": "auto-round", "packing_format": "auto_round:fp8",
                   "weight_block_size": [128, 128]})",
               fp8("a", {2, 2}));
  EXPECT_TRUE(is_decoded(blocks, "a.weight"));
}

TEST(Published, AutoAwq) {
  const std::vector<Stored> stored = {{"a.qweight", DType::kI32, {128, 4}},
                                      {"a.qzeros", DType::kI32, {1, 4}},
                                      {"a.scales", DType::kF16, {1, 32}}};
  for (const std::string_view settings :
       {R"({"bits": 4, "group_size": 128, "modules_to_not_convert": null, "quant_method": "awq",
            "version": "gemm", "zero_point": true})",
        R"({"bits": 4, "group_size": 128, "quant_method": "awq", "format": "gemm"})",
        R"({"zero_point": true, "q_group_size": 128, "w_bit": 4, "version": "GEMM",
            "quant_method": "awq"})"}) {
    const DecodedSource source = *decoded(settings, stored);
    EXPECT_EQ(source.tensors[0].packed->scheme(), (Scheme{Mode::kAffine, 4, 128}));
    EXPECT_EQ(added_to_zeros(source), 0);
    EXPECT_EQ(source.quantization, json(R"({"group_size": 128, "bits": 4})"));
  }
  EXPECT_EQ(refusal(R"({"w_bit": 8, "quant_method": "awq"})", stored),
            "kUnsupported config.json: quantization_config: AWQ with 8 bits in version 'gemm' is "
            "not read; read are 4 bits in version 'gemm'; its tensor 'a.qweight' is I32 [128, 4]; "
            "convert the original checkpoint");
}

TEST(Published, CompressedTensorsWithAKvCache) {
  const std::string_view settings =
      R"({"config_groups": {"group_0": {"format": "float-quantized", "input_activations": {
              "dynamic": true, "num_bits": 8, "strategy": "token", "type": "float"},
            "targets": ["Linear"], "weights": {"actorder": null, "dynamic": false,
              "group_size": null, "num_bits": 8, "strategy": "channel", "symmetric": true,
              "type": "float"}}},
          "format": "float-quantized", "global_compression_ratio": null,
          "ignore": ["lm_head", "re:.*mlp.gate$"], "kv_cache_scheme": {"dynamic": false,
            "num_bits": 8, "strategy": "tensor", "symmetric": true, "type": "float"},
          "quant_method": "compressed-tensors", "quantization_status": "compressed",
          "sparsity_config": {}, "transform_config": {}, "version": "0.12.2"})";
  const DecodedSource source =
      *decoded(settings, all({fp8("q_proj", {256, 1}, "weight_scale", DType::kBF16),
                              {{"attn.k_scale", DType::kBF16, {1}},
                               {"attn.v_scale", DType::kBF16, {1}},
                               {"mlp.gate.weight", DType::kBF16, {8, 256}}}}));
  EXPECT_TRUE(is_decoded(source, "q_proj.weight"));
  EXPECT_FALSE(is_decoded(source, "mlp.gate.weight"));
  EXPECT_THAT(source.dropped,
              ElementsAre(Pair("attn.k_scale", kActivations), Pair("attn.v_scale", kActivations)));
}

TEST(Published, CompressedTensorsOfTwoKinds) {
  const DecodedSource source = *decoded(
      R"({"config_groups": {
            "group_0": {"targets": ["re:.*experts.*"], "weights": {"num_bits": 4, "type": "int",
              "strategy": "group", "group_size": 128, "symmetric": true}},
            "group_1": {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 8, "type": "float",
              "strategy": "channel"}}},
          "format": "mixed-precision", "ignore": ["lm_head"], "kv_cache_scheme": null,
          "quant_method": "compressed-tensors"})",
      all({fp8("q_proj", {256, 1}, "weight_scale", DType::kBF16),
           {{"e.weight_packed", DType::kI32, {8, 16}},
            {"e.weight_scale", DType::kBF16, {8, 1}},
            {"e.weight_shape", DType::kI64, {2}, bytes_of(std::vector<std::int64_t>{8, 128})},
            {"lm_head.weight", DType::kBF16, {8, 256}}}}));
  EXPECT_TRUE(is_decoded(source, "q_proj.weight"));
  EXPECT_EQ(find(source, "e.weight")->packed->scheme(), (Scheme{Mode::kAffine, 4, 128}));
  EXPECT_FALSE(is_decoded(source, "lm_head.weight"));
}

TEST(Published, RotationsThatRunWithTheModelAreRefused) {
  const auto with = [](std::string_view apply) {
    return refusal(R"({"quant_method": "compressed-tensors", "transform_config": {"config_groups":
                      {"R4": {"type": "hadamard", "apply": [)" +
                       std::string(apply) + "]}}}}",
                   {});
  };
  EXPECT_EQ(with(R"({"targets": ["x"], "location": "weight_output"},
                    {"targets": ["y"], "location": "weight_input", "inverse": true})"),
            "accepted");
  for (const std::string location : {"input", "output", "k_cache", "q_attn"}) {
    EXPECT_EQ(with(R"({"targets": ["x"], "location": ")" + location + "\"}"),
              "kUnsupported config.json: quantization_config: transform_config turns activations "
              "('R4' at '" +
                  location +
                  "') while the model runs, which MLX's layers do not; "
                  "convert the original checkpoint");
  }
}

TEST(Published, NvidiaNamesItsMethodInThreeWays) {
  const std::vector<Stored> stored = {
      {"a.weight", DType::kU8, {8, 32}},        {"a.weight_scale", DType::kF8E4M3, {8, 4}},
      {"a.weight_scale_2", DType::kF32, {}},    {"a.input_scale", DType::kF32, {}},
      {"attn.k_proj.k_scale", DType::kF32, {}}, {"attn.v_proj.v_scale", DType::kF32, {}},
      {"attn.k_proj.k_bias", DType::kF32, {}}};
  for (const std::string_view settings :
       {R"({"config_groups": {"group_0": {"weights": {"dynamic": false, "num_bits": 4,
            "type": "float", "group_size": 16}, "targets": ["Linear"]}}, "ignore": ["lm_head"],
            "quant_algo": "NVFP4", "kv_cache_scheme": {"dynamic": false, "num_bits": 8,
            "type": "float"}, "producer": {"name": "modelopt", "version": "0.37.0"},
            "quant_method": "modelopt"})",
        R"({"quant_algo": "NVFP4", "ignore": [], "quant_library": "modelopt"})",
        R"({"producer": {"name": "modelopt", "version": "0.23.0"}, "quantization": {"quant_algo":
            "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules":
            ["lm_head"]}})"}) {
    const DecodedSource source = *decoded(settings, stored);
    EXPECT_EQ(source.method, "modelopt");
    EXPECT_THAT(names(source), ElementsAre("a.weight"));
    EXPECT_TRUE(find(source, "a.weight")->packed->factor());
    EXPECT_EQ(source.dropped.size(), 4u);
  }
}

TEST(Published, NvidiaKeepsBlocksInTwoWays) {
  const std::string_view settings = R"({"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"})";
  for (const auto& stored :
       {fp8("a", {2, 1, 2, 1}, "weight_scale"), fp8("a", {2, 2}, "weight_scale_inv")}) {
    const DecodedSource source = *decoded(settings, stored);
    ASSERT_TRUE(is_decoded(source, "a.weight"));
    const auto& op =
        std::get<tensors::ScaleBlocks>(find(source, "a.weight")->pieces[0].computed->operation);
    EXPECT_EQ(op.rows, 128);
    EXPECT_EQ(op.columns, 128);
  }
  EXPECT_EQ(refusal(settings, all({fp8("a", {2, 2}), {fp8("a", {}, "weight_scale")[1]}})),
            "kInvalidInput tensor 'a.weight_scale_inv': 'a.weight' has another scale already");
  EXPECT_EQ(refusal(settings, fp8("a", {2, 1, 3, 1}, "weight_scale")),
            "kInvalidInput tensor 'a.weight': its scales F32 [2, 3] fit no blocks of F8_E4M3 [256, "
            "256]");
  EXPECT_EQ(refusal(settings, fp8("a", {2, 2, 1, 1}, "weight_scale")),
            "kInvalidInput tensor 'a.weight': its scales F32 [2, 2, 1, 1] fit no blocks of F8_E4M3 "
            "[256, 256]");
}

TEST(Published, UnslothsBitsAndBytesIsRefusedByName) {
  EXPECT_EQ(refusal(R"({"load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
                        "quant_method": "bitsandbytes"})",
                    {{"q_proj.weight", DType::kU8, {64, 1}}})
                .substr(0, 104),
            "kUnsupported config.json: quantization_config: the source is quantized with "
            "'bitsandbytes', which is not");
}

}  // namespace
}  // namespace mlxmill::sources

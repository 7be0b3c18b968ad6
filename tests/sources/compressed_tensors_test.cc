// llm-compressor's container.
#include "sources/support.h"

namespace mlxmill::sources {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::Pair;

std::string settings(int bits, std::string_view more = "") {
  return R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": )" +
         std::to_string(bits) + "}}}" + std::string(more) + "}";
}

/// 8 rows of 64 columns in two groups, 4 bits.
std::vector<Stored> packed(std::int64_t rows = 8, std::int64_t columns = 64) {
  return {{"a.weight_packed", DType::kI32, {8, 8}},
          {"a.weight_scale", DType::kBF16, {8, 2}},
          {"a.weight_shape", DType::kI64, {2}, bytes_of(std::vector<std::int64_t>{rows, columns})}};
}
std::vector<Stored> and_also(std::vector<Stored> stored, Stored more) {
  stored.push_back(std::move(more));
  return stored;
}

TEST(CompressedTensors, BecomesPackedWeights) {
  const DecodedSource source = *decoded(settings(4), packed());
  ASSERT_THAT(names(source), ElementsAre("a.weight"));
  ASSERT_TRUE(source.tensors[0].packed);
  EXPECT_EQ(source.tensors[0].packed->scheme(), (Scheme{Mode::kAffine, 4, 32}));
  EXPECT_EQ(source.tensors[0].shape, (base::Shape{8, 64}));
  EXPECT_EQ(source.scale_type, DType::kBF16);
  EXPECT_EQ(source.quantization, json(R"({"group_size": 32, "bits": 4, "mode": "affine"})"));
}

TEST(CompressedTensors, TheStoredShapeTellsTheBitsOfMixedModels) {
  const std::string mixed =
      R"({"quant_method": "compressed-tensors", "config_groups":
          {"g": {"weights": {"num_bits": 4}}, "h": {"weights": {"num_bits": 8}}, "i": {}}})";
  EXPECT_EQ(decoded(mixed, packed(8, 32))->tensors[0].shape, (base::Shape{8, 32}));
  EXPECT_EQ(decoded(mixed, packed(8, 64))->tensors[0].shape, (base::Shape{8, 64}));
  EXPECT_EQ(refusal(mixed, {packed()[0], packed()[1]}),
            "kUnsupported tensor 'a.weight_packed': it has 0-bit codes; read are 2 to 8 bits");
}

TEST(CompressedTensors, RefusesAShapeThatContradicts) {
  EXPECT_EQ(refusal(settings(4), packed(7, 64)),
            "kInvalidInput tensor 'a.weight_shape': it says 7 rows; the codes have 8");
  EXPECT_EQ(refusal(settings(4), packed(8, 32)),
            "kInvalidInput tensor 'a.weight_packed': its shape says 8-bit codes, config.json says "
            "4");
  EXPECT_EQ(refusal(settings(4), packed(8, 63)),
            "kInvalidInput tensor 'a.weight_shape': it says 63 columns; the codes are 8 words "
            "long");
  for (const std::int64_t columns : {std::int64_t{0}, std::int64_t{-64}, INT64_MAX, INT64_MIN}) {
    EXPECT_EQ(refusal(settings(4), packed(8, columns)),
              "kInvalidInput tensor 'a.weight_shape': it says " + std::to_string(columns) +
                  " columns; the codes are 8 words long");
  }
  std::vector<Stored> stored = packed();
  stored[2] = {"a.weight_shape", DType::kI32, {2}, bytes_of(std::vector<std::int32_t>{8, 64})};
  EXPECT_EQ(refusal(settings(4), stored), "accepted") << "some files have 32-bit shapes";
  stored[2] = {"a.weight_shape", DType::kI64, {1}, bytes_of(std::vector<std::int64_t>{64})};
  EXPECT_EQ(refusal(settings(4), stored),
            "kInvalidInput tensor 'a.weight_shape': it is I64 [1]; expected I64 [2] or I32 [2]");
  stored[2] = {"a.weight_shape", DType::kI64, {0}, {}};
  EXPECT_EQ(refusal(settings(4), stored),
            "kInvalidInput tensor 'a.weight_shape': it is I64 [0]; expected I64 [2] or I32 [2]");
}

TEST(CompressedTensors, RefusesPartsThatDoNotFit) {
  EXPECT_EQ(refusal(settings(4), {packed()[0]}),
            "kInvalidInput tensor 'a.weight_packed': there is no 'a.weight_scale', which it needs; "
            "is a shard missing?");
  EXPECT_EQ(refusal(settings(4), {packed()[1]}),
            "kInvalidInput tensor 'a.weight_scale': there is no 'a.weight' for it; is a shard "
            "missing?");
  EXPECT_EQ(refusal(settings(4), {packed()[0], {"a.weight_scale", DType::kBF16, {7, 2}}}),
            "kInvalidInput tensor 'a.weight': its 4-bit codes [8, 8], scales BF16 [7, 2] do not "
            "fit each other");
  EXPECT_EQ(refusal(settings(4), {packed()[0], {"a.weight_scale", DType::kBF16, {8, 0}}}),
            "kInvalidInput tensor 'a.weight': its 4-bit codes [8, 8], scales BF16 [8, 0] do not "
            "fit each other");
  EXPECT_EQ(refusal(settings(4), {packed()[0], {"a.weight_scale", DType::kF64, {8, 2}}}),
            "kInvalidInput tensor 'a.weight': its 4-bit codes [8, 8], scales F64 [8, 2] do not fit "
            "each other");
  for (const base::Shape& shape : {base::Shape{}, base::Shape{64}, base::Shape{2, 4, 8}}) {
    EXPECT_EQ(refusal(settings(4), {{"a.weight_packed", DType::kI32, shape}, packed()[1]}),
              "kInvalidInput tensor 'a.weight_packed': it is I32 " + base::to_string(shape) +
                  "; expected I32 or U8 with 2 axes, beside scales with 2 axes");
  }
  EXPECT_EQ(
      refusal(settings(3), {packed()[0], packed()[1]}),
      "kInvalidInput tensor 'a.weight': its 3-bit codes [8, 8], scales BF16 [8, 2] do not fit "
      "each other");
  EXPECT_EQ(refusal(settings(9), {packed()[0], packed()[1]}),
            "kUnsupported tensor 'a.weight_packed': it has 9-bit codes; read are 2 to 8 bits");
  EXPECT_EQ(refusal(settings(17), {}),
            "kInvalidInput config.json: quantization_config: num_bits is 17; expected 1 to 16");
  EXPECT_EQ(refusal(settings(4), and_also(packed(), {"a.weight", DType::kBF16, {8, 64}})),
            "kInvalidInput tensor 'a.weight': the same weights are in 'a.weight_packed' too; which "
            "of them counts is not told");
}

TEST(CompressedTensors, CodesOfOddBitsAreStreams) {
  for (const int bits : {3, 5, 6, 7}) {
    const std::vector<Stored> stored = {
        {"a.weight_packed", DType::kI32, {8, 2 * bits}},
        {"a.weight_scale", DType::kBF16, {8, 2}},
        {"a.weight_zero_point", DType::kI32, {(8 * bits + 31) / 32, 2}}};
    const auto source = decoded(settings(bits), {stored[0], stored[1]});
    ASSERT_TRUE(source) << source.error().message();
    EXPECT_EQ(source->tensors[0].shape, (base::Shape{8, 64}));
    EXPECT_EQ(source->tensors[0].packed != nullptr, bits != 7) << "MLX has no 7 bits";
  }
}

TEST(CompressedTensors, AnIndexThatMixesGroupsDecodes) {
  std::vector<std::int32_t> index(64, 0);
  std::fill(index.begin() + 32, index.end(), 1);
  const auto with = [&](DType type) {
    return and_also(packed(), {"a.weight_g_idx", type, {64}, bytes_of(index)});
  };
  EXPECT_TRUE(decoded(settings(4), with(DType::kI32))->tensors[0].packed);
  EXPECT_EQ(refusal(settings(4), with(DType::kI64)),
            "kInvalidInput tensor 'a.weight_g_idx': it is I64 [64]; expected I32");
  std::swap(index[0], index[63]);
  const DecodedSource source = *decoded(settings(4), with(DType::kI32));
  EXPECT_FALSE(source.tensors[0].packed);
  EXPECT_EQ(source.tensors[0].coded_as, (Scheme{Mode::kAffine, 4, 32}));
  EXPECT_EQ(source.warnings.size(), 1u);
  index[0] = 2;
  EXPECT_EQ(refusal(settings(4), with(DType::kI32)),
            "kInvalidInput tensor 'a.weight_g_idx': entry 0 is group 2; expected 0 to 1");
}

TEST(CompressedTensors, FloatsInBlocksAndInGroupsWithExponents) {
  const std::string blocks =
      R"({"quant_method": "compressed-tensors", "config_groups":
          {"g": {"weights": {"num_bits": 8, "block_structure": [96, 64]}}}})";
  const DecodedSource source = *decoded(blocks, {{"a.weight", DType::kF8E4M3, {192, 64}},
                                                 {"a.weight_scale", DType::kF32, {2, 1}},
                                                 {"b.weight", DType::kF8E4M3, {8, 64}},
                                                 {"b.weight_scale", DType::kU8, {8, 2}}});
  const auto& op =
      std::get<tensors::ScaleBlocks>(find(source, "a.weight")->pieces[0].computed->operation);
  EXPECT_EQ(op.rows, 96);
  ASSERT_TRUE(find(source, "b.weight")->packed);
  EXPECT_EQ(find(source, "b.weight")->packed->scheme(), (Scheme{Mode::kMxfp8, 8, 32}));
}

TEST(CompressedTensors, ZeroPointsComeInTwoForms) {
  EXPECT_TRUE(
      decoded(settings(4), and_also(packed(), {"a.weight_zero_point", DType::kI32, {1, 2}})));
  EXPECT_TRUE(
      decoded(settings(4), and_also(packed(), {"a.weight_zero_point", DType::kI8, {8, 2}})));
  const auto of = [](DType type, const base::Shape& shape) {
    return refusal(settings(4), and_also(packed(), {"a.weight_zero_point", type, shape}));
  };
  const std::string tail = "; expected 4-bit codes of [8, 2] packed along the first axis";
  const std::string head = "kInvalidInput tensor 'a.weight_zero_point': it is ";
  EXPECT_EQ(of(DType::kI32, {2, 2}), head + "I32 [2, 2]" + tail);
  EXPECT_EQ(of(DType::kI32, {1, 3}), head + "I32 [1, 3]" + tail);
  EXPECT_EQ(of(DType::kI32, {0, 2}), head + "I32 [0, 2]" + tail);
  EXPECT_EQ(of(DType::kI32, {2}), head + "I32 [2]" + tail);
  EXPECT_EQ(of(DType::kI8, {8, 1}), head + "I8 [8, 1]" + tail);
  EXPECT_EQ(of(DType::kU8, {8, 2}), head + "U8 [8, 2]" + tail);
}

TEST(CompressedTensors, IntegersThatAreNotPacked) {
  const auto of = [](const base::Shape& numbers, const base::Shape& scales,
                     std::vector<Stored> more = {}) {
    more.push_back({"a.weight", DType::kI8, numbers});
    more.push_back({"a.weight_scale", DType::kBF16, scales});
    return refusal(settings(8), more);
  };
  EXPECT_EQ(of({8, 64}, {8, 1}), "accepted");
  EXPECT_EQ(of({8, 64}, {8}), "accepted");
  EXPECT_EQ(of({8, 64}, {1}), "accepted");
  EXPECT_EQ(of({8, 64}, {}), "accepted");
  EXPECT_EQ(of({8, 64}, {8, 1}, {{"a.weight_zero_point", DType::kI8, {8, 1}}}), "accepted");
  EXPECT_EQ(of({8, 64}, {}, {{"a.weight_zero_point", DType::kI8, {1}}}), "accepted");
  EXPECT_EQ(of({64}, {1}), "kInvalidInput tensor 'a.weight': it is I8 [64]; expected 2 axes");
  EXPECT_EQ(of({8, 3}, {8, 1}),
            "kInvalidInput tensor 'a.weight': its rows U8 [8, 3] are no whole number of U32");
  EXPECT_EQ(of({8, 64}, {7}),
            "kInvalidInput tensor 'a.weight': its 8-bit codes [8, 16], scales BF16 [7, 1] do not "
            "fit each other");
  EXPECT_EQ(of({8, 64}, {2, 8, 1}),
            "kInvalidInput tensor 'a.weight': its 8-bit codes [8, 16], scales BF16 [2, 8, 1] do "
            "not fit each other");
  EXPECT_EQ(of({0, 64}, {0, 1}),
            "kInvalidInput tensor 'a.weight': its 8-bit codes [0, 16], scales BF16 [0, 1] do not "
            "fit each other");
  EXPECT_EQ(of({8, 64}, {8, 1}, {{"a.weight_zero_point", DType::kU8, {8, 1}}}),
            "kInvalidInput tensor 'a.weight_zero_point': it is U8 [8, 1]; expected I8");
  EXPECT_EQ(of({8, 64}, {8, 1}, {{"a.weight_zero_point", DType::kI8, {7}}}),
            "kInvalidInput tensor 'a.weight_zero_point': its shape [7] does not hold as many "
            "elements as [8, 1]");
}

TEST(CompressedTensors, FloatsThatAreNotPacked) {
  const auto of = [](DType type, std::vector<Stored> more = {}) {
    more.push_back({"a.weight", type, {8, 64}});
    more.push_back({"a.weight_scale", DType::kF32, {8, 1}});
    return refusal(settings(8), more);
  };
  EXPECT_EQ(of(DType::kF8E4M3), "accepted");
  EXPECT_EQ(of(DType::kU8),
            "kInvalidInput tensor 'a.weight': it is U8 [8, 64]; expected I8 or F8_E4M3");
  const std::vector<std::int8_t> zeros(8, 0);
  EXPECT_EQ(of(DType::kF8E4M3, {{"a.weight_zero_point", DType::kI8, {8, 1}, bytes_of(zeros)}}),
            "accepted");
  const std::vector<std::int8_t> ones(8, 1);
  EXPECT_EQ(of(DType::kF8E4M3, {{"a.weight_zero_point", DType::kI8, {8, 1}, bytes_of(ones)}}),
            "kInvalidInput tensor 'a.weight_zero_point': it is I8 [8, 1]; expected zeros, as for "
            "all 8-bit floats");
}

TEST(CompressedTensors, Fp4) {
  const auto of = [](const base::Shape& codes, DType scale_type, const base::Shape& scales,
                     std::vector<Stored> more = {}) {
    more.push_back({"a.weight_packed", DType::kU8, codes});
    more.push_back({"a.weight_scale", scale_type, scales});
    return refusal(settings(4), more);
  };
  EXPECT_EQ(of({8, 32}, DType::kU8, {8, 2}), "accepted");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}), "accepted");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}, {{"a.weight_global_scale", DType::kF32, {1}}}),
            "accepted");
  const std::string head = "kInvalidInput tensor 'a.weight': its FP4 codes U8 ";
  EXPECT_EQ(of({8, 32}, DType::kU8, {8, 4}),
            head + "[8, 32] and scales U8 [8, 4] do not fit each other");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {7, 4}),
            head + "[8, 32] and scales F8_E4M3 [7, 4] do not fit each other");
  EXPECT_EQ(of({8, 32}, DType::kF16, {8, 2}),
            head + "[8, 32] and scales F16 [8, 2] do not fit each other");
  EXPECT_EQ(of({32}, DType::kU8, {2}), head + "[32] and scales U8 [2] do not fit each other");
  EXPECT_EQ(of({0, 32}, DType::kU8, {0, 2}),
            head + "[0, 32] and scales U8 [0, 2] do not fit each other");
  EXPECT_EQ(of({8, 0}, DType::kU8, {8, 0}),
            head + "[8, 0] and scales U8 [8, 0] do not fit each other");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}, {{"a.weight_global_scale", DType::kBF16, {1}}}),
            "kInvalidInput tensor 'a.weight_global_scale': it is BF16 [1]; expected F32");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}, {{"a.weight_global_scale", DType::kF32, {8}}}),
            "kInvalidInput tensor 'a.weight_global_scale': it is F32 [8]; expected one F32 for "
            "each tensor");
  EXPECT_EQ(of({8, 32}, DType::kF8E4M3, {8, 4}, {{"a.weight_global_scale", DType::kF32, {0}}}),
            "kInvalidInput tensor 'a.weight_global_scale': it is F32 [0]; expected one F32 for "
            "each tensor");
}

TEST(CompressedTensors, RefusesSparseFormats) {
  EXPECT_EQ(refusal(settings(4, R"(, "sparsity_config": {"format": "sparse-24-bitmask"})"), {}),
            "kUnsupported config.json: quantization_config: the sparse format 'sparse-24-bitmask' "
            "of compressed-tensors is not read");
  EXPECT_EQ(refusal(settings(4, R"(, "format": "marlin-24")"), packed()),
            "kUnsupported config.json: quantization_config: the format 'marlin-24' of "
            "compressed-tensors is not read; convert the original checkpoint");
  for (const std::string_view dense : {R"({"format": "dense"})", "null", "{}"}) {
    EXPECT_EQ(refusal(settings(4, R"(, "sparsity_config": )" + std::string(dense)), packed()),
              "accepted");
  }
}

TEST(CompressedTensors, LeavesOutScalesOfActivationsAndOfFloats) {
  std::vector<Stored> stored = packed();
  for (const std::string name : {"a.input_scale", "a.input_zero_point", "a.input_global_scale",
                                 "a.output_scale", "attn.k_scale", "attn.v_scale"}) {
    stored.push_back({name, DType::kF32, {1}});
  }
  stored.push_back({"b.weight", DType::kBF16, {8, 8}});
  stored.push_back({"b.weight_scale", DType::kF32, {1}});
  stored.push_back({"b.weight_zero_point", DType::kI8, {1}});
  const DecodedSource source = *decoded(settings(4), stored);
  EXPECT_THAT(names(source), ElementsAre("b.weight", "a.weight"));
  const std::string_view activations = "a scale of activations";
  EXPECT_THAT(
      source.dropped,
      ElementsAre(Pair("b.weight_scale", "a scale of weights that are floats already"),
                  Pair("b.weight_zero_point", "a zero point of weights that are floats already"),
                  Pair("a.input_scale", activations), Pair("a.input_zero_point", activations),
                  Pair("a.input_global_scale", activations), Pair("a.output_scale", activations),
                  Pair("attn.k_scale", activations), Pair("attn.v_scale", activations)));
}

}  // namespace
}  // namespace mlxmill::sources

// The tensor types of GGUF files: their ids, names and block sizes.
//
// Source: enum ggml_type in ggml/include/ggml.h and the block structs of ggml/src/ggml-common.h of
// ggml-org/llama.cpp; the same table is GGML_QUANT_SIZES of the gguf package.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace mlxmill::base {

/// The ids that are read. They are those of the files.
enum class GgmlType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
};

/// What is known of an id. A row of a tensor is a whole number of blocks.
struct GgmlTypeInfo {
  std::uint32_t id;
  std::string_view name;         ///< As ggml spells it in its enum: "Q4_K".
  std::uint32_t block_elements;  ///< Weights per block; 0 for ids that are known but not read.
  std::uint32_t block_bytes;
};

/// In the order of their ids.
inline constexpr std::array kGgmlTypes = {
    GgmlTypeInfo{0, "F32", 1, 4},
    GgmlTypeInfo{1, "F16", 1, 2},
    GgmlTypeInfo{2, "Q4_0", 32, 18},
    GgmlTypeInfo{3, "Q4_1", 32, 20},
    GgmlTypeInfo{4, "Q4_2", 0, 0},  // Taken out of ggml in 2023, like Q4_3.
    GgmlTypeInfo{5, "Q4_3", 0, 0},
    GgmlTypeInfo{6, "Q5_0", 32, 22},
    GgmlTypeInfo{7, "Q5_1", 32, 24},
    GgmlTypeInfo{8, "Q8_0", 32, 34},
    // For activations only. Its block has had two sizes, and files do not tell which.
    GgmlTypeInfo{9, "Q8_1", 0, 0},
    GgmlTypeInfo{10, "Q2_K", 256, 84},
    GgmlTypeInfo{11, "Q3_K", 256, 110},
    GgmlTypeInfo{12, "Q4_K", 256, 144},
    GgmlTypeInfo{13, "Q5_K", 256, 176},
    GgmlTypeInfo{14, "Q6_K", 256, 210},
    GgmlTypeInfo{15, "Q8_K", 256, 292},
    GgmlTypeInfo{16, "IQ2_XXS", 256, 66},
    GgmlTypeInfo{17, "IQ2_XS", 256, 74},
    GgmlTypeInfo{18, "IQ3_XXS", 256, 98},
    GgmlTypeInfo{19, "IQ1_S", 256, 50},
    GgmlTypeInfo{20, "IQ4_NL", 32, 18},
    GgmlTypeInfo{21, "IQ3_S", 256, 110},
    GgmlTypeInfo{22, "IQ2_S", 256, 82},
    GgmlTypeInfo{23, "IQ4_XS", 256, 136},
    GgmlTypeInfo{24, "I8", 1, 1},
    GgmlTypeInfo{25, "I16", 1, 2},
    GgmlTypeInfo{26, "I32", 1, 4},
    GgmlTypeInfo{27, "I64", 1, 8},
    GgmlTypeInfo{28, "F64", 1, 8},
    GgmlTypeInfo{29, "IQ1_M", 256, 56},
    GgmlTypeInfo{30, "BF16", 1, 2},
    // Weights interleaved for one kind of CPU; ggml makes them when it loads a file.
    GgmlTypeInfo{31, "Q4_0_4_4", 0, 0},
    GgmlTypeInfo{32, "Q4_0_4_8", 0, 0},
    GgmlTypeInfo{33, "Q4_0_8_8", 0, 0},
    GgmlTypeInfo{34, "TQ1_0", 256, 54},
    GgmlTypeInfo{35, "TQ2_0", 256, 66},
    GgmlTypeInfo{36, "IQ4_NL_4_4", 0, 0},
    GgmlTypeInfo{37, "IQ4_NL_4_8", 0, 0},
    GgmlTypeInfo{38, "IQ4_NL_8_8", 0, 0},
    GgmlTypeInfo{39, "MXFP4", 32, 17},
    GgmlTypeInfo{40, "NVFP4", 64, 36},
    GgmlTypeInfo{41, "Q1_0", 128, 18},
    // Newer than the gguf package that the decoders are held against.
    GgmlTypeInfo{42, "Q2_0", 0, 0},
};

/// The entry of an id from a file; null for one that is not known.
constexpr const GgmlTypeInfo* find_ggml_type(std::uint32_t id) {
  const auto* const end = kGgmlTypes.data() + kGgmlTypes.size();
  const auto* const found = std::find_if(kGgmlTypes.data(), end,
                                         [id](const GgmlTypeInfo& info) { return info.id == id; });
  return found == end ? nullptr : found;
}

constexpr const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  return *find_ggml_type(static_cast<std::uint32_t>(type));
}

}  // namespace mlxmill::base

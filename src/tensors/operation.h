// What can be computed from tensors while they are read. Data only; src/streaming/ evaluates it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ggml_type.h"
#include "tensors/tensor_view.h"

namespace mlxmill::tensors {

/// The input as it is: gives a tensor of several pieces an address space of its own.
struct Gathered {};

/// Every element in the result's dtype, rounded once. From any number type to F16, BF16, F32.
struct Cast {};

/// x + value, in the dtype of x.
struct AddConstant {
  double value = 0;
};

/// x * value, with the value rounded to the dtype of x first, as mlx treats Python numbers.
struct MultiplyConstant {
  double value = 1;
};

/// x times a vector along one axis, in the dtype of x.
struct MultiplyAlong {
  std::size_t axis = 0;
  std::vector<float> values;
};

/// Inputs: x, and factors of a float type: one for all, or one for each slice of the first axis.
/// The product in float32, rounded once.
struct MultiplyBy {};

/// x / (norm(x) + epsilon), the Euclidean norm taken along one axis, in float32.
struct Normalize {
  std::size_t axis = 0;
  double epsilon = 0;
};

/// Inputs: codes, scales and (affine) biases of an MLX scheme, optionally F32 factors [..., rows,
/// 1] that the weights are multiplied by. The weights they stand for.
struct DecodePacked {
  Scheme scheme;
  bool has_global_scale = false;
};

/// Inputs: numbers [..., r, c] (F8E4M3, F8E5M2, I8) and scales [..., ceil(r / rows), ceil(c /
/// columns)] of a float type or F8E8M0. Every number times the scale of its block, in float32,
/// rounded once. The leading axes of the scales may be 1.
struct ScaleBlocks {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
};

/// Input: 32-bit words [..., n]. Each holds 32 / bits unsigned codes, the k-th in result order at
/// bit order[k] * bits. Result: U8 [..., n * 32 / bits]. Bits divide 32.
struct UnpackCodes {
  int bits = 4;
  std::array<std::uint8_t, 32> order{};
};

/// Input: 32-bit words [..., n * bits / 32] holding one little-endian bit stream per row. Result:
/// U8
/// [..., n].
struct UnpackStream {
  int bits = 4;
};

/// Input: codes U8 [..., n]. Result: U32 [..., n * bits / 32], one little-endian bit stream per
/// row.
struct PackStream {
  int bits = 4;
};

/// U8 or I8 numbers xor a mask. 0x80 turns int8 into codes that are 128 higher.
struct XorBytes {
  std::uint8_t mask = 0;
};

/// U8 + value, modulo 256.
struct AddBytes {
  std::uint8_t value = 0;
};

/// (U8 >> shift) & mask.
struct ShiftBytes {
  int shift = 0;
  std::uint8_t mask = 0;
};

/// 1 / x in float32, rounded once.
struct Reciprocal {};

/// log(-x) in float64, rounded once; NaN where x is not negative. Undoes -exp(x).
struct LogOfNegative {};

/// No inputs: the same number everywhere.
struct Constant {
  float value = 0;
};

/// What a gate with fixed weights gives the branch, s = sigmoid(x / temperature), or the stream,
/// sqrt(max(sigmoid(-x / temperature) * (1 + s), epsilon)). In float32.
struct ResidualGate {
  double temperature = 1;
  double epsilon = 0;
  bool stream = false;
};

/// Inputs: zero points U8 and scales. -(zero + add) * scale in float32, rounded to the scales'
/// dtype.
struct ZeroToBias {
  int add = 0;
};

/// Inputs: codes U8 [r, c], scales [r, g], then zero points U8 [r, g] if `has_zeros` and I32 [c] if
/// `has_index`, which says the group of each column; without it groups are runs of `group` columns,
/// the last one perhaps shorter; 0: of c / g. (code - zero - add) * scale in float32, rounded once.
struct DecodeGroups {
  int add = 0;
  bool has_zeros = true;
  bool has_index = false;
  std::int64_t group = 0;
};

/// Input: bytes [..., row bytes] of ggml blocks. Result: F32 [..., weights].
struct DecodeGgml {
  base::GgmlType type{};
};

/// Input: as DecodeGgml. Result: one part of the same weights in the scheme that holds them.
struct RepackGgml {
  enum class Part : std::uint8_t { kCodes, kScales, kBiases };
  base::GgmlType type{};
  Scheme scheme;
  Part part = Part::kCodes;
};

/// x as it is; reading an element that is none of the values is an error with the reason `why`.
struct OnlyValues {
  std::vector<float> values;
  std::string why;
};

using Operation =
    std::variant<Gathered, Cast, AddConstant, MultiplyConstant, MultiplyAlong, MultiplyBy,
                 Normalize, DecodePacked, ScaleBlocks, UnpackCodes, UnpackStream, PackStream,
                 XorBytes, AddBytes, ShiftBytes, Reciprocal, LogOfNegative, Constant, ResidualGate,
                 ZeroToBias, DecodeGroups, DecodeGgml, RepackGgml, OnlyValues>;

/// A tensor that is computed when it is read.
struct Computed {
  Operation operation;
  DType dtype = DType::kBF16;
  base::Shape shape;
  SharedList<TensorView> inputs;
};

/// How many computations lie on top of each other in a view; 0 for a stored tensor's.
std::size_t depth(const TensorView& view);

/// The whole of a computed tensor.
TensorView view_of(std::string name, Computed computed);

/// One line that tells two computations apart, inputs included; for fingerprints.
std::string describe(const Computed& computed);
std::string describe(const TensorView& view);

}  // namespace mlxmill::tensors

// The methods by which others quantize, one file each. A new one is a file, a line here and a line
// in decode.cc.
#pragma once

#include <string>

#include "sources/decode.h"

namespace mlxmill::sources {

/// Rows and columns that one scale stands for.
using Block = std::pair<std::int64_t, std::int64_t>;

/// What a method works on.
struct Work {
  SourceTable& table;
  const base::Value& settings;
  std::string model_type;
  bool repack = false;  ///< Also what mlx-lm would keep as it is.
  DecodedSource& result;

  /// Leaves a tensor out, where it is.
  void drop(std::string_view name, std::string_view why);
};

/// A member of the settings that is an integer; the fallback when it is absent or null. Errors:
/// kInvalidInput outside of [least, most].
Result<std::int64_t> integer_setting(const base::Value& settings, std::string_view key,
                                     std::int64_t fallback, std::int64_t least, std::int64_t most);
/// A member that is two sizes, as [128, 128]; none when it is absent or null. Errors: kInvalidInput
/// for anything else.
Result<std::optional<Block>> block_setting(const base::Value& settings, std::string_view key);
/// A member that is a string, else the fallback.
std::string text_setting(const base::Value& settings, std::string_view key,
                         std::string_view fallback);

/// kUnsupported, with the first tensor that plain checkpoints do not have.
Error unsupported(const Work& work, std::string_view what);

/// kInvalidInput at the tensor.
Error unfit(const tensors::TensorView& view, std::string_view expected);

/// kInvalidInput when the checkpoint holds weights of that name beside those in `codes`.
Status check_unused(const Work& work, const std::string& name, std::string_view codes);

/// Integer codes with a scale and perhaps a zero point for each group along a row.
struct GroupedCodes {
  int bits = 4;
  tensors::TensorView codes;                 ///< U32 [..., out, in * bits / 32], MLX's own order.
  tensors::TensorView scales;                ///< Float [..., out, in / group].
  std::optional<tensors::TensorView> zeros;  ///< U8, as the scales; absent: 2^(bits - 1).
  int add_to_zeros = 0;
  std::int64_t group = 0;  ///< Columns of a group, for a last group that is shorter. 0: not told.
  /// I32 [in], the group of each column where these are no runs.
  std::optional<tensors::TensorView> index;
};

/// The codes in 32-bit words, one byte each, along the last axis: in their natural order or
/// AutoAWQ's. Bits that do not divide 32 are one bit stream for each row.
tensors::TensorView unpacked_codes(const tensors::TensorView& words, int bits,
                                   bool awq_order = false);

/// The weights as an MLX affine view: biases are -zero * scale, rounded once. Groups longer than
/// MLX's are cut, and their scales repeated. Where MLX has no such groups or bits, the decoded
/// weights, `coded_as` the nearest that it has. Errors: kInvalidInput when the parts do not fit
/// each other.
Result<tensors::TensorView> affine_view(std::string name, GroupedCodes parts);

/// The parts' index, when it is there and says more than runs of equal length; then it stays in
/// `parts`. Reads it. Errors: kInvalidInput for another length or a group that is not there.
Status check_index(const Work& work, GroupedCodes& parts);

/// Counts modules whose codes MLX could not hold, for one warning.
class DecodedModules {
 public:
  void add(const tensors::TensorView& view);
  void warn(DecodedSource& result) const;

 private:
  std::size_t n_modules_ = 0;
  std::size_t n_quantized_ = 0;  ///< Anew.
  std::size_t n_floats_ = 0;
};

/// Block scales on 8-bit numbers: `scales` [..., ceil(r / rows), ceil(c / columns)], or fewer, or
/// one. `block` is the size the settings tell, if they do. Result BF16. Errors: kInvalidInput when
/// the scales fit no block.
Result<tensors::TensorView> scaled_view(const tensors::TensorView& numbers,
                                        tensors::TensorView scales, std::optional<Block> block);

/// FP4 codes, two to a byte (low half first), with E4M3 scales of 16 (times a factor for each
/// tensor, each expert or each of equal parts of an expert's rows) or E8M0 scales of 32. Errors:
/// kInvalidInput when the parts do not fit each other.
Result<tensors::TensorView> fp4_view(std::string name, tensors::TensorView bytes,
                                     tensors::TensorView scales,
                                     std::optional<tensors::TensorView> factor);

/// E4M3 numbers with an E8M0 exponent for each 32 of a row, as MLX's mxfp8.
Result<tensors::TensorView> mxfp8_view(tensors::TensorView numbers, tensors::TensorView exponents);

/// 8-bit floats with what scales they have: mxfp8_view() for an E8M0 exponent (U8 too) for each 32
/// of a row, else scaled_view(). Errors: those of both.
Result<tensors::TensorView> float8_view(const tensors::TensorView& numbers,
                                        tensors::TensorView scales, std::optional<Block> block);

Status decode_auto_round(Work& work);
Status decode_awq(Work& work);
Status decode_bitnet(Work& work);
Status decode_compressed_tensors(Work& work);
Status decode_fp8(Work& work);
Status decode_gptq(Work& work);
Status decode_modelopt(Work& work);
Status decode_mxfp4(Work& work);

}  // namespace mlxmill::sources

// The safetensors container: strict reader, canonical writer. Layout: docs/FORMATS.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/shape.h"
#include "io/file.h"
#include "mlxmill/dtype.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// One entry of a header. Offsets count bytes from the start of the file.
struct StoredTensor {
  std::string name;
  DType dtype;
  base::Shape shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// A parsed and fully checked header.
struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  ///< In the order of their data.
  std::map<std::string, std::string> metadata;
  std::uint64_t data_begin = 0;  ///< 8 + header length.
  std::uint64_t file_bytes = 0;
};

/// The longest header that is read or written, as in the safetensors library.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;

/// Reads and checks the header of an open file: length at most kMaxSafetensorsHeader and within the
/// file; UTF-8 JSON object; no duplicate names; known dtypes; extents not negative, sizes that do
/// not overflow and equal the offsets' distance; offsets contiguous from 0 without hole or overlap
/// to exactly the end of the file. Names must not be empty or hold control characters; a tensor has
/// at most 64 extents, and dtype, shape and data_offsets and nothing else. Errors: kInvalidInput
/// naming file, tensor, expected and got; kUnsupported for dtypes that are not read. Cost: memory
/// in proportion to the header, which is checked against the file's real size before it is read.
Result<SafetensorsHeader> read_safetensors_header(const io::File& file);

/// The same from the header's text, which follows the length word, for a file of `file_bytes` in
/// all; errors name `file_name`.
Result<SafetensorsHeader> parse_safetensors_header(std::string_view text, std::uint64_t file_bytes,
                                                   std::string_view file_name);

/// What a file to be written will hold.
struct TensorToWrite {
  std::string name;
  DType dtype;
  base::Shape shape;
};

/// The bytes in front of the data and where each tensor goes.
struct SafetensorsLayout {
  std::string prefix;  ///< Length word and header, padded with spaces to a multiple of 8.
  std::vector<StoredTensor> tensors;  ///< In data order: the library's order of dtypes, then name.
  std::vector<std::size_t> order;     ///< The place each of them had among those given.
  std::uint64_t file_bytes = 0;
};

/// Lays out a file in the canonical order of the safetensors library: widest dtypes first (U64,
/// I64, F64, F32, U32, I32, BF16, F16, U16, I16, F8_E8M0, F8_E4M3, F8_E5M2, I8, U8, BOOL), then by
/// name; `metadata` in front. The bytes are those the library writes. Errors: kInternal on a
/// duplicate, empty or reserved name, one with control characters or that is no UTF-8, sizes past
/// 2^62, a header past kMaxSafetensorsHeader.
Result<SafetensorsLayout> lay_out_safetensors(std::vector<TensorToWrite> tensors,
                                              const std::map<std::string, std::string>& metadata);

/// Why a tensor cannot have this name, for example "is empty"; empty when it can. `name` must be
/// UTF-8.
std::string_view bad_tensor_name(std::string_view name);

}  // namespace mlxmill::formats

// The GGUF container: strict reader of single files and of models split into several. Layout:
// docs/FORMATS.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ggml_type.h"
#include "base/shape.h"
#include "base/value.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// One tensor of a file. Offsets count bytes from the start of the file.
struct GgufTensor {
  std::string name;
  base::GgmlType type = base::GgmlType::kF32;
  base::Shape shape;  ///< Row-major, outermost first: the file's own order reversed.
  std::uint64_t elements = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< begin + elements / block_elements * block_bytes.
};

/// What a file says about the split model it is part of.
struct GgufSplit {
  std::uint32_t number = 0;   ///< From 0.
  std::uint32_t count = 0;    ///< At least 2.
  std::uint64_t tensors = 0;  ///< Of all parts together.
};

/// A parsed and fully checked header.
struct GgufHeader {
  std::uint32_t version = 0;  ///< 2 or 3.
  std::uint64_t alignment = 0;
  /// An object: the keys in the order of the file. Integers and booleans as such, both float types
  /// as floats, an unsigned 64-bit integer past int64 as BigInteger. Strings are the file's bytes:
  /// vocabularies hold parts of characters, so they need not be UTF-8.
  base::Value metadata;
  std::vector<GgufTensor> tensors;  ///< In the order of their data.
  std::optional<GgufSplit> split;   ///< For parts of a split model.
  std::uint64_t data_begin = 0;
  std::uint64_t file_bytes = 0;
};

/// The longest header that is read. The vocabularies of published models take up to 20 MB.
inline constexpr std::uint64_t kMaxGgufHeader = 256ull << 20;
/// How many values metadata may hold, elements of arrays included.
inline constexpr std::uint64_t kMaxGgufValues = 4'000'000;
inline constexpr std::uint64_t kMaxGgufKeys = 65'536;
inline constexpr std::uint64_t kMaxGgufTensors = 1'000'000;
/// Of keys and of tensor names.
inline constexpr std::uint64_t kMaxGgufName = 65'535;
/// Levels of arrays in arrays.
inline constexpr int kMaxGgufDepth = 4;

/// Reads and checks the header of an open file: little-endian, version 2 or 3; counts, lengths and
/// sizes within the limits above and within the file; unique keys and tensor names that are UTF-8,
/// not empty and without control characters; known value and tensor types; at most 4 extents whose
/// product does not overflow, rows of whole blocks; offsets that are multiples of the alignment, a
/// power of two, with data inside the file that does not overlap. Errors: kUnsupported for version
/// 1, big-endian files, the formats before GGUF and tensor types that are not read; else
/// kInvalidInput naming file, key or tensor, position, expected and got. Cost: reads the header in
/// blocks; memory in proportion to it, which the file's real size bounds before anything is
/// allocated.
Result<GgufHeader> read_gguf_header(const io::File& file);

/// The same from bytes in memory, the beginning of a file of `file_bytes` in all that must hold the
/// header; errors name `file_name`.
Result<GgufHeader> parse_gguf_header(std::string_view bytes, std::uint64_t file_bytes,
                                     std::string_view file_name);

/// Whether the path is a regular file that is called *.gguf or begins as one: blobs of caches have
/// no such name.
bool is_gguf_file(const std::filesystem::path& path);

/// One file of a model, open for reading.
struct GgufPart {
  std::filesystem::path path;
  io::File file;
  GgufHeader header;
};

/// A tensor and the part it lies in.
struct GgufModelTensor {
  GgufTensor tensor;
  std::size_t part = 0;
};

/// A model of one file or of several.
struct GgufModel {
  std::vector<GgufPart> parts;           ///< In the order of their numbers.
  std::vector<GgufModelTensor> tensors;  ///< Part by part, in data order.
  std::uint64_t file_bytes = 0;          ///< Of all parts.

  /// The model's metadata: that of its first part, an object.
  const base::Value& metadata() const { return parts.front().header.metadata; }
};

/// Opens a file and, where it is the first part of a split model (NAME-00001-of-00003.gguf), the
/// other parts beside it. Errors as read_gguf_header, and: kNotFound for a missing part;
/// kInvalidInput for a part other than the first, a name that contradicts the file's own numbers,
/// parts that do not belong together (number, count, number of tensors, architecture), a tensor in
/// two parts, a link that leads out of the folder.
Result<GgufModel> open_gguf(const std::filesystem::path& path);

}  // namespace mlxmill::formats

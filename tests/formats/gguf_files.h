// Hand-made GGUF files.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/little_endian.h"

namespace mlxmill::testing {

inline std::string u8(std::uint64_t v) { return le(v, 1); }
inline std::string u16(std::uint64_t v) { return le(v, 2); }
inline std::string u32(std::uint64_t v) { return le(v, 4); }
inline std::string u64(std::uint64_t v) { return le(v, 8); }
inline std::string f32(float v) { return u32(std::bit_cast<std::uint32_t>(v)); }
inline std::string f64(double v) { return u64(std::bit_cast<std::uint64_t>(v)); }
/// Length and bytes.
inline std::string text(std::string_view v) { return u64(v.size()) + std::string(v); }

/// Ids of value types.
enum : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

inline std::string array(std::uint32_t type, std::uint64_t count, std::string_view elements) {
  return u32(type) + u64(count) + std::string(elements);
}

/// Puts a file together from parts that need not make sense.
struct GgufFile {
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::vector<std::string> pairs;
  std::vector<std::string> tensors;
  std::uint64_t alignment = 32;
  std::string data;

  GgufFile& pair(std::string_view key, std::uint32_t type, std::string_view value) {
    pairs.push_back(text(key) + u32(type) + std::string(value));
    return *this;
  }
  /// Extents as in the file, innermost first.
  GgufFile& tensor(std::string_view name, const std::vector<std::uint64_t>& extents,
                   std::uint32_t type, std::uint64_t offset) {
    std::string entry = text(name) + u32(extents.size());
    for (const std::uint64_t extent : extents) entry += u64(extent);
    tensors.push_back(entry + u32(type) + u64(offset));
    return *this;
  }
  GgufFile& with_data(std::size_t bytes) {
    data.assign(bytes, '\1');
    return *this;
  }

  std::string header() const {
    std::string bytes = magic + u32(version) + u64(tensors.size()) + u64(pairs.size());
    for (const std::string& pair : pairs) bytes += pair;
    for (const std::string& tensor : tensors) bytes += tensor;
    return bytes;
  }
  std::string bytes() const {
    std::string bytes = header();
    while (bytes.size() % alignment != 0) bytes += '\0';
    return bytes + data;
  }
};

}  // namespace mlxmill::testing

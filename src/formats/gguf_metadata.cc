#include "formats/gguf_metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/checked_math.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// The ids are those of the files: enum gguf_type in ggml/include/gguf.h.
enum class ValueType : std::uint32_t {
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
  kF64,
};

struct ValueTypeInfo {
  std::string_view plural;
  std::uint32_t min_bytes;  // The fewest that a value takes in a file.
};

constexpr std::array<ValueTypeInfo, 13> kValueTypes = {{{"u8 numbers", 1},
                                                        {"i8 numbers", 1},
                                                        {"u16 numbers", 2},
                                                        {"i16 numbers", 2},
                                                        {"u32 numbers", 4},
                                                        {"i32 numbers", 4},
                                                        {"f32 numbers", 4},
                                                        {"booleans", 1},
                                                        {"strings", 8},
                                                        {"arrays", 12},
                                                        {"u64 numbers", 8},
                                                        {"i64 numbers", 8},
                                                        {"f64 numbers", 8}}};

class MetadataReader {
 public:
  explicit MetadataReader(GgufBytes& bytes) : bytes_(bytes) {}

  Result<base::Value> read(std::uint64_t count) {
    base::Object object;
    // The fewest bytes of a pair: key length, one letter, type, one byte.
    object.reserve(static_cast<std::size_t>(std::min(count, bytes_.left() / 14)));
    for (std::uint64_t i = 0; i < count; ++i) {
      auto key = read_gguf_name(bytes_, "key");
      if (!key) return std::move(key.error().at(fmt::format("metadata {} of {}", i + 1, count)));
      auto value = read_typed();
      if (!value) return std::move(value.error().at(fmt::format("metadata {}", quote(*key))));
      object.push_back({*std::move(key), *std::move(value)});
    }
    MLXMILL_TRY(check_keys(object));
    return base::Value(std::move(object));
  }

 private:
  Result<ValueType> read_type() {
    MLXMILL_ASSIGN(const std::uint32_t type, bytes_.number<std::uint32_t>());
    if (type < kValueTypes.size()) return static_cast<ValueType>(type);
    return bytes_.error(
        fmt::format("value type {}; known are 0 to {}", type, kValueTypes.size() - 1));
  }

  Result<base::Value> read_typed() {
    MLXMILL_ASSIGN(const ValueType type, read_type());
    MLXMILL_TRY(count_values(1));
    return read_value(type, 0);
  }

  // Every value takes memory of its own, however few bytes it has in the file.
  Status count_values(std::uint64_t more) {
    if (more > kMaxGgufValues - values_) {
      return bytes_.error(
          fmt::format("metadata has more than {} values, the most that are read", kMaxGgufValues));
    }
    values_ += more;
    return {};
  }

  template <typename T>
  Result<base::Value> integer() {
    MLXMILL_ASSIGN(const T value, bytes_.number<T>());
    return base::Value(static_cast<std::int64_t>(value));
  }

  Result<base::Value> big_integer() {
    MLXMILL_ASSIGN(const std::uint64_t value, bytes_.number<std::uint64_t>());
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return base::Value(base::BigInteger{fmt::format("{}", value)});
    }
    return base::Value(static_cast<std::int64_t>(value));
  }

  Result<base::Value> boolean() {
    MLXMILL_ASSIGN(const std::uint8_t value, bytes_.number<std::uint8_t>());
    if (value > 1) return bytes_.error(fmt::format("a boolean of {}; expected 0 or 1", value));
    return base::Value(value == 1);
  }

  Result<base::Value> read_value(ValueType type, int depth) {
    switch (type) {
      case ValueType::kU8:
        return integer<std::uint8_t>();
      case ValueType::kI8:
        return integer<std::int8_t>();
      case ValueType::kU16:
        return integer<std::uint16_t>();
      case ValueType::kI16:
        return integer<std::int16_t>();
      case ValueType::kU32:
        return integer<std::uint32_t>();
      case ValueType::kI32:
        return integer<std::int32_t>();
      case ValueType::kI64:
        return integer<std::int64_t>();
      case ValueType::kU64:
        return big_integer();
      case ValueType::kF32: {
        MLXMILL_ASSIGN(const std::uint32_t bits, bytes_.number<std::uint32_t>());
        return base::Value(static_cast<double>(std::bit_cast<float>(bits)));
      }
      case ValueType::kF64: {
        MLXMILL_ASSIGN(const std::uint64_t bits, bytes_.number<std::uint64_t>());
        return base::Value(std::bit_cast<double>(bits));
      }
      case ValueType::kBool:
        return boolean();
      case ValueType::kString: {
        MLXMILL_ASSIGN(std::string text, bytes_.text("string", kMaxGgufHeader));
        return base::Value(std::move(text));
      }
      case ValueType::kArray:
        return read_array(depth + 1);
    }
    return bytes_.error("a value of no type");
  }

  Result<base::Value> read_array(int depth) {
    if (depth > kMaxGgufDepth) {
      return bytes_.error(fmt::format("arrays nested deeper than {} levels", kMaxGgufDepth));
    }
    MLXMILL_ASSIGN(const ValueType type, read_type());
    MLXMILL_ASSIGN(const std::uint64_t count, bytes_.number<std::uint64_t>());
    const ValueTypeInfo& info = kValueTypes[static_cast<std::size_t>(type)];
    if (count > bytes_.left() / info.min_bytes) {
      return bytes_
          .error(fmt::format("an array of {} {}; the file has {} more bytes", count, info.plural,
                             bytes_.left()))
          .hint("incomplete download?");
    }
    MLXMILL_TRY(count_values(count));
    base::Array array;
    array.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) {
      MLXMILL_ASSIGN(base::Value value, read_value(type, depth));
      array.push_back(std::move(value));
    }
    return base::Value(std::move(array));
  }

  // By sorting: a hash table can be fed with keys that collide.
  static Status check_keys(const base::Object& object) {
    std::vector<std::string_view> keys;
    keys.reserve(object.size());
    for (const base::Member& member : object) keys.push_back(member.key);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return {};
    return Error(Code::kInvalidInput, fmt::format("metadata {} appears twice", quote(*twice)));
  }

  GgufBytes& bytes_;
  std::uint64_t values_ = 0;
};

}  // namespace

Result<std::string> read_gguf_name(GgufBytes& bytes, std::string_view what) {
  MLXMILL_ASSIGN(std::string name, bytes.text(fmt::format("a {}", what), kMaxGgufName));
  std::string_view bad = bad_tensor_name(name);
  if (bad.empty() && !is_utf8(name)) bad = "is not UTF-8";
  if (!bad.empty()) return bytes.error(fmt::format("the {} {} {}", what, quote(name), bad));
  return name;
}

Result<base::Value> read_gguf_metadata(GgufBytes& bytes, std::uint64_t count) {
  return MetadataReader(bytes).read(count);
}

}  // namespace mlxmill::formats

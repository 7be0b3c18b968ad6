#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/checked_math.h"
#include "formats/errors.h"
#include "formats/gguf.h"
#include "formats/gguf_bytes.h"
#include "formats/gguf_metadata.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

using base::GgmlTypeInfo;

constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint32_t kMaxGgufRank = 4;
// The fewest bytes of an entry: key length, one letter, type and one byte of value; name length,
// one letter, rank, type and offset.
constexpr std::uint64_t kMinPairBytes = 14;
constexpr std::uint64_t kMinTensorBytes = 25;

// What people have in place of a GGUF file, told by its first four bytes.
Error wrong_magic(std::string_view magic) {
  for (const std::string_view old : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (magic != old) continue;
    const std::string name(old.rbegin(), old.rend());
    return unsupported(fmt::format("is a {} file, older than GGUF; versions 2 and 3 of GGUF are "
                                   "read",
                                   quote(name)))
        .hint("convert the original model");
  }
  Error error = invalid(fmt::format("begins with {}; expected 'GGUF'", quote(magic)));
  if (magic == "vers") {
    error.hint("a Git LFS pointer; `git lfs pull` brings the file itself");
  } else if (magic.starts_with('<')) {
    error.hint("a web page was saved in its place");
  } else if (magic == "PK\x03\x04") {
    error.hint("this is a PyTorch or zip file");
  }
  return error;
}

class GgufHeaderReader {
 public:
  GgufHeaderReader(GgufBytes::ReadAt read_at, std::uint64_t file_bytes, std::uint64_t limit)
      : bytes_(std::move(read_at), file_bytes, limit) {
    header_.file_bytes = file_bytes;
  }

  Result<GgufHeader> read() {
    MLXMILL_TRY(read_version());
    MLXMILL_ASSIGN(const std::uint64_t tensors, count("tensors", kMinTensorBytes, kMaxGgufTensors));
    MLXMILL_ASSIGN(const std::uint64_t pairs,
                   count("metadata entries", kMinPairBytes, kMaxGgufKeys));
    MLXMILL_ASSIGN(header_.metadata, read_gguf_metadata(bytes_, pairs));
    MLXMILL_TRY(read_alignment());
    MLXMILL_TRY(read_split());
    // What is left may be less than at the count.
    header_.tensors.reserve(
        static_cast<std::size_t>(std::min(tensors, bytes_.left() / kMinTensorBytes)));
    for (std::uint64_t i = 0; i < tensors; ++i) {
      auto name = read_gguf_name(bytes_, "tensor name");
      if (!name) return std::move(name.error().at(fmt::format("tensor {} of {}", i + 1, tensors)));
      header_.tensors.emplace_back().name = *std::move(name);
      Status status = read_tensor(header_.tensors.back());
      if (!status) return in_tensor(std::move(status).error(), header_.tensors.back().name);
    }
    header_.data_begin = base::round_up(bytes_.position(), header_.alignment);
    MLXMILL_TRY(place_tensors());
    MLXMILL_TRY(check_names());
    MLXMILL_TRY(check_overlap());
    return std::move(header_);
  }

 private:
  static Error in_tensor(Error error, std::string_view name) {
    return std::move(error.at(fmt::format("tensor {}", quote(name))));
  }

  Status read_version() {
    std::array<char, 4> magic{};
    MLXMILL_TRY(bytes_.take(magic.data(), magic.size()));
    const std::string_view text(magic.data(), magic.size());
    if (text != "GGUF") return wrong_magic(text);
    MLXMILL_ASSIGN(header_.version, bytes_.number<std::uint32_t>());
    if (header_.version == 2 || header_.version == 3) return {};
    // A version in the other byte order has its low half zero.
    if (header_.version != 0 && (header_.version & 0xFFFF) == 0) {
      return unsupported("is big-endian; little-endian GGUF is read");
    }
    return unsupported(
        fmt::format("is version {} of GGUF; versions 2 and 3 are read", header_.version));
  }

  Result<std::uint64_t> count(std::string_view what, std::uint64_t min_bytes, std::uint64_t max) {
    MLXMILL_ASSIGN(const std::uint64_t n, bytes_.number<std::uint64_t>());
    if (n > bytes_.left() / min_bytes) {
      return bytes_.error(fmt::format("{} {}; the file has {} more bytes", n, what, bytes_.left()))
          .hint(kIncomplete);
    }
    if (n > max) return bytes_.error(fmt::format("{} {}; at most {} are read", n, what, max));
    return n;
  }

  // A whole number of the metadata; empty where the key is absent.
  Result<std::optional<std::uint64_t>> whole_number(std::string_view key, std::uint64_t max) {
    const base::Value* value = header_.metadata.find(key);
    if (!value) return std::optional<std::uint64_t>();
    const auto failed = [&](std::string got) {
      return invalid(
                 fmt::format("is {}; expected a whole number from 0 to {}", std::move(got), max))
          .at(fmt::format("metadata {}", quote(key)));
    };
    const std::int64_t* number = value->as_int();
    if (!number) {
      const base::BigInteger* big = value->as_big_integer();
      return failed(big ? big->digits : std::string(value->type_name()));
    }
    if (*number < 0 || static_cast<std::uint64_t>(*number) > max) {
      return failed(fmt::format("{}", *number));
    }
    return std::optional(static_cast<std::uint64_t>(*number));
  }

  Status read_alignment() {
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
    MLXMILL_ASSIGN(const auto alignment, whole_number("general.alignment", kMax));
    header_.alignment = alignment.value_or(kDefaultAlignment);
    if (std::has_single_bit(header_.alignment)) return {};
    return invalid(fmt::format("is {}; expected a power of two", header_.alignment))
        .at("metadata 'general.alignment'");
  }

  Status read_split() {
    constexpr std::uint64_t kMaxParts = std::numeric_limits<std::uint16_t>::max();
    MLXMILL_ASSIGN(const auto n_parts, whole_number("split.count", kMaxParts));
    MLXMILL_ASSIGN(const auto number, whole_number("split.no", kMaxParts));
    MLXMILL_ASSIGN(const auto tensors, whole_number("split.tensors.count", kMaxGgufTensors));
    if (!n_parts || *n_parts < 2) return {};
    if (!number || !tensors) {
      return invalid(fmt::format("'split.count' is {}, without {}", *n_parts,
                                 number ? "'split.tensors.count'" : "'split.no'"))
          .at("metadata");
    }
    if (*number >= *n_parts) {
      return invalid(fmt::format("'split.no' is {} of {}; it counts from 0", *number, *n_parts))
          .at("metadata");
    }
    header_.split = GgufSplit{static_cast<std::uint32_t>(*number),
                              static_cast<std::uint32_t>(*n_parts), *tensors};
    return {};
  }

  // Its offsets still count from the start of the data.
  Status read_tensor(GgufTensor& tensor) {
    MLXMILL_TRY(read_shape(tensor));
    MLXMILL_ASSIGN(const std::uint32_t id, bytes_.number<std::uint32_t>());
    const GgmlTypeInfo* type = base::find_ggml_type(id);
    if (!type) return unsupported(fmt::format("type {} is not known", id));
    if (type->block_elements == 0) {
      return unsupported(fmt::format("type {} ({}) is not read", type->name, id));
    }
    tensor.type = static_cast<base::GgmlType>(id);
    MLXMILL_ASSIGN(tensor.begin, bytes_.number<std::uint64_t>());
    return check_size(tensor, *type);
  }

  Status read_shape(GgufTensor& tensor) {
    MLXMILL_ASSIGN(const std::uint32_t rank, bytes_.number<std::uint32_t>());
    if (rank > kMaxGgufRank) {
      return bytes_.error(fmt::format("{} extents; at most {} are read", rank, kMaxGgufRank));
    }
    tensor.shape.resize(rank);
    // The file begins with the innermost.
    for (std::size_t i = rank; i-- > 0;) {
      MLXMILL_ASSIGN(const std::uint64_t extent, bytes_.number<std::uint64_t>());
      if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return bytes_.error(fmt::format("an extent of {}; at most {} are read", extent,
                                        std::numeric_limits<std::int64_t>::max()));
      }
      tensor.shape[i] = static_cast<std::int64_t>(extent);
    }
    return {};
  }

  Status check_size(GgufTensor& tensor, const GgmlTypeInfo& type) const {
    const auto row = tensor.shape.empty() ? 1 : static_cast<std::uint64_t>(tensor.shape.back());
    if (row % type.block_elements != 0) {
      return invalid(fmt::format("rows of {} {}; expected a multiple of {}", row, type.name,
                                 type.block_elements));
    }
    const auto too_large = [&] {
      return invalid(fmt::format("shape {} at offset {} does not fit in a file",
                                 base::to_string(tensor.shape), tensor.begin));
    };
    const auto elements = base::element_count(tensor.shape);
    if (!elements) return too_large();
    const auto bytes = base::checked_mul(*elements / type.block_elements, type.block_bytes);
    if (!bytes) return too_large();
    const auto end = base::checked_add(tensor.begin, *bytes);
    if (!end) return too_large();
    if (tensor.begin % header_.alignment != 0) {
      return invalid(
          fmt::format("offset {}; expected a multiple of {}", tensor.begin, header_.alignment));
    }
    tensor.elements = *elements;
    tensor.end = *end;
    return {};
  }

  Status place_tensors() {
    for (GgufTensor& tensor : header_.tensors) {
      const auto end = base::checked_add(tensor.end, header_.data_begin);
      if (!end || *end > header_.file_bytes) {
        return in_tensor(invalid(fmt::format("{} {} ends {} bytes into the data; the file has {}",
                                             base::ggml_type_info(tensor.type).name,
                                             base::to_string(tensor.shape), tensor.end,
                                             header_.file_bytes -
                                                 std::min(header_.data_begin, header_.file_bytes)))
                             .hint(kIncomplete),
                         tensor.name);
      }
      tensor.begin += header_.data_begin;
      tensor.end = *end;
    }
    return {};
  }

  // By sorting: a hash table can be fed with names that collide.
  Status check_names() const {
    std::vector<std::string_view> names;
    names.reserve(header_.tensors.size());
    for (const GgufTensor& tensor : header_.tensors) names.push_back(tensor.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice == names.end()) return {};
    return invalid(fmt::format("tensor {} appears twice", quote(*twice)));
  }

  Status check_overlap() {
    std::vector<GgufTensor>& tensors = header_.tensors;
    std::stable_sort(tensors.begin(), tensors.end(), [](const GgufTensor& a, const GgufTensor& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    const GgufTensor* previous = nullptr;
    for (const GgufTensor& tensor : tensors) {
      if (previous && tensor.begin < previous->end) {
        const std::uint64_t origin = header_.data_begin;
        return in_tensor(
            invalid(fmt::format("data begins at {}, inside the data of tensor {} ({} to {})",
                                tensor.begin - origin, quote(previous->name),
                                previous->begin - origin, previous->end - origin)),
            tensor.name);
      }
      previous = &tensor;
    }
    return {};
  }

  GgufBytes bytes_;
  GgufHeader header_;
};

Result<GgufHeader> read_header(GgufBytes::ReadAt read_at, std::uint64_t file_bytes,
                               std::uint64_t limit, std::string_view name) {
  auto header = GgufHeaderReader(std::move(read_at), file_bytes, limit).read();
  if (!header) return std::move(std::move(header).error().at(name));
  return header;
}

}  // namespace

Result<GgufHeader> read_gguf_header(const io::File& file) {
  MLXMILL_ASSIGN(const std::uint64_t file_bytes, file.size());
  const std::string name = file.path().string();
  // An error of the file itself names the path already.
  Status io_status;
  const auto read_at = [&](std::uint64_t offset, std::span<std::byte> out) -> Status {
    io_status = file.read_at(offset, out);
    return io_status;
  };
  auto header = read_header(read_at, file_bytes, kMaxGgufHeader, name);
  if (!io_status) return std::move(io_status).error();
  return header;
}

Result<GgufHeader> parse_gguf_header(std::string_view bytes, std::uint64_t file_bytes,
                                     std::string_view file_name) {
  // The limit keeps every read within the bytes.
  const auto read_at = [&](std::uint64_t offset, std::span<std::byte> out) -> Status {
    if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
    return {};
  };
  const auto limit = std::min<std::uint64_t>(bytes.size(), kMaxGgufHeader);
  return read_header(read_at, file_bytes, limit, file_name);
}

}  // namespace mlxmill::formats

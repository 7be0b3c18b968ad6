#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "base/checked_math.h"
#include "formats/errors.h"
#include "formats/json_tokens.h"
#include "formats/safetensors.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// numpy and PyTorch stop at this rank.
constexpr std::size_t kMaxRank = 64;
// A map entry takes many times the bytes of the shortest one in a file.
constexpr std::size_t kMaxMetadata = 65'536;

std::string known_dtypes() {
  std::string names;
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    if (i > 0) names += ", ";
    names += dtype_name(static_cast<DType>(i));
  }
  return names;
}

// Walks through the header once, from tokens straight into the result.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, std::uint64_t file_bytes)
      // A header is a flat thing of bounded length: its size bounds the number of values.
      : tokens_(text, {.max_depth = 3, .max_values = text.size() + 1, .max_number_length = 20}) {
    header_.data_begin = 8 + text.size();
    header_.file_bytes = file_bytes;
    data_bytes_ = file_bytes - header_.data_begin;
  }

  Result<SafetensorsHeader> read() {
    MLXMILL_TRY(expect(JsonToken::kBeginObject, "the header"));
    while (true) {
      MLXMILL_ASSIGN(const JsonToken token, tokens_.next());
      if (token == JsonToken::kEndObject) break;
      MLXMILL_TRY(check_unicode("a name"));
      std::string name = std::move(tokens_.content());
      if (name == "__metadata__") {
        MLXMILL_TRY(read_metadata());
      } else {
        MLXMILL_TRY(read_tensor(std::move(name)));
      }
    }
    MLXMILL_ASSIGN(const JsonToken last, tokens_.next());
    static_cast<void>(last);  // The tokens accept nothing but space behind the document.
    MLXMILL_TRY(check_names());
    MLXMILL_TRY(check_cover());
    return std::move(header_);
  }

 private:
  Status expect(JsonToken wanted, std::string_view what) {
    MLXMILL_ASSIGN(const JsonToken got, tokens_.next());
    return check(got, wanted, what);
  }

  Status check(JsonToken got, JsonToken wanted, std::string_view what) {
    if (got == wanted) return {};
    return tokens_.error(
        fmt::format("{} is {}; expected {}", what, token_name(got), token_name(wanted)));
  }

  Status check_unicode(std::string_view what) {
    if (!tokens_.has_lone_surrogate()) return {};
    return tokens_.error(fmt::format("{} holds half of a surrogate pair; expected Unicode", what));
  }

  Status read_metadata() {
    if (has_metadata_) return tokens_.error("'__metadata__' appears twice");
    has_metadata_ = true;
    // What mx.save_safetensors writes when it is given none.
    MLXMILL_ASSIGN(const JsonToken first, tokens_.next());
    if (first == JsonToken::kNull) return {};
    MLXMILL_TRY(check(first, JsonToken::kBeginObject, "'__metadata__'"));
    while (true) {
      MLXMILL_ASSIGN(const JsonToken token, tokens_.next());
      if (token == JsonToken::kEndObject) return {};
      MLXMILL_TRY(check_unicode("a key of '__metadata__'"));
      if (header_.metadata.size() == kMaxMetadata) {
        return tokens_.error(fmt::format("'__metadata__' has more than {} keys", kMaxMetadata));
      }
      std::string key = std::move(tokens_.content());
      if (header_.metadata.contains(key)) {
        return tokens_.error(fmt::format("the key {} of '__metadata__' appears twice", quote(key)));
      }
      MLXMILL_TRY(expect(JsonToken::kString, fmt::format("{} of '__metadata__'", quote(key))));
      MLXMILL_TRY(check_unicode("a value of '__metadata__'"));
      header_.metadata.emplace(std::move(key), std::move(tokens_.content()));
    }
  }

  Status read_tensor(std::string name) {
    const std::string_view bad = bad_tensor_name(name);
    if (!bad.empty()) return tokens_.error(fmt::format("the tensor name {} {}", quote(name), bad));
    const auto in_tensor = [&name](Error error) {
      return std::move(error.at(fmt::format("tensor {}", quote(name))));
    };
    StoredTensor tensor;
    tensor.name = name;
    Status status = read_fields(tensor);
    if (status) status = check_tensor(tensor);
    if (!status) return in_tensor(std::move(status).error());
    tensor.begin += header_.data_begin;
    tensor.end += header_.data_begin;
    header_.tensors.push_back(std::move(tensor));
    return {};
  }

  Status read_fields(StoredTensor& tensor) {
    static constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};
    std::array<bool, 3> seen{};
    MLXMILL_TRY(expect(JsonToken::kBeginObject, "its entry"));
    while (true) {
      MLXMILL_ASSIGN(const JsonToken token, tokens_.next());
      if (token == JsonToken::kEndObject) break;
      const std::string& field = tokens_.content();
      const auto known = std::find(kFields.begin(), kFields.end(), field);
      if (known == kFields.end()) {
        return tokens_.error(
            fmt::format("unknown field {}; expected dtype, shape and data_offsets", quote(field)));
      }
      const auto index = static_cast<std::size_t>(known - kFields.begin());
      if (seen[index]) return tokens_.error(fmt::format("{} appears twice", *known));
      seen[index] = true;
      MLXMILL_TRY(index == 0   ? read_dtype(tensor)
                  : index == 1 ? read_shape(tensor)
                               : read_offsets(tensor));
    }
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      if (!seen[i]) return tokens_.error(fmt::format("has no {}", kFields[i]));
    }
    return {};
  }

  Status read_dtype(StoredTensor& tensor) {
    MLXMILL_TRY(expect(JsonToken::kString, "dtype"));
    const auto dtype = dtype_from_name(tokens_.content());
    if (!dtype) {
      return Error(Code::kUnsupported, fmt::format("dtype {} is not read; known are {}",
                                                   quote(tokens_.content()), known_dtypes()));
    }
    tensor.dtype = *dtype;
    return {};
  }

  // The token as a whole number up to `max`.
  Result<std::uint64_t> whole_number(JsonToken token, std::string_view what, std::uint64_t max) {
    const bool number = token == JsonToken::kInteger || token == JsonToken::kFloat;
    const std::string got = number ? tokens_.content() : std::string(token_name(token));
    std::uint64_t value = 0;
    const char* const end = got.data() + got.size();
    const auto [stopped, failure] = std::from_chars(got.data(), end, value);
    if (token != JsonToken::kInteger || failure != std::errc() || stopped != end || value > max) {
      return tokens_.error(
          fmt::format("{} is {}; expected a whole number from 0 to {}", what, got, max));
    }
    return value;
  }

  Status read_shape(StoredTensor& tensor) {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    MLXMILL_TRY(expect(JsonToken::kBeginArray, "shape"));
    while (true) {
      MLXMILL_ASSIGN(const JsonToken token, tokens_.next());
      if (token == JsonToken::kEndArray) return {};
      if (tensor.shape.size() == kMaxRank) {
        return tokens_.error(fmt::format("shape has more than {} extents", kMaxRank));
      }
      MLXMILL_ASSIGN(const std::uint64_t extent,
                     whole_number(token, fmt::format("shape[{}]", tensor.shape.size()), kMax));
      tensor.shape.push_back(static_cast<std::int64_t>(extent));
    }
  }

  Status read_offsets(StoredTensor& tensor) {
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
    MLXMILL_TRY(expect(JsonToken::kBeginArray, "data_offsets"));
    std::size_t count = 0;
    while (true) {
      MLXMILL_ASSIGN(const JsonToken token, tokens_.next());
      if (token == JsonToken::kEndArray) break;
      if (count == 2) return tokens_.error("data_offsets has more than 2 entries; expected 2");
      MLXMILL_ASSIGN(const std::uint64_t offset,
                     whole_number(token, fmt::format("data_offsets[{}]", count), kMax));
      (count == 0 ? tensor.begin : tensor.end) = offset;
      ++count;
    }
    if (count == 2) return {};
    return tokens_.error(fmt::format("data_offsets has {} entries; expected 2", count));
  }

  // Its offsets still count from the start of the data.
  Status check_tensor(const StoredTensor& tensor) const {
    const auto invalid = [](std::string what) {
      return Error(Code::kInvalidInput, std::move(what));
    };
    if (tensor.begin > tensor.end) {
      return invalid(
          fmt::format("data_offsets begin {} past their end {}", tensor.begin, tensor.end));
    }
    if (tensor.end > data_bytes_) {
      return invalid(fmt::format("data_offsets end {} past the data's {} bytes", tensor.end,
                                 data_bytes_))
          .hint(kIncomplete);
    }
    const auto count = base::element_count(tensor.shape);
    const auto bytes = count ? base::checked_mul(*count, dtype_bytes(tensor.dtype)) : count;
    if (!bytes) {
      return invalid(fmt::format("shape {} has more elements than fit in memory",
                                 base::to_string(tensor.shape)));
    }
    if (*bytes != tensor.end - tensor.begin) {
      return invalid(fmt::format("{} {} takes {} bytes; data_offsets hold {}",
                                 dtype_name(tensor.dtype), base::to_string(tensor.shape), *bytes,
                                 tensor.end - tensor.begin));
    }
    return {};
  }

  // By sorting: a hash table can be fed with names that collide.
  Status check_names() {
    std::vector<std::string_view> names;
    names.reserve(header_.tensors.size());
    for (const StoredTensor& tensor : header_.tensors) names.push_back(tensor.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice == names.end()) return {};
    return Error(Code::kInvalidInput, fmt::format("tensor {} appears twice", quote(*twice)));
  }

  // Sorts by data and checks that every byte of it belongs to exactly one tensor.
  Status check_cover() {
    std::vector<StoredTensor>& tensors = header_.tensors;
    std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
      if (a.begin != b.begin) return a.begin < b.begin;
      if (a.end != b.end) return a.end < b.end;
      return a.name < b.name;
    });
    std::uint64_t covered = 0;
    const StoredTensor* previous = nullptr;
    for (const StoredTensor& tensor : tensors) {
      const std::uint64_t begin = tensor.begin - header_.data_begin;
      if (begin > covered) return hole(covered, begin);
      if (begin < covered) {
        return Error(Code::kInvalidInput,
                     fmt::format("data begins at {}, inside the data of tensor {} ({} to {})",
                                 begin, quote(previous->name), previous->begin - header_.data_begin,
                                 covered))
            .at(fmt::format("tensor {}", quote(tensor.name)));
      }
      covered = tensor.end - header_.data_begin;
      previous = &tensor;
    }
    if (covered != data_bytes_) return hole(covered, data_bytes_);
    return {};
  }

  static Error hole(std::uint64_t begin, std::uint64_t end) {
    return Error(Code::kInvalidInput,
                 fmt::format("bytes {} to {} of the data belong to no tensor", begin, end));
  }

  JsonTokens tokens_;
  SafetensorsHeader header_;
  std::uint64_t data_bytes_ = 0;
  bool has_metadata_ = false;
};

// What people have in place of a safetensors file, told by its first eight bytes.
std::string_view impostor_hint(std::string_view first) {
  if (first == "version ") return "a Git LFS pointer; `git lfs pull` brings the file itself";
  if (first.starts_with('<')) return "a web page was saved in its place";
  if (first.starts_with("PK\x03\x04")) return "this is a PyTorch or zip file";
  if (first.starts_with("GGUF")) return "this is a GGUF file";
  return kIncomplete;
}

}  // namespace

std::string_view bad_tensor_name(std::string_view name) {
  if (name.empty()) return "is empty";
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(name.begin(), name.end(), control)) return "holds a control character";
  return {};
}

Result<SafetensorsHeader> parse_safetensors_header(std::string_view text, std::uint64_t file_bytes,
                                                   std::string_view file_name) {
  const auto failed = [&](Error error) { return std::move(error.at(file_name)); };
  const auto invalid = [&](std::string what) {
    return Error(Code::kInvalidInput, std::move(what)).at(file_name);
  };
  if (text.size() > kMaxSafetensorsHeader) {
    return invalid(
        fmt::format("header of {} bytes; at most {} are read", text.size(), kMaxSafetensorsHeader));
  }
  if (file_bytes < 8 || text.size() > file_bytes - 8) {
    return invalid(fmt::format("header of {} bytes in a file of {}", text.size(), file_bytes));
  }
  if (!text.starts_with('{')) {
    return invalid(text.empty() ? "the header is empty; expected '{'"
                                : fmt::format("the header begins with {}; expected '{{'",
                                              quote(text.substr(0, 1))));
  }
  auto header = HeaderReader(text, file_bytes).read();
  if (!header) return failed(std::move(header).error());
  return header;
}

Result<SafetensorsHeader> read_safetensors_header(const io::File& file) {
  const std::string name = file.path().string();
  const auto invalid = [&](std::string what) {
    return Error(Code::kInvalidInput, std::move(what)).at(name);
  };
  MLXMILL_ASSIGN(const std::uint64_t file_bytes, file.size());
  if (file_bytes < 8) {
    return invalid(fmt::format("has {} bytes; a safetensors file has at least 8", file_bytes))
        .hint(kIncomplete);
  }
  std::array<char, 8> first{};
  MLXMILL_TRY(file.read_at(0, std::as_writable_bytes(std::span(first))));
  std::uint64_t length = 0;
  for (std::size_t i = first.size(); i-- > 0;) {
    length = (length << 8) | static_cast<unsigned char>(first[i]);
  }
  const std::string_view hint = impostor_hint({first.data(), first.size()});
  if (length > file_bytes - 8) {
    return invalid(fmt::format("header length {} is past the file's {} bytes", length, file_bytes))
        .hint(hint);
  }
  if (length > kMaxSafetensorsHeader) {
    return invalid(
        fmt::format("header of {} bytes; at most {} are read", length, kMaxSafetensorsHeader));
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  MLXMILL_TRY(file.read_at(8, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return parse_safetensors_header(text, file_bytes, name);
}

}  // namespace mlxmill::formats

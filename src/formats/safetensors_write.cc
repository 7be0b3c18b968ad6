#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

#include "base/checked_math.h"
#include "formats/safetensors.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// The order in which the safetensors library writes dtypes (Dtype in its tensor.rs, backwards).
constexpr std::array<DType, 16> kOrder = {
    DType::kU64,    DType::kI64, DType::kF64, DType::kF32, DType::kU32,    DType::kI32,
    DType::kBF16,   DType::kF16, DType::kU16, DType::kI16, DType::kF8E8M0, DType::kF8E4M3,
    DType::kF8E5M2, DType::kI8,  DType::kU8,  DType::kBool};

std::ptrdiff_t rank_of(DType dtype) {
  return std::find(kOrder.begin(), kOrder.end(), dtype) - kOrder.begin();
}

// As the library's serde_json writes it: UTF-8 stays, control characters become escapes.
void append_json_string(std::string& out, std::string_view text) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  out += '"';
  for (const char c : text) {
    const std::size_t special = kEscaped.find(c);
    if (special != std::string_view::npos) {
      out += '\\';
      out += kLetters[special];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_metadata(std::string& out, const std::map<std::string, std::string>& metadata) {
  out += "\"__metadata__\":{";
  bool first = true;
  for (const auto& [key, value] : metadata) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, key);
    out += ':';
    append_json_string(out, value);
  }
  out += '}';
}

void append_tensor(std::string& out, const StoredTensor& tensor) {
  append_json_string(out, tensor.name);
  out += fmt::format(":{{\"dtype\":\"{}\",\"shape\":[", dtype_name(tensor.dtype));
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    out += fmt::format("{}{}", i > 0 ? "," : "", tensor.shape[i]);
  }
  out += fmt::format("],\"data_offsets\":[{},{}]}}", tensor.begin, tensor.end);
}

Error defect(std::string_view name, std::string what) {
  return Error(Code::kInternal, std::move(what)).at(fmt::format("tensor {}", quote(name)));
}

// The order in which they are placed.
std::vector<std::size_t> order_of(const std::vector<TensorToWrite>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t k) {
    const TensorToWrite& a = tensors[i];
    const TensorToWrite& b = tensors[k];
    const std::ptrdiff_t rank_a = rank_of(a.dtype);
    const std::ptrdiff_t rank_b = rank_of(b.dtype);
    return rank_a != rank_b ? rank_a < rank_b : a.name < b.name;
  });
  return order;
}

// Places tensors one after the other from offset 0.
Result<std::vector<StoredTensor>> place(std::vector<TensorToWrite> tensors,
                                        const std::vector<std::size_t>& order) {
  constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;
  std::vector<StoredTensor> placed;
  placed.reserve(tensors.size());
  std::uint64_t offset = 0;
  for (const std::size_t i : order) {
    TensorToWrite& tensor = tensors[i];
    const std::string_view bad = bad_tensor_name(tensor.name);
    if (!bad.empty()) return defect(tensor.name, fmt::format("the name {}", bad));
    if (tensor.name == "__metadata__") return defect(tensor.name, "the name is reserved");
    if (!is_utf8(tensor.name)) return defect(tensor.name, "the name is not UTF-8");
    const auto count = base::element_count(tensor.shape);
    const auto bytes = count ? base::checked_mul(*count, dtype_bytes(tensor.dtype)) : count;
    const auto end = bytes ? base::checked_add(offset, *bytes) : bytes;
    if (!end || *end > kMaxBytes) {
      return defect(tensor.name,
                    fmt::format("shape {} is too large", base::to_string(tensor.shape)));
    }
    placed.push_back({std::move(tensor.name), tensor.dtype, std::move(tensor.shape), offset, *end});
    offset = *end;
  }
  return placed;
}

Status check_unique(const std::vector<StoredTensor>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return defect(*twice, "is to be written twice");
}

}  // namespace

Result<SafetensorsLayout> lay_out_safetensors(std::vector<TensorToWrite> tensors,
                                              const std::map<std::string, std::string>& metadata) {
  SafetensorsLayout layout;
  layout.order = order_of(tensors);
  MLXMILL_ASSIGN(layout.tensors, place(std::move(tensors), layout.order));
  MLXMILL_TRY(check_unique(layout.tensors));
  for (const auto& [key, value] : metadata) {
    if (!is_utf8(key) || !is_utf8(value)) {
      return Error(Code::kInternal, fmt::format("metadata {} is not UTF-8", quote(key)));
    }
  }
  constexpr std::size_t kWord = 8;
  std::string& prefix = layout.prefix;
  constexpr std::size_t kEntry = 96;  // Beyond the name; what is not used is never touched.
  std::size_t expected = 4096;
  for (const StoredTensor& tensor : layout.tensors) expected += tensor.name.size() + kEntry;
  prefix.reserve(expected);
  prefix.assign(kWord, '\0');
  prefix += '{';
  if (!metadata.empty()) append_metadata(prefix, metadata);
  for (const StoredTensor& tensor : layout.tensors) {
    if (prefix.size() > kWord + 1) prefix += ',';
    append_tensor(prefix, tensor);
  }
  prefix += '}';
  prefix.resize(base::round_up(prefix.size(), kWord), ' ');
  const std::size_t header = prefix.size() - kWord;
  if (header > kMaxSafetensorsHeader) {
    return Error(Code::kInternal, fmt::format("a header of {} bytes; at most {} can be read",
                                              header, kMaxSafetensorsHeader));
  }
  for (std::size_t i = 0; i < kWord; ++i) prefix[i] = static_cast<char>((header >> (8 * i)) & 0xFF);
  const std::uint64_t data_begin = prefix.size();
  layout.file_bytes = data_begin;
  for (StoredTensor& tensor : layout.tensors) {
    tensor.begin += data_begin;
    tensor.end += data_begin;
    layout.file_bytes = tensor.end;
  }
  return layout;
}

}  // namespace mlxmill::formats

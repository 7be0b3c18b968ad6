#include "measure/logits_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/quoted.h"
#include "kernels/kernels.h"

namespace mlxmill::measure {
namespace {

constexpr std::string_view kLogits = "logits";
constexpr std::string_view kTokens = "tokens";
// Another name for them.
constexpr std::string_view kIds = "ids";

// "news.logits" is logits of "news"; "logits" of "".
std::optional<std::string> domain_of(std::string_view name, std::string_view suffix) {
  if (name == suffix) return std::string();
  if (name.size() <= suffix.size() + 1 || !name.ends_with(suffix)) return std::nullopt;
  const std::size_t dot = name.size() - suffix.size() - 1;
  if (name[dot] != '.') return std::nullopt;
  return std::string(name.substr(0, dot));
}

Error wrong(std::string_view tensor, std::string what) {
  return Error(Code::kInvalidInput, std::move(what)).at("tensor " + base::quoted(tensor));
}

template <typename T>
Status widen(const std::vector<std::byte>& bytes, std::int64_t vocabulary, std::string_view tensor,
             std::vector<std::int32_t>& out) {
  out.resize(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T id;
    std::memcpy(&id, bytes.data() + i * sizeof(T), sizeof(T));
    if (id < T{0} || static_cast<std::uint64_t>(id) >= static_cast<std::uint64_t>(vocabulary)) {
      return wrong(tensor,
                   fmt::format("token id {} is outside the vocabulary of {}", id, vocabulary));
    }
    out[i] = static_cast<std::int32_t>(id);
  }
  return {};
}

Result<std::vector<std::int32_t>> read_ids(const io::File& file,
                                           const formats::StoredTensor& tensor,
                                           std::int64_t vocabulary) {
  std::vector<std::byte> bytes(tensor.end - tensor.begin);
  MLXMILL_TRY(file.read_at(tensor.begin, bytes));
  std::vector<std::int32_t> ids;
  switch (tensor.dtype) {
    case DType::kI32:
      MLXMILL_TRY(widen<std::int32_t>(bytes, vocabulary, tensor.name, ids));
      return ids;
    case DType::kU32:
      MLXMILL_TRY(widen<std::uint32_t>(bytes, vocabulary, tensor.name, ids));
      return ids;
    case DType::kI64:
      MLXMILL_TRY(widen<std::int64_t>(bytes, vocabulary, tensor.name, ids));
      return ids;
    default:
      return wrong(tensor.name, fmt::format("expected token ids as I32, I64 or U32, got {}",
                                            dtype_name(tensor.dtype)));
  }
}

// [length, vocabulary] is one window.
base::Shape with_windows(base::Shape shape, std::size_t rank) {
  if (shape.size() + 1 == rank) shape.insert(shape.begin(), 1);
  return shape;
}

}  // namespace

bool is_logits_file(const std::filesystem::path& path) {
  return path.extension() == ".safetensors";
}

Status LogitsFile::add_pair(const formats::StoredTensor& logits,
                            const formats::StoredTensor& tokens, std::uint32_t domain) {
  const base::Shape shape = with_windows(logits.shape, 3);
  const base::Shape ids_shape = with_windows(tokens.shape, 2);
  if (!is_mlx_float(logits.dtype)) {
    return wrong(logits.name, fmt::format("expected logits as F32, F16 or BF16, got {}",
                                          dtype_name(logits.dtype)));
  }
  if (shape.size() != 3 || shape[0] < 1 || shape[1] < 2 || shape[2] < 1 || shape[2] > INT32_MAX) {
    return wrong(logits.name, fmt::format("expected [windows, length of at least 2, vocabulary], "
                                          "got {}",
                                          base::to_string(logits.shape)));
  }
  if (ids_shape != base::Shape{shape[0], shape[1]}) {
    return wrong(tokens.name, fmt::format("expected [{}, {}] as the logits, got {}", shape[0],
                                          shape[1], base::to_string(tokens.shape)));
  }
  if (vocabulary_ != 0 && shape[2] != vocabulary_) {
    return wrong(logits.name,
                 fmt::format("the vocabulary is {}, that of the others {}", shape[2], vocabulary_));
  }
  vocabulary_ = shape[2];
  MLXMILL_ASSIGN(const std::vector<std::int32_t> ids, read_ids(file_, tokens, vocabulary_));
  const auto windows = static_cast<std::uint64_t>(shape[0]);
  const auto length = static_cast<std::size_t>(shape[1]);
  const std::uint64_t bytes = (logits.end - logits.begin) / windows;
  for (std::size_t w = 0; w < windows; ++w) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(w * length);
    places_.push_back({domain,
                       logits.dtype,
                       logits.begin + w * bytes,
                       {first, first + static_cast<std::ptrdiff_t>(length)}});
  }
  return {};
}

Result<LogitsFile> LogitsFile::open(const std::filesystem::path& path) {
  LogitsFile result;
  MLXMILL_ASSIGN(result.file_, io::File::open_read(path));
  MLXMILL_ASSIGN(const formats::SafetensorsHeader header,
                 formats::read_safetensors_header(result.file_));
  result.metadata_ = header.metadata;
  std::map<std::string, std::pair<const formats::StoredTensor*, const formats::StoredTensor*>> all;
  for (const formats::StoredTensor& tensor : header.tensors) {
    if (const auto name = domain_of(tensor.name, kLogits)) all[*name].first = &tensor;
    if (const auto name = domain_of(tensor.name, kTokens)) all[*name].second = &tensor;
    if (const auto name = domain_of(tensor.name, kIds)) all[*name].second = &tensor;
  }
  for (const auto& [name, pair] : all) {
    if (pair.first == nullptr || pair.second == nullptr) {
      const std::string_view missing = pair.first == nullptr ? kLogits : kTokens;
      return Error(Code::kInvalidInput, fmt::format("tensor {} is missing",
                                                    base::quoted((name.empty() ? "" : name + ".") +
                                                                 std::string(missing))))
          .at(path.string());
    }
    const auto domain = static_cast<std::uint32_t>(result.domains_.size());
    result.domains_.push_back(name.empty() ? "tokens" : name);
    Status status = result.add_pair(*pair.first, *pair.second, domain);
    if (!status) return std::move(status).error().at(path.string());
  }
  if (result.places_.empty()) {
    return Error(Code::kInvalidInput, "there are no tensors named logits and tokens")
        .at(path.string())
        .hint("a model is given by its folder; docs/EVALUATION.md has the layout of logits files");
  }
  return result;
}

std::vector<evaluate::Window> LogitsFile::windows(EvalProtocol protocol) const {
  std::vector<evaluate::Window> windows;
  for (const Place& place : places_) {
    const auto length = static_cast<std::uint32_t>(place.tokens.size());
    const bool half = protocol == EvalProtocol::kLlamaPerplexity && length > 2;
    windows.push_back({place.domain, place.tokens, half ? length / 2 : 0, length - 1});
  }
  return windows;
}

Status LogitsFile::start(std::span<const std::int32_t> tokens) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const std::size_t k = (next_ + i) % places_.size();
    if (!std::equal(tokens.begin(), tokens.end(), places_[k].tokens.begin(),
                    places_[k].tokens.end())) {
      continue;
    }
    current_ = k;
    next_ = k + 1;
    return {};
  }
  return Error(Code::kInvalidInput, "the file has no logits for the tokens of the other one")
      .at(file_.path().string())
      .hint("both must be made from the same windows of tokens");
}

Status LogitsFile::read(std::int64_t first, std::int64_t n, std::span<float> out) {
  const Place& place = places_[current_];
  const std::size_t width = dtype_bytes(place.dtype);
  const auto count = static_cast<std::size_t>(n * vocabulary_);
  const auto offset = static_cast<std::uint64_t>(first * vocabulary_) * width;
  if (place.dtype == DType::kF32) {
    return file_.read_at(place.begin + offset, std::as_writable_bytes(out.first(count)));
  }
  bytes_.resize(count * width);
  MLXMILL_TRY(file_.read_at(place.begin + offset, bytes_));
  kernels::convert_floats(bytes_.data(), place.dtype, out.data(), DType::kF32, count);
  return {};
}

}  // namespace mlxmill::measure

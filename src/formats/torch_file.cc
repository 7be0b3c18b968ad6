#include "formats/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "base/checked_math.h"
#include "formats/torch_storages.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// A tar archive has its mark here.
constexpr std::size_t kTarMark = 257;

// What else may be found under these names, told by its first bytes.
Error no_torch_file(std::string_view first) {
  Error error(Code::kInvalidInput, "is no PyTorch file");
  if (first.starts_with("version ")) {
    return error.hint("a Git LFS pointer; `git lfs pull` brings the file itself");
  }
  if (first.starts_with('<')) return error.hint("a web page was saved in its place");
  if (first.starts_with("GGUF")) return error.hint("this is a GGUF file");
  if (first.size() > 8 && first[8] == '{') return error.hint("this is a safetensors file");
  return error.hint("incomplete download?");
}

Result<std::vector<TorchTensor>> read_tensors(const io::File& file, std::uint64_t file_bytes) {
  std::string first(static_cast<std::size_t>(std::min<std::uint64_t>(file_bytes, 512)), '\0');
  MLXMILL_TRY(file.read_at(0, std::as_writable_bytes(std::span(first.data(), first.size()))));
  if (first.starts_with("PK\x03\x04")) return read_torch_zip(file);
  if (first.size() > kTarMark && first.substr(kTarMark).starts_with("ustar")) {
    return Error(Code::kUnsupported, "is a tar archive, the format of torch 0.1")
        .hint("load it with torch and save it again");
  }
  // PROTO, or the magic number in protocol 1.
  if (first.starts_with('\x80') || first.starts_with('L')) return read_torch_legacy(file);
  return no_torch_file(first);
}

}  // namespace

Result<TorchTensor> place_tensor(const PickleValues& values, const NamedPickledTensor& named,
                                 const PickledStorage& storage, FileRange range) {
  TorchTensor tensor{.name = named.name,
                     .dtype = named.tensor.dtype,
                     .shape = pickled_extents(values, named.tensor.shape),
                     .strides = pickled_extents(values, named.tensor.strides),
                     .offset = static_cast<std::uint64_t>(named.tensor.offset)};
  const auto invalid = [&](std::string what, Code code = Code::kInvalidInput) {
    return Error(code, std::move(what)).at(fmt::format("tensor {}", quote(named.name)));
  };
  // Within the storage, as its size in bytes was checked.
  tensor.storage_begin = range.begin + storage.window_begin * storage.element_bytes();
  tensor.storage_bytes = storage.window_size * storage.element_bytes();
  const std::uint64_t n_stored = tensor.storage_bytes / dtype_bytes(tensor.dtype);
  const auto count = base::element_count(tensor.shape);
  if (!count) {
    return invalid(fmt::format("shape {} has more elements than fit in memory",
                               base::to_string(tensor.shape)));
  }
  // Slices of nothing keep an offset, which may lie anywhere.
  if (*count == 0) return tensor;
  std::optional<std::uint64_t> end = base::checked_add(tensor.offset, 1);
  for (std::size_t axis = 0; end && axis < tensor.shape.size(); ++axis) {
    const auto reach = base::checked_mul(static_cast<std::uint64_t>(tensor.shape[axis] - 1),
                                         static_cast<std::uint64_t>(tensor.strides[axis]));
    end = reach ? base::checked_add(*end, *reach) : std::nullopt;
  }
  if (!end || *end > n_stored) {
    return invalid(fmt::format("{} with strides {} at element {} leaves its storage of {} elements",
                               base::to_string(tensor.shape), base::to_string(tensor.strides),
                               tensor.offset, n_stored));
  }
  if (*count > n_stored) {
    return invalid(fmt::format("{} repeats the {} elements of its storage",
                               base::to_string(tensor.shape), n_stored),
                   Code::kUnsupported)
        .hint("save tensor.contiguous() instead");
  }
  return tensor;
}

Result<TorchHeader> read_torch_header(const io::File& file) {
  MLXMILL_ASSIGN(const std::uint64_t file_bytes, file.size());
  auto tensors = read_tensors(file, file_bytes);
  if (!tensors) {
    Error error = std::move(tensors).error();
    // What the operating system said names the file already.
    const std::string path = file.path().string();
    return error.where().starts_with(path) ? error : std::move(error.at(path));
  }
  return TorchHeader{.tensors = *std::move(tensors), .file_bytes = file_bytes};
}

}  // namespace mlxmill::formats

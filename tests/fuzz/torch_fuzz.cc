// Any bytes as a PyTorch file: no crash, and no tensor's window leaves the file.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <span>
#include <string>

#include "formats/torch_file.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// One file for all runs, gone with the process.
mlxmill::io::File& scratch() {
  static mlxmill::io::File file = [] {
    const auto path = std::filesystem::temp_directory_path() /
                      ("mlxmill-torch-fuzz-" + std::to_string(::getpid()));
    auto opened = mlxmill::io::File::open_write(path);
    require(opened.has_value());
    std::filesystem::remove(path);
    return *std::move(opened);
  }();
  return file;
}

void check(const mlxmill::formats::TorchTensor& tensor, std::uint64_t file_bytes) {
  const std::uint64_t width = mlxmill::dtype_bytes(tensor.dtype);
  require(tensor.storage_bytes <= file_bytes &&
          tensor.storage_begin <= file_bytes - tensor.storage_bytes);
  require(tensor.shape.size() == tensor.strides.size());
  bool empty = false;
  for (const std::int64_t extent : tensor.shape) {
    require(extent >= 0);
    empty = empty || extent == 0;
  }
  if (empty) return;
  // Each summand is bounded by the first require that fails, so nothing overflows on the way.
  std::uint64_t last = tensor.offset;
  std::uint64_t count = 1;
  require(last < file_bytes);
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    const auto steps = static_cast<std::uint64_t>(tensor.shape[axis]) - 1;
    const auto stride = static_cast<std::uint64_t>(tensor.strides[axis]);
    require(tensor.strides[axis] >= 0 && steps < file_bytes);
    require(steps == 0 || stride < file_bytes);
    last += steps == 0 ? 0 : steps * stride;
    count *= steps + 1;
    require(count <= file_bytes);
  }
  require((last + 1) * width <= tensor.storage_bytes);
  require(count * width <= tensor.storage_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mlxmill::io::File& file = scratch();
  require(file.resize(size).ok());
  require(file.write_at(0, std::as_bytes(std::span(data, size))).ok());
  const auto header = mlxmill::formats::read_torch_header(file);
  if (!header) {
    require(!header.error().message().empty());
    return 0;
  }
  require(header->file_bytes == size);
  std::set<std::string> names;
  for (const auto& tensor : header->tensors) {
    require(!tensor.name.empty() && names.insert(tensor.name).second);
    check(tensor, size);
  }
  return 0;
}

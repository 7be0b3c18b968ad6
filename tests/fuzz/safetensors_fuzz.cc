// Any bytes as a safetensors header: no crash, and what is accepted is what the format promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "formats/safetensors.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// Contiguous from the end of the header to the end of the file.
void check_cover(const mlxmill::formats::SafetensorsHeader& header) {
  std::uint64_t covered = header.data_begin;
  for (const auto& tensor : header.tensors) {
    require(tensor.begin == covered && tensor.end >= tensor.begin);
    std::uint64_t bytes = mlxmill::dtype_bytes(tensor.dtype);
    for (const std::int64_t extent : tensor.shape) bytes *= static_cast<std::uint64_t>(extent);
    require(bytes == tensor.end - tensor.begin);
    covered = tensor.end;
  }
  require(covered == header.file_bytes);
}

// What was read can be written, and reads back the same.
void check_round_trip(const mlxmill::formats::SafetensorsHeader& header) {
  std::vector<mlxmill::formats::TensorToWrite> tensors;
  for (const auto& tensor : header.tensors)
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
  const auto layout = mlxmill::formats::lay_out_safetensors(tensors, header.metadata);
  require(layout.has_value());
  const auto again = mlxmill::formats::parse_safetensors_header(
      std::string_view(layout->prefix).substr(8), layout->file_bytes, "f");
  require(again.has_value() && again->tensors.size() == tensors.size());
  require(again->metadata == header.metadata);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The first byte says how much data follows the header.
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto header =
      mlxmill::formats::parse_safetensors_header(text, 8 + text.size() + data[0], "f");
  if (header) {
    check_cover(*header);
    check_round_trip(*header);
  } else {
    require(!header.error().message().empty());
  }
  return 0;
}

// Any bytes as the beginning of a GGUF file: no crash, and what is accepted is what the format
// promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

#include "formats/gguf.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_tensors(const mlxmill::formats::GgufHeader& header) {
  std::set<std::string_view> names;
  std::uint64_t covered = header.data_begin;
  for (const auto& tensor : header.tensors) {
    require(names.insert(tensor.name).second && !tensor.name.empty());
    const auto& type = mlxmill::base::ggml_type_info(tensor.type);
    require(type.block_elements > 0 && tensor.shape.size() <= 4);
    std::uint64_t elements = 1;
    for (const std::int64_t extent : tensor.shape) elements *= static_cast<std::uint64_t>(extent);
    require(elements == tensor.elements && elements % type.block_elements == 0);
    require(tensor.end - tensor.begin == elements / type.block_elements * type.block_bytes);
    require(tensor.begin >= covered && tensor.end >= tensor.begin);
    require((tensor.begin - header.data_begin) % header.alignment == 0);
    require(tensor.end <= header.file_bytes);
    covered = tensor.end;
  }
}

void check_metadata(const mlxmill::formats::GgufHeader& header) {
  const auto* object = header.metadata.as_object();
  require(object != nullptr);
  std::set<std::string_view> keys;
  for (const auto& member : *object) require(keys.insert(member.key).second);
  if (header.split) require(header.split->number < header.split->count);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The first byte says how much data follows what is given.
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::uint64_t file_bytes = bytes.size() + data[0] * std::uint64_t{64};
  const auto header = mlxmill::formats::parse_gguf_header(bytes, file_bytes, "f");
  if (header) {
    check_tensors(*header);
    check_metadata(*header);
  } else {
    require(!header.error().message().empty());
  }
  return 0;
}

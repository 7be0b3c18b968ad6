// Any bytes as model.safetensors.index.json: no crash, and no name that leads out of the folder.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "formats/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto index =
      mlxmill::formats::parse_shard_index({reinterpret_cast<const char*>(data), size});
  if (!index) return 0;
  if (index->empty()) std::abort();
  for (const auto& [tensor, shard] : *index) {
    const std::filesystem::path path(shard);
    const bool plain = path.filename() == path && path != "." && path != ".." &&
                       shard.find('\0') == std::string::npos &&
                       shard.find('\\') == std::string::npos && shard.ends_with(".safetensors");
    if (!plain) std::abort();
  }
  return 0;
}

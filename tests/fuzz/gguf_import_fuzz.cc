// Any bytes as a GGUF file that is to be converted: header, metadata, settings, tokenizer, tensors
// under new names. What is accepted has a config.json and tensors that do not overlap in name.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "architectures/declaration.h"
#include "convert/open_source.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// One file for each process, written again and again.
const std::filesystem::path& place() {
  static const std::filesystem::path kPath = std::filesystem::temp_directory_path() /
                                             ("mlxmill-fuzz-" + std::to_string(getpid()) + ".gguf");
  return kPath;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::FILE* file = std::fopen(place().c_str(), "wb");
  require(file != nullptr);
  require(std::fwrite(data, 1, size, file) == size);
  require(std::fclose(file) == 0);
  const auto source = mlxmill::convert::open_source(place(), false);
  if (!source) {
    require(!source.error().message().empty());
    return 0;
  }
  require(source->checkpoint.config.as_object() != nullptr);
  std::set<std::string> names;
  for (const auto& view : source->weights.tensors) require(names.insert(view.name).second);
  static const auto kCatalogue = mlxmill::architectures::Catalogue::built_in();
  const auto choice = kCatalogue->choose(source->checkpoint.config, source->weights.tensors);
  if (!choice) require(!choice.error().message().empty());
  return 0;
}

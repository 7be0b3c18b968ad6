// mlxmill-manifest.json: the hashes of everything in an output folder. Layout: docs/FORMATS.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/hash.h"
#include "mlxmill/result.h"

namespace mlxmill::convert {

inline constexpr const char* kManifestName = "mlxmill-manifest.json";

struct Manifest {
  struct SmallFile {
    std::uint64_t bytes = 0;
    io::Digest digest;  ///< Of the whole file.
  };
  struct ShardEntry {
    std::uint64_t bytes = 0;
    io::Digest header;  ///< Of everything in front of the data.
  };
  struct TensorEntry {
    std::uint64_t chunk_bytes = 0;
    io::Digest digest;  ///< Of the digests of its chunks, in order.
  };

  std::string made_with;
  std::map<std::string, SmallFile> files;
  std::map<std::string, ShardEntry> shards;
  std::map<std::string, TensorEntry> tensors;
};

/// The text of a manifest. `tensors`: further ones, by names that are not in it yet.
std::string write_manifest(
    const Manifest& manifest,
    std::vector<std::pair<std::string_view, Manifest::TensorEntry>> tensors = {});
/// Errors: kInvalidInput naming the key that is missing or malformed.
Result<Manifest> parse_manifest(std::string_view text);
/// The manifest of a folder; nothing when it has none.
Result<std::optional<Manifest>> read_manifest(const std::filesystem::path& folder);

/// Digest of a whole small file, with its size.
Result<Manifest::SmallFile> digest_file(const std::filesystem::path& path);

}  // namespace mlxmill::convert

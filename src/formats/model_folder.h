// A folder of files from somewhere else: what is in it, and that nothing in it leads out of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// Files of a model that are not in its folder but read from elsewhere, by their plain names.
using RemoteFiles = std::map<std::string, std::shared_ptr<const io::ByteSource>>;

class ModelFolder {
 public:
  /// `remote` files count as if they were in the folder, and come before those that are. Errors:
  /// kNotFound; kInvalidInput when it is no folder.
  static Result<ModelFolder> open(const std::filesystem::path& path, RemoteFiles remote = {});

  const std::filesystem::path& path() const { return path_; }
  /// Names of everything in it but folders and hidden files, sorted.
  const std::vector<std::string>& names() const { return names_; }
  bool has(std::string_view name) const;

  /// The path to open `name` by. Errors: kNotFound; kInvalidInput for a link to nothing, something
  /// that is no regular file, a link that leaves the folder (in a Hub cache, snapshots/REV may link
  /// into the same repository's blobs).
  Result<std::filesystem::path> find(std::string_view name) const;

  /// Opens a file for reading. Errors: those of find() and of io::File.
  Result<io::File> open_file(std::string_view name) const;

  /// Reads a text file of the folder whole.
  Result<std::string> read(std::string_view name, std::uint64_t max_bytes) const;

 private:
  std::filesystem::path path_;
  std::filesystem::path canonical_;
  // Of the Hub cache the folder is a snapshot in: the repository's, and those that repositories
  // share; else empty.
  std::filesystem::path blobs_;
  std::filesystem::path shared_blobs_;
  RemoteFiles remote_;
  std::vector<std::string> names_;
};

}  // namespace mlxmill::formats

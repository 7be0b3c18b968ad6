// huggingface_hub's cache of one model: blobs by ETag, snapshots of links to them, refs, locks.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::hub {

/// The layout of huggingface_hub 2.4 (file_download.py), for reading and writing beside it.
class RepoCache {
 public:
  /// Makes nothing. `repo` is "owner/name".
  RepoCache(const std::filesystem::path& cache, const std::string& repo);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path blobs() const { return root_ / "blobs"; }
  std::filesystem::path blob(const std::string& etag) const { return blobs() / etag; }
  std::filesystem::path snapshot(const std::string& commit) const;
  /// What processes take while they download a blob.
  std::filesystem::path lock(const std::string& etag) const;

  /// The commit a revision last stood for; a commit stands for itself.
  std::optional<std::string> commit_of(const std::string& revision) const;

  /// Makes the folders, and the tag by which backups skip caches.
  Status make() const;
  /// Remembers what commit a branch or tag stands for now.
  Status write_ref(const std::string& revision, const std::string& commit) const;
  /// Puts a blob into a snapshot under its path: a relative link, or a copy where there are none.
  Status link(const std::string& commit, const std::string& path, const std::string& etag) const;
  /// Remembers that a commit has no such file, which spares others asking. Best effort.
  void note_absent(const std::string& commit, const std::string& path) const;

 private:
  std::filesystem::path cache_;
  std::string folder_;
  std::filesystem::path root_;
};

}  // namespace mlxmill::hub

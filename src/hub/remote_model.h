// A model on the Hub: its commit and files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/client.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

struct RemoteFile {
  std::string path;  ///< Safe to put below a folder.
  std::uint64_t bytes = 0;
  std::string oid;     ///< git's name of it: 40 hexadecimal digits.
  std::string sha256;  ///< Of a file in LFS, 64 digits; else empty.

  /// What the Hub's ETag says and huggingface_hub's cache names the blob by.
  const std::string& etag() const { return sha256.empty() ? oid : sha256; }
};

struct RemoteModel {
  std::string repo;      ///< As asked for: what caches call it.
  std::string new_name;  ///< What it is called now, where that differs.
  std::string commit;
  std::string last_modified;  ///< "2026-01-31T12:00:00.000Z"; empty where the Hub does not say.
  bool gated = false;
  std::vector<RemoteFile> files;  ///< Sorted by path.

  const RemoteFile* find(std::string_view path) const;
};

/// Asks for a model's commit and the list of its files at that commit. `revision` may be empty.
/// Errors: kNotFound with the nearest names, kPermission, kNetwork, kInvalidInput for an answer
/// that makes no sense.
Result<RemoteModel> open_remote_model(Client& client, const std::string& repo,
                                      const std::string& revision);

/// Where a file's content is asked for.
std::string file_url(const Settings& settings, const std::string& repo, const std::string& commit,
                     const std::string& path);

/// Fetches a small file whole and checks its hash. Errors: as above, kInvalidInput for wrong bytes.
Result<std::string> read_remote_file(Client& client, const RemoteModel& model,
                                     const RemoteFile& file);

}  // namespace mlxmill::hub

// A folder to be uploaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::hub {

struct LocalFile {
  std::string path;  ///< In the repository, with '/'.
  std::filesystem::path file;
  std::uint64_t bytes = 0;
  std::string sample;  ///< The first 512 bytes: the Hub tells text from data by them.
  std::string sha256;
  std::string git_oid;
  bool lfs = false;   ///< As the Hub says.
  bool same = false;  ///< As in the repository.
};

/// Every file below `folder` but hidden ones, sorted, without hashes. Errors: kUsage without
/// config.json.
Result<std::vector<LocalFile>> list_local_files(const std::filesystem::path& folder);

/// Fills in both hashes; `progress` is told bytes and may stop the work by false.
Status hash_local_file(LocalFile& file, const std::function<bool(std::uint64_t)>& progress);

/// RFC 4648's base64.
std::string base64(std::string_view data);

}  // namespace mlxmill::hub

// Large files on their way to the Hub: Git LFS with the Hub's multipart transfer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hub/local_files.h"
#include "hub/monitor.h"
#include "hub/settings.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// Sends those of `files` that the Hub does not have yet, by several connections; returns the bytes
/// sent. Errors: kPermission, kNetwork, kCancelled, kInvalidInput when a file has changed
/// meanwhile.
Result<std::uint64_t> upload_lfs_files(const Settings& settings, const std::string& repo,
                                       const std::vector<const LocalFile*>& files, int connections,
                                       Monitor& monitor);

}  // namespace mlxmill::hub

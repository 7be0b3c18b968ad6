// Many blobs downloaded at once, over several connections.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hub/cache.h"
#include "hub/monitor.h"
#include "hub/remote_model.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

struct TransferResult {
  std::uint64_t bytes_downloaded = 0;  ///< By this run.
  std::uint64_t bytes_resumed = 0;     ///< That earlier runs had left.
};

/// Downloads the blobs of `files` that the cache lacks, small ones first, each in ranges that
/// `connections` connections share; what another process downloads is waited for. Every blob has
/// its right hash before it gets its name. Errors: kNetwork, kPermission, kNotFound, kCancelled,
/// those of files; kInvalidInput when a blob arrives twice with a wrong hash. What has arrived
/// stays for another try.
Result<TransferResult> transfer_blobs(const Settings& settings, const RepoCache& cache,
                                      const RemoteModel& model,
                                      const std::vector<const RemoteFile*>& files, int connections,
                                      Monitor& monitor);

}  // namespace mlxmill::hub

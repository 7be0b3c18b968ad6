// A model from the cache alone.
#pragma once

#include <filesystem>
#include <string>

#include "hub/cache.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

struct CachedModel {
  std::string commit;
  std::filesystem::path path;  ///< Snapshot, or the GGUF file in it.
};

/// The snapshot that `revision` last stood for. `file` as for select_files(). Errors: kNotFound
/// when the cache has no such model, revision or file.
Result<CachedModel> find_cached(const RepoCache& cache, const std::string& repo,
                                const std::string& revision, const std::string& file);

}  // namespace mlxmill::hub

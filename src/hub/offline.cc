#include "hub/offline.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/quoted.h"
#include "hub/model_name.h"
#include "hub/select_files.h"

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

/// The files of a snapshot as if the Hub had listed them, as far as choosing among them needs.
RemoteModel listed(const fs::path& snapshot, const std::string& repo) {
  RemoteModel model;
  model.repo = repo;
  std::error_code error;
  auto entry = fs::recursive_directory_iterator(snapshot, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    model.files.push_back({entry->path().lexically_relative(snapshot).generic_string(), 0, "", ""});
  }
  std::sort(model.files.begin(), model.files.end(),
            [](const RemoteFile& a, const RemoteFile& b) { return a.path < b.path; });
  return model;
}

}  // namespace

Result<CachedModel> find_cached(const RepoCache& cache, const std::string& repo,
                                const std::string& revision, const std::string& file) {
  CachedModel found;
  const auto commit = cache.commit_of(revision);
  std::error_code ignored;
  if (!commit || !fs::is_directory(cache.snapshot(*commit), ignored)) {
    return Error(Code::kNotFound,
                 fmt::format("revision {} is not in the cache", base::quoted(revision)))
        .at(repo);
  }
  found.commit = *commit;
  found.path = cache.snapshot(*commit);
  const RemoteModel model = listed(found.path, repo);
  auto selection = select_files(model, file);
  if (!selection) return std::move(selection).error().hint("it may not have been downloaded whole");
  if (!selection->gguf.empty()) found.path /= selection->gguf;
  return found;
}

}  // namespace mlxmill::hub

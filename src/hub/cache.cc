#include "hub/cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <system_error>

#include "hub/model_name.h"
#include "io/file.h"

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

// The signature is the standard's (https://bford.info/cachedir/).
constexpr std::string_view kCacheTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag created by mlxmill.\n";

Status make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return io::system_error(error.value(), "cannot create folder", folder);
  return {};
}

/// A name beside `path` that no other process or thread uses.
fs::path beside(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  return path.parent_path() / fmt::format(".{}.{}-{}.tmp", path.filename().string().substr(0, 100),
                                          ::getpid(), ++counter);
}

Status move_over(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (!error) return {};
  std::error_code ignored;
  fs::remove(from, ignored);
  return io::system_error(error.value(), "cannot rename to " + to.string(), from);
}

}  // namespace

RepoCache::RepoCache(const fs::path& cache, const std::string& repo) : cache_(cache) {
  folder_ = "models--";
  for (const char c : repo) folder_ += c == '/' ? std::string("--") : std::string(1, c);
  root_ = cache / folder_;
}

fs::path RepoCache::snapshot(const std::string& commit) const {
  return root_ / "snapshots" / commit;
}

fs::path RepoCache::lock(const std::string& etag) const {
  return cache_ / ".locks" / folder_ / (etag + ".lock");
}

std::optional<std::string> RepoCache::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  Result<std::string> text = io::read_text(root_ / "refs" / revision, 1000);
  if (!text) return std::nullopt;
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  if (!is_commit(*text)) return std::nullopt;
  return *std::move(text);
}

Status RepoCache::make() const {
  MLXMILL_TRY(make_folders(blobs()));
  MLXMILL_TRY(make_folders(cache_ / ".locks" / folder_));
  std::error_code ignored;
  if (!fs::exists(cache_ / "CACHEDIR.TAG", ignored))
    (void)io::write_text(cache_ / "CACHEDIR.TAG", kCacheTag);
  return {};
}

Status RepoCache::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(revision) == commit) return {};
  const fs::path path = root_ / "refs" / revision;
  MLXMILL_TRY(make_folders(path.parent_path()));
  // A reader never meets half a commit.
  const fs::path temporary = beside(path);
  MLXMILL_TRY(io::write_text(temporary, commit));
  return move_over(temporary, path);
}

Status RepoCache::link(const std::string& commit, const std::string& path,
                       const std::string& etag) const {
  const fs::path pointer = snapshot(commit) / path;
  std::error_code error;
  if (fs::exists(pointer, error) && fs::equivalent(pointer, blob(etag), error)) return {};
  MLXMILL_TRY(make_folders(pointer.parent_path()));
  const fs::path target = blob(etag).lexically_relative(pointer.parent_path());
  const fs::path temporary = beside(pointer);
  fs::create_symlink(target, temporary, error);
  if (error) MLXMILL_TRY(io::copy_file(blob(etag), temporary));
  return move_over(temporary, pointer);
}

void RepoCache::note_absent(const std::string& commit, const std::string& path) const {
  const fs::path mark = root_ / ".no_exist" / commit / path;
  std::error_code ignored;
  if (fs::exists(mark, ignored) || !make_folders(mark.parent_path())) return;
  (void)io::write_text(mark, "");
}

}  // namespace mlxmill::hub

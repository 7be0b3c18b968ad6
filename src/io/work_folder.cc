#include "io/work_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "io/file.h"

#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace mlxmill::io {
namespace {

namespace fs = std::filesystem;

/// Exchanges two names in one step. False when the system or file system cannot.
bool exchange(const fs::path& a, const fs::path& b) {
#if defined(__linux__) && defined(SYS_renameat2)
  constexpr unsigned kExchange = 2;  // RENAME_EXCHANGE; older C libraries do not declare it.
  return ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), kExchange) == 0;
#elif defined(__APPLE__)
  return ::renamex_np(a.c_str(), b.c_str(), RENAME_SWAP) == 0;
#else
  (void)a;
  (void)b;
  return false;
#endif
}

Status rename_folder(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_error(errno, "cannot rename to " + to.string(), from);
  return {};
}

Status remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return system_error(error.value(), "cannot remove", path);
  return {};
}

Status make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directory(path, error);
  if (error) return system_error(error.value(), "cannot create folder", path);
  return {};
}

fs::path absolute_output(const fs::path& output) {
  std::error_code ignored;
  const fs::path full = fs::absolute(output, ignored).lexically_normal();
  return full.has_filename() ? full : full.parent_path();
}

}  // namespace

fs::path WorkFolder::root_of(const fs::path& output) {
  const fs::path full = absolute_output(output);
  return full.parent_path() / ("." + full.filename().string() + ".mlxmill-work");
}

void WorkFolder::discard_published(const fs::path& output) {
  std::error_code ignored;
  const fs::path root = root_of(output);
  if (fs::exists(root, ignored) && !fs::exists(root / "model", ignored))
    fs::remove_all(root, ignored);
}

Result<WorkFolder> WorkFolder::open(const fs::path& output) {
  std::error_code error;
  WorkFolder folder;
  folder.output_ = absolute_output(output);
  folder.root_ = root_of(output);
  const fs::path parent = folder.output_.parent_path();
  fs::create_directories(parent, error);
  if (error) return system_error(error.value(), "cannot create folder", parent);
  folder.found_ = fs::exists(folder.root_, error);
  if (!folder.found_) MLXMILL_TRY(make_folder(folder.root_));
  if (!fs::exists(folder.model(), error)) MLXMILL_TRY(make_folder(folder.model()));
  return folder;
}

Status WorkFolder::clear() {
  MLXMILL_TRY(remove_tree(model()));
  return make_folder(model());
}

Status WorkFolder::remove() { return remove_tree(root_); }

Status WorkFolder::publish(bool replace) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(output_, error))) {
    if (!replace) return Error(Code::kOutputExists, "already exists").at(output_.string());
    if (!exchange(model(), output_)) {
      MLXMILL_TRY(rename_folder(output_, root_ / "replaced"));
      if (Status status = rename_folder(model(), output_); !status) {
        (void)rename_folder(root_ / "replaced", output_);
        return status;
      }
    }
  } else {
    MLXMILL_TRY(rename_folder(model(), output_));
  }
  MLXMILL_TRY(sync_folder(output_.parent_path()));
  return remove();
}

bool is_within(const fs::path& inner, const fs::path& outer) {
  std::error_code error;
  const fs::path a = fs::weakly_canonical(inner, error);
  const fs::path b = fs::weakly_canonical(outer, error);
  const fs::path relative = a.lexically_relative(b);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace mlxmill::io

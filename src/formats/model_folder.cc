#include "formats/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "formats/unicode.h"
#include "io/file.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;

// Both canonical. Compares whole components: "/a/bc" is not below "/a/b".
bool is_below(const fs::path& path, const fs::path& folder) {
  const auto [in_folder, in_path] =
      std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  static_cast<void>(in_path);
  return in_folder == folder.end();
}

}  // namespace

Result<ModelFolder> ModelFolder::open(const fs::path& path, RemoteFiles remote) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (status.type() == fs::file_type::not_found) {
    return Error(Code::kNotFound, "no such folder").at(path.string());
  }
  if (failure) return io::system_error(failure.value(), "cannot examine", path);
  if (status.type() != fs::file_type::directory) {
    return Error(Code::kInvalidInput, "is a file; expected a model folder").at(path.string());
  }
  ModelFolder folder;
  folder.path_ = path;
  folder.canonical_ = fs::canonical(path, failure);
  if (failure) return io::system_error(failure.value(), "cannot examine", path);
  if (folder.canonical_.parent_path().filename() == "snapshots") {
    const fs::path repository = folder.canonical_.parent_path().parent_path();
    folder.blobs_ = repository / "blobs";
    folder.shared_blobs_ = repository.parent_path() / "blobs";
  }
  fs::directory_iterator entry(path, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    std::string name = entry->path().filename().string();
    std::error_code ignored;  // A link to nothing stays in the list: whoever asks for it is told.
    if (name.starts_with('.') || entry->is_directory(ignored)) continue;
    folder.names_.push_back(std::move(name));
  }
  if (failure) return io::system_error(failure.value(), "cannot list", path);
  for (const auto& [name, source] : remote) {
    if (std::find(folder.names_.begin(), folder.names_.end(), name) == folder.names_.end())
      folder.names_.push_back(name);
  }
  folder.remote_ = std::move(remote);
  std::sort(folder.names_.begin(), folder.names_.end());
  return folder;
}

bool ModelFolder::has(std::string_view name) const {
  return std::binary_search(names_.begin(), names_.end(), name);
}

Result<fs::path> ModelFolder::find(std::string_view name) const {
  const fs::path path = path_ / name;
  std::error_code failure;
  if (!fs::exists(fs::symlink_status(path, failure))) {
    return Error(Code::kNotFound, "no such file").at(path.string());
  }
  const fs::path target = fs::canonical(path, failure);
  if (failure) {
    return Error(Code::kInvalidInput, "is a link to nothing")
        .at(path.string())
        .hint("incomplete download?");
  }
  const bool in_blobs =
      !blobs_.empty() && (is_below(target, blobs_) || is_below(target, shared_blobs_));
  if (!is_below(target, canonical_) && !in_blobs) {
    return Error(Code::kInvalidInput,
                 fmt::format("is a link that leaves the folder, to {}", quote(target.string())))
        .at(path.string())
        .hint("put the file itself into the folder");
  }
  if (!fs::is_regular_file(target, failure)) {
    return Error(Code::kInvalidInput, "is not a regular file").at(path.string());
  }
  return path;
}

Result<io::File> ModelFolder::open_file(std::string_view name) const {
  if (const auto it = remote_.find(std::string(name)); it != remote_.end())
    return io::File::over(it->second, path_ / name);
  MLXMILL_ASSIGN(const fs::path path, find(name));
  return io::File::open_read(path);
}

Result<std::string> ModelFolder::read(std::string_view name, std::uint64_t max_bytes) const {
  MLXMILL_ASSIGN(const fs::path path, find(name));
  return io::read_text(path, max_bytes);
}

}  // namespace mlxmill::formats

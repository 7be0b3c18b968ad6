#include "hub/local_files.h"

#include <algorithm>
#include <system_error>

#include "io/checksum.h"
#include "io/file.h"

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSampleBytes = 512;
constexpr std::size_t kBlockBytes = 1 << 20;

}  // namespace

Result<std::vector<LocalFile>> list_local_files(const fs::path& folder) {
  std::vector<LocalFile> files;
  std::error_code error;
  if (!fs::is_regular_file(folder / "config.json", error)) {
    return Error(Code::kUsage, "is no model folder: it has no config.json").at(folder.string());
  }
  auto entry = fs::recursive_directory_iterator(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (name.starts_with('.')) {
      if (entry->is_directory(ignored)) entry.disable_recursion_pending();
      continue;
    }
    if (!entry->is_regular_file(ignored)) continue;
    LocalFile local;
    local.path = entry->path().lexically_relative(folder).generic_string();
    local.file = entry->path();
    MLXMILL_ASSIGN(const io::File file, io::File::open_read(local.file));
    MLXMILL_ASSIGN(local.bytes, file.size());
    local.sample.resize(std::min<std::uint64_t>(local.bytes, kSampleBytes));
    MLXMILL_TRY(file.read_at(
        0, std::as_writable_bytes(std::span(local.sample.data(), local.sample.size()))));
    files.push_back(std::move(local));
  }
  if (error) return io::system_error(error.value(), "cannot list", folder);
  std::sort(files.begin(), files.end(),
            [](const LocalFile& a, const LocalFile& b) { return a.path < b.path; });
  return files;
}

Status hash_local_file(LocalFile& local, const std::function<bool(std::uint64_t)>& progress) {
  MLXMILL_ASSIGN(const io::File file, io::File::open_read(local.file));
  io::Checksum sha256 = io::Checksum::sha256();
  io::Checksum git = io::Checksum::git_blob(local.bytes);
  std::vector<std::byte> block(std::min<std::uint64_t>(kBlockBytes, local.bytes));
  for (std::uint64_t at = 0; at < local.bytes;) {
    const auto part =
        std::span(block).first(std::min<std::uint64_t>(block.size(), local.bytes - at));
    MLXMILL_TRY(file.read_at(at, part));
    sha256.update(part);
    git.update(part);
    at += part.size();
    if (!progress(part.size())) return Error(Code::kCancelled, "stopped on request");
  }
  local.sha256 = sha256.finish();
  local.git_oid = git.finish();
  return {};
}

std::string base64(std::string_view data) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  for (std::size_t i = 0; i < data.size(); i += 3) {
    unsigned bits = 0;
    const std::size_t n = std::min<std::size_t>(3, data.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < n ? static_cast<unsigned char>(data[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) result += k <= n ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return result;
}

}  // namespace mlxmill::hub

#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

namespace mlxmill::io {
namespace {

// macOS refuses single transfers of 2 GiB and more with EINVAL; Linux shortens them.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;
constexpr std::size_t kCopyBlock = std::size_t{1} << 20;

// Repeats a system call that a signal interrupted.
template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// True when [offset, offset + bytes) fits the signed offsets of the system calls.
bool fits_off_t(std::uint64_t offset, std::uint64_t bytes) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  return offset <= kMax && bytes <= kMax - offset;
}

Code code_of(int error_number) {
  switch (error_number) {
    case ENOSPC:
#ifdef EDQUOT
    case EDQUOT:
#endif
      return Code::kNoSpace;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermission;
    case ENOENT:
    case ENOTDIR:
      return Code::kNotFound;
    case ENOMEM:
      return Code::kNoMemory;
    default:
      return Code::kIo;
  }
}

std::string_view hint_of(int error_number) {
  switch (error_number) {
    case ENOSPC:
      return "free some space or choose another disk";
#ifdef EDQUOT
    case EDQUOT:
      return "the disk quota is used up";
#endif
    case EMFILE:
      return "raise the limit of open files with `ulimit -n`";
    case ENFILE:
      return "the whole system is out of open files";
    case EROFS:
      return "the disk is mounted read-only";
    case EFBIG:
      return "the file system or `ulimit -f` does not allow files this large";
    default:
      return {};
  }
}

Result<int> open_fd(const std::filesystem::path& path, int flags) {
  const int fd = retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (fd < 0) return system_error(errno, "cannot open", path);
  return fd;
}

// Waits for the disk itself where the system can be asked to.
int sync_fd(int fd) {
#ifdef F_FULLFSYNC
  if (retry([&] { return ::fcntl(fd, F_FULLFSYNC); }) == 0) return 0;
    // Network and some external file systems do not know it.
#endif
  return retry([&] { return ::fsync(fd); });
}

}  // namespace

Error system_error(int error_number, std::string_view doing, const std::filesystem::path& path) {
  Error error(code_of(error_number),
              fmt::format("{}: {}", doing, std::generic_category().message(error_number)));
  return std::move(error.at(path.string()).hint(hint_of(error_number)));
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      source_(std::move(other.source_)),
      path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(source_, other.source_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  // Not repeated on EINTR: Linux has freed the number already, and another thread may own it again.
  if (fd_ >= 0) ::close(fd_);
}

Result<File> File::open_read(const std::filesystem::path& path) {
  // A pipe would block the open until somebody writes to it.
  MLXMILL_ASSIGN(const int fd, open_fd(path, O_RDONLY | O_NONBLOCK));
  File file;
  file.fd_ = fd;
  file.path_ = path;
  struct stat status {};
  if (::fstat(fd, &status) != 0) return system_error(errno, "cannot examine", path);
  if (!S_ISREG(status.st_mode)) {
    return Error(Code::kInvalidInput, S_ISDIR(status.st_mode)
                                          ? "is a folder; expected a regular file"
                                          : "is not a regular file")
        .at(path.string());
  }
  return file;
}

Result<File> File::open_write(const std::filesystem::path& path) {
  MLXMILL_ASSIGN(const int fd, open_fd(path, O_RDWR | O_CREAT));
  File file;
  file.fd_ = fd;
  file.path_ = path;
  return file;
}

File File::over(std::shared_ptr<const ByteSource> source, const std::filesystem::path& name) {
  File file;
  file.source_ = std::move(source);
  file.path_ = name;
  return file;
}

Result<std::uint64_t> File::size() const {
  if (source_) return source_->size();
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return system_error(errno, "cannot examine", path_);
  return static_cast<std::uint64_t>(status.st_size);
}

Status File::lock() {
  if (retry([&] { return ::flock(fd_, LOCK_EX | LOCK_NB); }) == 0) return {};
  if (errno != EWOULDBLOCK) return system_error(errno, "cannot lock", path_);
  return Error(Code::kBusy, "is in use by another process")
      .at(path_.string())
      .hint("wait until it has finished or choose another output");
}

Result<std::int64_t> File::modified() const {
  if (source_) return source_->version();
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return system_error(errno, "cannot examine", path_);
#if defined(__APPLE__)
  const struct timespec& time = status.st_mtimespec;
#else
  const struct timespec& time = status.st_mtim;
#endif
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

Status File::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (!fits_off_t(offset, out.size())) {
    return Error(
               Code::kInvalidInput,
               fmt::format("cannot read {} bytes at offset {}: past any file", out.size(), offset))
        .at(path_.string());
  }
  if (source_) {
    const std::uint64_t bytes = source_->size();
    if (offset <= bytes && out.size() <= bytes - offset) {
      return source_->read_at(offset, out);
    }
    return Error(Code::kInvalidInput, fmt::format("ends at byte {}; expected {} bytes at offset {}",
                                                  bytes, out.size(), offset))
        .at(path_.string());
  }
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t part = std::min(out.size() - done, kMaxTransfer);
    const ssize_t got = retry(
        [&] { return ::pread(fd_, out.data() + done, part, static_cast<off_t>(offset + done)); });
    if (got < 0) return system_error(errno, "cannot read", path_);
    if (got == 0) {
      return Error(Code::kInvalidInput,
                   fmt::format("ends at byte {}; expected {} bytes at offset {}", offset + done,
                               out.size(), offset))
          .at(path_.string())
          .hint("incomplete download?");
    }
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Status File::write_at(std::uint64_t offset, std::span<const std::byte> data) {
  if (!fits_off_t(offset, data.size())) {
    return Error(Code::kInternal,
                 fmt::format("write of {} bytes at offset {}: past any file", data.size(), offset))
        .at(path_.string());
  }
  std::size_t done = 0;
  while (done < data.size()) {
    const std::size_t part = std::min(data.size() - done, kMaxTransfer);
    const ssize_t put = retry(
        [&] { return ::pwrite(fd_, data.data() + done, part, static_cast<off_t>(offset + done)); });
    if (put < 0) return system_error(errno, "cannot write", path_);
    // A device that takes nothing and reports nothing would loop for ever.
    if (put == 0) return system_error(EIO, "cannot write", path_);
    done += static_cast<std::size_t>(put);
  }
  return {};
}

Status File::resize(std::uint64_t bytes) {
  if (!fits_off_t(bytes, 0)) {
    return Error(Code::kInternal, fmt::format("size of {} bytes: past any file", bytes))
        .at(path_.string());
  }
  if (retry([&] { return ::ftruncate(fd_, static_cast<off_t>(bytes)); }) != 0) {
    return system_error(errno, "cannot set the size", path_);
  }
  return {};
}

Status File::sync() {
  if (sync_fd(fd_) != 0) return system_error(errno, "cannot sync", path_);
  return {};
}

void File::will_read(std::uint64_t offset, std::uint64_t bytes) const {
  if (source_) return source_->will_read(offset, bytes);
  if (!fits_off_t(offset, bytes)) return;
#if defined(F_RDADVISE)
  while (bytes > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(bytes, kMaxTransfer);
    struct radvisory advice {};
    advice.ra_offset = static_cast<off_t>(offset);
    advice.ra_count = static_cast<int>(part);
    if (::fcntl(fd_, F_RDADVISE, &advice) != 0) return;
    offset += part;
    bytes -= part;
  }
#elif defined(POSIX_FADV_WILLNEED)
  // Advice only: what it returns changes nothing for the caller.
  (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                        POSIX_FADV_WILLNEED);
#endif
}

Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t max_bytes) {
  MLXMILL_ASSIGN(const File file, File::open_read(path));
  MLXMILL_ASSIGN(const std::uint64_t bytes, file.size());
  if (bytes > max_bytes) {
    return Error(Code::kInvalidInput,
                 fmt::format("has {} bytes; expected at most {}", bytes, max_bytes))
        .at(path.string());
  }
  std::string text(static_cast<std::size_t>(bytes), '\0');
  MLXMILL_TRY(file.read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

Status write_text(const std::filesystem::path& path, std::string_view text) {
  MLXMILL_ASSIGN(File file, File::open_write(path));
  // Sized first, so that no byte of a longer predecessor survives.
  MLXMILL_TRY(file.resize(0));
  MLXMILL_TRY(file.write_at(0, std::as_bytes(std::span(text.data(), text.size()))));
  return file.sync();
}

Status copy_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  MLXMILL_ASSIGN(const File source, File::open_read(from));
  MLXMILL_ASSIGN(const std::uint64_t bytes, source.size());
  MLXMILL_ASSIGN(File target, File::open_write(to));
  struct stat a {
  }, b{};
  if (::stat(from.c_str(), &a) == 0 && ::stat(to.c_str(), &b) == 0 && a.st_dev == b.st_dev &&
      a.st_ino == b.st_ino) {
    return Error(Code::kUsage, "cannot be copied onto itself").at(from.string());
  }
  MLXMILL_TRY(target.resize(0));
  std::vector<std::byte> block(std::min<std::uint64_t>(bytes, kCopyBlock));
  for (std::uint64_t offset = 0; offset < bytes;) {
    const auto part = std::span(block).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes - offset, block.size())));
    MLXMILL_TRY(source.read_at(offset, part));
    MLXMILL_TRY(target.write_at(offset, part));
    offset += part.size();
  }
  return target.sync();
}

Status sync_folder(const std::filesystem::path& folder) {
  MLXMILL_ASSIGN(const int fd, open_fd(folder, O_RDONLY | O_DIRECTORY));
  const int result = sync_fd(fd);
  const int error_number = errno;
  ::close(fd);
  // Some network file systems cannot sync a folder and need not.
  if (result != 0 && error_number != EINVAL && error_number != ENOTSUP) {
    return system_error(error_number, "cannot sync", folder);
  }
  return {};
}

}  // namespace mlxmill::io

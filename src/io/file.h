// Files by position: no whole-file buffers, no shared cursor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "mlxmill/result.h"

namespace mlxmill::io {

/// Bytes by position that are no file of this machine, for what only reads. Threads: calls may run
/// at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::uint64_t size() const = 0;
  /// Another number for another content.
  virtual std::int64_t version() const = 0;
  /// Fills `out` from `offset`. Requires that the range lies inside. Errors name the file.
  virtual Status read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  virtual void will_read(std::uint64_t /*offset*/, std::uint64_t /*bytes*/) const {}
};

/// An open file; closes itself. All offsets and sizes count bytes. Errors name the path and carry
/// what the operating system said (kIo, kNoSpace, kNotFound, kPermission). Threads: read_at and
/// write_at may run at once.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  /// Opens an existing regular file for reading. Errors also: kInvalidInput when it is no regular
  /// file.
  static Result<File> open_read(const std::filesystem::path& path);
  /// Opens for reading and writing, creating it when absent; never truncates.
  static Result<File> open_write(const std::filesystem::path& path);

  /// A file for reading whose bytes come from elsewhere; `name` is for messages.
  static File over(std::shared_ptr<const ByteSource> source, const std::filesystem::path& name);

  bool is_open() const { return fd_ >= 0 || source_; }
  const std::filesystem::path& path() const { return path_; }
  /// The size now.
  Result<std::uint64_t> size() const;

  /// Fills `out` from `offset`. Errors: kInvalidInput when the file ends before that.
  Status read_at(std::uint64_t offset, std::span<std::byte> out) const;
  /// Writes all of `data` at `offset`.
  Status write_at(std::uint64_t offset, std::span<const std::byte> data);
  /// Sets the size; a longer file reads as zeros there and takes no disk until written.
  Status resize(std::uint64_t bytes);
  /// Waits until the data is on the disk.
  Status sync();
  /// Takes the file for this process until it is closed. Errors: kBusy when another process has it.
  Status lock();
  /// When the content last changed, in nanoseconds since the epoch; the version of
  /// bytes from elsewhere.
  Result<std::int64_t> modified() const;
  /// Tells the operating system that a range will be read soon. A hint; never fails.
  void will_read(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  int fd_ = -1;
  std::shared_ptr<const ByteSource> source_;
  std::filesystem::path path_;
};

/// Reads a small text file whole. Errors: kInvalidInput past `max_bytes`.
Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t max_bytes);
/// Creates or replaces a small file, synced.
Status write_text(const std::filesystem::path& path, std::string_view text);
/// Copies byte for byte, in blocks, synced. Follows a link at `from` (the Hub cache is made of
/// links).
Status copy_file(const std::filesystem::path& from, const std::filesystem::path& to);
/// Makes a rename or new entry in a folder durable.
Status sync_folder(const std::filesystem::path& folder);

/// The Error for a failed system call; `doing` reads like "cannot read".
Error system_error(int error_number, std::string_view doing, const std::filesystem::path& path);

}  // namespace mlxmill::io

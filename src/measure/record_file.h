// A file of checksummed records that grows while work goes on and takes its name when it is
// complete. docs/EVALUATION.md has the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/value.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

/// What a file says of itself: one line of JSON, compared as a whole when work is resumed.
using RecordHeader = base::Value;

/// Reads a complete file. The header is checked, and where each record lies; a record is checked
/// when it is read.
class RecordReader {
 public:
  /// Errors: kNotFound, kIo; kInvalidInput for a file that is none of these, is damaged, or ends
  /// early.
  static Result<RecordReader> open(const std::filesystem::path& path);

  const RecordHeader& header() const { return header_; }
  std::size_t records() const { return offsets_.size(); }
  std::uint64_t record_bytes(std::size_t index) const { return sizes_[index]; }
  /// Errors: kInvalidInput when the checksum says that the record is not what was written.
  Status read(std::size_t index, std::vector<std::byte>& out) const;
  std::string name() const { return file_.path().string(); }

 private:
  friend class RecordWriter;
  Status scan(bool whole);
  io::File file_;
  RecordHeader header_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint64_t> sizes_;
  std::uint64_t end_ = 0;  ///< Where the last whole record ends.
};

/// Appends records to `PATH.partial`; finish() gives it its name.
class RecordWriter {
 public:
  /// Goes on with an unfinished file of the same header, keeping its whole and undamaged records,
  /// or starts anew. Errors: kIo, kNoSpace, kPermission; kBusy when another process writes it.
  static Result<RecordWriter> open(const std::filesystem::path& path, const RecordHeader& header);

  /// How many records there are.
  std::size_t records() const { return kept_.records(); }
  Status read(std::size_t index, std::vector<std::byte>& out) const {
    return kept_.read(index, out);
  }
  Status append(std::span<const std::byte> record);
  /// Drops records from `count` on.
  Status truncate(std::size_t count);
  /// Syncs and renames. Requires all records to be there.
  Status finish();

 private:
  std::filesystem::path path_;
  RecordReader kept_;
};

}  // namespace mlxmill::measure

// The table of contents of a zip archive, and where in the file its uncompressed entries lie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// One entry. Offsets count bytes from the start of the file.
struct ZipEntry {
  std::string name;
  std::uint64_t header_begin = 0;  ///< Of the header in front of the data.
  std::uint64_t begin = 0;         ///< Of the data.
  std::uint64_t stored_bytes = 0;  ///< In the file.
  std::uint64_t bytes = 0;         ///< Once unpacked.
  std::uint16_t method = 0;        ///< 0: stored as it is.
};

/// The most bytes of directory that are read; an entry takes 46 and its name.
inline constexpr std::uint64_t kMaxZipDirectory = std::uint64_t{64} << 20;

/// A checked directory, zip64 records included.
class ZipDirectory {
 public:
  /// Reads the directory at the end of a file and the header in front of each entry. Errors:
  /// kInvalidInput for a directory that is not at the very end, headers that contradict it, entries
  /// outside the file or on top of each other, two of one name, names that lead elsewhere (`..`,
  /// absolute, with a backslash or NUL), a stored entry of two sizes; kUnsupported for encryption,
  /// several disks, a directory past kMaxZipDirectory. Checksums are not compared. Cost: one read
  /// per entry; memory in proportion to the directory, whose place in the file is checked first.
  static Result<ZipDirectory> read(const io::File& file);

  /// Sorted by name.
  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// Null when there is none.
  const ZipEntry* find(std::string_view name) const;

 private:
  std::vector<ZipEntry> entries_;
};

}  // namespace mlxmill::formats

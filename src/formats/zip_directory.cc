// Record layouts are those of PKWARE's APPNOTE, sections 4.3.7 to 4.3.16 and 4.5.3.
#include "formats/zip_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "formats/errors.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLocatorBytes = 20;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kCentralBytes = 46;
constexpr std::size_t kLocalBytes = 30;
constexpr std::uint64_t kFull16 = 0xFFFF;
constexpr std::uint64_t kFull32 = 0xFFFFFFFF;
constexpr std::uint16_t kEncrypted = 1 << 0;
constexpr std::uint16_t kSizesFollowData = 1 << 3;
constexpr std::uint16_t kZip64Extra = 1;

// Little-endian numbers of a record whose length has been checked.
std::uint64_t number(std::string_view record, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) {
    value = (value << 8) | static_cast<std::uint8_t>(record[at + i]);
  }
  return value;
}
std::uint16_t word(std::string_view record, std::size_t at) {
  return static_cast<std::uint16_t>(number(record, at, 2));
}

Result<std::string> read_text(const io::File& file, std::uint64_t begin, std::size_t bytes) {
  std::string text(bytes, '\0');
  MLXMILL_TRY(file.read_at(begin, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

std::string_view bad_entry_name(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.find_first_of(std::string_view("\\\0", 2)) != std::string_view::npos) {
    return "holds a backslash or NUL";
  }
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part == "..") return "leads out of the archive";
    if (part.empty() && begin == 0) return "is absolute";
    begin = end + 1;
  }
  return {};
}

// Takes the sizes that did not fit 32 bits out of an extra field, in the order they are asked for.
class Zip64Extra {
 public:
  static Result<Zip64Extra> find(std::string_view extra) {
    Zip64Extra found;
    while (extra.size() >= 4) {
      const std::size_t bytes = word(extra, 2);
      if (bytes > extra.size() - 4) return invalid("an extra field past the header's end");
      if (word(extra, 0) == kZip64Extra && !found.present_) {
        found.present_ = true;
        found.rest_ = extra.substr(4, bytes);
      }
      extra.remove_prefix(4 + bytes);
    }
    return found;
  }

  bool present() const { return present_; }

  Status widen(std::uint64_t& value) {
    if (value != kFull32) return {};
    // Without the field it is the number itself: an entry of just under 4 GiB.
    if (!present_) return {};
    if (rest_.size() < 8) return invalid("a zip64 field that is too short");
    value = number(rest_, 0, 8);
    rest_.remove_prefix(8);
    return {};
  }

 private:
  std::string_view rest_;
  bool present_ = false;
};

// Where the directory lies.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t bytes = 0;
  std::uint64_t n_entries = 0;
  std::uint64_t end = 0;  ///< First byte of the record behind the directory.
};

class Reader {
 public:
  explicit Reader(const io::File& file) : file_(file) {}

  Result<std::vector<ZipEntry>> read() {
    MLXMILL_TRY(find_directory());
    MLXMILL_TRY(read_directory());
    for (ZipEntry& entry : entries_) {
      Status status = read_header(entry);
      if (!status) return std::move(status.error().at(fmt::format("entry {}", quote(entry.name))));
    }
    MLXMILL_TRY(check_overlaps());
    MLXMILL_TRY(check_names());
    return std::move(entries_);
  }

 private:
  Status find_directory() {
    MLXMILL_ASSIGN(const std::uint64_t file_bytes, file_.size());
    const auto no_end = [] {
      return invalid("has no zip directory at its end").hint("incomplete download?");
    };
    if (file_bytes < kEndBytes) return no_end();
    extent_.end = file_bytes - kEndBytes;
    MLXMILL_ASSIGN(const std::string end, read_text(file_, extent_.end, kEndBytes));
    // PyTorch writes no comment; with one, the end could be in two places.
    if (!end.starts_with("PK\x05\x06") || word(end, 20) != 0) return no_end();
    if (word(end, 4) != word(end, 6)) return unsupported("an archive on several disks");
    extent_.n_entries = word(end, 10);
    extent_.bytes = number(end, 12, 4);
    extent_.begin = number(end, 16, 4);
    MLXMILL_TRY(find_directory64());
    if (extent_.begin > extent_.end || extent_.bytes != extent_.end - extent_.begin) {
      return invalid(fmt::format("the zip directory of {} bytes at {} does not end at {}",
                                 extent_.bytes, extent_.begin, extent_.end));
    }
    if (extent_.n_entries > extent_.bytes / kCentralBytes) {
      return invalid(fmt::format("the zip directory has {} bytes for {} entries", extent_.bytes,
                                 extent_.n_entries));
    }
    if (extent_.bytes > kMaxZipDirectory) {
      return unsupported(fmt::format("a zip directory of {} bytes; at most {} are read",
                                     extent_.bytes, kMaxZipDirectory));
    }
    return {};
  }

  // The wider record in front of the end, where there is one.
  Status find_directory64() {
    const bool needed =
        extent_.n_entries == kFull16 || extent_.bytes == kFull32 || extent_.begin == kFull32;
    std::string locator;
    if (extent_.end >= kLocatorBytes) {
      MLXMILL_ASSIGN(locator, read_text(file_, extent_.end - kLocatorBytes, kLocatorBytes));
    }
    if (!locator.starts_with("PK\x06\x07")) {
      return needed ? Status(invalid("has no zip64 directory, which its sizes need")) : Status();
    }
    const std::uint64_t at = number(locator, 8, 8);
    const std::uint64_t locator_begin = extent_.end - kLocatorBytes;
    if (locator_begin < kEnd64Bytes || at != locator_begin - kEnd64Bytes) {
      return invalid(fmt::format("the zip64 record at {} does not end at {}", at, locator_begin));
    }
    MLXMILL_ASSIGN(const std::string end, read_text(file_, at, kEnd64Bytes));
    if (!end.starts_with("PK\x06\x06") || number(end, 4, 8) != kEnd64Bytes - 12) {
      return invalid(fmt::format("no zip64 record at {}", at));
    }
    if (number(end, 16, 4) != number(end, 20, 4)) return unsupported("an archive on several disks");
    const Extent wide = {.begin = number(end, 48, 8),
                         .bytes = number(end, 40, 8),
                         .n_entries = number(end, 32, 8),
                         .end = at};
    const auto agrees = [](std::uint64_t narrow, std::uint64_t full, std::uint64_t value) {
      return narrow == full || narrow == value;
    };
    if (!agrees(extent_.n_entries, kFull16, wide.n_entries) ||
        !agrees(extent_.bytes, kFull32, wide.bytes) ||
        !agrees(extent_.begin, kFull32, wide.begin)) {
      return invalid("the zip64 record contradicts the end of the archive");
    }
    extent_ = wide;
    return {};
  }

  Status read_directory() {
    MLXMILL_ASSIGN(const std::string text,
                   read_text(file_, extent_.begin, static_cast<std::size_t>(extent_.bytes)));
    std::string_view rest = text;
    entries_.reserve(static_cast<std::size_t>(extent_.n_entries));
    for (std::uint64_t i = 0; i < extent_.n_entries; ++i) {
      Status status = read_entry(rest);
      if (!status) return std::move(status.error().at(fmt::format("entry {}", i)));
    }
    if (rest.empty()) return {};
    return invalid(fmt::format("{} bytes behind the last of {} entries of the zip directory",
                               rest.size(), extent_.n_entries));
  }

  Status read_entry(std::string_view& rest) {
    if (rest.size() < kCentralBytes || !rest.starts_with("PK\x01\x02")) {
      return invalid("no entry of the zip directory");
    }
    const std::size_t name_bytes = word(rest, 28);
    const std::size_t extra_bytes = word(rest, 30);
    const std::size_t bytes = kCentralBytes + name_bytes + extra_bytes + word(rest, 32);
    if (bytes > rest.size()) return invalid("past the end of the zip directory");
    ZipEntry entry;
    entry.name = rest.substr(kCentralBytes, name_bytes);
    entry.method = word(rest, 10);
    entry.stored_bytes = number(rest, 20, 4);
    entry.bytes = number(rest, 24, 4);
    entry.header_begin = number(rest, 42, 4);
    if (const auto bad = bad_entry_name(entry.name); !bad.empty()) {
      return invalid(fmt::format("the name {} {}", quote(entry.name), bad));
    }
    if (word(rest, 8) & kEncrypted) return unsupported(quote(entry.name) + " is encrypted");
    MLXMILL_ASSIGN(auto wide,
                   Zip64Extra::find(rest.substr(kCentralBytes + name_bytes, extra_bytes)));
    MLXMILL_TRY(wide.widen(entry.bytes));
    MLXMILL_TRY(wide.widen(entry.stored_bytes));
    MLXMILL_TRY(wide.widen(entry.header_begin));
    if (entry.method == 0 && entry.bytes != entry.stored_bytes) {
      return invalid(fmt::format("{} is stored in {} bytes and unpacked {}", quote(entry.name),
                                 entry.stored_bytes, entry.bytes));
    }
    entries_.push_back(std::move(entry));
    rest.remove_prefix(bytes);
    return {};
  }

  // Finds the data behind the header in front of it, and holds that header against the directory.
  Status read_header(ZipEntry& entry) {
    const std::uint64_t limit = extent_.begin;
    const std::size_t head_bytes = kLocalBytes + entry.name.size();
    const auto outside = [&] {
      return invalid(
          fmt::format("{} bytes at {} are not within the {} in front of the zip directory",
                      entry.stored_bytes, entry.header_begin, limit));
    };
    if (entry.header_begin > limit || limit - entry.header_begin < head_bytes) return outside();
    MLXMILL_ASSIGN(const std::string head, read_text(file_, entry.header_begin, head_bytes));
    const auto contradicts = [](std::string_view what) {
      return invalid(
          fmt::format("the header in front of its data has another {} than the directory", what));
    };
    if (!head.starts_with("PK\x03\x04")) return contradicts("signature");
    if (word(head, 6) & kEncrypted) return unsupported("is encrypted");
    if (word(head, 8) != entry.method) return contradicts("method");
    if (word(head, 26) != entry.name.size() || head.substr(kLocalBytes) != entry.name) {
      return contradicts("name");
    }
    const std::size_t extra_bytes = word(head, 28);
    const std::uint64_t room = limit - entry.header_begin - head_bytes;
    if (extra_bytes > room || entry.stored_bytes > room - extra_bytes) return outside();
    entry.begin = entry.header_begin + head_bytes + extra_bytes;
    std::uint64_t stored_bytes = number(head, 18, 4);
    std::uint64_t bytes = number(head, 22, 4);
    if (stored_bytes == kFull32 || bytes == kFull32) {
      MLXMILL_ASSIGN(const std::string extra,
                     read_text(file_, entry.header_begin + head_bytes, extra_bytes));
      MLXMILL_ASSIGN(auto wide, Zip64Extra::find(extra));
      MLXMILL_TRY(wide.widen(bytes));
      MLXMILL_TRY(wide.widen(stored_bytes));
    }
    const bool later = word(head, 6) & kSizesFollowData;
    const auto agrees = [later](std::uint64_t here, std::uint64_t there) {
      return here == there || (later && here == 0);
    };
    if (!agrees(stored_bytes, entry.stored_bytes) || !agrees(bytes, entry.bytes)) {
      return contradicts("size");
    }
    return {};
  }

  Status check_overlaps() {
    std::sort(entries_.begin(), entries_.end(),
              [](const ZipEntry& a, const ZipEntry& b) { return a.header_begin < b.header_begin; });
    for (std::size_t i = 1; i < entries_.size(); ++i) {
      const ZipEntry& before = entries_[i - 1];
      if (entries_[i].header_begin < before.begin + before.stored_bytes) {
        return invalid(fmt::format("begins at {}, inside entry {}", entries_[i].header_begin,
                                   quote(before.name)))
            .at(fmt::format("entry {}", quote(entries_[i].name)));
      }
    }
    return {};
  }

  Status check_names() {
    std::sort(entries_.begin(), entries_.end(),
              [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(entries_.begin(), entries_.end(),
                           [](const ZipEntry& a, const ZipEntry& b) { return a.name == b.name; });
    if (twice == entries_.end()) return {};
    return invalid(fmt::format("entry {} appears twice", quote(twice->name)));
  }

  const io::File& file_;
  Extent extent_;
  std::vector<ZipEntry> entries_;
};

}  // namespace

Result<ZipDirectory> ZipDirectory::read(const io::File& file) {
  ZipDirectory directory;
  MLXMILL_ASSIGN(directory.entries_, Reader(file).read());
  return directory;
}

const ZipEntry* ZipDirectory::find(std::string_view name) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const ZipEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

}  // namespace mlxmill::formats

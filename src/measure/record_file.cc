#include "measure/record_file.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <system_error>

#include "formats/json.h"
#include "io/hash.h"

namespace mlxmill::measure {
namespace {

namespace fs = std::filesystem;

// Magic, header length; then the header's text and its digest, then records.
constexpr std::array<char, 8> kMagic = {'M', 'L', 'X', 'M', 'E', 'V', 'L', '1'};
constexpr std::uint64_t kFrontBytes = 16;
constexpr std::uint64_t kDigestBytes = 16;
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMostHeader = std::uint64_t{16} << 20;

std::span<const std::byte> bytes_of(const io::Digest& digest) {
  return std::as_bytes(std::span(digest.bytes));
}

io::Digest record_digest(std::uint64_t index, std::span<const std::byte> record) {
  io::Hasher hasher;
  hasher.update(std::as_bytes(std::span(&index, 1)));
  hasher.update(record);
  return hasher.finish();
}

Error damaged(const io::File& file, std::string what) {
  return Error(Code::kInvalidInput, std::move(what)).at(file.path().string());
}

std::string header_bytes(const RecordHeader& header) {
  const std::string text = formats::dump_json(header, {.indent = -1, .sort_keys = false});
  const std::uint64_t length = text.size();
  std::string front(kMagic.begin(), kMagic.end());
  front.append(reinterpret_cast<const char*>(&length), sizeof(length));
  front += text;
  const io::Digest digest = io::digest(text);
  front.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
  return front;
}

Status read_digest(const io::File& file, std::uint64_t offset, io::Digest& digest) {
  return file.read_at(offset, std::as_writable_bytes(std::span(digest.bytes)));
}

// The header, and where the records begin.
Result<std::uint64_t> read_header(const io::File& file, std::uint64_t file_bytes,
                                  RecordHeader& header) {
  std::array<std::byte, kFrontBytes> front{};
  if (file_bytes < kFrontBytes) return damaged(file, "the file is too short to hold predictions");
  MLXMILL_TRY(file.read_at(0, front));
  if (std::memcmp(front.data(), kMagic.data(), kMagic.size()) != 0) {
    return damaged(file, "this is no file of predictions or scores that mlxmill wrote");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, front.data() + kMagic.size(), sizeof(length));
  if (length > kMostHeader || length > file_bytes - kFrontBytes ||
      file_bytes - kFrontBytes - length < kDigestBytes) {
    return damaged(file, fmt::format("a header of {} bytes does not fit", length));
  }
  std::string text(length, '\0');
  MLXMILL_TRY(file.read_at(kFrontBytes, std::as_writable_bytes(std::span(text))));
  io::Digest digest;
  MLXMILL_TRY(read_digest(file, kFrontBytes + length, digest));
  if (digest != io::digest(text)) return damaged(file, "the header's checksum is wrong");
  Result<base::Value> value = formats::parse_json(text);
  if (!value) return std::move(value).error().at(file.path().string());
  header = *std::move(value);
  return kFrontBytes + length + kDigestBytes;
}

fs::path partial_path(const fs::path& path) {
  fs::path partial = path;
  partial += ".partial";
  return partial;
}

}  // namespace

Status RecordReader::scan(bool whole) {
  MLXMILL_ASSIGN(const std::uint64_t size, file_.size());
  MLXMILL_ASSIGN(end_, read_header(file_, size, header_));
  while (end_ < size) {
    std::uint64_t length = 0;
    const std::uint64_t left = size - end_;
    const bool has_length = left >= kLengthBytes + kDigestBytes;
    if (has_length) {
      MLXMILL_TRY(file_.read_at(end_, std::as_writable_bytes(std::span(&length, 1))));
    }
    if (!has_length || length > left - kLengthBytes - kDigestBytes) {
      if (!whole) return {};
      return damaged(file_, fmt::format("the file ends inside record {}", offsets_.size()))
          .hint("delete it; it will be made again");
    }
    offsets_.push_back(end_ + kLengthBytes);
    sizes_.push_back(length);
    end_ += kLengthBytes + length + kDigestBytes;
  }
  return {};
}

Result<RecordReader> RecordReader::open(const fs::path& path) {
  RecordReader reader;
  MLXMILL_ASSIGN(reader.file_, io::File::open_read(path));
  MLXMILL_TRY(reader.scan(true));
  return reader;
}

Status RecordReader::read(std::size_t index, std::vector<std::byte>& out) const {
  out.resize(sizes_[index]);
  MLXMILL_TRY(file_.read_at(offsets_[index], out));
  io::Digest digest;
  MLXMILL_TRY(read_digest(file_, offsets_[index] + sizes_[index], digest));
  if (digest == record_digest(index, out)) return {};
  return damaged(file_, fmt::format("the checksum of record {} is wrong", index))
      .hint("delete the file; it will be made again");
}

Result<RecordWriter> RecordWriter::open(const fs::path& path, const RecordHeader& header) {
  RecordWriter writer;
  writer.path_ = path;
  MLXMILL_ASSIGN(writer.kept_.file_, io::File::open_write(partial_path(path)));
  io::File& file = writer.kept_.file_;
  MLXMILL_TRY(file.lock());
  const std::string front = header_bytes(header);
  // An unfinished file that cannot be read, or is of other work, is of no use.
  if (writer.kept_.scan(false) && writer.kept_.header_ == header) {
    std::vector<std::byte> record;
    std::size_t good = 0;
    while (good < writer.records() && writer.read(good, record)) ++good;
    MLXMILL_TRY(writer.truncate(good));
    return writer;
  }
  writer.kept_.header_ = header;
  writer.kept_.offsets_.clear();
  writer.kept_.sizes_.clear();
  writer.kept_.end_ = front.size();
  MLXMILL_TRY(file.resize(0));
  MLXMILL_TRY(file.write_at(0, std::as_bytes(std::span(front))));
  return writer;
}

Status RecordWriter::append(std::span<const std::byte> record) {
  const std::uint64_t length = record.size();
  const io::Digest digest = record_digest(records(), record);
  std::vector<std::byte> bytes(kLengthBytes + record.size() + kDigestBytes);
  std::memcpy(bytes.data(), &length, kLengthBytes);
  if (!record.empty()) std::memcpy(bytes.data() + kLengthBytes, record.data(), record.size());
  std::memcpy(bytes.data() + kLengthBytes + record.size(), bytes_of(digest).data(), kDigestBytes);
  MLXMILL_TRY(kept_.file_.write_at(kept_.end_, bytes));
  kept_.offsets_.push_back(kept_.end_ + kLengthBytes);
  kept_.sizes_.push_back(length);
  kept_.end_ += bytes.size();
  return {};
}

Status RecordWriter::truncate(std::size_t count) {
  if (count < records()) {
    kept_.end_ = kept_.offsets_[count] - kLengthBytes;
    kept_.offsets_.resize(count);
    kept_.sizes_.resize(count);
  }
  return kept_.file_.resize(kept_.end_);
}

Status RecordWriter::finish() {
  MLXMILL_TRY(kept_.file_.sync());
  std::error_code error;
  fs::rename(partial_path(path_), path_, error);
  if (error) return io::system_error(error.value(), "cannot rename", partial_path(path_));
  return io::sync_folder(path_.parent_path());
}

}  // namespace mlxmill::measure

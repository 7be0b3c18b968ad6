#include "hub/blob_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

// Large enough that a request costs nothing beside its bytes, small enough that a kill loses
// little.
constexpr std::uint64_t kLeastChunk = 1 << 20;
constexpr std::uint64_t kMostChunk = 16 << 20;
constexpr std::uint64_t kChunksWanted = 32;
constexpr std::size_t kHashBlock = 1 << 20;

}  // namespace

Result<BlobFile> BlobFile::open(const fs::path& folder, const std::string& etag,
                                std::uint64_t bytes) {
  BlobFile blob;
  blob.incomplete_ = folder / (etag + ".mlxmill.incomplete");
  blob.journal_path_ = folder / (etag + ".mlxmill.journal");
  blob.etag_ = etag;
  blob.bytes_ = bytes;
  const std::uint64_t wanted = bytes / kChunksWanted;
  blob.chunk_bytes_ = std::clamp(wanted - wanted % kLeastChunk, kLeastChunk, kMostChunk);
  const std::uint64_t chunks = (bytes + blob.chunk_bytes_ - 1) / blob.chunk_bytes_;
  blob.header_ = fmt::format("mlxmill download 1 {} {} {}\n", etag, bytes, blob.chunk_bytes_);
  blob.states_.assign(chunks, State::kMissing);
  MLXMILL_ASSIGN(blob.file_, io::File::open_write(blob.incomplete_));
  MLXMILL_ASSIGN(blob.journal_, io::File::open_write(blob.journal_path_));
  MLXMILL_TRY(blob.read_journal());
  MLXMILL_TRY(blob.file_.resize(bytes));
  blob.reset_hash();
  return blob;
}

Status BlobFile::read_journal() {
  MLXMILL_ASSIGN(const std::uint64_t size, journal_.size());
  MLXMILL_ASSIGN(const std::uint64_t data, file_.size());
  const std::uint64_t wanted = header_.size() + states_.size();
  if (size == wanted && data == bytes_) {
    std::string text(static_cast<std::size_t>(size), '\0');
    MLXMILL_TRY(journal_.read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
    if (text.starts_with(header_)) {
      for (std::size_t i = 0; i < states_.size(); ++i) {
        if (text[header_.size() + i] == static_cast<char>(State::kArrived))
          states_[i] = State::kArrived;
      }
      return {};
    }
  }
  MLXMILL_TRY(journal_.resize(0));
  const std::string text =
      header_ + std::string(states_.size(), static_cast<char>(State::kMissing));
  return journal_.write_at(0, std::as_bytes(std::span(text.data(), text.size())));
}

Range BlobFile::range_of(std::size_t chunk) const {
  const std::uint64_t begin = chunk * chunk_bytes_;
  return {begin, std::min(begin + chunk_bytes_, bytes_)};
}

std::uint64_t BlobFile::arrived() const {
  const std::lock_guard lock(shared_->mutex);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    const Range range = range_of(i);
    if (states_[i] == State::kArrived) sum += range.end - range.begin;
  }
  return sum;
}

std::optional<Range> BlobFile::take() {
  const std::lock_guard lock(shared_->mutex);
  while (first_missing_ < states_.size() && states_[first_missing_] != State::kMissing)
    ++first_missing_;
  if (first_missing_ == states_.size()) return std::nullopt;
  states_[first_missing_] = State::kTaken;
  return range_of(first_missing_);
}

Status BlobFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  return file_.write_at(offset, data);
}

Status BlobFile::mark(std::size_t chunk, State state) {
  const char byte = static_cast<char>(state);
  return journal_.write_at(header_.size() + chunk, std::as_bytes(std::span(&byte, 1)));
}

Status BlobFile::finish(const Range& range) {
  const std::size_t chunk = range.begin / chunk_bytes_;
  {
    const std::lock_guard lock(shared_->mutex);
    states_[chunk] = State::kArrived;
  }
  MLXMILL_TRY(mark(chunk, State::kArrived));
  return hash_on(false);
}

void BlobFile::give_back(const Range& range) {
  const std::lock_guard lock(shared_->mutex);
  const std::size_t chunk = range.begin / chunk_bytes_;
  states_[chunk] = State::kMissing;
  first_missing_ = std::min(first_missing_, chunk);
}

bool BlobFile::complete() const {
  const std::lock_guard lock(shared_->mutex);
  return std::all_of(states_.begin(), states_.end(), [](State s) { return s == State::kArrived; });
}

void BlobFile::reset_hash() {
  checksum_ = etag_.size() == 64 ? io::Checksum::sha256() : io::Checksum::git_blob(bytes_);
  hashed_ = 0;
}

Status BlobFile::hash_on(bool wait) {
  std::unique_lock hashing(shared_->hash_mutex, std::defer_lock);
  if (wait) {
    hashing.lock();
  } else if (!hashing.try_lock()) {
    return {};
  }
  std::vector<std::byte> block(std::min<std::uint64_t>(kHashBlock, bytes_));
  while (hashed_ < states_.size()) {
    {
      const std::lock_guard lock(shared_->mutex);
      if (states_[hashed_] != State::kArrived) return {};
    }
    const Range range = range_of(hashed_);
    for (std::uint64_t at = range.begin; at < range.end;) {
      const auto part = std::span(block).first(
          static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), range.end - at)));
      MLXMILL_TRY(file_.read_at(at, part));
      checksum_->update(part);
      at += part.size();
    }
    ++hashed_;
  }
  return {};
}

Result<bool> BlobFile::check(std::string& got) {
  MLXMILL_TRY(hash_on(true));
  got = checksum_->finish();
  if (got == etag_) return true;
  const std::lock_guard lock(shared_->mutex);
  std::fill(states_.begin(), states_.end(), State::kMissing);
  first_missing_ = 0;
  reset_hash();
  for (std::size_t i = 0; i < states_.size(); ++i) MLXMILL_TRY(mark(i, State::kMissing));
  return false;
}

Status BlobFile::publish(const fs::path& blob) {
  MLXMILL_TRY(file_.sync());
  std::error_code error;
  fs::rename(incomplete_, blob, error);
  if (error)
    return io::system_error(error.value(), "cannot rename to " + blob.string(), incomplete_);
  fs::remove(journal_path_, error);
  return io::sync_folder(blob.parent_path());
}

void BlobFile::discard() {
  std::error_code ignored;
  fs::remove(incomplete_, ignored);
  fs::remove(journal_path_, ignored);
}

}  // namespace mlxmill::hub

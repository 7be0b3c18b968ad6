#include "hub/block_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/parallel.h"
#include "formats/safetensors.h"
#include "io/checksum.h"

namespace mlxmill::hub {
namespace {

/// Blocks fetched ahead of the frontier.
constexpr std::uint64_t kAhead = 10;
constexpr auto kPoll = std::chrono::milliseconds(50);
/// A safetensors file begins with the length of its header, little-endian.
constexpr std::uint64_t kLengthBytes = 8;

BlockDigest digest_of(std::span<const std::byte> data) {
  io::ResumableSha256 sha256;
  sha256.update(data);
  const std::string hex = sha256.hex();
  BlockDigest digest{};
  for (std::size_t i = 0; i < digest.size(); ++i)
    digest[i] = static_cast<std::byte>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return digest;
}

}  // namespace

BlockStream::BlockStream(const Settings& settings, const std::string& repo,
                         const std::string& commit, const std::vector<RemoteFile>& files,
                         int connections, Monitor& monitor, std::uint64_t early_bytes)
    : settings_(settings),
      monitor_(monitor),
      early_bytes_(early_bytes),
      early_client_(settings, [this] { return monitor_.stopped(); }) {
  for (const RemoteFile& remote : files) {
    auto file = std::make_unique<File>();
    file->source = std::make_unique<RangeSource>(settings_, repo, commit, remote);
    file->blocks = (remote.bytes + kBlockBytes - 1) / kBlockBytes;
    file->digests.resize(file->blocks);
    files_.push_back(std::move(file));
  }
  for (int i = 0; i < std::clamp(connections, 1, static_cast<int>(kAhead)); ++i)
    threads_.emplace_back([this] { run(); });
}

BlockStream::~BlockStream() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Status BlockStream::start(const std::filesystem::path& path, bool fresh) {
  const std::lock_guard lock(mutex_);
  std::string identity = fmt::format("mlxmill stream 1 {}\n", kBlockBytes);
  std::vector<std::uint64_t> blocks;
  for (const auto& file : files_) {
    identity += fmt::format("{} {}\n", file->source->file().etag(), file->source->file().bytes);
    blocks.push_back(file->blocks);
  }
  MLXMILL_ASSIGN(state_, StreamState::open(path, identity, blocks, fresh));
  for (std::size_t i = 0; i < files_.size(); ++i) MLXMILL_TRY(resume(i));
  return {};
}

/// Takes up what an earlier run has stored of a file. Requires the lock.
Status BlockStream::resume(std::size_t index) {
  File& file = *files_[index];
  MLXMILL_ASSIGN(const auto progress, state_->progress(index));
  bool complete = progress && progress->blocks <= file.blocks;
  for (std::uint64_t block = 0; block < file.blocks; ++block) {
    MLXMILL_ASSIGN(const BlockDigest digest, state_->digest(index, block));
    file.digests[block] = digest;
    // A block of the hash whose own hash was lost could not be recognised when it comes again.
    if (complete && block < progress->blocks) complete = file.digests[block] != BlockDigest{};
  }
  if (!complete) return {};
  file.frontier = progress->blocks;
  file.target = file.frontier;
  file.sha256.set_state(progress->sha256);
  return {};
}

Range BlockStream::range_of(const File& file, std::uint64_t block) const {
  const std::uint64_t begin = block * kBlockBytes;
  return {begin, std::min(begin + kBlockBytes, file.source->file().bytes)};
}

void BlockStream::run() {
  Client client(settings_, [this] { return ending_ || monitor_.stopped(); });
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (wanted_.empty() || monitor_.stopped()) {
      changed_.wait_for(lock, kPoll);
      continue;
    }
    const Key key = wanted_.front();
    wanted_.pop_front();
    lock.unlock();
    Status status = load(client, key);
    if (status) status = move_frontier(key.first);
    if (!status && !ending_) {
      monitor_.fail(std::move(status.error().at(files_[key.first]->source->file().path)));
    }
    changed_.notify_all();
    lock.lock();
  }
}

Status BlockStream::check_digest(std::size_t index, std::uint64_t block,
                                 const std::vector<std::byte>& data, bool& same) {
  const BlockDigest digest = digest_of(data);
  const std::lock_guard lock(mutex_);
  BlockDigest& known = files_[index]->digests[block];
  same = known == BlockDigest{} || known == digest;
  if (!same || known == digest) return {};
  known = digest;
  // Before anybody sees the block: a later run must know what was used.
  return state_->set_digest(index, block, digest);
}

Status BlockStream::load(Client& client, const Key& key) {
  File& file = *files_[key.first];
  const Range range = range_of(file, key.second);
  std::vector<std::byte> data(range.end - range.begin);
  for (int tries = 0;; ++tries) {
    MLXMILL_TRY(file.source->fetch(
        client, range, [&](std::uint64_t offset, std::span<const std::byte> part) -> Status {
          std::copy(part.begin(), part.end(),
                    data.begin() + static_cast<std::ptrdiff_t>(offset - range.begin));
          return {};
        }));
    bool same = false;
    MLXMILL_TRY(check_digest(key.first, key.second, data, same));
    if (same) break;
    if (tries > 0)
      return Error(Code::kInvalidInput, "a part of it came again with other bytes than before");
  }
  const std::lock_guard lock(mutex_);
  bytes_downloaded_ += data.size();
  const auto it = blocks_.find(key);
  if (it == blocks_.end()) return {};
  const std::shared_ptr<Block>& block = it->second;
  block->data = std::move(data);
  block->ready = true;
  block->hashed = key.second < file.frontier;
  return {};
}

/// Puts a block on the list unless it is there or in memory. Requires the lock.
void BlockStream::want(const Key& key) {
  std::shared_ptr<Block>& block = blocks_[key];
  if (block) return;
  block = std::make_shared<Block>();
  block->used = ++clock_;
  wanted_.push_back(key);
  changed_.notify_all();
  make_room();
}

/// Wants what the frontier needs next. Requires the lock.
void BlockStream::pump(std::size_t index) {
  const File& file = *files_[index];
  const std::uint64_t end = std::min(file.frontier + kAhead, file.target);
  for (std::uint64_t block = file.frontier; block < end; ++block) want({index, block});
}

/// Puts out the blocks that were used longest ago, those that nobody has read last. Requires the
/// lock.
void BlockStream::make_room() {
  const auto before = [](const Block& a, const Block& b) {
    return a.read != b.read ? a.read : a.used < b.used;
  };
  while (blocks_.size() > kMostBlocks) {
    auto oldest = blocks_.end();
    for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
      const bool free = it->second->ready && it->second->hashed && it->second.use_count() == 1;
      if (free && (oldest == blocks_.end() || before(*it->second, *oldest->second))) oldest = it;
    }
    if (oldest == blocks_.end()) return;
    blocks_.erase(oldest);
  }
}

Status BlockStream::move_frontier(std::size_t index) {
  File& file = *files_[index];
  std::unique_lock lock(mutex_);
  if (file.hashing) return {};  // Whoever does it sees the new block.
  file.hashing = true;
  Status status;
  while (file.frontier < file.blocks) {
    const auto it = blocks_.find({index, file.frontier});
    if (it == blocks_.end() || !it->second->ready) break;
    const std::shared_ptr<Block> block = it->second;
    lock.unlock();
    file.sha256.update(block->data);
    lock.lock();
    block->hashed = true;
    ++file.frontier;
    pump(index);
    changed_.notify_all();
    status = state_->set_progress(index, {file.frontier, file.sha256.state()});
    if (status) status = check_early(file, file.frontier - 1, block->data);
    if (!status) break;
  }
  file.hashing = false;
  changed_.notify_all();
  if (status && file.frontier == file.blocks && !file.verified) {
    const RemoteFile& remote = file.source->file();
    const std::string got = file.sha256.hex();
    if (got != remote.sha256) {
      return Error(
          Code::kInvalidInput,
          fmt::format("arrived with wrong bytes; expected SHA-256 {}, got {}", remote.sha256, got));
    }
    file.verified = true;
  }
  make_room();
  return status;
}

Result<std::shared_ptr<BlockStream::Block>> BlockStream::get(std::size_t index,
                                                             std::uint64_t number) {
  File& file = *files_[index];
  std::unique_lock lock(mutex_);
  while (true) {
    if (monitor_.stopped()) {
      lock.unlock();
      Status status = monitor_.status();
      return status ? Error(Code::kCancelled, "stopped on request") : std::move(status).error();
    }
    // The frontier goes past what is wanted, and ahead of it while reading goes on.
    file.target = std::max(file.target, std::min(file.blocks, number + 1 + kAhead));
    pump(index);
    if (number < file.frontier) want({index, number});
    const auto it = blocks_.find({index, number});
    if (it != blocks_.end() && it->second->ready && it->second->hashed) {
      it->second->used = ++clock_;
      it->second->read = true;
      return it->second;
    }
    changed_.wait_for(lock, kPoll);
  }
}

/// Reads what a header needs, and remembers it for the comparison with what streams past later.
Status BlockStream::read_early(std::size_t index, std::uint64_t offset, std::span<std::byte> out) {
  const std::lock_guard lock(early_mutex_);
  File& file = *files_[index];
  for (const Early& early : file.early) {
    if (offset < early.offset || offset - early.offset + out.size() > early.data.size()) continue;
    std::memcpy(out.data(), early.data.data() + (offset - early.offset), out.size());
    return {};
  }
  const std::uint64_t wanted = std::max<std::uint64_t>(out.size(), early_bytes_);
  MLXMILL_ASSIGN(Early early, fetch_early(early_client_, file, offset, wanted));
  std::memcpy(out.data(), early.data.data(), out.size());
  file.early.push_back(std::move(early));
  return {};
}

Result<BlockStream::Early> BlockStream::fetch_early(Client& client, const File& file,
                                                    std::uint64_t offset,
                                                    std::uint64_t bytes) const {
  const RemoteFile& remote = file.source->file();
  Early early;
  early.offset = offset;
  early.data.resize(std::min(bytes, remote.bytes - offset));
  Status status =
      file.source->fetch(client, {offset, offset + early.data.size()},
                         [&](std::uint64_t at, std::span<const std::byte> part) -> Status {
                           std::memcpy(early.data.data() + (at - offset), part.data(), part.size());
                           return {};
                         });
  if (!status) return std::move(status.error().at(remote.path));
  return early;
}

/// The first bytes, and the rest of a header that does not end there.
Status BlockStream::fetch_header(Client& client, File& file) {
  const RemoteFile& remote = file.source->file();
  MLXMILL_ASSIGN(Early start, fetch_early(client, file, 0, early_bytes_));
  std::uint64_t length = 0;
  if (start.data.size() >= kLengthBytes) std::memcpy(&length, start.data.data(), kLengthBytes);
  const std::uint64_t fetched = start.data.size();
  file.early.push_back(std::move(start));
  const bool sound =
      length <= formats::kMaxSafetensorsHeader && kLengthBytes + length <= remote.bytes;
  if (!sound || kLengthBytes + length <= fetched) return {};
  MLXMILL_ASSIGN(Early rest, fetch_early(client, file, kLengthBytes, length));
  file.early.push_back(std::move(rest));
  return {};
}

Status BlockStream::fetch_headers(int connections) {
  const std::lock_guard lock(early_mutex_);
  std::vector<File*> headed;
  for (const auto& file : files_) {
    if (file->source->file().path.ends_with(".safetensors")) headed.push_back(file.get());
  }
  std::atomic<std::size_t> next{0};
  std::mutex first_mutex;
  Status first;
  const int workers = static_cast<int>(std::min<std::size_t>(
      headed.size(), static_cast<std::size_t>(std::clamp(connections, 1, 64))));
  base::run_workers(std::max(workers, 1), [&](int) {
    Client client(settings_, [this] { return monitor_.stopped(); });
    for (std::size_t i = next++; i < headed.size(); i = next++) {
      Status status = fetch_header(client, *headed[i]);
      if (status) continue;
      const std::lock_guard guard(first_mutex);
      if (first) first = std::move(status);
      next = headed.size();
    }
  });
  return first;
}

/// Compares what was read early with the block of the stream that holds its last byte, and with
/// what of it lies in this block. Requires the lock.
Status BlockStream::check_early(File& file, std::uint64_t block,
                                const std::vector<std::byte>& data) {
  const std::uint64_t begin = block * kBlockBytes;
  const std::uint64_t end = begin + data.size();
  for (Early& early : file.early) {
    const std::uint64_t from = std::max(begin, early.offset);
    const std::uint64_t to = std::min<std::uint64_t>(end, early.offset + early.data.size());
    if (from >= to) continue;
    if (std::memcmp(data.data() + (from - begin), early.data.data() + (from - early.offset),
                    to - from) != 0)
      return Error(Code::kInvalidInput, "its header came again with other bytes than before");
    // Blocks pass in order: with the last one all have been compared.
    early.checked = early.checked || to == early.offset + early.data.size();
  }
  return {};
}

/// Where the stream of this run began behind the header, the header is asked for once more.
Status BlockStream::check_early_rest(std::size_t index) {
  for (Early& early : files_[index]->early) {
    if (early.checked) continue;
    std::vector<std::byte> again(early.data.size());
    MLXMILL_TRY(read(index, early.offset, again));
    if (again != early.data)
      return Error(Code::kInvalidInput, "its header came again with other bytes than before")
          .at(files_[index]->source->file().path);
    early.checked = true;
  }
  return {};
}

Status BlockStream::read(std::size_t file, std::uint64_t offset, std::span<std::byte> out) {
  if (!state_) return read_early(file, offset, out);
  while (!out.empty()) {
    const std::uint64_t number = offset / kBlockBytes;
    MLXMILL_ASSIGN(const std::shared_ptr<Block> block, get(file, number));
    const std::uint64_t within = offset - number * kBlockBytes;
    const std::size_t n = std::min<std::uint64_t>(out.size(), block->data.size() - within);
    std::memcpy(out.data(), block->data.data() + within, n);
    out = out.subspan(n);
    offset += n;
  }
  return {};
}

Status BlockStream::finish() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = *files_[i];
    std::unique_lock lock(mutex_);
    file.target = file.blocks;
    while (!file.verified && !monitor_.stopped()) {
      pump(i);
      lock.unlock();
      // Also where the last run had hashed all and only the comparison is left.
      MLXMILL_TRY(move_frontier(i));
      lock.lock();
      if (!file.verified) changed_.wait_for(lock, kPoll);
    }
    lock.unlock();
    if (!monitor_.stopped()) MLXMILL_TRY(check_early_rest(i));
  }
  return monitor_.status();
}

}  // namespace mlxmill::hub

#include "hub/block_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "io/checksum.h"

namespace mlxmill::hub {
namespace {

/// Blocks fetched ahead of the frontier.
constexpr std::uint64_t kAhead = 10;
/// The state of a file's hash is stored each time it has moved on by this many blocks.
constexpr std::uint64_t kStoreEvery = 8;
constexpr auto kPoll = std::chrono::milliseconds(50);

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
                         int connections, Monitor& monitor)
    : settings_(settings), monitor_(monitor) {
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

Status BlockStream::keep_state(const std::filesystem::path& path, bool fresh) {
  std::unique_lock lock(mutex_);
  // Headers have been read, and a thread may still be hashing what came after them.
  changed_.wait(lock, [&] {
    return std::none_of(files_.begin(), files_.end(), [](const auto& f) { return f->hashing; });
  });
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
    if (file.digests[block] != BlockDigest{}) {
      MLXMILL_TRY(state_->set_digest(index, block, file.digests[block]));
    } else {
      file.digests[block] = digest;
    }
    // A block of the hash whose own hash was lost could not be recognised when it comes again.
    if (complete && block < progress->blocks) complete = file.digests[block] != BlockDigest{};
  }
  if (!complete || progress->blocks <= file.frontier) return {};
  file.frontier = progress->blocks;
  file.target = std::max(file.target, file.frontier);
  file.sha256.set_state(progress->sha256);
  for (auto& [key, block] : blocks_) {
    if (key.first == index && key.second < file.frontier && block->ready) block->hashed = true;
  }
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
  return state_ ? state_->set_digest(index, block, digest) : Status();
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
  make_room();
}

/// Wants what the frontier needs next. Requires the lock.
void BlockStream::pump(std::size_t index) {
  const File& file = *files_[index];
  const std::uint64_t end = std::min(file.frontier + kAhead, file.target);
  for (std::uint64_t block = file.frontier; block < end; ++block) want({index, block});
}

/// Puts out the blocks that were used longest ago. Requires the lock.
void BlockStream::make_room() {
  while (blocks_.size() > kMostBlocks) {
    auto oldest = blocks_.end();
    for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
      const bool free = it->second->ready && it->second->hashed && it->second.use_count() == 1;
      if (free && (oldest == blocks_.end() || it->second->used < oldest->second->used)) oldest = it;
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
    const bool store = file.frontier % kStoreEvery == 0 || file.frontier == file.blocks;
    if (state_ && store) status = state_->set_progress(index, {file.frontier, file.sha256.state()});
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
    file.target = std::max(file.target, std::min(file.blocks, number + 1 + kAhead / 2));
    pump(index);
    if (number < file.frontier) want({index, number});
    const auto it = blocks_.find({index, number});
    if (it != blocks_.end() && it->second->ready && it->second->hashed) {
      it->second->used = ++clock_;
      return it->second;
    }
    changed_.notify_all();
    changed_.wait_for(lock, kPoll);
  }
}

Status BlockStream::read(std::size_t file, std::uint64_t offset, std::span<std::byte> out) {
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
      changed_.notify_all();
      if (!file.verified) changed_.wait_for(lock, kPoll);
    }
  }
  return monitor_.status();
}

}  // namespace mlxmill::hub

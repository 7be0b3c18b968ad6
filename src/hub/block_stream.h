// Files of the Hub read in blocks over the network: each streams past from its start and is hashed
// on the way; what is wanted again later is fetched again. Memory is a constant.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "hub/client.h"
#include "hub/monitor.h"
#include "hub/range_source.h"
#include "hub/stream_state.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// For every file there is a frontier: the first block that is not hashed yet. Blocks before it
/// have been part of the file's hash, and only those are handed out. Reading past the frontier
/// moves it there, through every block between: they count for the hash and are downloaded either
/// way. Reading behind it fetches a block again unless it is still in memory; it must then have the
/// hash that it had first. Threads: calls may run at once.
class BlockStream {
 public:
  /// Starts `connections` threads that fetch. Requires files in LFS: they have a SHA-256.
  BlockStream(const Settings& settings, const std::string& repo, const std::string& commit,
              const std::vector<RemoteFile>& files, int connections, Monitor& monitor,
              std::uint64_t early_bytes = kEarlyBytes);
  ~BlockStream();

  /// Fetches the headers of safetensors files, `connections` at once, for the reads before start().
  Status fetch_headers(int connections);

  /// Streams from now on; before, read() fetches just what is asked for, which headers need. `path`
  /// keeps how far the files have got, and where an earlier run stopped. `fresh`: that run does not
  /// count.
  Status start(const std::filesystem::path& path, bool fresh);

  /// Fills `out` from `offset` of a file. Errors: those of RangeSource::fetch(), kInvalidInput for
  /// a block that came again with other bytes.
  Status read(std::size_t file, std::uint64_t offset, std::span<std::byte> out);

  /// Streams what is left of every file and compares the hashes. Errors: kInvalidInput for a file
  /// with another hash than the Hub says.
  Status finish();

  /// Bytes that came over the network, those that came twice included.
  std::uint64_t bytes_downloaded() const { return bytes_downloaded_; }

  static constexpr std::uint64_t kBlockBytes = 4 << 20;
  /// A read before start() takes at least `early_bytes`, so that a header is mostly one request.
  static constexpr std::uint64_t kEarlyBytes = 256 << 10;
  /// Blocks in memory at most, but for those in the hands of readers.
  static constexpr std::size_t kMostBlocks = 20;

 private:
  struct Block {
    std::vector<std::byte> data;
    bool ready = false;
    bool hashed = false;
    bool read = false;       ///< By anybody; what was only fetched ahead goes out last.
    std::uint64_t used = 0;  ///< When, for putting the oldest out.
  };
  /// Bytes that were read before the stream began.
  struct Early {
    std::uint64_t offset = 0;
    std::vector<std::byte> data;
    bool checked = false;
  };
  struct File {
    std::unique_ptr<RangeSource> source;
    std::vector<Early> early;
    std::uint64_t blocks = 0;
    std::uint64_t frontier = 0;
    std::uint64_t target = 0;  ///< The frontier goes on to here.
    io::ResumableSha256 sha256;
    std::vector<BlockDigest> digests;
    bool hashing = false;  ///< A thread moves the frontier.
    bool verified = false;
  };
  using Key = std::pair<std::size_t, std::uint64_t>;

  Range range_of(const File& file, std::uint64_t block) const;
  void run();
  Status load(Client& client, const Key& key);
  Status resume(std::size_t index);
  Status read_early(std::size_t index, std::uint64_t offset, std::span<std::byte> out);
  Status fetch_header(Client& client, File& file);
  Result<Early> fetch_early(Client& client, const File& file, std::uint64_t offset,
                            std::uint64_t bytes) const;
  Status check_early(File& file, std::uint64_t block, const std::vector<std::byte>& data);
  Status check_early_rest(std::size_t index);
  void want(const Key& key);
  void pump(std::size_t file);
  void make_room();
  Status move_frontier(std::size_t index);
  Status check_digest(std::size_t file, std::uint64_t block, const std::vector<std::byte>& data,
                      bool& same);
  Result<std::shared_ptr<Block>> get(std::size_t file, std::uint64_t block);

  const Settings& settings_;
  Monitor& monitor_;
  std::uint64_t early_bytes_;
  std::vector<std::unique_ptr<File>> files_;
  std::optional<StreamState> state_;  ///< Set by start().
  std::mutex early_mutex_;            ///< Guards early reads and their client.
  Client early_client_;
  std::mutex mutex_;  ///< Guards everything below, and frontiers, targets and digests of files.
  std::condition_variable changed_;
  std::map<Key, std::shared_ptr<Block>> blocks_;
  std::deque<Key> wanted_;
  std::uint64_t clock_ = 0;
  std::uint64_t bytes_downloaded_ = 0;
  std::atomic<bool> ending_{false};
  std::vector<std::thread> threads_;
};

}  // namespace mlxmill::hub

// A blob on its way into the cache: ranges in any order, kept across runs, checked, then renamed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hub/range_source.h"
#include "io/checksum.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// ETAG.mlxmill.incomplete with ETAG.mlxmill.journal beside it, which tells what has arrived. The
/// journal is only believed as far as the hash of the whole agrees in the end. Threads: all calls
/// but open() and publish() may run at once.
class BlobFile {
 public:
  /// Takes up what an earlier run left of the same blob. `etag`: a SHA-256 or git's name.
  static Result<BlobFile> open(const std::filesystem::path& folder, const std::string& etag,
                               std::uint64_t bytes);
  BlobFile(BlobFile&&) = default;

  std::uint64_t bytes() const { return bytes_; }
  /// Bytes that are there.
  std::uint64_t arrived() const;

  /// A range that is neither there nor taken; empty when there is none.
  std::optional<Range> take();
  Status write(std::uint64_t offset, std::span<const std::byte> data);
  /// A range taken has arrived whole. Hashes on where the beginning is complete.
  Status finish(const Range& range);
  /// A range taken has not arrived.
  void give_back(const Range& range);
  bool complete() const;

  /// Whether the whole has the hash that its name says. Requires complete(). What is wrong is
  /// thrown away: ranges are there to take again. `got`: the hash found.
  Result<bool> check(std::string& got);
  /// Makes the data durable and gives the blob its name.
  Status publish(const std::filesystem::path& blob);
  /// Removes what an unfinished download left.
  void discard();

 private:
  enum class State : char { kMissing = '0', kArrived = '1', kTaken = 't' };
  struct Shared {
    mutable std::mutex mutex;  ///< Guards states.
    std::mutex hash_mutex;     ///< Guards checksum and hashed.
  };

  BlobFile() = default;
  Range range_of(std::size_t chunk) const;
  Status mark(std::size_t chunk, State state);
  Status read_journal();
  Status hash_on(bool wait);
  void reset_hash();

  std::filesystem::path incomplete_;
  std::filesystem::path journal_path_;
  std::string etag_;
  std::string header_;  ///< First line of the journal.
  io::File file_;
  io::File journal_;
  std::uint64_t bytes_ = 0;
  std::uint64_t chunk_bytes_ = 0;
  std::vector<State> states_;
  std::size_t first_missing_ = 0;
  std::optional<io::Checksum> checksum_;
  std::size_t hashed_ = 0;  ///< Chunks.
  std::unique_ptr<Shared> shared_ = std::make_unique<Shared>();
};

}  // namespace mlxmill::hub

// What a stream knows of its files, kept across runs: how far each has been hashed, and the hash of
// every block that was handed out.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/checksum.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// SHA-256 of a block; all zeros: none.
using BlockDigest = std::array<std::byte, 32>;

/// A file of fixed slots. Nothing in it is believed without the final hashes: a slot that was torn
/// reads as "not begun". Threads: calls for different files may run at once.
class StreamState {
 public:
  struct Progress {
    std::uint64_t blocks = 0;  ///< Hashed from the start.
    io::ResumableSha256::State sha256{};
  };

  /// Opens or creates. `identity` names the files and block size; a state of others starts over, as
  /// with `fresh`.
  static Result<StreamState> open(const std::filesystem::path& path, const std::string& identity,
                                  const std::vector<std::uint64_t>& blocks, bool fresh);

  Result<std::optional<Progress>> progress(std::size_t file) const;
  Status set_progress(std::size_t file, const Progress& progress);
  Result<BlockDigest> digest(std::size_t file, std::uint64_t block) const;
  Status set_digest(std::size_t file, std::uint64_t block, const BlockDigest& digest);

 private:
  std::uint64_t slot(std::size_t file) const;
  std::uint64_t digest_slot(std::size_t file, std::uint64_t block) const;

  io::File file_;
  std::vector<std::uint64_t> first_block_;  ///< By file, counted through all.
};

}  // namespace mlxmill::hub

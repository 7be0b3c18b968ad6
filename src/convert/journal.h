// The journal of a conversion in work: one slot per unit with the hashes of what it wrote.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "io/file.h"
#include "io/hash.h"
#include "mlxmill/result.h"

namespace mlxmill::convert {

/// What a finished unit left behind.
struct UnitRecord {
  std::array<io::Digest, 3> digests;  ///< Of the unit's bytes in each output tensor of its job.
  std::uint32_t non_finite = 0;       ///< Weights that were NaN or infinite.
  friend bool operator==(const UnitRecord&, const UnitRecord&) = default;
};

/// A file of fixed slots, written in any order. A slot counts only when its checksum, which covers
/// the unit's number and the fingerprint, is right; so a torn write or another conversion's journal
/// reads as "not done". Threads: record and find may run at once for different units.
class Journal {
 public:
  /// Opens or creates. `fresh()` tells whether nothing usable was there.
  /// Errors: kBusy when another process holds it; those of io::File.
  static Result<Journal> open(const std::filesystem::path& path, const std::string& fingerprint,
                              std::uint64_t n_units);

  bool fresh() const { return fresh_; }
  Status record(std::uint64_t unit, const UnitRecord& record);
  /// The record of a unit; empty when it is not done.
  Result<std::optional<UnitRecord>> find(std::uint64_t unit) const;

  /// Bytes a journal of that many units takes.
  static std::uint64_t bytes_for(std::uint64_t n_units);

 private:
  io::File file_;
  io::Digest fingerprint_;
  bool fresh_ = true;
};

}  // namespace mlxmill::convert

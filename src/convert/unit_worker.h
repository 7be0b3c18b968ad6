// One worker's buffers and the making of units.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "convert/conversion.h"
#include "convert/job_reader.h"
#include "convert/journal.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::convert {

/// A byte range of an output tensor.
struct OutputRange {
  std::size_t file = 0;
  std::uint64_t begin = 0;
  std::uint64_t bytes = 0;
};

/// Where unit `unit` (counted within the job) of `job` puts its part of output `which`.
OutputRange output_range(const Conversion& conversion, const Job& job, std::uint64_t unit,
                         std::size_t which);

/// Source bytes one unit reads.
std::uint64_t unit_source_bytes(const Job& job, std::uint64_t unit);

/// Makes units. Each thread has its own.
class UnitWorker {
 public:
  UnitWorker(const Conversion& conversion, std::span<io::File> files)
      : c_(conversion), files_(files), reader_(conversion) {}

  /// Units of a job that are read at once: 1, or as many as the budget holds where reading wants
  /// long runs.
  static std::uint64_t units_per_batch(const Job& job, std::uint64_t budget_bytes);
  /// Buffer bytes a batch takes.
  static std::uint64_t batch_bytes(const Job& job, std::uint64_t units);

  /// Makes and writes units [first, first + n) of `job`, calling `done(unit, record)` after each.
  template <typename Done>
  Status make(const Job& job, std::uint64_t first, std::uint64_t n, const Done& done) {
    MLXMILL_TRY(read(job, first, n));
    for (std::uint64_t unit = first; unit < first + n; ++unit) {
      UnitRecord record;
      MLXMILL_TRY(compute(job, first, unit, record));
      MLXMILL_TRY(done(unit, record));
    }
    return {};
  }

  /// Tells the operating system that units [first, last) of `job`, or those there are, will be
  /// read.
  void will_read(const Job& job, std::uint64_t first, std::uint64_t last);

  /// Reads a written unit back. True when its bytes have the recorded digests.
  Result<bool> matches(const Job& job, std::uint64_t unit, const UnitRecord& record);

 private:
  Status read(const Job& job, std::uint64_t first, std::uint64_t n);
  Status compute(const Job& job, std::uint64_t first, std::uint64_t unit, UnitRecord& record);
  Status write(const Job& job, std::uint64_t unit, std::span<const std::byte* const> parts,
               UnitRecord& record);
  void dequantize(const Job& job, std::uint64_t offset_elements, std::uint64_t n);

  const Conversion& c_;
  std::span<io::File> files_;
  JobReader reader_;
  std::vector<std::vector<std::byte>> raw_;  ///< By input.
  std::vector<std::byte> cast_;
  streaming::Scratch scratch_;
  std::vector<std::vector<std::byte>> out_{3};
};

}  // namespace mlxmill::convert

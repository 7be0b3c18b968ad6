// Does the work a Conversion lays out: read, transform, quantize, write, hash, journal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "convert/conversion.h"
#include "convert/journal.h"
#include "io/hash.h"
#include "mlxmill/progress.h"
#include "mlxmill/result.h"

namespace mlxmill::convert {

/// What the pipeline did.
struct PipelineResult {
  std::vector<io::Digest>
      tensor_digests;  ///< By output tensor: digest of the digests of its chunks.
  std::vector<std::pair<std::string, std::uint64_t>>
      non_finite;  ///< Module and count, where there are any.
  std::uint64_t non_finite_total = 0;
  std::uint64_t bytes_resumed = 0;
  double seconds_reading_back = 0;
  int threads = 0;
};

/// Workers a conversion runs with: as asked, or one per core, as far as the memory budget feeds
/// them.
int worker_count(const ConvertOptions& options);

/// Upper bound of the pipeline's buffers and tables in bytes.
std::uint64_t memory_needed(const Conversion& conversion);

/// Writes all shards into `folder`, or what an earlier run left undone of them according to
/// `journal`, then reads everything back and compares it with what was meant to be written. Each
/// worker reads, computes and writes its own units, so the three overlap; nothing waits but on the
/// disk. Errors: those of files and kCancelled; the journal stays good for another try.
Result<PipelineResult> run_pipeline(const Conversion& conversion,
                                    const std::filesystem::path& folder, Journal& journal,
                                    const Callbacks& callbacks);

}  // namespace mlxmill::convert

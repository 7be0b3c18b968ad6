// The reference's predictions on disk, so that reference and candidate never need memory at once.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "evaluate/score_windows.h"
#include "measure/engine.h"
#include "measure/record_file.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

/// What predictions are of. Two that are equal in all but the name have the same rows.
struct CacheIdentity {
  std::string model_name;
  std::string model_digest;
  std::string protocol;  ///< evaluate::describe() of the rule.
  evaluate::RowEncoding encoding;
  Cut cut;
};

/// The encoding that options ask for.
evaluate::RowEncoding encoding_of(const EvalOptions& options, std::int64_t vocabulary);

/// 32 hexadecimal digits that change with model, tokens, protocol and encoding.
std::string cache_key(const CacheIdentity& identity);

/// A complete file, as rows. Errors of read(): kInvalidInput for damage.
class CachedReference : public evaluate::ReferenceRows {
 public:
  /// Errors: those of RecordReader; kInvalidInput for scores instead of predictions, records that
  /// are missing, windows or sizes that no such file has.
  static Result<CachedReference> open(const std::filesystem::path& path);

  const CacheIdentity& identity() const { return identity_; }
  std::int64_t vocabulary() const override { return identity_.encoding.vocabulary; }
  Status read(std::size_t window_index, const evaluate::Window& window, std::uint32_t first,
              std::span<evaluate::ReferenceRow> rows) override;

 private:
  explicit CachedReference(RecordReader file) : file_(std::move(file)) {}
  Status read_identity();
  RecordReader file_;
  CacheIdentity identity_;
  std::vector<std::size_t> first_record_;  ///< Of each window.
  std::vector<std::byte> bytes_;
};

/// Called after each window with windows done and resumed; false stops.
using CacheProgress = std::function<bool(std::size_t done, std::size_t resumed)>;

/// Runs the reference over all windows, going on where an earlier run was stopped. The file appears
/// when it is complete. Errors: kCancelled, kIo, kNoSpace, kBusy, those of encode_windows.
Status make_reference_cache(const std::filesystem::path& path, const CacheIdentity& identity,
                            evaluate::LogitsSource& source, int threads,
                            const CacheProgress& progress);

}  // namespace mlxmill::measure

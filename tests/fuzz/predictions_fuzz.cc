// Any bytes as a file of kept predictions: no crash, and every row that is taken can be scored.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "evaluate/position_score.h"
#include "io/file.h"
#include "measure/reference_cache.h"
#include "measure/windows_record.h"

namespace {

using mlxmill::evaluate::RowEncoding;

void require(bool condition) {
  if (!condition) std::abort();
}

// One file for all runs.
const std::filesystem::path& scratch() {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() /
      ("mlxmill-predictions-fuzz-" + std::to_string(::getpid()));
  return path;
}

// Checksums keep a fuzzer out of what lies behind them: rows and windows get the bytes directly.
void check_rows(std::span<const std::byte> bytes) {
  const RowEncoding encodings[] = {{mlxmill::ReferenceEncoding::kTop, 20, 3, 2},
                                   {mlxmill::ReferenceEncoding::kFloat16, 20, 0, 0},
                                   {mlxmill::ReferenceEncoding::kFloat32, 20, 0, 0}};
  const std::vector<float> logits(20, 0.5F);
  for (const RowEncoding& encoding : encodings) {
    const std::size_t n = mlxmill::evaluate::row_bytes(encoding);
    if (bytes.size() < n) continue;
    mlxmill::evaluate::ReferenceRow row;
    if (!mlxmill::evaluate::decode_row(encoding, bytes.first(n), row)) continue;
    mlxmill::evaluate::RowScratch buffers;
    mlxmill::evaluate::PositionScore score;
    require(mlxmill::evaluate::score_row(logits, 1, row, buffers, score).ok());
    require(score.kl_low <= score.kl_high);
  }
  const auto windows = mlxmill::measure::decode_windows_record(bytes);
  if (!windows) return;
  require(mlxmill::measure::encode_windows_record(*windows) ==
          std::vector<std::byte>(bytes.begin(), bytes.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check_rows(bytes);
  {
    auto file = mlxmill::io::File::open_write(scratch());
    require(file.has_value());
    require(file->resize(size).ok());
    require(file->write_at(0, bytes).ok());
  }
  auto cached = mlxmill::measure::CachedReference::open(scratch());
  std::filesystem::remove(scratch());
  if (!cached) {
    require(!cached.error().message().empty());
    return 0;
  }
  for (std::size_t w = 0; w < cached->identity().cut.windows.size(); ++w) {
    const auto& window = cached->identity().cut.windows[w];
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(
        window.end - window.begin, mlxmill::evaluate::rows_per_block(cached->vocabulary())));
    std::vector<mlxmill::evaluate::ReferenceRow> rows(n);
    (void)cached->read(w, window, window.begin, rows);
  }
  return 0;
}

// Scores of a candidate on disk, window by window, so that a stopped run goes on.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/position_score.h"
#include "evaluate/windows.h"
#include "measure/record_file.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

class ScoreFile {
 public:
  /// `key` names everything the scores follow from. A complete file of that key is taken as it is.
  static Result<ScoreFile> open(const std::filesystem::path& folder, const std::string& key);

  /// Scores of the windows that are there already, one after the other; how many windows.
  Result<std::size_t> load(std::span<const evaluate::Window> windows,
                           std::vector<evaluate::PositionScore>& scores);
  Status append(std::span<const evaluate::PositionScore> window);
  Status finish();

 private:
  Status load_window(std::size_t index, std::size_t positions,
                     std::vector<evaluate::PositionScore>& scores) const;
  std::optional<RecordReader> complete_;
  std::optional<RecordWriter> writer_;
};

}  // namespace mlxmill::measure

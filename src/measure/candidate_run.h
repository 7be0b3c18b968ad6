// One candidate from its first window to its statistics.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluate/score_windows.h"
#include "measure/engine.h"
#include "measure/score_file.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

/// What a candidate is scored against.
struct Against {
  evaluate::ReferenceRows* reference = nullptr;  ///< Null: perplexity alone.
  const Cut* cut = nullptr;                      ///< Its windows.
  std::string key;                               ///< Empty: scores are not kept.
};

class CandidateRun {
 public:
  /// All must outlive the run.
  CandidateRun(const EvalOptions& options, const EvalCallbacks& callbacks, Engine& engine,
               const Against& against)
      : options_(options), callbacks_(callbacks), engine_(engine), against_(against) {}

  /// Fills the model, and what the report says of windows, texts and vocabulary. Errors: those of
  /// engine and metrics; kCancelled before the first window was done.
  Status score(EvalModel& model, EvalReport& report);

 private:
  Status check() const;
  Status open_file();
  Status run_windows();
  void describe(EvalModel& model) const;
  std::vector<DomainScores> domains() const;
  std::vector<WorstToken> worst() const;
  WorstToken worst_at(std::size_t position) const;

  const EvalOptions& options_;
  const EvalCallbacks& callbacks_;
  Engine& engine_;
  const Against& against_;
  Cut cut_;
  std::optional<ScoreFile> file_;
  std::size_t done_ = 0;
  std::size_t resumed_ = 0;
  std::vector<evaluate::PositionScore> scores_;
};

}  // namespace mlxmill::measure

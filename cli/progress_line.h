// Progress of a long call on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "mlxmill/progress.h"

namespace mlxmill::cli {

/// How progress is shown.
enum class ProgressStyle {
  kSilent,  ///< Not at all.
  kLines,   ///< A line at the start and end of a phase and every ten seconds: for logs.
  kLive,    ///< One line of the terminal, redrawn in place and erased at the end.
};

/// kSilent when `quiet`, kLive on a terminal that can, else kLines.
ProgressStyle progress_style(bool quiet);

/// The live line, at most `width` columns: the less important parts go first when there is little
/// room. `rate` in bytes per second, 0 while unknown.
std::string live_line(const Progress& progress, double rate, int width);

/// Shows progress and keeps messages apart from it. Calls may come from any thread.
class ProgressLine {
 public:
  explicit ProgressLine(ProgressStyle style) : style_(style) {}
  ~ProgressLine() { finish(false); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(const Progress& progress);

  /// The same for work that is not counted in bytes: the line is `text`.
  void update(std::string_view phase, std::string text);

  /// Prints "kind: text" on a line of its own.
  void message(std::string_view kind, std::string_view text);

  /// Leaves the terminal as it was. `complete`: the last phase came to its end.
  void finish(bool complete);

 private:
  using Clock = std::chrono::steady_clock;

  void show(const Progress& progress, std::string text);
  void start_phase(const Progress& progress, Clock::time_point now);
  void end_phase(Clock::time_point now, bool complete);
  void print_line(Clock::time_point now);
  void draw(Clock::time_point now);
  void erase();
  double rate(Clock::time_point now) const;

  std::mutex mutex_;
  ProgressStyle style_;
  Progress last_;  // phase_ owns the text of last_.phase.
  std::string phase_;
  std::string text_;  ///< The line where it was given; "" where it is made of last_.
  bool in_phase_ = false;
  bool drawn_ = false;
  std::uint64_t phase_begin_bytes_ = 0;
  Clock::time_point phase_begin_;
  Clock::time_point shown_;
};

}  // namespace mlxmill::cli

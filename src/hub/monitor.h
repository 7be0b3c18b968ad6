// Progress and cancellation of a download, shared by its threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "mlxmill/progress.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

class Monitor {
 public:
  explicit Monitor(const Callbacks& callbacks) : callbacks_(callbacks) {}

  void begin(std::string_view phase, std::uint64_t bytes, std::uint64_t files);
  void end();
  void add_bytes(std::int64_t bytes);
  void add_resumed(std::uint64_t bytes);
  void add_file() { files_.fetch_add(1, std::memory_order_relaxed); }
  void note(std::string_view text);
  void warn(std::string_view text);

  /// True when somebody failed or the caller asked to stop; asks the caller now and then.
  bool stopped();
  /// Keeps the first error and stops everybody.
  void fail(Error error);
  Status status();

 private:
  void report();

  const Callbacks& callbacks_;
  std::string phase_;
  std::uint64_t total_ = 0;
  std::uint64_t files_total_ = 0;
  std::atomic<std::int64_t> bytes_{0};
  std::atomic<std::uint64_t> resumed_{0};
  std::atomic<std::uint64_t> files_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::chrono::steady_clock::time_point last_tick_{};
  std::optional<Error> error_;
};

}  // namespace mlxmill::hub

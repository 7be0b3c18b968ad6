#include "hub/monitor.h"

#include <algorithm>

namespace mlxmill::hub {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);

}  // namespace

void Monitor::begin(std::string_view phase, std::uint64_t bytes, std::uint64_t files) {
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  total_ = bytes;
  files_total_ = files;
  bytes_ = 0;
  files_ = 0;
  resumed_ = 0;
  report();
}

void Monitor::end() {
  const std::lock_guard lock(mutex_);
  if (!stopped_) report();
}

void Monitor::add_bytes(std::int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }

void Monitor::add_resumed(std::uint64_t bytes) {
  resumed_ += bytes;
  add_bytes(static_cast<std::int64_t>(bytes));
}

void Monitor::note(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (callbacks_.note) callbacks_.note(text);
}

void Monitor::warn(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (callbacks_.warning) callbacks_.warning(text);
}

bool Monitor::stopped() {
  if (stopped_.load(std::memory_order_relaxed)) return true;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  if (callbacks_.cancelled && callbacks_.cancelled()) {
    if (!error_) error_ = Error(Code::kCancelled, "stopped on request");
    stopped_ = true;
    return true;
  }
  const auto now = std::chrono::steady_clock::now();
  if (!phase_.empty() && now - last_tick_ >= kTick) {
    last_tick_ = now;
    report();
  }
  return false;
}

void Monitor::fail(Error error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  stopped_ = true;
}

Status Monitor::status() {
  const std::lock_guard lock(mutex_);
  if (error_) return *error_;
  return {};
}

void Monitor::report() {
  if (!callbacks_.progress) return;
  const auto done = static_cast<std::uint64_t>(std::max<std::int64_t>(bytes_, 0));
  callbacks_.progress({phase_, std::min(done, total_), total_, resumed_, files_, files_total_});
}

}  // namespace mlxmill::hub

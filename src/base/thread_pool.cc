#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "base/parallel.h"

namespace mlxmill::base {
namespace {

constexpr std::uint64_t kOpen = 1;
constexpr std::uint64_t kInside = 2;
constexpr std::uint64_t kInsideMask = 0xFFFE;
constexpr std::uint64_t kJob = 0x10000;

// The pause between two products of one model; waking a sleeper costs about as much.
constexpr std::chrono::microseconds kWatch{50};

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Watches until `done`, for kWatch at most. Returns the last answer.
template <class Done>
bool watch(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kWatch;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : shares_(static_cast<std::size_t>(std::clamp(threads, 1, 1024))) {
  const int others = std::clamp(threads, 1, 1024) - 1;
  workers_.reserve(static_cast<std::size_t>(others));
  try {
    for (int i = 0; i < others; ++i) workers_.emplace_back([this, i] { work(i + 1); });
  } catch (const std::system_error&) {
    // The caller's thread does it all, in the end.
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  gate_.fetch_add(kJob, std::memory_order_release);
  gate_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

ThreadPool& ThreadPool::shared() {
  static ThreadPool pool(available_cores());
  return pool;
}

void ThreadPool::run_job(std::size_t count, Call call, const void* task) {
  if (workers_.empty() || count <= 1 || busy_.exchange(true, std::memory_order_acquire)) {
    for (std::size_t i = 0; i < count; ++i) call(task, i, 0);
    return;
  }
  count_ = count;
  call_ = call;
  task_ = task;
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    shares_[i].next.store(count * i / shares_.size(), std::memory_order_relaxed);
    shares_[i].end = count * (i + 1) / shares_.size();
  }
  gate_.fetch_add(kJob + kOpen, std::memory_order_release);
  gate_.notify_all();
  take_tasks(0);
  // Who has not come by now is not waited for: a sleeping worker must not hold up the rest.
  gate_.fetch_sub(kOpen, std::memory_order_acq_rel);
  const auto empty = [this] { return (gate_.load(std::memory_order_acquire) & kInsideMask) == 0; };
  if (!watch(empty)) {
    while (!empty()) std::this_thread::yield();
  }
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::take_tasks(int worker) {
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[(static_cast<std::size_t>(worker) + i) % shares_.size()];
    for (;;) {
      const std::size_t index = share.next.fetch_add(1, std::memory_order_relaxed);
      if (index >= share.end) break;
      call_(task_, index, worker);
    }
  }
}

/// The gate once it shows another job than `seen` does.
std::uint64_t ThreadPool::wait_for_job(std::uint64_t seen) {
  std::uint64_t now = gate_.load(std::memory_order_acquire);
  const auto changed = [&] {
    now = gate_.load(std::memory_order_acquire);
    return now / kJob != seen / kJob;
  };
  if (watch(changed)) return now;
  while (!changed()) gate_.wait(now, std::memory_order_acquire);
  return now;
}

/// Goes in if the job is still open.
bool ThreadPool::enter(std::uint64_t seen) {
  std::uint64_t now = seen;
  while ((now & kOpen) != 0) {
    if (gate_.compare_exchange_weak(now, now + kInside, std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

void ThreadPool::work(int worker) {
  std::uint64_t seen = 0;
  for (;;) {
    seen = wait_for_job(seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    if (!enter(seen)) continue;
    take_tasks(worker);
    gate_.fetch_sub(kInside, std::memory_order_acq_rel);
  }
}

}  // namespace mlxmill::base

// Threads that stay: for work of microseconds that comes again at once, as the layers of a model
// do.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace mlxmill::base {

/// Runs numbered tasks on a fixed number of threads, the caller's among them. Between two runs the
/// others watch for work for some 50 microseconds, then sleep.
///
/// Which thread does a task is left to chance, so what a task writes may depend on its number only.
class ThreadPool {
 public:
  /// `threads` in all, the caller's included; at least 1. Threads that the system refuses are done
  /// without.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// How many threads there are; workers are numbered below it.
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls task(index, worker) for each index below `count`, and returns when all are done. The
  /// caller is worker 0. `task` must not throw. What tasks wrote is visible to the caller.
  /// Threads: callable from any. A call while another runs, or from inside a task, does its tasks
  /// alone, one after the other, as worker 0.
  template <class Task>
  void run(std::size_t count, const Task& task) {
    const auto call = [](const void* it, std::size_t index, int worker) {
      (*static_cast<const Task*>(it))(index, worker);
    };
    run_job(count, call, &task);
  }

  /// The pool of this process, with a thread for each core it may use.
  static ThreadPool& shared();

 private:
  using Call = void (*)(const void* task, std::size_t index, int worker);

  void run_job(std::size_t count, Call call, const void* task);
  void take_tasks(int worker);
  void work(int worker);
  std::uint64_t wait_for_job(std::uint64_t seen);
  bool enter(std::uint64_t seen);

  // What is to be done; written only while no worker is inside.
  std::size_t count_ = 0;
  Call call_ = nullptr;
  const void* task_ = nullptr;

  /// Tasks of one worker, one after the other, so that it reads memory in order; who has none left
  /// helps others.
  struct alignas(64) Share {
    std::atomic<std::size_t> next{0};
    std::size_t end = 0;
  };
  std::vector<Share> shares_;

  // Bit 0: a job is open. Bits 1 to 15: workers inside it. From bit 16: the job's number.
  alignas(64) std::atomic<std::uint64_t> gate_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> busy_{false};
  std::vector<std::thread> workers_;
};

}  // namespace mlxmill::base

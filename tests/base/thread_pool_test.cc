#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace mlxmill::base {
namespace {

/// Runs `count` tasks that each add to a counter of their own; returns the counters.
std::vector<int> times_run(ThreadPool& pool, std::size_t count) {
  std::vector<int> times(count);
  pool.run(count, [&](std::size_t i, int /*worker*/) { ++times[i]; });
  return times;
}

TEST(ThreadPool, RunsEachTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::size_t count : {0u, 1u, 2u, 7u, 1000u}) {
      EXPECT_EQ(times_run(pool, count), std::vector<int>(count, 1)) << threads << ' ' << count;
    }
  }
}

TEST(ThreadPool, ShowsTheCallerWhatTasksWroteOverManyShortJobs) {
  ThreadPool pool(4);
  std::vector<std::size_t> sums(64);
  for (std::size_t round = 1; round <= 3000; ++round) {
    pool.run(sums.size(), [&](std::size_t i, int /*worker*/) { sums[i] += i; });
    if (round % 500 == 0) {
      for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], i * round);
    }
  }
}

TEST(ThreadPool, NumbersWorkersBelowItsThreads) {
  ThreadPool pool(3);
  std::atomic<int> wrong{0};
  pool.run(200, [&](std::size_t /*i*/, int worker) {
    if (worker < 0 || worker >= 3) ++wrong;
  });
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, TasksRunOnOtherThreads) {
  ThreadPool pool(2);
  // Each of the two tasks waits for the other, so one thread alone could not do both.
  std::atomic<int> here{0};
  pool.run(2, [&](std::size_t /*i*/, int /*worker*/) {
    ++here;
    while (here < 2) std::this_thread::yield();
  });
  EXPECT_EQ(here, 2);
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::atomic<int> here{0};
  pool.run(2, [&](std::size_t /*i*/, int /*worker*/) {
    ++here;
    while (here < 2) std::this_thread::yield();
  });
  EXPECT_EQ(here, 2);
}

TEST(ThreadPool, RunsTasksOfTasksAlone) {
  ThreadPool pool(3);
  std::atomic<int> inner{0};
  pool.run(4, [&](std::size_t /*i*/, int /*worker*/) {
    pool.run(5, [&](std::size_t /*j*/, int worker) { inner += worker == 0 ? 1 : 100; });
  });
  EXPECT_EQ(inner, 20);
}

TEST(ThreadPool, ServesSeveralCallersAtOnce) {
  ThreadPool pool(2);
  std::vector<std::thread> callers;
  std::atomic<int> done{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        pool.run(8, [&](std::size_t /*i*/, int /*worker*/) { ++done; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(done, 4 * 200 * 8);
}

}  // namespace
}  // namespace mlxmill::base

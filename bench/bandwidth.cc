#include "bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>

#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bandwidth.cc"
#include <hwy/foreach_target.h>
// clang-format off: Highway needs this order.
#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace mlxmill::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// The bitwise sum of `words` words, a multiple of 64 vectors.
std::uint64_t combine(const std::uint64_t* at, std::size_t words, std::size_t ahead) {
  const hn::ScalableTag<std::uint64_t> d;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d);
  auto b = a;
  auto c = a;
  auto e = a;
  for (std::size_t k = 0; k < words; k += 4 * lanes) {
    for (std::size_t line = 0; line < 4 * lanes; line += 8) hwy::Prefetch(at + k + ahead + line);
    a = hn::Xor(a, hn::Load(d, at + k));
    b = hn::Xor(b, hn::Load(d, at + k + lanes));
    c = hn::Xor(c, hn::Load(d, at + k + 2 * lanes));
    e = hn::Xor(e, hn::Load(d, at + k + 3 * lanes));
  }
  return hn::GetLane(hn::Xor(hn::Xor(a, b), hn::Xor(c, e)));
}

}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::bench {

HWY_EXPORT(combine);

double read_bandwidth(base::ThreadPool& pool, std::size_t bytes, int repeats) {
  constexpr std::size_t kPiece = 65536;
  const auto threads = static_cast<std::size_t>(pool.threads());
  const std::size_t pieces = std::max(threads, bytes / kPiece / threads * threads);
  const std::size_t words = kPiece / 8;
  // What is prefetched lies within the allocation.
  const auto memory = hwy::AllocateAligned<std::uint64_t>((pieces + 1) * words);
  if (!memory) std::abort();
  std::fill_n(memory.get(), (pieces + 1) * words, std::uint64_t{1});
  std::atomic<std::uint64_t> seen{0};
  const auto seconds_of = [&](std::size_t tasks, std::size_t ahead) {
    const std::size_t each = pieces / tasks * words;
    const auto start = std::chrono::steady_clock::now();
    pool.run(tasks, [&](std::size_t i, int /*worker*/) {
      seen ^= HWY_DYNAMIC_DISPATCH(combine)(memory.get() + i * each, each, ahead);
    });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  double best = 1e9;
  for (int i = 0; i <= repeats; ++i) {
    for (const std::size_t ahead : {256, 512}) {
      for (const std::size_t tasks : {pieces, threads}) {
        best = std::min(best, seconds_of(tasks, ahead));
      }
    }
  }
  return static_cast<double>(pieces * kPiece) / best;
}

}  // namespace mlxmill::bench
#endif

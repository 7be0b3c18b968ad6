#include "runtime/weight_memory.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "runtime/views.h"
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace mlxmill::runtime {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Large beside a page, small beside a model: what is no longer needed is freed by the block.
constexpr std::uint64_t kBlockBytes = std::uint64_t{64} << 20;

std::size_t up_to_multiple(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

/// Asks for huge pages in the whole ones of a range that nobody has touched yet. Only advice.
void advise_huge_pages([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t first = up_to_multiple(address, kHugePage);
  const std::uintptr_t last = (address + bytes) / kHugePage * kHugePage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace

std::uint64_t WeightMemory::room(std::uint64_t bytes) { return up_to_multiple(bytes, kLine); }

mx::array WeightMemory::take(mx::Shape shape, mx::Dtype dtype) {
  const std::size_t elements =
      std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
  const std::size_t bytes = elements * dtype.size();
  if (!on_cpu()) return mx::array(mx::allocator::malloc(bytes), std::move(shape), dtype);
  if (!block_ || end_ - used_ < room(bytes)) {
    const std::size_t size = std::max<std::size_t>(room(bytes), std::min(left_, kBlockBytes));
    // Shapes count in 32 bits, so the block is one of lines.
    block_ = mx::array(mx::allocator::malloc(size + kLine),
                       {static_cast<int>(size / kLine) + 1, static_cast<int>(kLine)}, mx::uint8);
    advise_huge_pages(block_->data<std::uint8_t>(), block_->nbytes());
    const auto address = reinterpret_cast<std::uintptr_t>(block_->data<std::uint8_t>());
    used_ = up_to_multiple(address, kLine) - address;
    end_ = used_ + size;
  }
  mx::array taken = part_of(*block_, used_, std::move(shape), dtype);
  used_ += room(bytes);
  left_ -= std::min<std::uint64_t>(left_, room(bytes));
  return taken;
}

}  // namespace mlxmill::runtime

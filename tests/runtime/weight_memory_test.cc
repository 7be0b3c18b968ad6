// Arrays in shared blocks: where they lie, and that they are each other's neighbours, not guests.
#include "runtime/weight_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

std::uint64_t room_of(const mx::Shape& shape, mx::Dtype dtype) {
  const int elements = std::accumulate(shape.begin(), shape.end(), 1, std::multiplies<>());
  return WeightMemory::room(static_cast<std::uint64_t>(elements) * dtype.size());
}

struct Wanted {
  mx::Shape shape;
  mx::Dtype dtype;
};

// Odd sizes, none, a scalar, and one that is larger than a block.
const std::vector<Wanted>& all_wanted() {
  static const std::vector<Wanted> wanted = {
      {{3, 5}, mx::bfloat16}, {{7}, mx::uint8},          {{0, 4}, mx::float32},
      {{}, mx::float32},      {{1000, 999}, mx::uint32}, {{1 << 20, 72}, mx::uint8},
      {{33, 1}, mx::float16},
  };
  return wanted;
}

std::vector<mx::array> taken(WeightMemory memory) {
  std::vector<mx::array> arrays;
  for (const Wanted& wanted : all_wanted())
    arrays.push_back(memory.take(wanted.shape, wanted.dtype));
  return arrays;
}

std::uint64_t total_room() {
  std::uint64_t total = 0;
  for (const Wanted& wanted : all_wanted()) total += room_of(wanted.shape, wanted.dtype);
  return total;
}

TEST(WeightMemory, KeepsWhatEachArrayHolds) {
  // A sum that is too small costs blocks, no more.
  for (const std::uint64_t total : {total_room(), std::uint64_t{0}, std::uint64_t{1} << 40}) {
    std::vector<mx::array> arrays = taken(WeightMemory(total));
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      auto* bytes = arrays[i].data<std::uint8_t>();
      std::fill(bytes, bytes + arrays[i].nbytes(), static_cast<std::uint8_t>(i + 1));
    }
    // Others may go: the block stays.
    arrays.erase(arrays.begin());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      EXPECT_EQ(arrays[i].shape(), all_wanted()[i + 1].shape);
      EXPECT_EQ(arrays[i].dtype(), all_wanted()[i + 1].dtype);
      const auto* bytes = arrays[i].data<std::uint8_t>();
      const auto count =
          std::count(bytes, bytes + arrays[i].nbytes(), static_cast<std::uint8_t>(i + 2));
      EXPECT_EQ(static_cast<std::size_t>(count), arrays[i].nbytes()) << i;
    }
  }
}

TEST(WeightMemory, BeginsWithACacheLineOnTheCpu) {
  if (!on_cpu()) GTEST_SKIP() << "needs the CPU device";
  for (const mx::array& array : taken(WeightMemory(total_room()))) {
    EXPECT_TRUE(at_hand(array));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data<std::uint8_t>()) % 64, 0u);
  }
}

TEST(WeightMemory, IsReadByLibmlxLikeAnyOther) {
  WeightMemory memory(WeightMemory::room(24) * 2);
  memory.take({6}, mx::float32);
  mx::array x = memory.take({2, 3}, mx::float32);
  std::iota(x.data<float>(), x.data<float>() + 6, 1.0f);
  // 14 + 32 + 32 + 77.
  EXPECT_EQ(mx::sum(mx::matmul(x, mx::transpose(x))).item<float>(), 155.0f);
}

}  // namespace
}  // namespace mlxmill::runtime

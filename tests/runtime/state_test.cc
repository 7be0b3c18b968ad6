// What blocks remember: growth, windows, trimming, quantized keys and values.
#include "runtime/state.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace mlxmill::runtime {
namespace {

/// Keys [1, 1, n, 32] whose every element is the position.
mx::array positions(int first, int n) {
  const mx::array column = mx::reshape(mx::arange(first, first + n, mx::float32), {1, 1, n, 1});
  return mx::broadcast_to(column, {1, 1, n, 32});
}

std::vector<float> first_elements(const mx::array& x) {
  const mx::array column = mx::contiguous(mx::slice(x, {0, 0, 0, 0}, {1, 1, x.shape(2), 1}));
  mx::eval(column);
  return {column.data<float>(), column.data<float>() + column.size()};
}

std::vector<float> range(int first, int end) {
  std::vector<float> result(static_cast<std::size_t>(end - first));
  std::iota(result.begin(), result.end(), static_cast<float>(first));
  return result;
}

TEST(KvState, GrowsAndGivesEverythingInOrder) {
  KvState state({}, 0);
  int n = 0;
  for (const int length : {300, 1, 1, 255, 40}) {
    const KeysValues kv = state.append(positions(n, length), positions(n + 1000, length));
    n += length;
    EXPECT_EQ(kv.length, n);
    EXPECT_EQ(first_elements(kv.keys[0]), range(0, n));
    EXPECT_EQ(first_elements(kv.values[0]), range(1000, 1000 + n));
  }
}

TEST(KvState, KeepsAnIndexersKeysAsTheyAre) {
  StateOptions options;
  options.kv_bits = 8;
  options.kv_group_size = 32;
  KvState state(options, 0, /*indexed=*/true);
  int n = 0;
  for (const int length : {300, 1, 7}) {
    const KeysValues kv =
        state.append(positions(n, length), positions(n, length), positions(n + 500, length));
    n += length;
    EXPECT_EQ(kv.keys.size(), 3U);
    EXPECT_EQ(kv.values.size(), 3U);
    ASSERT_TRUE(kv.index);
    EXPECT_EQ(first_elements(*kv.index), range(500, 500 + n));
  }
  state.trim(8);
  KvState other(options, 0, /*indexed=*/true);
  ASSERT_TRUE(other.restore(state.arrays(), 300));
  const KeysValues kv = other.append(positions(300, 1), positions(300, 1), positions(800, 1));
  EXPECT_EQ(first_elements(*kv.index), range(500, 801));
  EXPECT_FALSE(KvState(options, 0).restore(state.arrays(), 300)) << "which has no index";
}

TEST(KvState, KeepsWhatAWindowMaySeeAndForgetsTheRest) {
  KvState state({}, 10);
  int n = 0;
  for (int i = 0; i < 900; ++i) {
    const KeysValues kv = state.append(positions(n, 1), positions(n, 1));
    ++n;
    ASSERT_EQ(first_elements(kv.keys[0]), range(std::max(0, n - 10), n)) << n;
  }
  EXPECT_LT(state.held()[0].shape(2), 10 + 2 * 256 + 1);
  // A chunk sees the window before its first token.
  const KeysValues kv = state.append(positions(n, 30), positions(n, 30));
  EXPECT_EQ(first_elements(kv.keys[0]), range(n - 9, n + 30));
  // It goes back as long as the next token has its window.
  EXPECT_FALSE(state.can_trim(600));
  ASSERT_TRUE(state.can_trim(30));
  state.trim(30);
  EXPECT_EQ(first_elements(state.append(positions(n, 1), positions(n, 1)).keys[0]),
            range(n - 9, n + 1));
}

TEST(KvState, OfLimitedSizeKeepsTheFirstFourAndTheLatest) {
  StateOptions options;
  options.max_size = 10;
  KvState state(options, 0);
  const auto seen = [&](int first, int n) {
    std::vector<float> all =
        first_elements(state.append(positions(first, n), positions(first, n)).keys[0]);
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto kept = [](int first, int end) {
    std::vector<float> all = range(0, 4);
    const std::vector<float> rest = range(first, end);
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  };
  EXPECT_EQ(seen(0, 7), range(0, 7));
  EXPECT_TRUE(state.can_trim(3));
  for (int n = 7; n < 40; ++n) {
    ASSERT_EQ(seen(n, 1), n < 10 ? range(0, n + 1) : kept(n - 5, n + 1)) << n;
  }
  EXPECT_FALSE(state.can_trim(1));
  // A chunk finds the nine before it, in order.
  EXPECT_EQ(first_elements(state.append(positions(40, 6), positions(40, 6)).keys[0]), kept(35, 46));
  EXPECT_EQ(seen(46, 1), kept(41, 47));
  EXPECT_LE(state.held()[0].shape(2), 10 + 256);
}

TEST(KvState, OfLimitedSizeIsRestoredInOrder) {
  StateOptions options;
  options.max_size = 8;
  KvState state(options, 0);
  for (int n = 0; n < 21; ++n) state.append(positions(n, 1), positions(n, 1));
  EXPECT_EQ(first_elements(state.arrays()[0]), (std::vector<float>{0, 1, 2, 3, 17, 18, 19, 20}));
  KvState other(options, 0);
  ASSERT_TRUE(other.restore(state.arrays(), 21));
  const auto next = [](KvState& s) {
    std::vector<float> all = first_elements(s.append(positions(21, 1), positions(21, 1)).keys[0]);
    std::sort(all.begin(), all.end());
    return all;
  };
  EXPECT_EQ(next(other), (std::vector<float>{0, 1, 2, 3, 18, 19, 20, 21}));
  EXPECT_EQ(next(state), (std::vector<float>{0, 1, 2, 3, 18, 19, 20, 21}));
  EXPECT_FALSE(KvState({}, 0).restore(state.arrays(), 21));
}

TEST(KvState, TrimForgetsTheLastTokens) {
  KvState state({}, 0);
  state.append(positions(0, 20), positions(0, 20));
  ASSERT_TRUE(state.can_trim(5));
  EXPECT_FALSE(state.can_trim(21));
  state.trim(5);
  EXPECT_EQ(first_elements(state.append(positions(50, 1), positions(50, 1)).keys[0]).back(), 50);
  EXPECT_EQ(state.arrays()[0].shape(2), 16);
}

TEST(KvState, RestoresWhatItGaveAndNothingElse) {
  KvState state({}, 0);
  state.append(positions(0, 20), positions(0, 20));
  KvState other({}, 0);
  ASSERT_TRUE(other.restore(state.arrays(), 20));
  EXPECT_EQ(first_elements(other.append(positions(20, 2), positions(20, 2)).keys[0]), range(0, 22));
  KvState third({}, 0);
  EXPECT_FALSE(third.restore(state.arrays(), 30));
  EXPECT_FALSE(third.restore({state.arrays()[0]}, 20));
  StateOptions quantized;
  quantized.kv_bits = 8;
  EXPECT_FALSE(KvState(quantized, 0).restore(state.arrays(), 20));
}

TEST(KvState, QuantizesWithScalesAndBiases) {
  StateOptions options;
  options.kv_bits = 8;
  options.kv_group_size = 32;
  KvState state(options, 0);
  const KeysValues kv = state.append(positions(0, 40), positions(0, 40));
  ASSERT_EQ(kv.keys.size(), 3U);
  const mx::array back = mx::dequantize(kv.keys[0], kv.keys[1], kv.keys[2], 32, 8);
  EXPECT_EQ(first_elements(back), range(0, 40));
}

TEST(KvState, QuantizesFromANumberOfTokensOn) {
  StateOptions options;
  options.kv_bits = 8;
  options.kv_group_size = 32;
  options.kv_start = 30;
  KvState state(options, 0);
  // A chunk that begins before stays as it is, with what was there.
  EXPECT_EQ(state.append(positions(0, 20), positions(0, 20)).bits, 0);
  EXPECT_EQ(first_elements(state.append(positions(20, 15), positions(20, 15)).keys[0]),
            range(0, 35));
  KvState early(options, 0);
  ASSERT_TRUE(early.restore(state.arrays(), 35));
  for (KvState* each : {&state, &early}) {
    const KeysValues kv = each->append(positions(35, 5), positions(1035, 5));
    EXPECT_EQ(kv.bits, 8);
    ASSERT_EQ(kv.keys.size(), 3U);
    const mx::array keys = mx::dequantize(kv.keys[0], kv.keys[1], kv.keys[2], 32, 8);
    EXPECT_EQ(first_elements(keys), range(0, 40));
  }
  KvState late(options, 0);
  ASSERT_TRUE(late.restore(state.arrays(), 40));
  EXPECT_EQ(late.append(positions(40, 1), positions(40, 1)).bits, 8);
}

TEST(KvState, PlanCountsAtLeastWhatIsHeld) {
  StateOptions options;
  options.dtype = mx::float32;
  options.kv_group_size = 32;
  options.step = 1;
  for (const std::int64_t window : {0, 10}) {
    for (const int start : {0, 1, 600, 1000}) {
      if (start > 0) options.kv_bits = 4;
      options.kv_start = start;
      KvState state(options, window);
      for (int i = 0; i < 700; ++i) {
        state.append(positions(i, 1), positions(i, 1));
        std::uint64_t held = 0;
        for (const mx::array& array : state.held()) held += array.nbytes();
        const auto format = state_format(options);
        ASSERT_LE(held, architectures::kv_bytes(format, window, i + 1, 1, 32, 32)) << i;
        ASSERT_LE(held, architectures::kv_bytes(format, window, 700, 1, 32, 32)) << i;
      }
    }
    options.kv_bits.reset();
  }
}

TEST(ArraysState, RestoresItsOwnNumberOfArrays) {
  ArraysState state(2);
  EXPECT_TRUE(state.arrays().empty());
  EXPECT_FALSE(state.restore({mx::array(1.0F)}, 3));
  EXPECT_TRUE(state.restore({mx::array(1.0F), mx::array(2.0F)}, 3));
  EXPECT_EQ(state[1]->item<float>(), 2);
}

}  // namespace
}  // namespace mlxmill::runtime

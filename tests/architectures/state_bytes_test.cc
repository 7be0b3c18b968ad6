// Memory of blocks, counted from their declaration.
#include "architectures/forward/state_bytes.h"

#include <gmock/gmock.h>

#include <limits>

namespace mlxmill::architectures {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

Forward one_block(BlockSpec block) {
  Forward forward;
  StepSpec step;
  step.block = std::move(block);
  forward.layers.push_back({std::move(step)});
  return forward;
}

TEST(StateBytes, CountsKeysAndValuesInSteps) {
  EXPECT_EQ(kv_bytes({}, 0, 1000, 4, 64, 32), 1024U * 4 * (64 + 32) * 2);
  EXPECT_EQ(kv_bytes({}, 0, 1, 4, 64, 64), 256U * 4 * 128 * 2);
  // 8 bits and two 16-bit numbers a group of 64: 8.5 bits.
  EXPECT_EQ(kv_bytes({2, 8, 64}, 0, 1024, 4, 64, 64), 1024U * 4 * 128 * 17 / 16);
}

TEST(StateBytes, GroupsOfKeysAndValuesFitEveryHead) {
  const auto with_heads = [](std::int64_t keys, std::int64_t values, int asked = 0) {
    AttentionSpec spec;
    spec.head_dim = keys;
    spec.value_dim = values;
    return kv_group_size(one_block(spec), asked);
  };
  EXPECT_EQ(with_heads(128, 64).value(), 64);
  EXPECT_EQ(with_heads(128, 96).value(), 32);
  EXPECT_EQ(with_heads(128, 128, 32).value(), 32);
  EXPECT_EQ(with_heads(128, 64, 128).error().hint(), "try --kv-group-size 32");
  EXPECT_EQ(with_heads(80, 80).error().hint(), "leave out --kv-bits");
  EXPECT_EQ(kv_group_size(Forward(), 0).value(), 64);
}

TEST(StateBytes, AWindowEndsTheGrowth) {
  AttentionSpec spec;
  spec.kv_heads = 2;
  spec.head_dim = spec.value_dim = 16;
  spec.window = 512;
  const Forward forward = one_block(spec);
  EXPECT_EQ(state_bytes(forward, {}, 100'000), (512U + 512) * 2 * 32 * 2);
  EXPECT_EQ(state_bytes(forward, {}, 100'000), state_bytes(forward, {}, 1'000'000));
}

TEST(StateBytes, RecurrentStatesDoNotGrow) {
  DeltaNetSpec spec;
  spec.key_heads = 2;
  spec.value_heads = 4;
  spec.key_dim = spec.value_dim = 8;
  spec.kernel = 4;
  const Forward forward = one_block(spec);
  EXPECT_EQ(state_bytes(forward, {}, 1), (2U * 2 * 8 + 4 * 8) * 3 * 2 + 4U * 8 * 8 * 4);
  EXPECT_EQ(state_bytes(forward, {}, 1), state_bytes(forward, {}, 1 << 20));
}

TEST(StateBytes, MambaKeepsInputsOfItsConvolutionAndAState) {
  Mamba2Spec second;
  second.heads = 4;
  second.head_dim = 8;
  second.groups = 2;
  second.state = 16;
  second.kernel = 4;
  EXPECT_EQ(state_bytes(one_block(second), {}, 99), (32U + 2 * 2 * 16) * 3 * 2 + 32U * 16 * 4);
  MambaSpec first;
  first.channels = 32;
  first.state = 16;
  first.kernel = 4;
  EXPECT_EQ(state_bytes(one_block(first), {}, 99), 32U * 3 * 2 + 32U * 16 * 4);
}

TEST(StateBytes, MixesKeepTheLastTokenAndAMatrixForEachHead) {
  TimeMixSpec time;
  time.heads = 4;
  time.head_dim = 8;
  EXPECT_EQ(state_bytes(one_block(time), {}, 99), 32U * 2 + 4U * 8 * 8 * 4);
  ChannelMixSpec channel;
  channel.hidden = 32;
  EXPECT_EQ(state_bytes(one_block(channel), {}, 99), 32U * 2);
}

TEST(StateBytes, AnIndexersKeysAreNeverQuantized) {
  AttentionSpec spec;
  spec.kv_heads = 2;
  spec.head_dim = spec.value_dim = 64;
  const std::uint64_t plain = state_bytes(one_block(spec), {}, 1024);
  const std::uint64_t coded = state_bytes(one_block(spec), {2, 8, 64}, 1024);
  spec.indexer.emplace();
  spec.indexer->dim = 16;
  EXPECT_EQ(state_bytes(one_block(spec), {}, 1024), plain + 1024U * 16 * 2);
  EXPECT_EQ(state_bytes(one_block(spec), {2, 8, 64}, 1024), coded + 1024U * 16 * 2);
}

TEST(StateBytes, ASharedCacheIsCountedOnce) {
  AttentionSpec spec;
  spec.kv_heads = spec.head_dim = spec.value_dim = 8;
  spec.shares = 0;
  EXPECT_EQ(state_bytes(one_block(spec), {}, 4096), 0U);
}

TEST(StateBytes, AbsurdConfigsDoNotOverflow) {
  AttentionSpec spec;
  spec.kv_heads = spec.head_dim = spec.value_dim = std::int64_t{1} << 62;
  EXPECT_EQ(state_bytes(one_block(spec), {}, 1 << 30), kMost);
  EXPECT_EQ(state_bytes(one_block(spec), {2, 8, 64}, 1 << 30), kMost);
  spec.kv_heads = -5;
  EXPECT_EQ(state_bytes(one_block(spec), {}, 1 << 30), 0U);
}

}  // namespace
}  // namespace mlxmill::architectures

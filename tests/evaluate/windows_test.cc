#include "evaluate/windows.h"

#include <gmock/gmock.h>

#include <numeric>
#include <set>

namespace mlxmill::evaluate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TokenText counting(std::size_t n) {
  std::vector<std::int32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 0);
  return {"count", {tokens}};
}

TEST(NumpyPermutation, IsTheOneOfNumpyRandomSeed123) {
  // numpy.random.seed(123); numpy.random.permutation(10)
  EXPECT_THAT(numpy_permutation(123, 10), ElementsAre(4, 0, 7, 5, 8, 3, 1, 6, 9, 2));
}

TEST(Strided, ScoresEveryTokenOnceWithContext) {
  for (const bool bos : {false, true}) {
    for (const int stride : {1, 3, 4, 7, 8}) {
      WindowRule rule{EvalProtocol::kStrided, 8, stride, {}, 0, {}};
      if (bos) rule.bos = 999;
      const auto windows = make_windows(rule, std::vector{counting(50)});
      ASSERT_TRUE(windows) << windows.error().message();
      std::multiset<std::int32_t> scored;
      for (const Window& w : *windows) {
        EXPECT_LE(w.tokens.size(), 8U);
        EXPECT_EQ(w.tokens[0] == 999, bos);
        for (std::uint32_t i = w.begin; i < w.end; ++i) scored.insert(w.tokens[i + 1]);
      }
      EXPECT_EQ(scored.size(), std::set(scored.begin(), scored.end()).size());
      // Without overlap, nothing stands before the first token of a window.
      if (bos || stride < 8) {
        EXPECT_EQ(scored.size(), bos ? 50U : 49U) << stride;
      }
    }
  }
}

TEST(Strided, SpreadsSamplesOverTheText) {
  const WindowRule rule{EvalProtocol::kStrided, 10, 10, 2, 0, {}};
  const auto windows = make_windows(rule, std::vector{counting(100)});
  ASSERT_TRUE(windows);
  ASSERT_EQ(windows->size(), 2U);
  EXPECT_EQ((*windows)[1].tokens[0], 50);
}

TEST(LlamaPerplexity, ScoresTheSecondHalfOfEachChunk) {
  WindowRule rule{EvalProtocol::kLlamaPerplexity, 8, 0, {}, 0, 999};
  const auto windows = make_windows(rule, std::vector{counting(30)});
  ASSERT_TRUE(windows);
  ASSERT_EQ(windows->size(), 3U);
  EXPECT_THAT((*windows)[1].tokens, ElementsAre(999, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_EQ((*windows)[1].begin, 4U);
  EXPECT_EQ((*windows)[1].end, 7U);
  const auto shorter = make_windows(rule, std::vector{counting(15)});
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.error().message(),
            "text 'count' has 15 tokens, fewer than the 16 that this protocol needs; give a longer "
            "text or a smaller --context");
}

TEST(MlxLmPerplexity, ShufflesRecordsAndCutsThemAsOne) {
  TokenText text{"chat", {}};
  for (std::int32_t r = 0; r < 10; ++r) text.records.push_back({10 * r, 10 * r + 1, 10 * r + 2});
  WindowRule rule{EvalProtocol::kMlxLmPerplexity, 4, 0, 2, 123, {}};
  const auto windows = make_windows(rule, std::vector{text});
  ASSERT_TRUE(windows);
  ASSERT_EQ(windows->size(), 2U);
  EXPECT_THAT((*windows)[0].tokens, ElementsAre(40, 41, 42, 0));
  EXPECT_THAT((*windows)[1].tokens, ElementsAre(1, 2, 70, 71));
  EXPECT_EQ((*windows)[0].end, 3U);
}

TEST(MakeWindows, RefusesWhatCannotBe) {
  const std::vector texts = {counting(20)};
  EXPECT_THAT(make_windows({EvalProtocol::kStrided, 32, 8, {}, 0, {}}, texts).error().message(),
              HasSubstr("has 20 tokens, fewer than the 32"));
  EXPECT_EQ(make_windows({EvalProtocol::kStrided, 8, 9, {}, 0, {}}, texts).error().code(),
            Code::kUsage);
  EXPECT_EQ(make_windows({EvalProtocol::kStrided, 1, 1, {}, 0, {}}, texts).error().code(),
            Code::kUsage);
}

TEST(CheckWindows, FindsTokensOutsideTheVocabulary) {
  const std::vector<Window> windows = {{0, {1, 2, 7}, 0, 2}};
  EXPECT_TRUE(check_windows(windows, 8, 1));
  EXPECT_EQ(check_windows(windows, 7, 1).error().message(),
            "window 0: token id 7 is outside the vocabulary of 7; the tokens come from another "
            "tokenizer");
  EXPECT_FALSE(check_windows(std::vector<Window>{{0, {1, 2}, 0, 2}}, 8, 1));
  EXPECT_FALSE(check_windows(std::vector<Window>{{0, {1, -2}, 0, 1}}, 8, 1));
}

}  // namespace
}  // namespace mlxmill::evaluate

#include "generate/stop_strings.h"

#include <gtest/gtest.h>

namespace mlxmill::generate {
namespace {

std::string stream(StopStrings& stops, const std::vector<std::string>& pieces) {
  std::string shown;
  for (const std::string& piece : pieces) shown += stops.push(piece);
  return shown;
}

TEST(StopStrings, LetsTextThroughAtOnceWhenThereAreNone) {
  StopStrings stops({});
  EXPECT_EQ(stops.push("a"), "a");
  EXPECT_EQ(stops.finish(), "");
  EXPECT_FALSE(stops.stopped());
}

TEST(StopStrings, EndsBeforeAStopStringInOnePiece) {
  StopStrings stops({"END"});
  EXPECT_EQ(stops.push("one END two"), "one ");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.push("three"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, FindsOneSpreadOverPieces) {
  StopStrings stops({"</think>"});
  EXPECT_EQ(stream(stops, {"x <", "/", "th", "ink", ">", "y"}), "x ");
  EXPECT_TRUE(stops.stopped());
}

TEST(StopStrings, ShowsWhatOnlyBeganLikeOne) {
  StopStrings stops({"abc"});
  EXPECT_EQ(stops.push("xab"), "x");
  EXPECT_EQ(stops.push("d"), "abd");
  EXPECT_EQ(stops.push("ab"), "");
  EXPECT_EQ(stops.finish(), "ab");
  EXPECT_FALSE(stops.stopped());
}

TEST(StopStrings, HoldsTheLongestBeginning) {
  StopStrings stops({"aab", "b!"});
  EXPECT_EQ(stops.push("aaa"), "a");
  EXPECT_EQ(stops.push("b"), "");
  EXPECT_TRUE(stops.stopped());
}

TEST(StopStrings, TakesTheFirstOfSeveral) {
  StopStrings stops({"later", "now", ""});
  EXPECT_EQ(stops.push("do it now or later"), "do it ");
}

TEST(StopStrings, SplitsAtEveryByteGiveTheSame) {
  const std::string text = "one two stop three";
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) {
      StopStrings stops({"stop", "two x"});
      const std::string shown =
          stream(stops, {text.substr(0, a), text.substr(a, b - a), text.substr(b)});
      EXPECT_EQ(shown + stops.finish(), "one two ") << a << ' ' << b;
    }
  }
}

}  // namespace
}  // namespace mlxmill::generate

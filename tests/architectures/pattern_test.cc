#include "architectures/pattern.h"

#include <gtest/gtest.h>

#include <chrono>

namespace mlxmill::architectures {
namespace {

/// "a=x,b=3" of what a pattern captures; "-" when it does not match.
std::string captured(std::string_view pattern, std::string_view name) {
  const auto parsed = Pattern::parse(pattern);
  if (!parsed) return parsed.error().message();
  const auto captures = parsed->match(name);
  if (!captures) return "-";
  std::string text;
  for (const Capture& capture : *captures) {
    if (!text.empty()) text += ",";
    text += capture.name + "=" + capture.text;
    if (capture.number) text += "#" + std::to_string(*capture.number);
  }
  return text;
}

TEST(Pattern, MatchesLiteralsWhole) {
  EXPECT_EQ(captured("lm_head.weight", "lm_head.weight"), "");
  EXPECT_EQ(captured("lm_head.weight", "x.lm_head.weight"), "-");
  EXPECT_EQ(captured("lm_head.weight", "lm_head.weights"), "-");
}

TEST(Pattern, KeepsComponentsBetweenDots) {
  EXPECT_EQ(captured("a.{x}.c", "a.b.c"), "x=b");
  EXPECT_EQ(captured("a.{x}.c", "a.b.b.c"), "-");
  EXPECT_EQ(captured("a.{x}.c", "a..c"), "-");
  EXPECT_EQ(captured("w{x}", "w1"), "x=1");
  EXPECT_EQ(captured("{x}{y}", "abc"), "x=ab,y=c");
}

TEST(Pattern, LetsStarsCrossDotsAndBeEmpty) {
  EXPECT_EQ(captured("{a*}layers.{l#}.{b*}", "layers.3."), "a=,l=3#3,b=");
  EXPECT_EQ(captured("{a*}layers.{l#}.{b*}", "m.layers.12.x.y"), "a=m.,l=12#12,b=x.y");
  EXPECT_EQ(captured("{a*}.x.{b*}", "1.x.2.x.3"), "a=1.x.2,b=3");
}

TEST(Pattern, TakesWholeRunsOfDigits) {
  EXPECT_EQ(captured("e{n#}", "e0"), "n=0#0");
  EXPECT_EQ(captured("e{n#}", "e01"), "-");
  EXPECT_EQ(captured("e{n#}", "e999999999999999999"), "n=999999999999999999#999999999999999999");
  EXPECT_EQ(captured("e{n#}", "e9999999999999999999"), "-");
  EXPECT_EQ(captured("e{n#}", "e"), "-");
  EXPECT_EQ(captured("e{n#}", "e-1"), "-");
  EXPECT_EQ(captured("{a*}{n#}", "x12"), "a=x,n=12#12");
}

TEST(Pattern, TriesAlternativesInOrder) {
  EXPECT_EQ(captured("{p=gate|up}_proj", "up_proj"), "p=up");
  EXPECT_EQ(captured("{p=gate|up}_proj", "down_proj"), "-");
  EXPECT_EQ(captured("{p=a|ab}{q=b|bb}", "abb"), "p=a,q=bb");
  EXPECT_EQ(captured("{=a|b}", "b"), "");
}

TEST(Pattern, StaysBoundedOnHostileNames) {
  const auto pattern = Pattern::parse("{a*}a{b*}a{c*}a{d*}a{e*}a{f*}a{g*}b");
  ASSERT_TRUE(pattern);
  const std::string name(1024, 'a');
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(pattern->match(name + "c"));
    EXPECT_FALSE(pattern->match("b" + name + "x.b."));
  }
  EXPECT_TRUE(pattern->match(name + "b"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Pattern, RejectsBadSyntax) {
  EXPECT_EQ(captured("a{b", "x"), "pattern \"a{b\" has a brace without its partner");
  EXPECT_EQ(captured("a}b", "x"), "pattern \"a}b\" has a brace without its partner");
  EXPECT_EQ(captured("{a{b}}", "x"), "pattern \"{a{b}}\" has a brace without its partner");
  EXPECT_EQ(captured("{1}", "x"),
            "{1} does not start with a name; expected {name}, {name#}, {name*} or {name=a|b}");
  EXPECT_EQ(captured("{a}.{a}", "x"), "pattern \"{a}.{a}\" names \"a\" twice");
  EXPECT_EQ(captured("{a=b||c}", "x"), "{a=b||c} has an empty word");
  EXPECT_EQ(captured("", "x"), "an empty pattern matches nothing");
  EXPECT_FALSE(Pattern::parse(std::string(600, 'a')));
}

TEST(Template, PutsCapturesAndPartsInPlace) {
  const auto to = Template::parse("{l}.experts.{#}.{p}");
  ASSERT_TRUE(to);
  EXPECT_EQ(to->expand({{"l", "m.0", {}}, {"p", "up", {}}}, 7), "m.0.experts.7.up");
  EXPECT_TRUE(to->has_part_number());
  const auto pattern = Pattern::parse("{l}.x");
  ASSERT_TRUE(pattern);
  EXPECT_EQ(to->missing_in(*pattern), "p");
}

}  // namespace
}  // namespace mlxmill::architectures

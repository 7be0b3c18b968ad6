#include "quantize/path_pattern.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

namespace mlxmill::quantize {
namespace {

bool glob(std::string_view pattern, std::string_view path) {
  const Result<PathPattern> made = PathPattern::glob(pattern);
  EXPECT_TRUE(made) << pattern << ": " << made.error().message();
  return made && made->matches(path);
}

bool regex(std::string_view pattern, std::string_view path) {
  const Result<PathPattern> made = PathPattern::regex(pattern);
  EXPECT_TRUE(made) << pattern << ": " << made.error().message();
  return made && made->matches(path);
}

std::string problem(const Result<PathPattern>& made) {
  return made ? "no error" : made.error().what();
}

TEST(PathPattern, StarStaysWithinOnePart) {
  EXPECT_TRUE(glob("model.layers.*.mlp.gate", "model.layers.12.mlp.gate"));
  EXPECT_FALSE(glob("model.*.gate", "model.layers.0.mlp.gate"));
  EXPECT_TRUE(glob("lm_*", "lm_head"));
  EXPECT_FALSE(glob("lm_*", "lm_head.x"));
  EXPECT_TRUE(glob("*", "lm_head"));
  EXPECT_TRUE(glob("h?.x", "h1.x"));
  EXPECT_FALSE(glob("h?x", "h.x"));
}

TEST(PathPattern, TwoStarsCrossParts) {
  EXPECT_TRUE(glob("**", "model.layers.0.mlp.gate"));
  EXPECT_TRUE(glob("**.gate", "model.layers.0.mlp.gate"));
  EXPECT_TRUE(glob("**.gate", "gate"));
  EXPECT_FALSE(glob("**.gate", "model.shared_expert_gate"));
  EXPECT_TRUE(glob("**gate", "model.shared_expert_gate"));
  EXPECT_TRUE(glob("model.**.gate", "model.gate"));
  EXPECT_TRUE(glob("model.**.gate", "model.a.b.gate"));
  EXPECT_FALSE(glob("model.**.gate", "model.agate"));
  EXPECT_TRUE(glob("**.experts.**", "a.experts"));
  EXPECT_TRUE(glob("**.experts.**", "a.experts.up.x"));
  EXPECT_FALSE(glob("**.experts.**", "a.experts2.up"));
  EXPECT_TRUE(glob("**v_proj**", "layers.0.v_proj_2.x"));
}

TEST(PathPattern, AlternativesAndSets) {
  EXPECT_TRUE(glob("a.{q,k,v}_proj", "a.k_proj"));
  EXPECT_FALSE(glob("a.{q,k,v}_proj", "a.o_proj"));
  EXPECT_TRUE(glob("{a,b.{c,d}}.x", "b.d.x"));
  EXPECT_TRUE(glob("{**.gate,head}", "x.y.gate"));
  EXPECT_TRUE(glob("x{,_norm}", "x"));
  EXPECT_TRUE(glob("layers.[0-3].x", "layers.3.x"));
  EXPECT_FALSE(glob("layers.[0-3].x", "layers.4.x"));
  EXPECT_TRUE(glob("layers.[!0-3].x", "layers.4.x"));
}

TEST(PathPattern, RegexMatchesTheWholePath) {
  EXPECT_TRUE(regex(R"(model\.layers\.\d+\.mlp\.(gate|up)_proj)", "model.layers.10.mlp.up_proj"));
  EXPECT_FALSE(regex("gate", "mlp.gate"));
  EXPECT_TRUE(regex(".*gate", "mlp.gate"));
  EXPECT_TRUE(regex(R"(layers\.(0|1[0-5])\..+)", "layers.12.q"));
  EXPECT_FALSE(regex(R"(layers\.(0|1[0-5])\..+)", "layers.1.q"));
  EXPECT_TRUE(regex("a{2,3}", "aaa"));
  EXPECT_FALSE(regex("a{2,3}", "aaaa"));
  EXPECT_TRUE(regex("(a*)*b", "aaab"));
}

TEST(PathPattern, AgreesWithStdRegex) {
  std::mt19937 random(7);
  const std::vector<std::string> pieces = {"a",    "b",    ".",  "a*",      "(a|b)",  "(ab)?",
                                           "[ab]", "[^b]", "b+", "(a|ba)*", "a{1,2}", "\\."};
  const std::string alphabet = "ab.";
  int n_matches = 0;
  for (int round = 0; round < 400; ++round) {
    std::string pattern;
    for (unsigned i = 0; i < 1 + random() % 4; ++i) pattern += pieces[random() % pieces.size()];
    const std::regex oracle(pattern);
    for (int i = 0; i < 40; ++i) {
      std::string path;
      for (unsigned k = 0; k < random() % 6; ++k) path += alphabet[random() % 3];
      const bool expected = std::regex_match(path, oracle);
      n_matches += expected;
      ASSERT_EQ(regex(pattern, path), expected) << pattern << " on " << path;
    }
  }
  EXPECT_GT(n_matches, 1000);
}

TEST(PathPattern, RunsInLinearTime) {
  // Backtracking would take 2^200 steps here, and recursion a frame for each character.
  EXPECT_FALSE(regex("(a*)*(a|a)*b", std::string(20000, 'a')));
  EXPECT_FALSE(glob("**a**a**a**a**a**a**a**b", std::string(20000, 'a')));
}

TEST(PathPattern, SaysWhatIsWrong) {
  EXPECT_EQ(problem(PathPattern::glob("")), "an empty pattern matches nothing");
  EXPECT_EQ(problem(PathPattern::glob("a.{b")), "'{' without its partner");
  EXPECT_EQ(problem(PathPattern::glob("a}")), "'}' without its partner");
  EXPECT_EQ(problem(PathPattern::glob("[ab")), "'[' without its partner");
  EXPECT_EQ(problem(PathPattern::glob("[b-a]")), "a set's range runs backwards");
  EXPECT_EQ(problem(PathPattern::glob(std::string(600, 'a'))), "longer than 512 characters");
  EXPECT_EQ(problem(PathPattern::glob(std::string(200, '{'))), "more than 16 braces deep");
  EXPECT_EQ(problem(PathPattern::regex("(a")), "'(' without its partner");
  EXPECT_EQ(problem(PathPattern::regex("a)")), "')' without its partner");
  EXPECT_EQ(problem(PathPattern::regex("*a")), "'*' has nothing to repeat");
  EXPECT_EQ(problem(PathPattern::regex("a**")), "'*' has nothing to repeat");
  EXPECT_EQ(problem(PathPattern::regex("^a")), "'^' has no use: the whole path has to match");
  EXPECT_EQ(problem(PathPattern::regex("(?=a)")), "only groups (...) and (?:...) are known");
  EXPECT_EQ(problem(PathPattern::regex("\\1")),
            "'\\1' is not known; expected \\d, \\w or an escaped symbol");
  EXPECT_EQ(problem(PathPattern::regex("a{99}")), "a repetition needs a number up to 64");
  EXPECT_EQ(problem(PathPattern::regex("((((a{64}){64}){64}){64}){64}")),
            "it needs more than 4096 states");
  EXPECT_EQ(problem(PathPattern::regex("(((((){64}){64}){64}){64}){64}")),
            "it needs more than 4096 states");
}

}  // namespace
}  // namespace mlxmill::quantize

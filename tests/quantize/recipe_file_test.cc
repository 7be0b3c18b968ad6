#include "quantize/recipe_file.h"

#include <gtest/gtest.h>

namespace mlxmill::quantize {
namespace {

std::string problem(std::string_view text) {
  const Result<RecipeFile> file = RecipeFile::parse(text, "my.toml");
  return file ? "no error" : file.error().message();
}

TEST(RecipeFile, ReadsEveryKey) {
  const Result<RecipeFile> file = RecipeFile::parse(R"(
name = "mine"
description = "a try"
layer_of = "**.down_proj"
[[rules]]
match = ["**.gate", "**.router"]
when = "layer < 2 and kind == 'linear'"
mode = "affine"
bits = 8
group_size = 32
optional = true
override_family = true
[[rules]]
regex = "lm_head"
dtype = "float32"
[[rules]]
match = "**.norm"
keep = true
[[rules]]
match = "**"
as_run = true
)",
                                                    "some/folder/my.toml");
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->name, "mine");
  EXPECT_EQ(file->description, "a try");
  EXPECT_TRUE(file->layer_of->matches("a.down_proj"));
  ASSERT_EQ(file->rules.size(), 4u);
  const RecipeRule& first = file->rules[0];
  EXPECT_EQ(first.patterns.size(), 2u);
  EXPECT_EQ(first.mode, Mode::kAffine);
  EXPECT_EQ(first.bits, 8);
  EXPECT_EQ(first.group_size, 32);
  EXPECT_TRUE(first.optional && first.override_family);
  EXPECT_EQ(file->where(first), "my.toml:5");
  EXPECT_EQ(first.match_text(), "**.gate, **.router when layer < 2 and kind == 'linear'");
  EXPECT_EQ(first.settings_text(), "affine 8-bit, groups of 32");
  EXPECT_EQ(file->rules[1].settings_text(), "kept as float32");
  EXPECT_TRUE(file->rules[1].patterns[0].is_regex());
  EXPECT_EQ(file->rules[2].settings_text(), "kept");
  EXPECT_EQ(file->rules[3].settings_text(), "as the run");
}

TEST(RecipeFile, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(problem(""), "my.toml:1: a recipe needs [[rules]]");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nbitz = 4\n"),
            "my.toml:3: unknown key \"bitz\"; did you mean \"bits\"?");
  EXPECT_EQ(problem("rule = 1\n[[rules]]\nmatch = \"**\"\nbits = 4\n"),
            "my.toml:1: unknown key \"rule\"; did you mean \"rules\"?");
  EXPECT_EQ(problem("[[rules]]\nbits = 4\n"),
            "my.toml:1: the rule has no match and no regex; expected one of them");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"a\"\nregex = \"a\"\nbits = 4\n"),
            "my.toml:1: the rule has match and regex; expected one of them");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"a.{b\"\nbits = 4\n"),
            "my.toml:2: match \"a.{b\": '{' without its partner");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\n"),
            "my.toml:1: the rule says nothing; expected mode, bits, group_size, keep = true, dtype "
            "or as_run = true");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nbits = 4\nkeep = true\n"),
            "my.toml:1: the rule says two things; expected settings, keep or as_run");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nbits = 4\ndtype = \"float32\"\n"),
            "my.toml:1: the rule has a dtype, which keeps modules unquantized, and bits, mode or "
            "group_size; expected one of the two");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nmode = \"mxfp5\"\n"),
            "my.toml:3: mode is \"mxfp5\"; expected affine, mxfp4, nvfp4 or mxfp8");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nmode = \"affine\"\nbits = 7\n"),
            "my.toml:1: affine quantization has no bit width 7; expected 2, 3, 4, 5, 6, 8");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nbits = \"4\"\n"),
            "my.toml:3: bits is a string; expected an integer");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\ndtype = \"int8\"\n"),
            "my.toml:3: dtype is \"int8\"; expected float16, bfloat16 or float32");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nbits = 4\nwhen = \"layr < 2\"\n"),
            "my.toml:4: when knows no \"layr\"; expected path, kind, layer, layers, rows, columns; "
            "did you mean \"layer\"?");
  EXPECT_EQ(problem("[[rules]]\nmatch = \"**\"\nbits = 4\noptional = 1\n"),
            "my.toml:4: optional is an integer; expected true or false");
  EXPECT_NE(problem("[# no key\n]\n"), "no error");
  EXPECT_EQ(problem("rules = [1]\n"), "my.toml:1: a rule is a table: [[rules]]");
}

TEST(RecipeFile, EveryBuiltInParsesAndIsDescribed) {
  const std::vector<std::string> expected = {"experts_4_rest_8", "mixed_2_6", "mixed_3_4",
                                             "mixed_3_6",        "mixed_4_6", "mxfp4_experts",
                                             "routers_8"};
  EXPECT_EQ(recipe_names(), expected);
  for (const std::string& name : recipe_names()) {
    const Result<RecipeFile> file = RecipeFile::parse(*built_in_recipe(name), name);
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_EQ(file->name, name);
    EXPECT_FALSE(file->description.empty());
  }
  EXPECT_EQ(built_in_recipe("router_8").error().hint(), "did you mean routers_8?");
}

}  // namespace
}  // namespace mlxmill::quantize

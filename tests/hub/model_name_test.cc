#include "hub/model_name.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace mlxmill::hub {
namespace {

Settings settings() {
  Settings settings;
  settings.endpoint = "http://127.0.0.1:8000";
  return settings;
}

std::string parsed(std::string_view text) {
  const auto name = parse_model_name(text, settings());
  if (!name) return "error";
  return name->repo + "|" + name->revision + "|" + name->file;
}

TEST(ModelName, ReadsEverySpelling) {
  EXPECT_EQ(parsed("Qwen/Qwen3-8B"), "Qwen/Qwen3-8B||");
  EXPECT_EQ(parsed("Qwen/Qwen3-8B@v1.0"), "Qwen/Qwen3-8B|v1.0|");
  EXPECT_EQ(parsed("Qwen/Qwen3-8B@refs/pr/3"), "Qwen/Qwen3-8B|refs/pr/3|");
  EXPECT_EQ(parsed("a/b-GGUF:Q8_0"), "a/b-GGUF||Q8_0");
  EXPECT_EQ(parsed("a/b@main:Q8_0"), "a/b|main|Q8_0");
  EXPECT_EQ(parsed("hf://a/b"), "a/b||");
  EXPECT_EQ(parsed("hf://models/a/b@v1/sub/m.gguf"), "a/b|v1|sub/m.gguf");
  EXPECT_EQ(parsed("hf://a/b/m.gguf"), "a/b||m.gguf");
  EXPECT_EQ(parsed("hf://gpt2"), "gpt2||");
  EXPECT_EQ(parsed("https://huggingface.co/a/b"), "a/b||");
  EXPECT_EQ(parsed("https://hf.co/a/b/tree/v1%2Fx"), "a/b|v1/x|");
  EXPECT_EQ(parsed("http://127.0.0.1:8000/a/b/resolve/main/x/m.gguf?download=true"),
            "a/b|main|x/m.gguf");
  EXPECT_EQ(parsed("https://huggingface.co/gpt2/blob/main/m.gguf"), "gpt2|main|m.gguf");
}

TEST(ModelName, RefusesWhatIsNoName) {
  for (const char* text :
       {"a/b/c", "a/../b", "../b", "-a/b", "a--b/c", "a/b.git", "a/b@", "a/b:", "a/b@../x",
        "a/b@.x", "hf://", "https://example.com/a/b", "https://huggingface.co/datasets/a/b",
        "ftp://a/b", "https://huggingface.co@evil.com/a/b", "a b/c", "hf://a/b@v/../../x"}) {
    EXPECT_EQ(parsed(text), "error") << text;
  }
}

TEST(ModelName, KnowsANameFromAPath) {
  EXPECT_TRUE(looks_like_model_name("Qwen/Qwen3-8B"));
  EXPECT_TRUE(looks_like_model_name("a/b@v1:Q8_0"));
  EXPECT_TRUE(looks_like_model_name("hf://a/b"));
  for (const char* path : {"model", "./a/b", "/a/b", "a/b/c", "~/a", "a/", "../a", "model.gguf"})
    EXPECT_FALSE(looks_like_model_name(path)) << path;
}

TEST(ModelName, PathsFromServersStayInside) {
  EXPECT_TRUE(is_safe_path("a/b.c"));
  for (const std::string_view path :
       {std::string_view(""), std::string_view("/a"), std::string_view("a/"),
        std::string_view("a//b"), std::string_view("."), std::string_view("a/../b"),
        std::string_view(".."), std::string_view("a\\b"), std::string_view("a\0b", 3)})
    EXPECT_FALSE(is_safe_path(path)) << path;
}

}  // namespace
}  // namespace mlxmill::hub

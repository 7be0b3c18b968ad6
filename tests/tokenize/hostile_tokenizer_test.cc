// Tokenizers from people who mean harm: an error each time, no crash, no memory beyond the file's
// size.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace mlxmill {
namespace {

using testing::Folder;
using ::testing::HasSubstr;
using testing::small_json;

std::string message_of(const std::string& json) {
  const auto tokenizer = Folder({{"tokenizer.json", json}}).open();
  return tokenizer ? "opened" : tokenizer.error().message();
}

std::string with(std::string_view member, std::string_view value) {
  std::string json = small_json();
  const std::string null = fmt::format("\"{}\": null", member);
  return json.replace(json.find(null), null.size(), fmt::format("\"{}\": {}", member, value));
}

std::string repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(HostileTokenizer, IsRefused) {
  EXPECT_THAT(message_of(""), HasSubstr("tokenizer.json: "));
  EXPECT_THAT(message_of("[]"), HasSubstr("invalid"));
  EXPECT_THAT(message_of("{}"), HasSubstr("missing field `model`"));
  EXPECT_THAT(message_of(R"({"model": {"type": "BPE", "vocab": 3, "merges": []}})"),
              HasSubstr("tokenizer.json: "));
  EXPECT_THAT(message_of(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}})"),
              HasSubstr("Token `b` out of vocabulary"));
  EXPECT_THAT(message_of(R"({"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}})"),
              HasSubstr("UnkIdNotInVocabulary"));
  EXPECT_THAT(message_of(with("normalizer", "\"x\"")), HasSubstr("tokenizer.json: "));
  EXPECT_THAT(
      message_of(with(
          "pre_tokenizer",
          R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false})")),
      HasSubstr("tokenizer.json: "));
}

TEST(HostileTokenizer, NestingIsBounded) {
  EXPECT_THAT(message_of(repeated("[", 1'000'000)), HasSubstr("is nested 1000000 levels deep"));
  const std::string open = R"({"type": "Sequence", "normalizers": [)";
  EXPECT_THAT(message_of(with("normalizer", repeated(open, 200) + repeated("]}", 200))),
              HasSubstr("levels deep"));
}

TEST(HostileTokenizer, StepsMayNotMultiplyTheText) {
  std::string list;
  for (int i = 0; i < 60; ++i) {
    list += std::string(i ? "," : "") +
            R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})";
  }
  EXPECT_THAT(
      message_of(with("normalizer", R"({"type": "Sequence", "normalizers": [)" + list + "]}")),
      HasSubstr("\"normalizer\" may make a text more than 10000 times longer"));
  const std::string twice =
      R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}},)"
      R"( {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}})";
  EXPECT_THAT(message_of(with("post_processor", R"({"type": "Sequence", "processors": [)" +
                                                    repeated(twice + ",", 39) + twice + "]}")),
              HasSubstr("\"post_processor\" may make"));
}

TEST(HostileTokenizer, PaddingAndTruncationAreNotFollowed) {
  const auto tokenizer =
      Folder({{"tokenizer.json", with("padding", R"({"strategy": {"Fixed": 1000000000000},
      "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"})")}})
          .open();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(*tokenizer->encode("c"), std::vector<TokenId>{2});
}

TEST(HostileTokenizer, ExpressionsThatBacktrackEnd) {
  const auto tokenizer =
      Folder(
          {{"tokenizer.json",
            with(
                "pre_tokenizer",
                R"({"type": "Split", "pattern": {"Regex": "(?:a|aa)+d"}, "behavior": "Isolated", "invert": false})")}})
          .open();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  const auto ids = tokenizer->encode(std::string(100, 'a') + "bd");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code(), Code::kInvalidInput);
  EXPECT_THAT(ids.error().message(), HasSubstr("the tokenizers library gave up: "));
  EXPECT_EQ(*tokenizer->encode("abc"), (std::vector<TokenId>{3, 2}));
}

/// Field of a protocol buffer that holds bytes.
std::string field(int number, std::string_view content) {
  std::string out;
  out += static_cast<char>(number << 3 | 2);
  out += static_cast<char>(content.size());
  return out.append(content);
}

/// Field that holds a small number.
std::string field(int number, int value) {
  const char bytes[] = {static_cast<char>(number << 3), static_cast<char>(value)};
  return std::string(bytes, 2);
}

TEST(HostileTokenizer, EveryPrefixOfASentencePieceModelIsRefusedOrRead) {
  const std::string model = field(1, field(1, "<unk>") + field(3, 2)) + field(1, field(1, "a")) +
                            field(1, field(1, "b")) + field(1, field(1, "ab")) +
                            field(2, field(3, 2)) + field(3, field(3, 0) + field(4, 0));
  int opened = 0;
  for (std::size_t size = 0; size <= model.size(); ++size) {
    const auto tokenizer = Folder({{"tokenizer.model", model.substr(0, size)}}).open();
    opened += tokenizer ? 1 : 0;
    if (!tokenizer) {
      EXPECT_THAT(tokenizer.error().message(), HasSubstr("tokenizer.model: "));
    }
  }
  EXPECT_GE(opened, 1);
  const auto whole = Folder({{"tokenizer.model", model}}).open();
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ(*whole->encode("abb"), (std::vector<TokenId>{3, 2}));
  EXPECT_EQ(*whole->encode("axb"), (std::vector<TokenId>{1, 0, 2}));
}

}  // namespace
}  // namespace mlxmill

#include <gtest/gtest.h>

#include "support.h"

namespace mlxmill {
namespace {

using testing::Files;
using testing::Folder;
using testing::small_json;

constexpr const char* kSample = MLXMILL_SOURCE_DIR "/models/sample-llama";

TEST(Tokenizer, EncodesAndDecodesTheSample) {
  const auto tokenizer = Tokenizer::open(kSample);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->size(), 4096u);
  EXPECT_EQ(tokenizer->id_limit(), 4096u);
  EXPECT_EQ(tokenizer->bos(), TokenId{0});
  EXPECT_EQ(tokenizer->eos(), std::vector<TokenId>{0});
  const std::string text = "Once upon a time\n\u00e9\U0001f600 <|endoftext|>x";
  const auto ids = tokenizer->encode(text);
  ASSERT_TRUE(ids);
  EXPECT_EQ(*tokenizer->decode(*ids), text);
  EXPECT_EQ(*tokenizer->decode(*ids, true), "Once upon a time\n\u00e9\U0001f600 x");
  std::string bytes;
  for (const TokenId id : *ids) bytes += tokenizer->token_bytes(id).value();
  EXPECT_EQ(bytes, text);
}

TEST(Tokenizer, RefusesTextThatIsNoUtf8) {
  const auto tokenizer = Tokenizer::open(kSample);
  ASSERT_TRUE(tokenizer);
  for (const std::string_view text : {"ab\xff", "ab\xe2\x82", "ab\xc0\x80", "ab\xed\xa0\x80"}) {
    const auto ids = tokenizer->encode(text);
    ASSERT_FALSE(ids);
    EXPECT_EQ(ids.error().message(), "the text is no UTF-8 from byte 2 on");
  }
  EXPECT_EQ(*tokenizer->decode(*tokenizer->encode(std::string("a\0b", 3))), std::string("a\0b", 3));
}

TEST(Tokenizer, KnowsItsTokens) {
  const auto tokenizer = Folder({{"tokenizer.json", small_json()}}).open();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->size(), 5u);
  EXPECT_EQ(tokenizer->find("ab"), TokenId{3});
  EXPECT_EQ(tokenizer->find("abc"), std::nullopt);
  EXPECT_EQ(tokenizer->token_spelling(3), "ab");
  EXPECT_EQ(tokenizer->token_spelling(5), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(4));
  EXPECT_FALSE(tokenizer->is_special(3));
  EXPECT_EQ(*tokenizer->encode("abc<s>ab"), (std::vector<TokenId>{3, 2, 4, 3}));
  EXPECT_TRUE(tokenizer->eos().empty());
}

TEST(Tokenizer, TakesIdsFromTheModelsConfigs) {
  const Files files = {
      {"tokenizer.json", small_json()},
      {"tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": {"content": "c"}})"},
      {"config.json", R"({"eos_token_id": 0})"},
      {"generation_config.json", R"({"eos_token_id": [3, 1]})"}};
  const auto tokenizer = Folder(files).open();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->bos(), TokenId{4});
  EXPECT_EQ(tokenizer->eos(), (std::vector<TokenId>{1, 2, 3}));
}

TEST(Tokenizer, NamesTheFileThatIsWrong) {
  const auto message = [](const Files& files) {
    const Folder folder(files);
    const auto tokenizer = folder.open();
    EXPECT_FALSE(tokenizer);
    std::string text = tokenizer ? "" : tokenizer.error().message();
    const std::string where = folder.path().string() + ": ";
    return text.starts_with(where) ? text.substr(where.size()) : text;
  };
  EXPECT_EQ(
      message({{"config.json", "{}"}}),
      "no tokenizer; expected tokenizer.json, tokenizer.model, or vocab.json with merges.txt");
  EXPECT_EQ(message({{"tokenizer.json", small_json()}, {"tokenizer_config.json", "[]"}}),
            "tokenizer_config.json: is an array; expected an object");
  EXPECT_EQ(
      message({{"tokenizer.json", small_json()},
               {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {}}})"}}),
      R"(tokenizer_config.json: "added_tokens_decoder.x" is an object; expected a token by its id)");
  EXPECT_EQ(message({{"tokenizer.model", "\x0a\xff"}}),
            "tokenizer.model: is no SentencePiece model: a field is damaged or cut off; incomplete "
            "download? A tokenizer.model of tiktoken needs its tokenizer.json beside it");
  EXPECT_EQ(message({{"vocab.json", R"({"a": 0, "b": 99999999})"}, {"merges.txt", ""}}),
            R"(vocab.json: the id of "b" is none; expected 0 to 1027)");
  EXPECT_EQ(
      message({{"vocab.json", R"({"a": 0, "b": 1})"}, {"merges.txt", "#version: 0.2\na x\n"}}),
      R"(merges.txt: line 2 is "a x"; expected two tokens of vocab.json)");
}

TEST(TokenStream, NeverGivesPartOfACharacter) {
  const auto tokenizer = Tokenizer::open(kSample);
  ASSERT_TRUE(tokenizer);
  const std::string text = "a\u00e9\U0001f600\u65e5 b";
  const auto ids = tokenizer->encode(text);
  TokenStream stream(*tokenizer);
  std::string all;
  for (const TokenId id : *ids) {
    const auto piece = stream.add(id);
    ASSERT_TRUE(piece);
    EXPECT_EQ(piece->find("\uFFFD"), std::string::npos) << *piece;
    all += *piece;
  }
  EXPECT_EQ(all + *stream.finish(), text);
}

TEST(TokenStream, GivesWhatIsLeftAtTheEnd) {
  const auto tokenizer = Tokenizer::open(kSample);
  ASSERT_TRUE(tokenizer);
  auto ids = *tokenizer->encode("x\U0001f600");
  ids.pop_back();
  TokenStream stream(*tokenizer);
  std::string all;
  for (const TokenId id : ids) all += *stream.add(id);
  EXPECT_EQ(all, "x");
  EXPECT_EQ(*stream.finish(), "\uFFFD");
  EXPECT_EQ(*stream.finish(), "");
}

TEST(TokenStream, BytesThatAreNoTextDoNotPileUp) {
  const auto tokenizer = Tokenizer::open(kSample);
  ASSERT_TRUE(tokenizer);
  const auto byte = tokenizer->find("\u0142");  // How byte-level BPE spells the byte 0xA0.
  ASSERT_TRUE(byte);
  const std::vector<TokenId> ids(1000, *byte);
  TokenStream stream(*tokenizer);
  std::string all;
  for (const TokenId id : ids) all += *stream.add(id);
  EXPECT_GE(all.size(), 3u * 990);
  all += *stream.finish();
  EXPECT_EQ(all, *tokenizer->decode(ids));
}

}  // namespace
}  // namespace mlxmill

// Vocabularies that no honest writer makes, and those of odd ones: each an error that names the
// key, or a tokenizer that loads.
#include <gmock/gmock.h>

#include <limits>

#include "formats/json.h"
#include "model_files.h"

namespace mlxmill::gguf {
namespace {

using test::file_text;
using test::llama;
using test::ModelFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace files = mlxmill::testing;

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTypes = "tokenizer.ggml.token_type";
constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kMerges = "tokenizer.ggml.merges";

struct Hostile {
  const char* why;
  void (*make)(ModelFile& file);
  const char* message;
};

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.why; }

const Hostile kHostile[] = {
    {"fewer scores than tokens would be read past their end",
     [](ModelFile& f) {
       f.sentence_piece().set(kScores, files::kArray, test::floats({0, 1}));
     },
     "metadata \"tokenizer.ggml.scores\": it has 2 entries; expected one for each of 5 tokens"},
    {"more scores than tokens belong to another vocabulary",
     [](ModelFile& f) {
       f.sentence_piece().set(kScores, files::kArray, test::floats({0, 1, 2, 3, 4, 5}));
     },
     "metadata \"tokenizer.ggml.scores\": it has 6 entries; expected one for each of 5 tokens"},
    {"more types than tokens, as above",
     [](ModelFile& f) {
       f.set(kTypes, files::kArray, test::ints({1, 1, 1, 3, 3, 1}));
     },
     "metadata \"tokenizer.ggml.token_type\": it has 6 entries; expected one for each of 5 tokens"},
    {"types below the first",
     [](ModelFile& f) {
       f.set(kTypes, files::kArray, test::ints({1, 1, 1, 3, -1}));
     },
     "metadata \"tokenizer.ggml.token_type\": token 4 is of no known type; expected 0 to 6"},
    {"types that are texts",
     [](ModelFile& f) {
       f.set(kTypes, files::kArray, test::texts({"1", "1", "1", "3", "3"}));
     },
     "metadata \"tokenizer.ggml.token_type\": token 0 is of no known type"},
    {"a score that orders nothing",
     [](ModelFile& f) {
       f.sentence_piece().set(kScores, files::kArray,
                              test::floats({0, 0, std::numeric_limits<float>::quiet_NaN(), 0, 0}));
     },
     "metadata \"tokenizer.ggml.scores\": the score of token 2 is no number"},
    {"a merge whose left part is no token",
     [](ModelFile& f) { f.set(kMerges, files::kArray, test::texts({"x b"})); },
     "number 0 is \"x b\", of which a part or the whole is no token"},
    {"a merge whose right part is no token",
     [](ModelFile& f) {
       f.set(kMerges, files::kArray, test::texts({"a b", "a x"}));
     },
     "number 1 is \"a x\", of which a part or the whole is no token"},
    {"merges that are numbers",
     [](ModelFile& f) { f.set(kMerges, files::kArray, test::ints({1})); },
     "metadata \"tokenizer.ggml.merges\": expected texts, got a"},
    {"merges that are one text",
     [](ModelFile& f) { f.set(kMerges, files::kString, files::text("a b")); },
     "metadata \"tokenizer.ggml.merges\": expected a list, got a string"},
    {"an id below the first token",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.bos_token_id", files::kI32, files::u32(0xFFFFFFFE));
     },
     "metadata \"tokenizer.ggml.bos_token_id\": it is -2; there are 5 tokens"},
    {"an id past the last token",
     [](ModelFile& f) { f.set("tokenizer.ggml.eos_token_id", files::kU32, files::u32(5)); },
     "metadata \"tokenizer.ggml.eos_token_id\": it is 5; there are 5 tokens"},
    {"an id of more than 32 bits",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.padding_token_id", files::kU64, files::u64(1ull << 40));
     },
     "metadata \"tokenizer.ggml.padding_token_id\": it is 1099511627776; there are 5 tokens"},
    {"an id of more than 63 bits, which is no signed number",
     [](ModelFile& f) { f.set("tokenizer.ggml.eot_token_id", files::kU64, files::u64(~0ull)); },
     "metadata \"tokenizer.ggml.eot_token_id\": expected an integer, got"},
    {"a kind that is a number",
     [](ModelFile& f) { f.set("tokenizer.ggml.model", files::kU32, files::u32(2)); },
     "metadata \"tokenizer.ggml.model\": expected a text, got an integer"},
    {"a kind that is a list",
     [](ModelFile& f) { f.set("tokenizer.ggml.model", files::kArray, test::texts({"gpt2"})); },
     "metadata \"tokenizer.ggml.model\": expected a text, got an array"},
    {"a way to split that is a number",
     [](ModelFile& f) { f.set("tokenizer.ggml.pre", files::kF32, files::f32(1)); },
     "metadata \"tokenizer.ggml.pre\": expected a text, got"},
    {"a template that is a number",
     [](ModelFile& f) { f.set("tokenizer.chat_template", files::kU32, files::u32(1)); },
     "metadata \"tokenizer.chat_template\": expected UTF-8 text, got an integer"},
    {"a named template that is a list",
     [](ModelFile& f) { f.set("tokenizer.chat_template.rag", files::kArray, test::texts({"x"})); },
     "metadata \"tokenizer.chat_template.rag\": expected UTF-8 text, got an array"},
    {"an unknown token without a text, which tokenizers cannot name",
     [](ModelFile& f) {
       f.sentence_piece().set(kTokens, files::kArray, test::texts({"", "<s>", "a", "b", "ab"}));
     },
     "metadata \"tokenizer.ggml.unknown_token_id\": the unknown token has no text"},
};

class HostileVocabulary : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileVocabulary, IsAnErrorThatNamesTheKey) {
  ModelFile file = llama();
  file.tokenizer();
  GetParam().make(file);
  const auto model = file.import();
  ASSERT_FALSE(model) << GetParam().why;
  EXPECT_EQ(model.error().code(), Code::kInvalidInput);
  EXPECT_THAT(model.error().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, HostileVocabulary, ::testing::ValuesIn(kHostile));

// The reader takes what the file's size justifies; the embedding says how many tokens there are.
TEST(Vocabulary, OfMillionsIsRefusedWhenTheModelHasFewerRows) {
  constexpr std::uint64_t kMany = 3'900'000;
  std::string elements;
  elements.reserve(kMany * 9);
  const std::string token = files::text("a");
  for (std::uint64_t i = 0; i < kMany; ++i) elements += token;
  ModelFile file = llama();
  file.sentence_piece().without(kTypes).without(kScores);
  file.set(kTokens, files::kArray, files::array(files::kString, kMany, elements));
  const auto model = file.import();
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(),
              HasSubstr("there are 3900000 tokens, but the embedding has 5 rows"));
}

// Equal and empty tokens happen: the first of equal ones counts, as in llama.cpp's table of tokens.
TEST(Vocabulary, OfEqualAndEmptyTokensMakesATokenizer) {
  for (const bool byte_level : {true, false}) {
    ModelFile file = llama();
    byte_level ? file.tokenizer() : file.sentence_piece();
    file.set(kTokens, files::kArray, test::texts({"a", "", "a", "", "a"}));
    file.set(kTypes, files::kArray, test::ints({3, 3, 1, 1, 4}));
    if (byte_level) file.set(kMerges, files::kArray, test::texts({}));
    const auto model = file.import();
    ASSERT_TRUE(model) << model.error().message();
    // Equal keys would be an error of the parser.
    const auto tokenizer = formats::parse_json(file_text(*model, "tokenizer.json"));
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    EXPECT_EQ(*tokenizer->find("model")->find("vocab")->find("a"), base::Value(0));
    EXPECT_THAT(model->warnings, IsEmpty());
  }
}

// Every byte of a token is a place to split it: what merges take follows from the text, not its
// count.
TEST(Vocabulary, OfTooMuchTextIsRefused) {
  ModelFile file = llama();
  file.sentence_piece();
  file.set(kTokens, files::kArray,
           test::texts({"<unk>", "<s>", "a", "b", std::string(17u << 20, 'a')}));
  const auto model = file.import();
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kUnsupported);
  EXPECT_THAT(
      model.error().message(),
      HasSubstr("metadata \"tokenizer.ggml.tokens\": the tokens have 17825802 bytes; merges "
                "are rebuilt for at most 16777216"));
}

TEST(Vocabulary, OfEqualTokensHasTheirMergesOnce) {
  ModelFile file = llama();
  file.sentence_piece();
  file.set(kTokens, files::kArray, test::texts({"<unk>", "a", "aa", "aa", "aa"}));
  file.set(kTypes, files::kArray, test::ints({2, 1, 1, 1, 1}));
  const auto model = file.import();
  ASSERT_TRUE(model) << model.error().message();
  const auto tokenizer = formats::parse_json(file_text(*model, "tokenizer.json"));
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->find("model")->find("merges")->as_array()->size(), 1u);
}

TEST(Vocabulary, WithoutMergesMakesNoTokenizer) {
  for (const char* kind : {"gpt2", "gemma4"}) {
    ModelFile file = llama();
    file.tokenizer().without(kMerges).set("tokenizer.ggml.model", files::kString,
                                          files::text(kind));
    const auto model = file.import();
    ASSERT_TRUE(model) << model.error().message();
    EXPECT_EQ(file_text(*model, "tokenizer.json"), "");
    EXPECT_THAT(model->warnings,
                ElementsAre("no tokenizer was written: the file has no tokenizer.ggml.merges; copy "
                            "tokenizer.json and tokenizer_config.json of the original model into "
                            "the output"));
  }
}

TEST(Vocabulary, SaysWhichWayToSplitIsNotKnown) {
  ModelFile file = llama();
  file.tokenizer().set("tokenizer.ggml.pre", files::kString, files::text("martian"));
  const auto model = file.import();
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_THAT(model->warnings,
              ElementsAre(HasSubstr("its kind is not known (\"gpt2\" with pre \"martian\")")));
}

// How some writers say that there is no such token.
TEST(Vocabulary, TakesMinusOneForNoToken) {
  for (const std::uint32_t type : {files::kU32, files::kI32}) {
    ModelFile file = llama();
    file.tokenizer().set("tokenizer.ggml.bos_token_id", type, files::u32(0xFFFFFFFF));
    const auto model = file.import();
    ASSERT_TRUE(model) << model.error().message();
    EXPECT_EQ(model->config.find("bos_token_id"), nullptr);
  }
}

}  // namespace
}  // namespace mlxmill::gguf

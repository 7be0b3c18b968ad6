// What the parity test (tests/parity/gguf_tokenizer_test.py) does not ask: the files themselves.
#include <gmock/gmock.h>

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

ImportedModel with_tokenizer(const ModelFile& file) {
  auto model = file.import();
  EXPECT_TRUE(model) << model.error().message();
  return model ? *std::move(model) : ImportedModel();
}

base::Value json(const ImportedModel& model, const std::string& name) {
  const auto value = formats::parse_json(file_text(model, name));
  EXPECT_TRUE(value) << name << ": " << value.error().message();
  return value ? *value : base::Value();
}

base::Value member(const base::Value& value, std::initializer_list<const char*> path) {
  const base::Value* at = &value;
  for (const char* key : path) at = at ? at->find(key) : nullptr;
  return at ? *at : base::Value("nothing there");
}

TEST(Tokenizer, WritesEveryPartOfAByteLevelOne) {
  ModelFile file = llama();
  const ImportedModel model = with_tokenizer(file.tokenizer());
  const base::Value tokenizer = json(model, "tokenizer.json");
  EXPECT_EQ(member(tokenizer, {"model", "vocab", "ab"}), base::Value(2));
  EXPECT_EQ(member(tokenizer, {"model", "merges"}),
            base::Value(base::Array{base::Value(base::Array{"a", "b"})}));
  EXPECT_EQ(member(tokenizer, {"added_tokens"}).as_array()->size(), 2u);
  EXPECT_EQ(member(json(model, "tokenizer_config.json"), {"eos_token"}), base::Value("<|end|>"));
  EXPECT_EQ(member(json(model, "generation_config.json"), {"eos_token_id"}), base::Value(4));
  EXPECT_THAT(model.warnings, IsEmpty());
}

TEST(Tokenizer, StopsAtTheEndsOfTurnsThatTheTemplateWrites) {
  ModelFile file = llama();
  file.tokenizer().set("tokenizer.chat_template", files::kString, files::text("x<|im_end|>"));
  const ImportedModel model = with_tokenizer(file);
  const base::Value both = base::Array{4, 3};
  EXPECT_EQ(member(json(model, "generation_config.json"), {"eos_token_id"}), both);
  EXPECT_EQ(*model.config.find("eos_token_id"), both);
  EXPECT_EQ(file_text(model, "chat_template.jinja"), "x<|im_end|>");
}

TEST(Tokenizer, DoesNotStopAtTheEndOfAMessageOfHarmony) {
  ModelFile file = llama();
  file.tokenizer();
  file.set("tokenizer.ggml.tokens", files::kArray,
           test::texts({"a", "<|return|>", "<|call|>", "<|im_end|>", "<|end|>"}));
  file.set("tokenizer.ggml.token_type", files::kArray, test::ints({1, 3, 3, 3, 3}));
  file.set("tokenizer.ggml.merges", files::kArray, test::texts({}));
  file.set("tokenizer.ggml.eos_token_id", files::kU32, files::u32(1));
  file.set("tokenizer.ggml.eot_token_id", files::kU32, files::u32(4));
  file.set("tokenizer.chat_template", files::kString, files::text("<|end|><|return|><|call|>"));
  const ImportedModel model = with_tokenizer(file);
  EXPECT_EQ(*model.config.find("eos_token_id"), base::Value(base::Array{1, 2}));
}

TEST(Tokenizer, KeepsSeveralTemplatesByName) {
  ModelFile file = llama();
  file.tokenizer().set("tokenizer.chat_template", files::kString, files::text("one"));
  file.set("tokenizer.chat_template.tool_use", files::kString, files::text("two"));
  const ImportedModel model = with_tokenizer(file);
  const base::Value config = json(model, "tokenizer_config.json");
  ASSERT_TRUE(config.find("chat_template")->as_array());
  EXPECT_EQ(config.find("chat_template")->as_array()->size(), 2u);
  EXPECT_EQ(file_text(model, "chat_template.jinja"), "one");
}

TEST(Tokenizer, TakesAWholeTokenizerJsonAsItIs) {
  ModelFile file = llama();
  const std::string text = "{\"version\": \"1.0\"}";
  file.tokenizer().set("tokenizer.huggingface.json", files::kString, files::text(text));
  EXPECT_EQ(file_text(with_tokenizer(file), "tokenizer.json"), text);
}

TEST(Tokenizer, SaysWhenTheKindIsNotKnown) {
  for (const bool other_model : {true, false}) {
    ModelFile file = llama();
    file.tokenizer().set(other_model ? "tokenizer.ggml.model" : "tokenizer.ggml.pre",
                         files::kString, files::text("martian"));
    const ImportedModel model = with_tokenizer(file);
    EXPECT_EQ(file_text(model, "tokenizer.json"), "");
    EXPECT_THAT(model.warnings, ElementsAre(HasSubstr("martian")));
  }
  ModelFile none = llama();
  EXPECT_THAT(with_tokenizer(none).warnings, ElementsAre(HasSubstr("the file holds none")));
}

TEST(Tokenizer, RebuildsMergesInTheOrderOfTheirScores) {
  ModelFile file = llama();
  file.sentence_piece();
  file.set("tokenizer.ggml.tokens", files::kArray, test::texts({"<unk>", "a", "aa", "aaa", "b"}));
  file.set("tokenizer.ggml.token_type", files::kArray, test::ints({2, 1, 1, 1, 1}));
  file.set("tokenizer.ggml.scores", files::kArray, test::floats({0, -9, -2, -1, -9}));
  const base::Value tokenizer = json(with_tokenizer(file), "tokenizer.json");
  const base::Value expected =
      base::Array{base::Value(base::Array{"aa", "a"}), base::Value(base::Array{"a", "aa"}),
                  base::Value(base::Array{"a", "a"})};
  EXPECT_EQ(member(tokenizer, {"model", "merges"}), expected);
  EXPECT_EQ(member(tokenizer, {"model", "byte_fallback"}), base::Value(true));
  EXPECT_EQ(member(tokenizer, {"model", "unk_token"}), base::Value("<unk>"));
}

TEST(Tokenizer, CountsTheFirstOfTwoEqualTokens) {
  ModelFile file = llama();
  file.tokenizer();
  file.set("tokenizer.ggml.tokens", files::kArray, test::texts({"a", "b", "ab", "b", "a"}));
  const std::string text = file_text(with_tokenizer(file), "tokenizer.json");
  const auto tokenizer = formats::parse_json(text);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();  // Equal keys would be an error.
  EXPECT_EQ(member(*tokenizer, {"model", "vocab", "b"}), base::Value(1));
}

TEST(Tokenizer, TakesLongAndEmptyTokens) {
  ModelFile file = llama();
  file.sentence_piece();
  const std::string longest(200'000, 'a');
  file.set("tokenizer.ggml.tokens", files::kArray, test::texts({"<unk>", "", "a", longest, "aa"}));
  file.set("tokenizer.ggml.token_type", files::kArray, test::ints({2, 3, 1, 1, 4}));
  const base::Value tokenizer = json(with_tokenizer(file), "tokenizer.json");
  EXPECT_EQ(member(tokenizer, {"model", "merges"}).as_array()->size(), 1u);
  EXPECT_EQ(member(tokenizer, {"model", "vocab", longest.c_str()}), base::Value(3));
}

}  // namespace
}  // namespace mlxmill::gguf

// Conversations with the sample model, whose tokenizer gets a chat template here.
#include <gtest/gtest.h>

#include <filesystem>

#include "mlxmill/generate.h"
#include "temp_folder.h"

namespace mlxmill {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

constexpr const char* kTemplate =
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}";

class Chat : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mlx_version().empty()) GTEST_SKIP() << "built without the runtime";
    fs::copy(MLXMILL_SOURCE_DIR "/models/sample-llama", folder_ / "model");
    testing::write_file(folder_ / "model/chat_template.jinja", kTemplate);
    ModelOptions options;
    options.path = folder_ / "model";
    options.context = 256;
    Result<Model> model = Model::open(options);
    ASSERT_TRUE(model) << model.error().message();
    model_.emplace(*std::move(model));
    Result<Tokenizer> tokenizer = Tokenizer::open(options.path);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    tokenizer_.emplace(*std::move(tokenizer));
    options_.max_tokens = 12;
  }

  ChatSession session(std::string system = {}) {
    return {*model_, *tokenizer_, options_, std::move(system)};
  }

  std::string say(ChatSession& session, const std::string& text) {
    Result<Generated> answer = session.say(text);
    EXPECT_TRUE(answer) << answer.error().message();
    last_ = answer ? *answer : Generated();
    return last_.text;
  }

  TempFolder folder_;
  std::optional<Model> model_;
  std::optional<Tokenizer> tokenizer_;
  GenerateOptions options_;
  Generated last_;
};

TEST_F(Chat, WhatTheCacheHoldsChangesNothing) {
  ChatSession going_on = session("Tell stories.");
  say(going_on, "One day");
  say(going_on, "The dog");
  EXPECT_GT(last_.cached_tokens, 10U);
  std::vector<ChatMessage> before = going_on.messages();
  const std::string text = say(going_on, "The end");

  ChatSession anew = session();
  ASSERT_TRUE(anew.set_messages(before));
  EXPECT_EQ(say(anew, "The end"), text);
  EXPECT_EQ(last_.cached_tokens, 0U);
}

TEST_F(Chat, ResetKeepsTheSystemMessageAlone) {
  ChatSession chat = session("Tell stories.");
  const std::string first = say(chat, "One day");
  say(chat, "More");
  chat.reset();
  ASSERT_EQ(chat.messages().size(), 1U);
  EXPECT_EQ(say(chat, "One day"), first);
  chat.set_system("");
  EXPECT_TRUE(chat.messages().empty());
}

TEST_F(Chat, RetryDrawsOtherNumbers) {
  options_.sampling.temperature = 1;
  options_.sampling.seed = 1;
  ChatSession chat = session();
  const std::string first = say(chat, "Once upon a time");
  const Result<Generated> second = chat.retry();
  ASSERT_TRUE(second);
  EXPECT_NE(second->text, first);
  EXPECT_EQ(chat.messages().size(), 2U);
  EXPECT_EQ(chat.messages().back().content, second->text);
  EXPECT_EQ(session().retry().error().what(), "there is no answer yet");
}

TEST_F(Chat, AStoppedAnswerStaysAsFarAsItCame) {
  ChatSession chat = session();
  std::string shown;
  const Result<Generated> answer = chat.say("One day", [&](std::string_view text) {
    shown += text;
    return shown.size() < 5;
  });
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->finish, Finish::kCancelled);
  EXPECT_EQ(chat.messages().back().content, answer->text);
  EXPECT_LT(answer->ids.size(), 12U);
  say(chat, "And then");
}

TEST_F(Chat, StopsWhereTheContextEnds) {
  options_.max_tokens = -1;
  ModelCache cache = model_->new_cache();
  const auto prompt = tokenizer_->encode("Once upon a time");
  ASSERT_TRUE(prompt);
  GenerateOptions options = options_;
  options.sampling.logit_bias = {{static_cast<int>(tokenizer_->eos().front()), -1e9}};
  const Result<Generated> all = generate_text(*model_, *tokenizer_, cache, *prompt, options);
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->finish, Finish::kContext);
  EXPECT_EQ(prompt->size() + all->ids.size(), 257U);

  const std::vector<TokenId> longer(300, 5);
  ModelCache fresh = model_->new_cache();
  EXPECT_EQ(generate_text(*model_, *tokenizer_, fresh, longer, options).error().message(),
            "the prompt has 300 tokens, the context 256; --context gives the model more room");
  EXPECT_EQ(generate_text(*model_, *tokenizer_, fresh, {}, options).error().message(),
            "the prompt has no tokens; give the model some text");
}

TEST_F(Chat, StopStringsEndTheAnswer) {
  ModelCache cache = model_->new_cache();
  const auto prompt = tokenizer_->encode("Once upon a time");
  options_.max_tokens = 40;
  const Result<Generated> all = generate_text(*model_, *tokenizer_, cache, *prompt, options_);
  ASSERT_TRUE(all);
  const std::string stop = all->text.substr(all->text.size() / 2, 4);
  options_.stop = {stop};
  ModelCache fresh = model_->new_cache();
  std::string shown;
  const Result<Generated> some =
      generate_text(*model_, *tokenizer_, fresh, *prompt, options_, [&](std::string_view text) {
        shown += text;
        return true;
      });
  ASSERT_TRUE(some);
  EXPECT_EQ(some->finish, Finish::kStopString);
  EXPECT_EQ(some->text, all->text.substr(0, all->text.find(stop)));
  EXPECT_EQ(shown, some->text);
}

TEST(Messages, AreReadAsTheyAreWritten) {
  const std::vector<ChatMessage> messages = {{"system", "a\n\"b\""}, {"user", "\xC3\xA9"}};
  const Result<std::string> json = messages_json(messages);
  ASSERT_TRUE(json);
  const Result<std::vector<ChatMessage>> back = parse_messages(*json);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), 2U);
  EXPECT_EQ((*back)[0].content, messages[0].content);
  EXPECT_EQ((*back)[1].content, messages[1].content);
}

TEST(Messages, BadOnesAreNamed) {
  const std::vector<ChatMessage> bytes = {{"user", "\xFF"}};
  EXPECT_EQ(messages_json(bytes).error().what(), "the user message is not UTF-8");
  EXPECT_EQ(parse_messages("{}").error().what(), "expected a list of messages, got an object");
  EXPECT_EQ(parse_messages(R"([{"role": "user"}])").error().what(),
            "expected messages with the text 'content', got none");
  EXPECT_EQ(parse_messages(R"([{"role": 3, "content": ""}])").error().what(),
            "expected messages with the text 'role', got an integer");
}

}  // namespace
}  // namespace mlxmill

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace mlxmill {
namespace {

using ::testing::ElementsAre;
using testing::Files;
using testing::Folder;
using ::testing::HasSubstr;
using testing::small_json;

constexpr const char* kChat = R"([{"role": "user", "content": "Hi"}])";

Result<std::string> rendered(std::string text, ChatOptions options = {}) {
  static const auto tokenizer = Folder({{"tokenizer.json", small_json()},
                                        {"tokenizer_config.json", R"({"bos_token": "<s>"})"}})
                                    .open();
  options.template_text = std::move(text);
  return tokenizer->render_chat(kChat, options);
}

std::string failure_of(std::string text) {
  const auto result = rendered(std::move(text));
  return result ? "rendered " + *result : result.error().message();
}

Result<Tokenizer> with_files(Files more) {
  more.emplace_back("tokenizer.json", small_json());
  return Folder(more).open();
}

TEST(ChatTemplate, ComesFromTheFirstFileThatHasOne) {
  auto tokenizer = with_files({{"chat_template.jinja", "A"},
                               {"tokenizer_config.json", R"({"chat_template": "B"})"},
                               {"additional_chat_templates/rag.jinja", "C"}});
  EXPECT_THAT(tokenizer->chat_templates(), ElementsAre("default", "rag"));
  EXPECT_EQ(*tokenizer->render_chat(kChat), "A");
  EXPECT_EQ(*tokenizer->render_chat(kChat, {.template_name = "rag"}), "C");
  tokenizer = with_files(
      {{"tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "D"},
      {"name": "tool_use", "template": "{{ tools|length }}"}]})"},
       {"chat_template.json", R"({"chat_template": "E"})"}});
  EXPECT_EQ(*tokenizer->render_chat(kChat), "D");
  EXPECT_EQ(*tokenizer->render_chat(kChat, {.tools_json = "[{}, {}]"}), "2");
  const auto none = tokenizer->render_chat(kChat, {.template_name = "x"});
  EXPECT_EQ(none.error().message(),
            R"(no chat template is named "x"; there are "default", "tool_use")");
  tokenizer = with_files({{"chat_template.json", R"({"chat_template": "E"})"}});
  EXPECT_EQ(*tokenizer->render_chat(kChat), "E");
  EXPECT_EQ(with_files({})->render_chat(kChat).error().code(), Code::kUnsupported);
}

TEST(ChatTemplate, SeesTheChatAndWhatBelongsToIt) {
  EXPECT_EQ(
      *rendered(
          "{{ bos_token }}{{ messages[0].content }}{{ tools is none }}{{ add_generation_prompt }}"),
      "<s>HiTrueTrue");
  EXPECT_EQ(*rendered("{{ a.b }}", {.variables_json = R"({"a": {"b": [1, null]}})"}), "[1, None]");
  EXPECT_EQ(*rendered("{{ messages[0].content }}!",
                      {.add_generation_prompt = false, .continue_final_message = true}),
            "Hi");
}

TEST(ChatTemplate, ContinuesTheLastMessageWhereAllOfItIsThere) {
  const auto continued = [](const char* text, const char* chat) {
    const auto tokenizer = with_files({{"chat_template.jinja", text}});
    const auto result = tokenizer->render_chat(
        chat, {.add_generation_prompt = false, .continue_final_message = true});
    return result ? *result : result.error().message();
  };
  constexpr const char* kPrefix = R"([{"role": "assistant", "content": "Sure\u2028 "}])";
  EXPECT_EQ(continued("<{{ messages[0].content }}>", kPrefix), "<Sure\u2028 ");
  // Where the template takes the mark's space away, all white space goes, of Unicode too.
  EXPECT_EQ(continued("<{{ messages[0].content|trim }}>", kPrefix), "<Sure");
  EXPECT_THAT(continued("{{ messages[0].content.split('u')[-1] }}", kPrefix),
              HasSubstr("a part of it"));
  EXPECT_THAT(continued("{{ messages[0].role }}", kPrefix), HasSubstr("leaves out"));
}

TEST(ChatTemplate, RefusesLoopsOverNone) {
  EXPECT_THAT(failure_of("{% for x in tools %}{% endfor %}"), HasSubstr("none cannot be iterated"));
  EXPECT_THAT(failure_of("{{ tools[1:] }}"), HasSubstr("none has no slices"));
  EXPECT_THAT(failure_of("{{ messages|map(attribute='role')|tojson }}"), HasSubstr("iterator"));
}

TEST(ChatTemplate, LeavesUnfinishedTagsToTheParser) {
  for (const char* text :
       {"{% for", "{% for x in", "{% for x in %}", "{{ a['items'", "{{ a.items",
        "{{ a[1:", "{{ ['items'] }}", "{{ 'a", "{% set x.items", "{{ }}", "{%"}) {
    EXPECT_FALSE(failure_of(text).empty()) << text;
  }
  EXPECT_EQ(failure_of("{{ ['items'][0] }}{{ {'a': [1, 2][1:]}['a'] }}"), "rendered items[2]");
}

TEST(ChatTemplate, SaysWhatIsWrongWithTheArguments) {
  const auto tokenizer = with_files({{"chat_template.jinja", "A"}});
  const auto message = [&](const char* chat, const ChatOptions& options) {
    const auto result = tokenizer->render_chat(chat, options);
    return result ? "rendered" : result.error().message();
  };
  EXPECT_EQ(message("[]", {}), "messages: the chat has no messages");
  EXPECT_EQ(message("{}", {}), "messages: is an object; expected a list");
  EXPECT_EQ(message("[1]", {}),
            "messages: one is an integer; expected an object with \"role\" and \"content\"");
  EXPECT_THAT(message("[", {}), HasSubstr("messages: "));
  EXPECT_EQ(message(kChat, {.tools_json = "3"}), "tools: is an integer; expected a list");
  EXPECT_EQ(message(kChat, {.variables_json = "3"}),
            "template variables: are an integer; expected an object");
  EXPECT_EQ(message(kChat, {.continue_final_message = true}),
            "a chat cannot both go on with its last message and begin an answer");
}

TEST(ChatTemplate, ItsErrorsNameTheLine) {
  EXPECT_EQ(failure_of("a\n{{ raise_exception('No ' ~ messages[0].role) }}"),
            "the chat template fails: it refuses this chat: No user");
  EXPECT_THAT(failure_of("a\n\n{{ x.y }}"), HasSubstr("(line 3)"));
  EXPECT_THAT(failure_of("{% if %}"), HasSubstr("syntax error"));
  EXPECT_THAT(failure_of("{{ nothing() }}"), HasSubstr("unknown function"));
}

TEST(ChatTemplate, ReachesNoFilesAndNoInternals) {
  EXPECT_THAT(failure_of("{% include '/etc/passwd' %}"), HasSubstr("the chat template fails: "));
  EXPECT_THAT(failure_of("{% extends 'chat template' %}"), HasSubstr("the chat template fails: "));
  EXPECT_THAT(failure_of("{% import 'x' as y %}"), HasSubstr("the chat template fails: "));
  EXPECT_THAT(failure_of("{{ ''.__class__.__mro__ }}"), HasSubstr("the chat template fails: "));
  EXPECT_THAT(failure_of("{{ debug() }}"), HasSubstr("debug is not available"));
}

TEST(ChatTemplate, LoopsAndRecursionEnd) {
  constexpr const char* kLoop =
      "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}"
      "{% endfor %}{% endfor %}{% endfor %}";
  EXPECT_EQ(failure_of(kLoop),
            "the chat template fails: it takes more than 20000000 steps; does it loop forever?");
  EXPECT_THAT(failure_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("recursion"));
  EXPECT_THAT(failure_of("{% macro m(x) %}{{ m(x ~ 'a') }}{% endmacro %}{{ m('') }}"),
              HasSubstr("recursion"));
  EXPECT_THAT(failure_of("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
              HasSubstr("recursion"));
  std::string deep(20'000, '(');
  EXPECT_THAT(failure_of("{{ " + deep + " }}"), HasSubstr("recursion"));
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if 1 %}";
  EXPECT_THAT(failure_of(blocks), HasSubstr("the chat template fails: "));
}

TEST(ChatTemplate, MemoryAndOutputAreBounded) {
  EXPECT_THAT(failure_of("{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = "
                         "ns.x ~ ns.x %}{% endfor %}"),
              HasSubstr("MiB of memory"));
  EXPECT_THAT(failure_of("{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x %}{{ "
                         "ns.x }}{{ ns.x }}{% endset %}{% endfor %}"),
              HasSubstr("MiB of memory"));
  EXPECT_THAT(failure_of("{{ 'a' * 90000000 }}"), HasSubstr("it writes more than 67108864 bytes"));
  EXPECT_THAT(failure_of("{{ 'a' * 99999999999 }}"), HasSubstr("the chat template fails: "));
  // And the next one runs as if nothing had been.
  EXPECT_EQ(*rendered("ok"), "ok");
}

}  // namespace
}  // namespace mlxmill

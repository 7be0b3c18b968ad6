#include "formats/model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/front_matter.h"
#include "formats/test_files.h"
#include "formats/yaml_check.h"
#include "python.h"

namespace mlxmill::formats {
namespace {

using ::mlxmill::testing::put;
using ::mlxmill::testing::python_with;
using ::mlxmill::testing::run_python;
using ::mlxmill::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

CardFacts sample_facts() {
  return {"Qwen3-8B-4bit",
          "Qwen/Qwen3-8B",
          "",
          "mlxmill 0.1.0",
          "mlxmill convert Qwen/Qwen3-8B --bits 4",
          {{"bits per weight", "4.501"}, {"a|b", "c\nd"}}};
}

std::string front_matter_of(std::string_view source, const CardFacts& facts = sample_facts()) {
  const std::string card = make_model_card(facts, source);
  return card.substr(0, card.find("\n---\n", 4) + 5);
}

TEST(ModelCard, NamesTheCommitItWasMadeFrom) {
  CardFacts facts = sample_facts();
  facts.base_model_revision = "0123456789012345678901234567890123456789";
  EXPECT_THAT(front_matter_of("---\nbase_model_revision: older\n---\n", facts),
              HasSubstr("base_model: Qwen/Qwen3-8B\n"
                        "base_model_revision: 0123456789012345678901234567890123456789\n"));
  EXPECT_THAT(front_matter_of("---\nbase_model_revision: older\n---\n"),
              Not(HasSubstr("base_model_revision")));
  facts.base_model = "a local model";
  EXPECT_THAT(front_matter_of("", facts), Not(HasSubstr("base_model_revision")));
}

TEST(CardSection, StandsBeforeUseAndIsReplaced) {
  const std::string card = "# x\n\n## Facts\n\na\n\n## Use\n\nb\n";
  const std::string once = with_card_section(card, "Cost", "1\n");
  EXPECT_EQ(once, "# x\n\n## Facts\n\na\n\n## Cost\n\n1\n\n## Use\n\nb\n");
  EXPECT_EQ(with_card_section(once, "Cost", "22\n"),
            "# x\n\n## Facts\n\na\n\n## Cost\n\n22\n\n## Use\n\nb\n");
}

TEST(CardSection, AppendsAndLeavesCodeAlone) {
  EXPECT_EQ(with_card_section("", "Cost", "1\n"), "## Cost\n\n1\n\n");
  EXPECT_EQ(with_card_section("x", "Cost", "1\n"), "x\n\n## Cost\n\n1\n\n");
  const std::string code = "````sh\n```\n## Cost\n````\n\n";
  EXPECT_EQ(with_card_section(code, "Cost", "1\n"), code + "## Cost\n\n1\n\n");
  const std::string last = "x\n\n## Cost\n\nold";
  EXPECT_EQ(with_card_section(last, "Cost", "1\n"), "x\n\n## Cost\n\n1\n\n");
}

TEST(ModelCard, KeepsTheSourcesFrontMatter) {
  EXPECT_EQ(
      front_matter_of(
          "---\nlicense: apache-2.0  # really\nlicense_link: https://x.y/z#a\n"
          "language:\n- en\n- 'no'\nlibrary_name: transformers\ntags: [chat, \"a, b\"]\n"
          "pipeline_tag: image-text-to-text\nbase_model:\n  - Qwen/Qwen3-8B-Base\n"
          "extra_gated_prompt: |\n  Terms:\n\n    1. one\nquantized_by: x\n---\n# Qwen\n"),
      "---\nlicense: apache-2.0  # really\nlicense_link: https://x.y/z#a\nlanguage:\n- en\n- 'no'\n"
      "extra_gated_prompt: |\n  Terms:\n\n    1. one\nbase_model: Qwen/Qwen3-8B\nlibrary_name: "
      "mlx\n"
      "pipeline_tag: text-generation\ntags:\n- chat\n- \"a, b\"\n- mlx\n---\n");
}

TEST(ModelCard, AddsTheTagOnce) {
  EXPECT_THAT(front_matter_of("---\ntags:\n  - mlx\n  - \"chat\"\n---\n"),
              HasSubstr("tags:\n- mlx\n- chat\n---\n"));
  EXPECT_THAT(front_matter_of("---\ntags: []\n---\n"), HasSubstr("tags:\n- mlx\n---\n"));
  EXPECT_THAT(front_matter_of("---\ntags:\n---\n"), HasSubstr("tags:\n- mlx\n---\n"));
  EXPECT_THAT(front_matter_of("---\ntags: chat\n---\n"), HasSubstr("tags:\n- chat\n- mlx\n---\n"));
  EXPECT_THAT(front_matter_of("---\ntags: [\n  a,\n\"b\"\n]\n---\n"),
              HasSubstr("tags:\n- a\n- b\n- mlx\n---\n"));
}

TEST(ModelCard, KeepsTheSourcesBaseModelWhenItHasNoName) {
  CardFacts facts = sample_facts();
  const std::string source = "---\nbase_model: [a/b]\n---\n";
  facts.base_model.reset();
  EXPECT_THAT(front_matter_of(source, facts), HasSubstr("base_model: [a/b]\n"));
  facts.base_model = "/home/me/my model";
  EXPECT_THAT(front_matter_of(source, facts), HasSubstr("base_model: [a/b]\n"));
  EXPECT_THAT(front_matter_of("", facts), Not(HasSubstr("base_model")));
  EXPECT_THAT(make_model_card(facts, ""),
              HasSubstr("made from /home/me/my model with mlxmill 0.1.0"));
}

TEST(ModelCard, SaysWhatAndHow) {
  const std::string card = make_model_card(sample_facts(), "");
  EXPECT_THAT(
      card,
      HasSubstr("# Qwen3-8B-4bit\n\nAn MLX model made from [Qwen/Qwen3-8B](https://huggingface.co/"
                "Qwen/Qwen3-8B) with mlxmill 0.1.0:\n\n```bash\nmlxmill convert Qwen/Qwen3-8B "
                "--bits 4\n```\n"));
  EXPECT_THAT(card, HasSubstr("| bits per weight | 4.501 |\n| a\\|b | c d |\n"));
  EXPECT_THAT(card, HasSubstr("mlx_lm.generate --model Qwen3-8B-4bit --prompt \"Hello\"\n"));
  EXPECT_THAT(card, HasSubstr("model, tokenizer = load(\"Qwen3-8B-4bit\")\n"));
}

TEST(ModelCard, QuotesHostileNames) {
  CardFacts facts = sample_facts();
  facts.name = "a'; rm -rf ~ #\"\n";
  facts.command = "mlxmill convert '```\n# not a heading'";
  const std::string card = make_model_card(facts, "");
  EXPECT_THAT(card, HasSubstr("--model 'a'\\''; rm -rf ~ #\" ' --prompt"));
  EXPECT_THAT(card, HasSubstr("load(\"a'; rm -rf ~ #\\\" \")"));
  EXPECT_THAT(card, HasSubstr("````bash\nmlxmill convert '```\n# not a heading'\n````\n"));
}

TEST(ModelCard, SurvivesOddCards) {
  const std::string plain = front_matter_of("");
  for (const std::string& odd : {std::string("# no front matter\n---\nlicense: mit\n---\n"),
                                 std::string("---\nlicense: mit\n"),
                                 std::string("---"),
                                 std::string("---\n---\n"),
                                 std::string("--- x\nlicense: mit\n---\n"),
                                 std::string("---\nlicense: 'mit\n---\n"),
                                 std::string("---\nlicense: a: b\n---\n"),
                                 std::string("---\nlicense: &a mit\n---\n"),
                                 std::string("---\nlicense: *a\n---\n"),
                                 std::string("---\nlicense: !!python/object:os.system x\n---\n"),
                                 std::string("---\n\tlicense: mit\n---\n"),
                                 std::string("---\nlicense:\tmit\n---\n"),
                                 std::string("---\nlicense: m\0it\n---\n", 22),
                                 std::string("---\nlicense: \xFF\n---\n"),
                                 std::string("---\nmodel-index:\n- name: x\n---\n"),
                                 std::string("---\n- a\n- b\n---\n"),
                                 std::string("---\nno: 1\n---\n"),
                                 std::string("---\nlanguage:\n  - en\n - fr\n---\n"),
                                 std::string("---\n? a\n: b\n---\n"),
                                 "---\n" + std::string(2'000'000, 'a') + "\n---\n",
                                 std::string(10'000'000, '-'),
                                 std::string(10'000'000, '\n'),
                                 "---\na: " + std::string(900'000, '[') + "\n---\n"}) {
    EXPECT_EQ(front_matter_of(odd), plain) << odd.substr(0, 60);
  }
  EXPECT_THAT(
      front_matter_of("\xEF\xBB\xBF---\r\nlicense: mit\r\ntags:\r\n- a\r\n---\r\nbody\r\n---\r\n"),
      HasSubstr("---\nlicense: mit\nbase_model"));
  EXPECT_THAT(front_matter_of("---\nlicense: mit\n---\n" + std::string(10'000'000, 'x')),
              HasSubstr("license: mit\n"));
  EXPECT_THAT(front_matter_of("---\nlicense: mit\nlicense: gpl\n---\n"),
              HasSubstr("license: mit\nbase_model"));
}

TEST(CardScalar, ReadsScalarsOnly) {
  const std::string card =
      "---\na: x  # c\nb: \"q \\\" # z\"\nc: 'it''s'\nd:\n- x\ne: [x]\nf:\ng: |\n  x\nh: "
      "#c\n---\ni: x\n";
  EXPECT_EQ(card_scalar(card, "a"), "x");
  EXPECT_EQ(card_scalar(card, "b"), "q \" # z");
  EXPECT_EQ(card_scalar(card, "c"), "it's");
  for (const char* key : {"d", "e", "f", "g", "h", "i", "absent"})
    EXPECT_FALSE(card_scalar(card, key)) << key;
}

TEST(YamlCheck, KnowsTheSimplePart) {
  for (const char* simple :
       {"a: b\n", "a:\n", "a: \"x: y # z\"\n", "a: 'it''s' # c\n", "a: [b, 'c, d', \"e\"]\n",
        "a: []\n", "a: [b,]\n", "a:\n- b\n- c\n", "a:\n  - b\n\n  # c\n  - d\n",
        "a: |\n  b: [\n\n   'c\n", "a: >-\n  b\n", "a: b\n  c d\n", "a:\n  b: c\n  d:\n    e: f\n",
        "a:\n- b: c\n  d: e\n- b: f\n", "a: \"b\n  c\"\n", "a:\n  First Name: text\n",
        "a: https://b.c/d#e\n", "a: b#c\n", "a: -1\n"}) {
    EXPECT_TRUE(is_simple_yaml_entry(simple)) << simple;
  }
  for (const char* other : {"",
                            "a\n",
                            "- a\n",
                            "a: b: c\n",
                            "a: 'b\n",
                            "a: 'b' c\n",
                            "a: [b\n",
                            "a: [b]]\n",
                            "a: [,]\n",
                            "a: {b: c}\n",
                            "a: &b c\n",
                            "a: *b\n",
                            "a: !b c\n",
                            "a: @b\n",
                            "a: `b\n",
                            "a: %b\n",
                            "a: b\n- c\n",
                            "a:\n  - b\n - c\n",
                            "a: b\n  c: d\n",
                            "a:\n    b: c\n  d: e\n",
                            "a: |\n  b\n c\n",
                            "a: |x\n  b\n",
                            "a: b\n  # c\n  d\n",
                            "a: \tb\n",
                            "a: \"\\q\"\n",
                            "a: b\nc\n",
                            "a:\n- b: c\n d: e\n",
                            "a: - b\n",
                            "a: ? b\n",
                            "a:\n- - b\n",
                            "a: b\n---\n",
                            "a: b:\n",
                            "a:\n  b: c\n  b: d\n"}) {
    EXPECT_FALSE(is_simple_yaml_entry(other)) << other;
  }
}

TEST(YamlString, QuotesWhatYamlWouldReadOtherwise) {
  EXPECT_EQ(yaml_string("text-generation"), "text-generation");
  for (const char* text : {"no", "True", "null", "1", "1.5", "", "a b", "a:", "-", "a\"b", "\n"}) {
    EXPECT_EQ(yaml_string(text).front(), '"') << text;
  }
  EXPECT_EQ(yaml_string("a\"\n\xC3\xA9\xFF"), "\"a\\\"\\x0A\xC3\xA9\\uFFFD\"");
}

// huggingface_hub loads every card that can come out, from sound sources and from thousands of
// damaged ones.
TEST(ModelCard, LoadsInHuggingfaceHub) {
  const std::string python = python_with("import huggingface_hub, yaml");
  if (python.empty()) GTEST_SKIP() << "MLXMILL_PYTHON names no interpreter with huggingface_hub";
  const TempFolder folder;
  const std::string source =
      "---\nlicense: other\nlicense_name: 'x'\nlicense_link: LICENSE\nlanguage:\n- en\n- "
      "\"no\"\ntags: [a, 'b c']\n"
      "datasets:\n  - x/y\nwidget:\n- text: \"hi: there\"\n  example_title: "
      "it's\nextra_gated_fields:\n  Name: text\n"
      "  Country: country\nextra_gated_prompt: >-\n  some\n  text\nmodel-index:\n- name: x\n---\n# "
      "body\n";
  put(folder, "sound.md", make_model_card(sample_facts(), source));
  std::uint32_t state = 1;
  const auto random = [&](std::size_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % below;
  };
  constexpr std::string_view kBytes = "\n\n  --::##[]{}'\"&*!|>%@`,?ab\t\\1~=<";
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = source;
    for (std::size_t k = 0; k <= random(4); ++k) {
      const std::size_t at = 4 + random(damaged.size() - 20);
      if (random(3) == 0) {
        damaged.erase(at, 1 + random(6));
      } else {
        damaged.insert(at, 1, kBytes[random(kBytes.size())]);
      }
    }
    put(folder, "damaged-" + std::to_string(i) + ".md", make_model_card(sample_facts(), damaged));
  }
  EXPECT_TRUE(run_python(
      python, {MLXMILL_SOURCE_DIR "/tests/formats/model_card_oracle.py", folder.path().string()}));
}

}  // namespace
}  // namespace mlxmill::formats

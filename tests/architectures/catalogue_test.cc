// The built-in families, the examples of the documentation, and the choice between families.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "architectures/declaration.h"
#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using ::testing::HasSubstr;

std::string file_text(const std::string& path) {
  std::ifstream file(std::string(MLXMILL_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Value config_of(const char* model_type) {
  return test::object({{"model_type", Value(model_type)}});
}

TEST(Catalogue, ParsesEveryBuiltInFamily) {
  const auto catalogue = Catalogue::built_in();
  ASSERT_TRUE(catalogue) << catalogue.error().message();
  std::set<std::string> types;
  for (const Declaration& declaration : catalogue->declarations()) {
    EXPECT_TRUE(declaration.is_strict()) << declaration.family();
    EXPECT_EQ(declaration.file_name(), declaration.family() + ".toml");
    // `architectures` tells apart files that serve the same model type.
    std::vector<std::string> claims = declaration.architecture_names();
    if (claims.empty()) claims.emplace_back();
    for (const std::string& type : declaration.model_types()) {
      for (const std::string& claim : claims) {
        EXPECT_TRUE(types.insert(claim.empty() ? type : type + " as " + claim).second)
            << type << " is served twice";
      }
    }
  }
  for (const char* type : {"llama", "mistral", "iquestcoder", "xverse", "qwen2", "qwen3",
                           "qwen3_moe", "gemma", "gemma3_text", "phi3", "olmo3", "granite", "gpt2",
                           "deepseek_v3", "kimi_k2", "joyai_llm_flash"}) {
    EXPECT_TRUE(types.contains(type)) << type;
  }
}

TEST(Catalogue, FindsFamiliesByModelType) {
  const auto catalogue = Catalogue::built_in();
  ASSERT_TRUE(catalogue);
  EXPECT_EQ(catalogue->find(config_of("mistral"))->family(), "llama");
  EXPECT_EQ(catalogue->find(config_of("kimi_k2"))->family(), "deepseek_v3");
  const auto unknown = catalogue->find(config_of("qwen3_mo"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code(), Code::kUnknownModel);
  EXPECT_EQ(unknown.error().message(),
            "config.json: no family serves model_type \"qwen3_mo\"; the nearest name known is "
            "\"qwen3_moe\"; a new family is one text file, given with --architecture FILE: "
            "docs/ARCHITECTURES.md");
  const auto none = catalogue->find(test::object({}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message(), "config.json: model_type is missing; expected a string");
}

TEST(Catalogue, PutsAddedFamiliesFirst) {
  auto catalogue = Catalogue::built_in();
  ASSERT_TRUE(catalogue);
  catalogue->add(*Declaration::parse("family = \"mine\"\nmodel_types = [\"llama\"]", "mine.toml"));
  EXPECT_EQ(catalogue->find(config_of("llama"))->family(), "mine");
  catalogue->add(*Declaration::parse(
      "family = \"claimed\"\nmodel_types = [\"llama\"]\narchitectures = [\"OddForCausalLM\"]",
      "claimed.toml"));
  EXPECT_EQ(catalogue->find(config_of("llama"))->family(), "mine");
  Value odd = config_of("llama");
  odd.set("architectures", Value(base::Array{Value("OddForCausalLM")}));
  EXPECT_EQ(catalogue->find(odd)->family(), "claimed");
}

TEST(Documentation, HasOnlyExamplesThatParse) {
  std::istringstream document(file_text("docs/ARCHITECTURES.md"));
  std::string line;
  std::string block;
  bool inside = false;
  int n_blocks = 0;
  while (std::getline(document, line)) {
    if (line == "```toml") {
      inside = true;
      block.clear();
    } else if (inside && line == "```") {
      inside = false;
      ++n_blocks;
      // A fragment of a file needs the two keys every file has.
      const bool whole = block.find("family") != std::string::npos;
      const auto parsed = Declaration::parse(whole ? block : test::with_identity(block), "example");
      EXPECT_TRUE(parsed) << parsed.error().message() << "\n" << block;
    } else if (inside) {
      block += line + "\n";
    }
  }
  EXPECT_GE(n_blocks, 4);
}

TEST(Catalogue, ForConfigFindsWhatTheWholeOneFinds) {
  const auto whole = Catalogue::built_in();
  ASSERT_TRUE(whole);
  for (const Declaration& declaration : whole->declarations()) {
    for (const std::string& type : declaration.model_types()) {
      Value config = config_of(type.c_str());
      if (!declaration.architecture_names().empty()) {
        config.set("architectures", base::Array{Value(declaration.architecture_names()[0])});
      }
      const auto part = Catalogue::for_config(config);
      ASSERT_TRUE(part);
      EXPECT_LT(part->declarations().size(), 10u) << type;
      EXPECT_EQ(part->find(config)->family(), declaration.family()) << type;
    }
  }
  const Value unknown = config_of("lama");
  EXPECT_EQ(Catalogue::for_config(unknown)->find(unknown).error().message(),
            whole->find(unknown).error().message());
}

TEST(Documentation, ListsEveryFamily) {
  const std::string document = file_text("docs/ARCHITECTURES.md");
  const auto catalogue = Catalogue::built_in();
  ASSERT_TRUE(catalogue);
  for (const Declaration& declaration : catalogue->declarations()) {
    for (const std::string& type : declaration.model_types()) {
      EXPECT_THAT(document, HasSubstr("`" + type + "`"));
    }
  }
}

}  // namespace
}  // namespace mlxmill::architectures

// A draft model changes how fast a text comes, not the text.
#include <gmock/gmock.h>

#include <filesystem>

#include "mlxmill/convert.h"
#include "mlxmill/generate.h"
#include "temp_folder.h"

namespace mlxmill {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TempFolder;

const fs::path kSample = MLXMILL_SOURCE_DIR "/models/sample-llama";
const fs::path kShared = MLXMILL_SOURCE_DIR "/../shared/checkpoints";

Model open_model(const fs::path& path) {
  ModelOptions options;
  options.path = path;
  options.context = 1024;
  // Logits of one row and of several differ in their last bits, where BF16 has ties.
  options.dtype = DType::kF32;
  Result<Model> model = Model::open(options);
  EXPECT_TRUE(model) << model.error().message();
  return *std::move(model);
}

/// A quantized copy of a model, at `to`.
Model quantized(const fs::path& path, int bits, const fs::path& to) {
  ConvertOptions convert;
  convert.source = path;
  convert.output = to;
  convert.quantize = true;
  convert.bits = bits;
  EXPECT_TRUE(convert_model(convert));
  return open_model(to);
}

class Draft : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mlx_version().empty()) GTEST_SKIP() << "built without the runtime";
  }

  /// Goes on after `prompt`; the cache must hold no more than the text afterwards.
  static Result<Generated> generate(const Model& model, const fs::path& path,
                                    const std::vector<TokenId>& prompt,
                                    const GenerateOptions& options) {
    const Result<Tokenizer> tokenizer = Tokenizer::open(path);
    EXPECT_TRUE(tokenizer) << tokenizer.error().message();
    ModelCache cache = model.new_cache();
    Result<Generated> result = generate_text(model, *tokenizer, cache, prompt, options);
    if (result) {
      EXPECT_GE(cache.length(), static_cast<std::int64_t>(prompt.size() + result->ids.size()) - 1);
      EXPECT_LE(cache.length(), static_cast<std::int64_t>(prompt.size() + result->ids.size()));
    }
    return result;
  }

  static std::vector<TokenId> some_ids(std::size_t n) {
    std::vector<TokenId> ids(n);
    for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<TokenId>(3 + 37 * i % 90);
    return ids;
  }
};

TEST_F(Draft, ChangesNoText) {
  const TempFolder temp;
  const Model model = open_model(kSample);
  const Model draft = quantized(kSample, 3, temp / "draft");
  struct Case {
    double temperature, repetition;
    std::int64_t guesses;
  };
  for (const Case& c : {Case{0, 0, 1}, Case{0, 1.2, 3}, Case{0.8, 0, 3}, Case{0.8, 1.2, 9}}) {
    GenerateOptions options;
    options.sampling.temperature = c.temperature;
    options.sampling.penalties.repetition = c.repetition;
    options.sampling.seed = 5;
    options.max_tokens = 40;
    const auto alone = generate(model, kSample, some_ids(9), options);
    ASSERT_TRUE(alone) << alone.error().message();
    EXPECT_EQ(alone->drafted_tokens, 0U);
    options.draft = &draft;
    options.draft_tokens = c.guesses;
    const auto drafted = generate(model, kSample, some_ids(9), options);
    ASSERT_TRUE(drafted) << drafted.error().message();
    EXPECT_EQ(drafted->ids, alone->ids) << c.guesses;
    EXPECT_GT(drafted->drafted_tokens, 3U) << c.guesses;
    EXPECT_LT(drafted->drafted_tokens, 40U) << c.guesses;
  }
}

TEST_F(Draft, OfTheSameModelIsAlwaysRight) {
  const Model model = open_model(kSample);
  const Model draft = open_model(kSample);
  GenerateOptions options;
  options.max_tokens = 40;
  options.draft = &draft;
  options.draft_tokens = 3;
  const auto drafted = generate(model, kSample, some_ids(9), options);
  ASSERT_TRUE(drafted) << drafted.error().message();
  ASSERT_EQ(drafted->ids.size(), 40U);
  // Three guesses are right, then comes a token of the model's own.
  EXPECT_EQ(drafted->drafted_tokens, 30U);
}

TEST_F(Draft, GoesBackInSlidingWindows) {
  if (!fs::exists(kShared)) GTEST_SKIP() << "no " << kShared;
  const fs::path path = kShared / "gemma3_text";
  const Model model = open_model(path);
  const TempFolder temp;
  const Model draft = quantized(path, 4, temp / "draft");
  GenerateOptions options;
  options.max_tokens = 80;
  const auto alone = generate(model, path, some_ids(600), options);
  ASSERT_TRUE(alone) << alone.error().message();
  options.draft = &draft;
  const auto drafted = generate(model, path, some_ids(600), options);
  ASSERT_TRUE(drafted) << drafted.error().message();
  EXPECT_EQ(drafted->ids, alone->ids);
}

TEST_F(Draft, NeedsModelsThatCanForget) {
  if (!fs::exists(kShared)) GTEST_SKIP() << "no " << kShared;
  const fs::path path = kShared / "qwen3_next";
  const Model model = open_model(path);
  GenerateOptions options;
  options.max_tokens = 80;
  options.draft = &model;
  options.sampling.temperature = 1;  // Else every guess is right.
  const auto refused = generate(model, path, some_ids(20), options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_THAT(refused.error().message(), HasSubstr("cannot forget tokens again"));
}

}  // namespace
}  // namespace mlxmill

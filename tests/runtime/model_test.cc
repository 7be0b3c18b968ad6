// A model through the public API: the cache, and what is refused.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "mlxmill/run.h"
#include "temp_folder.h"

namespace mlxmill {
namespace {

using mlxmill::testing::TempFolder;
using ::testing::HasSubstr;

const std::filesystem::path kSample =
    std::filesystem::path(MLXMILL_SOURCE_DIR) / "models/sample-llama";

Result<Model> open_sample(const std::function<void(ModelOptions&)>& change = nullptr) {
  ModelOptions options;
  options.path = kSample;
  options.dtype = DType::kF32;
  options.context = 1000;
  if (change) change(options);
  return Model::open(options);
}

std::vector<std::int32_t> some_ids(int n) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < n; ++i) ids.push_back(1 + (i * 37 + i * i) % 500);
  return ids;
}

float largest_difference(std::span<const float> a, std::span<const float> b) {
  float largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST(Model, ChunksStepsAndTrimmedCachesAgreeWithOnePass) {
  const auto model = open_sample();
  ASSERT_TRUE(model) << model.error().message();
  const auto ids = some_ids(600);
  ModelCache whole = model->new_cache();
  const auto all = model->run(ids, whole, LogitsOf::kAll);
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->positions, 600U);
  EXPECT_EQ(whole.length(), 600);

  ModelCache cache = model->new_cache();
  const std::span<const std::int32_t> span(ids);
  ASSERT_TRUE(model->run(span.first(590), cache));
  ASSERT_TRUE(cache.trim_to(580));
  const auto rest = model->run(span.subspan(580, 19), cache, LogitsOf::kAll);
  ASSERT_TRUE(rest);
  EXPECT_LT(largest_difference(rest->row(18), all->row(598)), 1e-4F);
  const auto last = model->run(span.last(1), cache);
  ASSERT_TRUE(last);
  EXPECT_LT(largest_difference(last->values, all->row(599)), 1e-4F);

  const auto small = open_sample([](ModelOptions& o) { o.prefill_step_size = 7; });
  ASSERT_TRUE(small) << small.error().message();
  ModelCache in_steps = small->new_cache();
  const auto again = small->run(ids, in_steps, LogitsOf::kAll);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->positions, 600U);
  EXPECT_LT(largest_difference(again->values, all->values), 1e-4F);
  const auto none = open_sample([](ModelOptions& o) { o.prefill_step_size = 0; });
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message(), "a prefill step of 0 tokens; expected 1 or more");
}

TEST(Model, CachesAreSavedAndLoaded) {
  const auto model = open_sample();
  ASSERT_TRUE(model);
  const auto ids = some_ids(40);
  ModelCache cache = model->new_cache();
  ASSERT_TRUE(model->run(ids, cache));
  const TempFolder folder;
  const auto file = folder.path() / "cache.safetensors";
  ASSERT_TRUE(model->save_cache(cache, file, ids));
  const auto next = model->run(std::vector<std::int32_t>{7}, cache);
  auto loaded = model->load_cache(file);
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->ids, ids);
  EXPECT_EQ(loaded->cache.length(), 40);
  const auto again = model->run(std::vector<std::int32_t>{7}, loaded->cache);
  ASSERT_TRUE(again);
  EXPECT_EQ(largest_difference(again->values, next->values), 0);

  const auto other = open_sample([](ModelOptions& o) {
    o.kv_bits = 8;
    o.kv_group_size = 32;
  });
  ASSERT_TRUE(other) << other.error().message();
  const auto refused = other->load_cache(file);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("of another model, or of other settings"));

  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  const auto truncated = model->load_cache(file);
  ASSERT_FALSE(truncated);
  EXPECT_EQ(truncated.error().code(), Code::kInvalidInput);
}

/// Models whose states are not keys and values only.
class RecurrentModel : public ::testing::TestWithParam<const char*> {};

TEST_P(RecurrentModel, GoesOnFromASavedCache) {
  const std::filesystem::path path =
      std::filesystem::path(MLXMILL_SOURCE_DIR) / "../shared/checkpoints" / GetParam();
  if (!std::filesystem::is_directory(path)) GTEST_SKIP() << "no " << path;
  ModelOptions options;
  options.path = path;
  options.dtype = DType::kF32;
  options.context = 400;
  const auto model = Model::open(options);
  ASSERT_TRUE(model) << model.error().message();
  const auto ids = some_ids(300);
  ModelCache whole = model->new_cache();
  const auto all = model->run(ids, whole, LogitsOf::kAll);
  ASSERT_TRUE(all) << all.error().message();

  ModelCache cache = model->new_cache();
  const std::span<const std::int32_t> span(ids);
  ASSERT_TRUE(model->run(span.first(200), cache));
  EXPECT_FALSE(cache.trim_to(199)) << "a recurrent state cannot be turned back";
  const TempFolder folder;
  const auto file = folder.path() / "cache.safetensors";
  ASSERT_TRUE(model->save_cache(cache, file, span.first(200)));
  auto loaded = model->load_cache(file);
  ASSERT_TRUE(loaded) << loaded.error().message();
  const auto rest = model->run(span.subspan(200), loaded->cache, LogitsOf::kAll);
  ASSERT_TRUE(rest) << rest.error().message();
  EXPECT_LT(largest_difference(rest->values, std::span(all->values).last(rest->values.size())),
            1e-4F);
}

INSTANTIATE_TEST_SUITE_P(Families, RecurrentModel,
                         ::testing::Values("mamba", "granitemoehybrid", "qwen3_next", "lfm2",
                                           "rwkv7"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Model, QuantizedKeysAndValuesStayClose) {
  const auto exact = open_sample();
  const auto model = open_sample([](ModelOptions& o) {
    o.kv_bits = 8;
    o.kv_group_size = 32;
  });
  ASSERT_TRUE(exact);
  ASSERT_TRUE(model);
  EXPECT_LT(model->facts().cache_bytes, exact->facts().cache_bytes / 3);
  const auto ids = some_ids(64);
  ModelCache a = exact->new_cache();
  ModelCache b = model->new_cache();
  const auto expected = exact->run(ids, a);
  const auto got = model->run(ids, b);
  ASSERT_TRUE(got) << got.error().message();
  const float difference = largest_difference(got->values, expected->values);
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 0.5F);
}

TEST(Model, QuantizesKeysAndValuesInGroupsThatFitAHead) {
  const auto with_group_size = [](int size, const std::filesystem::path& path = kSample) {
    return open_sample([&](ModelOptions& o) {
      o.path = path;
      o.kv_bits = 4;
      o.kv_group_size = size;
    });
  };
  // Heads of the sample have 64.
  const auto chosen = with_group_size(0);
  ASSERT_TRUE(chosen) << chosen.error().message();
  EXPECT_EQ(chosen->facts().cache_bytes, with_group_size(64)->facts().cache_bytes);
  const auto refused = with_group_size(128);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_THAT(
      refused.error().message(),
      HasSubstr("multiples of 64 elements; to quantize them expected multiples of the group "
                "size 128"));
  EXPECT_EQ(refused.error().hint(), "try --kv-group-size 32");

  const auto shared = std::filesystem::path(MLXMILL_SOURCE_DIR) / "../shared";
  if (!std::filesystem::is_directory(shared)) GTEST_SKIP() << "no " << shared;
  // Of 32, and of 16.
  const auto smaller = with_group_size(0, shared / "checkpoints/llama");
  ASSERT_TRUE(smaller) << smaller.error().message();
  ModelCache cache = smaller->new_cache();
  EXPECT_TRUE(smaller->run(some_ids(20), cache));
  const auto none = with_group_size(0, shared / "models/TinyStories-656K-embed");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().hint(), "leave out --kv-bits");
}

TEST(Model, RefusesTokensOutOfRangeAndSequencesBeyondTheContext) {
  const auto model = open_sample();
  ASSERT_TRUE(model);
  ModelCache cache = model->new_cache();
  EXPECT_EQ(model->run({}, cache).error().code(), Code::kUsage);
  const std::vector<std::int32_t> negative = {5, -1};
  EXPECT_THAT(model->run(negative, cache).error().message(),
              HasSubstr("token 1 has the id -1; expected 0 to"));
  EXPECT_THAT(model->run(some_ids(1001), cache).error().message(),
              HasSubstr("1001 tokens are more than the context of 1000"));
  EXPECT_EQ(cache.length(), 0);
}

TEST(Model, MemoryIsCountedBeforeAnythingIsRead) {
  const auto model = open_sample([](ModelOptions& o) { o.memory_bytes = 1 << 20; });
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kNoMemory);
  EXPECT_THAT(model.error().message(), HasSubstr("the model needs"));
}

TEST(Model, StopsWhenAskedTo) {
  ModelOptions options;
  options.path = kSample;
  options.callbacks.cancelled = [] { return true; };
  EXPECT_EQ(Model::open(options).error().code(), Code::kCancelled);
}

TEST(Model, AFamilyWithoutForwardIsConvertedOnly) {
  const TempFolder folder;
  const auto file = folder.path() / "mine.toml";
  std::ofstream(file) << "family = \"mine\"\nmodel_types = [\"llama\"]\n";
  ModelOptions options;
  options.path = kSample;
  options.architecture_file = file.string();
  const auto model = Model::open(options);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kUnsupported);
  EXPECT_THAT(model.error().message(), HasSubstr("family \"mine\" can be converted, but not run"));
}

}  // namespace
}  // namespace mlxmill

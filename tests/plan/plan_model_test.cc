// Plans of folders against what conversions and the runtime count.
#include "mlxmill/plan.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>

#include "base/process.h"
#include "mlxmill/convert.h"
#include "mlxmill/run.h"
#include "temp_folder.h"

namespace mlxmill {
namespace {

using testing::TempFolder;

const std::string kSample = MLXMILL_SOURCE_DIR "/models/sample-llama";

PlanOptions quiet_plan() {
  PlanOptions options;
  options.model = kSample;
  options.probe = false;
  return options;
}

TEST(PlanModel, MemoryIsWhatTheRuntimePlans) {
  if (mlx_version().empty()) GTEST_SKIP() << "built without libmlx";
  const TempFolder temp;
  PlanOptions options = quiet_plan();
  options.context = 1000;
  for (const std::optional<int> kv_bits : {std::optional<int>(), std::optional(8)}) {
    options.kv_bits = kv_bits;
    const Result<ModelPlan> plan = plan_model(options);
    ASSERT_TRUE(plan) << plan.error().message();
    for (const PlanRow& row : plan->rows) {
      if (row.scheme && row.scheme->bits != 4) continue;
      ConvertOptions convert;
      convert.source = kSample;
      convert.output = temp / "out";
      convert.force = true;
      convert.quantize = row.scheme.has_value();
      if (row.scheme) {
        convert.mode = row.scheme->mode;
        convert.bits = row.scheme->bits;
        convert.group_size = row.scheme->group_size;
      }
      ASSERT_TRUE(convert_model(convert));
      ModelOptions run;
      run.path = convert.output;
      run.context = options.context;
      run.kv_bits = kv_bits;
      const Result<Model> model = Model::open(run);
      ASSERT_TRUE(model) << model.error().message();
      EXPECT_EQ(model->facts().weight_bytes, row.weight_bytes) << row.flags;
      EXPECT_EQ(model->facts().cache_bytes, row.cache_bytes) << row.flags;
    }
  }
}

TEST(PlanModel, RowsGoFromManyBitsToFew) {
  const Result<ModelPlan> plan = plan_model(quiet_plan());
  ASSERT_TRUE(plan) << plan.error().message();
  std::vector<std::uint64_t> affine;
  for (const PlanRow& row : plan->rows) {
    if (row.scheme && row.scheme->mode == Mode::kAffine) affine.push_back(row.output_bytes);
  }
  EXPECT_EQ(affine.size(), 6U);
  EXPECT_TRUE(std::is_sorted(affine.rbegin(), affine.rend()));
}

TEST(PlanModel, WritesNothingBesideTheSource) {
  const TempFolder temp;
  std::filesystem::copy(kSample, temp / "model");
  PlanOptions options = quiet_plan();
  options.model = (temp / "model").string();
  options.probe = true;
  ASSERT_TRUE(plan_model(options));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(temp / "."), {}), 1);
}

TEST(PlanModel, QuantizesKeysAndValuesInGroupsThatFitAHead) {
  const std::filesystem::path shared = MLXMILL_SOURCE_DIR "/../shared";
  if (!std::filesystem::is_directory(shared)) GTEST_SKIP() << "no " << shared;
  PlanOptions options = quiet_plan();
  options.kv_bits = 4;
  options.model = shared / "checkpoints/llama";  // Heads of 32, which take twice the parameters.
  const Result<ModelPlan> plan = plan_model(options);
  ASSERT_TRUE(plan) << plan.error().message();
  ModelOptions run;
  run.path = options.model;
  run.context = options.context;
  run.kv_bits = options.kv_bits;
  const Result<Model> model = Model::open(run);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(plan->rows.front().cache_bytes, model->facts().cache_bytes);
  options.model = shared / "models/TinyStories-656K-embed";  // Of 16.
  const Result<ModelPlan> none = plan_model(options);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().hint(), "leave out --kv-bits");
}

TEST(PlanModel, RefusesWhatNoModelHas) {
  PlanOptions options = quiet_plan();
  for (const std::int64_t context : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 31}) {
    options.context = context;
    EXPECT_EQ(plan_model(options).error().code(), Code::kUsage);
  }
  options = quiet_plan();
  options.group_sizes = {48};
  EXPECT_EQ(plan_model(options).error().code(), Code::kUsage);
  options = quiet_plan();
  options.kv_bits = 7;
  EXPECT_EQ(plan_model(options).error().code(), Code::kUsage);
  options = quiet_plan();
  options.model = "no/such/folder/here";
  EXPECT_EQ(plan_model(options).error().code(), Code::kNotFound);
}

TEST(MacMemory, IsTwoThirdsOrThreeQuarters) {
  const std::uint64_t giga = std::uint64_t{1} << 30;
  EXPECT_EQ(base::mac_memory(24 * giga).usable_bytes, 16 * giga);
  EXPECT_EQ(base::mac_memory(64 * giga).usable_bytes, 48 * giga);
  EXPECT_GT(base::machine_memory().usable_bytes, 0U);
}

}  // namespace
}  // namespace mlxmill

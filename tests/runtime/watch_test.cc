// What reaches the weights of modules, as products tell it.
#include "runtime/watch.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <map>

namespace mlxmill::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Linear linear(const char* path, mx::Shape shape) {
  mx::array weight = mx::random::uniform(-1.0F, 1.0F, std::move(shape), mx::float32);
  mx::eval(weight);
  Linear layer{weight, std::nullopt, std::nullopt, std::nullopt, {}};
  layer.path = path;
  return layer;
}

mx::array counting(mx::Shape shape) {
  int n = 1;
  for (const int extent : shape) n *= extent;
  return mx::reshape(mx::astype(mx::arange(n), mx::float32), std::move(shape));
}

std::vector<float> floats(const ModuleInput& input) {
  std::vector<float> values(input.rows->values.size() / sizeof(float));
  std::memcpy(values.data(), input.rows->values.data(), input.rows->values.size());
  return values;
}

TEST(Watch, TellsOfProductsWhileItLives) {
  const Linear a = linear("a", {3, 4});
  const Linear b = linear("b", {5, 4});
  const mx::array x = counting({1, 2, 4});
  apply(a, x);
  {
    const Watch watch;
    apply(a, x);
    apply_all({&a, &b}, mx::swapaxes(counting({1, 4, 2}), 1, 2));
    const auto inputs = watch.inputs();
    ASSERT_THAT(inputs, SizeIs(3));
    EXPECT_EQ(inputs[0].module, "a");
    EXPECT_EQ(inputs[0].rows->rows(), 2U);
    EXPECT_THAT(floats(inputs[0]), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    EXPECT_THAT(inputs[0].matrices, IsEmpty());
    EXPECT_EQ(inputs[2].module, "b");
    EXPECT_EQ(inputs[1].rows, inputs[2].rows);
    EXPECT_THAT(floats(inputs[2]), ElementsAre(0, 2, 4, 6, 1, 3, 5, 7));
  }
  EXPECT_EQ(Watch::current(), nullptr);
}

TEST(Watch, RowsOfHeadsMeetTheirOwnMatrix) {
  const Linear heads = linear("heads", {2, 3, 4});
  const Watch watch;
  apply(heads, counting({1, 2, 2, 4}));
  apply(heads, counting({1, 1, 2, 4}));
  const auto inputs = watch.inputs();
  EXPECT_THAT(inputs[0].matrices, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(inputs[1].matrices, IsEmpty()) << "each row meets both";
}

TEST(Watch, RowsMeetTheExpertsThatAreNamed) {
  const Linear experts = linear("experts", {5, 3, 4});
  const mx::array indices = mx::array({4, 1, 0, 4}, {2, 2}, mx::uint32);
  const Watch watch;
  // One row for two experts; a row for each; one row for all.
  apply_gathered(experts, counting({2, 1, 1, 4}), indices, false);
  apply_gathered(experts, counting({2, 2, 1, 4}), indices, false);
  apply_gathered(experts, counting({1, 1, 1, 4}), indices, false);
  // In a row, as where they are sorted.
  apply_gathered(experts, counting({3, 1, 4}), mx::array({0, 2, 2}, mx::int32), true);
  const auto inputs = watch.inputs();
  EXPECT_EQ(inputs[0].rows->rows(), 2U);
  EXPECT_THAT(inputs[0].matrices, ElementsAre(4, 1, 0, 4));
  EXPECT_EQ(inputs[1].rows->rows(), 4U);
  EXPECT_THAT(inputs[1].matrices, ElementsAre(4, 1, 0, 4));
  EXPECT_EQ(inputs[2].rows->rows(), 1U);
  EXPECT_THAT(inputs[2].matrices, ElementsAre(4, 1, 0, 4));
  EXPECT_THAT(floats(inputs[3]), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(inputs[3].matrices, ElementsAre(0, 2, 2));
}

TEST(Watch, NamesTheModulesThatAStackWasMadeOf) {
  Linear experts = linear("experts", {3, 5, 4});
  experts.stacked_of =
      std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"a", "b", "c"});
  const Watch watch;
  apply_gathered(experts, counting({2, 1, 1, 4}), mx::array({2, 0, 0, 2}, {2, 2}, mx::uint32),
                 false);
  apply_gathered(experts, counting({2, 2, 1, 4}), mx::array({1, 0, 0, 2}, {2, 2}, mx::uint32),
                 false);
  const auto inputs = watch.inputs();
  ASSERT_THAT(inputs, SizeIs(5));
  // Nothing of "b" the first time.
  EXPECT_EQ(inputs[0].module, "a");
  EXPECT_THAT(floats(inputs[0]), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(inputs[0].matrices, IsEmpty());
  EXPECT_EQ(inputs[1].module, "c");
  EXPECT_THAT(floats(inputs[1]), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(inputs[2].module, "a");
  EXPECT_THAT(floats(inputs[2]), ElementsAre(4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_EQ(inputs[3].module, "b");
  EXPECT_THAT(floats(inputs[3]), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(inputs[4].module, "c");
  EXPECT_THAT(floats(inputs[4]), ElementsAre(12, 13, 14, 15));
}

TEST(Watch, AModelRunsAsItDoesUnwatched) {
  ModelOptions options;
  options.path = std::filesystem::path(MLXMILL_SOURCE_DIR) / "models/sample-llama";
  options.dtype = DType::kF32;
  options.context = 64;
  const auto model = Model::open(options);
  ASSERT_TRUE(model) << model.error().message();
  const std::vector<std::int32_t> ids = {5, 17, 200, 31};
  ModelCache plain = model->new_cache();
  ModelCache watched = model->new_cache();
  ASSERT_TRUE(model->run(std::span(ids).first(3), plain));
  ASSERT_TRUE(model->run(std::span(ids).first(2), watched));
  const auto inputs = model->run_watched(ids[2], watched);
  ASSERT_TRUE(inputs) << inputs.error().message();
  EXPECT_EQ(watched.length(), 3);
  const auto expected = model->run(std::span(ids).last(1), plain);
  const auto got = model->run(std::span(ids).last(1), watched);
  ASSERT_TRUE(expected);
  ASSERT_TRUE(got);
  for (std::size_t i = 0; i < got->values.size(); ++i) {
    ASSERT_NEAR(got->values[i], expected->values[i], 1e-3F) << i;
  }

  // Six layers of seven, and the embedding where it is the head.
  std::map<std::string, ModuleInput> by_module;
  for (const ModuleInput& input : *inputs) by_module[input.module] = input;
  EXPECT_THAT(*inputs, SizeIs(43));
  EXPECT_THAT(by_module, SizeIs(43));
  EXPECT_EQ(by_module.at("model.embed_tokens").rows->columns, 256U);
  const ModuleInput& down = by_module.at("model.layers.3.mlp.down_proj");
  EXPECT_EQ(down.rows->columns, 768U);
  EXPECT_EQ(down.rows->rows(), 1U);
  EXPECT_EQ(down.rows->dtype, DType::kF32);
  EXPECT_EQ(by_module.at("model.layers.0.self_attn.q_proj").rows,
            by_module.at("model.layers.0.self_attn.v_proj").rows);
  EXPECT_FALSE(model->run_watched(-1, watched));
  EXPECT_EQ(Watch::current(), nullptr);
}

}  // namespace
}  // namespace mlxmill::runtime

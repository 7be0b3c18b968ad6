#include "mlxmill/inspect.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "mlxmill/families.h"
#include "temp_folder.h"

namespace mlxmill {
namespace {

const std::filesystem::path kSample =
    std::filesystem::path(MLXMILL_SOURCE_DIR) / "models/sample-llama";

TEST(InspectModel, DescribesACheckpoint) {
  const ModelInfo info = *inspect_model(kSample);
  EXPECT_EQ(info.kind, "Hugging Face checkpoint");
  EXPECT_EQ(info.model_type, "llama");
  EXPECT_EQ(info.family, "llama");
  ASSERT_EQ(info.codings.size(), 1u);
  EXPECT_EQ(info.codings[0].coding, "BF16");
  EXPECT_EQ(info.codings[0].parameters, info.parameters);
  EXPECT_NEAR(info.bits_per_weight, 16, 0.1);
}

TEST(InspectModel, DescribesASingleFileWithoutConfig) {
  mlxmill::testing::TempFolder temp;
  std::filesystem::copy(kSample / "model.safetensors", temp / "weights.safetensors");
  const ModelInfo info = *inspect_model(temp / "weights.safetensors");
  EXPECT_EQ(info.kind, "safetensors file");
  EXPECT_EQ(info.parameters, inspect_model(kSample)->parameters);
}

TEST(InspectModel, PassesErrorsOn) {
  mlxmill::testing::TempFolder temp;
  EXPECT_FALSE(inspect_model(temp.path()));
  EXPECT_FALSE(inspect_model(temp / "nothing"));
}

TEST(Families, ListsThemByName) {
  const auto all = *families();
  ASSERT_GE(all.size(), 11u);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_LT(all[i - 1].name, all[i].name);
}

}  // namespace
}  // namespace mlxmill

#include "hub/select_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace mlxmill::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

RemoteModel model(std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end());
  RemoteModel model;
  model.repo = "a/b";
  for (const std::string& path : paths) model.files.push_back({path, 1, std::string(40, '0'), ""});
  return model;
}

std::vector<std::string> paths(const std::vector<const RemoteFile*>& files) {
  std::vector<std::string> result;
  for (const RemoteFile* file : files) result.push_back(file->path);
  return result;
}

TEST(SelectFiles, SafetensorsComeBeforePyTorch) {
  const RemoteModel m = model({"config.json", "pytorch_model.bin", "model.safetensors",
                               "other.safetensors", "x/model.safetensors", "m.gguf"});
  const auto selection = select_files(m, "");
  EXPECT_THAT(paths(selection->weights), ElementsAre("model.safetensors"));
  EXPECT_THAT(paths(selection->small), ElementsAre("config.json"));
}

TEST(SelectFiles, AnIndexNamesTheWeights) {
  const RemoteModel m =
      model({"model.safetensors.index.json", "w1.safetensors", "model.safetensors"});
  auto selection = select_files(m, "");
  ASSERT_TRUE(selection->index);
  EXPECT_TRUE(select_indexed(m, R"({"weight_map": {"t": "w1.safetensors"}})", *selection));
  EXPECT_THAT(paths(selection->weights), ElementsAre("w1.safetensors"));
  const Status missing =
      select_indexed(m, R"({"weight_map": {"t": "w2.safetensors"}})", *selection);
  EXPECT_THAT(missing.error().message(), HasSubstr("which the repository lacks"));
}

TEST(SelectFiles, PyTorchWhereThereIsNothingElse) {
  const RemoteModel m = model({"pytorch_model-00001-of-00001.bin", "training_args.bin"});
  EXPECT_THAT(paths(select_files(m, "")->weights), ElementsAre("pytorch_model-00001-of-00001.bin"));
}

TEST(SelectFiles, GgufByWord) {
  const RemoteModel m = model({"m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "sub/m.Q8_0-00001-of-00002.gguf",
                               "sub/m.Q8_0-00002-of-00002.gguf", "mmproj-Q8_0.gguf"});
  EXPECT_THAT(paths(select_files(m, "q8_0")->weights),
              ElementsAre("sub/m.Q8_0-00001-of-00002.gguf", "sub/m.Q8_0-00002-of-00002.gguf"));
  EXPECT_EQ(select_files(m, "Q4_K_S")->gguf, "m-Q4_K_S.gguf");
  EXPECT_EQ(select_files(m, "Q4_K").error().code(), Code::kNotFound);
  EXPECT_EQ(select_files(m, "").error().code(), Code::kUsage);
}

TEST(SelectFiles, OtherWeightsAreNamed) {
  EXPECT_THAT(select_files(model({"config.json", "tf_model.h5"}), "").error().message(),
              HasSubstr(".h5"));
  EXPECT_THAT(select_files(model({"adapter_config.json", "adapter_model.safetensors"}), "")
                  .error()
                  .message(),
              HasSubstr("LoRA adapter"));
}

}  // namespace
}  // namespace mlxmill::hub

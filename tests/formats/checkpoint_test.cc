#include "formats/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/json.h"
#include "formats/test_files.h"
#include "python.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;
using ::mlxmill::testing::put;
using ::mlxmill::testing::replaced;
using ::mlxmill::testing::safetensors_bytes;
using ::mlxmill::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kIndex = "model.safetensors.index.json";

// A file of one tensor of four bytes.
std::string shard(const std::string& tensor) {
  return safetensors_bytes(
      R"({")" + tensor + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
}

std::string error_of(const TempFolder& folder, Code code) {
  const auto checkpoint = open_checkpoint(folder.path());
  if (checkpoint) return "no error";
  EXPECT_EQ(checkpoint.error().code(), code) << checkpoint.error().message();
  return replaced(checkpoint.error().message(), folder.path(), "DIR");
}

std::vector<std::string> shard_names(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const Shard& s : checkpoint.shards) names.push_back(s.name);
  return names;
}

TEST(Checkpoint, OpensOneFile) {
  const TempFolder folder;
  put(folder, "config.json", R"({"model_type": "llama"})");
  put(folder, "model.safetensors", shard("a"));
  put(folder, "consolidated.safetensors", shard("other"));
  const auto checkpoint = open_checkpoint(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_THAT(shard_names(*checkpoint), ElementsAre("model.safetensors"));
  ASSERT_EQ(checkpoint->tensors.size(), 1u);
  EXPECT_EQ(checkpoint->tensors[0].tensor.name, "a");
  EXPECT_EQ(checkpoint->weight_bytes, shard("a").size());
  EXPECT_EQ(*checkpoint->config.find("model_type")->as_string(), "llama");
  EXPECT_TRUE(checkpoint->shards[0].file.is_open());
}

TEST(Checkpoint, OpensShardsWithAndWithoutIndex) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  put(folder, "model-00002-of-00002.safetensors", shard("a"));
  put(folder, "model-00001-of-00002.safetensors", shard("b"));
  const auto check = [&] {
    const auto checkpoint = open_checkpoint(folder.path());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    EXPECT_THAT(shard_names(*checkpoint), ElementsAre("model-00001-of-00002.safetensors",
                                                      "model-00002-of-00002.safetensors"));
    EXPECT_EQ(checkpoint->tensors[1].tensor.name, "a");
    EXPECT_EQ(checkpoint->tensors[1].shard, 1u);
  };
  check();
  put(folder, kIndex, R"({"metadata": {"total_size": 8}, "weight_map": {
      "a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}})");
  check();
}

TEST(Checkpoint, OpensExactlyWhatTheIndexNames) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  put(folder, "model.safetensors", shard("a"));
  put(folder, "weights.00.safetensors", shard("b"));
  put(folder, kIndex, R"({"weight_map": {"b": "weights.00.safetensors"}})");
  const auto checkpoint = open_checkpoint(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_THAT(shard_names(*checkpoint), ElementsAre("weights.00.safetensors"));
}

TEST(Checkpoint, OpensHubSnapshots) {
  const TempFolder cache;
  const std::string blobs = "models--o--n/blobs/";
  const std::string snapshot = "models--o--n/snapshots/0123/";
  put(cache, blobs + "aa", shard("a"));
  put(cache, blobs + "cc", "{}");
  put(cache, blobs + "tt", "template");
  fs::create_directories(cache / (snapshot + "additional_chat_templates"));
  fs::create_symlink("../../blobs/aa", cache / (snapshot + "model.safetensors"));
  fs::create_symlink("../../blobs/cc", cache / (snapshot + "config.json"));
  fs::create_symlink("../../../blobs/tt",
                     cache / (snapshot + "additional_chat_templates/rag.jinja"));
  ASSERT_TRUE(open_checkpoint(cache / snapshot));
  EXPECT_THAT(*files_to_copy(cache / snapshot), ElementsAre("additional_chat_templates/rag.jinja"));

  // Blobs of another repository, and blobs that are themselves a link, are outside.
  put(cache, "models--o--other/blobs/bb", shard("b"));
  fs::remove(cache / (snapshot + "model.safetensors"));
  fs::create_symlink("../../../models--o--other/blobs/bb",
                     cache / (snapshot + "model.safetensors"));
  const auto other = open_checkpoint(cache / snapshot);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("is a link that leaves the folder, to"));
}

TEST(Checkpoint, FollowsLinksInsideTheFolderOnly) {
  const TempFolder folder;
  put(folder, "outside/secret.json", "{}");
  put(folder, "model/config.json", "{}");
  put(folder, "model/real.safetensors", shard("a"));
  fs::create_symlink("real.safetensors", folder / "model/model.safetensors");
  ASSERT_TRUE(open_checkpoint(folder / "model"));
  fs::create_symlink("../outside/secret.json", folder / "model/tokenizer.json");
  const auto names = files_to_copy(folder / "model");
  ASSERT_FALSE(names);
  EXPECT_EQ(replaced(names.error().message(), fs::canonical(folder.path()), "DIR"),
            "DIR/model/tokenizer.json: is a link that leaves the folder, to "
            "'DIR/outside/secret.json'; put the file itself into the folder");
  // The folder itself may be a link.
  fs::remove(folder / "model/tokenizer.json");
  fs::create_directory_symlink("model", folder / "alias");
  EXPECT_TRUE(open_checkpoint(folder / "alias"));
}

TEST(Checkpoint, RefusesWhatIsNoModelFolder) {
  const TempFolder folder;
  const auto absent = open_checkpoint(folder / "absent");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code(), Code::kNotFound);
  EXPECT_EQ(replaced(absent.error().message(), folder.path(), "DIR"), "DIR/absent: no such folder");
  const auto file = open_checkpoint(put(folder, "model.gguf", ""));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), Code::kInvalidInput);
  EXPECT_EQ(replaced(file.error().message(), folder.path(), "DIR"),
            "DIR/model.gguf: is a file; expected a model folder");
}

TEST(Checkpoint, NamesTheFirstOfManyMissingShards) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  put(folder, "model-00001-of-00163.safetensors", shard("a"));
  put(folder, "model-00003-of-00163.safetensors", shard("b"));
  EXPECT_EQ(error_of(folder, Code::kInvalidInput),
            "DIR: shard 2 of 163 is missing; incomplete download?");
}

TEST(Checkpoint, RefusesTheSameTensorTwiceWithoutIndex) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  put(folder, "model.safetensors", shard("a"));
  put(folder, "model-00001-of-00001.safetensors", shard("a"));
  EXPECT_EQ(
      error_of(folder, Code::kInvalidInput),
      "DIR: tensor 'a' is in both 'model-00001-of-00001.safetensors' and 'model.safetensors'; "
      "remove the shards that do not belong to the model");
}

TEST(Checkpoint, ListsTheFirstUnnamedTensors) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  std::string header = "{";
  for (int i = 0; i < 5; ++i) {
    const std::string n = std::to_string(i);
    header += "\"t" + n + "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[" + n + "," +
              std::to_string(i + 1) + "]}" + (i < 4 ? "," : "}");
  }
  put(folder, "model.safetensors", safetensors_bytes(header, 5));
  put(folder, kIndex, R"({"weight_map": {"t0": "model.safetensors"}})");
  EXPECT_EQ(error_of(folder, Code::kInvalidInput),
            "DIR/model.safetensors.index.json: does not name 4 of the tensors in its shards: 't1', "
            "'t2', 't3', ...");
}

TEST(Checkpoint, ExplainsOtherLayouts) {
  const TempFolder folder;
  EXPECT_EQ(error_of(folder, Code::kNotFound),
            "DIR: has no config.json; give a folder in Hugging Face layout");
  put(folder, "tf_model.h5", "");
  EXPECT_EQ(error_of(folder, Code::kUnsupported),
            "DIR: has only foreign weights: 'tf_model.h5'; safetensors weights are needed");
  put(folder, "consolidated.00.pth", "");
  put(folder, "training_args.bin", "");
  EXPECT_EQ(error_of(folder, Code::kUnsupported),
            "DIR: has only pickle weights: 'consolidated.00.pth'; those named pytorch_model*.bin "
            "beside a config.json are read");
  put(folder, "config.json", "{}");
  put(folder, "diffusion_pytorch_model.safetensors", shard("a"));
  EXPECT_EQ(
      error_of(folder, Code::kNotFound),
      "DIR: has no model*.safetensors; got 'diffusion_pytorch_model.safetensors'; an index or "
      "names like model.safetensors are needed");
  put(folder, "adapter_model.safetensors", shard("a"));
  EXPECT_THAT(error_of(folder, Code::kNotFound), HasSubstr("this is a LoRA adapter"));
}

TEST(LoadConfig, TakesOverATrueEosTokenId) {
  const TempFolder folder;
  put(folder, "config.json", R"({"eos_token_id": 1, "vocab_size": 3})");
  const auto eos = [&](std::string_view generation) {
    put(folder, "generation_config.json", generation);
    const auto config = load_config(folder.path());
    return config ? dump_json(*config, {.indent = -1}) : config.error().message();
  };
  EXPECT_EQ(eos(R"({"eos_token_id": [2, 3]})"), R"({"eos_token_id": [2, 3], "vocab_size": 3})");
  EXPECT_EQ(eos(R"({"eos_token_id": 2})"), R"({"eos_token_id": 2, "vocab_size": 3})");
  EXPECT_EQ(eos(R"({"eos_token_id": 2, "eos_token_id": 5})"),
            R"({"eos_token_id": 5, "vocab_size": 3})");
  for (const char* unused :
       {R"({"eos_token_id": 0})", R"({"eos_token_id": []})", R"({"eos_token_id": null})",
        R"({"eos_token_id": false})", R"({"eos_token_id": ""})", R"({"eos_token_id": 0.0})",
        R"({"eos_token_id": {}})", "{}", "not json", ""}) {
    EXPECT_EQ(eos(unused), R"({"eos_token_id": 1, "vocab_size": 3})") << unused;
  }
  EXPECT_EQ(dump_json(*read_config(folder.path()), {.indent = -1}),
            R"({"eos_token_id": 1, "vocab_size": 3})");
}

TEST(FilesToCopy, TakesWhatBelongsToTheModelAndNothingElse) {
  const TempFolder folder;
  const std::vector<std::string> taken = {"LICENSE",
                                          "LICENSE.md",
                                          "MODEL_LICENSE.txt",
                                          "Notice.txt",
                                          "USE_POLICY.md",
                                          "added_tokens.json",
                                          "additional_chat_templates/rag.jinja",
                                          "additional_chat_templates/sub/tool.jinja",
                                          "chat_template.jinja",
                                          "chat_template.json",
                                          "configuration_chat.py",
                                          "generation_config.json",
                                          "merges.txt",
                                          "modeling_chat.py",
                                          "preprocessor_config.json",
                                          "processor_config.json",
                                          "qwen.tiktoken",
                                          "special_tokens_map.json",
                                          "tekken.json",
                                          "tokenizer.json",
                                          "tokenizer.model",
                                          "tokenizer.model.v3",
                                          "tokenizer_config.json",
                                          "video_preprocessor_config.json",
                                          "vocab.json",
                                          "vocab.txt"};
  for (const std::string& name : taken) put(folder, name, "x");
  for (const char* name : {"config.json",
                           "README.md",
                           "model.safetensors",
                           "model.safetensors.index.json",
                           "pytorch_model.bin",
                           "pytorch_model.bin.index.json",
                           "x.pt",
                           "x.pth",
                           "x.gguf",
                           "tf_model.h5",
                           "flax_model.msgpack",
                           "model.onnx",
                           "rust_model.ot",
                           "optimizer.pt",
                           "scheduler.pt",
                           "rng_state.pth",
                           "trainer_state.json",
                           "training_args.bin",
                           "training_args.json",
                           "events.out.tfevents.1",
                           "quantize_config.json",
                           "quant_config.json",
                           "hf_quant_config.json",
                           "params.json",
                           "adapter_config.json",
                           ".gitattributes",
                           ".hidden.json",
                           "logo.png",
                           "logo.jpg",
                           "diagram.svg",
                           "mlxmill.json",
                           "LICENSE.png",
                           "original/tokenizer.model",
                           "onnx/tokenizer.json",
                           "additional_chat_templates/.hidden.jinja",
                           "additional_chat_templates/x.bin"}) {
    put(folder, name, "x");
  }
  EXPECT_EQ(*files_to_copy(folder.path()), taken);
}

TEST(FilesToCopy, DoesNotFollowATemplateFolderThatIsALink) {
  const TempFolder folder;
  put(folder, "outside/x.jinja", "x");
  fs::create_directories(folder / "model");
  fs::create_directory_symlink("../outside", folder / "model/additional_chat_templates");
  EXPECT_THAT(*files_to_copy(folder / "model"), ElementsAre());
}

// Real checkpoints of many families, where they are.
TEST(Checkpoint, OpensRealCheckpoints) {
  const fs::path shared = MLXMILL_SOURCE_DIR "/../shared/checkpoints";
  const auto sample = open_checkpoint(MLXMILL_SOURCE_DIR "/models/sample-llama");
  ASSERT_TRUE(sample) << sample.error().message();
  if (!fs::is_directory(shared)) GTEST_SKIP() << "no " << shared;
  for (const auto& entry : fs::directory_iterator(shared)) {
    if (!entry.is_directory()) continue;
    const auto checkpoint = open_checkpoint(entry.path());
    EXPECT_TRUE(checkpoint) << checkpoint.error().message();
    EXPECT_TRUE(files_to_copy(entry.path()));
  }
}

}  // namespace
}  // namespace mlxmill::formats

// A tiny model as PyTorch files and as safetensors: the same output, byte for byte.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "formats/test_files.h"
#include "formats/torch_bytes.h"
#include "mlxmill/convert.h"
#include "mlxmill/inspect.h"

namespace mlxmill {
namespace {

namespace fs = std::filesystem;
using namespace mlxmill::testing;

constexpr std::int64_t kSize = 32;

std::string config(bool tied) {
  return std::string(R"({"model_type": "llama", "hidden_size": 32, "head_dim": 32,
      "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 32,
      "num_hidden_layers": 1, "vocab_size": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
      "max_position_embeddings": 64, "torch_dtype": "bfloat16", "tie_word_embeddings": )") +
         (tied ? "true}" : "false}");
}

/// BF16 numbers around one, others for each seed.
std::string numbers(std::int64_t n, std::int64_t seed) {
  std::string bytes;
  for (std::int64_t i = 0; i < n; ++i)
    bytes += le(0x3F00 + static_cast<std::uint64_t>((i * 31 + seed * 57) % 251), 2);
  return bytes;
}

std::string turned(const std::string& matrix) {
  std::string bytes;
  for (std::size_t c = 0; c < kSize; ++c) {
    for (std::size_t r = 0; r < kSize; ++r) bytes += matrix.substr((r * kSize + c) * 2, 2);
  }
  return bytes;
}

/// The tensors of the model by name; matrices are kSize x kSize.
std::map<std::string, std::string> model(std::int64_t seed = 0) {
  const std::string layer = "model.layers.0.";
  std::map<std::string, std::string> tensors;
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                           "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    tensors[layer + name + ".weight"] = numbers(kSize * kSize, ++seed);
  }
  for (const std::string& name :
       {layer + "input_layernorm.weight", layer + "post_attention_layernorm.weight",
        std::string("model.norm.weight")}) {
    tensors[name] = numbers(kSize, ++seed);
  }
  tensors["model.embed_tokens.weight"] = numbers(kSize * kSize, ++seed);
  return tensors;
}

std::vector<std::int64_t> shape_of(const std::string& data) {
  if (data.size() == kSize * 2) return {kSize};
  return {kSize, kSize};
}

std::string safetensors(const std::map<std::string, std::string>& tensors) {
  std::string header;
  std::string data;
  for (const auto& [name, bytes] : tensors) {
    const bool vector = shape_of(bytes).size() == 1;
    header += (header.empty() ? "{" : ",") + ("\"" + name) + R"(":{"dtype":"BF16","shape":)" +
              (vector ? "[32]" : "[32,32]") + ",\"data_offsets\":[" + std::to_string(data.size()) +
              "," + std::to_string(data.size() + bytes.size()) + "]}";
    data += bytes;
  }
  header += "}";
  return length_word(header.size()) + header + data;
}

/// A tensor over a storage of BF16.
std::string tensor(std::size_t storage, std::int64_t n, std::int64_t offset,
                   const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides) {
  return py_tensor(py_storage(std::to_string(storage), n, "BFloat16Storage"), offset, shape,
                   strides);
}

/// One file: a storage for each tensor; lm_head is a second window over the embeddings' storage.
std::string torch_file(const std::map<std::string, std::string>& tensors) {
  std::vector<std::string> items;
  std::vector<std::string> storages;
  for (const auto& [name, bytes] : tensors) {
    const auto n = static_cast<std::int64_t>(bytes.size() / 2);
    const auto strides =
        n == kSize ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{kSize, 1};
    const std::string made = tensor(storages.size(), n, 0, shape_of(bytes), strides);
    items.insert(items.end(), {py_str(name), made});
    if (name == "model.embed_tokens.weight")
      items.insert(items.end(), {py_str("lm_head.weight"), made});
    storages.push_back(bytes);
  }
  return torch_zip(py_pickle(py_dict(items)), storages);
}

/// The weights of a conversion, or its error.
std::string converted(const fs::path& source, const fs::path& output, bool quantize) {
  ConvertOptions options;
  options.source = source;
  options.output = output;
  options.quantize = quantize;
  if (quantize) options.group_size = 32;
  const auto report = convert_model(options);
  if (!report) return report.error().message();
  return read_file(output / "model.safetensors");
}

TEST(TorchModel, GivesWhatSafetensorsGive) {
  for (const bool tied : {true, false}) {
    const TempFolder temp;
    put(temp, "torch/config.json", config(tied));
    put(temp, "torch/pytorch_model.bin", torch_file(model()));
    auto tensors = model();
    put(temp, "plain/config.json", config(tied));
    if (!tied) tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
    put(temp, "plain/model.safetensors", safetensors(tensors));
    for (const bool quantize : {false, true}) {
      const std::string run = quantize ? "4" : "16";
      const std::string want = converted(temp / "plain", temp / ("a" + run), quantize);
      EXPECT_GT(want.size(), quantize ? 5000u : 17000u) << want;
      EXPECT_TRUE(converted(temp / "torch", temp / ("b" + run), quantize) == want)
          << "tied " << tied << ", quantized " << quantize;
    }
  }
}

TEST(TorchModel, WindowsOverOneStorageAreTakenApart) {
  // Queries, keys and values one after the other; the output projection the other way round.
  const TempFolder temp;
  const std::string layer = "model.layers.0.self_attn.";
  auto rest = model();
  std::string joint;
  std::vector<std::string> items;
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    const auto offset = static_cast<std::int64_t>(joint.size() / 2);
    items.insert(items.end(), {py_str(layer + name + ".weight"),
                               tensor(0, 3 * kSize * kSize, offset, {kSize, kSize}, {kSize, 1})});
    joint += rest[layer + name + ".weight"];
    rest.erase(layer + name + ".weight");
  }
  std::vector<std::string> storages = {joint, turned(rest[layer + "o_proj.weight"])};
  items.insert(items.end(), {py_str(layer + "o_proj.weight"),
                             tensor(1, kSize * kSize, 0, {kSize, kSize}, {1, kSize})});
  rest.erase(layer + "o_proj.weight");
  put(temp, "torch/config.json", config(true));
  put(temp, "torch/pytorch_model-00001-of-00002.bin",
      torch_zip(py_pickle(py_dict(items)), storages));
  put(temp, "torch/pytorch_model-00002-of-00002.bin", torch_file(rest));
  put(temp, "plain/config.json", config(true));
  put(temp, "plain/model.safetensors", safetensors(model()));
  const std::string want = converted(temp / "plain", temp / "a", false);
  EXPECT_GT(want.size(), 17000u) << want;
  EXPECT_TRUE(converted(temp / "torch", temp / "b", false) == want);
}

TEST(TorchModel, SafetensorsComeFirst) {
  const TempFolder temp;
  put(temp, "both/config.json", config(true));
  put(temp, "both/model.safetensors", safetensors(model()));
  put(temp, "both/pytorch_model.bin", torch_file(model(100)));
  put(temp, "other/config.json", config(true));
  put(temp, "other/pytorch_model.bin", torch_file(model(100)));
  put(temp, "plain/config.json", config(true));
  put(temp, "plain/model.safetensors", safetensors(model()));
  const std::string want = converted(temp / "plain", temp / "a", false);
  EXPECT_TRUE(converted(temp / "both", temp / "b", false) == want);
  EXPECT_FALSE(converted(temp / "other", temp / "c", false) == want);
  // Not even opened: a program in the pickle would be refused.
  put(temp, "both/pytorch_model.bin",
      "\x80\x02"
      "cos\nsystem\n(S'true'\ntR.");
  EXPECT_TRUE(converted(temp / "both", temp / "d", false) == want);
  EXPECT_FALSE(fs::exists(temp / "d/pytorch_model.bin"));
}

TEST(TorchModel, AMissingShardIsNamed) {
  const TempFolder temp;
  put(temp, "m/config.json", config(true));
  put(temp, "m/pytorch_model-00002-of-00002.bin", torch_file(model()));
  EXPECT_EQ(replaced(converted(temp / "m", temp / "a", false), temp.path(), "TEMP"),
            "TEMP/m: shard 1 of 2 is missing; incomplete download?");
  fs::remove(temp / "m/pytorch_model-00002-of-00002.bin");
  put(temp, "m/pytorch_model.bin",
      "\x80\x02"
      "cos\nsystem\n(S'true'\ntR.");
  EXPECT_EQ(replaced(converted(temp / "m", temp / "a", false), temp.path(), "TEMP"),
            "TEMP/m/pytorch_model.bin: the first pickle at 0: byte 2: the pickle asks for 'os "
            "system', which is no tensor; nothing was executed");
}

}  // namespace
}  // namespace mlxmill

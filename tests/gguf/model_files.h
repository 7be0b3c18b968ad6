// GGUF files of small models, opened.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formats/gguf.h"
#include "formats/gguf_files.h"
#include "gguf/import.h"
#include "temp_folder.h"
#include "tensors/view.h"

namespace mlxmill::gguf::test {

namespace files = mlxmill::testing;

inline std::string texts(const std::vector<std::string>& list) {
  std::string elements;
  for (const std::string& item : list) elements += files::text(item);
  return files::array(files::kString, list.size(), elements);
}
inline std::string ints(const std::vector<int>& list) {
  std::string elements;
  for (const int item : list) elements += files::u32(static_cast<std::uint32_t>(item));
  return files::array(files::kI32, list.size(), elements);
}
inline std::string floats(const std::vector<float>& list) {
  std::string elements;
  for (const float item : list) elements += files::f32(item);
  return files::array(files::kF32, list.size(), elements);
}

/// Keys and tensors of a file; a key can be replaced or left out.
class ModelFile {
 public:
  explicit ModelFile(std::string architecture) : architecture_(std::move(architecture)) {
    set("general.architecture", files::kString, files::text(architecture_));
    own("block_count", files::kU32, files::u32(1));
    own("context_length", files::kU32, files::u32(64));
    own("embedding_length", files::kU32, files::u32(8));
    own("feed_forward_length", files::kU32, files::u32(16));
    own("attention.head_count", files::kU32, files::u32(2));
    own("attention.head_count_kv", files::kU32, files::u32(1));
    own("attention.layer_norm_rms_epsilon", files::kF32, files::f32(1e-5f));
  }

  ModelFile& set(const std::string& key, std::uint32_t type, const std::string& value) {
    if (values_.find(key) == values_.end()) keys_.push_back(key);
    values_[key] = {type, value};
    return *this;
  }
  ModelFile& own(const std::string& key, std::uint32_t type, const std::string& value) {
    return set(architecture_ + "." + key, type, value);
  }
  ModelFile& without(const std::string& key) {
    std::erase(keys_, key);
    values_.erase(key);
    return *this;
  }
  /// A tensor of F32, extents outermost first.
  ModelFile& tensor(std::string name, std::vector<std::uint64_t> shape,
                    std::vector<float> values = {}) {
    std::uint64_t n = 1;
    for (const std::uint64_t extent : shape) n *= extent;
    values.resize(n);
    tensors_.push_back({std::move(name), std::move(shape), std::move(values)});
    return *this;
  }
  /// The tensors of a model of Llama's kind with `rows` tokens.
  ModelFile& llama_tensors(std::uint64_t rows) {
    tensor("token_embd.weight", {rows, 8}).tensor("output_norm.weight", {8});
    tensor("blk.0.attn_norm.weight", {8}).tensor("blk.0.ffn_norm.weight", {8});
    tensor("blk.0.attn_q.weight", {8, 8}).tensor("blk.0.attn_k.weight", {4, 8});
    tensor("blk.0.attn_v.weight", {4, 8}).tensor("blk.0.attn_output.weight", {8, 8});
    tensor("blk.0.ffn_gate.weight", {16, 8}).tensor("blk.0.ffn_up.weight", {16, 8});
    return tensor("blk.0.ffn_down.weight", {8, 16});
  }
  /// A byte-level vocabulary of five tokens.
  ModelFile& tokenizer() {
    set("tokenizer.ggml.model", files::kString, files::text("gpt2"));
    set("tokenizer.ggml.pre", files::kString, files::text("gpt-2"));
    set("tokenizer.ggml.tokens", files::kArray, texts({"a", "b", "ab", "<|im_end|>", "<|end|>"}));
    set("tokenizer.ggml.token_type", files::kArray, ints({1, 1, 1, 3, 3}));
    set("tokenizer.ggml.merges", files::kArray, texts({"a b"}));
    return set("tokenizer.ggml.eos_token_id", files::kU32, files::u32(4));
  }
  /// The same of SentencePiece.
  ModelFile& sentence_piece() {
    set("tokenizer.ggml.model", files::kString, files::text("llama"));
    set("tokenizer.ggml.tokens", files::kArray, texts({"<unk>", "<s>", "a", "b", "ab"}));
    set("tokenizer.ggml.scores", files::kArray, floats({0, 0, -3, -2, -1}));
    return set("tokenizer.ggml.token_type", files::kArray, ints({2, 3, 1, 1, 1}));
  }

  formats::GgufModel open() const {
    files::GgufFile file;
    for (const std::string& key : keys_) {
      const auto& [type, value] = values_.at(key);
      file.pair(key, type, value);
    }
    for (const Tensor& tensor : tensors_) {
      while (file.data.size() % 32 != 0) file.data += '\0';
      file.tensor(tensor.name, {tensor.shape.rbegin(), tensor.shape.rend()}, 0, file.data.size());
      for (const float value : tensor.values) file.data += files::f32(value);
    }
    while (file.data.size() % 32 != 0) file.data += '\0';
    files::write_file(*temp_ / "model.gguf", file.bytes());
    auto model = formats::open_gguf(*temp_ / "model.gguf");
    EXPECT_TRUE(model) << model.error().message();
    return *std::move(model);
  }

  static std::vector<tensors::TensorView> views(const formats::GgufModel& model) {
    std::vector<tensors::TensorView> result;
    for (const formats::GgufModelTensor& entry : model.tensors) {
      const SourceTensor source{entry.tensor.name, DType::kF32, entry.tensor.shape};
      result.push_back(*tensors::view_of(source, result.size()));
    }
    return result;
  }

  Result<ImportedModel> import() const {
    const formats::GgufModel model = open();
    return import_gguf(model, views(model));
  }

 private:
  using SourceTensor = tensors::SourceTensor;
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::vector<float> values;
  };

  std::shared_ptr<files::TempFolder> temp_ = std::make_shared<files::TempFolder>();
  std::string architecture_;
  std::vector<std::string> keys_;
  std::map<std::string, std::pair<std::uint32_t, std::string>> values_;
  std::vector<Tensor> tensors_;
};

inline ModelFile llama() {
  ModelFile file("llama");
  file.llama_tensors(5);
  return file;
}

/// The text of a file of the model; empty when there is none.
inline std::string file_text(const ImportedModel& model, const std::string& name) {
  for (const auto& [file, text] : model.files) {
    if (file == name) return text;
  }
  return {};
}

}  // namespace mlxmill::gguf::test

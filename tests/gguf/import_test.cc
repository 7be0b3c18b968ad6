#include "gguf/import.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "architectures/declaration.h"
#include "formats/json.h"
#include "gguf/built_in.h"
#include "gguf/rope.h"
#include "model_files.h"
#include "tensors/operation.h"

namespace mlxmill::gguf {
namespace {

using test::llama;
using test::ModelFile;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
namespace files = mlxmill::testing;

const tensors::TensorView* find(const ImportedModel& model, std::string_view name) {
  for (const tensors::TensorView& view : model.tensors) {
    if (view.name == name) return &view;
  }
  return nullptr;
}

void add_offsets(const tensors::Piece& piece, std::size_t axis, std::int64_t at,
                 std::vector<std::int64_t>& out) {
  if (axis == piece.shape.size()) {
    out.push_back(at);
    return;
  }
  for (std::int64_t i = 0; i < piece.shape[axis]; ++i) {
    add_offsets(piece, axis + 1, at + i * piece.strides[axis], out);
  }
}

/// Where the elements of a view lie in its source.
std::vector<std::int64_t> offsets(const tensors::TensorView& view) {
  std::vector<std::int64_t> result;
  for (const tensors::Piece& piece : view.pieces) {
    std::vector<std::int64_t> own;
    add_offsets(piece, 0, piece.offset, own);
    // What only rearranges computes nothing but gathered copies.
    if (piece.computed) {
      const std::vector<std::int64_t> inner = offsets(piece.computed->inputs[0]);
      for (std::int64_t& at : own) at = inner.at(static_cast<std::size_t>(at));
    }
    result.insert(result.end(), own.begin(), own.end());
  }
  return result;
}

TEST(Families, EveryFileParses) {
  for (const BuiltInFile& file : built_in_files()) {
    const auto declaration = architectures::Declaration::parse(file.text, file.name);
    EXPECT_TRUE(declaration) << declaration.error().message();
  }
  EXPECT_THAT(importable_architectures(),
              IsSupersetOf({"llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma", "gemma2",
                            "gemma3", "phi3", "gpt2"}));
}

TEST(Import, MakesAConfigOfTheMetadata) {
  const auto model = llama().import();
  ASSERT_TRUE(model) << model.error().message();
  const base::Value& config = model->config;
  EXPECT_EQ(*config.find("model_type"), base::Value("llama"));
  EXPECT_EQ(*config.find("hidden_size"), base::Value(8));
  EXPECT_EQ(*config.find("vocab_size"), base::Value(5));
  EXPECT_EQ(*config.find("head_dim"), base::Value(4));
  EXPECT_EQ(*config.find("tie_word_embeddings"), base::Value(true));
  EXPECT_EQ(*config.find("torch_dtype"), base::Value("float32"));
  EXPECT_TRUE(config.find("rope_scaling")->is_null());
  // The shortest decimal of the F32, not its double.
  EXPECT_EQ(formats::python_float(*config.find("rms_norm_eps")->as_float()), "1e-05");
  const auto catalogue = architectures::Catalogue::built_in();
  const auto choice = catalogue->choose(config, model->tensors);
  ASSERT_TRUE(choice) << choice.error().message();
  EXPECT_EQ(choice->declaration.family(), "llama");
}

TEST(Import, PutsTheRowsOfQAndKBack) {
  const auto model = llama().import();
  ASSERT_TRUE(model);
  const auto* q = find(*model, "model.layers.0.self_attn.q_proj.weight");
  ASSERT_NE(q, nullptr);
  std::vector<std::int64_t> expected;
  // Two heads of four rows: row 2 * i + s of a head is row s * 2 + i.
  for (const std::int64_t row : {0, 2, 1, 3, 4, 6, 5, 7}) {
    for (std::int64_t column = 0; column < 8; ++column) expected.push_back(row * 8 + column);
  }
  EXPECT_EQ(offsets(*q), expected);
}

TEST(Import, KeepsCodesWhereRowsMove) {
  const formats::GgufModel file = llama().open();
  std::vector<tensors::TensorView> views = ModelFile::views(file);
  std::size_t n_packed = 0;
  for (std::size_t i = 0; i < views.size(); ++i) {
    if (views[i].shape.size() != 2) continue;
    // Rows of eight are shorter than any group; the shapes need not fit the file for this.
    const std::int64_t rows = views[i].shape[0];
    tensors::Packed packed(Scheme{Mode::kAffine, 4, 32},
                           *tensors::view_of({"codes", DType::kU32, {rows, 4}}, i),
                           *tensors::view_of({"scales", DType::kF16, {rows, 1}}, i),
                           *tensors::view_of({"biases", DType::kF16, {rows, 1}}, i));
    views[i] = tensors::packed_view(views[i].name, std::move(packed), DType::kF16);
    ++n_packed;
  }
  const auto model = import_gguf(file, views);
  ASSERT_TRUE(model) << model.error().message();
  for (const tensors::TensorView& view : model->tensors) {
    if (view.shape.size() == 2) {
      EXPECT_TRUE(view.packed) << view.name;
      n_packed -= view.packed != nullptr;
    }
  }
  EXPECT_EQ(n_packed, 0u);
  EXPECT_EQ(*model->config.find("torch_dtype"), base::Value("float16"));
}

TEST(Import, FindsTheScalingOfLlama3) {
  // Dimension 4, base 10000: wave lengths 6.28 and 628; the second lies beyond the original
  // context, so it is scaled in full.
  const auto scaled = [](std::vector<float> factors) {
    ModelFile file = llama();
    file.own("rope.freq_base", files::kF32, files::f32(10000));
    file.tensor("rope_freqs.weight", {factors.size()}, factors);
    return file.import();
  };
  const auto model = scaled({1, 32});
  ASSERT_TRUE(model) << model.error().message();
  const base::Value* scaling = model->config.find("rope_scaling");
  ASSERT_TRUE(scaling && scaling->as_object());
  EXPECT_EQ(*scaling->find("rope_type"), base::Value("llama3"));
  EXPECT_EQ(*scaling->find("factor"), base::Value(32.0));
  EXPECT_EQ(find(*model, "rope_freqs.weight"), nullptr);
  const auto wrong = scaled({3, 7});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Code::kUnsupported);
  EXPECT_THAT(wrong.error().message(), HasSubstr("rope_freqs.weight"));
  const auto none = scaled({1, 1});
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->config.find("rope_scaling")->is_null());
}

TEST(Import, NamesTheArchitecturesThatItKnows) {
  ModelFile file("perceptron");
  file.llama_tensors(5);
  const auto model = file.import();
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kUnsupported);
  EXPECT_THAT(model.error().message(), HasSubstr("perceptron"));
  EXPECT_THAT(model.error().message(), HasSubstr("gemma3n, gemma4"));
  // The file of what they share is no architecture.
  ModelFile common("common");
  EXPECT_FALSE(common.llama_tensors(5).import());
}

struct Wrong {
  const char* what;
  void (*make)(ModelFile& file);
  const char* message;
};

void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.what; }

class WrongMetadata : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongMetadata, IsAnErrorThatNamesIt) {
  ModelFile file = llama();
  file.tokenizer();
  GetParam().make(file);
  const auto model = file.import();
  ASSERT_FALSE(model) << GetParam().what;
  EXPECT_THAT(model.error().message(), HasSubstr(GetParam().message));
}

const Wrong kWrong[] = {
    {"text for a count",
     [](ModelFile& f) { f.own("block_count", files::kString, files::text("1")); },
     "\"llama.block_count\": expected an integer, got a string"},
    {"an absurd count",
     [](ModelFile& f) { f.own("attention.head_count", files::kU64, files::u64(1ull << 60)); },
     "\"llama.attention.head_count\": it is 1152921504606846976"},
    {"a negative count",
     [](ModelFile& f) { f.own("embedding_length", files::kI32, files::u32(0xFFFFFFF0)); },
     "\"llama.embedding_length\": it is -16"},
    {"more than 64 bits",
     [](ModelFile& f) { f.own("context_length", files::kU64, files::u64(~0ull)); },
     "\"llama.context_length\": expected an integer"},
    {"text for a number",
     [](ModelFile& f) { f.own("rope.freq_base", files::kString, files::text("x")); },
     "\"llama.rope.freq_base\": expected a number"},
    {"a number that is none",
     [](ModelFile& f) {
       f.own("attention.layer_norm_rms_epsilon", files::kF32, files::u32(0x7FC00000));
     },
     "it is not finite"},
    {"no heads", [](ModelFile& f) { f.without("llama.attention.head_count"); }, "head_count"},
    {"no heads at all",
     [](ModelFile& f) { f.own("attention.head_count", files::kU32, files::u32(0)); }, "zero"},
    {"no layers", [](ModelFile& f) { f.without("llama.block_count"); }, "block_count"},
    {"an architecture that is a number",
     [](ModelFile& f) { f.set("general.architecture", files::kU32, files::u32(3)); },
     "general.architecture"},
    {"tokens that are numbers",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.tokens", files::kArray, test::ints({1, 2}));
     },
     "tokenizer.ggml.tokens"},
    {"one text for tokens",
     [](ModelFile& f) { f.set("tokenizer.ggml.tokens", files::kString, files::text("a")); },
     "expected a list, got a string"},
    {"no tokens",
     [](ModelFile& f) { f.set("tokenizer.ggml.tokens", files::kArray, test::texts({})); },
     "there are no tokens"},
    {"more tokens than rows",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.tokens", files::kArray, test::texts({"a", "b", "ab", "c", "d", "e"}));
       f.set("tokenizer.ggml.token_type", files::kArray, test::ints({1, 1, 1, 1, 1, 1}));
     },
     "there are 6 tokens, but the embedding has 5 rows"},
    {"a token that is no text",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.tokens", files::kArray,
             test::texts({"a", "b", "ab", "\xC3(", "\xF0\x9F"}));
     },
     "number 3 is"},
    {"types of other tokens",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.token_type", files::kArray, test::ints({1, 1}));
     },
     "it has 2 entries; expected one for each of 5 tokens"},
    {"a type that is none",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.token_type", files::kArray, test::ints({1, 1, 1, 3, 7}));
     },
     "token 4 is of no known type"},
    {"an id past the tokens",
     [](ModelFile& f) { f.set("tokenizer.ggml.bos_token_id", files::kU32, files::u32(5)); },
     "it is 5; there are 5 tokens"},
    {"an id that is a text",
     [](ModelFile& f) { f.set("tokenizer.ggml.eos_token_id", files::kString, files::text("4")); },
     "\"tokenizer.ggml.eos_token_id\": expected an integer"},
    {"a merge of nothing",
     [](ModelFile& f) {
       f.set("tokenizer.ggml.merges", files::kArray, test::texts({"a b", "ab"}));
     },
     "number 1 is \"ab\", which is no pair"},
    {"a merge that ends early",
     [](ModelFile& f) { f.set("tokenizer.ggml.merges", files::kArray, test::texts({"a "})); },
     "which is no pair"},
    {"an empty merge",
     [](ModelFile& f) { f.set("tokenizer.ggml.merges", files::kArray, test::texts({""})); },
     "which is no pair"},
    {"a merge of no token",
     [](ModelFile& f) { f.set("tokenizer.ggml.merges", files::kArray, test::texts({"b a"})); },
     "of which a part or the whole is no token"},
    {"a flag that is a number",
     [](ModelFile& f) { f.set("tokenizer.ggml.add_bos_token", files::kU32, files::u32(1)); },
     "expected a boolean"},
    {"a template that is a list",
     [](ModelFile& f) { f.set("tokenizer.chat_template", files::kArray, test::texts({"x"})); },
     "\"tokenizer.chat_template\": expected UTF-8 text, got an array"},
    {"a template of bytes",
     [](ModelFile& f) { f.set("tokenizer.chat_template", files::kString, files::text("\xFF")); },
     "got other bytes"},
    {"a tokenizer.json that is none",
     [](ModelFile& f) {
       f.set("tokenizer.huggingface.json", files::kString, files::text("{\"model\": "));
     },
     "expected the text of a tokenizer.json"},
    {"a score that is none",
     [](ModelFile& f) {
       f.sentence_piece().set("tokenizer.ggml.scores", files::kArray, test::ints({0, 0, 1, 2, 3}));
     },
     "the score of token 0 is no number"},
};

INSTANTIATE_TEST_SUITE_P(All, WrongMetadata, ::testing::ValuesIn(kWrong));

TEST(Import, SurvivesKeysThatAreBothValueAndObject) {
  ModelFile file = llama();
  file.own("rope", files::kU32, files::u32(1));
  file.own("rope.freq_base", files::kF32, files::f32(5));
  file.own("a.b.c.d.e.f.g.h.i.j.k", files::kU32, files::u32(1));
  file.own("", files::kU32, files::u32(1));
  const auto model = file.import();
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(*model->config.find("rope_theta"), base::Value(5.0));
}

TEST(Import, RefusesMoreKeysThanAModelHas) {
  ModelFile file = llama();
  for (int i = 0; i < 1100; ++i) {
    file.own("x" + std::to_string(i), files::kU32, files::u32(1));
  }
  const auto model = file.import();
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(), HasSubstr("more than 1024 keys"));
}

TEST(Import, FoldsFactorsOfWholeTensors) {
  ModelFile file = llama();
  file.tensor("blk.0.ffn_up.scale", {1});
  file.tensor("blk.0.ffn_up.input_scale", {1});
  const auto model = file.import();
  ASSERT_TRUE(model) << model.error().message();
  const auto* up = find(*model, "model.layers.0.mlp.up_proj.weight");
  ASSERT_NE(up, nullptr);
  EXPECT_THAT(tensors::describe(*up), HasSubstr("multiply by"));
  EXPECT_EQ(find(*model, "blk.0.ffn_up.scale"), nullptr);
  file.tensor("blk.0.other.scale", {1});
  const auto lonely = file.import();
  ASSERT_FALSE(lonely);
  EXPECT_THAT(lonely.error().message(),
              HasSubstr("tensor \"blk.0.other.scale\": there is no tensor "
                        "\"blk.0.other.weight\" to multiply"));
}

TEST(Rope, FindsFrequenciesThatAreNotTurned) {
  EXPECT_EQ(turned_frequencies(std::vector<float>{1, 1, 1e30f, 1e30f, 1e30f}), 2);
  EXPECT_EQ(turned_frequencies(std::vector<float>{1e30f}), 0);
  EXPECT_FALSE(turned_frequencies(std::vector<float>{1, 1}));
  EXPECT_FALSE(turned_frequencies(std::vector<float>{1, 1e30f, 1}));
  EXPECT_FALSE(turned_frequencies(std::vector<float>{}));
}

TEST(Import, NamesFilesThatHoldNoLanguageModel) {
  const auto message = [](const char* architecture, const char* type) {
    ModelFile file(architecture);
    if (type) file.set("general.type", files::kString, files::text(type));
    file.llama_tensors(5);
    const auto model = file.import();
    EXPECT_FALSE(model);
    return model ? std::string() : model.error().message() + model.error().hint();
  };
  EXPECT_THAT(
      message("clip", nullptr),
      HasSubstr("the file holds an encoder of images or sound (mmproj), no language model"));
  EXPECT_THAT(message("llama", "mmproj"), HasSubstr("(mmproj)"));
  EXPECT_THAT(message("llama", "adapter"), HasSubstr("the file holds a LoRA adapter"));
  EXPECT_THAT(message("llama", "vocab"), HasSubstr("the file holds a vocabulary"));
  EXPECT_THAT(message("imatrix", nullptr), HasSubstr("give the file of the language model"));
}

TEST(Import, KnowsWhatItsArchitecturesBecome) {
  const auto catalogue = architectures::Catalogue::built_in();
  std::set<std::string> known;
  for (const architectures::Declaration& d : catalogue->declarations())
    known.insert(d.model_types().begin(), d.model_types().end());
  for (const Importable& model : importable_models()) {
    EXPECT_FALSE(model.model_types.empty()) << model.architecture;
    const auto found = std::find_if(model.model_types.begin(), model.model_types.end(),
                                    [&](const std::string& type) { return known.contains(type); });
    EXPECT_NE(found, model.model_types.end()) << model.architecture;
  }
}

// Counts of layers that no file could hold: an answer at once, from every architecture.
TEST(Import, SurvivesAbsurdNumbersInEveryArchitecture) {
  const auto catalogue = architectures::Catalogue::built_in();
  for (const std::string& architecture : importable_architectures()) {
    for (const std::uint32_t absurd : {0u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
      ModelFile file(architecture);
      file.llama_tensors(5);
      file.own("block_count", files::kU32, files::u32(absurd));
      file.own("attention.head_count", files::kU32, files::u32(absurd));
      file.own("ssm.time_step_rank", files::kU32, files::u32(absurd));
      file.own("expert_count", files::kU32, files::u32(absurd));
      file.own("nextn_predict_layers", files::kU32, files::u32(absurd));
      const auto model = file.import();
      if (!model) {
        EXPECT_FALSE(model.error().message().empty());
        continue;
      }
      EXPECT_FALSE(catalogue->choose(model->config, model->tensors)) << architecture;
    }
  }
}

TEST(Import, RefusesAFileWithoutAnEmbedding) {
  ModelFile file("llama");
  file.tensor("blk.0.attn_q.weight", {8, 8});
  const auto model = file.import();
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(), HasSubstr("token_embd.weight"));
}

}  // namespace
}  // namespace mlxmill::gguf

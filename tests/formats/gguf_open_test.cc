#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "formats/gguf.h"
#include "formats/gguf_files.h"
#include "formats/json.h"
#include "formats/test_files.h"
#include "python.h"

namespace mlxmill::formats {
namespace {

using namespace testing;  // The builders of mlxmill::testing.

constexpr std::uint32_t kFileTypeQ4_0 = 2;

// Parts of a split model: `count` files, one tensor each.
GgufFile part(std::uint32_t number, std::uint32_t count, std::string_view tensor,
              std::uint32_t total) {
  GgufFile file;
  if (number == 0) file.pair("general.architecture", kString, text("llama"));
  file.pair("split.no", kU16, u16(number)).pair("split.count", kU16, u16(count));
  file.pair("split.tensors.count", kI32, u32(total));
  return file.tensor(tensor, {32}, kFileTypeQ4_0, 0).with_data(18);
}

class GgufSplits : public ::testing::Test {
 protected:
  std::filesystem::path put_part(int number, const GgufFile& file) {
    return put(folder_, fmt::format("m-{:05}-of-00003.gguf", number), file.bytes());
  }
  void SetUp() override {
    for (std::uint32_t i = 0; i < 3; ++i) {
      const auto path = put_part(static_cast<int>(i) + 1, part(i, 3, fmt::format("t{}", i), 3));
      if (i == 0) first_ = path;
    }
  }
  std::string message(const std::filesystem::path& path, Code code = Code::kInvalidInput) {
    const auto model = open_gguf(path);
    if (model) return "no error";
    EXPECT_EQ(model.error().code(), code);
    return replaced(model.error().message(), folder_.path(), "DIR");
  }

  TempFolder folder_;
  std::filesystem::path first_;
};

TEST_F(GgufSplits, OpensAllParts) {
  const auto model = open_gguf(first_);
  ASSERT_TRUE(model) << model.error().message();
  ASSERT_EQ(model->parts.size(), 3u);
  ASSERT_EQ(model->tensors.size(), 3u);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(model->tensors[i].tensor.name, fmt::format("t{}", i));
    EXPECT_EQ(model->tensors[i].part, i);
    bytes += std::filesystem::file_size(model->parts[i].path);
  }
  EXPECT_EQ(model->file_bytes, bytes);
  EXPECT_EQ(*model->metadata().find("general.architecture")->as_string(), "llama");
}

TEST_F(GgufSplits, OpensSingleFiles) {
  const auto tensor = GgufFile().tensor("t", {32}, kFileTypeQ4_0, 0).with_data(18);
  const auto path = put(folder_, "one.gguf", tensor.bytes());
  const auto model = open_gguf(path);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(model->parts.size(), 1u);
  EXPECT_EQ(model->tensors.size(), 1u);
  EXPECT_EQ(message(folder_ / "absent.gguf", Code::kNotFound),
            "DIR/absent.gguf: cannot open: No such file or directory");
}

TEST(GgufFiles, AreKnownByNameOrBeginning) {
  const TempFolder folder;
  const auto one = GgufFile().tensor("t", {32}, kFileTypeQ4_0, 0).with_data(18);
  EXPECT_TRUE(is_gguf_file(put(folder, "sha256-0123", one.bytes())));
  EXPECT_TRUE(is_gguf_file(put(folder, "MODEL.GGUF", one.bytes())));
  EXPECT_TRUE(is_gguf_file(put(folder, "empty.gguf", "")));  // The reader says what is wrong.
  EXPECT_TRUE(is_gguf_file(put(folder, "EMPTY.Gguf", "")));
  EXPECT_FALSE(is_gguf_file(put(folder, "other", "GGU")));
  EXPECT_FALSE(is_gguf_file(put(folder, "text", "GGML and more")));
  EXPECT_FALSE(is_gguf_file(folder.path()));
  EXPECT_FALSE(is_gguf_file(folder / "absent"));
}

TEST_F(GgufSplits, FindsPartsWhoseEndingsAreInAnotherCase) {
  const char* const names[] = {"Q-00001-OF-00003.GGUF", "Q-00002-of-00003.Gguf",
                               "Q-00003-Of-00003.gguf"};
  for (std::uint32_t i = 0; i < 3; ++i) {
    put(folder_, names[i], part(i, 3, fmt::format("u{}", i), 3).bytes());
  }
  const auto model = open_gguf(folder_ / names[0]);
  ASSERT_TRUE(model) << model.error().message();
  ASSERT_EQ(model->parts.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(model->parts[i].path.filename(), names[i]);
    EXPECT_EQ(model->tensors[i].tensor.name, fmt::format("u{}", i));
  }
  // The rest of the name is the model's own.
  std::filesystem::rename(folder_ / names[2], folder_ / "q-00003-of-00003.gguf");
  EXPECT_EQ(message(folder_ / names[0], Code::kNotFound),
            "DIR/Q-00001-OF-00003.GGUF: part 3 of 3 is missing: 'Q-00003-of-00003.gguf'; "
            "incomplete download?");
}

TEST_F(GgufSplits, RefusesOtherPartsAndNames) {
  EXPECT_EQ(message(folder_ / "m-00002-of-00003.gguf"),
            "DIR/m-00002-of-00003.gguf: is part 2 of 3; give the first part, whose name ends in "
            "-00001-of-00003.gguf");
  const auto renamed = put(folder_, "renamed.gguf", part(0, 3, "t", 3).bytes());
  EXPECT_EQ(message(renamed),
            "DIR/renamed.gguf: is the first part of 3; expected a name that ends in "
            "-00001-of-00003.gguf; the other parts are found by their names");
}

TEST_F(GgufSplits, RefusesPartsThatDoNotBelongTogether) {
  put_part(2, part(2, 3, "t1", 3));
  EXPECT_EQ(message(first_), "DIR/m-00002-of-00003.gguf: is part 3 of 3; expected part 2 of 3");
  put_part(2, part(1, 4, "t1", 3));
  EXPECT_EQ(message(first_), "DIR/m-00002-of-00003.gguf: is part 2 of 4; expected part 2 of 3");
  put_part(2, GgufFile());
  EXPECT_EQ(message(first_),
            "DIR/m-00002-of-00003.gguf: is no part of a split model; expected part 2 of 3");
  put_part(2, part(1, 3, "t1", 4));
  EXPECT_EQ(message(first_),
            "DIR/m-00002-of-00003.gguf: belongs to a model of 4 tensors; the first part to one of "
            "3");
  put_part(2, part(1, 3, "t1", 3).pair("general.architecture", kString, text("gemma")));
  EXPECT_EQ(message(first_),
            "DIR/m-00002-of-00003.gguf: has architecture 'gemma'; the first part has 'llama'");
  put_part(2, part(1, 3, "t0", 3));
  EXPECT_EQ(message(first_), "DIR/m-00002-of-00003.gguf: tensor 't0' is also in part 1");
  put_part(2, part(1, 3, "t1", 3).tensor("more", {1}, 24, 32).with_data(64));
  EXPECT_EQ(message(first_), "DIR/m-00001-of-00003.gguf: its 3 parts hold 4 tensors; expected 3");
}

TEST_F(GgufSplits, RefusesMissingPartsAndLinksOutside) {
  const std::filesystem::path third = folder_ / "m-00003-of-00003.gguf";
  std::filesystem::remove(third);
  EXPECT_EQ(message(first_, Code::kNotFound),
            "DIR/m-00001-of-00003.gguf: part 3 of 3 is missing: 'm-00003-of-00003.gguf'; "
            "incomplete download?");
  const TempFolder elsewhere;
  std::filesystem::create_symlink(put(elsewhere, "x", part(2, 3, "t2", 3).bytes()), third);
  EXPECT_EQ(message(first_), fmt::format("DIR/m-00003-of-00003.gguf: is a link that leaves the "
                                         "folder, to '{}'; put the file itself into the folder",
                                         (elsewhere / "x").string()));
}

// What the gguf package wrote is read as it reads it.
class GgufOracle : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string python = python_with("import gguf, numpy");
    if (python.empty()) GTEST_SKIP() << "MLXMILL_PYTHON names no interpreter with gguf";
    ASSERT_TRUE(
        run_python(python, {std::string(MLXMILL_SOURCE_DIR) + "/tests/formats/gguf_oracle.py",
                            folder_.path().string()}));
  }

  void compare(const std::string& file, const std::string& description) {
    const auto want = parse_json(read_file(folder_ / description));
    ASSERT_TRUE(want) << want.error().message();
    const auto begin = std::chrono::steady_clock::now();
    const auto model = open_gguf(folder_ / file);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    ASSERT_TRUE(model) << model.error().message();
    // Some hundredths of a second for the vocabulary.
    EXPECT_LT(seconds.count(), 5);
    base::Array tensors;
    for (const GgufModelTensor& entry : model->tensors) {
      const GgufTensor& t = entry.tensor;
      base::Array shape;
      for (const std::int64_t extent : t.shape) shape.emplace_back(extent);
      tensors.emplace_back(base::Object{
          {"name", t.name},
          {"type", base::ggml_type_info(t.type).name},
          {"shape", std::move(shape)},
          {"elements", static_cast<std::int64_t>(t.elements)},
          {"begin", static_cast<std::int64_t>(t.begin)},
          {"end", static_cast<std::int64_t>(t.end)},
          {"part", static_cast<std::int64_t>(entry.part)},
      });
    }
    EXPECT_TRUE(*want->find("tensors") == base::Value(std::move(tensors)));
    EXPECT_TRUE(*want->find("metadata") == model->metadata());
  }

  TempFolder folder_;
};

TEST_F(GgufOracle, ReadsWhatTheGgufPackageReads) {
  compare("one.gguf", "one.json");
  compare("split-00001-of-00003.gguf", "split.json");
}

}  // namespace
}  // namespace mlxmill::formats

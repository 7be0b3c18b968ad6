#include "formats/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/test_files.h"
#include "python.h"

namespace mlxmill::formats {
namespace {

using ::mlxmill::testing::length_word;
using ::mlxmill::testing::put;
using ::mlxmill::testing::python_with;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::replaced;
using ::mlxmill::testing::run_python;
using ::mlxmill::testing::safetensors_bytes;
using ::mlxmill::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// Of a header alone, with `data_bytes` of data behind it.
Result<SafetensorsHeader> parse(std::string_view header, std::uint64_t data_bytes) {
  return parse_safetensors_header(header, 8 + header.size() + data_bytes, "f");
}

std::string error_of(std::string_view header, std::uint64_t data_bytes,
                     Code code = Code::kInvalidInput) {
  const auto parsed = parse(header, data_bytes);
  if (parsed) return "no error";
  EXPECT_EQ(parsed.error().code(), code) << parsed.error().message();
  return parsed.error().message();
}

// The header of one tensor 't'.
std::string entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"t":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                     offsets);
}

TEST(SafetensorsHeader, ReadsTensorsInDataOrder) {
  const std::string text = R"({"__metadata__":{"format":"pt","n":""},)"
                           R"("b":{"dtype":"F32","shape":[],"data_offsets":[12,16]},)"
                           R"("a":{"data_offsets":[0,12],"shape":[2,3],"dtype":"BF16"},)"
                           R"("empty":{"dtype":"U8","shape":[0,7],"data_offsets":[12,12]}}   )";
  const auto header = parse(text, 16);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->data_begin, 8 + text.size());
  EXPECT_EQ(header->file_bytes, 8 + text.size() + 16);
  EXPECT_THAT(header->metadata, ElementsAre(Pair("format", "pt"), Pair("n", "")));
  ASSERT_EQ(header->tensors.size(), 3u);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].dtype, DType::kBF16);
  EXPECT_EQ(header->tensors[0].shape, (base::Shape{2, 3}));
  EXPECT_EQ(header->tensors[0].begin, header->data_begin);
  EXPECT_EQ(header->tensors[1].name, "empty");
  EXPECT_EQ(header->tensors[2].name, "b");
  EXPECT_TRUE(header->tensors[2].shape.empty());
  EXPECT_EQ(header->tensors[2].end, header->file_bytes);
}

TEST(SafetensorsHeader, ReadsEmptyFiles) {
  EXPECT_TRUE(parse("{}", 0));
  EXPECT_TRUE(parse(R"({"__metadata__":{}})", 0));
  EXPECT_TRUE(parse(R"({"__metadata__":null})", 0));
  EXPECT_EQ(error_of("{}", 3), "f: bytes 0 to 3 of the data belong to no tensor");
}

TEST(SafetensorsHeader, RefusesOtherText) {
  EXPECT_EQ(error_of("", 0), "f: the header is empty; expected '{'");
  EXPECT_EQ(error_of(" {}", 0), "f: the header begins with ' '; expected '{'");
  EXPECT_EQ(error_of("{", 0), "f: line 1 column 2: the text ends; expected a key in double quotes");
  EXPECT_EQ(error_of("{} {", 0),
            "f: line 1 column 4: expected nothing after the document, got '{'");
  EXPECT_EQ(error_of(R"({"t":1})", 0),
            "f: tensor 't': line 1 column 6: its entry is an integer; expected an object");
  EXPECT_EQ(
      error_of(R"({"t":{"a":[[[[)", 0),
      "f: tensor 't': line 1 column 7: unknown field 'a'; expected dtype, shape and data_offsets");
  EXPECT_EQ(error_of(entry("U8", "[[1]]", "[0,1]"), 1),
            "f: tensor 't': line 1 column 29: nested deeper than 3 levels");
}

TEST(SafetensorsHeader, RefusesWrongFields) {
  EXPECT_EQ(error_of(R"({"t":{"dtype":"U8","shape":[1]}})", 1),
            "f: tensor 't': line 1 column 31: has no data_offsets");
  EXPECT_EQ(error_of(R"({"t":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
            "f: tensor 't': line 1 column 20: dtype appears twice");
  EXPECT_EQ(error_of(entry("U8", "1", "[0,1]"), 1),
            "f: tensor 't': line 1 column 28: shape is an integer; expected an array");
  EXPECT_EQ(error_of(entry("U8", "[1]", "[0]"), 1),
            "f: tensor 't': line 1 column 49: data_offsets has 1 entries; expected 2");
  EXPECT_EQ(error_of(entry("U8", "[1]", "[0,1,2]"), 1),
            "f: tensor 't': line 1 column 52: data_offsets has more than 2 entries; expected 2");
  std::string extents = "[1";
  for (int i = 0; i < 64; ++i) extents += ",1";
  EXPECT_THAT(error_of(entry("U8", extents + "]", "[0,1]"), 1),
              HasSubstr("tensor 't': line 1 column 157: shape has more than 64 extents"));
}

TEST(SafetensorsHeader, RefusesNumbersThatAreNoSizes) {
  const auto shape_error = [](std::string_view extent) {
    return error_of(entry("U8", fmt::format("[{}]", extent), "[0,1]"), 1);
  };
  const std::string tail = "; expected a whole number from 0 to 9223372036854775807";
  EXPECT_EQ(shape_error("-1"), "f: tensor 't': line 1 column 29: shape[0] is -1" + tail);
  EXPECT_EQ(shape_error("1.0"), "f: tensor 't': line 1 column 29: shape[0] is 1.0" + tail);
  EXPECT_EQ(shape_error("1e0"), "f: tensor 't': line 1 column 29: shape[0] is 1e0" + tail);
  EXPECT_EQ(shape_error("NaN"), "f: tensor 't': line 1 column 29: shape[0] is NaN" + tail);
  EXPECT_EQ(shape_error("\"1\""), "f: tensor 't': line 1 column 29: shape[0] is a string" + tail);
  EXPECT_EQ(shape_error("9223372036854775808"),
            "f: tensor 't': line 1 column 29: shape[0] is 9223372036854775808" + tail);
  EXPECT_EQ(
      error_of(entry("U8", "[1]", "[0,-1]"), 1),
      "f: tensor 't': line 1 column 50: data_offsets[1] is -1; expected a whole number from 0 to "
      "18446744073709551615");
  EXPECT_EQ(
      error_of(entry("U8", "[1]", "[18446744073709551616,1]"), 1),
      "f: tensor 't': line 1 column 48: data_offsets[0] is 18446744073709551616; expected a whole "
      "number from 0 to 18446744073709551615");
  EXPECT_EQ(shape_error(std::string(100, '9')),
            "f: tensor 't': line 1 column 29: a number of 100 characters; at most 20 are read");
}

TEST(SafetensorsHeader, RefusesExtentsThatDoNotFit) {
  EXPECT_EQ(error_of(entry("F32", "[262144]", "[0,4000000]"), 1048576),
            "f: tensor 't': data_offsets end 4000000 past the data's 1048576 bytes; incomplete "
            "download?");
  EXPECT_EQ(error_of(entry("F32", "[1]", "[4,0]"), 4),
            "f: tensor 't': data_offsets begin 4 past their end 0");
  EXPECT_EQ(error_of(entry("F32", "[2]", "[0,4]"), 4),
            "f: tensor 't': F32 [2] takes 8 bytes; data_offsets hold 4");
  EXPECT_EQ(error_of(entry("U8", "[4294967296,4294967296]", "[0,0]"), 0),
            "f: tensor 't': shape [4294967296, 4294967296] has more elements than fit in memory");
  EXPECT_EQ(error_of(entry("F64", "[4611686018427387904]", "[0,0]"), 0),
            "f: tensor 't': shape [4611686018427387904] has more elements than fit in memory");
}

TEST(SafetensorsHeader, RefusesHolesAndOverlaps) {
  const auto two = [](std::string_view a, std::string_view b) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},)"
                       R"("b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
                       a, b);
  };
  EXPECT_TRUE(parse(two("[4,8]", "[0,4]"), 8));
  EXPECT_EQ(error_of(two("[0,4]", "[2,6]"), 6),
            "f: tensor 'b': data begins at 2, inside the data of tensor 'a' (0 to 4)");
  EXPECT_EQ(error_of(two("[0,4]", "[0,4]"), 4),
            "f: tensor 'b': data begins at 0, inside the data of tensor 'a' (0 to 4)");
  EXPECT_EQ(error_of(two("[0,4]", "[5,9]"), 9), "f: bytes 4 to 5 of the data belong to no tensor");
  EXPECT_EQ(error_of(two("[1,5]", "[5,9]"), 9), "f: bytes 0 to 1 of the data belong to no tensor");
  EXPECT_EQ(error_of(two("[0,4]", "[4,8]"), 9), "f: bytes 8 to 9 of the data belong to no tensor");
}

TEST(SafetensorsHeader, RefusesUnknownDtypes) {
  EXPECT_EQ(error_of(entry("F4", "[2]", "[0,1]"), 1, Code::kUnsupported),
            "f: tensor 't': dtype 'F4' is not read; known are BOOL, U8, I8, F8_E4M3, F8_E5M2, "
            "F8_E8M0, U16, "
            "I16, F16, BF16, U32, I32, F32, U64, I64, F64");
}

TEST(SafetensorsHeader, RefusesBadNames) {
  const auto named = [](std::string_view name) {
    return fmt::format(R"({{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}})", name);
  };
  EXPECT_TRUE(parse(named("\xC3\xA9/.. \\u00e9"), 1));
  EXPECT_EQ(error_of(named(""), 1), "f: line 1 column 2: the tensor name '' is empty");
  EXPECT_EQ(error_of(named("a\\u0000b"), 1),
            "f: line 1 column 2: the tensor name 'a\\x00b' holds a control character");
  EXPECT_EQ(error_of(named("\\ud800"), 1),
            "f: line 1 column 2: a name holds half of a surrogate pair; expected Unicode");
  EXPECT_EQ(error_of(named("\xFF"), 1), "f: line 1 column 3: not UTF-8");
  const std::string twice = R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                            R"("\u0074":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})";
  EXPECT_EQ(error_of(twice, 0), "f: tensor 't' appears twice");
}

TEST(SafetensorsHeader, RefusesMetadataOtherThanStrings) {
  EXPECT_EQ(error_of(R"({"__metadata__":[]})", 0),
            "f: line 1 column 17: '__metadata__' is an array; expected an object");
  EXPECT_EQ(error_of(R"({"__metadata__":{"a":1}})", 0),
            "f: line 1 column 22: 'a' of '__metadata__' is an integer; expected a string");
  EXPECT_EQ(error_of(R"({"__metadata__":{"a":"","a":""}})", 0),
            "f: line 1 column 25: the key 'a' of '__metadata__' appears twice");
  EXPECT_EQ(error_of(R"({"__metadata__":{},"__metadata__":{}})", 0),
            "f: line 1 column 20: '__metadata__' appears twice");
}

TEST(SafetensorsFile, RefusesEveryTruncation) {
  const TempFolder folder;
  const std::string whole = safetensors_bytes(
      R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}} )",
      5);
  const auto read = [&](std::string_view bytes) {
    return read_safetensors_header(*io::File::open_read(put(folder, "f", bytes)));
  };
  ASSERT_TRUE(read(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto header = read(std::string_view(whole).substr(0, size));
    ASSERT_FALSE(header) << size;
    EXPECT_EQ(header.error().code(), Code::kInvalidInput);
    EXPECT_EQ(header.error().hint(), "incomplete download?") << header.error().message();
  }
  EXPECT_FALSE(read(whole + '\0'));
}

TEST(SafetensorsFile, ChecksTheLengthWord) {
  const TempFolder folder;
  const auto message = [&](const std::string& bytes) {
    const auto header = read_safetensors_header(*io::File::open_read(put(folder, "f", bytes)));
    return header ? "no error" : replaced(header.error().message(), folder.path(), "DIR");
  };
  EXPECT_EQ(message("abc"),
            "DIR/f: has 3 bytes; a safetensors file has at least 8; incomplete download?");
  EXPECT_EQ(message(length_word(3) + "{}"),
            "DIR/f: header length 3 is past the file's 10 bytes; incomplete download?");
  EXPECT_EQ(
      message(length_word(std::uint64_t{1} << 63) + "{}"),
      "DIR/f: header length 9223372036854775808 is past the file's 10 bytes; incomplete download?");
  EXPECT_EQ(message(length_word(0)), "DIR/f: the header is empty; expected '{'");
  EXPECT_EQ(
      message("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
      "DIR/f: header length 2336927755350992246 is past the file's 64 bytes; a Git LFS pointer; "
      "`git lfs pull` brings the file itself");
  EXPECT_THAT(message("<!DOCTYPE html><html></html>"),
              HasSubstr("a web page was saved in its place"));
}

TEST(SafetensorsFile, RefusesLongHeadersWithoutReadingThem) {
  const TempFolder folder;
  auto file = io::File::open_write(put(folder, "f", length_word(kMaxSafetensorsHeader + 1)));
  ASSERT_TRUE(file->resize(kMaxSafetensorsHeader + 100));
  const auto header = read_safetensors_header(*file);
  ASSERT_FALSE(header);
  EXPECT_EQ(replaced(header.error().message(), folder.path(), "DIR"),
            "DIR/f: header of 100000001 bytes; at most 100000000 are read");
}

TEST(SafetensorsHeader, ReadsManyTensors) {
  constexpr int kTensors = 150'000;
  std::string text = "{";
  for (int i = 0; i < kTensors; ++i) {
    text += fmt::format(
        R"({}"model.layers.{}.weight":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})",
        i > 0 ? "," : "", i, i, i + 1);
  }
  const auto header = parse(text + "}", kTensors);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->tensors.size(), static_cast<std::size_t>(kTensors));
}

TEST(SafetensorsLayout, IsReadBackAsItWasLaidOut) {
  const auto layout = lay_out_safetensors({{"b", DType::kBF16, {3}},
                                           {"a", DType::kU32, {2, 2}},
                                           {"c", DType::kU8, {}},
                                           {"a2", DType::kBF16, {0}},
                                           {"\xC3\xA9\"\\", DType::kI32, {1}}},
                                          {{"format", "mlx"}});
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->prefix.size() % 8, 0u);
  const auto header =
      parse_safetensors_header(std::string_view(layout->prefix).substr(8), layout->file_bytes, "f");
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(length_word(layout->prefix.size() - 8), layout->prefix.substr(0, 8));
  EXPECT_THAT(header->metadata, ElementsAre(Pair("format", "mlx")));
  ASSERT_EQ(header->tensors.size(), layout->tensors.size());
  std::string order;
  for (std::size_t i = 0; i < layout->tensors.size(); ++i) {
    const StoredTensor& a = layout->tensors[i];
    const StoredTensor& b = header->tensors[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.dtype, b.dtype);
    EXPECT_EQ(a.shape, b.shape);
    EXPECT_EQ(a.begin, b.begin);
    EXPECT_EQ(a.end, b.end);
    order += a.name + " ";
  }
  EXPECT_EQ(order, "a \xC3\xA9\"\\ a2 b c ");
}

TEST(SafetensorsLayout, LaysOutNothing) {
  const auto layout = lay_out_safetensors({}, {});
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->prefix, length_word(8) + "{}      ");
  EXPECT_EQ(layout->file_bytes, 16u);
}

TEST(SafetensorsLayout, RefusesWhatCannotBeRead) {
  const auto message = [](std::vector<TensorToWrite> tensors) {
    const auto layout = lay_out_safetensors(std::move(tensors), {});
    if (layout) return std::string("no error");
    EXPECT_EQ(layout.error().code(), Code::kInternal);
    return layout.error().message();
  };
  EXPECT_EQ(message({{"a", DType::kU8, {1}}, {"a", DType::kF32, {1}}}),
            "tensor 'a': is to be written twice");
  EXPECT_EQ(message({{"", DType::kU8, {1}}}), "tensor '': the name is empty");
  EXPECT_EQ(message({{"\n", DType::kU8, {1}}}),
            "tensor '\\x0a': the name holds a control character");
  EXPECT_EQ(message({{"\xFF", DType::kU8, {1}}}), "tensor '\\xff': the name is not UTF-8");
  EXPECT_EQ(message({{"__metadata__", DType::kU8, {1}}}),
            "tensor '__metadata__': the name is reserved");
  EXPECT_EQ(message({{"a", DType::kU8, {-1}}}), "tensor 'a': shape [-1] is too large");
  EXPECT_EQ(message({{"a", DType::kF32, {std::int64_t{1} << 61}}}),
            "tensor 'a': shape [2305843009213693952] is too large");
}

// The safetensors library writes the same bytes and reads ours; so does mlx.
TEST(SafetensorsLayout, AgreesWithTheSafetensorsLibraryAndMlx) {
  const std::string python = python_with("import mlx.core, safetensors, numpy");
  if (python.empty())
    GTEST_SKIP() << "MLXMILL_PYTHON names no interpreter with mlx and safetensors";
  const TempFolder folder;
  const auto write = [&](const std::string& name, const std::vector<TensorToWrite>& tensors) {
    const auto layout = lay_out_safetensors(tensors, {{"format", "mlx"}});
    ASSERT_TRUE(layout);
    std::string bytes = layout->prefix;
    bytes.resize(layout->file_bytes, '\0');
    put(folder, name, bytes);
  };
  std::vector<TensorToWrite> all;
  std::vector<TensorToWrite> known_to_mlx;
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    const auto dtype = static_cast<DType>(i);
    for (const TensorToWrite& tensor :
         {TensorToWrite{fmt::format("z.{}", dtype_name(dtype)), dtype, {2, 3}},
          {fmt::format("a.{}\xC3\xA9\"\\", dtype_name(dtype)), dtype, {}},
          {fmt::format("m.{}", dtype_name(dtype)), dtype, {0, 5}}}) {
      all.push_back(tensor);
      if (dtype != DType::kF64 && dtype != DType::kF8E5M2) known_to_mlx.push_back(tensor);
    }
  }
  write("all.safetensors", all);
  write("mlx.safetensors", known_to_mlx);
  EXPECT_TRUE(run_python(
      python, {MLXMILL_SOURCE_DIR "/tests/formats/safetensors_oracle.py", folder.path().string()}));
}

}  // namespace
}  // namespace mlxmill::formats

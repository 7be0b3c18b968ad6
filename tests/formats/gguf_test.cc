#include "formats/gguf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "formats/gguf_files.h"
#include "formats/test_files.h"

namespace mlxmill::formats {
namespace {

using namespace testing;  // The builders of mlxmill::testing.

constexpr std::uint32_t kQ4_0 = 2;
constexpr std::uint32_t kQ4_K = 12;

Result<GgufHeader> parse(const std::string& bytes) {
  return parse_gguf_header(bytes, bytes.size(), "f");
}

std::string error_of(const std::string& bytes, Code code = Code::kInvalidInput) {
  const auto header = parse(bytes);
  if (header) return "no error";
  EXPECT_EQ(header.error().code(), code);
  return header.error().message();
}

std::string error_of(const GgufFile& file, Code code = Code::kInvalidInput) {
  return error_of(file.bytes(), code);
}

GgufFile with_pair(std::string_view key, std::uint32_t type, std::string_view value) {
  return GgufFile().pair(key, type, value);
}

GgufFile with_tensor(const std::vector<std::uint64_t>& extents, std::uint32_t type,
                     std::uint64_t offset, std::size_t data) {
  return GgufFile().tensor("t", extents, type, offset).with_data(data);
}

TEST(GgufHeader, ReadsTensorsInDataOrder) {
  GgufFile file;
  file.pair("general.alignment", kU32, u32(64)).alignment = 64;
  file.tensor("b", {64, 3}, kQ4_0, 64).tensor("a", {3, 2}, 0, 0).tensor("none", {0, 7}, 1, 192);
  file.tensor("scalar", {}, 28, 192).tensor("cube", {2, 1, 3}, 24, 256).with_data(64 + 256);
  const auto header = parse(file.bytes());
  ASSERT_TRUE(header) << header.error().message();
  const std::uint64_t begin = header->data_begin;
  EXPECT_EQ(begin % 64, 0u);
  EXPECT_EQ(header->version, 3u);
  EXPECT_EQ(header->alignment, 64u);
  EXPECT_EQ(header->file_bytes, file.bytes().size());
  EXPECT_FALSE(header->split);
  std::string text;
  for (const GgufTensor& t : header->tensors) {
    text += fmt::format("{} {} {} {} {}-{}\n", t.name, base::ggml_type_info(t.type).name,
                        base::to_string(t.shape), t.elements, t.begin - begin, t.end - begin);
  }
  EXPECT_EQ(text,
            "a F32 [2, 3] 6 0-24\n"
            "b Q4_0 [3, 64] 192 64-172\n"
            "none F16 [7, 0] 0 192-192\n"
            "scalar F64 [] 1 192-200\n"
            "cube I8 [3, 1, 2] 6 256-262\n");
}

TEST(GgufHeader, ReadsEveryValueType) {
  GgufFile file;
  file.version = 2;
  file.pair("u8", kU8, u8(255)).pair("i8", kI8, u8(255)).pair("u16", kU16, u16(65535));
  file.pair("i16", kI16, u16(65535)).pair("u32", kU32, u32(-1)).pair("i32", kI32, u32(-1));
  file.pair("u64", kU64, u64(std::numeric_limits<std::int64_t>::max())).pair("big", kU64, u64(-1));
  file.pair("i64", kI64, u64(-1)).pair("f32", kF32, f32(0.5f)).pair("f64", kF64, f64(1e300));
  file.pair("yes", kBool, u8(1)).pair("no", kBool, u8(0)).pair("text", kString, text("a\xFF"));
  file.pair("numbers", kArray, array(kI16, 2, u16(1) + u16(65535)));
  file.pair("texts", kArray, array(kString, 2, text("") + text("b")));
  file.pair("deep", kArray,
            array(kArray, 2, array(kU8, 0, "") + array(kArray, 1, array(kBool, 1, u8(1)))));
  const auto header = parse(file.bytes());
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->version, 2u);
  // Compilers disagree about a list of one list in braces.
  const base::Array deepest(1, base::Value(base::Array(1, base::Value(true))));
  const base::Value want(base::Object{
      {"u8", 255},
      {"i8", -1},
      {"u16", 65535},
      {"i16", -1},
      {"u32", std::int64_t{4294967295}},
      {"i32", -1},
      {"u64", std::numeric_limits<std::int64_t>::max()},
      {"big", base::BigInteger{"18446744073709551615"}},
      {"i64", -1},
      {"f32", 0.5},
      {"f64", 1e300},
      {"yes", true},
      {"no", false},
      {"text", "a\xFF"},
      {"numbers", base::Array{1, -1}},
      {"texts", base::Array{"", "b"}},
      {"deep", base::Array{base::Value(base::Array{}), base::Value(deepest)}},
  });
  EXPECT_TRUE(header->metadata == want);
}

TEST(GgufHeader, ReadsFilesWithoutTensors) {
  const auto header = parse(GgufFile().header());
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_TRUE(header->tensors.empty());
  ASSERT_TRUE(header->metadata.as_object());
  EXPECT_TRUE(header->metadata.as_object()->empty());
}

TEST(GgufHeader, NamesOtherFiles) {
  GgufFile file;
  file.version = 1;
  EXPECT_EQ(error_of(file, Code::kUnsupported),
            "f: is version 1 of GGUF; versions 2 and 3 are read");
  file.version = 4;
  EXPECT_EQ(error_of(file, Code::kUnsupported),
            "f: is version 4 of GGUF; versions 2 and 3 are read");
  file.version = 0x03000000;
  EXPECT_EQ(error_of(file, Code::kUnsupported), "f: is big-endian; little-endian GGUF is read");
  EXPECT_EQ(error_of("tjgg....", Code::kUnsupported),
            "f: is a 'ggjt' file, older than GGUF; versions 2 and 3 of GGUF are read; convert the "
            "original model");
  EXPECT_EQ(error_of("gguf...."), "f: begins with 'gguf'; expected 'GGUF'");
  EXPECT_EQ(error_of("version https://git-lfs"),
            "f: begins with 'vers'; expected 'GGUF'; a Git LFS pointer; `git lfs pull` brings the "
            "file itself");
  EXPECT_EQ(error_of("<!DOCTYPE html>"),
            "f: begins with '<!DO'; expected 'GGUF'; a web page was saved in its place");
  EXPECT_EQ(error_of("GG"),
            "f: byte 0: the file ends after 2 more bytes; expected 4; incomplete download?");
  EXPECT_EQ(error_of(""),
            "f: byte 0: the file ends after 0 more bytes; expected 4; incomplete download?");
}

TEST(GgufHeader, ChecksCountsBeforeItAllocates) {
  const std::string start = "GGUF" + u32(3);
  EXPECT_EQ(error_of(start + u64(-1) + u64(0)),
            "f: byte 16: 18446744073709551615 tensors; the file has 8 more bytes; incomplete "
            "download?");
  EXPECT_EQ(error_of(start + u64(0) + u64(std::uint64_t{1} << 60)),
            "f: byte 24: 1152921504606846976 metadata entries; the file has 0 more bytes; "
            "incomplete download?");
  const std::string many = start + u64(0) + u64(kMaxGgufKeys + 1);
  EXPECT_EQ(parse_gguf_header(many, 1 << 30, "f").error().message(),
            "f: byte 24: 65537 metadata entries; at most 65536 are read");
  EXPECT_EQ(parse_gguf_header(start + u64(kMaxGgufTensors + 1), 1 << 30, "f").error().message(),
            "f: byte 16: 1000001 tensors; at most 1000000 are read");
}

TEST(GgufHeader, ChecksLengthsBeforeItAllocates) {
  const std::string start = "GGUF" + u32(3) + u64(0) + u64(1);
  EXPECT_EQ(error_of(start + u64(-1) + std::string(20, 'k')),
            "f: metadata 1 of 1: byte 32: a key of 18446744073709551615 bytes; the file has 20 "
            "more; incomplete download?");
  EXPECT_EQ(error_of(start + u64(70'000) + std::string(80'000, 'k')),
            "f: metadata 1 of 1: byte 32: a key of 70000 bytes; at most 65535 are read");
  EXPECT_EQ(error_of(with_pair("k", kString, u64(1000))),
            "f: metadata 'k': byte 45: string of 1000 bytes; the file has 19 more; incomplete "
            "download?");
  EXPECT_EQ(error_of(with_pair("k", kArray, u32(kString) + u64(std::uint64_t{1} << 61))),
            "f: metadata 'k': byte 49: an array of 2305843009213693952 strings; the file has 15 "
            "more bytes; incomplete download?");
}

TEST(GgufHeader, LimitsValuesAndDepth) {
  const auto header =
      parse(with_pair("k", kArray, array(kU8, kMaxGgufValues, std::string(kMaxGgufValues, '\0')))
                .bytes());
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().message(),
            "f: metadata 'k': byte 49: metadata has more than 4000000 values, the most that are "
            "read");
  std::string nested = array(kU8, 1, u8(1));
  for (int i = 1; i < kMaxGgufDepth; ++i) nested = array(kArray, 1, nested);
  EXPECT_TRUE(parse(with_pair("k", kArray, nested).bytes()));
  EXPECT_EQ(error_of(with_pair("k", kArray, array(kArray, 1, nested))),
            "f: metadata 'k': byte 85: arrays nested deeper than 4 levels");
}

TEST(GgufHeader, RefusesBadMetadata) {
  EXPECT_EQ(error_of(with_pair("k", 13, "")),
            "f: metadata 'k': byte 37: value type 13; known are 0 to 12");
  EXPECT_EQ(error_of(with_pair("k", kArray, u32(99) + u64(0))),
            "f: metadata 'k': byte 41: value type 99; known are 0 to 12");
  EXPECT_EQ(error_of(with_pair("k", kBool, u8(2))),
            "f: metadata 'k': byte 38: a boolean of 2; expected 0 or 1");
  EXPECT_EQ(error_of(with_pair("", kU8, u8(2)).pair("kkkkkkkk", kU8, u8(2))),
            "f: metadata 1 of 2: byte 32: the key '' is empty");
  EXPECT_EQ(error_of(with_pair("a\nb", kU8, u8(2))),
            "f: metadata 1 of 1: byte 35: the key 'a\\x0ab' holds a control character");
  EXPECT_EQ(error_of(with_pair("\xC0\x80", kU8, u8(2))),
            "f: metadata 1 of 1: byte 34: the key '\\xc0\\x80' is not UTF-8");
  EXPECT_EQ(error_of(with_pair("k", kU8, u8(2)).pair("l", kU8, u8(2)).pair("k", kU8, u8(3))),
            "f: metadata 'k' appears twice");
}

TEST(GgufHeader, RefusesBadAlignment) {
  const auto message = [](std::uint32_t type, const std::string& value) {
    return error_of(with_pair("general.alignment", type, value));
  };
  EXPECT_EQ(message(kU32, u32(0)),
            "f: metadata 'general.alignment': is 0; expected a power of two");
  EXPECT_EQ(message(kU32, u32(48)),
            "f: metadata 'general.alignment': is 48; expected a power of two");
  EXPECT_EQ(message(kI32, u32(-32)),
            "f: metadata 'general.alignment': is -32; expected a whole number from 0 to "
            "4294967295");
  EXPECT_EQ(message(kU64, u64(-1)),
            "f: metadata 'general.alignment': is 18446744073709551615; expected a whole number "
            "from 0 to 4294967295");
  EXPECT_EQ(message(kString, text("32")),
            "f: metadata 'general.alignment': is a string; expected a whole number from 0 to "
            "4294967295");
}

TEST(GgufHeader, RefusesBadTensors) {
  EXPECT_EQ(error_of(with_tensor({1, 1, 1, 1, 1}, 0, 0, 64)),
            "f: tensor 't': byte 37: 5 extents; at most 4 are read");
  EXPECT_EQ(error_of(with_tensor({std::uint64_t{1} << 63}, 0, 0, 64)),
            "f: tensor 't': byte 45: an extent of 9223372036854775808; at most "
            "9223372036854775807 are read");
  EXPECT_EQ(error_of(with_tensor({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 24, 0, 64)),
            "f: tensor 't': shape [4294967296, 4294967296] at offset 0 does not fit in a file");
  EXPECT_EQ(error_of(with_tensor({std::uint64_t{1} << 62}, 28, 0, 64)),
            "f: tensor 't': shape [4611686018427387904] at offset 0 does not fit in a file");
  EXPECT_EQ(error_of(with_tensor({1}, 24, ~std::uint64_t{0}, 64)),
            "f: tensor 't': shape [1] at offset 18446744073709551615 does not fit in a file");
  EXPECT_EQ(error_of(with_tensor({1}, 24, 0 - std::uint64_t{32}, 64)),
            "f: tensor 't': I8 [1] ends 18446744073709551585 bytes into the data; the file has "
            "64; incomplete download?");
  EXPECT_EQ(error_of(with_tensor({128, 2}, kQ4_K, 0, 1024)),
            "f: tensor 't': rows of 128 Q4_K; expected a multiple of 256");
  EXPECT_EQ(error_of(with_tensor({256, 2}, kQ4_K, 0, 287)),
            "f: tensor 't': Q4_K [2, 256] ends 288 bytes into the data; the file has 287; "
            "incomplete download?");
  EXPECT_EQ(error_of(with_tensor({1}, 24, 16, 64)),
            "f: tensor 't': offset 16; expected a multiple of 32");
  EXPECT_EQ(error_of(with_tensor({1}, 999, 0, 64), Code::kUnsupported),
            "f: tensor 't': type 999 is not known");
  EXPECT_EQ(error_of(with_tensor({32}, 31, 0, 64), Code::kUnsupported),
            "f: tensor 't': type Q4_0_4_4 (31) is not read");
}

TEST(GgufHeader, RefusesOverlapsAndNames) {
  const auto two = [](std::uint64_t a, std::uint64_t b) {
    return GgufFile().tensor("a", {40}, 24, a).tensor("b", {40}, 24, b).with_data(200);
  };
  EXPECT_TRUE(parse(two(64, 0).bytes()));
  EXPECT_TRUE(parse(two(0, 128).bytes()));
  EXPECT_EQ(error_of(two(0, 32)),
            "f: tensor 'b': data begins at 32, inside the data of tensor 'a' (0 to 40)");
  EXPECT_EQ(error_of(two(64, 64)),
            "f: tensor 'b': data begins at 64, inside the data of tensor 'a' (64 to 104)");
  EXPECT_EQ(error_of(GgufFile().tensor("a", {1}, 24, 0).tensor("a", {1}, 24, 32).with_data(64)),
            "f: tensor 'a' appears twice");
  EXPECT_EQ(error_of(GgufFile().tensor("", {1, 1}, 24, 0).with_data(64)),
            "f: tensor 1 of 1: byte 32: the tensor name '' is empty");
  EXPECT_EQ(error_of(GgufFile().tensor("\x7F", {1}, 24, 0).with_data(64)),
            "f: tensor 1 of 1: byte 33: the tensor name '\\x7f' holds a control character");
}

TEST(GgufHeader, RefusesEveryTruncation) {
  const std::string whole = GgufFile()
                                .pair("a", kString, text("value"))
                                .pair("b", kArray, array(kString, 2, text("x") + text("y")))
                                .tensor("t", {32, 1}, kQ4_0, 0)
                                .with_data(18)
                                .bytes();
  ASSERT_TRUE(parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto header = parse(whole.substr(0, size));
    ASSERT_FALSE(header) << size;
    EXPECT_EQ(header.error().code(), Code::kInvalidInput);
    EXPECT_EQ(header.error().hint(), "incomplete download?") << header.error().message();
  }
  EXPECT_TRUE(parse(whole + "more"));
}

TEST(GgufHeader, RefusesLongHeadersWithoutReadingThem) {
  const TempFolder folder;
  const GgufFile start = with_pair("k", kString, u64(kMaxGgufHeader));
  auto file = io::File::open_write(put(folder, "f", start.header()));
  ASSERT_TRUE(file->resize(kMaxGgufHeader + 1000));
  const auto header = read_gguf_header(*file);
  ASSERT_FALSE(header);
  EXPECT_EQ(replaced(header.error().message(), folder.path(), "DIR"),
            "DIR/f: metadata 'k': byte 45: string of 268435456 bytes; at most 268435411 are read");
}

// Values that lie across the blocks in which a file is read.
TEST(GgufHeader, ReadsLongHeadersOfFiles) {
  const TempFolder folder;
  std::string words;
  base::Array want;
  for (int i = 0; words.size() < 5'000'000; ++i) {
    want.emplace_back(fmt::format("{}{}", i, std::string(static_cast<std::size_t>(i) % 37, 'x')));
    words += text(*want.back().as_string());
  }
  const std::string longest(2'500'000, 'y');
  GgufFile file;
  file.pair("words", kArray, array(kString, want.size(), words));
  file.pair("longest", kString, text(longest)).pair("last", kU32, u32(7));
  file.tensor("t", {32}, kQ4_0, 0).with_data(18);
  const auto header = read_gguf_header(*io::File::open_read(put(folder, "f", file.bytes())));
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_TRUE(
      header->metadata ==
      base::Value(base::Object{{"words", std::move(want)}, {"longest", longest}, {"last", 7}}));
  ASSERT_EQ(header->tensors.size(), 1u);
  EXPECT_EQ(header->tensors[0].end, file.bytes().size());
}

TEST(GgufHeader, ChecksWhatItSaysOfSplits) {
  const auto split = [](std::uint64_t number, std::uint64_t count) {
    return with_pair("split.count", kU16, u16(count))
        .pair("split.no", kU16, u16(number))
        .pair("split.tensors.count", kI32, u32(7));
  };
  const auto header = parse(split(1, 3).bytes());
  ASSERT_TRUE(header) << header.error().message();
  ASSERT_TRUE(header->split);
  EXPECT_EQ(header->split->number, 1u);
  EXPECT_EQ(header->split->count, 3u);
  EXPECT_EQ(header->split->tensors, 7u);
  EXPECT_FALSE(parse(split(0, 1).bytes())->split);
  EXPECT_FALSE(parse(split(0, 0).bytes())->split);
  EXPECT_EQ(error_of(split(3, 3)), "f: metadata: 'split.no' is 3 of 3; it counts from 0");
  EXPECT_EQ(error_of(with_pair("split.count", kU16, u16(2))),
            "f: metadata: 'split.count' is 2, without 'split.no'");
  EXPECT_EQ(error_of(with_pair("split.count", kI32, u32(-1))),
            "f: metadata 'split.count': is -1; expected a whole number from 0 to 65535");
}

}  // namespace
}  // namespace mlxmill::formats

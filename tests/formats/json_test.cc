#include "formats/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <clocale>
#include <cmath>
#include <cstring>
#include <limits>

#include "formats/test_files.h"
#include "python.h"

namespace mlxmill::formats {
namespace {

using ::mlxmill::testing::plain_python;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::run_python;
using ::mlxmill::testing::TempFolder;

std::string parse_error(std::string_view text, const JsonLimits& limits = {}) {
  const auto value = parse_json(text, limits);
  if (value) return "no error";
  EXPECT_EQ(value.error().code(), Code::kInvalidInput) << text;
  return value.error().message();
}

std::string one_line(std::string_view text) { return dump_json(*parse_json(text), {.indent = -1}); }

TEST(ParseJson, KeepsTypesAndOrder) {
  const auto value = parse_json(R"({"z": [1, 1.0, true, null, "s"], "a": {}})");
  ASSERT_TRUE(value);
  const base::Object& object = *value->as_object();
  EXPECT_EQ(object[0].key, "z");
  EXPECT_EQ(object[1].key, "a");
  const base::Array& array = *object[0].value.as_array();
  EXPECT_EQ(*array[0].as_int(), 1);
  EXPECT_EQ(*array[1].as_float(), 1.0);
  EXPECT_EQ(*array[2].as_bool(), true);
  EXPECT_TRUE(array[3].is_null());
  EXPECT_EQ(*array[4].as_string(), "s");
}

TEST(ParseJson, KeepsIntegersOfAnyLength) {
  EXPECT_EQ(*parse_json("9223372036854775807")->as_int(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(*parse_json("-9223372036854775808")->as_int(),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_json("9223372036854775808")->as_big_integer()->digits, "9223372036854775808");
  EXPECT_EQ(one_line("[-123456789012345678901234567890, -0]"),
            "[-123456789012345678901234567890, 0]");
}

TEST(ParseJson, ReadsWhatPythonAddsToJson) {
  EXPECT_TRUE(std::isnan(*parse_json("NaN")->as_float()));
  EXPECT_EQ(*parse_json("-Infinity")->as_float(), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(*parse_json("1e400")->as_float(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(*parse_json(R"({"__float__": "-Infinity"})")->as_float(),
            -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(parse_json(R"({"__float__": "big"})")->as_object());
  EXPECT_TRUE(parse_json(R"({"__float__": "NaN", "more": 1})")->as_object());
}

TEST(ParseJson, KeepsLoneSurrogates) {
  EXPECT_EQ(*parse_json(R"("\ud800")")->as_string(), "\xED\xA0\x80");
  EXPECT_EQ(one_line(R"(["\uD83D\uDE00", "\ude00\ud83d", "\ud83dx"])"),
            R"(["\ud83d\ude00", "\ude00\ud83d", "\ud83dx"])");
}

TEST(ParseJson, NamesLineAndColumnOfErrors) {
  EXPECT_EQ(parse_error(""), "line 1 column 1: the text ends; expected a value");
  EXPECT_EQ(parse_error("{\"a\": 1,\n  b}"),
            "line 2 column 3: expected a key in double quotes, got 'b'");
  EXPECT_EQ(parse_error("[1 2]"), "line 1 column 4: expected ',' or ']', got '2'");
  EXPECT_EQ(parse_error("{\"a\" 1}"), "line 1 column 6: expected ':', got '1'");
  EXPECT_EQ(parse_error("{\"a\":1,}"), "line 1 column 8: expected a key in double quotes, got '}'");
  EXPECT_EQ(parse_error("{} x"), "line 1 column 4: expected nothing after the document, got 'x'");
  EXPECT_EQ(parse_error("[\"\xC3\xA9\", tru]"), "line 1 column 7: expected a value, got 't'");
  EXPECT_EQ(parse_error("[1, 2"), "line 1 column 6: the text ends; expected ',' or ']'");
  EXPECT_EQ(parse_error("\xEF\xBB\xBF{}"),
            "line 1 column 1: expected a value, got a byte order mark");
}

TEST(ParseJson, RefusesDamagedStringsAndNumbers) {
  EXPECT_EQ(parse_error("\"abc"), "line 1 column 1: the text ends inside a string");
  EXPECT_EQ(parse_error("\"abc\\"), "line 1 column 1: the text ends inside a string");
  EXPECT_EQ(parse_error("\"a\nb\""), "line 1 column 3: control character U+000A in a string");
  EXPECT_EQ(parse_error("\"a\\x\""), "line 1 column 3: unknown escape in a string");
  EXPECT_EQ(parse_error("\"\\u12g4\""),
            "line 1 column 6: expected four hexadecimal digits, got 'g'");
  for (const char* bytes : {"\xFF", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                            "\xF0\x9F\x98", "\x80"}) {
    EXPECT_EQ(parse_error("\"" + std::string(bytes) + "\""), "line 1 column 2: not UTF-8") << bytes;
  }
  EXPECT_EQ(parse_error("\xFF"), "line 1 column 1: not UTF-8");
  EXPECT_EQ(parse_error("-"), "line 1 column 2: the text ends; expected a digit");
  EXPECT_EQ(parse_error("01"), "line 1 column 2: expected nothing after the document, got '1'");
  EXPECT_EQ(parse_error("1."), "line 1 column 3: the text ends; expected a digit");
  EXPECT_EQ(parse_error("1e+"), "line 1 column 4: the text ends; expected a digit");
  EXPECT_EQ(parse_error("+1"), "line 1 column 1: expected a value, got '+'");
  EXPECT_EQ(parse_error(std::string("[1\0]", 4)),
            "line 1 column 3: expected ',' or ']', got '\\x00'");
}

TEST(ParseJson, RefusesDuplicateKeys) {
  EXPECT_EQ(parse_error("{\"a\": 1,\n \"b\": {\"a\": 1},\n \"\\u0061\": 2}"),
            "line 3 column 2: the key 'a' appears twice in one object");
  const auto last =
      parse_json(R"({"a": 1, "b": 2, "a": 3, "c": 4, "b": 5})", {.refuse_duplicate_keys = false});
  ASSERT_TRUE(last);
  EXPECT_EQ(dump_json(*last, {.indent = -1}), R"({"a": 3, "b": 5, "c": 4})");
}

TEST(ParseJson, HoldsItsLimits) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(parse_json(nested(64)));
  EXPECT_EQ(parse_error(nested(65)), "line 1 column 65: nested deeper than 64 levels");
  EXPECT_EQ(parse_error(std::string(10'000'000, '[')),
            "line 1 column 65: nested deeper than 64 levels");
  EXPECT_TRUE(parse_json(std::string(400, '1')));
  EXPECT_EQ(parse_error(std::string(1'000'000, '1')),
            "line 1 column 1: a number of 1000000 characters; at most 400 are read");
  EXPECT_TRUE(parse_json("[1, 2]", {.max_values = 3}));
  EXPECT_EQ(parse_error("[1, 2, 3]", {.max_values = 3}), "line 1 column 8: more than 3 values");
}

TEST(ParseJson, KeepsHostileTextOutOfMessages) {
  EXPECT_EQ(parse_error("{\"\\u001b[2J\": 1, \"\\u001b[2J\": 1}"),
            "line 1 column 18: the key '\\x1b[2J' appears twice in one object");
  const std::string key(100'000, 'k');
  EXPECT_LT(parse_error("{\"" + key + "\":1,\"" + key + "\":1}").size(), 250u);
}

TEST(ParseJson, IgnoresTheLocale) {
  const char* const old = std::setlocale(LC_NUMERIC, nullptr);
  const std::string saved = old ? old : "C";
  if (!std::setlocale(LC_NUMERIC, "de_DE.UTF-8")) GTEST_SKIP() << "no locale with a decimal comma";
  EXPECT_EQ(*parse_json("1.5")->as_float(), 1.5);
  EXPECT_EQ(python_float(1.5), "1.5");
  std::setlocale(LC_NUMERIC, saved.c_str());
}

TEST(DumpJson, MatchesPythonsLayout) {
  const std::string text =
      R"({"b": [], "a": {"d": 1, "c": [1, {}]}, "e": "\"\\\b\f\n\r\té\u007f/"})";
  EXPECT_EQ(dump_json(*parse_json(text), {.sort_keys = true}), R"({
    "a": {
        "d": 1,
        "c": [
            1,
            {}
        ]
    },
    "b": [],
    "e": "\"\\\b\f\n\r\t\u00e9\u007f/"
})");
  EXPECT_EQ(one_line(text),
            R"({"b": [], "a": {"d": 1, "c": [1, {}]}, "e": "\"\\\b\f\n\r\t\u00e9\u007f/"})");
  EXPECT_EQ(dump_json(*parse_json("[1,[2]]"), {.indent = 0}), "[\n1,\n[\n2\n]\n]");
}

TEST(DumpJson, TagsNonFiniteFloats) {
  EXPECT_EQ(one_line("[NaN, 1e999]"), R"([{"__float__": "NaN"}, {"__float__": "Infinity"}])");
  EXPECT_EQ(dump_json(*parse_json(R"({"x":-Infinity})")),
            "{\n    \"x\": {\n        \"__float__\": \"-Infinity\"\n    }\n}");
}

TEST(DumpJson, WritesReplacementForBytesThatAreNoText) {
  EXPECT_EQ(dump_json(base::Value("a\xFF")), "\"a\\ufffd\"");
}

TEST(PythonFloat, MatchesRepr) {
  EXPECT_EQ(python_float(0.0), "0.0");
  EXPECT_EQ(python_float(-0.0), "-0.0");
  EXPECT_EQ(python_float(1e-6), "1e-06");
  EXPECT_EQ(python_float(0.0001), "0.0001");
  EXPECT_EQ(python_float(0.00001), "1e-05");
  EXPECT_EQ(python_float(1e16), "1e+16");
  EXPECT_EQ(python_float(1e15), "1000000000000000.0");
  EXPECT_EQ(python_float(9999999999999998.0), "9999999999999998.0");
  EXPECT_EQ(python_float(12345678901234567890.0), "1.2345678901234567e+19");
  EXPECT_EQ(python_float(10000.0), "10000.0");
  EXPECT_EQ(python_float(0.1), "0.1");
  EXPECT_EQ(python_float(-1.5e-300), "-1.5e-300");
  EXPECT_EQ(python_float(5e-324), "5e-324");
  EXPECT_EQ(python_float(1.7976931348623157e308), "1.7976931348623157e+308");
}

// Thousands of documents, sound and damaged, against Python's own json module and mlx-lm's two
// functions.
TEST(Json, AgreesWithPython) {
  constexpr int kDocuments = 6000;
  const TempFolder folder;
  const std::string records_path = (folder / "records").string();
  const std::string script = MLXMILL_SOURCE_DIR "/tests/formats/json_oracle.py";
  if (!run_python(plain_python(), {"-c", "import json"})) GTEST_SKIP() << "no python3";
  ASSERT_TRUE(
      run_python(plain_python(), {script, "20260801", std::to_string(kDocuments), records_path}));
  const std::string records = read_file(records_path);
  std::size_t pos = 0;
  const auto take = [&] {
    std::uint32_t length = 0;
    std::memcpy(&length, records.data() + pos, 4);
    const std::string part = records.substr(pos + 4, length);
    pos += 4 + length;
    return part;
  };
  int count = 0;
  int refused = 0;
  int twice_count = 0;
  for (; pos < records.size(); ++count) {
    const std::string document = take();
    const std::string expected = take();
    const bool twice = take() == "twice";
    const auto strict = parse_json(document);
    const auto value = parse_json(document, {.refuse_duplicate_keys = false});
    ASSERT_EQ(value.has_value(), !expected.empty()) << document << '\n'
                                                    << (value ? "" : value.error().message());
    EXPECT_EQ(strict.has_value(), value.has_value() && !twice) << document;
    refused += !value;
    twice_count += twice;
    if (value) {
      ASSERT_EQ(dump_json(*value, {.sort_keys = true}), expected) << document;
    }
  }
  EXPECT_EQ(count, kDocuments);
  EXPECT_GT(refused, 500);
  EXPECT_GT(twice_count, 10);
}

}  // namespace
}  // namespace mlxmill::formats

// Every folder of tests/hostile, and what is too large to be a file there.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>

#include "formats/checkpoint.h"
#include "formats/test_files.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;
using ::mlxmill::testing::length_word;
using ::mlxmill::testing::put;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::replaced;
using ::mlxmill::testing::safetensors_bytes;
using ::mlxmill::testing::TempFolder;

// Canonical, as messages name the targets of links that way.
const fs::path kFolder = fs::canonical(MLXMILL_SOURCE_DIR "/tests/hostile");

std::string_view code_name(Code code) {
  static const std::map<Code, std::string_view> kNames = {{Code::kInvalidInput, "kInvalidInput"},
                                                          {Code::kUnsupported, "kUnsupported"},
                                                          {Code::kNotFound, "kNotFound"}};
  const auto name = kNames.find(code);
  return name == kNames.end() ? "another code" : name->second;
}

// "CODE<tab>MESSAGE" of opening a folder.
std::string outcome(const fs::path& folder) {
  const auto checkpoint = open_checkpoint(folder);
  if (checkpoint) return "opened";
  const std::string message = checkpoint.error().message();
  return fmt::format("{}\t{}", code_name(checkpoint.error().code()),
                     replaced(replaced(message, folder, "DIR"), kFolder, "HOSTILE"));
}

TEST(Hostile, EveryFolderIsRefusedWithItsMessage) {
  std::istringstream table(read_file(kFolder / "cases.tsv"));
  std::set<std::string> listed;
  std::string line;
  std::getline(table, line);
  ASSERT_EQ(line, "folder\tcode\tmessage\treason");
  while (std::getline(table, line)) {
    const std::size_t name_end = line.find('\t');
    const std::size_t reason = line.rfind('\t');
    ASSERT_TRUE(name_end != std::string::npos && reason > name_end + 1) << line;
    const std::string name = line.substr(0, name_end);
    EXPECT_TRUE(listed.insert(name).second) << name;
    EXPECT_GT(line.size(), reason + 10) << "no reason for " << name;
    EXPECT_EQ(outcome(kFolder / name), line.substr(name_end + 1, reason - name_end - 1)) << name;
  }
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(!entry.is_directory() || listed.contains(name)) << name << " is not in cases.tsv";
  }
  EXPECT_GT(listed.size(), 80u);
}

TEST(Hostile, RefusesDeepAndLongConfigs) {
  const TempFolder folder;
  put(folder, "model.safetensors", safetensors_bytes("{}", 0));
  put(folder, "config.json", "{\"a\": " + std::string(10'000'000, '['));
  EXPECT_EQ(outcome(folder.path()),
            "kInvalidInput\tDIR/config.json: line 1 column 70: nested deeper than 64 levels");
  put(folder, "config.json", "{\"a\": " + std::string(1'000'000, '7') + "}");
  EXPECT_EQ(
      outcome(folder.path()),
      "kInvalidInput\tDIR/config.json: line 1 column 7: a number of 1000000 characters; at most "
      "400 are read");
  auto file = io::File::open_write(put(folder, "config.json", "{"));
  ASSERT_TRUE(file->resize(std::uint64_t{1} << 40));
  EXPECT_EQ(outcome(folder.path()),
            "kInvalidInput\tDIR/config.json: has 1099511627776 bytes; expected at most 67108864");
}

TEST(Hostile, RefusesDeepHeaders) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  put(folder, "model.safetensors",
      safetensors_bytes("{\"a\":{\"shape\":" + std::string(100'000, '[') + "}}", 0));
  EXPECT_EQ(
      outcome(folder.path()),
      "kInvalidInput\tDIR/model.safetensors: tensor 'a': line 1 column 16: nested deeper than 3 "
      "levels");
}

TEST(Hostile, RefusesMetadataBombs) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  std::string header = "{\"__metadata__\":{";
  for (int i = 0; i < 100'000; ++i) header += fmt::format("{}\"{}\":\"\"", i > 0 ? "," : "", i);
  put(folder, "model.safetensors", safetensors_bytes(header + "}}", 0));
  EXPECT_THAT(outcome(folder.path()),
              ::testing::HasSubstr("'__metadata__' has more than 65536 keys"));
}

TEST(Hostile, KeepsMessagesShort) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  const std::string name(1'000'000, 'n');
  put(folder, "model.safetensors", safetensors_bytes("{\"" + name + "\":1}", 0));
  EXPECT_LT(outcome(folder.path()).size(), 300u);
}

// A header that claims 90 MB in a file of that size: sparse, so that nothing backs it up.
TEST(Hostile, RefusesHeadersOfNothing) {
  const TempFolder folder;
  put(folder, "config.json", "{}");
  auto file = io::File::open_write(put(folder, "model.safetensors", length_word(90'000'000)));
  ASSERT_TRUE(file->resize(90'000'008));
  EXPECT_EQ(outcome(folder.path()),
            "kInvalidInput\tDIR/model.safetensors: the header begins with '\\x00'; expected '{'");
}

}  // namespace
}  // namespace mlxmill::formats

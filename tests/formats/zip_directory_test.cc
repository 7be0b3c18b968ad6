#include "formats/zip_directory.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "formats/test_files.h"
#include "formats/torch_bytes.h"
#include "python.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;
using ::mlxmill::testing::le;
using ::mlxmill::testing::plain_python;
using ::mlxmill::testing::put;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::run_python;
using ::mlxmill::testing::TempFolder;
using ::mlxmill::testing::zip_bytes;
using ::mlxmill::testing::zip_central;
using ::mlxmill::testing::zip_end;
using ::mlxmill::testing::zip_local;
using ::mlxmill::testing::ZipPart;
using ::testing::HasSubstr;

Result<ZipDirectory> read(const fs::path& path) {
  MLXMILL_ASSIGN(const io::File file, io::File::open_read(path));
  return ZipDirectory::read(file);
}

std::string outcome(const std::string& bytes) {
  const TempFolder folder;
  const auto directory = read(put(folder, "f.zip", bytes));
  return directory ? fmt::format("{} entries", directory->entries().size())
                   : directory.error().message();
}

// What the oracle takes.
std::string listing(const fs::path& archive, const ZipDirectory& directory) {
  std::string list = archive.string() + "\n";
  for (const ZipEntry& entry : directory.entries()) {
    list += fmt::format("{} {} {}\n", entry.begin, entry.bytes, entry.name);
  }
  return list;
}

void compare_with_python(const std::string& list) {
  const TempFolder folder;
  EXPECT_TRUE(run_python(plain_python(), {MLXMILL_SOURCE_DIR "/tests/formats/torch_oracle.py",
                                          "zip", put(folder, "list", list).string()}));
}

const ZipPart kA = {.name = "m/a", .data = "12345"};
const ZipPart kB = {.name = "m/b", .data = "678"};

TEST(ZipDirectory, FindsEntries) {
  const TempFolder folder;
  const fs::path path = put(folder, "f.zip", zip_bytes({kB, kA}));
  const auto directory = read(path);
  ASSERT_TRUE(directory) << directory.error().message();
  ASSERT_EQ(directory->entries().size(), 2u);
  EXPECT_EQ(directory->entries()[0].name, "m/a");
  const ZipEntry* b = directory->find("m/b");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->begin, 33u);
  EXPECT_EQ(b->bytes, 3u);
  EXPECT_EQ(directory->find("m/c"), nullptr);
  EXPECT_EQ(directory->find("m"), nullptr);
  compare_with_python(listing(path, *directory));
  EXPECT_EQ(outcome(zip_bytes({})), "0 entries");
}

TEST(ZipDirectory, AgreesWithPythonOnWhatTorchWrote) {
  std::size_t n_archives = 0;
  std::string list;
  for (const auto& entry : fs::directory_iterator(MLXMILL_SOURCE_DIR "/tests/formats/torch")) {
    if (entry.path().extension() != ".pt" || !read_file(entry.path()).starts_with("PK")) continue;
    const auto directory = read(entry.path());
    ASSERT_TRUE(directory) << entry.path() << directory.error().message();
    list += listing(entry.path(), *directory);
    ++n_archives;
  }
  EXPECT_GT(n_archives, 20u);
  compare_with_python(list);
}

// 5 GiB of nothing in front: sizes and offsets take the zip64 fields, in both headers.
TEST(ZipDirectory, ReadsEntriesPast4GiB) {
  constexpr std::uint64_t kHuge = std::uint64_t{5} << 30;
  const TempFolder folder;
  const fs::path path = folder / "f.zip";
  auto file = io::File::open_write(path);
  ASSERT_TRUE(file);
  const auto write = [&](std::uint64_t at, const std::string& text) {
    ASSERT_TRUE(file->write_at(at, std::as_bytes(std::span(text.data(), text.size()))));
  };
  const std::string full = le(0xFFFFFFFF, 4);
  const std::string local = "PK\x03\x04" + le(45, 2) + le(0, 12) + full + full + le(3, 2) +
                            le(20, 2) + "m/a" + le(1, 2) + le(16, 2) + le(kHuge, 8) + le(kHuge, 8);
  write(0, local);
  const std::uint64_t second = local.size() + kHuge;
  write(second, zip_local(kB));
  const std::uint64_t begin = second + zip_local(kB).size();
  const auto central = [&](std::string_view name, std::uint64_t bytes, std::uint64_t offset) {
    std::string extra = bytes < kHuge ? "" : le(bytes, 8) + le(bytes, 8);
    if (offset >= kHuge) extra += le(offset, 8);
    const std::string size = bytes < kHuge ? le(bytes, 4) : full;
    return "PK\x01\x02" + le(0, 16) + size + size + le(name.size(), 2) + le(4 + extra.size(), 2) +
           le(0, 10) + (offset < kHuge ? le(offset, 4) : full) + std::string(name) + le(1, 2) +
           le(extra.size(), 2) + extra;
  };
  const std::string directory_bytes = central("m/a", kHuge, 0) + central("m/b", 3, second);
  const std::uint64_t end64 = begin + directory_bytes.size();
  write(begin, directory_bytes + "PK\x06\x06" + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 8) +
                   le(2, 8) + le(2, 8) + le(directory_bytes.size(), 8) + le(begin, 8) +
                   "PK\x06\x07" + le(0, 4) + le(end64, 8) + le(1, 4) +
                   zip_end(2, directory_bytes.size(), 0xFFFFFFFF));
  const auto directory = read(path);
  ASSERT_TRUE(directory) << directory.error().message();
  EXPECT_EQ(directory->find("m/a")->begin, local.size());
  EXPECT_EQ(directory->find("m/a")->bytes, kHuge);
  EXPECT_EQ(directory->find("m/b")->header_begin, second);
  EXPECT_EQ(directory->find("m/b")->bytes, 3u);
  compare_with_python(listing(path, *directory));
}

TEST(ZipDirectory, RefusesOtherEnds) {
  const std::string good = zip_bytes({kA, kB});
  const std::string no_end = "has no zip directory at its end; incomplete download?";
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(outcome(good.substr(0, size)), no_end) << size;
  }
  EXPECT_EQ(outcome(good + "x"), no_end);
  std::string comment = good;
  comment[good.size() - 2] = 1;
  EXPECT_EQ(outcome(comment + "c"), no_end);
  const std::string local = zip_local(kA);
  const std::string central = zip_central(kA, 0);
  EXPECT_EQ(outcome(local + central + zip_end(1, central.size(), local.size() + 1)),
            "the zip directory of 49 bytes at 39 does not end at 87");
  EXPECT_EQ(outcome(local + central + zip_end(1, central.size() + 1, local.size())),
            "the zip directory of 50 bytes at 38 does not end at 87");
  EXPECT_EQ(outcome(local + central + zip_end(2, central.size(), local.size())),
            "the zip directory has 49 bytes for 2 entries");
  EXPECT_EQ(outcome(local + central + central + zip_end(1, 2 * central.size(), local.size())),
            "49 bytes behind the last of 1 entries of the zip directory");
  EXPECT_EQ(outcome(local + central + zip_end(0xFFFF, central.size(), local.size())),
            "has no zip64 directory, which its sizes need");
  std::string disks = good;
  disks[good.size() - 18] = 1;
  EXPECT_EQ(outcome(disks), "an archive on several disks");
}

TEST(ZipDirectory, RefusesWrongZip64Records) {
  const std::string local = zip_local(kA);
  const std::string central = zip_central(kA, 0);
  const std::uint64_t at = local.size() + central.size();
  const auto archive = [&](std::uint64_t located, std::uint64_t n, std::uint64_t bytes,
                           std::uint64_t begin, std::uint64_t record_bytes = 44) {
    return local + central + "PK\x06\x06" + le(record_bytes, 8) + le(45, 2) + le(45, 2) + le(0, 8) +
           le(n, 8) + le(n, 8) + le(bytes, 8) + le(begin, 8) + "PK\x06\x07" + le(0, 4) +
           le(located, 8) + le(1, 4) + zip_end(1, central.size(), 0xFFFFFFFF);
  };
  EXPECT_EQ(outcome(archive(at, 1, central.size(), local.size())), "1 entries");
  EXPECT_EQ(outcome(archive(at + 1, 1, central.size(), local.size())),
            "the zip64 record at 88 does not end at 143");
  EXPECT_EQ(outcome(archive(~std::uint64_t{0}, 1, central.size(), local.size())),
            "the zip64 record at 18446744073709551615 does not end at 143");
  EXPECT_EQ(outcome(archive(at, 1, central.size(), local.size(), 45)), "no zip64 record at 87");
  EXPECT_EQ(outcome(archive(at, 2, central.size(), local.size())),
            "the zip64 record contradicts the end of the archive");
  EXPECT_EQ(outcome(archive(at, 1, central.size(), ~std::uint64_t{0})),
            "the zip directory of 49 bytes at 18446744073709551615 does not end at 87");
}

TEST(ZipDirectory, RefusesNamesThatLeadElsewhere) {
  const auto named = [](std::string_view name) {
    return outcome(zip_bytes({{.name = std::string(name), .data = "x"}}));
  };
  EXPECT_EQ(named("m/..x/...y"), "1 entries");
  EXPECT_EQ(named(""), "entry 0: the name '' is empty");
  EXPECT_EQ(named("../a"), "entry 0: the name '../a' leads out of the archive");
  EXPECT_EQ(named("m/../a"), "entry 0: the name 'm/../a' leads out of the archive");
  EXPECT_EQ(named("m/.."), "entry 0: the name 'm/..' leads out of the archive");
  EXPECT_EQ(named("/etc/a"), "entry 0: the name '/etc/a' is absolute");
  EXPECT_EQ(named("m\\a"), "entry 0: the name 'm\\a' holds a backslash or NUL");
  EXPECT_EQ(named(std::string_view("m\0a", 3)),
            "entry 0: the name 'm\\x00a' holds a backslash or NUL");
}

TEST(ZipDirectory, RefusesEntriesThatOverlap) {
  EXPECT_EQ(outcome(zip_bytes({kA, kA})), "entry 'm/a' appears twice");
  ZipPart alias = kB;
  alias.shift = -38;
  alias.local_name = "m/b";
  EXPECT_THAT(outcome(zip_bytes({kA, alias})),
              HasSubstr("entry 'm/b': the header in front of its data has another name"));
  // The second header lies inside the first one's data.
  const std::string inner = zip_local(kB);
  ZipPart outer = {.name = "m/a", .data = inner};
  const std::string directory = zip_central(outer, 0) + zip_central(kB, 33);
  const std::string file = zip_local(outer);
  EXPECT_EQ(outcome(file + directory + zip_end(2, directory.size(), file.size())),
            "entry 'm/b': begins at 33, inside entry 'm/a'");
}

TEST(ZipDirectory, RefusesEntriesOutsideTheFile) {
  ZipPart part = kA;
  part.shift = 1;
  EXPECT_EQ(outcome(zip_bytes({part})),
            "entry 'm/a': the header in front of its data has another signature than the "
            "directory");
  part.shift = 1000;
  EXPECT_EQ(outcome(zip_bytes({part})),
            "entry 'm/a': 5 bytes at 1000 are not within the 38 in front of the zip directory");
  part = kA;
  part.grow = part.local_grow = 1;
  EXPECT_EQ(outcome(zip_bytes({part})),
            "entry 'm/a': 6 bytes at 0 are not within the 38 in front of the zip directory");
}

TEST(ZipDirectory, RefusesHeadersThatContradictTheDirectory) {
  const auto contradiction = [](const std::string& what) {
    return "entry 'm/a': the header in front of its data has another " + what +
           " than the directory";
  };
  ZipPart part = kA;
  part.local_name = "m/x";
  EXPECT_EQ(outcome(zip_bytes({part})), contradiction("name"));
  part = kA;
  part.local_grow = 1;
  EXPECT_EQ(outcome(zip_bytes({part})), contradiction("size"));
  part.local_grow = -5;
  EXPECT_EQ(outcome(zip_bytes({part})), contradiction("size"));
  // Sizes that follow the data are zero in front of it.
  part.flags = 8;
  EXPECT_EQ(outcome(zip_bytes({part})), "1 entries");
  part = kA;
  part.flags = 1;
  EXPECT_EQ(outcome(zip_bytes({part})), "entry 0: 'm/a' is encrypted");
  std::string method = zip_bytes({kA});
  method[8] = 8;
  EXPECT_EQ(outcome(method), contradiction("method"));
  std::string sizes = zip_bytes({kA});
  sizes[38 + 20] = 4;
  EXPECT_EQ(outcome(sizes), "entry 0: 'm/a' is stored in 4 bytes and unpacked 5");
}

// Changes no byte can make: a crash, or an entry that leaves the file.
TEST(ZipDirectory, SurvivesEveryChangedByte) {
  const std::string good = zip_bytes({kA, kB});
  const TempFolder folder;
  auto file = io::File::open_write(put(folder, "f.zip", good));
  ASSERT_TRUE(file);
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const char value : {'\0', '\1', '\x7f', '\xff', good[at]}) {
      ASSERT_TRUE(file->write_at(at, std::as_bytes(std::span(&value, 1))));
      const auto directory = ZipDirectory::read(*file);
      if (!directory) continue;
      for (const ZipEntry& entry : directory->entries()) {
        EXPECT_LE(entry.begin + entry.stored_bytes, good.size()) << at;
      }
    }
  }
}

}  // namespace
}  // namespace mlxmill::formats

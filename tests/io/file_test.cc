#include "io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>
#include <thread>
#include <vector>

#include "formats/test_files.h"

namespace mlxmill::io {
namespace {

using ::mlxmill::testing::put;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::replaced;
using ::mlxmill::testing::TempFolder;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(File, ReadsAndWritesAtOffsets) {
  const TempFolder folder;
  auto file = File::open_write(folder / "f");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write_at(4, bytes_of("tail")));
  ASSERT_TRUE(file->write_at(0, bytes_of("head")));
  ASSERT_TRUE(file->sync());
  EXPECT_EQ(*file->size(), 8u);
  std::string text(4, '\0');
  ASSERT_TRUE(file->read_at(2, std::as_writable_bytes(std::span(text.data(), 4))));
  EXPECT_EQ(text, "adta");
  file->will_read(0, 8);
  file->will_read(std::numeric_limits<std::uint64_t>::max(), 8);
}

TEST(File, OpensForWritingWithoutTruncating) {
  const TempFolder folder;
  put(folder, "f", "content");
  ASSERT_TRUE(File::open_write(folder / "f"));
  EXPECT_EQ(read_file(folder / "f"), "content");
}

TEST(File, GrowsWithZerosOnResize) {
  const TempFolder folder;
  auto file = File::open_write(folder / "f");
  ASSERT_TRUE(file && file->resize(3));
  EXPECT_EQ(read_file(folder / "f"), std::string(3, '\0'));
  EXPECT_EQ(file->resize(std::numeric_limits<std::uint64_t>::max()).error().code(),
            Code::kInternal);
}

TEST(File, MovesItsDescriptor) {
  const TempFolder folder;
  File a = *File::open_write(folder / "a");
  File b = std::move(a);
  EXPECT_FALSE(a.is_open());
  EXPECT_TRUE(b.is_open());
  EXPECT_TRUE(b.write_at(0, bytes_of("x")));
  a = std::move(b);
  EXPECT_TRUE(a.is_open());
}

TEST(File, RefusesReadsPastTheEnd) {
  const TempFolder folder;
  const File file = *File::open_read(put(folder, "f", "12345"));
  std::array<std::byte, 4> out{};
  const Status status = file.read_at(2, out);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kInvalidInput);
  EXPECT_EQ(replaced(status.error().message(), folder.path(), "DIR"),
            "DIR/f: ends at byte 5; expected 4 bytes at offset 2; incomplete download?");
  EXPECT_TRUE(file.read_at(100, {}));
  const Status far = file.read_at(std::numeric_limits<std::uint64_t>::max(), out);
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error().code(), Code::kInvalidInput);
}

TEST(File, ReportsMissingFiles) {
  const TempFolder folder;
  const auto file = File::open_read(folder / "absent");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), Code::kNotFound);
  EXPECT_EQ(replaced(file.error().message(), folder.path(), "DIR"),
            "DIR/absent: cannot open: No such file or directory");
}

TEST(File, RefusesFoldersAndPipes) {
  const TempFolder folder;
  const auto directory = File::open_read(folder.path());
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code(), Code::kInvalidInput);
  EXPECT_THAT(directory.error().message(), HasSubstr("is a folder; expected a regular file"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto pipe = File::open_read(folder / "pipe");  // Must not wait for a writer.
  ASSERT_FALSE(pipe);
  EXPECT_EQ(pipe.error().code(), Code::kInvalidInput);
  EXPECT_THAT(pipe.error().message(), HasSubstr("is not a regular file"));
}

TEST(File, ReportsRefusedAccess) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may open everything";
  const TempFolder folder;
  const auto path = put(folder, "f", "x");
  ASSERT_EQ(::chmod(path.c_str(), 0), 0);
  EXPECT_EQ(File::open_read(path).error().code(), Code::kPermission);
}

TEST(File, ReportsFullDisk) {
  auto file = File::open_write("/dev/full");
  if (!file) GTEST_SKIP() << "no /dev/full on this system";
  const Status status = file->write_at(0, bytes_of("x"));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kNoSpace);
  EXPECT_EQ(
      status.error().message(),
      "/dev/full: cannot write: No space left on device; free some space or choose another disk");
}

TEST(File, ServesSeveralThreads) {
  const TempFolder folder;
  auto file = File::open_write(folder / "f");
  ASSERT_TRUE(file);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string block(1000, static_cast<char>('a' + i));
      for (std::uint64_t k = 0; k < 50; ++k) {
        EXPECT_TRUE(
            file->write_at((k * 4 + static_cast<std::uint64_t>(i)) * 1000, bytes_of(block)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string expected;
  for (int k = 0; k < 50; ++k) {
    for (int i = 0; i < 4; ++i) expected.append(1000, static_cast<char>('a' + i));
  }
  EXPECT_EQ(read_file(folder / "f"), expected);
}

TEST(ReadText, RefusesLongFiles) {
  const TempFolder folder;
  const auto path = put(folder, "f", "12345");
  EXPECT_EQ(*read_text(path, 5), "12345");
  const auto text = read_text(path, 4);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code(), Code::kInvalidInput);
  EXPECT_EQ(replaced(text.error().message(), folder.path(), "DIR"),
            "DIR/f: has 5 bytes; expected at most 4");
  EXPECT_EQ(*read_text(put(folder, "empty", ""), 0), "");
}

TEST(WriteText, ReplacesLongerContent) {
  const TempFolder folder;
  const auto path = put(folder, "f", "much longer than what follows");
  ASSERT_TRUE(write_text(path, "short"));
  EXPECT_EQ(read_file(path), "short");
  ASSERT_TRUE(sync_folder(folder.path()));
  EXPECT_EQ(sync_folder(folder / "absent").error().code(), Code::kNotFound);
}

TEST(CopyFile, CopiesThroughLinks) {
  const TempFolder folder;
  std::string content(3'000'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 >> 3);
  put(folder, "blob", content);
  std::filesystem::create_symlink("blob", folder / "link");
  ASSERT_TRUE(io::copy_file(folder / "link", folder / "copy"));
  EXPECT_EQ(read_file(folder / "copy"), content);
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "copy"));
  ASSERT_TRUE(io::copy_file(put(folder, "empty", ""), folder / "copy"));
  EXPECT_EQ(read_file(folder / "copy"), "");
}

TEST(CopyFile, RefusesCopyOntoItself) {
  const TempFolder folder;
  put(folder, "f", "content");
  std::filesystem::create_symlink("f", folder / "link");
  const Status status = io::copy_file(folder / "link", folder / "f");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kUsage);
  EXPECT_EQ(read_file(folder / "f"), "content");
}

TEST(SystemError, MapsWhatPeopleCanActOn) {
  const auto code = [](int number) { return system_error(number, "cannot read", "f").code(); };
  EXPECT_EQ(code(ENOSPC), Code::kNoSpace);
  EXPECT_EQ(code(EDQUOT), Code::kNoSpace);
  EXPECT_EQ(code(EACCES), Code::kPermission);
  EXPECT_EQ(code(EPERM), Code::kPermission);
  EXPECT_EQ(code(ENOENT), Code::kNotFound);
  EXPECT_EQ(code(EIO), Code::kIo);
  EXPECT_THAT(system_error(EMFILE, "cannot open", "f").message(),
              HasSubstr("f: cannot open: Too many open files; raise the limit of open files with "
                        "`ulimit -n`"));
}

}  // namespace
}  // namespace mlxmill::io

#include "hub/blob_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "io/file.h"

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

std::string content(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>(i * 31 + (i >> 8));
  return text;
}

std::string sha256(const std::string& text) {
  io::Checksum checksum = io::Checksum::sha256();
  checksum.update(std::as_bytes(std::span(text.data(), text.size())));
  return checksum.finish();
}

class BlobFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("mlxmill-blob-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  BlobFile open(std::uint64_t bytes) {
    auto blob = BlobFile::open(folder_, etag_, bytes);
    EXPECT_TRUE(blob) << blob.error().message();
    return *std::move(blob);
  }
  static void fill(BlobFile& blob, const std::string& text, const Range& range) {
    const auto part = std::span(text.data() + range.begin, range.end - range.begin);
    EXPECT_TRUE(blob.write(range.begin, std::as_bytes(part)));
    EXPECT_TRUE(blob.finish(range));
  }

  fs::path folder_;
  const std::string text_ = content((5 << 20) + 17);
  std::string etag_ = sha256(text_);
};

TEST_F(BlobFileTest, RangesInAnyOrderMakeTheBlob) {
  BlobFile blob = open(text_.size());
  std::vector<Range> ranges;
  while (const auto range = blob.take()) ranges.push_back(*range);
  EXPECT_EQ(ranges.size(), 6U);
  for (auto it = ranges.rbegin(); it != ranges.rend(); ++it) {
    EXPECT_FALSE(blob.complete());
    fill(blob, text_, *it);
  }
  ASSERT_TRUE(blob.complete());
  std::string got;
  EXPECT_TRUE(*blob.check(got));
  ASSERT_TRUE(blob.publish(folder_ / "blob"));
  EXPECT_EQ(*io::read_text(folder_ / "blob", 1 << 30), text_);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(BlobFileTest, ResumesWhatTheJournalSays) {
  {
    BlobFile blob = open(text_.size());
    (void)blob.take();
    fill(blob, text_, *blob.take());
  }
  BlobFile blob = open(text_.size());
  EXPECT_EQ(blob.arrived(), 1U << 20);
  std::uint64_t missing = 0;
  while (const auto range = blob.take()) {
    EXPECT_NE(range->begin, 1U << 20);
    missing += range->end - range->begin;
    fill(blob, text_, *range);
  }
  EXPECT_EQ(missing, text_.size() - (1 << 20));
  std::string got;
  EXPECT_TRUE(*blob.check(got));
}

TEST_F(BlobFileTest, AnotherSizeOrATornJournalStartsOver) {
  {
    BlobFile blob = open(text_.size());
    fill(blob, text_, *blob.take());
  }
  EXPECT_EQ(open(text_.size() - 1).arrived(), 0U);
  {
    BlobFile blob = open(text_.size());
    fill(blob, text_, *blob.take());
  }
  fs::resize_file(folder_ / (etag_ + ".mlxmill.journal"), 50);
  EXPECT_EQ(open(text_.size()).arrived(), 0U);
}

TEST_F(BlobFileTest, WrongBytesAreThrownAway) {
  std::string damaged = text_;
  damaged[4000] ^= 1;
  BlobFile blob = open(text_.size());
  while (const auto range = blob.take()) fill(blob, damaged, *range);
  std::string got;
  EXPECT_FALSE(*blob.check(got));
  EXPECT_EQ(got, sha256(damaged));
  EXPECT_EQ(blob.arrived(), 0U);
  while (const auto range = blob.take()) fill(blob, text_, *range);
  EXPECT_TRUE(*blob.check(got));
}

TEST_F(BlobFileTest, AnEmptyBlobIsCompleteAtOnce) {
  etag_ = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";  // git's name of it.
  BlobFile blob = open(0);
  EXPECT_TRUE(blob.complete());
  std::string got;
  EXPECT_TRUE(*blob.check(got));
}

TEST_F(BlobFileTest, GivenBackRangesComeAgain) {
  BlobFile blob = open(text_.size());
  const Range first = *blob.take();
  (void)blob.take();
  blob.give_back(first);
  EXPECT_EQ(blob.take()->begin, 0U);
}

}  // namespace
}  // namespace mlxmill::hub

#include "io/work_folder.h"

#include <gtest/gtest.h>

#include "temp_folder.h"

namespace mlxmill::io {
namespace {

namespace fs = std::filesystem;
using mlxmill::testing::read_file;
using mlxmill::testing::TempFolder;
using mlxmill::testing::write_file;

TEST(WorkFolder, PublishGivesTheFinalNameAndLeavesNothingElse) {
  TempFolder temp;
  WorkFolder work = *WorkFolder::open(temp / "out");
  EXPECT_FALSE(work.found());
  write_file(work.model() / "a", "new");
  EXPECT_FALSE(fs::exists(temp / "out"));
  ASSERT_TRUE(work.publish(false));
  EXPECT_EQ(read_file(temp / "out/a"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), {}), 1);
}

TEST(WorkFolder, IsFoundAgain) {
  TempFolder temp;
  WorkFolder first = *WorkFolder::open(temp / "out");
  write_file(first.model() / "a", "half");
  const WorkFolder second = *WorkFolder::open(temp / "out");
  EXPECT_TRUE(second.found());
  EXPECT_EQ(read_file(second.model() / "a"), "half");
}

TEST(WorkFolder, TrailingSlashNamesTheSameFolder) {
  TempFolder temp;
  EXPECT_EQ(WorkFolder::root_of(temp / "out/"), WorkFolder::root_of(temp / "out"));
}

TEST(WorkFolder, PublishRefusesATakenName) {
  TempFolder temp;
  WorkFolder work = *WorkFolder::open(temp / "out");
  fs::create_directory(temp / "out");
  const Status status = work.publish(false);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kOutputExists);
}

TEST(WorkFolder, PublishReplacesWhenAsked) {
  TempFolder temp;
  fs::create_directory(temp / "out");
  write_file(temp / "out/old", "old");
  WorkFolder work = *WorkFolder::open(temp / "out");
  write_file(work.model() / "a", "new");
  ASSERT_TRUE(work.publish(true));
  EXPECT_FALSE(fs::exists(temp / "out/old"));
  EXPECT_EQ(read_file(temp / "out/a"), "new");
  EXPECT_FALSE(fs::exists(work.root()));
}

TEST(WorkFolder, DiscardsOnlyWhatPublishingLeft) {
  TempFolder temp;
  fs::create_directories(WorkFolder::root_of(temp / "done"));
  fs::create_directories(WorkFolder::root_of(temp / "half") / "model");
  WorkFolder::discard_published(temp / "done");
  WorkFolder::discard_published(temp / "half");
  EXPECT_FALSE(fs::exists(WorkFolder::root_of(temp / "done")));
  EXPECT_TRUE(fs::exists(WorkFolder::root_of(temp / "half") / "model"));
}

TEST(WorkFolder, CreatesTheFoldersAbove) {
  TempFolder temp;
  ASSERT_TRUE(WorkFolder::open(temp / "a/b/out"));
  EXPECT_TRUE(fs::is_directory(temp / "a/b"));
}

TEST(IsWithin, SeesThroughLinksAndDots) {
  TempFolder temp;
  fs::create_directories(temp / "source/deep");
  fs::create_directory_symlink(temp / "source", temp / "link");
  EXPECT_TRUE(is_within(temp / "source", temp / "source"));
  EXPECT_TRUE(is_within(temp / "link/deep/out", temp / "source"));
  EXPECT_TRUE(is_within(temp / "x/../source/new", temp / "source"));
  EXPECT_FALSE(is_within(temp / "source2", temp / "source"));
  EXPECT_FALSE(is_within(temp.path(), temp / "source"));
}

}  // namespace
}  // namespace mlxmill::io

#include "convert/journal.h"

#include <gtest/gtest.h>

#include "temp_folder.h"

namespace mlxmill::convert {
namespace {

using mlxmill::testing::read_file;
using mlxmill::testing::TempFolder;
using mlxmill::testing::write_file;

UnitRecord some_record(std::uint8_t seed) {
  UnitRecord record;
  for (io::Digest& digest : record.digests) digest.bytes.fill(seed);
  record.non_finite = seed;
  return record;
}

TEST(Journal, FindsWhatWasRecordedAfterReopening) {
  TempFolder temp;
  {
    Journal journal = *Journal::open(temp / "j", "print", 5);
    EXPECT_TRUE(journal.fresh());
    ASSERT_TRUE(journal.record(3, some_record(7)));
  }
  const Journal journal = *Journal::open(temp / "j", "print", 5);
  EXPECT_FALSE(journal.fresh());
  EXPECT_EQ(**journal.find(3), some_record(7));
  EXPECT_EQ(*journal.find(2), std::nullopt);
}

TEST(Journal, StartsOverForAnotherConversion) {
  TempFolder temp;
  { ASSERT_TRUE(Journal::open(temp / "j", "print", 5)->record(0, some_record(1))); }
  const Journal journal = *Journal::open(temp / "j", "other", 5);
  EXPECT_TRUE(journal.fresh());
  EXPECT_EQ(*journal.find(0), std::nullopt);
}

TEST(Journal, StartsOverForAnotherNumberOfUnits) {
  TempFolder temp;
  { ASSERT_TRUE(Journal::open(temp / "j", "print", 5)->record(0, some_record(1))); }
  EXPECT_TRUE(Journal::open(temp / "j", "print", 6)->fresh());
}

TEST(Journal, IgnoresATornSlot) {
  TempFolder temp;
  { ASSERT_TRUE(Journal::open(temp / "j", "print", 2)->record(1, some_record(9))); }
  std::string content = read_file(temp / "j");
  for (std::size_t at = 64 + 64; at < content.size(); ++at) {
    std::string torn = content;
    torn[at] = static_cast<char>(torn[at] ^ 0x10);
    write_file(temp / "j", torn);
    const Journal journal = *Journal::open(temp / "j", "print", 2);
    ASSERT_FALSE(journal.fresh());
    ASSERT_EQ(*journal.find(1), std::nullopt) << at;
  }
}

TEST(Journal, IsTakenByOneProcessAtATime) {
  TempFolder temp;
  const Journal held = *Journal::open(temp / "j", "print", 1);
  const Result<Journal> second = Journal::open(temp / "j", "print", 1);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
}

}  // namespace
}  // namespace mlxmill::convert

#include "convert/open_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/gguf_files.h"
#include "formats/test_files.h"

namespace mlxmill::convert {
namespace {

using namespace mlxmill::testing;  // The builders of files.
using ::testing::HasSubstr;

TEST(OpenSource, ReadsGgufFilesWithoutAnEnding) {
  const TempFolder folder;
  const auto file = GgufFile()
                        .pair("general.architecture", kString, text("clip"))
                        .tensor("t", {32}, 0, 0)
                        .with_data(128);
  const auto source = open_source(put(folder, "sha256-0123", file.bytes()), false);
  ASSERT_FALSE(source);
  EXPECT_THAT(source.error().message(), HasSubstr("an encoder of images or sound (mmproj)"));
}

}  // namespace
}  // namespace mlxmill::convert

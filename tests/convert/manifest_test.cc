#include "convert/manifest.h"

#include <gtest/gtest.h>

#include "temp_folder.h"

namespace mlxmill::convert {
namespace {

Manifest example() {
  Manifest manifest;
  manifest.made_with = "mlxmill test";
  manifest.files["config.json"] = {12, io::digest("a")};
  manifest.shards["model.safetensors"] = {4096, io::digest("b")};
  manifest.tensors["model.norm.weight"] = {512, io::digest("c")};
  return manifest;
}

TEST(Manifest, SurvivesWritingAndReading) {
  const Manifest back = *parse_manifest(write_manifest(example()));
  EXPECT_EQ(back.made_with, "mlxmill test");
  EXPECT_EQ(back.files.at("config.json").bytes, 12u);
  EXPECT_EQ(back.shards.at("model.safetensors").header, io::digest("b"));
  EXPECT_EQ(back.tensors.at("model.norm.weight").chunk_bytes, 512u);
  EXPECT_EQ(back.tensors.at("model.norm.weight").digest, io::digest("c"));
}

TEST(Manifest, NamesWhatIsMalformed) {
  EXPECT_EQ(parse_manifest("{}").error().message(),
            "mlxmill-manifest.json: is not a manifest of version 1");
  EXPECT_EQ(parse_manifest(R"({"version": 1})").error().message(),
            "mlxmill-manifest.json: has no object 'files'");
  EXPECT_EQ(parse_manifest(R"({"version": 1, "files": {"x": {"bytes": -1, "xxh3_128": "00"}}})")
                .error()
                .message(),
            "mlxmill-manifest.json: files: 'x' needs 'bytes' and 'xxh3_128'");
}

TEST(Manifest, IsAbsentInAFolderWithoutOne) {
  mlxmill::testing::TempFolder temp;
  EXPECT_EQ(read_manifest(temp.path())->has_value(), false);
}

}  // namespace
}  // namespace mlxmill::convert

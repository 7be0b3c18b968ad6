#include "convert/output_config.h"

#include <gtest/gtest.h>

#include "formats/json.h"

namespace mlxmill::convert {
namespace {

base::Value parse(std::string_view text) { return *formats::parse_json(text); }

TEST(OutputConfig, SortsMirrorsAndDropsWhatMlxLmDrops) {
  const base::Value quantization = quantization_value({Mode::kAffine, 4, 64}, {});
  const std::string text = output_config_text(
      parse(R"({"z": 1e-6, "a": {"y": 1, "b": 2}, "_name_or_path": "x", "vision_config": {}})"),
      quantization, false);
  EXPECT_EQ(text, R"({
    "a": {
        "y": 1,
        "b": 2
    },
    "quantization": {
        "group_size": 64,
        "bits": 4,
        "mode": "affine"
    },
    "quantization_config": {
        "group_size": 64,
        "bits": 4,
        "mode": "affine"
    },
    "z": 1e-06
})");
}

TEST(OutputConfig, GivesEntriesToModulesThatHaveTheirOwn) {
  quantize::Decision gate;
  gate.scheme = Scheme{Mode::kAffine, 8, 64};
  gate.own_entry = true;
  quantize::Decision mixed = gate;
  mixed.entry_has_mode = true;
  quantize::Decision plain;
  plain.scheme = Scheme{Mode::kMxfp4, 4, 32};
  const base::Value value = quantization_value(
      {Mode::kMxfp4, 4, 32}, {{"gate", gate}, {"plain", plain}, {"mixed", mixed}});
  EXPECT_EQ(
      formats::dump_json(value, {.indent = -1}),
      R"({"group_size": 32, "bits": 4, "mode": "mxfp4", "gate": {"group_size": 64, "bits": 8}, )"
      R"("mixed": {"group_size": 64, "bits": 8, "mode": "affine"}})");
}

TEST(OutputConfig, DequantizingRemovesBothKeys) {
  const std::string text = output_config_text(
      parse(R"({"quantization": {"bits": 4}, "quantization_config": {"bits": 4}})"), {}, true);
  EXPECT_EQ(text, "{}");
}

TEST(OutputConfig, KeepsTheSourcesQuantizationWhenNothingChanges) {
  const std::string text = output_config_text(parse(R"({"quantization": {"bits": 4}})"), {}, false);
  EXPECT_EQ(parse(text).find("quantization_config")->find("bits")->as_int()[0], 4);
}

TEST(OutputConfig, IndexSortsTensors) {
  const base::Value index = parse(index_text(10, 5, {{"b", "2"}, {"a", "1"}}));
  EXPECT_EQ(*index.find("metadata")->find("total_size")->as_int(), 10);
  EXPECT_EQ((*index.find("weight_map")->as_object())[0].key, "a");
}

}  // namespace
}  // namespace mlxmill::convert

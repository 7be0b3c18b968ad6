#include "mlxmill/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "io/work_folder.h"
#include "mlxmill/inspect.h"
#include "mlxmill/verify.h"
#include "temp_folder.h"

namespace mlxmill {
namespace {

namespace fs = std::filesystem;
using mlxmill::testing::read_file;
using mlxmill::testing::TempFolder;
using mlxmill::testing::write_file;

const fs::path kSample = fs::path(MLXMILL_SOURCE_DIR) / "models/sample-llama";

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

ConvertOptions four_bits(const fs::path& output) {
  ConvertOptions options;
  options.source = kSample;
  options.output = output;
  options.quantize = true;
  return options;
}

/// A writable copy of the sample whose weights a test may damage.
void copy_sample(const fs::path& to) {
  fs::copy(kSample, to, fs::copy_options::recursive);
  for (const auto& entry : fs::directory_iterator(to))
    fs::permissions(entry.path(), fs::perms::owner_all);
}

TEST(PlanConversion, KnowsEverySizeBeforeReadingAWeight) {
  TempFolder temp;
  const Plan plan = *plan_conversion(four_bits(temp / "out"));
  EXPECT_EQ(plan.family, "llama");
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_FALSE(fs::exists(temp / "out"));
  const ConvertReport report = *convert_model(four_bits(temp / "out"));
  EXPECT_EQ(report.plan.output_bytes, plan.output_bytes);
  for (const auto& [name, bytes] : plan.file_bytes)
    EXPECT_EQ(fs::file_size(temp / "out" / name), bytes);
  EXPECT_NEAR(plan.bits_per_weight,
              static_cast<double>(plan.output_bytes) * 8 / static_cast<double>(plan.parameters),
              1e-12);
  EXPECT_LE(report.plan.memory_needed, 128u << 20);
}

TEST(ConvertModel, WritesAFolderThatVerifies) {
  TempFolder temp;
  ASSERT_TRUE(convert_model(four_bits(temp / "out")));
  const VerifyReport verified = *verify_model({temp / "out", 0});
  EXPECT_TRUE(verified.problems.empty()) << verified.problems.front();
  EXPECT_TRUE(verified.has_manifest);
  EXPECT_GT(verified.quantized_modules, 40u);
  EXPECT_EQ(inspect_model(temp / "out")->kind, "MLX quantized model");
  EXPECT_FALSE(fs::exists(io::WorkFolder::root_of(temp / "out")));
}

TEST(ConvertModel, GivesTheSameBytesForAnyThreadsAndMemory) {
  TempFolder temp;
  std::map<std::string, std::string> expected;
  int run = 0;
  for (int threads : {1, 2, 7}) {
    for (std::uint64_t memory :
         {std::uint64_t{0}, std::uint64_t{8} << 20, std::uint64_t{1} << 30}) {
      const fs::path output = temp / std::to_string(run++) / "out";
      ConvertOptions options = four_bits(output);
      options.threads = threads;
      options.memory_bytes = memory;
      ASSERT_TRUE(convert_model(options));
      if (expected.empty()) expected = contents(output);
      ASSERT_EQ(contents(output), expected) << threads << " threads, " << memory << " bytes";
    }
  }
}

TEST(ConvertModel, ShardsByTheGivenSize) {
  TempFolder temp;
  ConvertOptions options = four_bits(temp / "out");
  options.max_shard_bytes = 1 << 20;
  const ConvertReport report = *convert_model(options);
  EXPECT_GT(report.plan.file_bytes.size(), 2u);
  EXPECT_TRUE(fs::exists(
      temp / "out" /
      ("model-00001-of-0000" + std::to_string(report.plan.file_bytes.size()) + ".safetensors")));
  EXPECT_TRUE(verify_model({temp / "out", 0})->problems.empty());
}

TEST(ConvertModel, RefusesAnExistingOutput) {
  TempFolder temp;
  fs::create_directory(temp / "out");
  const auto result = convert_model(four_bits(temp / "out"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kOutputExists);
  EXPECT_EQ(result.error().message(), (temp / "out").string() +
                                          ": already exists; choose another output, or --force to "
                                          "replace it once the new one is complete");
}

TEST(ConvertModel, ForceReplacesAModelButNothingElse) {
  TempFolder temp;
  fs::create_directory(temp / "out");
  write_file(temp / "out/thesis.txt", "years of work");
  ConvertOptions options = four_bits(temp / "out");
  options.force = true;
  EXPECT_EQ(convert_model(options).error().code(), Code::kOutputExists);
  EXPECT_EQ(read_file(temp / "out/thesis.txt"), "years of work");
  write_file(temp / "out/config.json", "{}");
  ASSERT_TRUE(convert_model(options));
  EXPECT_FALSE(fs::exists(temp / "out/thesis.txt"));
}

TEST(ConvertModel, RefusesAnOutputInsideTheSource) {
  TempFolder temp;
  copy_sample(temp / "source");
  ConvertOptions options = four_bits(temp / "source/out");
  options.source = temp / "source";
  EXPECT_EQ(convert_model(options).error().code(), Code::kUsage);
  options.output = temp.path();
  options.force = true;
  EXPECT_EQ(convert_model(options).error().code(), Code::kUsage);
}

TEST(ConvertModel, CancelledRunsResume) {
  TempFolder temp;
  ASSERT_TRUE(convert_model(four_bits(temp / "whole/out")));
  int polls = 0;
  Callbacks callbacks;
  callbacks.cancelled = [&] { return ++polls > 0; };
  ConvertOptions options = four_bits(temp / "cut/out");
  // Cancellation is polled on a clock, so the first run may get through; both ends are right.
  const auto first = convert_model(options, callbacks);
  if (!first) {
    EXPECT_EQ(first.error().code(), Code::kCancelled);
    EXPECT_FALSE(fs::exists(temp / "cut/out"));
    std::string noted;
    Callbacks second;
    second.note = [&](std::string_view text) { noted += text; };
    ASSERT_TRUE(convert_model(options, second));
    EXPECT_EQ(noted, "resuming an unfinished earlier run");
  }
  EXPECT_EQ(contents(temp / "cut/out"), contents(temp / "whole/out"));
}

TEST(ConvertModel, RefusesNonFiniteWeightsByName) {
  TempFolder temp;
  copy_sample(temp / "source");
  std::string shard = read_file(temp / "source/model.safetensors");
  shard[shard.size() - 1] = 0x7f;  // The last bf16 of the file becomes infinite or NaN.
  shard[shard.size() - 2] = static_cast<char>(0x80);
  write_file(temp / "source/model.safetensors", shard);
  ConvertOptions options = four_bits(temp / "out");
  options.source = temp / "source";
  const auto refused = convert_model(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kNonFinite);
  EXPECT_NE(refused.error().message().find("1 values are NaN or infinite: model."),
            std::string::npos)
      << refused.error().message();
  EXPECT_FALSE(fs::exists(temp / "out"));
  EXPECT_FALSE(fs::exists(io::WorkFolder::root_of(temp / "out")));
  options.allow_non_finite = true;
  EXPECT_EQ(convert_model(options)->non_finite, 1u);
  EXPECT_FALSE(verify_model({temp / "out", 0})->problems.empty());
}

TEST(ConvertModel, DequantizesWhatItQuantized) {
  TempFolder temp;
  ConvertOptions options = four_bits(temp / "packed");
  options.bits = 8;
  ASSERT_TRUE(convert_model(options));
  ConvertOptions back;
  back.source = temp / "packed";
  back.output = temp / "back";
  back.dequantize = true;
  const ConvertReport report = *convert_model(back);
  EXPECT_EQ(inspect_model(temp / "back")->kind, "MLX model");
  EXPECT_EQ(report.plan.parameters, inspect_model(kSample)->parameters);
  options.source = temp / "packed";
  options.output = temp / "twice";
  EXPECT_TRUE(plan_conversion(options)->warnings.empty()) << "the same settings keep the codes";
  options.bits = 4;
  EXPECT_THAT(plan_conversion(options)->warnings,
              ::testing::ElementsAre(::testing::HasSubstr("rounded a second time")));
}

TEST(VerifyModel, NamesTheDamagedTensorAndFile) {
  TempFolder temp;
  ASSERT_TRUE(convert_model(four_bits(temp / "out")));
  std::string shard = read_file(temp / "out/model.safetensors");
  shard[shard.size() / 2] = static_cast<char>(shard[shard.size() / 2] ^ 1);
  write_file(temp / "out/model.safetensors", shard);
  write_file(temp / "out/tokenizer_config.json", "{}");
  const VerifyReport report = *verify_model({temp / "out", 2});
  ASSERT_EQ(report.problems.size(), 2u);
  EXPECT_NE(report.problems[0].find("tokenizer_config.json: 2 bytes; expected"), std::string::npos)
      << report.problems[0];
  EXPECT_NE(report.problems[1].find(": content differs from the manifest's hash"),
            std::string::npos);
}

}  // namespace
}  // namespace mlxmill

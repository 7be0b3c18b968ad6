// Which positions of a text are sampled, and what is kept of them.
#include "measure/input_sample.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace mlxmill::measure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::vector<evaluate::Window> windows(std::size_t n, std::uint32_t begin, std::uint32_t end) {
  std::vector<evaluate::Window> all(n);
  for (evaluate::Window& window : all) {
    window.tokens.resize(end + 1);
    window.begin = begin;
    window.end = end;
  }
  return all;
}

TEST(ChoosePositions, AreMiddlesOfEqualParts) {
  const auto few = choose_positions(windows(1, 0, 511));
  ASSERT_THAT(few, SizeIs(1));
  EXPECT_THAT(few[0].positions, SizeIs(128));
  EXPECT_EQ(few[0].positions.front(), 1U);
  EXPECT_EQ(few[0].positions.back(), 509U);

  const auto many = choose_positions(windows(100, 256, 512));
  ASSERT_THAT(many, SizeIs(8));
  EXPECT_EQ(many.front().window, 6U);
  EXPECT_EQ(many.back().window, 93U);
  EXPECT_THAT(many[3].positions, SizeIs(16));
  EXPECT_EQ(many[3].positions.front(), 264U);
  EXPECT_EQ(many[3].positions.back(), 504U);
}

TEST(ChoosePositions, NoneTwiceInShortWindows) {
  const auto chosen = choose_positions(windows(2, 1, 4));
  ASSERT_THAT(chosen, SizeIs(2));
  EXPECT_THAT(chosen[1].positions, ElementsAre(1, 2, 3));
  EXPECT_THAT(choose_positions({}), SizeIs(0));
}

// Says which positions it was asked for.
class Recorder : public Engine {
 public:
  const EngineFacts& facts() const override { return facts_; }
  evaluate::LogitsSource& source() override { std::abort(); }
  Result<Cut> cut(const EvalOptions& /*options*/) override { return Cut{}; }
  std::string token_text(std::int32_t /*id*/) const override { return ""; }
  Result<io::Digest> digest() const override { return io::Digest{}; }
  Result<std::vector<ModuleInput>> inputs_at(std::span<const std::int32_t> /*tokens*/,
                                             std::span<const std::uint32_t> positions) override {
    std::vector<ModuleInput> inputs;
    for (const std::uint32_t position : positions) {
      auto rows = std::make_shared<InputRows>();
      rows->columns = position;
      inputs.push_back({"a", rows, {}});
      inputs.push_back({"b", rows, {}});
    }
    return inputs;
  }

 private:
  EngineFacts facts_;
};

TEST(SampleInputs, AreKeptByModule) {
  Recorder engine;
  std::vector<std::size_t> seen;
  const auto sample =
      sample_inputs(engine, windows(2, 1, 4), [&](std::size_t done, std::size_t total) {
        EXPECT_EQ(total, 2U);
        seen.push_back(done);
        return true;
      });
  ASSERT_TRUE(sample) << sample.error().message();
  EXPECT_EQ(sample->tokens, 6U);
  EXPECT_THAT(seen, ElementsAre(0, 1, 2));
  ASSERT_THAT(sample->of("a"), SizeIs(6));
  EXPECT_EQ(sample->of("a")[4].rows->columns, 2U);
  EXPECT_EQ(sample->of("a")[4].rows, sample->of("b")[4].rows);
  EXPECT_THAT(sample->of("c"), SizeIs(0));
}

TEST(SampleInputs, StopWhenAskedTo) {
  Recorder engine;
  const auto stopped = sample_inputs(engine, windows(2, 1, 4),
                                     [](std::size_t done, std::size_t) { return done < 1; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code(), Code::kCancelled);
  EXPECT_THAT(stopped.error().message(), HasSubstr("inputs of modules"));
}

}  // namespace
}  // namespace mlxmill::measure

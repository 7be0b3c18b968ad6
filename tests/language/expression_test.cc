#include "language/expression.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

namespace mlxmill::language {
namespace {

using base::Value;

class Config final : public Environment {
 public:
  Config() {
    config_.set("hidden_size", Value(4096));
    config_.set("heads", Value(32));
    config_.set("zero", Value(0));
    config_.set("huge", Value(std::numeric_limits<std::int64_t>::max()));
    config_.set("low", Value(std::numeric_limits<std::int64_t>::min()));
    config_.set("beyond", Value(base::BigInteger{"99999999999999999999"}));
    config_.set("nothing", Value());
    config_.set("text", Value("sigmoid"));
    config_.set("rate", Value(0.5));
    config_.set("list", Value(base::Array{Value(1), Value(3)}));
    config_.set("inner", Value(base::Object{{"size", Value(7)}}));
  }

  Result<Operand> name(const std::vector<std::string>& path) const override {
    const Value* at = &config_;
    for (const std::string& part : path) {
      at = at->find(part);
      if (!at) return Operand();
    }
    return Operand(at);
  }
  bool has_tensor(std::string_view tensor) const override { return tensor == "lm_head.weight"; }
  bool spend(std::int64_t steps) const override { return (steps_ -= steps) > 0; }

 private:
  Value config_;
  mutable std::int64_t steps_ = 10'000;
};

/// The value as text, or the error.
std::string value(std::string_view text) {
  const auto expression = Expression::parse(text, "f.toml", 7);
  if (!expression) return expression.error().message();
  const auto result = expression->evaluate(Config());
  if (!result) return result.error().message();
  if (const auto* integer = result->as_int()) return std::to_string(*integer);
  if (const auto* boolean = result->as_bool()) return *boolean ? "true" : "false";
  if (const auto* number = result->as_float()) return fmt::format("{}", *number);
  if (const auto* string = result->as_string()) return *string;
  return std::string(result->type_name());
}

TEST(Expression, FollowsPythonsPrecedence) {
  EXPECT_EQ(value("1 + 2 * 3"), "7");
  EXPECT_EQ(value("(1 + 2) * 3"), "9");
  EXPECT_EQ(value("10 - 4 - 3"), "3");
  EXPECT_EQ(value("-2 + 5"), "3");
  EXPECT_EQ(value("not 1 == 2"), "true");
  EXPECT_EQ(value("1 < 2 and 2 < 1 or true"), "true");
  EXPECT_EQ(value("true or missing"), "true");
  EXPECT_EQ(value("5 if zero else 6"), "6");
  EXPECT_EQ(value("missing ?? 2 > 1"), "true");
}

TEST(Expression, IndexesStringsByCharacter) {
  EXPECT_EQ(value("'M-M*'[3] == '*'"), "true");
  EXPECT_EQ(value("'M-M*'[-3] == '-'"), "true");
}

TEST(Expression, DividesAsPythonOrExactly) {
  EXPECT_EQ(value("7 // 2"), "3");
  EXPECT_EQ(value("-7 // 2"), "-4");
  EXPECT_EQ(value("-7 % 2"), "1");
  EXPECT_EQ(value("7 % -2"), "-1");
  EXPECT_EQ(value("hidden_size / heads"), "128");
  EXPECT_EQ(value("7 / 2"),
            "f.toml:7: in \"7 / 2\": 7 / 2 leaves a remainder; use // to round down");
  EXPECT_EQ(value("rate * 4"), "2");
  EXPECT_EQ(value("1e-2 + 0.25"), "0.26");
}

TEST(Expression, YieldsOperandsOfAndAndOr) {
  EXPECT_EQ(value("zero or hidden_size // heads"), "128");
  EXPECT_EQ(value("nothing or 3"), "3");
  EXPECT_EQ(value("text and 4"), "4");
  EXPECT_EQ(value("nothing ?? 5"), "5");
  EXPECT_EQ(value("missing.deep ?? inner.size"), "7");
  EXPECT_EQ(value("missing ?? 0 or 9"), "9");
  EXPECT_EQ(value("a ?? b ?? 4"), "4");
  EXPECT_EQ(value("zero ?? 5"), "0");
}

TEST(Expression, LooksIntoListsObjectsAndTensors) {
  EXPECT_EQ(value("3 in list"), "true");
  EXPECT_EQ(value("2 not in list"), "true");
  EXPECT_EQ(value("text in ['softmax', 'sigmoid']"), "true");
  EXPECT_EQ(value("'moid' in text"), "true");
  EXPECT_EQ(value("list[-1] + len(list)"), "5");
  EXPECT_EQ(value("inner['size']"), "7");
  EXPECT_EQ(value("has('lm_head.weight')"), "true");
  EXPECT_EQ(value("has('lm_' + 'body')"), "false");
  EXPECT_EQ(value("starts_with(text, 'sig') and ends_with(text, 'oid')"), "true");
  EXPECT_EQ(value("1 == 1.0"), "true");
  EXPECT_EQ(value("nothing == null"), "true");
}

TEST(Expression, NamesTheKeyAndTheTypeItGot) {
  EXPECT_EQ(value("heads * head_dim"),
            "f.toml:7: in \"heads * head_dim\": config.json has no \"head_dim\"");
  EXPECT_EQ(value("x ?? inner.y ?? z"),
            "f.toml:7: in \"x ?? inner.y ?? z\": config.json has no \"z\"");
  EXPECT_EQ(value("heads * text"),
            "f.toml:7: in \"heads * text\": text is a string; expected a number");
  EXPECT_EQ(value("beyond + 1"),
            "f.toml:7: in \"beyond + 1\": beyond is an integer beyond 64 bits; expected a number");
  EXPECT_EQ(value("1 in heads"),
            "f.toml:7: in \"1 in heads\": heads is an integer; expected an array");
  EXPECT_EQ(value("list[2]"), "f.toml:7: in \"list[2]\": index 2 is outside an array of 2");
  EXPECT_EQ(value("'ab'[-3]"), "f.toml:7: in \"'ab'[-3]\": index -3 is outside a string of 2");
  EXPECT_EQ(value("true + 1"), "f.toml:7: in \"true + 1\": true is a boolean; expected a number");
}

TEST(Expression, ChecksArithmetic) {
  EXPECT_EQ(value("heads // zero"), "f.toml:7: in \"heads // zero\": division by zero");
  EXPECT_EQ(value("heads % zero"), "f.toml:7: in \"heads % zero\": division by zero");
  EXPECT_EQ(value("huge + 1"),
            "f.toml:7: in \"huge + 1\": 9223372036854775807 and 1 overflow 64 bits");
  EXPECT_EQ(value("huge * 2"),
            "f.toml:7: in \"huge * 2\": 9223372036854775807 and 2 overflow 64 bits");
  EXPECT_EQ(value("low // -1"),
            "f.toml:7: in \"low // -1\": -9223372036854775808 and -1 overflow 64 bits");
  EXPECT_EQ(value("-low"), "f.toml:7: in \"-low\": 0 and -9223372036854775808 overflow 64 bits");
}

TEST(Expression, RejectsBadSyntaxWithItsColumn) {
  EXPECT_EQ(value("1 +"), "f.toml:7: in \"1 +\" at column 4: expected a value, got the end");
  EXPECT_EQ(value("1 2"), "f.toml:7: in \"1 2\" at column 3: expected an operator, got \"2\"");
  EXPECT_EQ(value("(1"), "f.toml:7: in \"(1\" at column 3: expected ), got the end");
  EXPECT_EQ(value("'a"), "f.toml:7: in \"'a\" at column 2: expected a closing ', got \"a\"");
  EXPECT_EQ(value("a."), "f.toml:7: in \"a.\" at column 3: expected a name, got the end");
  EXPECT_EQ(value("99999999999999999999"),
            "f.toml:7: in \"99999999999999999999\" at column 1: expected an integer of at most 64 "
            "bits, got \"99999999999999999999\"");
  EXPECT_EQ(value("run('x')"),
            "f.toml:7: in \"run('x')\" at column 1: expected has(name), len(x), "
            "starts_with(text, start) or ends_with(text, end), got \"run('x')\"");
  EXPECT_EQ(value("and"), "f.toml:7: in \"and\" at column 1: expected a value, got \"and\"");
}

TEST(Expression, BoundsDepthAndSteps) {
  std::string deep(40, '(');
  deep += "1" + std::string(40, ')');
  EXPECT_NE(value(deep).find("expected at most 32 levels"), std::string::npos);
  EXPECT_NE(value(std::string(40, '-') + "1").find("expected at most 32 levels"),
            std::string::npos);
  std::string chain = "1";
  for (int i = 0; i < 100; ++i) chain += "+1";
  EXPECT_NE(value(chain).find("expected at most 64 operators"), std::string::npos);
  EXPECT_NE(value(std::string(2000, '1')).find("expected at most 1000"), std::string::npos);
  const auto expression = Expression::parse("1 + 1", "f.toml", 1);
  ASSERT_TRUE(expression);
  const Config spent;
  ASSERT_FALSE(!spent.spend(9'999));
  const auto result = expression->evaluate(spent);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(),
            "f.toml:1: in \"1 + 1\": it takes too many steps to work out");
}

}  // namespace
}  // namespace mlxmill::language

#include "language/expression.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
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
    const Value attention(base::Object{{"heads", Value(8)}});
    config_.set("blocks", Value(base::Array{Value(base::Object{{"attention", attention}}),
                                            Value(base::Object{{"attention", Value()}})}));
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
  Result<bool> any_tensor(std::string_view pattern) const override {
    if (pattern == "{") return Error(Code::kInvalidInput, "a brace without its partner");
    return pattern == "{*}.weight";
  }
  const base::Shape* tensor_shape(std::string_view tensor) const override {
    static const base::Shape kShape{8, 1, 4};
    return has_tensor(tensor) ? &kShape : nullptr;
  }
  bool has_key(const std::vector<std::string>& path) const override {
    return !name(path)->absent();
  }
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

TEST(Expression, ReadsFloatsExactly) {
  EXPECT_EQ(value("5.656854249492381"), "5.656854249492381");
  EXPECT_EQ(value("0.8838834764831844"), "0.8838834764831844");
  EXPECT_EQ(value("1e-05"), "1e-05");
  EXPECT_EQ(value("2.5e+3"), "2500");
  for (const char* bad : {"1.", "1e", "1e+", "1.x", "1.5x", "1e5e"}) {
    EXPECT_THAT(value(bad), ::testing::HasSubstr("at column 1: expected a number")) << bad;
  }
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

TEST(Expression, WorksOnListsAndTexts) {
  EXPECT_EQ(value("without('a.b', 'a.') == 'b' and without('b', 'a.') == 'b'"), "true");
  EXPECT_EQ(value("found([1, inner, 2], 'size', 7) == inner"), "true");
  EXPECT_EQ(value("[found([inner], 'size', 8)][0].size ?? -1"), "-1");
  EXPECT_EQ(value("replaced(['a', 'b', 'a'], 'a', 'c') == ['c', 'b', 'c']"), "true");
  EXPECT_EQ(value("each_equal(['a', 1], 'a') == [true, false]"), "true");
  EXPECT_NE(value("found(1, 'a', 2)").find("expected an array"), std::string::npos);
  EXPECT_NE(value("replaced('a', 1, 2)").find("expected an array"), std::string::npos);
  EXPECT_NE(value("each_equal(null, 2)").find("expected an array"), std::string::npos);
  EXPECT_NE(value("without(1, 'a')").find("expected a string"), std::string::npos);
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

TEST(Expression, FindsElementsOfListsAndObjectsOrNothing) {
  EXPECT_EQ(value("blocks[0].attention.heads"), "8");
  EXPECT_EQ(value("blocks[0].attention.no_op ?? 'none'"), "none");
  EXPECT_EQ(value("blocks[1].attention.heads ?? 'none'"), "none");
  EXPECT_EQ(value("blocks[9].attention.heads ?? 'none'"), "none");
  EXPECT_EQ(value("list[7] ?? 'none'"), "none");
  EXPECT_EQ(value("missing[0] ?? 'none'"), "none");
  EXPECT_EQ(value("blocks[0].attention.no_op"),
            "f.toml:7: in \"blocks[0].attention.no_op\": there is no member \"no_op\"");
  EXPECT_EQ(value("blocks[1].attention.heads"),
            "f.toml:7: in \"blocks[1].attention.heads\": blocks[1].attention is null; expected an "
            "object");
  EXPECT_EQ(value("missing[0]"), "f.toml:7: in \"missing[0]\": config.json has no \"missing\"");
  EXPECT_EQ(value("list['x']"), "f.toml:7: in \"list['x']\": 'x' is a string; expected an integer");
  EXPECT_EQ(value("list[0]."),
            "f.toml:7: in \"list[0].\" at column 9: expected a name, got the end");
}

TEST(Expression, SeesShapesOfTensors) {
  EXPECT_EQ(value("shape_of('lm_head.weight')[-1]"), "4");
  EXPECT_EQ(value("len(shape_of('lm_head.weight'))"), "3");
  EXPECT_EQ(value("shape_of('x')[-1] ?? 1"), "1");
  EXPECT_EQ(value("shape_of('x') ?? 'none'"), "none");
  EXPECT_EQ(value("shape_of('x')[0]"),
            "f.toml:7: in \"shape_of('x')[0]\": there is no such tensor");
  EXPECT_EQ(value("any('{*}.weight')"), "true");
  EXPECT_EQ(value("any('{*}.bias')"), "false");
  EXPECT_THAT(value("any('{')"), testing::HasSubstr("brace without its partner"));
  EXPECT_EQ(value("shape_of(1)"),
            "f.toml:7: in \"shape_of(1)\": 1 is an integer; expected a string");
}

TEST(Expression, TellsAbsentFromNull) {
  EXPECT_EQ(value("given(nothing)"), "true");
  EXPECT_EQ(value("given(inner.size)"), "true");
  EXPECT_EQ(value("given(inner.other)"), "false");
  EXPECT_EQ(value("given(missing)"), "false");
  EXPECT_EQ(value("given(1)"),
            "f.toml:7: in \"given(1)\" at column 7: expected the name of a key, got \"1)\"");
}

TEST(Expression, RoundsAsPython) {
  EXPECT_EQ(value("int(2.9)"), "2");
  EXPECT_EQ(value("int(-2.9)"), "-2");
  EXPECT_EQ(value("int(7)"), "7");
  EXPECT_EQ(value("int(true)"), "1");
  EXPECT_EQ(value("round(2.5)"), "2");
  EXPECT_EQ(value("round(3.5)"), "4");
  EXPECT_EQ(value("round(-0.5)"), "0");
  EXPECT_EQ(value("round(2.675, 2)"), "2.67");  // 2.675 is a little less than it looks
  EXPECT_EQ(value("round(2.125, 2)"), "2.12");
  EXPECT_EQ(value("round(1.2345675, 6)"), "1.234568");
  EXPECT_EQ(value("round(5.005, 2)"), "5");
  EXPECT_EQ(value("round(1e300, 6) == 1e300"), "true");
  EXPECT_EQ(value("round(3, 6)"), "3");
  EXPECT_EQ(value("int(1e300)"), "f.toml:7: in \"int(1e300)\": a number does not fit in 64 bits");
  EXPECT_EQ(value("int(text)"), "f.toml:7: in \"int(text)\": text is a string; expected a number");
  EXPECT_EQ(value("round(rate, 99)"),
            "f.toml:7: in \"round(rate, 99)\": 99 is an integer; expected an integer from 0 to 15");
}

TEST(Expression, ReadsListsOfNumbersInText) {
  // 0.1, a tie that goes to even, one above it, and 1e-40, which F16 does not have.
  EXPECT_EQ(value("cast(0.1, 'BF16') == 0.10009765625"), "true");
  EXPECT_EQ(value("cast(0.1, 'F16') == 0.0999755859375"), "true");
  EXPECT_EQ(value("cast(0.1, 'F32') == 0.10000000149011612"), "true");
  EXPECT_EQ(value("cast(1.00390625, 'BF16') == 1"), "true");
  EXPECT_EQ(value("cast(1.01171875, 'BF16') == 1.015625"), "true");
  EXPECT_EQ(value("cast(-1.003907, 'BF16') == -1.0078125"), "true");
  EXPECT_EQ(value("cast(1e-40, 'F16') == 0"), "true");
  EXPECT_THAT(value("cast(65536, 'F16')"), testing::HasSubstr("with room for the number"));
  EXPECT_THAT(value("cast(1, 'U8')"), testing::HasSubstr("'F32', 'F16' or 'BF16'"));
  EXPECT_EQ(value("3 in numbers('1, 3,12 ')"), "true");
  EXPECT_EQ(value("2 in numbers('1,3,12')"), "false");
  EXPECT_EQ(value("len(numbers('-7'))"), "1");
  for (const char* bad :
       {"numbers('')", "numbers('1,,2')", "numbers('1;2')", "numbers('99999999999999999999')"}) {
    EXPECT_THAT(value(bad), ::testing::HasSubstr("a text is no list of integers"));
  }
}

TEST(Expression, TakesTheSmallestAndTheLargest) {
  EXPECT_EQ(value("min(3, 1, 2)"), "1");
  EXPECT_EQ(value("max(3, 1, 2)"), "3");
  EXPECT_EQ(value("max(list)"), "3");
  EXPECT_EQ(value("max(1, rate)"), "1");
  EXPECT_EQ(value("min(1, rate)"), "0.5");
  EXPECT_EQ(value("max([])"), "f.toml:7: in \"max([])\": an empty list has no such");
  EXPECT_EQ(value("max(1, text)"),
            "f.toml:7: in \"max(1, text)\": text is a string; expected a number");
}

TEST(Expression, MakesLists) {
  EXPECT_EQ(value("max([i * i for i < 4])"), "9");
  EXPECT_EQ(value("len([0 for i < len(list)])"), "2");
  EXPECT_EQ(value("len([i for i < -3])"), "0");
  EXPECT_EQ(value("len([i for i < 7 if i % 3 == 0])"), "3");
  EXPECT_EQ(value("[i + 1 for i < 4 if i > 1][0]"), "3");
  EXPECT_EQ(value("len([i for i < (2 if true else 5)])"), "2");
  EXPECT_EQ(value("[i if i > 1 else 9 for i < 4 if i != 0][0]"), "9");
  EXPECT_EQ(value("[list[i] + 1 for i < 2][1]"), "4");
  EXPECT_EQ(value("max([max([i * 10 + k for k < 3]) for i < 4])"), "32");
  EXPECT_EQ(value("max([heads for heads < 3]) + heads"), "34");
  EXPECT_EQ(value("['lm_head.weight' if i == 1 else 'x' for i < 2][1]"), "lm_head.weight");
  EXPECT_THAT(value("[i for i < 3] + i"), ::testing::HasSubstr("config.json has no \"i\""));
  EXPECT_EQ(
      value("[i for i < huge]"),
      "f.toml:7: in \"[i for i < huge]\": a list of 9223372036854775807 elements is too long");
  EXPECT_THAT(value("[i for i < 60000]"), ::testing::HasSubstr("it takes too many steps"));
  EXPECT_THAT(value("[i for i < text]"), ::testing::HasSubstr("text is a string; expected an int"));
  EXPECT_THAT(value("[i for i]"), ::testing::HasSubstr("at column 9: expected <, got"));
  EXPECT_THAT(value("[i for 'i' < 3]"), ::testing::HasSubstr("at column 8: expected a name, got"));
  EXPECT_THAT(value("[i for i < 3, 4]"), ::testing::HasSubstr("at column 13: expected ], got"));
  EXPECT_THAT(value("[list[2] for i < 3]"), ::testing::HasSubstr("index 2 is outside"));
}

TEST(Expression, HasTheFunctionsOfDistributions) {
  EXPECT_EQ(value("sqrt(16)"), "4");
  EXPECT_EQ(value("normal_cdf(0)"), "0.5");
  EXPECT_EQ(value("round(normal_cdf(1.6448535919189453), 6)"), "0.95");
  EXPECT_EQ(value("normal_cdf(-1e999)"), "0");
  EXPECT_EQ(value("text(12) + '.'"), "12.");
  EXPECT_THAT(value("sqrt(-1)"), ::testing::HasSubstr("expected a number that is not negative"));
  EXPECT_THAT(value("normal_cdf('x')"), ::testing::HasSubstr("expected a number"));
  EXPECT_THAT(value("text(0.5)"), ::testing::HasSubstr("expected an integer"));
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
            "f.toml:7: in \"run('x')\" at column 1: expected one of has(tensor), any(pattern), "
            "shape_of(tensor), given(key), len(x), starts_with(text, start), ends_with(text, end), "
            "without(text, start), found(list, key, value), replaced(list, old, new), "
            "each_equal(list, value), numbers(text), int(x), round(x, digits), cast(x, dtype), "
            "min(x, ...), max(x, ...), "
            "sqrt(x), log(x), normal_cdf(x), text(x), got \"run('x')\"");
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

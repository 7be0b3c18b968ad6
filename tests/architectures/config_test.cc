// [config], dotted defaults, the whole config's names, and several modules of one path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "architectures/declaration.h"
#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Object;
using base::Value;
using test::apply;
using test::apply_error;
using test::Checkpoint;
using test::parse_error;
using test::with_identity;
using ::testing::HasSubstr;

/// The keys and values of an object in their order: "a=1 b={c=null}".
std::string text(const Value& value) {
  if (value.is_null()) return "null";
  if (const auto* integer = value.as_int()) return std::to_string(*integer);
  if (const bool* boolean = value.as_bool()) return *boolean ? "true" : "false";
  if (const auto* string = value.as_string()) return *string;
  if (!value.as_object()) return "?";
  std::string result = "{";
  for (const base::Member& member : *value.as_object()) {
    result += (result.size() > 1 ? " " : "") + member.key + "=" + text(member.value);
  }
  return result + "}";
}

/// What [config] makes of a config, or the error.
std::string edited(std::string_view declaration, const Value& config) {
  const auto layout = apply(declaration, config, Checkpoint());
  return layout ? text(with_edits(config, layout->config_edits)) : layout.error().message();
}

TEST(Config, SetsKeysOfTheOutput) {
  const Value config = test::object({{"a", Value(1)}, {"b", test::object({{"c", Value(2)}})}});
  EXPECT_EQ(edited("[config]\na = \"a + 1\"\n\"b.d\" = \"b.c\"\nz = \"null\"", config),
            "{a=2 b={c=2 d=2} z=null}");
  EXPECT_EQ(edited("[config]\n\"b.c\" = 7", config), "{a=1 b={c=7}}");
  EXPECT_EQ(edited("[config]\nx = \"missing\"", config),
            "f.toml:4: in \"missing\": config.json has no \"missing\"");
}

TEST(Config, RemovesAndRenamesKeysOnCondition) {
  const Value config =
      test::object({{"rope", test::object({{"rope_type", Value("default")}, {"base", Value(5)}})}});
  const char* rename = R"toml([config]
"rope.type"      = { value = "rope.rope_type", when = "not given(rope.type)" }
"rope.rope_type" = { remove = true, when = "not given(rope.type)" })toml";
  EXPECT_EQ(edited(rename, config), "{rope={base=5 type=default}}");
  const Value done = test::object(
      {{"rope", test::object({{"type", Value("yarn")}, {"rope_type", Value("default")}})}});
  EXPECT_EQ(edited(rename, done), "{rope={type=yarn rope_type=default}}");
}

TEST(Config, LeavesObjectsAloneThatAreNotThere) {
  EXPECT_EQ(edited("[config]\n\"b.c\" = 7", test::object({{"a", Value(1)}})), "{a=1}");
  EXPECT_EQ(edited("[config]\n\"a.c\" = 7", test::object({{"a", Value(1)}})), "{a=1}");
  EXPECT_EQ(edited("[config]\n\"a.c\" = 7", test::object({{"a", Value()}})), "{a=null}");
}

TEST(Config, EvaluatesAgainstTheInput) {
  EXPECT_EQ(edited("[config]\na = 2\nb = \"a\"", test::object({{"a", Value(1)}})), "{a=2 b=1}");
}

TEST(Config, ParsesKeysThatMeanSomething) {
  const auto parsed = [](std::string_view entry) {
    return parse_error(with_identity("[config]\n" + std::string(entry)));
  };
  EXPECT_EQ(parsed("\"a..b\" = 1"), "f.toml:4: \"a..b\" is no key of config.json");
  EXPECT_EQ(parsed("\"a.b.\" = 1"), "f.toml:4: \"a.b.\" is no key of config.json");
  EXPECT_EQ(parsed("a = {}"),
            "f.toml:4: a key of [config] has a value, object = true, or remove = true");
  EXPECT_EQ(parsed("a = { value = 1, remove = true }"),
            "f.toml:4: a key of [config] has a value, object = true, or remove = true");
  EXPECT_EQ(parsed("a = { remove = false }"),
            "f.toml:4: a key of [config] has a value, object = true, or remove = true");
  EXPECT_EQ(parsed("a = { valeu = 1, value = 1 }"),
            "f.toml:4: unknown key \"valeu\"; did you mean \"value\"?");
  EXPECT_THAT(parse_error(with_identity("config = 3")), HasSubstr("[config] must be a table"));
}

TEST(Fill, AddsKeysThatAreNotThere) {
  const Value v5 = test::object({{"rope", test::object({{"theta", Value(5)}})}});
  const char* fill = "[fill]\ntheta = \"rope.theta ?? null\"\n";
  EXPECT_EQ(edited(fill, v5), "{rope={theta=5} theta=5}");
  EXPECT_EQ(edited(fill, test::object({{"theta", Value(1)}})), "{theta=1}");
  // Null says that there is nothing to fill in.
  EXPECT_EQ(edited(fill, test::object({{"a", Value(1)}})), "{a=1}");
  EXPECT_EQ(edited(std::string("required = [\"theta\"]\n") + fill, v5), "{rope={theta=5} theta=5}");
  EXPECT_THAT(edited(std::string("required = [\"theta\"]\n") + fill, test::object({})),
              HasSubstr("there is no \"theta\""));
}

TEST(Fill, ReplacesOnCondition) {
  const char* fill =
      "[fill]\nn = { value = \"4 * m\", when = \"(n ?? null) == null\" }\nk = 3\n"
      "[config]\nsum = \"n + k\"\n";
  EXPECT_EQ(edited(fill, test::object({{"m", Value(2)}, {"n", Value()}})), "{m=2 n=8 k=3 sum=11}");
  EXPECT_EQ(edited(fill, test::object({{"m", Value(2)}, {"n", Value(7)}})), "{m=2 n=7 k=3 sum=10}");
}

TEST(Fill, MakesAnObjectAndWhatIsInIt) {
  const char* fill =
      "[fill]\ninner = { object = true, when = \"not given(inner)\" }\n"
      "\"inner.odd\" = \"[i for i < n if i % 2 == 1][1]\"\n";
  EXPECT_EQ(edited(fill, test::object({{"n", Value(4)}})), "{n=4 inner={odd=3}}");
  EXPECT_EQ(edited(fill, test::object({{"n", Value(4)}, {"inner", Value()}})), "{n=4 inner=null}");
}

TEST(Fill, IsSeenByRulesAndModules) {
  Checkpoint checkpoint;
  checkpoint.add("a.weight", {4, 2});
  const auto layout = apply(
      "[fill]\nwide = 4\n[[rules]]\nrename = \"a.weight\"\nto = \"b.weight\"\nwhen = \"wide == "
      "4\"\n"
      "[[modules]]\n\"b\" = { linear = [\"wide\", 2] }\n",
      test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->modules[0].path, "b");
}

TEST(Fill, ParsesAsConfigDoes) {
  EXPECT_EQ(parse_error(with_identity("[fill]\na = {}")),
            "f.toml:4: a key of [fill] has a value, object = true, or remove = true");
}

TEST(Ignored, WarnsWhereADefaultWouldBeTaken) {
  const auto warnings = [](const Value& config) {
    const auto layout =
        apply("[ignored]\nrope_parameters = \"rope_theta\"\n", config, Checkpoint());
    return layout ? layout->warnings : std::vector<std::string>{layout.error().message()};
  };
  const Value rope = test::object({{"rope_theta", Value(5)}});
  ASSERT_EQ(warnings(test::object({{"rope_parameters", rope}})).size(), 1u);
  EXPECT_THAT(warnings(test::object({{"rope_parameters", rope}}))[0],
              HasSubstr("config.json has \"rope_parameters\" but no \"rope_theta\""));
  EXPECT_TRUE(
      warnings(test::object({{"rope_parameters", rope}, {"rope_theta", Value(5)}})).empty());
  EXPECT_TRUE(warnings(test::object({{"a", Value(1)}})).empty());
  EXPECT_THAT(parse_error(with_identity("[ignored]\na = 3")), HasSubstr("the name of the key"));
}

TEST(Config, NamesOfTheWholeConfigPassTheScope) {
  const Value config =
      test::object({{"size", Value(1)}, {"text_config", test::object({{"size", Value(2)}})}});
  const char* names = R"(scope = "text_config"
[config]
inner = "size"
whole = "config.size"
none  = "config.other ?? 9")";
  EXPECT_EQ(edited(names, config), "{size=1 text_config={size=2} inner=2 whole=1 none=9}");
}

TEST(Config, DefaultsReachIntoObjects) {
  const char* names = R"([config]
a = "text_config.tied"
[defaults]
"text_config.tied" = true)";
  EXPECT_EQ(edited(names, test::object({{"text_config", test::object({})}})),
            "{text_config={} a=true}");
  EXPECT_EQ(edited(names, test::object({{"text_config", test::object({{"tied", Value()}})}})),
            "{text_config={tied=null} a=null}");
  EXPECT_EQ(parse_error(with_identity("[defaults]\n\"a..b\" = 1")),
            "f.toml:4: \"a..b\" is no name");
  EXPECT_EQ(parse_error(with_identity("[let]\n\"a.b\" = 1")), "f.toml:4: \"a.b\" is no name");
}

TEST(Modules, MayShareAPathUnderConditions) {
  const char* modules = R"([[modules]]
at = "l.{i < 2}"
q = [
  { linear = [4, 8], when = "i == 0", quantize = false },
  { linear = [2, 8], when = "i == 1" },
]
k = { linear = [1, 8] })";
  Checkpoint checkpoint;
  checkpoint.add("l.0.q.weight", {4, 8}).add("l.1.q.weight", {2, 8});
  checkpoint.add("l.0.k.weight", {1, 8}).add("l.1.k.weight", {1, 8});
  const auto layout = apply(modules, test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  std::vector<std::string> paths;
  for (const Module& module : layout->modules) paths.push_back(module.path);
  EXPECT_THAT(paths, ::testing::ElementsAre("l.0.q", "l.0.k", "l.1.q", "l.1.k"));
  EXPECT_TRUE(layout->modules[0].rule);
  EXPECT_FALSE(layout->modules[2].rule);
  EXPECT_THAT(parse_error(with_identity("[[modules]]\nq = [3]")),
              HasSubstr("\"q\" is no module; expected { linear = [...] } or the like, got an int"));
}

constexpr const char* kTernary = R"([[modules]]
q    = { bitlinear = [6, 8], bias = true }
head = { linear = [8, 8] })";

Checkpoint ternary() {
  Checkpoint checkpoint;
  checkpoint.add("q.weight", {2, 8}, DType::kU8).add("q.weight_scale", {1}).add("q.bias", {6});
  return checkpoint;
}

TEST(BitLinear, PassesFourRowsToAByte) {
  const auto layout = apply(kTernary, test::object({}), ternary().add("head.weight", {8, 8}));
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->modules[0].kind, ModuleKind::kBitLinear);
  EXPECT_EQ(layout->modules[0].tensors.size(), 3u);
  EXPECT_EQ(layout->modules[1].kind, ModuleKind::kLinear);
  EXPECT_EQ(layout->needs_quantization_config, "");
  Checkpoint floats;
  floats.add("q.weight", {2, 8}).add("q.weight_scale", {1}).add("q.bias", {6});
  EXPECT_THAT(apply_error(kTernary, test::object({}), floats.add("head.weight", {8, 8})),
              HasSubstr("\"q.weight\" expected U8, got BF16"));
}

TEST(BitLinear, TakesTheLinearLayersOfABitnetConfig) {
  Value method = test::object({{"quant_method", Value("bitnet")}});
  const Checkpoint packed =
      ternary().add("head.weight", {2, 8}, DType::kU8).add("head.weight_scale", {1});
  const auto layout = apply(kTernary, test::object({{"quantization_config", method}}), packed);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->modules[1].kind, ModuleKind::kBitLinear);
  EXPECT_EQ(layout->needs_quantization_config, "bitnet");
  method.set("modules_to_not_convert", Value(base::Array{Value("head")}));
  const auto excepted = apply(kTernary, test::object({{"quantization_config", method}}),
                              ternary().add("head.weight", {8, 8}));
  ASSERT_TRUE(excepted) << excepted.error().message();
  EXPECT_EQ(excepted->modules[1].kind, ModuleKind::kLinear);
  EXPECT_EQ(excepted->needs_quantization_config, "");
}

}  // namespace
}  // namespace mlxmill::architectures

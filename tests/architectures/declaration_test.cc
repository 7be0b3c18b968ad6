// What a declaration file may say, what a checkpoint may hold, and the messages when either is
// wrong.
#include "architectures/declaration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace mlxmill::architectures {
namespace {

using base::Value;
using test::apply;
using test::apply_error;
using test::Checkpoint;
using test::parse_error;
using test::with_identity;
using ::testing::HasSubstr;

TEST(DeclarationParse, NamesFileAndLine) {
  EXPECT_EQ(parse_error("model_types = [\"x\"]"),
            "f.toml:1: the file has no family; expected family = \"name\"");
  EXPECT_EQ(parse_error("family = \"x\""),
            "f.toml:1: the file has no model_types; expected the model_type of config.json");
  EXPECT_EQ(parse_error("family = 3"),
            "f.toml:1: family is wrong; expected a string, got an integer");
  EXPECT_THAT(parse_error("family = \"x\"\nmodel_types = ["), HasSubstr("f.toml:2: "));
  EXPECT_EQ(parse_error(with_identity("layres = \"n\"")),
            "f.toml:3: unknown key \"layres\"; did you mean \"layers\"?");
  EXPECT_EQ(parse_error(with_identity("layers = \"n +\"")),
            "f.toml:3: in \"n +\" at column 4: expected a value, got the end");
  EXPECT_EQ(parse_error(with_identity("layers = 2020-01-01")),
            "f.toml:3: a date or time has no meaning here");
  EXPECT_EQ(parse_error(with_identity("scope = \"\xce\x93\"")),
            "f.toml:3: byte 0xce is not ASCII; expected ASCII");
  EXPECT_EQ(parse_error(with_identity("rules = 3")),
            "f.toml:3: rules must be written as [[rules]]");
}

TEST(DeclarationParse, ChecksRules) {
  const auto rule = [](std::string_view text) {
    return parse_error(with_identity("[[rules]]\n" + std::string(text)));
  };
  EXPECT_EQ(rule("why = \"x\""),
            "f.toml:3: a rule without a kind; expected one of add, concat, constant, copy, decode, "
            "drop, fold, log_of_negative, multiply, normalize, refuse, rename, residual_gate, "
            "reshape, split, squeeze, stack, transpose");
  EXPECT_EQ(rule("drop = \"a\"\nrename = \"b\""),
            "f.toml:3: a rule is both drop and rename; expected one kind");
  EXPECT_EQ(rule("drop = \"a\""), "f.toml:3: drop has no why; expected a reason people can read");
  EXPECT_EQ(rule("drop = \"a{\"\nwhy = \"x\""),
            "f.toml:4: pattern \"a{\" has a brace without its partner");
  EXPECT_EQ(rule("rename = \"{a}\"\nto = \"{b}\""),
            "f.toml:5: {b} of \"{b}\" is not captured by \"{a}\"");
  EXPECT_EQ(rule("rename = \"{a}\""), "f.toml:3: the rule has no to; expected a name");
  EXPECT_EQ(rule("rename = \"{a}\"\nto = \"x\"\nwen = \"y\""),
            "f.toml:6: unknown key \"wen\"; did you mean \"when\"?");
  EXPECT_EQ(
      rule("stack = \"{a#}.{b#}\"\nto = \"x\""),
      "f.toml:3: stack needs exactly one {number#} of \"{a#}.{b#}\" that \"to\" does not use");
  EXPECT_EQ(rule("split = \"a\"\nto = [\"b\", \"c\"]"),
            "f.toml:3: split needs one of sizes, parts and every");
  EXPECT_EQ(rule("split = \"a\"\nparts = 2\nto = \"b\""),
            "f.toml:3: split needs one name with {#}, or several without");
  EXPECT_EQ(rule("transpose = \"a\"\naxes = [0, 0]"),
            "f.toml:3: transpose needs axes; expected every axis once, as [1, 0]");
}

TEST(DeclarationParse, ChecksModules) {
  const auto module = [](std::string_view text) {
    return parse_error(with_identity("[[modules]]\n" + std::string(text)));
  };
  EXPECT_EQ(module("\"a\" = { liner = [1, 2] }"),
            "f.toml:4: a module is exactly one of linear, bitlinear, embedding, stacked, norm and "
            "tensors");
  EXPECT_EQ(module("\"a\" = { linear = [1, 2], bais = true }"),
            "f.toml:4: unknown key \"bais\"; did you mean \"bias\"?");
  EXPECT_EQ(module("\"a\" = { linear = [1] }"), "f.toml:4: linear has 1 sizes; expected 2");
  EXPECT_EQ(module("\"a\" = { embedding = [1, 2], bias = true }"),
            "f.toml:4: only linear, bitlinear, stacked and norm modules have a bias");
  EXPECT_EQ(module("\"a\" = { linear = [1, 2], quantize = { bits = 7 } }"),
            "f.toml:4: bits is not one libmlx has");
  EXPECT_EQ(module("\"a\" = { norm = [1], quantize = false }"),
            "f.toml:4: only linear, embedding and stacked modules are quantized");
  EXPECT_EQ(module("\"a{i <\" = { norm = [1] }"),
            "f.toml:4: \"a{i <\" has a brace without its partner");
  EXPECT_EQ(module("\"a\" = { tensors = { w = [1] }, keep_dtype = \"v\" }"),
            "f.toml:4: keep_dtype names \"v\", which the module does not have");
  EXPECT_EQ(
      module("a = 3"),
      "f.toml:4: \"a\" is no module; expected { linear = [...] } or the like, got an integer");
  EXPECT_EQ(module(""), "f.toml:3: [[modules]] without a module");
}

TEST(DeclarationParse, FindsCirclesInLet) {
  EXPECT_EQ(parse_error(with_identity("[let]\na = \"b\"\nb = \"c + 1\"\nc = \"a\"")),
            "f.toml:4: [let] goes in a circle: a -> b -> c -> a");
  // In its own definition a name is the config's.
  EXPECT_EQ(parse_error(with_identity("[let]\nhead_dim = \"head_dim ?? 64\"")), "parsed");
}

constexpr std::string_view kTwoLayers = R"(layers = "n"
[defaults]
head_dim = 2
tied     = false
[let]
dim = "heads * head_dim"
[[modules]]
"embed" = { embedding = ["vocab", "dim"] }
[[modules]]
at = "layers.{i < n}"
"q"    = { linear = ["dim", "dim"], bias = "i == 0", quantize = { bits = 8, group_size = 64 } }
"gate" = { tensors = { weight = [3, "dim"], corr = [3] }, keep_dtype = ["corr"], when = "i > 0" }
"norm" = { norm = ["dim"] }
[[modules]]
"head" = { linear = ["vocab", "dim"], when = "not tied", quantize = false }
)";

Value two_layer_config() {
  return test::object({{"n", Value(2)}, {"heads", Value(2)}, {"vocab", Value(5)}});
}

Checkpoint two_layers() {
  Checkpoint checkpoint;
  checkpoint.add("head.weight", {5, 4}).add("layers.1.gate.corr", {3}, DType::kF32);
  checkpoint.add("layers.1.norm.weight", {4}).add("layers.0.q.weight", {4, 4});
  checkpoint.add("layers.0.q.bias", {4}).add("layers.0.norm.weight", {4});
  checkpoint.add("layers.1.q.weight", {4, 4}).add("layers.1.gate.weight", {3, 4});
  checkpoint.add("embed.weight", {5, 4});
  return checkpoint;
}

TEST(StrictLayout, FollowsTheOrderOfTheFile) {
  const auto layout = apply(kTwoLayers, two_layer_config(), two_layers());
  ASSERT_TRUE(layout) << layout.error().message();
  std::vector<std::string> paths;
  for (const Module& module : layout->modules) paths.push_back(module.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"embed", "layers.0.q", "layers.0.norm", "layers.1.q",
                                             "layers.1.gate", "layers.1.norm", "head"}));
  EXPECT_EQ(layout->n_layers, 2);
  const Module& q = layout->modules[1];
  EXPECT_EQ(q.kind, ModuleKind::kLinear);
  ASSERT_EQ(q.tensors.size(), 2u);
  EXPECT_EQ(q.tensors[1].name, "layers.0.q.bias");
  ASSERT_TRUE(q.rule);
  EXPECT_EQ(q.rule->bits, 8);
  EXPECT_EQ(layout->modules[4].keep_dtype, (std::vector<bool>{false, true}));
  EXPECT_FALSE(layout->modules[6].rule->quantize);
}

TEST(StrictLayout, CountsAndListsEveryDifference) {
  Checkpoint checkpoint;
  checkpoint.add("embed.weight", {5, 4}).add("head.weight", {5, 3}).add("extra", {1});
  checkpoint.add("layers.0.q.weight", {4, 4}, DType::kI32);
  EXPECT_EQ(apply_error(kTwoLayers, two_layer_config(), checkpoint),
            "the tensors are not those of family \"f\" with this config.json: 6 missing: "
            "\"layers.0.q.bias\" [4], \"layers.0.norm.weight\" [4], \"layers.1.q.weight\" [4, 4], "
            "\"layers.1.gate.weight\" [3, 4], \"layers.1.gate.corr\" [3], \"layers.1.norm.weight\" "
            "[4]; 1 unexpected: \"extra\" BF16 [1]; 2 ill-formed: \"layers.0.q.weight\" expected "
            "BF16, F16 or F32, got I32, \"head.weight\" expected [5, 4], got [5, 3]");
}

TEST(StrictLayout, HintsAtTheLikelyCause) {
  const auto error = [](const char* name, DType dtype) {
    Checkpoint checkpoint = two_layers();
    checkpoint.add(name, {4, 4}, dtype);
    return apply_error(kTwoLayers, two_layer_config(), checkpoint);
  };
  EXPECT_THAT(error("q.qweight", DType::kI32),
              HasSubstr("; this source is quantized in a way that is not supported yet"));
  EXPECT_THAT(error("x", DType::kF8E4M3), HasSubstr("; this source is quantized in a way"));
  EXPECT_THAT(error("q.lora_A.weight", DType::kF32), HasSubstr("; this looks like an adapter"));
  EXPECT_THAT(error("q.scales", DType::kBF16), HasSubstr("; scales without \"quantization\""));
  Checkpoint fp8 = two_layers();
  fp8.add("layers.0.q.weight_scale_inv", {1, 1}, DType::kF32);
  const auto layout = apply(kTwoLayers, two_layer_config(), fp8);
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().code(), Code::kUnsupported);
  Checkpoint shard;
  shard.add("embed.weight", {5, 4});
  EXPECT_THAT(apply_error(kTwoLayers, two_layer_config(), shard),
              HasSubstr("; is a shard missing?"));
}

TEST(StrictLayout, ListsOnlyTheFirstOfMany) {
  Checkpoint checkpoint = two_layers();
  for (int i = 0; i < 20; ++i) checkpoint.add("x" + std::to_string(i), {1});
  const std::string message = apply_error(kTwoLayers, two_layer_config(), checkpoint);
  EXPECT_THAT(message, HasSubstr("20 unexpected: \"x0\""));
  EXPECT_THAT(message, HasSubstr("\"x7\" BF16 [1], ..."));
}

TEST(StrictLayout, StopsAbsurdConfigs) {
  const auto with = [](Value n) {
    return apply_error(
        kTwoLayers, test::object({{"n", std::move(n)}, {"heads", Value(2)}, {"vocab", Value(5)}}),
        two_layers());
  };
  EXPECT_EQ(
      with(Value(std::int64_t{1'000'000'000'000})),
      "f.toml:3: n is 1000000000000; expected a number of layers; is config.json the model's?");
  EXPECT_THAT(with(Value(90'000)), HasSubstr("config.json describes more than"));
  EXPECT_EQ(with(Value(-1)),
            "f.toml:3: n is -1; expected a number of layers; is config.json the model's?");
  EXPECT_EQ(with(Value("2")), "f.toml:3: in \"n\": n is a string; expected an integer");
  EXPECT_EQ(with(Value(2.0)), "f.toml:3: in \"n\": n is a float; expected an integer");
  EXPECT_EQ(apply_error(kTwoLayers, Value(3), two_layers()),
            "config.json: expected an object, got an integer");
}

TEST(StrictLayout, StopsLoopsThatNothingJustifies) {
  EXPECT_THAT(apply_error("[[modules]]\nat = \"{a < 100000}.{b < 100000}\"\n"
                          "\"x\" = { norm = [1], when = \"false\" }\n",
                          test::object({}), two_layers()),
              HasSubstr("too many steps"));
  EXPECT_EQ(apply_error("[[modules]]\nat = \"{a < 100001}\"\n\"x\" = { norm = [1] }\n",
                        test::object({}), two_layers()),
            "f.toml:4: 100001 is 100001; expected 0 to 100000; is config.json the model's?");
  EXPECT_THAT(apply_error("[[modules]]\n\"x\" = { linear = [\"-3\", 1] }\n", test::object({}),
                          two_layers()),
              HasSubstr("a size of -3; expected 0 or more"));
}

TEST(StrictLayout, RefusesHostileTensorLists) {
  const Value config = two_layer_config();
  Checkpoint twice = two_layers();
  twice.add("embed.weight", {5, 4});
  EXPECT_EQ(apply_error(kTwoLayers, config, twice), "two tensors have the name \"embed.weight\"");
  const auto declaration = Declaration::parse(with_identity(kTwoLayers), "f.toml");
  ASSERT_TRUE(declaration);
  const auto refused = [&](SourceTensor tensor) {
    const auto layout = declaration->apply(config, std::vector<SourceTensor>{std::move(tensor)});
    return layout ? std::string("applied") : layout.error().message();
  };
  EXPECT_THAT(refused({"", DType::kF32, {1}}), HasSubstr("a tensor name has 0 characters"));
  EXPECT_THAT(refused({std::string(2000, 'a'), DType::kF32, {1}}), HasSubstr("2000 characters"));
  EXPECT_THAT(refused({"a", DType::kF32, {-1}}), HasSubstr("is no tensor's"));
  EXPECT_THAT(refused({"a", DType::kF32, {std::int64_t{1} << 40, std::int64_t{1} << 40}}),
              HasSubstr("is no tensor's"));
  EXPECT_THAT(refused({"a", DType::kF32, {0, std::int64_t{1} << 62, std::int64_t{1} << 62}}),
              HasSubstr("unexpected"));
  EXPECT_THAT(refused({"a\x1b[2Jb", DType::kF32, {1}}), HasSubstr("\"a\\x1b[2Jb\""));
}

Value quantized(Value entries) {
  Value config = test::object({{"n", Value(64)}});
  entries.set("bits", Value(4));
  entries.set("group_size", Value(64));
  config.set("quantization", std::move(entries));
  return config;
}

constexpr std::string_view kOneLinear = "[[modules]]\n\"q\" = { linear = [3, \"n\"] }\n";

TEST(PackedLayout, TakesMlxCodesAsTheyAre) {
  Checkpoint affine;
  affine.add("q.weight", {3, 8}, DType::kU32).add("q.scales", {3, 1}).add("q.biases", {3, 1});
  const auto layout = apply(kOneLinear, quantized(Value(base::Object{})), affine);
  ASSERT_TRUE(layout) << layout.error().message();
  ASSERT_TRUE(layout->modules[0].packed);
  EXPECT_EQ(layout->modules[0].packed_scheme, (Scheme{Mode::kAffine, 4, 64}));
  EXPECT_EQ(layout->modules[0].tensors.size(), 3u);
  Checkpoint mxfp8;
  mxfp8.add("q.weight", {3, 16}, DType::kU32).add("q.scales", {3, 2}, DType::kU8);
  const auto fp = apply(kOneLinear, quantized(Value(base::Object{})), mxfp8);
  ASSERT_TRUE(fp) << fp.error().message();
  EXPECT_EQ(fp->modules[0].packed_scheme, (Scheme{Mode::kMxfp8, 8, 32}));
}

TEST(PackedLayout, ChecksCodesAgainstTheLogicalShape) {
  Checkpoint wrong;
  wrong.add("q.weight", {3, 9}, DType::kU32).add("q.scales", {3, 1}).add("q.biases", {3, 1});
  EXPECT_THAT(apply_error(kOneLinear, quantized(Value(base::Object{})), wrong),
              HasSubstr("\"q.weight\" expected MLX codes of [3, 64], got U32 [3, 9]"));
  Checkpoint no_biases;
  no_biases.add("q.weight", {3, 8}, DType::kU32).add("q.scales", {3, 1});
  EXPECT_THAT(apply_error(kOneLinear, quantized(Value(base::Object{})), no_biases),
              HasSubstr("1 missing: \"q.biases\" [3, 1]"));
  Checkpoint affine = no_biases;
  affine.add("q.biases", {3, 1});
  EXPECT_THAT(apply_error(kOneLinear, quantized(Value(base::Object{{"q", Value(false)}})), affine),
              HasSubstr("2 unexpected: \"q.scales\""));
  EXPECT_THAT(apply_error(kOneLinear, test::object({{"n", Value(64)}}), affine),
              HasSubstr("scales without \"quantization\""));
}

TEST(OpenLayout, FindsModulesByName) {
  Checkpoint checkpoint;
  checkpoint.add("l.10.q.weight", {4, 4}).add("l.2.q.bias", {4}).add("l.2.q.weight", {4, 4});
  checkpoint.add("norm.weight", {4}).add("gate.weight", {2, 4}).add("a_log", {4}, DType::kF32);
  const auto layout =
      apply("raw = [\"gate\"]\nkeep_dtype = [\"a_log\"]\n", test::object({}), checkpoint);
  ASSERT_TRUE(layout) << layout.error().message();
  std::vector<std::string> paths;
  for (const Module& module : layout->modules) paths.push_back(module.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"", "gate", "l.2.q", "l.10.q", "norm"}));
  EXPECT_EQ(layout->modules[0].keep_dtype, std::vector<bool>{true});
  EXPECT_EQ(layout->modules[1].kind, ModuleKind::kTensors);
  EXPECT_EQ(layout->modules[2].kind, ModuleKind::kLinear);
  EXPECT_EQ(layout->modules[2].tensors[0].name, "l.2.q.weight");
  EXPECT_EQ(layout->modules[4].kind, ModuleKind::kTensors);
}

TEST(Scope, LooksInTheNamedObjectFirst) {
  const auto config = test::object(
      {{"n", Value(1)}, {"text_config", test::object({{"n", Value(2)}})}, {"top", Value(3)}});
  const auto layout = apply("scope = \"text_config\"\nlayers = \"n * 10 + top\"\n", config, {});
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->n_layers, 23);
}

TEST(Scope, FillsAbsentKeysButNotNull) {
  const char* file = "layers = \"n ?? 7\"\n[defaults]\nn = 5\n";
  EXPECT_EQ(apply(file, test::object({}), {})->n_layers, 5);
  EXPECT_EQ(apply(file, test::object({{"n", Value()}}), {})->n_layers, 7);
  EXPECT_EQ(apply_error("required = [\"rope_theta\"]\n", test::object({}), {}),
            "config.json: there is no \"rope_theta\", which mlx-lm needs for family \"f\"");
  EXPECT_EQ(apply_error("[[checks]]\nthat = \"n == 1\"\nwhy = \"one only\"\n",
                        test::object({{"n", Value(2)}}), {}),
            "f.toml:4: one only; expected n == 1");
  EXPECT_THAT(apply_error("layers = \"a\"\n[defaults]\na = \"a\"\n", test::object({}), {}),
              HasSubstr("in a chain"));
}

}  // namespace
}  // namespace mlxmill::architectures

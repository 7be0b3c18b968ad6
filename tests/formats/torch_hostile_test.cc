// PyTorch files that lie, one thing at a time. The messages are part of the product.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "formats/torch_bytes.h"
#include "formats/torch_outcome.h"

namespace mlxmill::formats {
namespace {

using ::mlxmill::testing::le;
using ::mlxmill::testing::py_call;
using ::mlxmill::testing::py_dict;
using ::mlxmill::testing::py_global;
using ::mlxmill::testing::py_int;
using ::mlxmill::testing::py_ints;
using ::mlxmill::testing::py_pickle;
using ::mlxmill::testing::py_storage;
using ::mlxmill::testing::py_str;
using ::mlxmill::testing::py_tensor;
using ::mlxmill::testing::py_tuple;
using ::mlxmill::testing::replaced;
using ::mlxmill::testing::torch_outcome;
using ::mlxmill::testing::torch_zip;
using ::testing::HasSubstr;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

// Of a pickle beside one storage of 24 bytes.
std::string of_pickle(const std::string& value) {
  return replaced(torch_outcome(torch_zip(py_pickle(value), {std::string(24, 's')})),
                  "'m/data.pkl': ", "");
}

const std::string kStorage = py_storage("0", 6);

std::string tensor(std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides) {
  return py_tensor(kStorage, offset, shape, strides);
}

const std::string kTensor = tensor(0, {2, 3}, {3, 1});

// As of_pickle, with the value under 't'.
std::string of_value(const std::string& value) { return of_pickle(py_dict({py_str("t"), value})); }

// What a name or call says, without the byte it is at.
std::string refusal(const std::string& value) {
  const std::string message = of_value(value);
  return message.substr(std::min(message.size(), message.find(": ") + 2));
}

TEST(TorchHostile, RefusesGlobalsByName) {
  for (const auto& [module, name] : std::vector<std::pair<std::string, std::string>>{
           {"os", "system"},
           {"posix", "system"},
           {"nt", "system"},
           {"builtins", "eval"},
           {"builtins", "exec"},
           {"builtins", "getattr"},
           {"__builtin__", "eval"},
           {"builtins", "__import__"},
           {"subprocess", "Popen"},
           {"runpy", "_run_code"},
           {"webbrowser", "open"},
           {"numpy.core.multiarray", "_reconstruct"},
           {"numpy", "dtype"},
           {"collections", "OrderedDict.update"},
           {"torch", "load"},
           {"torch.hub", "load"},
           {"torch", "_utils._rebuild_tensor_v2"},
           {"torch._utils", ""},
           {"torch", "os"},
           {"copy_reg", "_reconstructor"},
           {"torch.distributed.tensor", "DTensor"},
           {"functools", "partial"},
           {"operator", "attrgetter"},
       }) {
    const std::string message = "the pickle asks for '" + module + " " + name +
                                "', which is no tensor; nothing was executed";
    EXPECT_EQ(refusal(py_call(py_global(module, name), {py_str("id")})), message);
    EXPECT_EQ(refusal(py_str(module) + py_str(name) + "\x93"), message);
  }
  EXPECT_EQ(refusal(py_global("torch.nn.modules.linear", "Linear")),
            "the pickle asks for 'torch.nn.modules.linear Linear', which is no tensor; nothing was "
            "executed; the file holds a whole module, save its state_dict() instead");
  EXPECT_EQ(refusal(py_global("torch", "QInt8Storage")),
            "storages of type 'torch QInt8Storage' are not read; dense tensors of the usual types "
            "are");
  EXPECT_EQ(refusal(py_global("torch", "complex64")),
            "tensors of type 'torch complex64' are not read; dense tensors of the usual types are");
}

TEST(TorchHostile, RefusesCallsWithWrongArguments) {
  const auto call = [](std::string_view name, const std::vector<std::string>& items) {
    return refusal(py_call(py_global("torch._utils", name), items));
  };
  const std::string none = "N";
  const std::string pair = py_ints({6});
  EXPECT_EQ(call("_rebuild_tensor", {kStorage}), "_rebuild_tensor has 1 arguments; expected 4");
  EXPECT_EQ(call("_rebuild_tensor_v2", {kStorage}),
            "_rebuild_tensor_v2 has 1 arguments; expected 6 to 7");
  EXPECT_EQ(call("_rebuild_tensor_v3", {kStorage}),
            "_rebuild_tensor_v3 has 1 arguments; expected 7 to 8");
  EXPECT_EQ(call("_rebuild_tensor", {none, py_int(0), pair, pair}),
            "argument 1 of _rebuild_tensor is None; expected a storage");
  EXPECT_EQ(call("_rebuild_tensor", {kTensor, py_int(0), pair, pair}),
            "argument 1 of _rebuild_tensor is an object; expected a storage");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, none, pair, pair}),
            "argument 2 of _rebuild_tensor is None; expected an int");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, py_int(-1), pair, pair}),
            "argument 2 of _rebuild_tensor is -1; expected no negative number");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, "\x8a\x09" + le(0, 8) + "\x01", pair, pair}),
            "argument 2 of _rebuild_tensor is an int past 64 bits; expected an int");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, py_int(0), "]", pair}),
            "argument 3 of _rebuild_tensor is a list; expected a tuple of ints");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, py_int(0), py_ints({-1}), pair}),
            "argument 3 of _rebuild_tensor holds -1; expected no negative number");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, py_int(0), pair, py_ints({-1})}),
            "argument 4 of _rebuild_tensor holds -1; expected no negative number");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, py_int(0), pair, py_tuple({"\x88"})}),
            "argument 4 of _rebuild_tensor holds a bool; expected ints");
  EXPECT_EQ(call("_rebuild_tensor", {kStorage, py_int(0), pair, ")"}),
            "a tensor of rank 1 with 0 strides");
  EXPECT_EQ(call("_rebuild_tensor",
                 {kStorage, py_int(0), py_ints(std::vector<std::int64_t>(65, 1)), pair}),
            "argument 3 of _rebuild_tensor has 65 entries; at most 64 are read");
  EXPECT_EQ(call("_rebuild_parameter", {kStorage, "\x88", none}),
            "argument 1 of _rebuild_parameter is an object; expected a tensor");
  EXPECT_EQ(call("_rebuild_parameter", {kTensor}),
            "_rebuild_parameter has 1 arguments; expected 3");
  EXPECT_EQ(call("_rebuild_tensor_v3", {kStorage, py_int(0), pair, py_ints({1}), "\x89", none,
                                        py_global("torch", "Size")}),
            "argument 7 of _rebuild_tensor_v3 is a name; expected a dtype");
  EXPECT_EQ(call("_rebuild_tensor_v3", {kStorage, py_int(0), pair, py_ints({1}), "\x89", none,
                                        py_global("torch", "float16")}),
            "a tensor of F16 in a storage of F32");
}

TEST(TorchHostile, RefusesOtherCalls) {
  EXPECT_EQ(refusal(py_call(py_global("torch", "float32"), {})),
            "the pickle calls a class or dtype; nothing was executed");
  EXPECT_EQ(refusal(py_call(py_global("torch", "FloatStorage"), {})),
            "the pickle calls a class or dtype; nothing was executed");
  EXPECT_EQ(refusal(py_call(py_global("torch", "Tensor"), {})),
            "the pickle calls a class or dtype; nothing was executed");
  EXPECT_EQ(refusal(py_call(py_global("torch", "Size"), {py_str("x")})),
            "argument 1 of Size is a str; expected a tuple of ints");
  EXPECT_EQ(refusal(py_call(py_global("torch", "device"), {"N"})),
            "argument 1 of device is None; expected a str");
  EXPECT_EQ(refusal(py_call(py_global("_codecs", "encode"), {py_str("x")})),
            "encode has 1 arguments; expected 2");
  EXPECT_EQ(refusal(py_call(py_global("__builtin__", "bytes"), {py_int(1'000'000'000)})),
            "bytes has 1 arguments; expected 0");
  const std::string ordered = py_global("collections", "OrderedDict");
  EXPECT_EQ(refusal(py_call(ordered, {"N"})),
            "argument 1 of OrderedDict is None; expected a list of pairs");
  EXPECT_EQ(refusal(py_call(ordered, {"](NNNl" + std::string("a")})),
            "argument 1 of OrderedDict is a list; expected a list of pairs");
  const std::string typed = py_global("torch._tensor", "_rebuild_from_type_v2");
  const std::string rebuild = py_global("torch._utils", "_rebuild_tensor");
  EXPECT_EQ(refusal(py_call(typed, {typed, py_global("torch", "Tensor"), ")", "N"})),
            "argument 1 of _rebuild_from_type_v2 is a name; expected a function that makes a "
            "tensor");
  EXPECT_EQ(refusal(py_call(typed, {rebuild, rebuild, ")", "N"})),
            "argument 2 of _rebuild_from_type_v2 is a name; expected a tensor class");
  EXPECT_EQ(refusal(py_call(typed, {rebuild, py_global("torch", "Tensor"), ")", "N"})),
            "_rebuild_tensor has 0 arguments; expected 4");
}

TEST(TorchHostile, RefusesOtherStates) {
  const std::string ordered = py_call(py_global("collections", "OrderedDict"), {});
  EXPECT_EQ(of_value(ordered + py_dict({py_str("_metadata"), ordered}) + "b"), "");
  EXPECT_EQ(refusal("}" + py_dict({py_str("_metadata"), "N"}) + "b"),
            "BUILD sets the state of a dict to a dict; nothing was executed");
  EXPECT_EQ(refusal(ordered + "Nb"),
            "BUILD sets the state of an OrderedDict to None; nothing was executed");
  EXPECT_EQ(refusal(kTensor + "}b"),
            "BUILD sets the state of an object to a dict; nothing was executed");
  EXPECT_EQ(refusal(ordered + py_dict({py_str("items"), "N"}) + "b"),
            "BUILD sets attributes of an OrderedDict; expected '_metadata' alone; nothing was "
            "executed");
}

// Every opcode that can run something when Python reads it, here in a file of weights and on names
// that are allowed elsewhere.
TEST(TorchHostile, RefusesEveryWayToRunSomething) {
  const std::string tensor_class = py_global("torch", "Tensor");
  const std::string any_class = ", which makes an object of any class; nothing was executed";
  const std::string registry = ", which takes a class from Python's registry; nothing was executed";
  const auto uses = [](std::string_view opcode) {
    return "the pickle uses " + std::string(opcode);
  };
  EXPECT_EQ(refusal("(" + py_str("id") + "ios\nsystem\n"), uses("INST") + any_class);
  EXPECT_EQ(refusal("(itorch\nTensor\n"), uses("INST") + any_class);
  EXPECT_EQ(refusal("(" + tensor_class + py_str("id") + "o"), uses("OBJ") + any_class);
  EXPECT_EQ(refusal(tensor_class + ")\x81"), uses("NEWOBJ") + any_class);
  EXPECT_EQ(refusal(tensor_class + ")}\x92"), uses("NEWOBJ_EX") + any_class);
  EXPECT_EQ(refusal("\x82\x01"), uses("EXT1") + registry);
  EXPECT_EQ(refusal("\x83\x01\x01"), uses("EXT2") + registry);
  EXPECT_EQ(refusal("\x84" + le(1, 4)), uses("EXT4") + registry);
  for (const std::string id : {"0", "", "../data.pkl", "os.system", "\xff\x1b[2J"}) {
    EXPECT_EQ(refusal("P" + id + "\n"),
              uses("PERSID") + ", which names a storage by a line of text; nothing was executed");
  }
  // Names that are found in the memo, and made of pieces.
  EXPECT_EQ(refusal(py_str("os") +
                    "q\x05"
                    "0h\x05" +
                    py_str("system") + "\x93"),
            "the pickle asks for 'os system', which is no tensor; nothing was executed");
  EXPECT_EQ(refusal(py_str("os.path") + py_str("os.system") + "\x93"),
            "the pickle asks for 'os.path os.system', which is no tensor; nothing was executed");
  EXPECT_EQ(refusal("C\x02os" + py_str("system") + "\x93"),
            "STACK_GLOBAL finds no two strings on the stack");
  EXPECT_EQ(refusal(tensor_class + ")R"),
            "the pickle calls a class or dtype; nothing was executed");
  EXPECT_EQ(refusal(py_str("os.system") + py_tuple({py_str("id")}) + "R"),
            "calls a str with a tuple; expected a name and a tuple");
  EXPECT_EQ(refusal(py_call(py_global("collections", "OrderedDict"), {}) + ")R"),
            "calls an OrderedDict with a tuple; expected a name and a tuple");
}

// BUILD runs __setstate__, or updates __dict__ and the slots.
TEST(TorchHostile, RefusesStatesThatCouldRunSomething) {
  const std::string ordered = py_call(py_global("collections", "OrderedDict"), {});
  const std::string executed = "; nothing was executed";
  EXPECT_EQ(refusal(py_global("torch", "Tensor") + py_dict({py_str("__setstate__"), "N"}) + "b"),
            "BUILD sets the state of a name to a dict" + executed);
  EXPECT_EQ(refusal(kStorage + py_dict({py_str("__class__"), "N"}) + "b"),
            "BUILD sets the state of an object to a dict" + executed);
  EXPECT_EQ(refusal(ordered + py_tuple({"N", py_dict({py_str("__setstate__"), "N"})}) + "b"),
            "BUILD sets the state of an OrderedDict to a tuple" + executed);
  for (const std::string key : {"__setstate__", "__class__", "__reduce__", "keys", "_Metadata"}) {
    EXPECT_EQ(refusal(ordered + py_dict({py_str(key), "N"}) + "b"),
              "BUILD sets attributes of an OrderedDict; expected '_metadata' alone" + executed);
  }
  EXPECT_EQ(refusal("]Nb"), "BUILD sets the state of a list to None" + executed);
}

TEST(TorchHostile, RefusesWrongPersistentIds) {
  const std::string type = py_global("torch", "FloatStorage");
  const auto id = [&](const std::vector<std::string>& items) {
    return refusal(py_tuple(items) + "Q");
  };
  EXPECT_EQ(refusal("NQ"), "a persistent id is None; expected a tuple");
  EXPECT_EQ(refusal(py_str("0") + "Q"), "a persistent id is a str; expected a tuple");
  EXPECT_EQ(refusal("]Q"), "a persistent id is a list; expected a tuple");
  EXPECT_EQ(refusal(kTensor + "Q"), "a persistent id is an object; expected a tuple");
  EXPECT_EQ(refusal(type + "Q"), "a persistent id is a name; expected a tuple");
  EXPECT_EQ(id({}), "a persistent id has 0 arguments; expected 5");
  EXPECT_EQ(id({py_str("module"), type, py_str("0"), py_str("cpu"), py_int(6)}),
            "a persistent id of 'module'; expected 'storage'");
  EXPECT_EQ(id({py_str("storage"), "N", py_str("0"), py_str("cpu"), py_int(6)}),
            "argument 2 of a persistent id is None; expected a storage class");
  EXPECT_EQ(
      id({py_str("storage"), py_global("torch", "Size"), py_str("0"), py_str("cpu"), py_int(6)}),
      "argument 2 of a persistent id is a name; expected a storage class");
  EXPECT_EQ(id({py_str("storage"), type, py_int(0), py_str("cpu"), py_int(6)}),
            "argument 3 of a persistent id is an int; expected a str");
  EXPECT_EQ(id({py_str("storage"), type, py_str("0"), py_str("cpu"), py_int(-6)}),
            "argument 5 of a persistent id is -6; expected no negative number");
  EXPECT_EQ(id({py_str("storage"), type, py_str("0"), py_str("cpu"), py_int(6), "N"}),
            "a persistent id has 6 arguments; expected 5");
  EXPECT_EQ(refusal(py_tuple({kStorage, py_storage("0", 7)})),
            "storage '0' has two types or sizes");
  EXPECT_EQ(refusal(py_tuple({kStorage, py_storage("0", 6, "IntStorage")})),
            "storage '0' has two types or sizes");
}

TEST(TorchHostile, RefusesWindowsThatLeaveTheirStorage) {
  EXPECT_EQ(of_value(kTensor), "t");
  EXPECT_EQ(of_value(tensor(5, {}, {})), "t");
  EXPECT_EQ(of_value(tensor(6, {0}, {kMax})), "t");
  // torch writes slices of nothing with an offset past the storage.
  EXPECT_EQ(of_value(tensor(kMax, {4, 0}, {kMax, kMax})), "t");
  const auto leaves = [](std::string_view window) {
    return fmt::format("tensor 't': {} leaves its storage of 6 elements", window);
  };
  EXPECT_EQ(of_value(tensor(6, {}, {})), leaves("[] with strides [] at element 6"));
  EXPECT_EQ(of_value(tensor(1, {2, 3}, {3, 1})), leaves("[2, 3] with strides [3, 1] at element 1"));
  EXPECT_EQ(of_value(tensor(0, {2, 3}, {4, 1})), leaves("[2, 3] with strides [4, 1] at element 0"));
  EXPECT_EQ(of_value(tensor(kMax, {2}, {kMax})),
            leaves(fmt::format("[2] with strides [{0}] at element {0}", kMax)));
  EXPECT_EQ(of_value(tensor(0, {3}, {kMax})),
            leaves(fmt::format("[3] with strides [{}] at element 0", kMax)));
  EXPECT_EQ(of_value(tensor(0, {3, 3, 3}, {kMax / 2, kMax / 2, kMax / 2})),
            leaves(fmt::format("[3, 3, 3] with strides [{0}, {0}, {0}] at element 0", kMax / 2)));
  EXPECT_EQ(of_value(tensor(0, {kMax, 2}, {0, 0})),
            fmt::format("tensor 't': shape [{}, 2] has more elements than fit in memory", kMax));
  EXPECT_EQ(of_value(tensor(0, {1'000'000'000}, {0})),
            "tensor 't': [1000000000] repeats the 6 elements of its storage; save "
            "tensor.contiguous() instead");
}

TEST(TorchHostile, RefusesStoragesThatAreNotThere) {
  const auto with = [](const std::string& storage, std::int64_t n) {
    return of_value(py_tensor(storage, 0, {n}, {1}));
  };
  EXPECT_EQ(with(py_storage("7", 6), 6),
            "tensor 't': has no entry 'm/data/7'; incomplete download?");
  EXPECT_EQ(with(py_storage("../data.pkl", 6), 6),
            "tensor 't': has no entry 'm/data/../data.pkl'; incomplete download?");
  EXPECT_EQ(with(py_storage("0", 5), 5),
            "tensor 't': entry 'm/data/0' has 24 bytes; expected 5 elements of 4");
  EXPECT_EQ(with(py_storage("0", kMax), 6),
            "tensor 't': entry 'm/data/0' has 24 bytes; expected 9223372036854775807 elements of "
            "4");
  EXPECT_EQ(with(py_storage("0", 6, "HalfStorage"), 6),
            "tensor 't': entry 'm/data/0' has 24 bytes; expected 6 elements of 2");
}

TEST(TorchHostile, RefusesOtherTrees) {
  EXPECT_EQ(of_pickle("N"), "holds None; expected a dict of tensors");
  EXPECT_EQ(of_pickle(py_dict({py_str("a"), "N", py_str("a"), "N"})), "the key 'a' appears twice");
  EXPECT_EQ(of_value(py_dict({py_int(1), "N", py_int(1), "N"})), "'t': the key 1 appears twice");
  EXPECT_EQ(
      of_pickle(py_dict({py_str("a.b"), kTensor, py_str("a"), py_dict({py_str("b"), kTensor})})),
      "tensor 'a.b' appears twice");
  EXPECT_EQ(of_pickle(py_dict({py_str(""), kTensor})), "the tensor name '' is empty");
  EXPECT_EQ(of_pickle(py_dict({py_str("model"), py_dict({py_str(""), kTensor})})),
            "a tensor name is empty");
  EXPECT_EQ(of_pickle(py_dict({py_str("a\nb"), kTensor})),
            "the tensor name 'a\\x0ab' holds a control character");
  EXPECT_EQ(of_pickle(py_dict({py_str("a\xff"), kTensor})),
            "tensor 'a\\xff': the name is no UTF-8");
  EXPECT_EQ(of_pickle(py_dict({"N", kTensor})),
            "the top level: a tensor below a key that is None; expected a str or int");
  EXPECT_EQ(of_pickle(py_dict({py_str(std::string(5000, 'k')), "N"})),
            "a key of 5000 bytes; at most 4096 are read");
  // The same dict in two places, and a dict in itself.
  EXPECT_EQ(of_pickle(py_dict(
                {py_str("a"), py_dict({py_str("w"), kTensor}) + "q\x01", py_str("b"), "h\x01"})),
            "'b': a dict of tensors that appears twice, or within itself");
  EXPECT_EQ(of_pickle("}q\x01" + py_str("a") + "h\x01s"),
            "'a': a dict of tensors that appears twice, or within itself");
  EXPECT_EQ(of_value("]q\x01h\x01"
                     "a"),
            "'t.0': a list of tensors that appears twice, or within itself");
  std::string deep = py_str("k") + "N";
  for (int i = 0; i < 70; ++i) deep = py_str("k") + "}" + deep + "s";
  EXPECT_THAT(of_pickle("}" + deep + "s"), HasSubstr(": nested deeper than 64 levels"));
}

TEST(TorchHostile, ReadsHarmlessCompany) {
  const std::string other = py_dict({"N", "}", "\x88", py_int(1), py_str("x"), py_str("y")});
  EXPECT_EQ(of_pickle(py_dict(
                {py_str("state_dict"), py_dict({py_str("w"), kTensor}), py_str("hyper"), other})),
            "w");
  // Only one dict that has all of them is left out, and only under the known names.
  EXPECT_EQ(of_pickle(py_dict(
                {py_str("model"), py_dict({py_str("w"), kTensor}), py_str("step"), kTensor})),
            "model.w step");
  EXPECT_EQ(of_pickle(py_dict({py_str("model"), "]" + kTensor + "a"})), "model.0");
  EXPECT_EQ(of_pickle(py_dict({py_str("model"), kTensor})), "model");
  EXPECT_EQ(of_pickle(py_dict({py_str("model.w"), kTensor})), "model.w");
  // A constant of the program, shared by two groups of settings.
  EXPECT_EQ(of_pickle(py_dict({py_str("a"), py_tuple({py_int(1)}) + "q\x01", py_str("b"), "h\x01",
                               py_str("w"), kTensor})),
            "w");
  // Python 2 gave OrderedDict its items in a list.
  EXPECT_EQ(of_pickle(py_call(py_global("collections", "OrderedDict"),
                              {"](" + py_str("w") + kTensor + "la"})),
            "w");
}

// Names and shapes that a few bytes of pickle repeat without end.
TEST(TorchHostile, RefusesExpandingPickles) {
  std::string items =
      py_str("t") +
      py_tensor(kStorage, 0, std::vector<std::int64_t>(64, 1), std::vector<std::int64_t>(64, 1)) +
      "q\x01";
  for (int i = 0; i < 100'000; ++i) items += py_int(i) + "h\x01";
  EXPECT_THAT(of_pickle("}(" + items + "u"),
              HasSubstr("names and shapes take many times the bytes of the pickle"));
  const std::string pair = "(" + py_str("k") + "Nl";
  std::string list = "](";
  for (int i = 0; i < 50'000; ++i) list += pair;
  std::string calls = "](" + list + "e\x85q\x01";
  for (int i = 0; i < 100; ++i) {
    calls += py_global("collections", "OrderedDict") + "h\x01R";
  }
  EXPECT_THAT(of_pickle(calls + "e"), HasSubstr("the pickle makes more than 4000000 values"));
}

}  // namespace
}  // namespace mlxmill::formats

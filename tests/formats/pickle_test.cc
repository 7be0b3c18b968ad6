// The pickle machine alone, with no host: plain data, and every way to leave it.
#include "formats/pickle.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/pickle_opcodes.h"
#include "formats/torch_bytes.h"
#include "python.h"
#include "temp_folder.h"

namespace mlxmill::formats {
namespace {

using ::mlxmill::testing::le;
using ::mlxmill::testing::plain_python;
using ::mlxmill::testing::py_call;
using ::mlxmill::testing::py_dict;
using ::mlxmill::testing::py_global;
using ::mlxmill::testing::py_pickle;
using ::mlxmill::testing::py_str;
using ::mlxmill::testing::py_tuple;
using ::mlxmill::testing::run_python;
using ::mlxmill::testing::TempFolder;
using ::mlxmill::testing::write_file;
using ::testing::EndsWith;
using ::testing::HasSubstr;

using Bytes = std::string;

// A value as text, which tells its kinds apart.
std::string show(const PickleValues& values, PickleIndex index) {
  const PickleValue& value = values[index];
  std::string items;
  for (const PickleIndex item : value.items) items += show(values, item) + ",";
  switch (value.kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return value.integer ? "True" : "False";
    case PickleKind::kInt:
      return std::to_string(value.integer);
    case PickleKind::kBigInt:
      return fmt::format("big:{}", value.text.size());
    case PickleKind::kFloat:
      return "float";
    case PickleKind::kString:
      return "'" + std::string(value.text) + "'";
    case PickleKind::kBytes:
      return "b'" + std::string(value.text) + "'";
    case PickleKind::kTuple:
      return "(" + items + ")";
    case PickleKind::kList:
      return "[" + items + "]";
    default:
      return "{" + items + "}";
  }
}

std::string read(const std::string& pickle) {
  PickleHost host;
  Unpickler unpickler(pickle, host);
  const auto root = unpickler.read();
  if (!root) return root.error().message();
  EXPECT_EQ(unpickler.position(), pickle.size());
  return show(unpickler.values(), *root);
}

Code code_of(const std::string& pickle) {
  PickleHost host;
  Unpickler unpickler(pickle, host);
  const auto root = unpickler.read();
  return root ? Code::kInternal : root.error().code();
}

TEST(Pickle, ReadsConstants) {
  EXPECT_EQ(read("N."), "None");
  EXPECT_EQ(read("\x88."), "True");
  EXPECT_EQ(read("\x89."), "False");
  EXPECT_EQ(read("I01\n."), "True");
  EXPECT_EQ(read("I00\n."), "False");
  EXPECT_EQ(read("F-1.5e+10\n."), "float");
  EXPECT_EQ(read("Finf\n."), "float");
  EXPECT_EQ(read("G12345678."), "float");
}

TEST(Pickle, ReadsIntegers) {
  EXPECT_EQ(read("I-12\n."), "-12");
  EXPECT_EQ(read("L9223372036854775807L\n."), "9223372036854775807");
  EXPECT_EQ(read("L9223372036854775808L\n."), "big:19");
  EXPECT_EQ(read("L-9223372036854775808L\n."), "-9223372036854775808");
  EXPECT_EQ(read("J\xfe\xff\xff\xff."), "-2");
  EXPECT_EQ(read("K\xfe."), "254");
  EXPECT_EQ(read("M\xfe\xff."), "65534");
  EXPECT_EQ(read(Bytes("\x8a\x00.", 3)), "0");
  EXPECT_EQ(read("\x8a\x01\xff."), "-1");
  EXPECT_EQ(read(Bytes("\x8a\x02\xff\x00.", 5)), "255");
  EXPECT_EQ(read("\x8a\x08" + le(std::uint64_t{1} << 63, 8) + "."), "-9223372036854775808");
  EXPECT_EQ(read("\x8a\x09" + le(1, 8) + "\x01."), "big:9");
  EXPECT_EQ(read("\x8b" + le(2, 4) + le(300, 2) + "."), "300");
}

TEST(Pickle, ReadsTextOfEveryProtocol) {
  EXPECT_EQ(read("S'ab'\n."), "'ab'");
  EXPECT_EQ(read("S\"a'b\"\n."), "'a'b'");
  EXPECT_EQ(read("Vab\n."), "'ab'");
  EXPECT_EQ(read("T" + le(2, 4) + "ab."), "'ab'");
  EXPECT_EQ(read("U\x02"
                 "ab."),
            "'ab'");
  EXPECT_EQ(read("X" + le(2, 4) + "ab."), "'ab'");
  EXPECT_EQ(read("\x8c\x02"
                 "ab."),
            "'ab'");
  EXPECT_EQ(read("\x8d" + le(2, 8) + "ab."), "'ab'");
  EXPECT_EQ(read("B" + le(2, 4) + "ab."), "b'ab'");
  EXPECT_EQ(read("C\x02"
                 "ab."),
            "b'ab'");
  EXPECT_EQ(read("\x8e" + le(2, 8) + "ab."), "b'ab'");
  EXPECT_EQ(read("\x96" + le(2, 8) + "ab."), "b'ab'");
}

TEST(Pickle, ReadsContainers) {
  EXPECT_EQ(read(")."), "()");
  EXPECT_EQ(read("]."), "[]");
  EXPECT_EQ(read("}."), "{}");
  EXPECT_EQ(read("(NNt."), "(None,None,)");
  EXPECT_EQ(read("(NNl."), "[None,None,]");
  EXPECT_EQ(read("(NK\x01"
                 "d."),
            "{None,1,}");
  EXPECT_EQ(read("N\x85."), "(None,)");
  EXPECT_EQ(read("NN\x86."), "(None,None,)");
  EXPECT_EQ(read("NNN\x87."), "(None,None,None,)");
  EXPECT_EQ(read("]Na(NNe."), "[None,None,None,]");
  EXPECT_EQ(read("}NNs(NNu."), "{None,None,None,None,}");
  EXPECT_EQ(read("NN0."), "None");
  EXPECT_EQ(read("N(0."), "None");
  EXPECT_EQ(read("N(NN1."), "None");
  EXPECT_EQ(read("N2\x86."), "(None,None,)");
}

TEST(Pickle, ReadsMemoAndFrames) {
  EXPECT_EQ(read("K\x07q\x01"
                 "0h\x01\x85."),
            "(7,)");
  EXPECT_EQ(read("K\x07p2\n0g2\n."), "7");
  EXPECT_EQ(read("K\x07r" + le(3, 4) + "0j" + le(3, 4) + "."), "7");
  EXPECT_EQ(read(Bytes("\x80\x04K\x07\x94K\x08\x94\x30\x30h\x01h\x00\x86.", 16)), "(8,7,)");
  EXPECT_EQ(read("\x80\x05\x95" + le(2, 8) + "N."), "None");
}

// What could make an object or run something, each by its name.
TEST(Pickle, RefusesOpcodesThatMakeObjects) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"(ios\nsystem\n.", "INST, which makes an object of any class"},
      {"(No.", "OBJ, which makes an object of any class"},
      {"N)\x81.", "NEWOBJ, which makes an object of any class"},
      {"N)}\x92.", "NEWOBJ_EX, which makes an object of any class"},
      {"\x82\x01.", "EXT1, which takes a class from Python's registry"},
      {"\x83\x01\x01.", "EXT2, which takes a class from Python's registry"},
      {"\x84" + le(1, 4) + ".", "EXT4, which takes a class from Python's registry"},
      {"P0\n.", "PERSID, which names a storage by a line of text"},
      {"\x8f.", "EMPTY_SET, which makes a set"},
      {"\x8f(N\x90.", "EMPTY_SET, which makes a set"},
      {"(N\x90.", "ADDITEMS, which makes a set"},
      {"(N\x91.", "FROZENSET, which makes a set"},
      {"\x97.", "NEXT_BUFFER, which takes a buffer from outside the file"},
      {"\x98.", "READONLY_BUFFER, which takes a buffer from outside the file"},
  };
  for (const auto& [pickle, message] : cases) {
    EXPECT_THAT(read(pickle), HasSubstr(": the pickle uses " + message + "; nothing was executed"));
    EXPECT_EQ(code_of(pickle), Code::kUnsupported);
  }
}

TEST(Pickle, RefusesBytesThatAreNoOpcode) {
  EXPECT_EQ(read("\xff."), "byte 0: byte 0xff is no opcode");
  EXPECT_EQ(read(Bytes("N\0.", 3)), "byte 1: byte 0x00 is no opcode");
  EXPECT_EQ(code_of("\xff."), Code::kInvalidInput);
}

TEST(Pickle, KnowsTheOpcodesOfPython) {
  const TempFolder folder;
  std::string list;
  for (int code = 0; code < 256; ++code) {
    const PickleOpcode* opcode = find_pickle_opcode(static_cast<unsigned char>(code));
    if (opcode) list += fmt::format("{} {}\n", code, opcode->name);
  }
  write_file(folder / "opcodes", list);
  EXPECT_TRUE(run_python(plain_python(), {MLXMILL_SOURCE_DIR "/tests/formats/torch_oracle.py",
                                          "opcodes", (folder / "opcodes").string()}));
}

TEST(Pickle, RefusesGlobalsByName) {
  EXPECT_EQ(read("cposix\nsystem\n."),
            "byte 0: the pickle asks for 'posix system', which is no tensor; nothing was executed");
  EXPECT_EQ(read(py_pickle(py_call(py_global("os", "system"), {py_str("id")}))),
            "byte 2: the pickle asks for 'os system', which is no tensor; nothing was executed");
  EXPECT_EQ(
      read("\x80\x04\x8c\x08"
           "builtins\x8c\x04"
           "eval\x93."),
      "byte 18: the pickle asks for 'builtins eval', which is no tensor; nothing was executed");
  EXPECT_EQ(read("c\x1b[2J\nx\n."),
            "byte 0: the pickle asks for '\\x1b[2J x', which is no tensor; nothing was executed");
  EXPECT_EQ(code_of("cposix\nsystem\n."), Code::kUnsupported);
  EXPECT_LT(read("c" + Bytes(100'000, 'm') + "\nx\n.").size(), 250u);
}

TEST(Pickle, RefusesCallsOfValues) {
  EXPECT_EQ(read("N)R."), "byte 2: calls None with a tuple; expected a name and a tuple");
  EXPECT_EQ(read(py_str("os.system") + "]R."),
            "byte 15: calls a str with a list; expected a name and a tuple");
  EXPECT_EQ(read("NNb."), "byte 2: the pickle sets an object's state; nothing was executed");
  EXPECT_EQ(read("NQ."), "byte 1: the pickle refers to a storage where none can be");
  EXPECT_EQ(read("NN\x93."), "byte 2: STACK_GLOBAL finds no two strings on the stack");
}

TEST(Pickle, RefusesWrongStacks) {
  EXPECT_EQ(read("."),
            "byte 0: the pickle leaves 0 values and 0 marks on the stack; expected one "
            "value");
  EXPECT_EQ(read("NN."),
            "byte 2: the pickle leaves 2 values and 0 marks on the stack; expected one "
            "value");
  EXPECT_EQ(read("N(."),
            "byte 2: the pickle leaves 1 values and 1 marks on the stack; expected one "
            "value");
  EXPECT_EQ(read("0."), "byte 0: POP finds no value on the stack");
  EXPECT_EQ(read("2."), "byte 0: DUP finds no value on the stack");
  EXPECT_EQ(read("Nt."), "byte 1: TUPLE finds no mark on the stack");
  EXPECT_EQ(read("1."), "byte 0: POP_MARK finds no mark on the stack");
  EXPECT_EQ(read("N\x86."), "byte 1: TUPLE2 finds 1 values on the stack; expected 2");
  // A mark is a floor.
  EXPECT_EQ(read("N(\x85."), "byte 2: TUPLE1 finds 0 values on the stack; expected 1");
  EXPECT_EQ(read("}(Ne."), "byte 3: appends to a dict; expected a list");
  EXPECT_EQ(read("](NNu."), "byte 4: sets an item of a list; expected a dict");
  EXPECT_EQ(read("}(Nu."), "byte 3: a key without a value");
  EXPECT_EQ(read("(Nd."), "byte 2: a key without a value");
  EXPECT_EQ(read("Na."), "byte 1: APPEND finds no value on the stack");
}

TEST(Pickle, RefusesWrongArguments) {
  EXPECT_EQ(read("Iabc\n."), "byte 0: 'abc' is no whole number");
  EXPECT_EQ(read("I\n."), "byte 0: '' is no whole number");
  EXPECT_EQ(read("L-L\n."), "byte 0: '-' is no whole number");
  EXPECT_EQ(read("Fx\n."), "byte 0: 'x' is no float");
  EXPECT_EQ(read("Sab\n."), "byte 0: 'ab' is no string in quotes");
  EXPECT_EQ(read("S'\n."), "byte 0: ''' is no string in quotes");
  EXPECT_EQ(read("S'\\x41'\n."), "byte 0: '\\x41' is no plain ASCII");
  EXPECT_EQ(read("V\\u0041\n."), "byte 0: '\\u0041' is no plain ASCII");
  EXPECT_EQ(read("T" + le(0xFFFFFFFF, 4) + "."), "byte 0: a negative length");
  EXPECT_EQ(read("\x8b" + le(0x80000000, 4) + "."), "byte 0: a negative length");
  EXPECT_EQ(read("\x80\x06N."), "byte 0: pickle protocol 6; expected at most 5");
}

TEST(Pickle, RefusesWrongMemoNumbers) {
  EXPECT_EQ(read("h\x01."), "byte 0: memo number 1 was never set");
  EXPECT_EQ(read("Nq\x02h\x01."), "byte 3: memo number 1 was never set");
  EXPECT_EQ(read("Nr" + le(0xFFFFFFFF, 4) + "."),
            "byte 1: memo number 4294967295 in a pickle of 7 bytes");
  EXPECT_EQ(read("Np18446744073709551616\n."), "byte 1: memo number '18446744073709551616'");
  EXPECT_EQ(read("Np-1\n."), "byte 1: memo number '-1'");
  EXPECT_EQ(read("q\x01."), "byte 0: BINPUT finds no value on the stack");
}

TEST(Pickle, RefusesEveryTruncatedPrefix) {
  const std::string value = py_tuple({"K\x01", "J" + le(5, 4), "F1.5\n", "\x8a\x02\x01\x02"});
  const std::string pickle = "\x80\x04\x95" + le(20, 8) +
                             py_dict({py_str("key"), value + "q\x01", "\x8c\x01z", "h\x01"}) + ".";
  EXPECT_EQ(read(pickle), "{'key',(1,5,float,513,),'z',(1,5,float,513,),}");
  for (std::size_t size = 0; size < pickle.size(); ++size) {
    // An allocation of exactly this size, for AddressSanitizer.
    const std::vector<char> prefix(pickle.begin(),
                                   pickle.begin() + static_cast<std::ptrdiff_t>(size));
    PickleHost host;
    Unpickler unpickler({prefix.data(), prefix.size()}, host);
    const auto root = unpickler.read();
    ASSERT_FALSE(root) << size;
    EXPECT_TRUE(unpickler.ran_out()) << size << root.error().message();
    EXPECT_THAT(root.error().message(), EndsWith("; incomplete download?"));
  }
  EXPECT_EQ(read("X" + le(9, 4) + "abc."),
            "byte 0: the pickle ends inside BINUNICODE; incomplete download?");
  EXPECT_EQ(read("\x8d" + le(~std::uint64_t{0}, 8) + "a."),
            "byte 0: the pickle ends inside BINUNICODE8; incomplete download?");
  EXPECT_EQ(read("\x95" + le(~std::uint64_t{0}, 8) + "N."),
            "byte 0: the pickle ends inside FRAME; incomplete download?");
  EXPECT_EQ(read("NN"), "byte 2: the pickle has no end; incomplete download?");
}

TEST(Pickle, RefusesFloods) {
  EXPECT_EQ(read(Bytes(1'000'001, 'N') + "."),
            "byte 1000000: more than 1000000 values on the stack");
  EXPECT_EQ(read(Bytes(1'000'001, '(') + "."),
            "byte 1000000: more than 1000000 marks on the stack");
  std::string values;
  for (int i = 0; i < 2'000'001; ++i) values += "N0";
  EXPECT_EQ(read(values + "N."), "None");
  for (int i = 0; i < 2'000'000; ++i) values += "N0";
  EXPECT_EQ(read(values + "N."), "byte 8000000: the pickle makes more than 4000000 values");
}

// A million levels: nothing in the machine goes down into a value.
TEST(Pickle, ReadsDeepLists) {
  const std::string pickle = Bytes(1'000'000, ']') + Bytes(999'999, 'a') + ".";
  PickleHost host;
  Unpickler unpickler(pickle, host);
  EXPECT_TRUE(unpickler.read());
}

// Lists within themselves cost nothing to hold.
TEST(Pickle, HoldsCycles) {
  PickleHost host;
  const std::string pickle =
      "]q\x01h\x01"
      "a.";
  Unpickler unpickler(pickle, host);
  const auto root = unpickler.read();
  ASSERT_TRUE(root);
  EXPECT_EQ(unpickler.values()[*root].items, std::vector<PickleIndex>{*root});
}

}  // namespace
}  // namespace mlxmill::formats

#include "formats/pickle_opcodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "formats/pickle.h"
#include "formats/unicode.h"

namespace mlxmill::formats {

// What each opcode does, named after it. A friend of the machine.
struct PickleOpcodes {
  static Status mark(Unpickler& p) {
    // As many as the stack may hold: a mark takes no value.
    if (p.marks_.size() >= kMaxPickleStack) {
      return p.error(fmt::format("more than {} marks on the stack", kMaxPickleStack));
    }
    p.marks_.push_back(p.stack_.size());
    return {};
  }
  static Status pop(Unpickler& p) {
    if (!p.marks_.empty() && p.stack_.size() == p.marks_.back()) {
      p.marks_.pop_back();
      return {};
    }
    MLXMILL_ASSIGN(const PickleIndex ignored, p.pop());
    static_cast<void>(ignored);
    return {};
  }
  static Status pop_mark(Unpickler& p) {
    MLXMILL_ASSIGN(const auto ignored, p.pop_to_mark());
    static_cast<void>(ignored);
    return {};
  }
  static Status dup(Unpickler& p) {
    MLXMILL_ASSIGN(const PickleIndex index, p.top());
    return p.push_index(index);
  }

  static Status none(Unpickler& p) { return p.push({.kind = PickleKind::kNone}); }
  template <bool value>
  static Status boolean(Unpickler& p) {
    return p.push({.kind = PickleKind::kBool, .integer = value});
  }

  template <std::size_t bytes>
  static Status unsigned_int(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t number, p.take_number(bytes));
    return p.push({.kind = PickleKind::kInt, .integer = static_cast<std::int64_t>(number)});
  }
  static Status binint(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view bytes, p.take(4));
    return p.push_long(bytes);
  }
  static Status int_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view line, p.take_line());
    return p.push_decimal(line, true);
  }
  static Status long_line(Unpickler& p) {
    MLXMILL_ASSIGN(std::string_view line, p.take_line());
    if (line.ends_with('L')) line.remove_suffix(1);
    return p.push_decimal(line, false);
  }
  static Status long1(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view bytes, p.take_counted(1));
    return p.push_long(bytes);
  }
  static Status long4(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view bytes, take_signed_count(p));
    return p.push_long(bytes);
  }
  static Status float_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view line, p.take_line());
    if (line.empty() || line.find_first_not_of("0123456789+-.einfa") != std::string_view::npos) {
      return p.error(fmt::format("{} is no float", quote(line)));
    }
    return p.push({.kind = PickleKind::kFloat});
  }
  static Status binfloat(Unpickler& p) {
    MLXMILL_TRY(p.take(8));
    return p.push({.kind = PickleKind::kFloat});
  }

  // A count that the format has signed; a negative one would be past any file.
  static Result<std::string_view> take_signed_count(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t count, p.take_number(4));
    if (count >> 31) return p.error("a negative length");
    return p.take(count);
  }
  template <PickleKind kind, std::size_t bytes_of_count>
  static Status counted(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view text, p.take_counted(bytes_of_count));
    return p.push({.kind = kind, .text = text});
  }
  static Status binstring(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view text, take_signed_count(p));
    return p.push({.kind = PickleKind::kString, .text = text});
  }
  // Protocol 0 cannot name a storage, so no tensor hangs on its escapes.
  static Status plain_text(Unpickler& p, std::string_view text) {
    const auto odd = [](char c) { return c == '\\' || static_cast<unsigned char>(c) >= 0x80; };
    if (std::any_of(text.begin(), text.end(), odd)) {
      return p.error(fmt::format("{} is no plain ASCII", quote(text)), Code::kUnsupported);
    }
    return p.push({.kind = PickleKind::kString, .text = text});
  }
  static Status string_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view line, p.take_line());
    const bool quoted = line.size() >= 2 && line.front() == line.back() &&
                        (line.front() == '\'' || line.front() == '"');
    if (!quoted) return p.error(fmt::format("{} is no string in quotes", quote(line)));
    return plain_text(p, line.substr(1, line.size() - 2));
  }
  static Status unicode_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view line, p.take_line());
    return plain_text(p, line);
  }

  template <PickleKind kind>
  static Status empty(Unpickler& p) {
    return p.push({.kind = kind});
  }
  template <PickleKind kind>
  static Status from_mark(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_to_mark());
    return p.push({.kind = kind, .items = std::move(items)});
  }
  template <std::size_t count>
  static Status tuple(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_items(count));
    return p.push({.kind = PickleKind::kTuple, .items = std::move(items)});
  }
  static Status dict(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_to_mark());
    MLXMILL_TRY(p.push({.kind = PickleKind::kDict}));
    return p.add_to_dict(std::move(items));
  }
  static Status append(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_items(1));
    return p.add_to_list(std::move(items));
  }
  static Status appends(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_to_mark());
    return p.add_to_list(std::move(items));
  }
  static Status setitem(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_items(2));
    return p.add_to_dict(std::move(items));
  }
  static Status setitems(Unpickler& p) {
    MLXMILL_ASSIGN(auto items, p.pop_to_mark());
    return p.add_to_dict(std::move(items));
  }

  static Result<std::uint64_t> memo_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view line, p.take_line());
    std::uint64_t number = 0;
    const char* end = line.data() + line.size();
    const auto [stopped, failure] = std::from_chars(line.data(), end, number);
    if (failure != std::errc() || stopped != end) {
      return p.error(fmt::format("memo number {}", quote(line)));
    }
    return number;
  }
  static Status put_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t number, memo_line(p));
    return p.put(number);
  }
  static Status get_line(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t number, memo_line(p));
    return p.get(number);
  }
  template <std::size_t bytes>
  static Status put(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t number, p.take_number(bytes));
    return p.put(number);
  }
  template <std::size_t bytes>
  static Status get(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t number, p.take_number(bytes));
    return p.get(number);
  }
  static Status memoize(Unpickler& p) { return p.put(p.n_memoized_); }

  static Status global(Unpickler& p) {
    MLXMILL_ASSIGN(const std::string_view module, p.take_line());
    MLXMILL_ASSIGN(const std::string_view name, p.take_line());
    return p.push_global(module, name);
  }
  static Status stack_global(Unpickler& p) {
    MLXMILL_ASSIGN(const auto items, p.pop_items(2));
    const PickleValue& module = p.values_[items[0]];
    const PickleValue& name = p.values_[items[1]];
    if (module.kind != PickleKind::kString || name.kind != PickleKind::kString) {
      return p.error("STACK_GLOBAL finds no two strings on the stack");
    }
    return p.push_global(module.text, name.text);
  }
  static Status at_opcode(Unpickler& p, Error error) {
    return std::move(error.at(fmt::format("byte {}", p.opcode_)));
  }
  static Status reduce(Unpickler& p) {
    MLXMILL_ASSIGN(const auto items, p.pop_items(2));
    const PickleKind callable = p.values_[items[0]].kind;
    const PickleKind arguments = p.values_[items[1]].kind;
    if (callable != PickleKind::kGlobal || arguments != PickleKind::kTuple) {
      return p.error(fmt::format("calls {} with {}; expected a name and a tuple",
                                 pickle_kind_name(callable), pickle_kind_name(arguments)));
    }
    auto made = p.host_.call(p.values_, items[0], items[1]);
    if (!made) return at_opcode(p, std::move(made).error());
    return p.push_index(*made);
  }
  static Status build(Unpickler& p) {
    MLXMILL_ASSIGN(const PickleIndex state, p.pop());
    MLXMILL_ASSIGN(const PickleIndex object, p.top());
    Status status = p.host_.set_state(p.values_, object, state);
    if (!status) return at_opcode(p, std::move(status).error());
    return {};
  }
  static Status binpersid(Unpickler& p) {
    MLXMILL_ASSIGN(const PickleIndex id, p.pop());
    auto made = p.host_.load_persistent(p.values_, id);
    if (!made) return at_opcode(p, std::move(made).error());
    return p.push_index(*made);
  }

  static Status proto(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t version, p.take_number(1));
    if (version <= 5) return {};
    return p.error(fmt::format("pickle protocol {}; expected at most 5", version),
                   Code::kUnsupported);
  }
  // A frame only says how many bytes to read at once.
  static Status frame(Unpickler& p) {
    MLXMILL_ASSIGN(const std::uint64_t bytes, p.take_number(8));
    const std::size_t begin = p.position_;
    MLXMILL_TRY(p.take(bytes));
    p.position_ = begin;
    return {};
  }
};

namespace {

using Do = PickleOpcodes;
using Kind = PickleKind;

constexpr std::string_view kAnyClass = "makes an object of any class";
constexpr std::string_view kRegistry = "takes a class from Python's registry";
constexpr std::string_view kSet = "makes a set";
constexpr std::string_view kBuffer = "takes a buffer from outside the file";

constexpr PickleOpcode kOpcodes[] = {
    {'(', "MARK", Do::mark},
    {'.', "STOP", nullptr, "ends the pickle"},
    {'0', "POP", Do::pop},
    {'1', "POP_MARK", Do::pop_mark},
    {'2', "DUP", Do::dup},
    {'N', "NONE", Do::none},
    {0x88, "NEWTRUE", Do::boolean<true>},
    {0x89, "NEWFALSE", Do::boolean<false>},
    {'I', "INT", Do::int_line},
    {'J', "BININT", Do::binint},
    {'K', "BININT1", Do::unsigned_int<1>},
    {'M', "BININT2", Do::unsigned_int<2>},
    {'L', "LONG", Do::long_line},
    {0x8a, "LONG1", Do::long1},
    {0x8b, "LONG4", Do::long4},
    {'F', "FLOAT", Do::float_line},
    {'G', "BINFLOAT", Do::binfloat},
    {'S', "STRING", Do::string_line},
    {'T', "BINSTRING", Do::binstring},
    {'U', "SHORT_BINSTRING", Do::counted<Kind::kString, 1>},
    {'V', "UNICODE", Do::unicode_line},
    {'X', "BINUNICODE", Do::counted<Kind::kString, 4>},
    {0x8c, "SHORT_BINUNICODE", Do::counted<Kind::kString, 1>},
    {0x8d, "BINUNICODE8", Do::counted<Kind::kString, 8>},
    {'B', "BINBYTES", Do::counted<Kind::kBytes, 4>},
    {'C', "SHORT_BINBYTES", Do::counted<Kind::kBytes, 1>},
    {0x8e, "BINBYTES8", Do::counted<Kind::kBytes, 8>},
    {0x96, "BYTEARRAY8", Do::counted<Kind::kBytes, 8>},
    {')', "EMPTY_TUPLE", Do::empty<Kind::kTuple>},
    {']', "EMPTY_LIST", Do::empty<Kind::kList>},
    {'}', "EMPTY_DICT", Do::empty<Kind::kDict>},
    {'t', "TUPLE", Do::from_mark<Kind::kTuple>},
    {'l', "LIST", Do::from_mark<Kind::kList>},
    {'d', "DICT", Do::dict},
    {0x85, "TUPLE1", Do::tuple<1>},
    {0x86, "TUPLE2", Do::tuple<2>},
    {0x87, "TUPLE3", Do::tuple<3>},
    {'a', "APPEND", Do::append},
    {'e', "APPENDS", Do::appends},
    {'s', "SETITEM", Do::setitem},
    {'u', "SETITEMS", Do::setitems},
    {'p', "PUT", Do::put_line},
    {'q', "BINPUT", Do::put<1>},
    {'r', "LONG_BINPUT", Do::put<4>},
    {0x94, "MEMOIZE", Do::memoize},
    {'g', "GET", Do::get_line},
    {'h', "BINGET", Do::get<1>},
    {'j', "LONG_BINGET", Do::get<4>},
    {'c', "GLOBAL", Do::global},
    {0x93, "STACK_GLOBAL", Do::stack_global},
    {'R', "REDUCE", Do::reduce},
    {'b', "BUILD", Do::build},
    {'Q', "BINPERSID", Do::binpersid},
    {0x80, "PROTO", Do::proto},
    {0x95, "FRAME", Do::frame},
    {'i', "INST", nullptr, kAnyClass},
    {'o', "OBJ", nullptr, kAnyClass},
    {0x81, "NEWOBJ", nullptr, kAnyClass},
    {0x92, "NEWOBJ_EX", nullptr, kAnyClass},
    {0x82, "EXT1", nullptr, kRegistry},
    {0x83, "EXT2", nullptr, kRegistry},
    {0x84, "EXT4", nullptr, kRegistry},
    {'P', "PERSID", nullptr, "names a storage by a line of text"},
    {0x8f, "EMPTY_SET", nullptr, kSet},
    {0x90, "ADDITEMS", nullptr, kSet},
    {0x91, "FROZENSET", nullptr, kSet},
    {0x97, "NEXT_BUFFER", nullptr, kBuffer},
    {0x98, "READONLY_BUFFER", nullptr, kBuffer},
};

constexpr auto kByCode = [] {
  std::array<const PickleOpcode*, 256> table{};
  for (const PickleOpcode& opcode : kOpcodes) table[opcode.code] = &opcode;
  return table;
}();

}  // namespace

const PickleOpcode* find_pickle_opcode(unsigned char code) { return kByCode[code]; }

std::string_view pickle_opcode_name(unsigned char code) {
  const PickleOpcode* opcode = find_pickle_opcode(code);
  return opcode ? opcode->name : "an opcode";
}

}  // namespace mlxmill::formats

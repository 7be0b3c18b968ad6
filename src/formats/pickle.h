// Python's pickle format, read as data: a stack machine that builds values and calls nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::formats {

/// Where a value lies in PickleValues. Containers hold these, so cycles cost nothing and own
/// nothing.
using PickleIndex = std::uint32_t;

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  ///< An integer past 64 bits: `text` has it as written, decimal or little-endian.
  kFloat,   ///< Read past; the number is not kept.
  kString,
  kBytes,
  kTuple,
  kList,
  kDict,
  kOrderedDict,
  kGlobal,  ///< A name the host knows.
  kObject,  ///< Something the host made.
};

/// One value. Texts point into the pickle.
struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  std::uint32_t tag = 0;       ///< kGlobal and kObject: which one, as the host numbers them.
  std::int64_t integer = 0;    ///< kBool, kInt; kGlobal and kObject: the host's own.
  std::string_view text = {};  ///< kString, kBytes, kBigInt.
  std::vector<PickleIndex> items = {};  ///< Elements; of the dicts, keys and values by turns.

  bool is_dict() const { return kind == PickleKind::kDict || kind == PickleKind::kOrderedDict; }
};

/// "a str", for messages.
std::string_view pickle_kind_name(PickleKind kind);

/// The most values and copied items of one pickle, and the most entries on its stack.
inline constexpr std::size_t kMaxPickleValues = 4'000'000;
inline constexpr std::size_t kMaxPickleStack = 1'000'000;

/// Every value of one pickle.
class PickleValues {
 public:
  const PickleValue& operator[](PickleIndex index) const { return values_[index]; }
  PickleValue& operator[](PickleIndex index) { return values_[index]; }
  /// Errors: kInvalidInput past kMaxPickleValues, in which the items of the value count too.
  Result<PickleIndex> add(PickleValue value);

 private:
  std::vector<PickleValue> values_;
  std::size_t n_counted_ = 0;
};

/// What a pickle may name, call and refer to. Without a host's consent a pickle is plain data.
class PickleHost {
 public:
  PickleHost() = default;
  PickleHost(const PickleHost&) = delete;
  PickleHost& operator=(const PickleHost&) = delete;
  virtual ~PickleHost() = default;

  /// A kGlobal for an allowed name; the default refuses every name, as kUnsupported.
  virtual Result<PickleValue> find_global(std::string_view module, std::string_view name);
  /// What calling a global with a tuple of arguments stands for. Never runs anything of the file's.
  virtual Result<PickleIndex> call(PickleValues& values, PickleIndex callable,
                                   PickleIndex arguments);
  /// What a persistent id stands for.
  virtual Result<PickleIndex> load_persistent(PickleValues& values, PickleIndex id);
  /// Gives an object attributes.
  virtual Status set_state(PickleValues& values, PickleIndex object, PickleIndex state);
};

/// The refusal of a global by name.
Error refused_global(std::string_view module, std::string_view name);

/// Reads one pickle of protocol 0 to 5 from the front of `text`, which may go on behind it and must
/// outlive the values. Errors: kInvalidInput for damage, with the byte; kUnsupported, by name, for
/// opcodes that make objects of any class. Cost: memory in proportion to the bytes read.
class Unpickler {
 public:
  Unpickler(std::string_view text, PickleHost& host) : text_(text), host_(host) {}

  /// The value the pickle stands for. To be called once.
  Result<PickleIndex> read();
  const PickleValues& values() const { return values_; }
  /// The first byte behind the pickle, or where the failed opcode begins.
  std::size_t position() const { return position_; }
  /// True when read() failed because `text` ends first.
  bool ran_out() const { return ran_out_; }

 private:
  friend struct PickleOpcodes;

  Error error(std::string what, Code code = Code::kInvalidInput) const;
  Result<std::string_view> take(std::uint64_t bytes);
  Result<std::string_view> take_line();
  Result<std::uint64_t> take_number(std::size_t bytes);
  Result<std::string_view> take_counted(std::size_t bytes_of_count);

  Status push(PickleValue value);
  Status push_index(PickleIndex index);
  Result<PickleIndex> pop();
  Result<PickleIndex> top() const;
  Result<std::vector<PickleIndex>> pop_to_mark();
  Result<std::vector<PickleIndex>> pop_items(std::size_t count);
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Status step();
  Status put(std::uint64_t index);
  Status get(std::uint64_t index);
  Status push_decimal(std::string_view text, bool may_be_bool);
  Status push_long(std::string_view bytes);
  Status push_global(std::string_view module, std::string_view name);
  Status add_to_list(std::vector<PickleIndex> items);
  Status add_to_dict(std::vector<PickleIndex> items);

  std::string_view text_;
  PickleHost& host_;
  PickleValues values_;
  std::vector<PickleIndex> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleIndex> memo_;
  std::size_t n_memoized_ = 0;
  std::size_t position_ = 0;
  std::size_t opcode_ = 0;
  bool ran_out_ = false;
};

}  // namespace mlxmill::formats

#include "formats/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

#include "formats/pickle_opcodes.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

constexpr PickleIndex kEmptySlot = std::numeric_limits<PickleIndex>::max();
constexpr std::string_view kNothingRan = "nothing was executed";

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string_view pickle_kind_name(PickleKind kind) {
  switch (kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return "a bool";
    case PickleKind::kInt:
      return "an int";
    case PickleKind::kBigInt:
      return "an int past 64 bits";
    case PickleKind::kFloat:
      return "a float";
    case PickleKind::kString:
      return "a str";
    case PickleKind::kBytes:
      return "bytes";
    case PickleKind::kTuple:
      return "a tuple";
    case PickleKind::kList:
      return "a list";
    case PickleKind::kDict:
      return "a dict";
    case PickleKind::kOrderedDict:
      return "an OrderedDict";
    case PickleKind::kGlobal:
      return "a name";
    case PickleKind::kObject:
      return "an object";
  }
  return "a value";
}

Error refused_global(std::string_view module, std::string_view name) {
  return Error(Code::kUnsupported,
               fmt::format("the pickle asks for {}, which is no tensor",
                           quote(std::string(module) + " " + std::string(name))))
      .hint(kNothingRan);
}

Result<PickleIndex> PickleValues::add(PickleValue value) {
  n_counted_ += 1 + value.items.size();
  if (n_counted_ > kMaxPickleValues) {
    return Error(Code::kInvalidInput,
                 fmt::format("the pickle makes more than {} values", kMaxPickleValues));
  }
  values_.push_back(std::move(value));
  return static_cast<PickleIndex>(values_.size() - 1);
}

Result<PickleValue> PickleHost::find_global(std::string_view module, std::string_view name) {
  return refused_global(module, name);
}

Result<PickleIndex> PickleHost::call(PickleValues&, PickleIndex, PickleIndex) {
  return Error(Code::kUnsupported, "the pickle calls a function").hint(kNothingRan);
}

Result<PickleIndex> PickleHost::load_persistent(PickleValues&, PickleIndex) {
  return Error(Code::kInvalidInput, "the pickle refers to a storage where none can be");
}

Status PickleHost::set_state(PickleValues&, PickleIndex, PickleIndex) {
  return Error(Code::kUnsupported, "the pickle sets an object's state").hint(kNothingRan);
}

Error Unpickler::error(std::string what, Code code) const {
  return Error(code, std::move(what)).at(fmt::format("byte {}", opcode_));
}

Result<std::string_view> Unpickler::take(std::uint64_t bytes) {
  if (bytes > text_.size() - position_) {
    ran_out_ = true;
    return error(fmt::format("the pickle ends inside {}",
                             pickle_opcode_name(static_cast<unsigned char>(text_[opcode_]))))
        .hint("incomplete download?");
  }
  const std::string_view taken = text_.substr(position_, static_cast<std::size_t>(bytes));
  position_ += static_cast<std::size_t>(bytes);
  return taken;
}

Result<std::string_view> Unpickler::take_line() {
  const std::size_t end = text_.find('\n', position_);
  if (end == std::string_view::npos) return take(text_.size() - position_ + 1);
  MLXMILL_ASSIGN(const std::string_view line, take(end - position_));
  ++position_;
  return line;
}

Result<std::uint64_t> Unpickler::take_number(std::size_t bytes) {
  MLXMILL_ASSIGN(const std::string_view taken, take(bytes));
  std::uint64_t number = 0;
  for (std::size_t i = bytes; i-- > 0;)
    number = (number << 8) | static_cast<std::uint8_t>(taken[i]);
  return number;
}

Result<std::string_view> Unpickler::take_counted(std::size_t bytes_of_count) {
  MLXMILL_ASSIGN(const std::uint64_t count, take_number(bytes_of_count));
  return take(count);
}

Status Unpickler::push(PickleValue value) {
  auto index = values_.add(std::move(value));
  if (!index) return std::move(index.error().at(fmt::format("byte {}", opcode_)));
  return push_index(*index);
}

Status Unpickler::push_index(PickleIndex index) {
  if (stack_.size() >= kMaxPickleStack) {
    return error(fmt::format("more than {} values on the stack", kMaxPickleStack));
  }
  stack_.push_back(index);
  return {};
}

Result<PickleIndex> Unpickler::top() const {
  if (stack_.size() <= floor()) {
    return error(fmt::format("{} finds no value on the stack",
                             pickle_opcode_name(static_cast<unsigned char>(text_[opcode_]))));
  }
  return stack_.back();
}

Result<PickleIndex> Unpickler::pop() {
  MLXMILL_ASSIGN(const PickleIndex index, top());
  stack_.pop_back();
  return index;
}

Result<std::vector<PickleIndex>> Unpickler::pop_items(std::size_t count) {
  if (stack_.size() - floor() < count) {
    return error(fmt::format("{} finds {} values on the stack; expected {}",
                             pickle_opcode_name(static_cast<unsigned char>(text_[opcode_])),
                             stack_.size() - floor(), count));
  }
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<PickleIndex> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  return items;
}

Result<std::vector<PickleIndex>> Unpickler::pop_to_mark() {
  if (marks_.empty()) {
    return error(fmt::format("{} finds no mark on the stack",
                             pickle_opcode_name(static_cast<unsigned char>(text_[opcode_]))));
  }
  MLXMILL_ASSIGN(auto items, pop_items(stack_.size() - marks_.back()));
  marks_.pop_back();
  return items;
}

Status Unpickler::put(std::uint64_t index) {
  // A writer counts up from 0, and takes a byte for each number at least.
  if (index >= text_.size()) {
    return error(fmt::format("memo number {} in a pickle of {} bytes", index, text_.size()));
  }
  MLXMILL_ASSIGN(const PickleIndex value, top());
  const auto slot = static_cast<std::size_t>(index);
  if (slot >= memo_.size()) memo_.resize(slot + 1, kEmptySlot);
  if (memo_[slot] == kEmptySlot) ++n_memoized_;
  memo_[slot] = value;
  return {};
}

Status Unpickler::get(std::uint64_t index) {
  if (index >= memo_.size() || memo_[static_cast<std::size_t>(index)] == kEmptySlot) {
    return error(fmt::format("memo number {} was never set", index));
  }
  return push_index(memo_[static_cast<std::size_t>(index)]);
}

Status Unpickler::push_decimal(std::string_view text, bool may_be_bool) {
  if (may_be_bool && (text == "00" || text == "01")) {
    return push({.kind = PickleKind::kBool, .integer = text == "01"});
  }
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, value);
  if (failure == std::errc() && stopped == end) {
    return push({.kind = PickleKind::kInt, .integer = value});
  }
  if (!is_digits(text.substr(text.starts_with('-')))) {
    return error(fmt::format("{} is no whole number", quote(text)));
  }
  return push({.kind = PickleKind::kBigInt, .text = text});
}

Status Unpickler::push_long(std::string_view bytes) {
  if (bytes.size() > 8) return push({.kind = PickleKind::kBigInt, .text = bytes});
  const bool negative = !bytes.empty() && (static_cast<std::uint8_t>(bytes.back()) & 0x80) != 0;
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = (value << 8) | static_cast<std::uint8_t>(bytes[i]);
  }
  return push({.kind = PickleKind::kInt, .integer = static_cast<std::int64_t>(value)});
}

Status Unpickler::push_global(std::string_view module, std::string_view name) {
  auto global = host_.find_global(module, name);
  if (!global) return std::move(global.error().at(fmt::format("byte {}", opcode_)));
  return push(*std::move(global));
}

Status Unpickler::add_to_list(std::vector<PickleIndex> items) {
  MLXMILL_ASSIGN(const PickleIndex list, top());
  PickleValue& value = values_[list];
  if (value.kind != PickleKind::kList) {
    return error(fmt::format("appends to {}; expected a list", pickle_kind_name(value.kind)));
  }
  value.items.insert(value.items.end(), items.begin(), items.end());
  return {};
}

Status Unpickler::add_to_dict(std::vector<PickleIndex> items) {
  MLXMILL_ASSIGN(const PickleIndex dict, top());
  PickleValue& value = values_[dict];
  if (!value.is_dict()) {
    return error(fmt::format("sets an item of {}; expected a dict", pickle_kind_name(value.kind)));
  }
  if (items.size() % 2 != 0) return error("a key without a value");
  value.items.insert(value.items.end(), items.begin(), items.end());
  return {};
}

Status Unpickler::step() {
  const auto code = static_cast<unsigned char>(text_[opcode_]);
  const PickleOpcode* opcode = find_pickle_opcode(code);
  if (!opcode) return error(fmt::format("byte 0x{:02x} is no opcode", code));
  if (!opcode->run) {
    return error(fmt::format("the pickle uses {}, which {}", opcode->name, opcode->refusal),
                 Code::kUnsupported)
        .hint(kNothingRan);
  }
  return opcode->run(*this);
}

Result<PickleIndex> Unpickler::read() {
  constexpr char kStop = '.';
  while (true) {
    opcode_ = position_;
    if (position_ == text_.size()) {
      ran_out_ = true;
      return error("the pickle has no end").hint("incomplete download?");
    }
    ++position_;
    if (text_[opcode_] == kStop) break;
    MLXMILL_TRY(step());
  }
  if (stack_.size() != 1 || !marks_.empty()) {
    return error(
        fmt::format("the pickle leaves {} values and {} marks on the stack; expected one value",
                    stack_.size(), marks_.size()));
  }
  return stack_.front();
}

}  // namespace mlxmill::formats

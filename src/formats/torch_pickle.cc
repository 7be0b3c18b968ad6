#include "formats/torch_pickle.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/checked_math.h"
#include "formats/errors.h"
#include "formats/torch_globals.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// PickleValue::tag of a kObject.
enum ObjectKind : std::uint32_t { kStorage, kTensor, kDevice };

// numpy and PyTorch stop at this rank.
constexpr std::size_t kMaxTorchRank = 64;

// Two flags are known; the bound is for a dict that many tensors share.
constexpr std::size_t kMaxTensorMetadata = 16;

constexpr std::string_view kFunctionNames[] = {"_rebuild_tensor", "_rebuild_tensor_v2",
                                               "_rebuild_tensor_v3"};

// Reads the arguments of one call; messages say which of them is wrong.
class Arguments {
 public:
  Arguments(const PickleValues& values, std::string_view function,
            const std::vector<PickleIndex>& items)
      : values_(values), function_(function), items_(items) {}

  Status count(std::size_t least, std::size_t most) const {
    if (items_.size() >= least && items_.size() <= most) return {};
    const std::string expected =
        least == most ? std::to_string(least) : fmt::format("{} to {}", least, most);
    return invalid(
        fmt::format("{} has {} arguments; expected {}", function_, items_.size(), expected));
  }

  const PickleValue& operator[](std::size_t i) const { return values_[items_[i]]; }

  Error wrong(std::size_t i, std::string_view expected) const {
    return invalid(fmt::format("argument {} of {} is {}; expected {}", i + 1, function_,
                               pickle_kind_name((*this)[i].kind), expected));
  }

  Status kind(std::size_t i, PickleKind kind, std::string_view expected) const {
    return (*this)[i].kind == kind ? Status() : Status(wrong(i, expected));
  }

  Status object(std::size_t i, ObjectKind tag, std::string_view expected) const {
    MLXMILL_TRY(kind(i, PickleKind::kObject, expected));
    return (*this)[i].tag == tag ? Status() : Status(wrong(i, expected));
  }

  Result<std::uint64_t> size(std::size_t i) const {
    MLXMILL_TRY(kind(i, PickleKind::kInt, "an int"));
    const std::int64_t value = (*this)[i].integer;
    if (value >= 0) return static_cast<std::uint64_t>(value);
    return invalid(fmt::format("argument {} of {} is {}; expected no negative number", i + 1,
                               function_, value));
  }

  // A tuple of sizes or strides.
  Status extents(std::size_t i) const {
    MLXMILL_TRY(kind(i, PickleKind::kTuple, "a tuple of ints"));
    const std::vector<PickleIndex>& items = (*this)[i].items;
    if (items.size() > kMaxTorchRank) {
      return invalid(fmt::format("argument {} of {} has {} entries; at most {} are read", i + 1,
                                 function_, items.size(), kMaxTorchRank));
    }
    for (const PickleIndex item : items) {
      const PickleValue& extent = values_[item];
      if (extent.kind != PickleKind::kInt) {
        return invalid(fmt::format("argument {} of {} holds {}; expected ints", i + 1, function_,
                                   pickle_kind_name(extent.kind)));
      }
      if (extent.integer < 0) {
        return invalid(fmt::format("argument {} of {} holds {}; expected no negative number", i + 1,
                                   function_, extent.integer));
      }
    }
    return {};
  }

 private:
  const PickleValues& values_;
  std::string_view function_;
  const std::vector<PickleIndex>& items_;
};

// Flags under which the stored numbers are not the tensor's.
Status check_metadata(const PickleValues& values, const PickleValue& metadata) {
  if (metadata.kind == PickleKind::kNone) return {};
  if (!metadata.is_dict()) {
    return invalid(fmt::format("a tensor's metadata is {}; expected a dict or None",
                               pickle_kind_name(metadata.kind)));
  }
  if (metadata.items.size() > 2 * kMaxTensorMetadata) {
    return invalid(fmt::format("a tensor's metadata has {} keys", metadata.items.size() / 2));
  }
  for (std::size_t i = 0; i < metadata.items.size(); i += 2) {
    const PickleValue& key = values[metadata.items[i]];
    const PickleValue& value = values[metadata.items[i + 1]];
    const bool known = key.kind == PickleKind::kString && (key.text == "conj" || key.text == "neg");
    if (known && value.kind == PickleKind::kBool && value.integer == 0) continue;
    return unsupported(fmt::format("a tensor with the metadata {} is not read",
                                   key.kind == PickleKind::kString
                                       ? quote(key.text)
                                       : std::string(pickle_kind_name(key.kind))))
        .hint("save tensor.clone() instead");
  }
  return {};
}

Result<PickleIndex> ordered_dict(PickleValues& values, const Arguments& arguments) {
  MLXMILL_TRY(arguments.count(0, 1));
  PickleValue dict{.kind = PickleKind::kOrderedDict};
  if (arguments.count(0, 0).ok()) return values.add(std::move(dict));
  // As Python 2 wrote it: a list of pairs.
  constexpr std::string_view kPairs = "a list of pairs";
  MLXMILL_TRY(arguments.kind(0, PickleKind::kList, kPairs));
  for (const PickleIndex item : arguments[0].items) {
    const PickleValue& pair = values[item];
    const bool sequence = pair.kind == PickleKind::kList || pair.kind == PickleKind::kTuple;
    if (!sequence || pair.items.size() != 2) return arguments.wrong(0, kPairs);
    dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
  }
  return values.add(std::move(dict));
}

Result<PickleIndex> device(PickleValues& values, const Arguments& arguments) {
  MLXMILL_TRY(arguments.count(1, 2));
  MLXMILL_TRY(arguments.kind(0, PickleKind::kString, "a str"));
  if (!arguments.count(2, 2).ok()) return values.add({.kind = PickleKind::kObject, .tag = kDevice});
  MLXMILL_TRY(arguments.kind(1, PickleKind::kInt, "an int"));
  return values.add({.kind = PickleKind::kObject, .tag = kDevice});
}

// (the window's key, begin, size), as old torch wrote a storage inside another.
Status set_window(PickledStorage& storage, const Arguments& window) {
  MLXMILL_TRY(window.count(3, 3));
  MLXMILL_ASSIGN(storage.window_begin, window.size(1));
  MLXMILL_ASSIGN(storage.window_size, window.size(2));
  const auto end = base::checked_add(storage.window_begin, storage.window_size);
  if (end && *end <= storage.n_elements) return {};
  return invalid(fmt::format("a window of {} elements at {} leaves storage {}, which has {}",
                             storage.window_size, storage.window_begin, quote(storage.key),
                             storage.n_elements));
}

}  // namespace

base::Shape pickled_extents(const PickleValues& values, PickleIndex tuple) {
  base::Shape shape;
  shape.reserve(values[tuple].items.size());
  for (const PickleIndex item : values[tuple].items) shape.push_back(values[item].integer);
  return shape;
}

const PickledTensor* TorchPickle::as_tensor(const PickleValue& value) const {
  const bool is_tensor = value.kind == PickleKind::kObject && value.tag == kTensor;
  return is_tensor ? &tensors_[static_cast<std::size_t>(value.integer)] : nullptr;
}

Result<PickleValue> TorchPickle::find_global(std::string_view module, std::string_view name) {
  return find_torch_global(module, name);
}

Result<PickleIndex> TorchPickle::call(PickleValues& values, PickleIndex callable,
                                      PickleIndex arguments) {
  // A copy: adding a value may move the others.
  const std::vector<PickleIndex> items = values[arguments].items;
  const std::uint32_t tag = values[callable].tag;
  switch (tag) {
    case kTorchOrderedDict:
      return ordered_dict(values, Arguments(values, "OrderedDict", items));
    case kTorchEncode: {
      const Arguments checked(values, "encode", items);
      MLXMILL_TRY(checked.count(2, 2));
      MLXMILL_TRY(checked.kind(0, PickleKind::kString, "a str"));
      MLXMILL_TRY(checked.kind(1, PickleKind::kString, "a str"));
      return values.add({.kind = PickleKind::kBytes, .text = checked[0].text});
    }
    case kTorchBytes:
      MLXMILL_TRY(Arguments(values, "bytes", items).count(0, 0));
      return values.add({.kind = PickleKind::kBytes});
    case kTorchSize: {
      const Arguments checked(values, "Size", items);
      MLXMILL_TRY(checked.count(1, 1));
      MLXMILL_TRY(checked.extents(0));
      return items[0];
    }
    case kTorchDevice:
      return device(values, Arguments(values, "device", items));
    case kTorchRebuildTensor:
    case kTorchRebuildTensorV2:
    case kTorchRebuildTensorV3:
      return rebuild_tensor(values, tag, items);
    case kTorchRebuildParameter:
      return rebuild_parameter(values, 3, items);
    case kTorchRebuildParameterWithState:
      return rebuild_parameter(values, 4, items);
    case kTorchRebuildFromType:
      return rebuild_from_type(values, items);
    default:
      return unsupported("the pickle calls a class or dtype").hint("nothing was executed");
  }
}

// (storage, offset, size, stride), behind which v2 has (requires_grad, hooks[, metadata]) and v3
// (requires_grad, hooks, dtype[, metadata]).
Result<PickleIndex> TorchPickle::rebuild_tensor(PickleValues& values, std::uint32_t function,
                                                const std::vector<PickleIndex>& items) {
  const bool first = function == kTorchRebuildTensor;
  const bool typed = function == kTorchRebuildTensorV3;
  const Arguments arguments(values, kFunctionNames[function - kTorchRebuildTensor], items);
  const std::size_t n_least = first ? 4 : typed ? 7 : 6;
  MLXMILL_TRY(arguments.count(n_least, first ? n_least : n_least + 1));
  MLXMILL_TRY(arguments.object(0, kStorage, "a storage"));
  MLXMILL_ASSIGN(const std::uint64_t offset, arguments.size(1));
  MLXMILL_TRY(arguments.extents(2));
  MLXMILL_TRY(arguments.extents(3));
  const std::size_t rank = arguments[2].items.size();
  if (arguments[3].items.size() != rank) {
    return invalid(
        fmt::format("a tensor of rank {} with {} strides", rank, arguments[3].items.size()));
  }
  PickledTensor tensor{.storage = static_cast<std::size_t>(arguments[0].integer),
                       .offset = static_cast<std::int64_t>(offset),
                       .shape = items[2],
                       .strides = items[3]};
  const std::optional<DType> stored = storages_[tensor.storage].dtype;
  // A storage of bytes alone holds a tensor of bytes, unless the call says otherwise.
  tensor.dtype = stored.value_or(DType::kU8);
  if (typed) {
    MLXMILL_TRY(arguments.kind(6, PickleKind::kGlobal, "a dtype"));
    if (arguments[6].tag != kTorchDType) return arguments.wrong(6, "a dtype");
    tensor.dtype = static_cast<DType>(arguments[6].integer);
    if (stored && *stored != tensor.dtype) {
      return invalid(fmt::format("a tensor of {} in a storage of {}", dtype_name(tensor.dtype),
                                 dtype_name(*stored)));
    }
  }
  if (items.size() > n_least) MLXMILL_TRY(check_metadata(values, arguments[n_least]));
  tensors_.push_back(tensor);
  return values.add({.kind = PickleKind::kObject,
                     .tag = kTensor,
                     .integer = static_cast<std::int64_t>(tensors_.size() - 1)});
}

// A parameter is its tensor: (tensor, requires_grad, hooks[, state]).
Result<PickleIndex> TorchPickle::rebuild_parameter(const PickleValues& values,
                                                   std::size_t n_expected,
                                                   const std::vector<PickleIndex>& items) const {
  const Arguments arguments(values, "_rebuild_parameter", items);
  MLXMILL_TRY(arguments.count(n_expected, n_expected));
  MLXMILL_TRY(arguments.object(0, kTensor, "a tensor"));
  return items[0];
}

// A tensor with Python attributes: (function, class, arguments, state).
Result<PickleIndex> TorchPickle::rebuild_from_type(PickleValues& values,
                                                   const std::vector<PickleIndex>& items) {
  const Arguments arguments(values, "_rebuild_from_type_v2", items);
  MLXMILL_TRY(arguments.count(4, 4));
  MLXMILL_TRY(arguments.kind(0, PickleKind::kGlobal, "a function"));
  MLXMILL_TRY(arguments.kind(1, PickleKind::kGlobal, "a class"));
  MLXMILL_TRY(arguments.kind(2, PickleKind::kTuple, "a tuple"));
  if (arguments[1].tag != kTorchTensorClass) return arguments.wrong(1, "a tensor class");
  // Not itself, so this goes one level deep.
  const std::uint32_t function = arguments[0].tag;
  if (function < kTorchRebuildTensor || function > kTorchRebuildParameterWithState) {
    return arguments.wrong(0, "a function that makes a tensor");
  }
  return call(values, items[0], items[2]);
}

// ('storage', class, key, location, number of elements[, window or None])
Result<PickleIndex> TorchPickle::load_persistent(PickleValues& values, PickleIndex id) {
  if (values[id].kind != PickleKind::kTuple) {
    return invalid(
        fmt::format("a persistent id is {}; expected a tuple", pickle_kind_name(values[id].kind)));
  }
  const std::vector<PickleIndex> items = values[id].items;
  const Arguments arguments(values, "a persistent id", items);
  MLXMILL_TRY(arguments.count(5, views_ ? 6 : 5));
  MLXMILL_TRY(arguments.kind(0, PickleKind::kString, "'storage'"));
  if (arguments[0].text != "storage") {
    return invalid(
        fmt::format("a persistent id of {}; expected 'storage'", quote(arguments[0].text)));
  }
  MLXMILL_TRY(arguments.kind(1, PickleKind::kGlobal, "a storage class"));
  if (arguments[1].tag != kTorchStorageClass) return arguments.wrong(1, "a storage class");
  MLXMILL_TRY(arguments.kind(2, PickleKind::kString, "a str"));
  MLXMILL_TRY(arguments.kind(3, PickleKind::kString, "a str"));
  PickledStorage storage;
  storage.key = arguments[2].text;
  if (arguments[1].integer != kTorchNoDType) {
    storage.dtype = static_cast<DType>(arguments[1].integer);
  }
  MLXMILL_ASSIGN(storage.n_elements, arguments.size(4));
  storage.window_size = storage.n_elements;
  MLXMILL_ASSIGN(std::size_t index, add_storage(storage));
  if (items.size() == 6 && arguments[5].kind != PickleKind::kNone) {
    MLXMILL_TRY(arguments.kind(5, PickleKind::kTuple, "a tuple or None"));
    MLXMILL_TRY(set_window(storage, Arguments(values, "a storage's window", arguments[5].items)));
    index = storages_.size();
    storages_.push_back(storage);
  }
  return values.add(
      {.kind = PickleKind::kObject, .tag = kStorage, .integer = static_cast<std::int64_t>(index)});
}

// The place of a storage in the table, which it enters once.
Result<std::size_t> TorchPickle::add_storage(const PickledStorage& storage) {
  const auto [known, is_new] = by_key_.emplace(storage.key, storages_.size());
  if (is_new) {
    storages_.push_back(storage);
    return known->second;
  }
  const PickledStorage& before = storages_[known->second];
  if (before.dtype == storage.dtype && before.n_elements == storage.n_elements) {
    return known->second;
  }
  return invalid(fmt::format("storage {} has two types or sizes", quote(storage.key)));
}

// nn.Module.state_dict() hangs the version numbers of its modules on the dict.
Status TorchPickle::set_state(PickleValues& values, PickleIndex object, PickleIndex state) {
  const PickleValue& target = values[object];
  const PickleValue& attributes = values[state];
  if (target.kind != PickleKind::kOrderedDict || !attributes.is_dict()) {
    return unsupported(fmt::format("BUILD sets the state of {} to {}",
                                   pickle_kind_name(target.kind),
                                   pickle_kind_name(attributes.kind)))
        .hint("nothing was executed");
  }
  if (attributes.items.size() == 2) {
    const PickleValue& key = values[attributes.items[0]];
    if (key.kind == PickleKind::kString && key.text == "_metadata") return {};
  }
  return unsupported("BUILD sets attributes of an OrderedDict; expected '_metadata' alone")
      .hint("nothing was executed");
}

}  // namespace mlxmill::formats

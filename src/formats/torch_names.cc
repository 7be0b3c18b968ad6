#include "formats/torch_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "formats/errors.h"
#include "formats/safetensors.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

constexpr std::size_t kMaxDepth = 64;
// A tensor that torch wrote takes more of the pickle than its name and shape take here; a memoized
// one, shared by many names, takes five bytes.
constexpr std::uint64_t kMaxExpansion = 16;
constexpr std::uint64_t kFreeBytes = 1 << 16;

// Comparing and joining keys stays cheap, though a pickle can repeat a long one in two bytes.
constexpr std::size_t kMaxKeyBytes = 4096;

constexpr std::string_view kWrappers[] = {"model", "state_dict", "module"};

class Walk {
 public:
  Walk(const PickleValues& values, const TorchPickle& pickle, std::uint64_t pickle_bytes)
      : values_(values), pickle_(pickle), budget_(kFreeBytes + kMaxExpansion * pickle_bytes) {}

  Result<std::vector<NamedPickledTensor>> run(PickleIndex root) {
    const PickleValue& top = values_[root];
    if (!top.is_dict()) {
      return Error(Code::kUnsupported,
                   fmt::format("holds {}; expected a dict of tensors",
                               pickle_.as_tensor(top) ? "a tensor without a name"
                                                      : pickle_kind_name(top.kind)));
    }
    MLXMILL_TRY(walk(root, 0));
    unwrap(top);
    MLXMILL_TRY(check_names());
    return std::move(found_);
  }

 private:
  // Of a container; while it is walked through, it counts as one with tensors.
  enum class Seen : std::uint8_t { kNever, kWithTensors, kWithoutTensors };

  Status visit(PickleIndex index, std::string key, std::size_t depth) {
    const PickleValue& value = values_[index];
    const PickledTensor* tensor = pickle_.as_tensor(value);
    const bool container =
        value.is_dict() || value.kind == PickleKind::kList || value.kind == PickleKind::kTuple;
    if (!tensor && (!container || value.items.empty())) return {};
    const std::size_t before = path_.size();
    if (depth > 0) path_ += '.';
    path_ += key;
    if (depth == 0) top_key_bytes_ = path_.size();
    MLXMILL_TRY(tensor ? add(*tensor) : walk(index, depth + 1));
    path_.resize(before);
    return {};
  }

  Status walk(PickleIndex index, std::size_t depth) {
    const auto in_path = [this](Error error) {
      return path_.empty() ? std::move(error) : std::move(error.at(quote(path_)));
    };
    if (depth > kMaxDepth)
      return in_path(invalid(fmt::format("nested deeper than {} levels", kMaxDepth)));
    if (index >= seen_.size()) seen_.resize(index + 1);
    // Constants of a Python program are shared: pairs of optimizer settings, say.
    if (seen_[index] == Seen::kWithoutTensors) return {};
    if (seen_[index] != Seen::kNever) {
      return in_path(invalid(fmt::format("{} of tensors that appears twice, or within itself",
                                         pickle_kind_name(values_[index].kind))));
    }
    seen_[index] = Seen::kWithTensors;
    const std::size_t n_before = found_.size();
    const PickleValue& value = values_[index];
    if (value.is_dict()) {
      Status status = check_keys(value);
      if (!status) return in_path(std::move(status).error());
      for (std::size_t i = 0; i < value.items.size(); i += 2) {
        MLXMILL_TRY(visit_member(value.items[i], value.items[i + 1], depth));
      }
    } else {
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        MLXMILL_TRY(visit(value.items[i], std::to_string(i), depth));
      }
    }
    if (found_.size() == n_before) seen_[index] = Seen::kWithoutTensors;
    return {};
  }

  Status visit_member(PickleIndex key_index, PickleIndex value, std::size_t depth) {
    const PickleValue& key = values_[key_index];
    const std::size_t n_before = found_.size();
    const bool has_name = key.kind == PickleKind::kString || key.kind == PickleKind::kInt;
    std::string name = key.kind == PickleKind::kInt ? std::to_string(key.integer)
                       : has_name                   ? std::string(key.text)
                                  : "(" + std::string(pickle_kind_name(key.kind)) + ")";
    MLXMILL_TRY(visit(value, std::move(name), depth));
    if (has_name || found_.size() == n_before) return {};
    return invalid(fmt::format("a tensor below a key that is {}; expected a str or int",
                               pickle_kind_name(key.kind)))
        .at(path_.empty() ? "the top level" : quote(path_));
  }

  // The later of two equal keys would win in Python: which one was meant, nobody knows.
  Status check_keys(const PickleValue& dict) const {
    std::vector<std::pair<std::string_view, std::int64_t>> keys;
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      const PickleValue& key = values_[dict.items[i]];
      if (key.text.size() > kMaxKeyBytes) {
        return invalid(
            fmt::format("a key of {} bytes; at most {} are read", key.text.size(), kMaxKeyBytes));
      }
      if (key.kind == PickleKind::kString) keys.emplace_back(key.text, -1);
      if (key.kind == PickleKind::kInt) keys.emplace_back(kIntKey, key.integer);
    }
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return {};
    return invalid(fmt::format("the key {} appears twice", twice->first == kIntKey
                                                               ? std::to_string(twice->second)
                                                               : quote(twice->first)));
  }

  Status add(const PickledTensor& tensor) {
    const auto in_tensor = [this](Error error) {
      return std::move(error.at(fmt::format("tensor {}", quote(path_))));
    };
    const std::uint64_t cost = path_.size() + 16 * values_[tensor.shape].items.size();
    if (cost > budget_) {
      return in_tensor(invalid("names and shapes take many times the bytes of the pickle"));
    }
    budget_ -= cost;
    if (const auto bad = bad_tensor_name(path_); !bad.empty()) {
      return invalid(fmt::format("the tensor name {} {}", quote(path_), bad));
    }
    for (std::size_t at = 0; at < path_.size();) {
      if (!next_code_point(path_, at, false)) return in_tensor(invalid("the name is no UTF-8"));
    }
    if (found_.empty()) first_top_key_ = path_.substr(0, top_key_bytes_);
    one_top_key_ = one_top_key_ && path_.compare(0, top_key_bytes_, first_top_key_) == 0 &&
                   top_key_bytes_ < path_.size();
    found_.push_back({path_, tensor});
    return {};
  }

  // Takes "model." off every name.
  void unwrap(const PickleValue& top) {
    if (found_.empty() || !one_top_key_) return;
    if (std::find(std::begin(kWrappers), std::end(kWrappers), first_top_key_) ==
        std::end(kWrappers)) {
      return;
    }
    for (std::size_t i = 0; i < top.items.size(); i += 2) {
      const PickleValue& key = values_[top.items[i]];
      const bool here = key.kind == PickleKind::kString && key.text == first_top_key_;
      if (here && !values_[top.items[i + 1]].is_dict()) return;
    }
    for (NamedPickledTensor& tensor : found_) tensor.name.erase(0, first_top_key_.size() + 1);
  }

  Status check_names() const {
    std::vector<std::string_view> names;
    names.reserve(found_.size());
    for (const NamedPickledTensor& tensor : found_) {
      if (tensor.name.empty()) return invalid("a tensor name is empty");
      names.push_back(tensor.name);
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice == names.end()) return {};
    return invalid(fmt::format("tensor {} appears twice", quote(*twice)));
  }

  // Stands for an int among keys; NUL is in no tensor's name.
  static constexpr std::string_view kIntKey = std::string_view("\0int", 4);

  const PickleValues& values_;
  const TorchPickle& pickle_;
  std::uint64_t budget_;
  std::vector<Seen> seen_;
  std::string path_;
  std::vector<NamedPickledTensor> found_;
  std::size_t top_key_bytes_ = 0;
  std::string first_top_key_;
  bool one_top_key_ = true;
};

}  // namespace

Result<std::vector<NamedPickledTensor>> name_torch_tensors(const PickleValues& values,
                                                           PickleIndex root,
                                                           const TorchPickle& pickle,
                                                           std::uint64_t pickle_bytes) {
  return Walk(values, pickle, pickle_bytes).run(root);
}

}  // namespace mlxmill::formats

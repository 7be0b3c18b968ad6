#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>

#include "base/checked_math.h"
#include "formats/errors.h"
#include "formats/torch_storages.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

// torch/serialization.py, MAGIC_NUMBER: as LONG1 and as LONG have it.
constexpr std::string_view kMagicBytes("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::string_view kMagicDecimal = "119547037146038801333356";
constexpr std::int64_t kFormatVersion = 1001;
// What is read first; pickles do not say how long they are.
constexpr std::uint64_t kFirstBytes = 1 << 16;

// The five pickles at the front of a file, parsed from its first bytes.
class Pickles {
 public:
  explicit Pickles(std::string_view text) : text_(text), objects_(/*views=*/true) {}

  Status read() {
    MLXMILL_TRY(read_magic());
    MLXMILL_TRY(read_version());
    MLXMILL_TRY(read_system());
    MLXMILL_TRY(read_object());
    return read_keys();
  }

  /// True when read() failed because the text ends first.
  bool ran_out() const { return ran_out_; }
  /// Where the storages begin.
  std::size_t end() const { return position_; }
  const PickleValues& values() const { return object_->values(); }
  const TorchPickle& objects() const { return objects_; }
  const std::vector<NamedPickledTensor>& tensors() const { return tensors_; }
  const std::vector<std::string_view>& keys() const { return keys_; }

 private:
  // One pickle from where the last one ended.
  Result<PickleIndex> unpickle(std::optional<Unpickler>& unpickler, PickleHost& host,
                               std::string_view what) {
    unpickler.emplace(text_.substr(position_), host);
    auto root = unpickler->read();
    ran_out_ = unpickler->ran_out();
    if (!root) return std::move(root.error().at(fmt::format("the {} at {}", what, position_)));
    position_ += unpickler->position();
    return root;
  }

  Status read_magic() {
    std::optional<Unpickler> unpickler;
    MLXMILL_ASSIGN(const PickleIndex root, unpickle(unpickler, plain_, "first pickle"));
    const PickleValue& value = unpickler->values()[root];
    if (value.kind == PickleKind::kBigInt &&
        (value.text == kMagicBytes || value.text == kMagicDecimal)) {
      return {};
    }
    return Error(Code::kUnsupported, "is a pickle, but none that torch.save wrote");
  }

  Status read_version() {
    std::optional<Unpickler> unpickler;
    MLXMILL_ASSIGN(const PickleIndex root, unpickle(unpickler, plain_, "version"));
    const PickleValue& value = unpickler->values()[root];
    if (value.kind == PickleKind::kInt && value.integer == kFormatVersion) return {};
    return Error(Code::kUnsupported,
                 fmt::format("has another format version than {}", kFormatVersion));
  }

  Status read_system() {
    std::optional<Unpickler> unpickler;
    MLXMILL_ASSIGN(const PickleIndex root, unpickle(unpickler, plain_, "system's description"));
    const PickleValue& value = unpickler->values()[root];
    if (!value.is_dict()) {
      return invalid(fmt::format("the system's description is {}; expected a dict",
                                 pickle_kind_name(value.kind)));
    }
    for (std::size_t i = 0; i < value.items.size(); i += 2) {
      const PickleValue& key = unpickler->values()[value.items[i]];
      const PickleValue& order = unpickler->values()[value.items[i + 1]];
      if (key.kind != PickleKind::kString || key.text != "little_endian") continue;
      if (order.kind == PickleKind::kBool && order.integer == 1) return {};
      return Error(Code::kUnsupported, "holds big-endian numbers");
    }
    return invalid("the system's description has no little_endian");
  }

  Status read_object() {
    const std::size_t begin = position_;
    MLXMILL_ASSIGN(const PickleIndex root, unpickle(object_, objects_, "pickle"));
    auto named = name_torch_tensors(object_->values(), root, objects_, position_ - begin);
    if (!named) return std::move(named.error().at(fmt::format("the pickle at {}", begin)));
    tensors_ = *std::move(named);
    return {};
  }

  Status read_keys() {
    std::optional<Unpickler> unpickler;
    MLXMILL_ASSIGN(const PickleIndex root, unpickle(unpickler, plain_, "list of storages"));
    const PickleValue& list = unpickler->values()[root];
    if (list.kind != PickleKind::kList) {
      return invalid(
          fmt::format("the list of storages is {}; expected a list", pickle_kind_name(list.kind)));
    }
    for (const PickleIndex item : list.items) {
      const PickleValue& key = unpickler->values()[item];
      if (key.kind != PickleKind::kString) {
        return invalid(fmt::format("the list of storages holds {}; expected strings",
                                   pickle_kind_name(key.kind)));
      }
      keys_.push_back(key.text);
    }
    return {};
  }

  std::string_view text_;
  PickleHost plain_;
  TorchPickle objects_;
  std::optional<Unpickler> object_;
  std::vector<NamedPickledTensor> tensors_;
  std::vector<std::string_view> keys_;
  std::size_t position_ = 0;
  bool ran_out_ = false;
};

using Ranges = std::map<std::string_view, FileRange>;

Result<std::uint64_t> read_count(const io::File& file, std::uint64_t at) {
  std::array<unsigned char, 8> bytes{};
  MLXMILL_TRY(file.read_at(at, std::as_writable_bytes(std::span(bytes))));
  std::uint64_t count = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) count = (count << 8) | bytes[i];
  return count;
}

// Walks over the storages, which lie one behind the other to the end of the file.
Result<Ranges> find_storages(const io::File& file, std::uint64_t file_bytes,
                             const Pickles& pickles) {
  std::map<std::string_view, const PickledStorage*> known;
  for (const PickledStorage& storage : pickles.objects().storages()) {
    known.emplace(storage.key, &storage);
  }
  Ranges ranges;
  std::uint64_t at = pickles.end();
  for (const std::string_view key : pickles.keys()) {
    const auto in_storage = [&](Error error) {
      return std::move(error.at(fmt::format("storage {}", quote(key))));
    };
    const auto storage = known.find(key);
    if (storage == known.end()) return in_storage(invalid("is in the list, but no tensor's"));
    if (file_bytes - at < 8) {
      return in_storage(invalid(fmt::format("begins at {}, past the end of the file", at)))
          .hint("incomplete download?");
    }
    MLXMILL_ASSIGN(const std::uint64_t count, read_count(file, at));
    at += 8;
    if (count != storage->second->n_elements) {
      return in_storage(invalid(
          fmt::format("has {} elements; the pickle says {}", count, storage->second->n_elements)));
    }
    const auto bytes = base::checked_mul(count, storage->second->element_bytes());
    if (!bytes || *bytes > file_bytes - at) {
      return in_storage(invalid(fmt::format("{} elements at {} go past the file's {} bytes", count,
                                            at, file_bytes)))
          .hint("incomplete download?");
    }
    if (!ranges.emplace(key, FileRange{.begin = at, .bytes = *bytes}).second) {
      return in_storage(invalid("is in the list twice"));
    }
    at += *bytes;
  }
  if (at != file_bytes) {
    return invalid(fmt::format("bytes {} to {} belong to no storage", at, file_bytes));
  }
  return ranges;
}

Result<std::vector<TorchTensor>> place_tensors(const Pickles& pickles, const Ranges& ranges) {
  std::vector<TorchTensor> tensors;
  tensors.reserve(pickles.tensors().size());
  for (const NamedPickledTensor& tensor : pickles.tensors()) {
    const PickledStorage& storage = pickles.objects().storages()[tensor.tensor.storage];
    const auto range = ranges.find(storage.key);
    if (range == ranges.end()) {
      return invalid(fmt::format("storage {} is not in the list", quote(storage.key)))
          .at(fmt::format("tensor {}", quote(tensor.name)));
    }
    MLXMILL_ASSIGN(TorchTensor placed,
                   place_tensor(pickles.values(), tensor, storage, range->second));
    tensors.push_back(std::move(placed));
  }
  return tensors;
}

}  // namespace

Result<std::vector<TorchTensor>> read_torch_legacy(const io::File& file) {
  MLXMILL_ASSIGN(const std::uint64_t file_bytes, file.size());
  const std::uint64_t most = std::min(file_bytes, kMaxTorchPickle);
  for (std::uint64_t bytes = std::min(most, kFirstBytes);; bytes = std::min(most, 4 * bytes)) {
    std::string text(static_cast<std::size_t>(bytes), '\0');
    MLXMILL_TRY(file.read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
    Pickles pickles(text);
    const Status status = pickles.read();
    if (!status && pickles.ran_out() && bytes < most) continue;
    if (!status && pickles.ran_out() && most < file_bytes) {
      return Error(Code::kUnsupported,
                   fmt::format("has more than {} bytes of pickles", kMaxTorchPickle));
    }
    if (!status) return status.error();
    MLXMILL_ASSIGN(const Ranges ranges, find_storages(file, file_bytes, pickles));
    return place_tensors(pickles, ranges);
  }
}

}  // namespace mlxmill::formats

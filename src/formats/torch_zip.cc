#include <fmt/format.h>

#include <optional>
#include <span>

#include "base/checked_math.h"
#include "formats/errors.h"
#include "formats/torch_storages.h"
#include "formats/unicode.h"
#include "formats/zip_directory.h"

namespace mlxmill::formats {
namespace {

// An archive has one folder, which torch names after the file.
Result<std::string> folder_of(const ZipDirectory& directory) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::string folder;
  for (const ZipEntry& entry : directory.entries()) {
    if (!entry.name.ends_with(kPickle)) continue;
    const std::string_view before =
        std::string_view(entry.name).substr(0, entry.name.size() - kPickle.size());
    if (before.find('/') != std::string_view::npos) continue;
    if (!folder.empty()) {
      return invalid(fmt::format("holds two models, {} and {}", quote(folder), quote(before)));
    }
    folder = before;
  }
  if (folder.empty()) {
    return Error(Code::kUnsupported,
                 "is a zip archive without a data.pkl: torch.save did not write it");
  }
  if (directory.find(folder + "/constants.pkl")) {
    return Error(Code::kUnsupported, "is a TorchScript program")
        .hint("save the module's state_dict() instead");
  }
  return folder;
}

// A compressed entry has no bytes that could be read by position.
Status check_stored(const ZipEntry& entry) {
  if (entry.method == 0) return {};
  return Error(Code::kUnsupported, fmt::format("is compressed (zip method {})", entry.method))
      .at(fmt::format("entry {}", quote(entry.name)))
      .hint("torch.save does not compress: unpack the archive and pack it again with `zip -0`");
}

Result<std::string> read_entry(const io::File& file, const ZipEntry& entry, std::uint64_t most) {
  MLXMILL_TRY(check_stored(entry));
  if (entry.bytes > most) {
    return Error(Code::kUnsupported,
                 fmt::format("has {} bytes; at most {} are read", entry.bytes, most))
        .at(fmt::format("entry {}", quote(entry.name)));
  }
  std::string text(static_cast<std::size_t>(entry.bytes), '\0');
  MLXMILL_TRY(
      file.read_at(entry.begin, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

// Absent before torch 2.1, which wrote the order of the machine: none that ran it was big-endian.
Status check_byte_order(const io::File& file, const ZipDirectory& directory,
                        const std::string& folder) {
  const ZipEntry* entry = directory.find(folder + "/byteorder");
  if (!entry) return {};
  MLXMILL_ASSIGN(const std::string order, read_entry(file, *entry, 16));
  if (order == "little") return {};
  if (order == "big") return Error(Code::kUnsupported, "holds big-endian numbers");
  return invalid(fmt::format("byteorder is {}; expected 'little'", quote(order)));
}

Result<FileRange> find_storage(const ZipDirectory& directory, const std::string& folder,
                               const PickledStorage& storage) {
  const std::string name = folder + "/data/" + std::string(storage.key);
  const ZipEntry* entry = directory.find(name);
  if (!entry)
    return invalid(fmt::format("has no entry {}", quote(name))).hint("incomplete download?");
  MLXMILL_TRY(check_stored(*entry));
  const auto bytes = base::checked_mul(storage.n_elements, storage.element_bytes());
  if (!bytes || *bytes != entry->bytes) {
    return invalid(fmt::format("entry {} has {} bytes; expected {} elements of {}", quote(name),
                               entry->bytes, storage.n_elements, storage.element_bytes()));
  }
  return FileRange{.begin = entry->begin, .bytes = entry->bytes};
}

}  // namespace

Result<std::vector<TorchTensor>> read_torch_zip(const io::File& file) {
  MLXMILL_ASSIGN(const ZipDirectory directory, ZipDirectory::read(file));
  MLXMILL_ASSIGN(const std::string folder, folder_of(directory));
  MLXMILL_TRY(check_byte_order(file, directory, folder));
  const std::string pickle_name = folder + "/data.pkl";
  MLXMILL_ASSIGN(const std::string text,
                 read_entry(file, *directory.find(pickle_name), kMaxTorchPickle));
  TorchPickle pickle(/*views=*/false);
  Unpickler unpickler(text, pickle);
  const auto in_pickle = [&](Error error) { return std::move(error.at(quote(pickle_name))); };
  const auto root = unpickler.read();
  if (!root) return in_pickle(root.error());
  auto named = name_torch_tensors(unpickler.values(), *root, pickle, text.size());
  if (!named) return in_pickle(std::move(named).error());

  std::vector<std::optional<FileRange>> ranges(pickle.storages().size());
  std::vector<TorchTensor> tensors;
  tensors.reserve(named->size());
  for (const NamedPickledTensor& tensor : *named) {
    const PickledStorage& storage = pickle.storages()[tensor.tensor.storage];
    std::optional<FileRange>& range = ranges[tensor.tensor.storage];
    if (!range) {
      auto found = find_storage(directory, folder, storage);
      if (!found) return std::move(found.error().at(fmt::format("tensor {}", quote(tensor.name))));
      range = *found;
    }
    MLXMILL_ASSIGN(TorchTensor placed, place_tensor(unpickler.values(), tensor, storage, *range));
    tensors.push_back(std::move(placed));
  }
  return tensors;
}

}  // namespace mlxmill::formats

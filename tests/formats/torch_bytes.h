// Pickles, zip archives and PyTorch files put together by hand, right and wrong ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/little_endian.h"

namespace mlxmill::testing {

/// Pieces of a pickle.
inline std::string py_str(std::string_view text) {
  return "X" + le(text.size(), 4) + std::string(text);
}
inline std::string py_int(std::int64_t value) {
  return "\x8a\x08" + le(static_cast<std::uint64_t>(value), 8);
}
inline std::string py_global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string py_tuple(const std::vector<std::string>& items) {
  std::string text = "(";
  for (const std::string& item : items) text += item;
  return text + "t";
}
inline std::string py_ints(const std::vector<std::int64_t>& values) {
  std::vector<std::string> items;
  for (const std::int64_t value : values) items.push_back(py_int(value));
  return py_tuple(items);
}
inline std::string py_call(const std::string& callable, const std::vector<std::string>& items) {
  return callable + py_tuple(items) + "R";
}
/// Keys and values by turns, written already.
inline std::string py_dict(const std::vector<std::string>& items) {
  std::string text = "}(";
  for (const std::string& item : items) text += item;
  return text + "u";
}
inline std::string py_pickle(const std::string& value) { return "\x80\x02" + value + "."; }

/// A storage of `n_elements`, as a persistent id.
inline std::string py_storage(std::string_view key, std::int64_t n_elements,
                              std::string_view type = "FloatStorage") {
  return py_tuple({py_str("storage"), py_global("torch", type), py_str(key), py_str("cpu"),
                   py_int(n_elements)}) +
         "Q";
}
inline std::string py_tensor(const std::string& storage, std::int64_t offset,
                             const std::vector<std::int64_t>& shape,
                             const std::vector<std::int64_t>& strides) {
  return py_call(py_global("torch._utils", "_rebuild_tensor_v2"),
                 {storage, py_int(offset), py_ints(shape), py_ints(strides), "\x89",
                  py_call(py_global("collections", "OrderedDict"), {})});
}

/// One entry of an archive, with what can be wrong in it.
struct ZipPart {
  std::string name;
  std::string data;
  std::string local_name = {};  ///< The name in the header in front of the data, if another.
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
  std::int64_t shift = 0;       ///< Added to the offset in the directory.
  std::int64_t grow = 0;        ///< Added to both sizes in the directory.
  std::int64_t local_grow = 0;  ///< Added to both sizes in front of the data.
};

inline std::string zip_local(const ZipPart& part) {
  const std::string& name = part.local_name.empty() ? part.name : part.local_name;
  const std::uint64_t bytes = part.data.size() + static_cast<std::uint64_t>(part.local_grow);
  return "PK\x03\x04" + le(0, 2) + le(part.flags, 2) + le(part.method, 2) + le(0, 8) +
         le(bytes, 4) + le(bytes, 4) + le(name.size(), 2) + le(0, 2) + name + part.data;
}

inline std::string zip_central(const ZipPart& part, std::uint64_t offset) {
  const std::uint64_t bytes = part.data.size() + static_cast<std::uint64_t>(part.grow);
  return "PK\x01\x02" + le(0, 4) + le(part.flags, 2) + le(part.method, 2) + le(0, 8) +
         le(bytes, 4) + le(bytes, 4) + le(part.name.size(), 2) + le(0, 12) +
         le(offset + static_cast<std::uint64_t>(part.shift), 4) + part.name;
}

inline std::string zip_end(std::size_t n, std::uint64_t bytes, std::uint64_t begin) {
  return "PK\x05\x06" + le(0, 4) + le(n, 2) + le(n, 2) + le(bytes, 4) + le(begin, 4) + le(0, 2);
}

inline std::string zip_bytes(const std::vector<ZipPart>& parts) {
  std::string file, directory;
  for (const ZipPart& part : parts) {
    directory += zip_central(part, file.size());
    file += zip_local(part);
  }
  return file + directory + zip_end(parts.size(), directory.size(), file.size());
}

/// The archive of a pickle with storages '0', '1', ...
inline std::string torch_zip(const std::string& pickle, const std::vector<std::string>& storages) {
  std::vector<ZipPart> parts = {{.name = "m/data.pkl", .data = pickle}};
  for (std::size_t i = 0; i < storages.size(); ++i) {
    parts.push_back({.name = "m/data/" + std::to_string(i), .data = storages[i]});
  }
  return zip_bytes(parts);
}

/// The front of the layout before torch 1.6.
inline std::string torch_legacy_front() {
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." +
         py_pickle("M" + le(1001, 2)) + py_pickle(py_dict({py_str("little_endian"), "\x88"}));
}

/// A whole file of it: keys in a list, then each storage's element count and bytes, given together.
inline std::string torch_legacy(const std::string& pickle, const std::vector<std::string>& keys,
                                const std::string& storages) {
  std::string list = "](";
  for (const std::string& key : keys) list += py_str(key);
  return torch_legacy_front() + pickle + py_pickle(list + "e") + storages;
}

}  // namespace mlxmill::testing

// The two layouts of PyTorch files, behind one step: a pickle with tensors and where storages lie.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/torch_file.h"
#include "formats/torch_names.h"
#include "formats/torch_pickle.h"
#include "io/file.h"

namespace mlxmill::formats {

/// Bytes of a file.
struct FileRange {
  std::uint64_t begin = 0;
  std::uint64_t bytes = 0;
};

/// Checks a tensor's window against its storage and gives it its place in the file.
/// `range` is the whole storage's.
Result<TorchTensor> place_tensor(const PickleValues& values, const NamedPickledTensor& tensor,
                                 const PickledStorage& storage, FileRange range);

/// Of a zip archive: NAME/data.pkl beside NAME/data/KEY.
Result<std::vector<TorchTensor>> read_torch_zip(const io::File& file);

/// Of the layout before torch 1.6: five pickles, then each storage behind its element count.
Result<std::vector<TorchTensor>> read_torch_legacy(const io::File& file);

}  // namespace mlxmill::formats

// PyTorch checkpoint files (.bin, .pt, .pth), read as data: nothing in them is executed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/shape.h"
#include "io/file.h"
#include "mlxmill/dtype.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// A tensor: a strided window over a storage, which other tensors may share. Element (i, j, ...) is
/// element `offset + i * strides[0] + j * strides[1] + ...` of the storage, little-endian.
struct TorchTensor {
  std::string name;
  DType dtype;
  base::Shape shape;
  base::Shape strides;              ///< In elements, not negative; as many as extents.
  std::uint64_t storage_begin = 0;  ///< Bytes from the start of the file to element 0.
  std::uint64_t storage_bytes = 0;
  std::uint64_t offset = 0;  ///< In elements. Of no meaning when the tensor has none.
};

/// What torch.save wrote.
struct TorchHeader {
  std::vector<TorchTensor> tensors;  ///< In the order of the pickle; names are unique.
  std::uint64_t file_bytes = 0;
};

/// The most bytes of pickle that are read; torch takes about 200 for a tensor.
inline constexpr std::uint64_t kMaxTorchPickle = std::uint64_t{64} << 20;

/// Reads what describes the tensors of an open file: the zip archive of torch 1.6 and later, or the
/// older run of pickles. Names are keys joined with '.'; one dict `model`, `state_dict` or `module`
/// around all tensors is left out. Checked: every window lies in its storage and no element count
/// exceeds the storage's; storages lie in the file, as large as the pickle says. Errors:
/// kInvalidInput naming file, tensor or byte, expected and got; kUnsupported for everything that is
/// no dense tensor in a dict (whole modules, quantized, sparse, complex or lazily negated tensors,
/// TorchScript, compressed entries, big-endian, torch 0.1 tar) and, by name, for whatever else the
/// pickle asks for. Cost: memory in proportion to the pickle, at most kMaxTorchPickle of it; one
/// small read per storage.
Result<TorchHeader> read_torch_header(const io::File& file);

}  // namespace mlxmill::formats

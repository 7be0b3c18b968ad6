// Any bytes as the pickle of a PyTorch file: no crash, and what it yields is what it says.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/torch_names.h"
#include "formats/torch_pickle.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mlxmill::formats;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  TorchPickle pickle((data[0] & 1) != 0);
  Unpickler unpickler(text, pickle);
  const auto root = unpickler.read();
  require(unpickler.position() <= text.size());
  if (!root) {
    require(!root.error().message().empty());
    return 0;
  }
  require(!unpickler.ran_out());
  for (const PickledStorage& storage : pickle.storages()) {
    require(storage.window_begin + storage.window_size <= storage.n_elements);
  }
  const auto tensors = name_torch_tensors(unpickler.values(), *root, pickle, text.size());
  if (!tensors) return 0;
  for (const NamedPickledTensor& named : *tensors) {
    require(!named.name.empty() && named.tensor.storage < pickle.storages().size());
    const auto shape = pickled_extents(unpickler.values(), named.tensor.shape);
    require(shape.size() == pickled_extents(unpickler.values(), named.tensor.strides).size());
    for (const std::int64_t extent : shape) require(extent >= 0);
  }
  return 0;
}

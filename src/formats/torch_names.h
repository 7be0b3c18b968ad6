// From the value a PyTorch pickle stands for to tensors with names.
#pragma once

#include <string>
#include <vector>

#include "formats/torch_pickle.h"

namespace mlxmill::formats {

struct NamedPickledTensor {
  std::string name;
  PickledTensor tensor;
};

/// Every tensor below `root`, in the order of the pickle, named by its path: keys of dicts (str or
/// int) and positions in lists and tuples, joined with '.'. When `root` keeps all its tensors in
/// one dict `model`, `state_dict` or `module`, names begin inside of it. Errors: kUnsupported when
/// `root` is no dict; kInvalidInput, with the path, for keys or names that appear twice, names that
/// are empty, no UTF-8 or hold control characters, a container that appears twice and holds
/// tensors, or holds itself, more than 64 levels, and names or shapes that take many times the
/// `pickle_bytes` they come from.
Result<std::vector<NamedPickledTensor>> name_torch_tensors(const PickleValues& values,
                                                           PickleIndex root,
                                                           const TorchPickle& pickle,
                                                           std::uint64_t pickle_bytes);

}  // namespace mlxmill::formats

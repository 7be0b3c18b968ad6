// How others' tensors code weights, in words: headers only, for showing.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "base/value.h"
#include "tensors/tensor_view.h"

namespace mlxmill::sources {

/// What a tensor is of a module that is quantized in another's way.
struct StoredCoding {
  std::string module;
  std::string coding;  ///< "gptq 4-bit, groups of 128", "fp8, blocks of 128 x 128", ...
  /// Weights, for the tensor that holds the codes; 0 for scales and the like.
  std::uint64_t parameters = 0;
};

/// The tensors that hold codes and what goes with them, by name. Nothing is checked: what does not
/// look right is left out.
std::map<std::string, StoredCoding> stored_codings(const base::Value& config,
                                                   std::span<const tensors::SourceTensor> tensors);

}  // namespace mlxmill::sources

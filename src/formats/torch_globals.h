// The names a PyTorch pickle may use.
#pragma once

#include <cstdint>
#include <string_view>

#include "formats/pickle.h"

namespace mlxmill::formats {

/// PickleValue::tag of a kGlobal.
enum TorchGlobal : std::uint32_t {
  kTorchOrderedDict,
  kTorchEncode,
  kTorchBytes,
  kTorchSize,
  kTorchDevice,
  kTorchTensorClass,
  kTorchStorageClass,  ///< integer: its DType, or kTorchNoDType.
  kTorchDType,         ///< integer: its DType.
  kTorchRebuildTensor,
  kTorchRebuildTensorV2,
  kTorchRebuildTensorV3,
  kTorchRebuildParameter,
  kTorchRebuildParameterWithState,
  kTorchRebuildFromType,
};

/// A storage class without an element type.
inline constexpr std::int64_t kTorchNoDType = -1;

/// The kGlobal of an allowed name. Errors: kUnsupported by name for everything else.
Result<PickleValue> find_torch_global(std::string_view module, std::string_view name);

}  // namespace mlxmill::formats

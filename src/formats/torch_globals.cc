#include "formats/torch_globals.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "formats/unicode.h"
#include "mlxmill/dtype.h"

namespace mlxmill::formats {
namespace {

struct Function {
  std::string_view module;
  std::string_view name;
  TorchGlobal tag;
};

// What torch.save writes for state dicts, and the harmless company of them in checkpoints.
constexpr Function kFunctions[] = {
    {"collections", "OrderedDict", kTorchOrderedDict},
    {"_codecs", "encode", kTorchEncode},
    {"builtins", "bytes", kTorchBytes},
    {"__builtin__", "bytes", kTorchBytes},
    {"torch", "Size", kTorchSize},
    {"torch", "device", kTorchDevice},
    {"torch", "Tensor", kTorchTensorClass},
    {"torch.nn.parameter", "Parameter", kTorchTensorClass},
    {"torch._utils", "_rebuild_tensor", kTorchRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", kTorchRebuildTensorV2},
    {"torch._utils", "_rebuild_tensor_v3", kTorchRebuildTensorV3},
    {"torch._utils", "_rebuild_parameter", kTorchRebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", kTorchRebuildParameterWithState},
    {"torch._tensor", "_rebuild_from_type_v2", kTorchRebuildFromType},
};

struct TypeName {
  std::string_view name;
  DType dtype;
};

constexpr TypeName kStorages[] = {
    {"BoolStorage", DType::kBool}, {"ByteStorage", DType::kU8},
    {"CharStorage", DType::kI8},   {"ShortStorage", DType::kI16},
    {"HalfStorage", DType::kF16},  {"BFloat16Storage", DType::kBF16},
    {"IntStorage", DType::kI32},   {"FloatStorage", DType::kF32},
    {"LongStorage", DType::kI64},  {"DoubleStorage", DType::kF64},
};

constexpr TypeName kDTypes[] = {
    {"bool", DType::kBool},
    {"uint8", DType::kU8},
    {"int8", DType::kI8},
    {"float8_e4m3fn", DType::kF8E4M3},
    {"float8_e5m2", DType::kF8E5M2},
    {"float8_e8m0fnu", DType::kF8E8M0},
    {"uint16", DType::kU16},
    {"int16", DType::kI16},
    {"float16", DType::kF16},
    {"bfloat16", DType::kBF16},
    {"uint32", DType::kU32},
    {"int32", DType::kI32},
    {"float32", DType::kF32},
    {"uint64", DType::kU64},
    {"int64", DType::kI64},
    {"float64", DType::kF64},
};

// torch.* that are dtypes too, of which DType has none.
constexpr std::string_view kOtherDTypes[] = {
    "complex32",       "complex64",        "complex128", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float4_e2m1fn_x2", "qint8",      "quint8",
    "qint32",          "quint4x2",         "quint2x4",
};

template <std::size_t size>
const TypeName* find(const TypeName (&table)[size], std::string_view name) {
  const auto found = std::find_if(std::begin(table), std::end(table),
                                  [&](const TypeName& entry) { return entry.name == name; });
  return found == std::end(table) ? nullptr : found;
}

PickleValue global(TorchGlobal tag, std::int64_t integer = 0) {
  return {.kind = PickleKind::kGlobal, .tag = tag, .integer = integer};
}

// Names that are no attack but a kind of tensor, or a habit, that cannot be served.
Error refusal(std::string_view module, std::string_view name) {
  const std::string full = quote(std::string(module) + " " + std::string(name));
  const auto unread = [&](std::string_view what) {
    return Error(Code::kUnsupported, fmt::format("{} {} are not read", what, full))
        .hint("dense tensors of the usual types are");
  };
  const bool torch = module == "torch" || module.starts_with("torch.");
  if (torch && name.ends_with("Storage")) return unread("storages of type");
  if (torch && name.starts_with("_rebuild_")) return unread("tensors made by");
  if (module == "torch" &&
      std::find(std::begin(kOtherDTypes), std::end(kOtherDTypes), name) != std::end(kOtherDTypes)) {
    return unread("tensors of type");
  }
  Error error = refused_global(module, name);
  if (!module.starts_with("torch.nn.")) return error;
  return Error(error.code(), error.what())
      .hint("nothing was executed; the file holds a whole module, save its state_dict() instead");
}

}  // namespace

Result<PickleValue> find_torch_global(std::string_view module, std::string_view name) {
  for (const Function& function : kFunctions) {
    if (function.module == module && function.name == name) return global(function.tag);
  }
  if (module == "torch" || module == "torch.cuda") {
    if (const TypeName* storage = find(kStorages, name)) {
      return global(kTorchStorageClass, static_cast<std::int64_t>(storage->dtype));
    }
  }
  if (module == "torch.storage" && name == "UntypedStorage") {
    return global(kTorchStorageClass, kTorchNoDType);
  }
  if (module == "torch") {
    if (const TypeName* dtype = find(kDTypes, name)) {
      return global(kTorchDType, static_cast<std::int64_t>(dtype->dtype));
    }
  }
  return refusal(module, name);
}

}  // namespace mlxmill::formats

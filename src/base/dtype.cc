#include "mlxmill/dtype.h"

#include <array>
#include <iterator>

namespace mlxmill {
namespace {

struct Entry {
  std::string_view name;
  std::size_t bytes;
};

// In the order of the enum.
constexpr std::array<Entry, 16> kEntries = {{{"BOOL", 1},
                                             {"U8", 1},
                                             {"I8", 1},
                                             {"F8_E4M3", 1},
                                             {"F8_E5M2", 1},
                                             {"F8_E8M0", 1},
                                             {"U16", 2},
                                             {"I16", 2},
                                             {"F16", 2},
                                             {"BF16", 2},
                                             {"U32", 4},
                                             {"I32", 4},
                                             {"F32", 4},
                                             {"U64", 8},
                                             {"I64", 8},
                                             {"F64", 8}}};
static_assert(static_cast<std::size_t>(DType::kF64) + 1 == kEntries.size());

const Entry& entry(DType dtype) { return kEntries[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::size_t dtype_bytes(DType dtype) { return entry(dtype).bytes; }

std::string_view dtype_name(DType dtype) { return entry(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kEntries.size(); ++i) {
    if (kEntries[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

bool is_mlx_float(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32;
}

std::string_view torch_dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    case DType::kF32:
      return "float32";
    default:
      return {};
  }
}

std::optional<DType> dtype_from_torch_name(std::string_view name) {
  for (DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    if (torch_dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

}  // namespace mlxmill

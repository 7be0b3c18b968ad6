// Element types of tensors, under the names the safetensors format gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mlxmill {

/// Element type of a stored tensor. Sub-byte types of the format are not read.
enum class DType : std::uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kU16,
  kI16,
  kF16,
  kBF16,
  kU32,
  kI32,
  kF32,
  kU64,
  kI64,
  kF64,
};

/// Bytes of one element.
std::size_t dtype_bytes(DType dtype);

/// The safetensors name, for example "BF16".
std::string_view dtype_name(DType dtype);

/// The inverse of dtype_name.
std::optional<DType> dtype_from_name(std::string_view name);

/// True for the floating types mlx computes with: F16, BF16, F32.
bool is_mlx_float(DType dtype);

/// The name config.json and mlx-lm use ("bfloat16", "float16", "float32"); empty for other types.
std::string_view torch_dtype_name(DType dtype);

/// "float16", "bfloat16" or "float32" to its dtype.
std::optional<DType> dtype_from_torch_name(std::string_view name);

}  // namespace mlxmill

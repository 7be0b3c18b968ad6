// Plain loops over numbers of any type, for what sources hold and rules compute. Buffers as in
// kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mlxmill/dtype.h"

namespace mlxmill::kernels {

/// Whether to_f32 reads the type: every one but Bool.
bool is_number(DType type);

/// n numbers as float32: exact but for I32, U32, I64, U64 and F64, which are rounded to nearest.
/// F8E4M3 and F8E5M2 as OCP defines them, F8E8M0 as 2^(byte - 127). Requires is_number(type).
void to_f32(const void* src, DType type, float* dst, std::size_t n);

/// n float32 values as F16, BF16 or F32, to nearest, ties to even.
void from_f32(const float* src, void* dst, DType type, std::size_t n);

/// x + value and x * value in `type`, the value rounded to it first. In place. Requires
/// is_mlx_float(type).
void add(void* x, DType type, float value, std::size_t n);
void multiply(void* x, DType type, float value, std::size_t n);

/// In place: sigmoid(x / temperature), or with `stream` sqrt(max(sigmoid(-x / temperature) * (1 +
/// sigmoid(x / temperature)), epsilon)). Numerics: float32 as libmlx's CPU backend computes it, so
/// its polynomial for the exponential.
void residual_gate(float* x, std::size_t n, float temperature, float epsilon, bool stream);

/// n_words little-endian 32-bit words, each with 32 / bits codes: code k of a word is the `bits`
/// bits from bit order[k] * bits. One byte per code. Requires bits to be 1, 2, 4 or 8.
void unpack_words(const void* words, std::size_t n_words, int bits,
                  std::span<const std::uint8_t> order, std::uint8_t* codes);

/// n codes of a little-endian bit stream (docs/FORMATS.md), one byte per code. Requires n % 8 == 0,
/// 1 <= bits <= 8.
void unpack_stream(const void* stream, int bits, std::size_t n, std::uint8_t* codes);

/// The inverse.
void pack_stream(const std::uint8_t* codes, int bits, std::size_t n, void* stream);

}  // namespace mlxmill::kernels

// What stands between the products of a decoder layer: norms, gates, rotation, attention; in F32,
// rounded once to the type of the arrays.
//
// Buffers need no alignment beyond that of a byte. Steps count elements.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "mlxmill/dtype.h"

namespace mlxmill::kernels {

/// y = x / sqrt(mean(x^2) + epsilon) * weight over each row; what is normed is rounded to `type`
/// before the weight multiplies it, as Hugging Face's models do.
struct RmsNorm {
  DType type = DType::kBF16;     ///< Of x, weight and y.
  const void* x = nullptr;       ///< [rows, cols]
  const void* weight = nullptr;  ///< [cols], or null.
  void* y = nullptr;             ///< [rows, cols]
  std::size_t rows = 0;
  std::size_t cols = 0;
  float epsilon = 0;
};
void rms_norm(const RmsNorm& norm, base::ThreadPool& pool);

/// y = a + b, element by element; y may be a or b.
void add(DType type, const void* a, const void* b, void* y, std::size_t count);

enum class GateKind : std::uint8_t { kSilu, kGeluTanh };

/// y = activation(gate) * up, over `count` elements.
struct Gate {
  DType type = DType::kBF16;
  GateKind kind = GateKind::kSilu;
  const void* gate = nullptr;
  const void* up = nullptr;
  void* y = nullptr;
  std::size_t count = 0;
};
void gate(const Gate& gate, base::ThreadPool& pool);

/// Rotates the first dims of each head: pairs (a, b) become (a cos - b sin, a sin + b cos). Pairs
/// are halves apart, or neighbours if `traditional`. Elements behind dims are copied.
struct Rotation {
  DType type = DType::kBF16;
  const void* x = nullptr;
  void* y = nullptr;  ///< [heads, length, size]
  std::size_t heads = 0;
  std::size_t length = 0;
  std::size_t size = 0;
  std::size_t head_step = 0;   ///< Of x.
  std::size_t token_step = 0;  ///< Of x.
  std::size_t dims = 0;        ///< Even; at most size.
  bool traditional = false;
  const float* cosines = nullptr;  ///< [length, dims / 2]
  const float* sines = nullptr;
};
void rotate(const Rotation& rotation, base::ThreadPool& pool);

/// softmax(scale q k^T, masked) v of query heads that share key heads.
struct Attention {
  DType type = DType::kBF16;
  const void* queries = nullptr;  ///< [heads, length, size]
  const void* keys = nullptr;     ///< [kv_heads, n, size], a head every key_step elements.
  const void* values = nullptr;   ///< [kv_heads, n, value_size], a head every value_step.
  const bool* mask = nullptr;     ///< [length, n]: true where a query sees a key; null: everywhere.
  const void* sinks = nullptr;    ///< [heads]: a further score without a value, or null.
  void* y = nullptr;              ///< [length, heads, value_size]
  std::size_t heads = 0;          ///< A multiple of kv_heads.
  std::size_t kv_heads = 0;
  std::size_t length = 0;
  std::size_t n = 0;
  std::size_t size = 0;
  std::size_t value_size = 0;
  std::size_t key_step = 0;
  std::size_t value_step = 0;
  float scale = 1;
  float softcap = 0;  ///< Scores become softcap * tanh(score / softcap); 0: they stay.
};
void attend(const Attention& attention, base::ThreadPool& pool);

}  // namespace mlxmill::kernels

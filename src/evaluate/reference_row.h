// The reference's distribution at one position, as exact as it was kept, and its encoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "evaluate/distribution.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"

namespace mlxmill::evaluate {

/// How rows are encoded. docs/EVALUATION.md has the bytes.
struct RowEncoding {
  ReferenceEncoding kind = ReferenceEncoding::kFloat32;
  std::int64_t vocabulary = 0;
  std::uint32_t top = 0;      ///< kTop: tokens kept exactly, at most the vocabulary.
  std::uint32_t samples = 0;  ///< kTop: tokens drawn from the tail.

  friend bool operator==(const RowEncoding&, const RowEncoding&) = default;
};

/// Tail tokens kept by kTop. With the estimator of docs/EVALUATION.md more change little.
inline constexpr std::uint32_t kTailSamples = 32;

/// Bytes of one row.
std::size_t row_bytes(const RowEncoding& encoding);

struct TokenLogit {
  std::int32_t id = 0;
  float logit = 0;
};

/// A decoded row. Only the members of its encoding are filled.
struct ReferenceRow {
  double nll = 0;  ///< Of the right token, exact in every encoding.
  TopTokens top{};
  /// kFloat32: logits. kFloat16: log-probabilities rounded to 16 bits; `rounded` is set.
  std::vector<float> logits;
  bool rounded = false;
  /// kTop.
  std::vector<TokenLogit> kept;
  std::vector<TokenLogit> sample;  ///< Drawn from the tail in proportion to its probability.
  double log_sum_exp = 0;
  double tail_mass = 0;
  double tail_log_sum = 0;  ///< Sum of p log p over the tail.
};

/// The row as it is where nothing was left out.
Status exact_row(std::span<const float> logits, std::int32_t target, Distribution& scratch,
                 ReferenceRow& row);

/// Encodes a distribution. `seed` decides the tail sample; equal rows and seeds give equal bytes.
/// Shapes out [row_bytes(encoding)]. Requires the distribution's vocabulary to be the encoding's.
void encode_row(const RowEncoding& encoding, Distribution& distribution, std::int32_t target,
                std::uint64_t seed, std::span<std::byte> out);

/// Decodes bytes from a file. Errors: kInvalidInput when they are no such row: ids outside the
/// vocabulary or twice, numbers that no distribution has.
Status decode_row(const RowEncoding& encoding, std::span<const std::byte> bytes, ReferenceRow& row);

}  // namespace mlxmill::evaluate

// A quantization scheme: mode, bits per code, weights per group.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mlxmill/result.h"

namespace mlxmill {

/// How a group of weights is coded. The names are those of `mlx_lm.convert --q-mode`.
enum class Mode : std::uint8_t { kAffine, kMxfp4, kNvfp4, kMxfp8 };

/// One way to code a tensor. Legal combinations: affine with 2, 3, 4, 5, 6 or 8 bits and groups of
/// 32, 64 or 128 weights; mxfp4 (4 bits, 32); nvfp4 (4 bits, 16); mxfp8 (8 bits, 32).
struct Scheme {
  Mode mode = Mode::kAffine;
  int bits = 4;
  int group_size = 64;

  friend bool operator==(const Scheme&, const Scheme&) = default;
};

std::string_view mode_name(Mode mode);
std::optional<Mode> mode_from_name(std::string_view name);

/// Fills in what the caller left open with mlx-lm's defaults for the mode (affine 64 and 4, mxfp4
/// 32, nvfp4 16, mxfp8 32 and 8). Errors: kUsage for a combination libmlx cannot hold.
Result<Scheme> make_scheme(Mode mode, std::optional<int> bits, std::optional<int> group_size);

/// For people: "affine 4-bit, groups of 64".
std::string describe(const Scheme& scheme);

}  // namespace mlxmill

#include "mlxmill/scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

namespace mlxmill {
namespace {

struct ModeEntry {
  std::string_view name;
  int default_bits;
  int default_group_size;
  std::span<const int> bits;
  std::span<const int> group_sizes;
};

constexpr std::array kAffineBits = {2, 3, 4, 5, 6, 8};
constexpr std::array kAffineGroups = {32, 64, 128};
constexpr std::array kFour = {4};
constexpr std::array kEight = {8};
constexpr std::array kSixteen = {16};
constexpr std::array kThirtyTwo = {32};

// In the order of the enum. Source: mlx/ops.cpp quantization_params_from_mode, affine_quantize,
// fp_quantize.
constexpr std::array<ModeEntry, 4> kModes = {{
    {"affine", 4, 64, kAffineBits, kAffineGroups},
    {"mxfp4", 4, 32, kFour, kThirtyTwo},
    {"nvfp4", 4, 16, kFour, kSixteen},
    {"mxfp8", 8, 32, kEight, kThirtyTwo},
}};

const ModeEntry& entry(Mode mode) { return kModes[static_cast<std::size_t>(mode)]; }

Status check_choice(std::string_view mode, std::string_view what, int value,
                    std::span<const int> legal) {
  if (std::find(legal.begin(), legal.end(), value) != legal.end()) return {};
  return Error(Code::kUsage, fmt::format("{} quantization has no {} {}; expected {}", mode, what,
                                         value, fmt::join(legal, ", ")));
}

}  // namespace

std::string_view mode_name(Mode mode) { return entry(mode).name; }

std::optional<Mode> mode_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kModes.size(); ++i) {
    if (kModes[i].name == name) return static_cast<Mode>(i);
  }
  return std::nullopt;
}

Result<Scheme> make_scheme(Mode mode, std::optional<int> bits, std::optional<int> group_size) {
  const ModeEntry& m = entry(mode);
  const Scheme scheme{mode, bits.value_or(m.default_bits),
                      group_size.value_or(m.default_group_size)};
  MLXMILL_TRY(check_choice(m.name, "bit width", scheme.bits, m.bits));
  MLXMILL_TRY(check_choice(m.name, "group size", scheme.group_size, m.group_sizes));
  return scheme;
}

std::string describe(const Scheme& scheme) {
  if (scheme.mode == Mode::kAffine) {
    return fmt::format("affine {}-bit, groups of {}", scheme.bits, scheme.group_size);
  }
  return std::string(mode_name(scheme.mode));
}

}  // namespace mlxmill

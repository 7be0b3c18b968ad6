#include "architectures/forward/state_bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <type_traits>

#include "base/checked_math.h"

namespace mlxmill::architectures {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

std::uint64_t sum(std::initializer_list<std::uint64_t> terms) {
  std::uint64_t total = 0;
  for (const std::uint64_t term : terms) total = base::checked_add(total, term).value_or(kMost);
  return total;
}

/// Of what a config says, which may be anything.
std::uint64_t product(std::initializer_list<std::int64_t> factors) {
  std::uint64_t total = 1;
  for (const std::int64_t factor : factors) {
    const auto positive = static_cast<std::uint64_t>(std::max<std::int64_t>(factor, 0));
    if (positive == 0) return 0;
    total = base::checked_mul(total, positive).value_or(kMost);
  }
  return total;
}

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return base::checked_mul(a, b).value_or(kMost);
}

std::uint64_t bytes_of(const AttentionSpec& spec, const StateFormat& format, std::int64_t tokens) {
  if (spec.shares >= 0) return 0;
  const std::int64_t reach = spec.window > 0 ? spec.window : spec.chunk;
  if (reach == 0 && format.most_tokens > 0) tokens = std::min(tokens, format.most_tokens);
  StateFormat plain = format;
  plain.kv_bits.reset();
  const std::uint64_t of_indexer =
      spec.indexer ? kv_bytes(plain, reach, tokens, 1, spec.indexer->dim, 0) : 0;
  return sum(
      {kv_bytes(format, reach, tokens, spec.kv_heads, spec.head_dim, spec.value_dim), of_indexer});
}

/// One short vector a token, never quantized.
std::uint64_t bytes_of(const LatentAttentionSpec& spec, const StateFormat& format,
                       std::int64_t tokens) {
  StateFormat plain = format;
  plain.kv_bits.reset();
  return kv_bytes(plain, 0, tokens, 1, spec.rank,
                  spec.rope_dim + (spec.indexer ? spec.indexer->dim : 0));
}

/// The last inputs of a convolution over `channels`, and a state of `numbers` floats.
std::uint64_t recurrent_bytes(std::uint64_t channels, std::int64_t kernel, std::uint64_t numbers,
                              const StateFormat& format) {
  return sum({times(times(channels, product({kernel - 1})), format.float_bytes),
              times(numbers, sizeof(float))});
}

std::uint64_t bytes_of(const DeltaNetSpec& spec, const StateFormat& format,
                       std::int64_t /*tokens*/) {
  const std::uint64_t channels = sum(
      {product({2, spec.key_heads, spec.key_dim}), product({spec.value_heads, spec.value_dim})});
  return recurrent_bytes(channels, spec.kernel,
                         product({spec.value_heads, spec.key_dim, spec.value_dim}), format);
}

std::uint64_t bytes_of(const Mamba2Spec& spec, const StateFormat& format, std::int64_t /*tokens*/) {
  const std::uint64_t inner = product({spec.heads, spec.head_dim});
  return recurrent_bytes(sum({inner, product({2, spec.groups, spec.state})}), spec.kernel,
                         times(inner, product({spec.state})), format);
}

std::uint64_t bytes_of(const MambaSpec& spec, const StateFormat& format, std::int64_t /*tokens*/) {
  return recurrent_bytes(product({spec.channels}), spec.kernel,
                         product({spec.channels, spec.state}), format);
}

std::uint64_t bytes_of(const ShortConvSpec& spec, const StateFormat& format,
                       std::int64_t /*tokens*/) {
  return times(product({spec.channels, spec.kernel - 1}), format.float_bytes);
}

/// The last token's input, and a matrix of floats for each head.
std::uint64_t bytes_of(const TimeMixSpec& spec, const StateFormat& format,
                       std::int64_t /*tokens*/) {
  return sum({times(product({spec.heads, spec.head_dim}), format.float_bytes),
              times(product({spec.heads, spec.head_dim, spec.head_dim}), sizeof(float))});
}

std::uint64_t bytes_of(const ChannelMixSpec& spec, const StateFormat& format,
                       std::int64_t /*tokens*/) {
  return times(product({spec.hidden}), format.float_bytes);
}

template <typename Spec, typename... Kinds>
inline constexpr bool kIsOneOf = (std::is_same_v<Spec, Kinds> || ...);

/// Of the kinds without a memory; another kind needs a formula above.
template <typename Spec>
std::uint64_t bytes_of(const Spec& /*spec*/, const StateFormat& /*format*/,
                       std::int64_t /*tokens*/) {
  static_assert(kIsOneOf<Spec, MlpSpec, MoeSpec, LinearSpec, PerLayerInputsSpec, PerLayerGateSpec,
                         LaurelSpec, AltUpSpec>);
  return 0;
}

}  // namespace

Result<int> kv_group_size(const Forward& forward, int asked) {
  std::int64_t common = 0;
  for (const LayerSpec& layer : forward.layers) {
    for (const StepSpec& step : layer) {
      const auto* spec = std::get_if<AttentionSpec>(&step.block);
      if (spec && spec->shares < 0) {
        common = std::gcd(common, std::gcd(spec->head_dim, spec->value_dim));
      }
    }
  }
  const int size = asked != 0 ? asked : common % 64 == 0 ? 64 : 32;
  if (common % size == 0) return size;
  return Error(Code::kUnsupported,
               fmt::format("keys and values of a head are multiples of {} elements; to quantize "
                           "them expected multiples of the group size {}",
                           common, size))
      .hint(common % 32 == 0 ? "try --kv-group-size 32" : "leave out --kv-bits");
}

std::uint64_t kv_bytes(const StateFormat& format, std::int64_t window, std::int64_t tokens,
                       std::int64_t heads, std::int64_t key_size, std::int64_t value_size) {
  std::int64_t kept = (tokens + kStateStep - 1) / kStateStep * kStateStep;
  if (window > 0) kept = std::min(kept - 2 * kStateStep, window) + 2 * kStateStep;
  const std::uint64_t elements =
      times(product({kept, heads}), sum({product({key_size}), product({value_size})}));
  if (!format.kv_bits) return times(elements, format.float_bytes);
  StateFormat plain = format;
  plain.kv_bits.reset();
  const std::uint64_t before = format.float_tokens == 0
                                   ? 0
                                   : kv_bytes(plain, window, std::min(tokens, format.float_tokens),
                                              heads, key_size, value_size);
  const std::uint64_t codes = times(elements, static_cast<std::uint64_t>(*format.kv_bits));
  const std::uint64_t groups = elements / static_cast<std::uint64_t>(format.kv_group_size);
  const std::uint64_t after =
      sum({codes == kMost ? kMost : codes / 8, times(groups, 2 * format.float_bytes)});
  return std::max(before, after);
}

std::uint64_t state_bytes(const Forward& forward, const StateFormat& format, std::int64_t tokens) {
  std::uint64_t total = 0;
  for (const LayerSpec& layer : forward.layers) {
    for (const StepSpec& step : layer) {
      total =
          sum({total, std::visit([&](const auto& spec) { return bytes_of(spec, format, tokens); },
                                 step.block)});
    }
  }
  return total;
}

}  // namespace mlxmill::architectures

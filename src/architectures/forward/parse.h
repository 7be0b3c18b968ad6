// One parser for each kind of block: a table of the declaration to its evaluated form.
#pragma once

#include "architectures/forward/form.h"
#include "architectures/forward/forward.h"

namespace mlxmill::architectures {

Result<AttentionSpec> parse_attention(Form& form);
Result<LatentAttentionSpec> parse_latent_attention(Form& form);
Result<LinearSpec> parse_linear(Form& form);
Result<DeltaNetSpec> parse_delta_net(Form& form);
Result<Mamba2Spec> parse_mamba2(Form& form);
Result<MambaSpec> parse_mamba(Form& form);
Result<ShortConvSpec> parse_short_conv(Form& form);
Result<TimeMixSpec> parse_time_mix(Form& form);
Result<ChannelMixSpec> parse_channel_mix(Form& form);
Result<PerLayerInputsSpec> parse_per_layer_inputs(Form& form);
Result<PerLayerGateSpec> parse_per_layer_gate(Form& form);
Result<LaurelSpec> parse_laurel(Form& form);
Result<AltUpSpec> parse_altup(Form& form);
Result<MlpSpec> parse_mlp(Form& form);
Result<MoeSpec> parse_moe(Form& form);

/// The kinds of blocks under the names that steps have them by (forward.cc).
struct BlockKind {
  std::string_view key;
  Result<BlockSpec> (*parse)(Form& form);
};

/// What a block needs of steps before it and does not find, in words; empty when all is there.
std::string_view missing_beside(const std::vector<LayerSpec>& layers);

/// The whole of [forward]. `n_layers` counts where it does not. Errors: kInvalidInput at
/// `file:line`; kUnsupported for what config.json asks for and nothing here can do.
Result<Forward> evaluate_forward(const Node& node, Scope& scope, std::string_view file_name,
                                 std::int64_t n_layers);

}  // namespace mlxmill::architectures

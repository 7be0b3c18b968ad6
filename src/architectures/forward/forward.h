// What a model computes, layer by layer: the [forward] part of a declaration, evaluated for one
// config. Data only; src/runtime/ builds it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "architectures/forward/blocks.h"
#include "architectures/forward/parts.h"

namespace mlxmill::architectures {

using BlockSpec =
    std::variant<AttentionSpec, LatentAttentionSpec, MlpSpec, MoeSpec, LinearSpec, DeltaNetSpec,
                 Mamba2Spec, MambaSpec, ShortConvSpec, TimeMixSpec, ChannelMixSpec,
                 PerLayerInputsSpec, PerLayerGateSpec, LaurelSpec, AltUpSpec>;

/// x = x * keep + scale * post(block(pre(x))).
struct StepSpec {
  NormSpec pre;
  BlockSpec block;
  NormSpec post;
  double scale = 1;
  double keep = 1;
  bool keeps_normed = false;  ///< What is added to is pre(x), not x.
  bool parallel = false;      ///< `pre` reads what the step before read.
  std::string scaled_by;      ///< A tensor [1] or [hidden] that the sum is multiplied by.
};

using LayerSpec = std::vector<StepSpec>;

struct EmbeddingSpec {
  std::string path;
  double scale = 1;
  std::string positions;             ///< A learned embedding of positions that is added.
  std::int64_t position_offset = 0;  ///< Row of position 0.
  NormSpec norm;
};

struct HeadSpec {
  std::string path;  ///< The embedding's, where they are tied.
  double scale = 1;
  double softcap = 0;  ///< Logits become cap * tanh(logits / cap); 0: as they are.
};

/// Modules that the model holds one by one and blocks compute with as one (forward/stacks.h).
struct StackSpec {
  std::string path;             ///< What blocks call it.
  std::vector<std::string> of;  ///< Its matrices, in this order.
};

struct Forward {
  EmbeddingSpec embedding;
  std::vector<LayerSpec> layers;
  std::vector<StackSpec> stacks;
  NormSpec norm;
  HeadSpec head;
  std::int64_t vocabulary = 0;     ///< Rows of the embedding.
  std::int64_t max_positions = 0;  ///< As the config says; 0: it does not.
};

}  // namespace mlxmill::architectures

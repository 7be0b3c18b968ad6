// The blocks of a forward pass with everything evaluated: module paths and numbers, no expressions.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "architectures/forward/parts.h"

namespace mlxmill::architectures {

/// How the rows of a layer that gives q, k and v at once are ordered.
enum class QkvOrder : std::uint8_t {
  kBlocks,  ///< All of q, all of k, all of v.
  kHeads,   ///< For every head its q, k and v (as many k as q heads).
  kGroups,  ///< For every k head its q heads, k, v.
  kGated,   ///< `q` alone: for every head its q and its output gate.
};

/// q at position p is multiplied by 1 + scale * log(1 + floor((p + from) / every)).
struct TemperatureSpec {
  double scale = 0;
  double every = 1;
  double from = 0;
};

/// Picks the blocks of keys that a token attends to (MiniMax M3), for each of its heads: those with
/// the largest q k^T among their keys. Heads of attention share a choice by groups.
struct BlockIndexerSpec {
  std::string q, k;  ///< Linear modules over x; k has one head.
  NormSpec q_norm, k_norm;
  std::int64_t heads = 0;
  std::int64_t dim = 0;
  std::int64_t block = 0;  ///< Keys in a block.
  std::int64_t top = 0;    ///< So many blocks are seen; all, where there are no more.
  std::int64_t local = 0;  ///< The token's own block and those before it, so many, are among them.
  RopeSpec rope;           ///< Of the first elements.
};

/// softmax(q k^T * scale + mask) v, with grouped k and v heads.
struct AttentionSpec {
  std::string q, k, v, o;  ///< Linear modules.
  std::string qkv;         ///< Instead of q, k and v.
  QkvOrder order = QkvOrder::kBlocks;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;
  double scale = 0;
  NormSpec q_norm, k_norm,
      v_norm;  ///< Over a head, or over all of them where the weight is as long.
  bool norm_after_rope = false;
  RopeSpec rope;
  std::int64_t window = 0;  ///< Keys a token sees, itself included; 0: all.
  std::int64_t chunk = 0;   ///< Tokens see keys of their own chunk of positions only; 0: all.
  std::string sinks;   ///< Tensor [heads]: a logit per head that takes weight and gives nothing.
  double softcap = 0;  ///< Logits become cap * tanh(logits / cap); 0: as they are.
  double clip = 0;     ///< q, k and v are clipped to +-clip; 0: not.
  double value_scale = 1;
  /// Query head h sees the key head h modulo kv_heads, not the one of its block.
  bool tiled = false;
  std::string gate;  ///< A linear module whose activation multiplies the output...
  Activation gate_activation = Activation::kSigmoid;  ///< ...also for QkvOrder::kGated.
  TemperatureSpec temperature;
  /// Keys and values are those of an earlier layer of that index; -1: its own.
  std::int64_t shares = -1;
  /// Keys and values are made from what the nearest earlier block that projects its own projected.
  bool borrows = false;
  std::optional<BlockIndexerSpec> indexer;
};

/// down(activation(gate(x)) * up(x)), or down(activation(up(x))) without a gate.
struct MlpSpec {
  std::string gate, up, down;  ///< Linear modules.
  std::string gate_up;         ///< Instead of gate and up: rows of both.
  bool up_first = false;       ///< ...the rows of up before those of gate.
  Activation activation = Activation::kSilu;
  /// Of the gate's outputs only what lies above mean + deviation * quantile(sparsity) of their row
  /// is kept, as its difference from there (Gemma 3n); 0: all.
  double sparsity = 0;
  double limit = 0;  ///< activation(gate) <= limit and |up| <= limit; 0: without bounds.
  /// gpt-oss's form instead: gate <= clamp, |up| <= clamp, gate * sigmoid(alpha gate) * (up + 1).
  double clamp = 0;
  double alpha = 0;
  std::string xielu;  ///< Instead of the activation, without a gate: xIELU with the scalars
                      ///< alpha_p, alpha_n, beta and eps of this module.
};

/// Which experts a token goes to and with what weights.
struct RouterSpec {
  enum class Scores : std::uint8_t {
    kSoftmax,
    kSigmoid,
    kSoftmaxOfChosen,
    kSqrtSoftplus,
    kSparsemixer,  ///< Phi 3.5 MoE: the best, then the best of the others, each with its softmax
                   ///< over those that are not further below it than 2 * jitter.
  };
  std::string linear;      ///< Gives one logit per expert.
  std::string correction;  ///< Tensor [experts] added to the scores when experts are chosen.
  Scores scores = Scores::kSoftmax;
  std::int64_t experts = 0;
  std::int64_t top = 0;
  bool normalize = false;  ///< The weights of the chosen are divided by their sum...
  double epsilon = 0;      ///< ...plus this.
  double scale = 1;
  double softcap = 0;       ///< Logits become cap * tanh(logits / cap); 0: as they are.
  double jitter = 0;        ///< Of kSparsemixer.
  std::int64_t groups = 1;  ///< Experts are chosen from the best `top_groups` of so many groups,
  std::int64_t top_groups = 1;  ///< each as good as its best `group_members` together.
  std::int64_t group_members = 2;
  bool float32 = false;      ///< Logits are computed in float32.
  NormSpec norm;             ///< Of x, before the logits are computed...
  std::string input_scale;   ///< ...and a tensor [hidden] that it is multiplied by...
  double input_factor = 1;   ///< ...and a number.
  std::string expert_scale;  ///< Tensor [experts]: of the weights.
};

/// Experts, each a gated MLP, and perhaps a shared one that every token goes to.
struct MoeSpec {
  RouterSpec router;
  MlpSpec experts;                      ///< Stacked modules.
  std::string experts_in, experts_out;  ///< Linear modules around the experts, if any.
  NormSpec experts_pre, experts_post;   ///< Around the experts, x being the router's as it is...
  NormSpec shared_pre, shared_post;     ///< ...and around the shared one.
  bool scale_input = false;       ///< The weight multiplies the expert's input, not its output.
  std::optional<MlpSpec> shared;  ///< Its output is added...
  std::string shared_gate;        ///< ...times the sigmoid of this linear module.
};

/// Picks the keys that a token attends to (DeepSeek V3.2, sparse attention): those with the highest
/// sum over heads of weight * relu(q k^T).
struct IndexerSpec {
  std::string q;  ///< A linear module over the normed output of q_a.
  std::string k;  ///< A linear module over x, [dim, hidden].
  NormSpec k_norm;
  std::string weights;  ///< A linear module over x, [heads, hidden].
  std::int64_t heads = 0;
  std::int64_t dim = 0;
  std::int64_t top = 0;  ///< So many keys are seen; all, where there are no more.
  RopeSpec rope;         ///< Of the first elements.
};

/// Attention whose keys and values are made from one short vector a token (DeepSeek's MLA).
struct LatentAttentionSpec {
  std::string q;         ///< A linear module, or
  std::string q_a, q_b;  ///< two of them, with a norm between.
  NormSpec q_norm;
  std::string kv_a;  ///< Gives the vector and the part of the keys that is rotated.
  NormSpec kv_norm;
  std::string embed_q, unembed;  ///< Stacked modules [heads, rank, nope], [heads, value, rank], or
  std::string kv_b;              ///< one linear module with both.
  std::string o;
  std::int64_t heads = 0;
  std::int64_t rank = 0;
  std::int64_t nope_dim = 0;  ///< Of a head's q and k, what is not rotated...
  std::int64_t rope_dim = 0;  ///< ...and what is.
  std::int64_t value_dim = 0;
  double scale = 0;
  RopeSpec rope;
  TemperatureSpec temperature;
  std::optional<IndexerSpec> indexer;  ///< Needs q_a and q_b.
};

/// A gated delta rule over a state of [key, value] for every value head (Qwen3-Next). Where `a`
/// gives key_dim numbers a head, each element of a key has a decay of its own (Kimi Linear).
struct DeltaNetSpec {
  std::string qkv, z, b, a;  ///< Linear modules, or
  std::string qkvz, ba;      ///< two, whose rows are ordered by key heads, or
  std::string q, k, v;       ///< these instead of qkv, each with a convolution of its own.
  std::string conv;          ///< Tensor [channels, kernel, 1] over q, k and v, or
  std::string q_conv, k_conv, v_conv;  ///< its three parts.
  std::string a_low, z_low;            ///< Linear modules before a and z: they read its output.
  Activation gate_activation = Activation::kSilu;  ///< Of z.
  double beta_scale = 1;                           ///< Of the step size sigmoid(b).
  std::string a_log, dt_bias;                      ///< Tensors [value heads]; dt_bias as long as a.
  NormSpec norm;                                   ///< Gated by z.
  std::string out;
  std::int64_t key_heads = 0;
  std::int64_t value_heads = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  std::int64_t kernel = 0;
};

/// A linear layer on its own, in place of another block.
struct LinearSpec {
  std::string path;
};

/// A gated convolution over a few tokens (LFM2): out(c * conv(b * x)), with b, c, x from one layer.
struct ShortConvSpec {
  std::string in, out;  ///< Linear modules.
  std::string conv;     ///< A module of [channels, kernel, 1].
  std::int64_t channels = 0;
  std::int64_t kernel = 0;
};

/// A selective state space with one decay a head (Dao and Gu 2024, arXiv 2405.21060, Mamba 2):
/// state = exp(dt A) state + dt B x, y = C state + D x, with dt = softplus(dt + dt_bias) and
/// A = -exp(a_log). Heads share B and C by groups.
struct Mamba2Spec {
  std::string in;                 ///< A linear module: gate, then x, B, C, then dt.
  std::string conv;               ///< A module of [channels, kernel, 1] over x, B, C.
  std::string a_log, dt_bias, d;  ///< Tensors [heads].
  NormSpec norm;                  ///< Of y * silu(gate); none: y * silu(gate) as it is.
  std::int64_t norm_groups = 1;   ///< Normed by so many parts.
  bool norm_first = false;        ///< norm(y) * silu(gate).
  std::string out;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t groups = 1;
  std::int64_t state = 0;  ///< Of every element of a head.
  std::int64_t kernel = 0;
  double dt_min = 0;  ///< dt is clipped to these.
  double dt_max = std::numeric_limits<double>::infinity();
};

/// The same with a decay for every element (Gu and Dao 2023, arXiv 2312.00752, Mamba).
struct MambaSpec {
  std::string in;    ///< A linear module: x, then the gate.
  std::string conv;  ///< A module of [channels, kernel, 1] over x.
  std::string x;     ///< A linear module of x: dt, B, C.
  NormSpec dt_norm, b_norm, c_norm;
  std::string dt;        ///< A linear module, [channels, rank].
  std::string a_log, d;  ///< Tensors [channels, state] and [channels].
  std::string out;
  std::int64_t channels = 0;
  std::int64_t rank = 0;
  std::int64_t state = 0;
  std::int64_t kernel = 0;
};

/// RWKV 7's time mix (Peng et al. 2025, arXiv 2503.14456): a delta rule over a state [head_dim,
/// head_dim] for every head, whose rows are forgotten element by element:
/// state = state diag(w) - (state kk) (a kk)^T + v k^T, y = state r.
struct TimeMixSpec {
  std::string r, k, v, o;  ///< Linear modules.
  /// Pairs of linear modules of low rank, for the decay w, the step size a, the share of the first
  /// layer's values, and the gate. Without those of the values, this block's are the first.
  std::string w_in, w_out, a_in, a_out, v_in, v_out, g_in, g_out;
  std::string x_r, x_w, x_k, x_v, x_a, x_g;  ///< Tensors of [hidden]: how much each reads of the
                                             ///< token before.
  std::string k_k, k_a, r_k;                 ///< Tensors of [heads, head_dim].
  NormSpec norm;                             ///< Of each head's outputs.
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
};

/// value(relu(key(x))^2), of x mixed with that of the token before.
struct ChannelMixSpec {
  std::string key, value;  ///< Linear modules.
  std::string x_k;         ///< A tensor of [hidden].
  std::int64_t hidden = 0;
};

/// Makes an input for every layer from the token and its embedding, for the blocks after it:
/// (embedding[token] * embedding_scale + norm(projection(x) * projection_scale)) * scale.
/// Passes x on.
struct PerLayerInputsSpec {
  std::string embedding;   ///< Rows of `size` for each layer.
  std::string projection;  ///< A linear module with as many outputs.
  NormSpec norm;
  std::int64_t vocabulary = 0;  ///< Rows of the embedding; tokens beyond take the first.
  std::int64_t layers = 0;
  std::int64_t size = 0;
  double embedding_scale = 1;
  double projection_scale = 1;
  double scale = 1;
};

/// projection(activation(gate(x)) * the layer's own input).
struct PerLayerGateSpec {
  std::string gate, projection;  ///< Linear modules.
  Activation activation = Activation::kGeluTanh;
};

/// x + norm(right(left(x))): a residual of low rank (Gemma 3n).
struct LaurelSpec {
  std::string left, right;  ///< Linear modules.
  NormSpec norm;
};

/// Alternating updates (Baykal et al. 2023, arXiv 2301.13310): several streams, of which the layers
/// compute one and predict the others.
struct AltUpSpec {
  enum class Does : std::uint8_t {
    kStart,    ///< Makes streams from x.
    kPredict,  ///< Mixes them; x becomes the active one.
    kCorrect,  ///< Corrects them by what the layer made of x.
    kEnd,      ///< x becomes their mean.
  };
  Does does = Does::kStart;
  std::int64_t streams = 0;
  std::int64_t active = 0;
  std::vector<std::string> projections;  ///< Start and end: of all streams but the first.
  std::string router;                    ///< Predict and correct: a linear module [streams, hidden]
  NormSpec router_norm;                  ///< after this norm, and
  std::string coefficients;              ///< one of [streams or their square, streams].
  std::string output_scale;  ///< Correct: a tensor [hidden] that the active stream is multiplied by
  std::optional<PerLayerGateSpec> per_layer_gate;  ///< before this
  NormSpec post;                                   ///< and this, added to the others.
};

}  // namespace mlxmill::architectures

#include "runtime/network.h"

#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

mx::array times(const mx::array& x, double factor) {
  return factor == 1 ? x : mx::multiply(x, scalar(factor, x));
}

}  // namespace

Result<Network> Network::build(const architectures::Forward& forward, const Weights& weights) {
  MLXMILL_ASSIGN(Linear embedding, weights.linear(forward.embedding.path));
  MLXMILL_ASSIGN(Linear head, weights.linear(forward.head.path));
  Network network(forward, std::move(embedding), std::move(head));
  network.forward_.layers.clear();
  if (!forward.embedding.positions.empty()) {
    MLXMILL_ASSIGN(network.positions_, weights.linear(forward.embedding.positions));
  }
  MLXMILL_ASSIGN(network.embedding_norm_, weights.norm(forward.embedding.norm));
  MLXMILL_ASSIGN(network.norm_, weights.norm(forward.norm));
  for (const architectures::LayerSpec& layer : forward.layers) {
    std::vector<Step> steps;
    for (const architectures::StepSpec& spec : layer) {
      Step step;
      MLXMILL_ASSIGN(step.pre, weights.norm(spec.pre));
      MLXMILL_ASSIGN(step.block, make_block(spec.block, weights));
      MLXMILL_ASSIGN(step.post, weights.norm(spec.post));
      step.scale = spec.scale;
      step.keep = spec.keep;
      step.keeps_normed = spec.keeps_normed;
      step.parallel = spec.parallel;
      if (!spec.scaled_by.empty()) {
        MLXMILL_ASSIGN(step.scaled_by, weights.tensor(spec.scaled_by));
      }
      steps.push_back(std::move(step));
    }
    network.steps_.push_back(std::move(steps));
  }
  network.float_type_ = weights.float_type(forward.embedding.path);
  return network;
}

mx::array Network::embed(const mx::array& ids, int offset) const {
  mx::array x = rows(embedding_, ids, float_type_);
  x = times(x, forward_.embedding.scale);
  if (positions_) {
    const int first = offset + static_cast<int>(forward_.embedding.position_offset);
    x = mx::add(x, rows(*positions_, mx::arange(first, first + ids.shape(1)), float_type_));
  }
  return embedding_norm_(x);
}

mx::array Network::layers(std::span<const std::int32_t> ids, int offset, States& states) const {
  const mx::array tokens(ids.data(), {1, static_cast<int>(ids.size())}, mx::int32);
  Pass pass;
  pass.offset = offset;
  pass.length = static_cast<int>(ids.size());
  pass.ids = &tokens;
  mx::array x = settled(embed(tokens, offset));
  std::size_t state = 0;
  for (std::size_t layer = 0; layer < steps_.size(); ++layer) {
    pass.layer = static_cast<std::int64_t>(layer);
    mx::array read = x;
    for (const Step& step : steps_[layer]) {
      if (!step.parallel) read = x;
      const mx::array input = step.pre(read);
      pass.state = states[state++].get();
      const mx::array y = step.post(step.block->run(input, pass));
      x = sum(times(step.keeps_normed ? input : x, step.keep), times(y, step.scale));
      if (step.scaled_by) x = mx::multiply(x, *step.scaled_by);
    }
  }
  return x;
}

void Network::advance(std::span<const std::int32_t> ids, int offset, States& states) const {
  layers(ids, offset, states);
}

mx::array Network::run(std::span<const std::int32_t> ids, int offset, States& states,
                       bool all) const {
  mx::array x = layers(ids, offset, states);
  if (!all) x = section(x, 1, x.shape(1) - 1, x.shape(1));
  mx::array logits = times(apply(head_, norm_(x)), forward_.head.scale);
  if (forward_.head.softcap != 0) logits = softcap(logits, forward_.head.softcap);
  logits = reshaped(logits, {logits.shape(1), logits.shape(2)});
  return computes_on_cpu(logits) ? widened_on_cpu(logits) : mx::astype(logits, mx::float32);
}

States Network::new_states(const StateOptions& options) const {
  States states;
  for (const std::vector<Step>& layer : steps_) {
    for (const Step& step : layer) states.push_back(step.block->new_state(options));
  }
  return states;
}

}  // namespace mlxmill::runtime

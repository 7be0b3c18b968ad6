// Alternating updates: streams [1, length, streams, hidden] beside the one that layers compute.
#include "runtime/block.h"
#include "runtime/per_layer.h"

namespace mlxmill::runtime {
namespace {

using architectures::AltUpSpec;
using Does = AltUpSpec::Does;

mx::array magnitude(const mx::array& x, float least) {
  const mx::array mean = mx::mean(mx::square(x), -1, /*keepdims=*/true);
  return mx::sqrt(mx::maximum(mean, mx::array(least, x.dtype())));
}

class AltUp final : public Block {
 public:
  explicit AltUp(const AltUpSpec& spec) : spec_(spec) {}

  Status build(const Weights& weights) {
    for (const std::string& path : spec_.projections) {
      MLXMILL_ASSIGN(Linear projection, weights.linear(path));
      projections_.push_back(std::move(projection));
    }
    if (!spec_.router.empty()) {
      MLXMILL_ASSIGN(router_, weights.linear(spec_.router));
      MLXMILL_ASSIGN(coefficients_, weights.linear(spec_.coefficients));
    }
    MLXMILL_ASSIGN(router_norm_, weights.norm(spec_.router_norm));
    MLXMILL_ASSIGN(post_, weights.norm(spec_.post));
    if (!spec_.output_scale.empty()) {
      MLXMILL_ASSIGN(output_scale_, weights.tensor(spec_.output_scale));
    }
    if (spec_.per_layer_gate) {
      MLXMILL_ASSIGN(gate_, PerLayerGate::build(*spec_.per_layer_gate, weights));
    }
    return {};
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    switch (spec_.does) {
      case Does::kStart:
        start(x, pass);
        break;
      case Does::kPredict:
        predict(pass);
        break;
      case Does::kCorrect:
        correct(x, pass);
        break;
      case Does::kEnd:
        return end(pass);
    }
    return stream(pass, static_cast<int>(spec_.active));
  }

 private:
  static mx::array stream(const Pass& pass, int k) { return mx::take(*pass.streams, k, 2); }

  /// A projection of x, as long as `like` is.
  mx::array projected(std::size_t k, const mx::array& x, const mx::array& like) const {
    const mx::array y = apply(projections_[k], x);
    return mx::divide(mx::multiply(y, magnitude(like, 0)), magnitude(y, 1e-5F));
  }

  void start(const mx::array& x, Pass& pass) const {
    std::vector<mx::array> streams{x};
    for (std::size_t k = 0; k < projections_.size(); ++k) streams.push_back(projected(k, x, x));
    pass.streams = mx::stack(streams, 2);
  }

  /// Of what kind each token is, [1, length, streams] in float32.
  mx::array kinds(const mx::array& x) const {
    const mx::array input = mx::multiply(router_norm_(x), scalar(1.0 / x.shape(-1), x));
    return mx::tanh(mx::astype(apply(*router_, input), mx::float32));
  }

  void predict(Pass& pass) const {
    const auto n = static_cast<int>(spec_.streams);
    const mx::array streams = mx::astype(*pass.streams, mx::float32);
    const mx::array mixing =
        mx::reshape(apply(*coefficients_, kinds(stream(pass, static_cast<int>(spec_.active)))),
                    {1, pass.length, n, n});
    pass.streams = mx::astype(mx::add(streams, mx::matmul(mixing, streams)), pass.streams->dtype());
  }

  void correct(const mx::array& x, Pass& pass) const {
    const auto active = static_cast<int>(spec_.active);
    const mx::array news = mx::expand_dims(mx::subtract(x, stream(pass, active)), 2);
    mx::array share = apply(*coefficients_, kinds(x));
    share = mx::expand_dims(mx::add(share, mx::array(1.0F)), -1);
    pass.streams = mx::astype(mx::add(*pass.streams, mx::multiply(news, share)), x.dtype());
    if (!gate_) return;
    mx::array first = stream(pass, active);
    if (output_scale_) first = mx::multiply(first, *output_scale_);
    first = mx::expand_dims(post_((*gate_)(first, pass)), 2);
    // All streams but the first one get it.
    const mx::array others = mx::greater(mx::arange(static_cast<int>(spec_.streams)), mx::array(0));
    const mx::array which = mx::reshape(mx::astype(others, x.dtype()), {1, 1, -1, 1});
    pass.streams = mx::add(*pass.streams, mx::multiply(first, which));
  }

  mx::array end(const Pass& pass) const {
    const mx::array first = stream(pass, 0);
    mx::array sum = first;
    for (std::size_t k = 0; k < projections_.size(); ++k) {
      sum = mx::add(sum, projected(k, stream(pass, static_cast<int>(k) + 1), first));
    }
    return mx::multiply(sum, scalar(1.0 / static_cast<double>(spec_.streams), sum));
  }

  AltUpSpec spec_;
  std::vector<Linear> projections_;
  std::optional<Linear> router_, coefficients_;
  Norm router_norm_, post_;
  std::optional<mx::array> output_scale_;
  std::optional<PerLayerGate> gate_;
};

}  // namespace

Result<BlockPointer> make_block(const AltUpSpec& spec, const Weights& weights) {
  auto block = std::make_unique<AltUp>(spec);
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

}  // namespace mlxmill::runtime

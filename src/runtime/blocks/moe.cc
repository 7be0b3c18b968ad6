// A mixture of experts: the router chooses, the chosen compute, their results are summed by weight.
#include "runtime/block.h"
#include "runtime/mlp.h"
#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

using architectures::MoeSpec;
using architectures::RouterSpec;

/// Below so many choices sorting them by expert costs more than it saves.
constexpr std::size_t kSortFrom = 64;

/// Which experts, and how much of each: [tokens, top].
struct Routes {
  mx::array experts;
  mx::array weights;
};

class Router {
 public:
  static Result<Router> build(const RouterSpec& spec, const Weights& weights) {
    MLXMILL_ASSIGN(Linear linear, weights.linear(spec.linear));
    Router router(spec, std::move(linear));
    if (!spec.correction.empty()) {
      MLXMILL_ASSIGN(router.correction_, weights.tensor(spec.correction));
    }
    MLXMILL_ASSIGN(router.norm_, weights.norm(spec.norm));
    if (!spec.input_scale.empty()) {
      MLXMILL_ASSIGN(router.input_scale_, weights.tensor(spec.input_scale));
    }
    if (!spec.expert_scale.empty()) {
      MLXMILL_ASSIGN(router.expert_scale_, weights.tensor(spec.expert_scale));
    }
    return router;
  }

  /// x [tokens, hidden].
  Routes operator()(const mx::array& x) const {
    Routes routes = choose(input(x));
    if (expert_scale_) {
      routes.weights = mx::multiply(routes.weights, mx::take(*expert_scale_, routes.experts, 0));
    }
    return routes;
  }

 private:
  mx::array input(const mx::array& x) const {
    mx::array result = norm_(x);
    if (input_scale_) result = mx::multiply(result, *input_scale_);
    return spec_.input_factor == 1 ? result : mx::multiply(result, scalar(spec_.input_factor, x));
  }

  Routes choose(const mx::array& x) const {
    mx::array logits =
        spec_.float32 ? apply(linear_, mx::astype(x, mx::float32)) : apply(linear_, x);
    const auto top = static_cast<int>(spec_.top);
    if (spec_.softcap != 0) logits = softcap(mx::astype(logits, mx::float32), spec_.softcap);
    if (spec_.scores == RouterSpec::Scores::kSparsemixer) return sparsemixer(logits);
    if (spec_.scores == RouterSpec::Scores::kSoftmaxOfChosen) {
      const mx::array chosen = best(logits, top);
      const mx::array of_chosen = mx::take_along_axis(logits, chosen, -1);
      return {chosen, scaled(mx::softmax(of_chosen, -1, /*precise=*/true))};
    }
    const mx::array scores = scores_of(logits);
    mx::array ranked = correction_ ? mx::add(scores, *correction_) : scores;
    if (spec_.groups > 1) ranked = within_best_groups(ranked);
    const mx::array chosen = best(ranked, top);
    mx::array weights = mx::take_along_axis(scores, chosen, -1);
    if (spec_.normalize) {
      const mx::array sum = mx::sum(weights, -1, /*keepdims=*/true);
      weights = mx::divide(weights, mx::add(sum, scalar(spec_.epsilon, sum)));
    }
    return {chosen, scaled(weights)};
  }

  Router(const RouterSpec& spec, Linear linear) : spec_(spec), linear_(std::move(linear)) {}

  mx::array scores_of(const mx::array& logits) const {
    if (spec_.scores == RouterSpec::Scores::kSoftmax) {
      return mx::softmax(logits, -1, /*precise=*/true);
    }
    const mx::array wide = mx::astype(logits, mx::float32);
    return spec_.scores == RouterSpec::Scores::kSigmoid
               ? mx::sigmoid(wide)
               : mx::sqrt(activate(Activation::kSoftplus, wide));
  }

  /// Source: transformers modeling_phimoe.py, sparsemixer outside of training.
  Routes sparsemixer(const mx::array& logits) const {
    const mx::array low = scalar(-std::numeric_limits<float>::infinity(), logits);
    mx::array rest = logits;
    std::vector<mx::array> chosen;
    std::vector<mx::array> weights;
    for (std::int64_t k = 0; k < spec_.top; ++k) {
      const mx::array best = mx::argmax(rest, -1, /*keepdims=*/true);
      const mx::array highest = mx::take_along_axis(rest, best, -1);
      const mx::array size = mx::maximum(mx::abs(logits), highest);
      const mx::array below = mx::divide(mx::subtract(highest, logits), size);
      const mx::array out = mx::greater(below, scalar(2 * spec_.jitter, below));
      const mx::array share = mx::softmax(mx::where(out, low, rest), -1, /*precise=*/true);
      chosen.push_back(best);
      weights.push_back(mx::take_along_axis(share, best, -1));
      rest = mx::put_along_axis(rest, best, low, -1);
    }
    return {mx::concatenate(chosen, -1), scaled(mx::concatenate(weights, -1))};
  }

  /// Indices of the largest `top` of each row.
  static mx::array best(const mx::array& x, int top) {
    const mx::array order = mx::argpartition(mx::negative(x), top - 1, -1);
    return mx::slice(order, {0, 0}, {x.shape(0), top});
  }

  mx::array scaled(const mx::array& weights) const {
    return spec_.scale == 1 ? weights : mx::multiply(weights, scalar(spec_.scale, weights));
  }

  /// Scores outside of the best groups become -infinity.
  mx::array within_best_groups(const mx::array& scores) const {
    const int tokens = scores.shape(0);
    const auto groups = static_cast<int>(spec_.groups);
    const mx::array split = mx::reshape(scores, {tokens, groups, -1});
    const mx::array merit = mx::sum(mx::topk(split, static_cast<int>(spec_.group_members), -1), -1);
    const int worst = groups - static_cast<int>(spec_.top_groups);
    if (worst == 0) return scores;
    const mx::array order = mx::argpartition(merit, worst - 1, -1);
    const mx::array left_out = mx::expand_dims(mx::slice(order, {0, 0}, {tokens, worst}), -1);
    const mx::array low = scalar(-std::numeric_limits<float>::infinity(), scores);
    return mx::reshape(mx::put_along_axis(split, left_out, low, 1), scores.shape());
  }

  RouterSpec spec_;
  Linear linear_;
  std::optional<mx::array> correction_, input_scale_, expert_scale_;
  Norm norm_;
};

class Moe final : public Block {
 public:
  Moe(const MoeSpec& spec, Router router, Linear down)
      : spec_(spec), router_(std::move(router)), down_(std::move(down)) {}

  Status build(const Weights& weights) {
    MLXMILL_ASSIGN(gate_, weights.linear_if(spec_.experts.gate));
    MLXMILL_ASSIGN(up_, weights.linear_if(spec_.experts.up));
    MLXMILL_ASSIGN(gate_up_, weights.linear_if(spec_.experts.gate_up));
    MLXMILL_ASSIGN(shared_gate_, weights.linear_if(spec_.shared_gate));
    MLXMILL_ASSIGN(experts_in_, weights.linear_if(spec_.experts_in));
    MLXMILL_ASSIGN(experts_out_, weights.linear_if(spec_.experts_out));
    MLXMILL_ASSIGN(experts_pre_, weights.norm(spec_.experts_pre));
    MLXMILL_ASSIGN(experts_post_, weights.norm(spec_.experts_post));
    MLXMILL_ASSIGN(shared_pre_, weights.norm(spec_.shared_pre));
    MLXMILL_ASSIGN(shared_post_, weights.norm(spec_.shared_post));
    if (spec_.shared) {
      MLXMILL_ASSIGN(shared_, Mlp::build(*spec_.shared, weights));
    }
    return {};
  }

  mx::array run(const mx::array& x, Pass& /*pass*/) const override {
    const mx::array tokens = reshaped(x, {-1, x.shape(-1)});
    Routes routes = router_(tokens);
    settle({routes.experts, routes.weights});
    mx::array rows = experts_pre_(tokens);
    if (experts_in_) rows = apply(*experts_in_, rows);
    mx::array y = mx::astype(experts(rows, routes), x.dtype());
    if (experts_out_) y = apply(*experts_out_, y);
    y = experts_post_(y);
    if (shared_) {
      mx::array shared = shared_post_((*shared_)(shared_pre_(tokens)));
      if (shared_gate_) shared = mx::multiply(shared, mx::sigmoid(apply(*shared_gate_, tokens)));
      y = mx::add(y, shared);
    }
    return reshaped(settled(y), x.shape());
  }

 private:
  /// [tokens, hidden] of all chosen experts, weighted and summed.
  mx::array experts(const mx::array& x, const Routes& routes) const {
    const int n = x.shape(0);
    const auto top = static_cast<int>(spec_.router.top);
    const mx::array weights = mx::reshape(routes.weights, {n * top, 1});
    if (routes.experts.size() < kSortFrom && !spec_.scale_input) {
      // Each row meets all of its experts.
      const mx::array y = each(reshaped(x, {n, 1, 1, x.shape(1)}), routes.experts, false);
      return mx::sum(mx::multiply(reshaped(y, {n, top, -1}), reshaped(routes.weights, {n, top, 1})),
                     1);
    }
    mx::array indices = mx::flatten(routes.experts);
    mx::array from = mx::floor_divide(mx::arange(n * top), mx::array(top));
    const bool sorts = indices.size() >= kSortFrom;
    std::optional<mx::array> back;
    if (sorts) {
      const mx::array order = mx::argsort(indices);
      back = mx::argsort(order);
      indices = mx::take(indices, order);
      from = mx::take(from, order);
    }
    mx::array rows = mx::take(x, from, 0);
    if (spec_.scale_input) {
      const mx::array factor = back ? mx::take(weights, mx::argsort(*back), 0) : weights;
      rows = mx::multiply(rows, mx::astype(factor, rows.dtype()));
    }
    mx::array y = each(mx::expand_dims(rows, 1), indices, sorts);
    y = mx::squeeze(y, 1);
    if (back) y = mx::take(y, *back, 0);
    if (!spec_.scale_input) y = mx::multiply(y, weights);
    return mx::sum(mx::reshape(y, {n, top, -1}), 1);
  }

  /// Rows [..., 1, hidden], each through its experts: as apply_gathered.
  mx::array each(const mx::array& x, const mx::array& indices, bool sorted) const {
    const auto through = [&](const Linear& layer, const mx::array& rows) {
      return apply_gathered(layer, rows, indices, sorted);
    };
    if (!gate_ && !gate_up_) {
      return through(down_, activate(spec_.experts.activation, through(*up_, x)));
    }
    std::optional<mx::array> gate;
    std::optional<mx::array> up;
    if (gate_up_) {
      const mx::array both = through(*gate_up_, x);
      const int half = both.shape(-1) / 2;
      const mx::array first = section(both, -1, 0, half);
      const mx::array second = section(both, -1, half, 2 * half);
      gate = spec_.experts.up_first ? second : first;
      up = spec_.experts.up_first ? first : second;
    } else {
      gate = through(*gate_, x);
      up = through(*up_, x);
    }
    return through(down_, gated(spec_.experts, *gate, *up));
  }

  MoeSpec spec_;
  Router router_;
  std::optional<Linear> gate_, up_, gate_up_, shared_gate_, experts_in_, experts_out_;
  Linear down_;
  std::optional<Mlp> shared_;
  Norm experts_pre_, experts_post_, shared_pre_, shared_post_;
};

}  // namespace

Result<BlockPointer> make_block(const MoeSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Router router, Router::build(spec.router, weights));
  MLXMILL_ASSIGN(Linear down, weights.linear(spec.experts.down));
  auto block = std::make_unique<Moe>(spec, std::move(router), std::move(down));
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

}  // namespace mlxmill::runtime

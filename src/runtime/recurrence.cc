#include "runtime/recurrence.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace mlxmill::runtime {
namespace {

mx::array transposed(const mx::array& x) { return mx::swapaxes(x, -1, -2); }

/// The tokens of a chunk see each other through matrices, so that only one step a chunk waits for
/// the one before. With P_t the product of the decays up to t, in a chunk
///   u_t = state_(t-1) a_t = state_0 (P_(t-1) a_t) + sum over s < t of
///         (b_s . P_(t-1) / P_s a_t) u_s + (k_s . P_(t-1) / P_s a_t) v_s,
/// which is linear in all u of the chunk: one triangular system for all of them.
class Chunks {
 public:
  /// Decays over so many tokens are above 6e-5, so that 1 / P loses nothing.
  static constexpr int kMost = 16;

  explicit Chunks(const Recurrence& in)
      : length_(in.r.shape(1)),
        size_(std::min(kMost, length_)),
        n_((length_ + size_ - 1) / size_),
        v_(split(in.v)) {
    const mx::array w_log = split(in.w_log);
    const mx::array sums = mx::cumsum(w_log, 2);
    const mx::array p = mx::exp(sums);
    const mx::array before = mx::exp(mx::subtract(sums, w_log));
    const mx::array back = mx::exp(mx::negative(sums));
    const mx::array a = mx::multiply(split(in.a), before);
    const mx::array b = mx::multiply(split(in.b), back);
    const mx::array k = mx::multiply(split(in.k), back);
    r_ = mx::multiply(split(in.r), p);
    const mx::array solved = inverse(mx::tril(mx::matmul(a, transposed(b)), -1));
    const mx::array from_k = mx::tril(mx::matmul(a, transposed(k)), -1);
    of_state_ = mx::matmul(solved, a);
    of_values_ = mx::matmul(solved, mx::matmul(from_k, v_));
    by_b_ = mx::tril(mx::matmul(*r_, transposed(b)));
    by_k_ = mx::tril(mx::matmul(*r_, transposed(k)));
    decay_ = mx::slice(p, {0, 0, size_ - 1, 0}, p.shape());
    b_end_ = mx::multiply(b, *decay_);
    added_ = mx::matmul(transposed(v_), mx::multiply(k, *decay_));
  }

  /// y [heads, tokens, size]; the state moves on.
  mx::array run(mx::array& state) const {
    std::vector<mx::array> states;
    std::vector<mx::array> removed;
    for (int c = 0; c < n_; ++c) {
      const auto at = [&](const std::optional<mx::array>& x) { return mx::take(*x, c, 1); };
      const mx::array u = mx::add(mx::matmul(at(of_state_), transposed(state)), at(of_values_));
      states.push_back(state);
      removed.push_back(u);
      state = mx::add(mx::multiply(state, at(decay_)),
                      mx::add(mx::matmul(transposed(u), at(b_end_)), at(added_)));
    }
    mx::array y = mx::matmul(*r_, transposed(mx::stack(states, 1)));
    y = mx::add(y, mx::matmul(*by_b_, mx::stack(removed, 1)));
    y = mx::add(y, mx::matmul(*by_k_, v_));
    y = mx::reshape(y, {y.shape(0), n_ * size_, y.shape(3)});
    return mx::slice(y, {0, 0, 0}, {y.shape(0), length_, y.shape(2)});
  }

 private:
  /// [heads, chunks, tokens, size]. Zeros behind the end change nothing: they decay nothing (w_log
  /// is 0) and add nothing.
  mx::array split(const mx::array& x) const {
    mx::array all = x;
    if (const int missing = n_ * size_ - length_; missing > 0) {
      const mx::array zeros = mx::zeros({x.shape(0), missing, x.shape(2)}, x.dtype());
      all = mx::concatenate({x, zeros}, 1);
    }
    return mx::reshape(all, {x.shape(0), n_, size_, x.shape(2)});
  }

  /// (1 - m)^-1 of strictly lower triangular matrices, from blocks of 1 to blocks of twice the size
  /// at a time: what lies below the diagonal between two inverted blocks becomes
  /// lower^-1 m upper^-1. Unlike a sum of powers of m, nothing in it grows.
  mx::array inverse(const mx::array& m) const {
    const mx::array rows = mx::reshape(mx::arange(size_), {size_, 1});
    const mx::array columns = mx::reshape(mx::arange(size_), {1, size_});
    mx::array result = mx::eye(size_);
    for (int block = 1; block < size_; block *= 2) {
      const auto number = [&](const mx::array& i) { return mx::floor_divide(i, mx::array(block)); };
      const mx::array odd = mx::equal(mx::remainder(number(rows), mx::array(2)), mx::array(1));
      const mx::array left = mx::equal(number(columns), mx::subtract(number(rows), mx::array(1)));
      const mx::array between = mx::where(mx::logical_and(odd, left), m, mx::array(0.0F));
      result = mx::add(result, mx::matmul(mx::matmul(result, between), result));
    }
    return result;
  }

  int length_, size_, n_;
  mx::array v_;
  std::optional<mx::array> r_, of_state_, of_values_, by_b_, by_k_, decay_, b_end_, added_;
};

}  // namespace

mx::array recur_by_token(const Recurrence& in, mx::array& state) {
  std::vector<mx::array> outputs;
  const int length = in.r.shape(1);
  for (int t = 0; t < length; ++t) {
    const auto at = [&](const mx::array& x) {
      return length == 1 ? x : mx::slice(x, {0, t, 0}, {x.shape(0), t + 1, x.shape(2)});
    };
    const mx::array removed = mx::matmul(state, transposed(at(in.a)));
    const mx::array added = mx::matmul(transposed(at(in.v)), at(in.k));
    state = mx::add(mx::multiply(state, mx::exp(at(in.w_log))),
                    mx::add(mx::matmul(removed, at(in.b)), added));
    outputs.push_back(transposed(mx::matmul(state, transposed(at(in.r)))));
  }
  return length == 1 ? outputs[0] : mx::concatenate(outputs, 1);
}

mx::array recur_by_chunks(const Recurrence& in, mx::array& state) { return Chunks(in).run(state); }

}  // namespace mlxmill::runtime

// Attention on every SIMD target, in F32. Rows of queries that share a key head are taken together:
// keys are transposed once for all of them, so that scores of many keys fill a vector.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/active_target.h"
#include "kernels/ref/decoder.h"
#include "kernels/sigmoid-inl.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

constexpr std::size_t kRows = 4;           // Rows of queries in registers.
constexpr std::size_t kPair = 2 * kLanes;  // Keys, or elements of values, in registers.
constexpr std::size_t kKeys = 64;          // Keys transposed at a time.
static_assert(kKeys % kPair == 0);

/// The keys that a token sees lie in [first, last); `all`: and no other lies there.
struct Seen {
  std::size_t first, last;
  bool all;
};

Seen seen_by(const Attention& a, std::size_t token) {
  if (a.mask == nullptr) return {0, a.n, true};
  const bool* mask = a.mask + token * a.n;
  const auto first = static_cast<std::size_t>(std::find(mask, mask + a.n, true) - mask);
  std::size_t last = a.n;
  while (last > first && !mask[last - 1]) --last;
  const bool all = std::find(mask + first, mask + last, false) == mask + last;
  return {first, last, all};
}

/// What a task works in.
struct Memory {
  std::vector<float> queries, keys, values, scores, sums, factors;
  std::vector<Seen> seen;
};

/// Adds a[r] times b's rows: y[r][c] += sum over k of a[r][k] b[k][c], for kRows rows and kPair
/// columns; b of kType.
template <DType kType>
HWY_INLINE void add_products(const float* a, std::size_t a_step, const std::uint8_t* b,
                             std::size_t b_step, std::size_t n, float* y, std::size_t y_step) {
  Floats sum[kRows][2];
  for (std::size_t r = 0; r < kRows; ++r) {
    sum[r][0] = hn::LoadU(FloatTag(), y + r * y_step);
    sum[r][1] = hn::LoadU(FloatTag(), y + r * y_step + kLanes);
  }
  for (std::size_t k = 0; k < n; ++k) {
    const std::uint8_t* row = b + k * b_step * kBytes<kType>;
    const Floats b0 = load_floats<kType>(row);
    const Floats b1 = load_floats<kType>(row + kLanes * kBytes<kType>);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Floats x = set_float(a[r * a_step + k]);
      sum[r][0] = hn::MulAdd(x, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(x, b1, sum[r][1]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    hn::StoreU(sum[r][0], FloatTag(), y + r * y_step);
    hn::StoreU(sum[r][1], FloatTag(), y + r * y_step + kLanes);
  }
}

HWY_INLINE void add_products(const float* a, std::size_t a_step, const float* b, std::size_t b_step,
                             std::size_t n, float* y, std::size_t y_step) {
  add_products<DType::kF32>(a, a_step, reinterpret_cast<const std::uint8_t*>(b), b_step, n, y,
                            y_step);
}

/// scores[r] = the sum over d of a[r][d] key[d], for kRows rows; n is a multiple of kLanes.
template <DType kType>
HWY_INLINE void dot_products(const float* a, std::size_t n, const std::uint8_t* key, float* scores,
                             std::size_t step) {
  Floats sum[kRows];
  for (Floats& s : sum) s = hn::Zero(FloatTag());
  for (std::size_t d = 0; d < n; d += kLanes) {
    const Floats k = load_floats<kType>(key + d * kBytes<kType>);
    for (std::size_t r = 0; r < kRows; ++r) {
      sum[r] = hn::MulAdd(hn::LoadU(FloatTag(), a + r * n + d), k, sum[r]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    scores[r * step] = hn::GetLane(hn::SumOfLanes(FloatTag(), sum[r]));
  }
}

/// One row of scores to weights that are not divided by their sum, 0 for keys that are not seen.
/// Returns what they are to be multiplied with.
float soften(const Attention& a, std::size_t token, const Seen& seen, const float* sink,
             float* scores, std::size_t from, std::size_t to) {
  const bool* mask = a.mask != nullptr ? a.mask + token * a.n : nullptr;
  const float lowest = -std::numeric_limits<float>::infinity();
  std::fill(scores, scores + (seen.first - from), 0.0f);
  std::fill(scores + (seen.last - from), scores + (to - from), 0.0f);
  float* s = scores + (seen.first - from);
  const std::size_t n = seen.last - seen.first;
  for (std::size_t j = 0; j < n && a.softcap != 0; ++j)
    s[j] = a.softcap * std::tanh(s[j] / a.softcap);
  for (std::size_t j = 0; j < n && !seen.all; ++j) s[j] = mask[seen.first + j] ? s[j] : lowest;
  float most = sink != nullptr ? *sink : lowest;
  Floats mosts = set_float(most);
  std::size_t j = 0;
  for (; j + kLanes <= n; j += kLanes) mosts = hn::Max(mosts, hn::LoadU(FloatTag(), s + j));
  most = hn::GetLane(hn::MaxOfLanes(FloatTag(), mosts));
  for (; j < n; ++j) most = std::max(most, s[j]);
  // Highway may take the lowest finite number for infinity.
  if (most <= std::numeric_limits<float>::lowest()) {
    std::fill_n(s, n, 0.0f);
    return 0;
  }
  Floats sums = hn::Zero(FloatTag());
  for (j = 0; j + kLanes <= n; j += kLanes) {
    const Floats e = hn::Exp(FloatTag(), hn::Sub(hn::LoadU(FloatTag(), s + j), set_float(most)));
    hn::StoreU(e, FloatTag(), s + j);
    sums = hn::Add(sums, e);
  }
  float sum = hn::GetLane(hn::SumOfLanes(FloatTag(), sums));
  for (; j < n; ++j) sum += s[j] = std::exp(s[j] - most);
  if (sink != nullptr) sum += std::exp(*sink - most);
  return 1 / sum;
}

class Task {
 public:
  Task(const Attention& a, const AttentionRows& rows, Memory& memory)
      : a_(a),
        rows_(rows),
        m_(memory),
        count_(rows.last - rows.first),
        padded_rows_(round_up(count_, kRows)),
        value_cols_(round_up(a.value_size, kPair)) {}

  void run() {
    load_queries();
    find_seen();
    if (!reads_in_place()) {
      score();
      soften_rows();
      sum_values();
    } else if (a_.type == DType::kBF16) {
      run_in_place<DType::kBF16>();
    } else if (a_.type == DType::kF16) {
      run_in_place<DType::kF16>();
    } else {
      run_in_place<DType::kF32>();
    }
    store();
  }

 private:
  void load_queries() {
    m_.queries.assign(padded_rows_ * round_up(a_.size, 16) + 16, 0.0f);
    for (std::size_t r = 0; r < count_; ++r) {
      float* to = m_.queries.data() + r * a_.size;
      // What widen pads is overwritten by the next row.
      widen(a_.type, element(a_.queries, a_.type, query_index(a_, rows_.kv_head, rows_.first + r)),
            a_.size, to);
      for (std::size_t d = 0; d < a_.size; ++d) to[d] *= a_.scale;
    }
    std::fill(m_.queries.data() + count_ * a_.size, m_.queries.data() + padded_rows_ * a_.size,
              0.0f);
  }

  void find_seen() {
    const std::size_t group = attention_group(a_);
    m_.seen.clear();
    from_ = a_.n;
    std::size_t last = 0;
    for (std::size_t t = rows_.first / group; t <= (rows_.last - 1) / group; ++t) {
      m_.seen.push_back(seen_by(a_, t));
      if (m_.seen.back().first == m_.seen.back().last) continue;
      from_ = std::min(from_, m_.seen.back().first);
      last = std::max(last, m_.seen.back().last);
    }
    from_ = std::min(from_, last) / kKeys * kKeys;
    to_ = last;
    for (Seen& s : m_.seen) {
      if (s.first == s.last) s = {from_, from_, true};
    }
    score_cols_ = round_up(to_ - from_, kKeys);
  }

  void score() {
    m_.scores.resize(padded_rows_ * score_cols_);
    std::fill(m_.scores.begin(), m_.scores.end(), 0.0f);
    m_.keys.assign(a_.size * kKeys, 0.0f);
    std::vector<float>& row = m_.sums;
    row.resize(padded(a_.size));
    for (std::size_t k0 = from_; k0 < to_; k0 += kKeys) {
      for (std::size_t k = k0; k < std::min(k0 + kKeys, to_); ++k) {
        widen(a_.type, element(a_.keys, a_.type, rows_.kv_head * a_.key_step + k * a_.size),
              a_.size, row.data());
        float* to = m_.keys.data() + (k - k0);
        for (std::size_t d = 0; d < a_.size; ++d) to[d * kKeys] = row[d];
      }
      for (std::size_t r = 0; r < padded_rows_; r += kRows) {
        for (std::size_t k = 0; k < std::min(kKeys, to_ - k0); k += kPair) {
          add_products(m_.queries.data() + r * a_.size, a_.size, m_.keys.data() + k, kKeys, a_.size,
                       m_.scores.data() + r * score_cols_ + (k0 - from_) + k, score_cols_);
        }
      }
    }
  }

  /// Whether too few rows meet a key to make up for transposing it.
  bool reads_in_place() const {
    return count_ <= 16 && a_.size % kLanes == 0 && a_.value_size % kPair == 0;
  }

  template <DType kType>
  void run_in_place() {
    const auto place = [](const void* from, std::size_t at) {
      return static_cast<const std::uint8_t*>(from) + at * kBytes<kType>;
    };
    m_.scores.assign(padded_rows_ * score_cols_, 0.0f);
    for (std::size_t k = from_; k < to_; ++k) {
      const std::uint8_t* key = place(a_.keys, rows_.kv_head * a_.key_step + k * a_.size);
      for (std::size_t r = 0; r < padded_rows_; r += kRows) {
        dot_products<kType>(m_.queries.data() + r * a_.size, a_.size, key,
                            m_.scores.data() + r * score_cols_ + (k - from_), score_cols_);
      }
    }
    soften_rows();
    m_.sums.assign(padded_rows_ * value_cols_, 0.0f);
    const std::uint8_t* values =
        place(a_.values, rows_.kv_head * a_.value_step + from_ * a_.value_size);
    for (std::size_t r = 0; r < padded_rows_; r += kRows) {
      for (std::size_t c = 0; c < value_cols_; c += kPair) {
        add_products<kType>(m_.scores.data() + r * score_cols_, score_cols_,
                            values + c * kBytes<kType>, a_.value_size, to_ - from_,
                            m_.sums.data() + r * value_cols_ + c, value_cols_);
      }
    }
  }

  void soften_rows() {
    const std::size_t group = attention_group(a_);
    m_.factors.assign(padded_rows_, 0.0f);
    for (std::size_t r = 0; r < count_; ++r) {
      const std::size_t token = (rows_.first + r) / group;
      const std::size_t head = rows_.kv_head * group + (rows_.first + r) % group;
      const float sink = a_.sinks != nullptr ? ref::load(a_.type, a_.sinks, head) : 0;
      m_.factors[r] = soften(a_, token, m_.seen[token - rows_.first / group],
                             a_.sinks != nullptr ? &sink : nullptr,
                             m_.scores.data() + r * score_cols_, from_, from_ + score_cols_);
    }
  }

  void sum_values() {
    m_.sums.assign(padded_rows_ * value_cols_, 0.0f);
    m_.values.assign(kKeys * value_cols_ + 16, 0.0f);
    for (std::size_t k0 = from_; k0 < to_; k0 += kKeys) {
      const std::size_t now = std::min(kKeys, to_ - k0);
      for (std::size_t k = 0; k < now; ++k) {
        widen(a_.type,
              element(a_.values, a_.type, rows_.kv_head * a_.value_step + (k0 + k) * a_.value_size),
              a_.value_size, m_.values.data() + k * value_cols_);
      }
      for (std::size_t r = 0; r < padded_rows_; r += kRows) {
        for (std::size_t c = 0; c < value_cols_; c += kPair) {
          add_products(m_.scores.data() + r * score_cols_ + (k0 - from_), score_cols_,
                       m_.values.data() + c, value_cols_, now, m_.sums.data() + r * value_cols_ + c,
                       value_cols_);
        }
      }
    }
  }

  void store() {
    for (std::size_t r = 0; r < count_; ++r) {
      const std::size_t at = output_index(a_, rows_.kv_head, rows_.first + r);
      for (std::size_t d = 0; d < a_.value_size; ++d) {
        ref::store(a_.type, m_.sums[r * value_cols_ + d] * m_.factors[r], a_.y, at + d);
      }
    }
  }

  const Attention& a_;
  const AttentionRows& rows_;
  Memory& m_;
  std::size_t count_, padded_rows_, value_cols_;
  std::size_t from_ = 0, to_ = 0, score_cols_ = 0;
};

void attend_here(const Attention& a, const AttentionRows& rows) {
  record_target(HWY_TARGET);
  thread_local Memory memory;
  Task(a, rows, memory).run();
}

#else

void attend_here(const Attention& a, const AttentionRows& rows) {
  record_target(HWY_TARGET);
  ref::attend(a, rows);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {
namespace {

HWY_EXPORT(attend_here);

/// Rows of a task: so many that transposing keys pays, so few that their scores stay in a cache.
std::size_t rows_of_task(const Attention& a) {
  constexpr std::size_t kScores = 262144;
  return std::clamp<std::size_t>(kScores / std::max<std::size_t>(1, a.n), 8, 256);
}

}  // namespace

void attend(const Attention& a, base::ThreadPool& pool) {
  if (a.heads == 0 || a.kv_heads == 0 || a.length == 0) return;
  const std::size_t rows = attention_group(a) * a.length;
  const std::size_t task = rows_of_task(a);
  const std::size_t per_head = (rows + task - 1) / task;
  const auto run = [&](std::size_t i, int /*worker*/) {
    const std::size_t first = i % per_head * task;
    const AttentionRows part{i / per_head, first, std::min(rows, first + task)};
    HWY_DYNAMIC_DISPATCH(attend_here)(a, part);
  };
  // Few keys are done before another thread has come.
  constexpr std::size_t kWorthSharing = 16384;
  if (rows * a.n * a.size < kWorthSharing) {
    for (std::size_t i = 0; i < per_head * a.kv_heads; ++i) run(i, 0);
  } else {
    pool.run(per_head * a.kv_heads, run);
  }
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE

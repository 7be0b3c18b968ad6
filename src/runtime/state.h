// What blocks remember between passes: keys and values of attention, or arrays of any meaning.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "architectures/forward/state_bytes.h"
#include "runtime/linear.h"

namespace mlxmill::runtime {

/// How keys and values are kept.
struct StateOptions {
  mx::Dtype dtype = mx::bfloat16;  ///< Of activations.
  std::optional<int> kv_bits;      ///< Quantized with so many bits (affine); empty: as computed.
  int kv_group_size = 64;
  std::int64_t kv_start = 0;  ///< Tokens of a sequence from which on it is quantized.
  /// Positions that attention without a window keeps, 0: all. The first kKeptFirst of a sequence
  /// stay, the oldest of the others go.
  std::int64_t max_size = 0;
  int step = 512;  ///< Tokens that are appended at once, at most.
};

/// As mlx_lm.generate keeps them with --max-kv-size. Source: mlx_lm/models/cache.py
/// make_prompt_cache.
inline constexpr int kKeptFirst = 4;

/// The same for counting bytes.
architectures::StateFormat state_format(const StateOptions& options);

/// The memory of one block. Threads: one at a time.
class State {
 public:
  virtual ~State() = default;
  /// Everything held, as it lies in memory: evaluated after every pass.
  virtual std::vector<mx::array> held() const = 0;
  /// What has to be kept to go on later, in the order that restore() takes it.
  virtual std::vector<mx::array> arrays() const = 0;
  /// Takes over what arrays() gave after `tokens` tokens. False when it does not fit this block.
  virtual bool restore(std::vector<mx::array> arrays, std::int64_t tokens) = 0;
  /// Whether the last tokens can be forgotten; `trim` does it.
  virtual bool can_trim(std::int64_t tokens) const = 0;
  virtual void trim(std::int64_t tokens) = 0;
};

/// Keys and values that a pass attends to; with scales when quantized.
struct KeysValues {
  std::vector<mx::array> keys;  ///< [1, heads, n, size], or codes, scales, biases.
  std::vector<mx::array> values;
  std::optional<mx::array> index;  ///< [1, 1, n, size]: the indexer's keys, never quantized.
  int length = 0;                  ///< n: the last positions of the sequence.
  /// Of a cache of limited size: the keys lie in order, as far as several tokens see them, and a
  /// token sees the last `limit` of them. 0: they are all or those of a window.
  std::int64_t limit = 0;
  int bits = 0;  ///< 0: plain.
  int group_size = 0;
};

/// Grows in steps. With a window it forgets what no later token sees, so that its memory does not
/// depend on the length of the sequence.
class KvState final : public State {
 public:
  /// `window`: keys that a token sees, itself included; 0: all. `indexed`: an indexer's keys are
  /// kept beside them.
  KvState(const StateOptions& options, std::int64_t window, bool indexed = false);

  /// Adds keys [1, heads, length, size] and values, and an indexer's keys [1, 1, length, size] if
  /// indexed; gives those that these tokens may see.
  KeysValues append(const mx::array& keys, const mx::array& values,
                    const std::optional<mx::array>& index = std::nullopt);

  std::vector<mx::array> held() const override { return buffers_; }
  std::vector<mx::array> arrays() const override;
  bool restore(std::vector<mx::array> arrays, std::int64_t tokens) override;
  bool can_trim(std::int64_t tokens) const override;
  void trim(std::int64_t tokens) override;

 private:
  std::vector<mx::array> quantized(const mx::array& x) const;
  void quantize_from_now_on();
  void make_room(int length);
  int forget_oldest(int length);
  bool is_limited() const { return options_.max_size > 0 && window_ == 0; }
  mx::array in_order(const mx::array& buffer) const;

  StateOptions options_;
  std::int64_t window_;
  bool indexed_;
  std::vector<mx::array> buffers_;  ///< Of keys, of values, of the index; tokens along axis 2.
  int size_ = 0;                    ///< Tokens in the buffers.
  std::int64_t dropped_ = 0;        ///< Tokens before them.
  bool has_codes_ = false;          ///< Whether keys and values in the buffers are quantized.
  int next_ = 0;  ///< The place in a full buffer of limited size that is written next.
};

/// A fixed number of arrays that replace each other.
class ArraysState final : public State {
 public:
  explicit ArraysState(std::size_t n) : arrays_(n) {}

  const std::optional<mx::array>& operator[](std::size_t i) const { return arrays_[i]; }
  void set(std::size_t i, mx::array value) { arrays_[i] = std::move(value); }

  std::vector<mx::array> held() const override { return arrays(); }
  std::vector<mx::array> arrays() const override;
  bool restore(std::vector<mx::array> arrays, std::int64_t tokens) override;
  bool can_trim(std::int64_t tokens) const override { return tokens == 0; }
  void trim(std::int64_t /*tokens*/) override {}

 private:
  std::vector<std::optional<mx::array>> arrays_;
};

}  // namespace mlxmill::runtime

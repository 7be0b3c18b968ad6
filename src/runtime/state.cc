#include "runtime/state.h"

#include "runtime/primitives/decoder.h"
#include "runtime/primitives/quantized.h"
#include "runtime/views.h"

#include <algorithm>

namespace mlxmill::runtime {
namespace {

/// Buffers grow by so many tokens at once.
constexpr int kStep = static_cast<int>(architectures::kStateStep);

/// Tokens [begin, end) of a buffer.
mx::array tokens_of(const mx::array& buffer, int begin, int end) {
  return section(buffer, 2, begin, end);
}

mx::array with_room(const mx::array& buffer, int more) {
  mx::Shape shape = buffer.shape();
  shape[2] = more;
  return settled(mx::concatenate({buffer, mx::zeros(shape, buffer.dtype())}, 2));
}

}  // namespace

architectures::StateFormat state_format(const StateOptions& options) {
  const std::int64_t most = options.max_size > 0 ? options.max_size - 1 + options.step : 0;
  const std::int64_t floats = options.kv_start > 0 ? options.kv_start - 1 + options.step : 0;
  return {mx::size_of(options.dtype), options.kv_bits, options.kv_group_size, most, floats};
}

KvState::KvState(const StateOptions& options, std::int64_t window, bool indexed)
    : options_(options),
      window_(window),
      indexed_(indexed),
      has_codes_(options.kv_bits && options.kv_start == 0) {}

std::vector<mx::array> KvState::quantized(const mx::array& x) const {
  if (!has_codes_) return {x};
  const Scheme scheme{Mode::kAffine, *options_.kv_bits, options_.kv_group_size};
  if (computes_on_cpu(x)) return quantize_on_cpu(x, scheme);
  return mx::quantize(x, options_.kv_group_size, *options_.kv_bits);
}

/// What was kept as floats becomes codes. Source: mlx_lm/generate.py maybe_quantize_kv_cache.
void KvState::quantize_from_now_on() {
  has_codes_ = true;
  std::vector<mx::array> buffers;
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    if (i < 2) {
      for (mx::array& part : quantized(settled(mx::contiguous(buffers_[i])))) {
        buffers.push_back(settled(std::move(part)));
      }
      buffers_[i] = mx::array(0);  // Codes and floats of one tensor at most are held at once.
    } else {
      buffers.push_back(buffers_[i]);
    }
  }
  buffers_ = std::move(buffers);
}

/// Forgets what is out of sight, once enough has gathered, and grows the buffers for `length` more.
void KvState::make_room(int length) {
  if (window_ > 0 && size_ >= window_ - 1 + kStep) {
    const int keep = static_cast<int>(window_ - 1);
    for (mx::array& buffer : buffers_) buffer = tokens_of(buffer, size_ - keep, size_);
    dropped_ += size_ - keep;
    size_ = keep;
  }
  const int capacity = buffers_[0].shape(2);
  if (size_ + length <= capacity) return;
  const int more = (size_ + length - capacity + kStep - 1) / kStep * kStep;
  for (mx::array& buffer : buffers_) buffer = with_room(buffer, more);
}

/// The tokens of a buffer in the order of their positions.
mx::array KvState::in_order(const mx::array& buffer) const {
  const bool turned =
      is_limited() && size_ == options_.max_size && next_ > kKeptFirst && next_ < size_;
  if (!turned) return tokens_of(buffer, 0, size_);
  return settled(mx::concatenate({tokens_of(buffer, 0, kKeptFirst), tokens_of(buffer, next_, size_),
                                  tokens_of(buffer, kKeptFirst, next_)},
                                 2));
}

/// Forgets what a cache of limited size has no place for beside `length` more. Returns where the
/// first of them goes. Source: mlx_lm/models/cache.py RotatingKVCache.
int KvState::forget_oldest(int length) {
  const int limit = static_cast<int>(options_.max_size);
  if (length == 1 && size_ == limit) {
    ++dropped_;
    if (next_ < kKeptFirst || next_ == limit) next_ = kKeptFirst;
    return next_++;
  }
  // Each of them sees up to limit - 1 others; a chunk before may have left more.
  const int forgotten = size_ - (limit - 1);
  if (forgotten > 0) {
    for (mx::array& buffer : buffers_) {
      const mx::array all = in_order(buffer);
      buffer = settled(mx::concatenate(
          {tokens_of(all, 0, kKeptFirst), tokens_of(all, kKeptFirst + forgotten, size_)}, 2));
    }
    dropped_ += forgotten;
    size_ -= forgotten;
  }
  next_ = kKeptFirst;
  return size_;
}

KeysValues KvState::append(const mx::array& keys, const mx::array& values,
                           const std::optional<mx::array>& index) {
  const int length = keys.shape(2);
  if (options_.kv_bits && !has_codes_ && dropped_ + size_ >= options_.kv_start) {
    quantize_from_now_on();
  }
  std::vector<mx::array> parts = quantized(keys);
  const std::vector<mx::array> value_parts = quantized(values);
  parts.insert(parts.end(), value_parts.begin(), value_parts.end());
  if (indexed_) parts.push_back(*index);
  if (buffers_.empty()) {
    for (const mx::array& part : parts) {
      mx::Shape shape = part.shape();
      shape[2] = (length + kStep - 1) / kStep * kStep;
      buffers_.push_back(settled(mx::contiguous(mx::zeros(shape, part.dtype()))));
    }
  }
  int at = is_limited() ? forget_oldest(length) : size_;
  if (at == size_) {
    make_room(length);
    at = size_;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    buffers_[i] = replaced(std::move(buffers_[i]), parts[i], 2, at);
  }
  size_ = std::max(size_, at + length);
  const int seen =
      window_ > 0
          ? static_cast<int>(std::min<std::int64_t>(size_, window_ - 1 + std::int64_t{length}))
          : size_;
  KeysValues result;
  result.length = seen;
  result.limit = is_limited() ? options_.max_size : 0;
  result.bits = has_codes_ ? *options_.kv_bits : 0;
  result.group_size = options_.kv_group_size;
  const std::size_t n = indexed_ ? buffers_.size() - 1 : buffers_.size();
  for (std::size_t i = 0; i < n; ++i) {
    (i < n / 2 ? result.keys : result.values)
        .push_back(tokens_of(buffers_[i], size_ - seen, size_));
  }
  if (indexed_) result.index = tokens_of(buffers_[n], size_ - seen, size_);
  return result;
}

std::vector<mx::array> KvState::arrays() const {
  std::vector<mx::array> result;
  for (const mx::array& buffer : buffers_) result.push_back(in_order(buffer));
  return result;
}

bool KvState::restore(std::vector<mx::array> arrays, std::int64_t tokens) {
  if (arrays.empty()) return tokens == 0;
  const std::size_t parts = arrays.size() - (indexed_ ? 1U : 0U);
  const bool has_codes = options_.kv_bits && parts == 6;
  const bool has_floats = (!options_.kv_bits || options_.kv_start > 0) && parts == 2;
  if ((!has_codes && !has_floats) || arrays[0].ndim() != 4) return false;
  const int size = arrays[0].shape(2);
  for (const mx::array& array : arrays) {
    if (array.ndim() != 4 || array.shape(2) != size) return false;
  }
  // A window and a limited size forget what is further back.
  const std::int64_t kept = is_limited() ? options_.max_size : window_;
  if (size > tokens || (size < tokens && (kept == 0 || size < kept - 1))) return false;
  buffers_ = std::move(arrays);
  has_codes_ = has_codes;
  size_ = size;
  next_ = 0;
  dropped_ = tokens - size;
  return true;
}

bool KvState::can_trim(std::int64_t tokens) const {
  if (tokens > size_) return false;
  if (dropped_ == 0 || tokens == 0) return true;
  // All that is in sight of the next token must still be there.
  return window_ > 0 && !is_limited() && size_ - tokens >= window_ - 1;
}

void KvState::trim(std::int64_t tokens) { size_ -= static_cast<int>(tokens); }

std::vector<mx::array> ArraysState::arrays() const {
  std::vector<mx::array> result;
  for (const auto& array : arrays_) {
    if (array) result.push_back(*array);
  }
  return result;
}

bool ArraysState::restore(std::vector<mx::array> arrays, std::int64_t tokens) {
  if (arrays.empty()) return tokens == 0;
  if (arrays.size() != arrays_.size()) return false;
  for (std::size_t i = 0; i < arrays.size(); ++i) arrays_[i] = std::move(arrays[i]);
  return true;
}

}  // namespace mlxmill::runtime

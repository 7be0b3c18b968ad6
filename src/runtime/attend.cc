#include "runtime/attend.h"

#include <limits>

#include "runtime/layers.h"
#include "runtime/primitives/decoder.h"
#include "runtime/primitives/quantized.h"
#include "runtime/views.h"

namespace mlxmill::runtime {

std::optional<mx::array> causal_mask(int offset, int length, int keys, std::int64_t window,
                                     std::int64_t chunk) {
  const int first = offset + length - keys;
  const int last = offset + length - 1;
  const bool window_holds = window == 0 || window > last - first;
  const bool chunk_holds = chunk == 0 || first / chunk == last / chunk;
  if (length == 1 && window_holds && chunk_holds) return std::nullopt;
  const mx::array queries = mx::reshape(mx::arange(offset, offset + length), {length, 1});
  const mx::array positions = mx::reshape(mx::arange(first, first + keys), {1, keys});
  mx::array mask = mx::greater_equal(queries, positions);
  if (!window_holds) {
    const mx::array start = mx::subtract(queries, mx::array(static_cast<int>(window)));
    mask = mx::logical_and(mask, mx::greater(positions, start));
  }
  if (!chunk_holds) {
    const mx::array size(static_cast<int>(chunk));
    mask = mx::logical_and(
        mask, mx::equal(mx::floor_divide(queries, size), mx::floor_divide(positions, size)));
  }
  return settled(mask);
}

namespace {

mx::array grouped(const mx::array& x) { return mx::expand_dims(x, 2); }

/// The product of x with keys or values, by queries that share a key head.
mx::array product(const mx::array& x, const std::vector<mx::array>& parts, const KeysValues& kv,
                  bool transpose) {
  if (kv.bits == 0) {
    const mx::array y = grouped(parts[0]);
    return mx::matmul(x, transpose ? mx::swapaxes(y, -1, -2) : y);
  }
  return mx::quantized_matmul(x, grouped(parts[0]), grouped(parts[1]), grouped(parts[2]), transpose,
                              kv.group_size, kv.bits);
}

/// Step by step, where libmlx has no fused form.
mx::array attend_by_steps(const mx::array& queries, const KeysValues& kv,
                          const std::optional<mx::array>& mask, const AttendOptions& options) {
  const int heads = queries.shape(1);
  const int length = queries.shape(2);
  const int kv_heads = kv.keys[0].shape(1);
  mx::array q = mx::multiply(queries, scalar(options.scale, queries));
  q = mx::reshape(q, {1, kv_heads, heads / kv_heads, length, queries.shape(3)});
  mx::array scores = product(q, kv.keys, kv, true);
  if (options.softcap != 0) scores = softcap(scores, options.softcap);
  if (mask) {
    scores = mx::where(*mask, scores, scalar(-std::numeric_limits<float>::infinity(), scores));
  }
  if (options.sinks) {
    mx::array sinks = mx::reshape(mx::astype(*options.sinks, scores.dtype()),
                                  {1, kv_heads, heads / kv_heads, 1, 1});
    sinks = mx::broadcast_to(sinks, {1, kv_heads, heads / kv_heads, length, 1});
    scores = mx::softmax(mx::concatenate({sinks, scores}, -1), -1, /*precise=*/true);
    scores = mx::split(scores, mx::Shape{1}, -1)[1];
  } else {
    scores = mx::softmax(scores, -1, /*precise=*/true);
  }
  const mx::array out = product(scores, kv.values, kv, false);
  return mx::reshape(out, {1, heads, length, out.shape(-1)});
}

}  // namespace

mx::array attend(const mx::array& queries, const KeysValues& kv,
                 const std::optional<mx::array>& mask, const AttendOptions& options) {
  if (kv.bits != 0 && computes_on_cpu(queries)) {
    // A pass over the codes costs less than libmlx's quantized products, which run on one thread.
    const Scheme scheme{Mode::kAffine, kv.bits, kv.group_size};
    KeysValues plain = kv;
    plain.keys = {dequantize_on_cpu(kv.keys, scheme)};
    plain.values = {dequantize_on_cpu(kv.values, scheme)};
    plain.bits = 0;
    return attend(queries, plain, mask, options);
  }
  if (kv.bits == 0 && attends_on_cpu(queries, kv.keys[0], kv.values[0], mask, options.sinks)) {
    return attend_on_cpu(queries, kv.keys[0], kv.values[0], mask, options.sinks,
                         static_cast<float>(options.scale), static_cast<float>(options.softcap));
  }
  if (kv.bits != 0 || options.softcap != 0) return attend_by_steps(queries, kv, mask, options);
  return mx::fast::scaled_dot_product_attention(queries, kv.keys[0], kv.values[0],
                                                static_cast<float>(options.scale),
                                                mask ? "array" : "", mask, options.sinks);
}

}  // namespace mlxmill::runtime

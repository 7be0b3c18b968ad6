#include "streaming/computed.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "base/checked_math.h"
#include "kernels/arithmetic.h"

namespace mlxmill::streaming {
namespace {

/// The most that is computed at once: bounds what a long read needs beside its result.
constexpr std::uint64_t kChunkElements = 256 << 10;

/// Elements that can only be computed together.
std::uint64_t granularity(const tensors::Computed& computed) {
  return std::visit(
      [](const auto& op) -> std::uint64_t {
        using Op = std::decay_t<decltype(op)>;
        if constexpr (std::is_same_v<Op, tensors::DecodePacked>) {
          return static_cast<std::uint64_t>(op.scheme.group_size);
        } else if constexpr (std::is_same_v<Op, tensors::UnpackCodes>) {
          return static_cast<std::uint64_t>(32 / op.bits);
        } else if constexpr (std::is_same_v<Op, tensors::UnpackStream>) {
          return 32;
        } else if constexpr (std::is_same_v<Op, tensors::PackStream>) {
          return static_cast<std::uint64_t>(op.bits);
        } else if constexpr (std::is_same_v<Op, tensors::DecodeGgml>) {
          return base::ggml_type_info(op.type).block_elements;
        } else if constexpr (std::is_same_v<Op, tensors::RepackGgml>) {
          return elements_per_block(op);
        } else {
          return 1;
        }
      },
      computed.operation);
}

}  // namespace

Status Inputs::read_f32(std::size_t i, std::uint64_t begin, std::uint64_t n, float* out) const {
  const DType type = view(i).dtype;
  if (type == DType::kF32) return read(i, begin, n, out);
  Scratch::Lease raw = scratch.take(n * dtype_bytes(type));
  MLXMILL_TRY(read(i, begin, n, raw.data()));
  kernels::to_f32(raw.data(), type, out, n);
  return {};
}

ComputedSource::ComputedSource(const tensors::Computed& computed, SourcePool& pool)
    : computed_(computed),
      elements_(base::element_count(computed.shape).value_or(0)),
      granularity_(granularity(computed)) {
  for (const tensors::TensorView& input : computed.inputs) inputs_.emplace_back(input, pool);
}

std::uint64_t ComputedSource::preferred_bytes() const {
  // Rows correspond to rows: where the first input wants whole rows, so does the result.
  if (inputs_.empty() || inputs_[0].preferred_multiple() <= 1 || computed_.shape.empty()) return 1;
  return static_cast<std::uint64_t>(computed_.shape.back()) * dtype_bytes(computed_.dtype);
}

Status ComputedSource::read(std::uint64_t begin, std::span<std::byte> out, Scratch& scratch) const {
  const std::uint64_t width = dtype_bytes(computed_.dtype);
  const std::uint64_t end = begin + out.size();
  // Outwards to what can be computed; a view of another width may begin inside an element.
  const std::uint64_t first = begin / width / granularity_ * granularity_;
  const std::uint64_t last =
      std::min(elements_, base::round_up(base::div_ceil(end, width), granularity_));
  const std::uint64_t most = std::max(granularity_, kChunkElements / granularity_ * granularity_);
  for (std::uint64_t at = first; at < last; at += most) {
    const std::uint64_t n = std::min(most, last - at);
    const bool whole = at * width >= begin && (at + n) * width <= end;
    if (whole) {
      MLXMILL_TRY(read_elements(at, n, out.data() + (at * width - begin), scratch));
      continue;
    }
    Scratch::Lease part = scratch.take(n * width);
    MLXMILL_TRY(read_elements(at, n, part.data(), scratch));
    const std::uint64_t from = std::max(begin, at * width);
    const std::uint64_t to = std::min(end, (at + n) * width);
    std::memcpy(out.data() + (from - begin), part.data() + (from - at * width), to - from);
  }
  return {};
}

Status ComputedSource::read_elements(std::uint64_t begin, std::uint64_t n, std::byte* out,
                                     Scratch& scratch) const {
  const Inputs in{computed_, inputs_, scratch, summary_};
  return std::visit([&](const auto& op) { return evaluate(op, in, begin, n, out); },
                    computed_.operation);
}

}  // namespace mlxmill::streaming

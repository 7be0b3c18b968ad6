// Operations on integer codes and the numbers that go with them.
#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "kernels/arithmetic.h"
#include "kernels/kernels.h"
#include "streaming/computed.h"

namespace mlxmill::streaming {

Status evaluate(const tensors::UnpackCodes& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const auto per_word = static_cast<std::uint64_t>(32 / op.bits);
  Scratch::Lease words = in.scratch.take(n / per_word * 4);
  MLXMILL_TRY(in.read(0, begin / per_word, n / per_word, words.data()));
  kernels::unpack_words(words.data(), n / per_word, op.bits, op.order,
                        static_cast<std::uint8_t*>(out));
  return {};
}

Status evaluate(const tensors::UnpackStream& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const auto bits = static_cast<std::uint64_t>(op.bits);
  Scratch::Lease words = in.scratch.take(n / 32 * bits * 4);
  MLXMILL_TRY(in.read(0, begin / 32 * bits, n / 32 * bits, words.data()));
  kernels::unpack_stream(words.data(), op.bits, n, static_cast<std::uint8_t*>(out));
  return {};
}

Status evaluate(const tensors::PackStream& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const auto bits = static_cast<std::uint64_t>(op.bits);
  const std::uint64_t codes = n / bits * 32;
  Scratch::Lease bytes = in.scratch.take(codes);
  MLXMILL_TRY(in.read(0, begin / bits * 32, codes, bytes.data()));
  kernels::pack_stream(reinterpret_cast<const std::uint8_t*>(bytes.data()), op.bits, codes, out);
  return {};
}

Status evaluate(const tensors::ZeroToBias& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  Scratch::Lease zeros = in.scratch.take(n * sizeof(float));
  Scratch::Lease scales = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, zeros.floats()));
  MLXMILL_TRY(in.read_f32(1, begin, n, scales.floats()));
  for (std::uint64_t i = 0; i < n; ++i) {
    scales.floats()[i] *= -(zeros.floats()[i] + static_cast<float>(op.add));
  }
  kernels::from_f32(scales.floats(), out, in.computed.dtype, n);
  return {};
}

Status evaluate(const tensors::DecodePacked& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const Scheme& scheme = op.scheme;
  const bool affine = scheme.mode == Mode::kAffine;
  const auto group = static_cast<std::uint64_t>(scheme.group_size);
  const auto bits = static_cast<std::uint64_t>(scheme.bits);
  const DType scale_type = in.view(1).dtype;
  Scratch::Lease codes = in.scratch.take(n / 32 * bits * 4 + 4 * bits);
  Scratch::Lease scales = in.scratch.take(n / group * dtype_bytes(scale_type));
  Scratch::Lease biases = in.scratch.take(n / group * dtype_bytes(scale_type));
  // A group of 16 four-bit codes is two words.
  MLXMILL_TRY(in.read(0, begin * bits / 32, n * bits / 32, codes.data()));
  MLXMILL_TRY(in.read(1, begin / group, n / group, scales.data()));
  if (affine) MLXMILL_TRY(in.read(2, begin / group, n / group, biases.data()));
  const kernels::QuantizedIn packed{codes.data(), scales.data(), biases.data()};
  if (!op.has_global_scale) {
    // Affine codes are decoded in the dtype of their scales.
    const DType type = affine ? scale_type : in.computed.dtype;
    if (type == in.computed.dtype) {
      kernels::dequantize(scheme, packed, type, n, out);
      return {};
    }
    Scratch::Lease values = in.scratch.take(n * sizeof(float));
    kernels::dequantize(scheme, packed, type, n, values.data());
    kernels::convert_floats(values.data(), type, out, in.computed.dtype, n);
    return {};
  }
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  kernels::dequantize(scheme, packed, DType::kF32, n, values.data());
  const auto columns = static_cast<std::uint64_t>(in.computed.shape.back());
  const std::uint64_t first = begin / columns;
  const std::uint64_t rows = n == 0 ? 0 : (begin + n - 1) / columns - first + 1;
  Scratch::Lease factors = in.scratch.take(rows * sizeof(float));
  MLXMILL_TRY(in.read_f32(2, first, rows, factors.floats()));
  for (std::uint64_t i = 0; i < n; ++i)
    values.floats()[i] *= factors.floats()[(begin + i) / columns - first];
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

Status evaluate(const tensors::DecodeGroups& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const auto columns = static_cast<std::uint64_t>(in.computed.shape.back());
  const auto groups = static_cast<std::uint64_t>(in.view(1).shape.back());
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  Scratch::Lease scales = in.scratch.take(groups * sizeof(float));
  Scratch::Lease zeros = in.scratch.take(groups * sizeof(float));
  Scratch::Lease index = in.scratch.take(columns * sizeof(std::int32_t));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  if (op.has_index) {
    // The plan has checked that every entry is a group.
    MLXMILL_TRY(in.read(in.computed.inputs.size() - 1, 0, columns, index.data()));
  } else {
    const std::uint64_t run = op.group > 0 ? static_cast<std::uint64_t>(op.group)
                                           : std::max<std::uint64_t>(columns / groups, 1);
    for (std::uint64_t c = 0; c < columns; ++c) {
      const auto group = static_cast<std::int32_t>(c / run);
      std::memcpy(index.data() + c * sizeof(group), &group, sizeof(group));
    }
  }
  std::fill_n(zeros.floats(), groups, 0.0f);
  for (std::uint64_t i = 0; i < n;) {
    const std::uint64_t row = (begin + i) / columns;
    const std::uint64_t column = (begin + i) % columns;
    const std::uint64_t run = std::min(columns - column, n - i);
    MLXMILL_TRY(in.read_f32(1, row * groups, groups, scales.floats()));
    if (op.has_zeros) MLXMILL_TRY(in.read_f32(2, row * groups, groups, zeros.floats()));
    for (std::uint64_t k = 0; k < run; ++k) {
      std::int32_t group;
      std::memcpy(&group, index.data() + (column + k) * sizeof(group), sizeof(group));
      const auto g =
          std::min(static_cast<std::uint64_t>(static_cast<std::uint32_t>(group)), groups - 1);
      float& value = values.floats()[i + k];
      value = (value - (zeros.floats()[g] + static_cast<float>(op.add))) * scales.floats()[g];
    }
    i += run;
  }
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

}  // namespace mlxmill::streaming

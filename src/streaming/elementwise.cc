// Operations whose elements depend on the same elements of their input.
#include <algorithm>
#include <cmath>

#include "kernels/arithmetic.h"
#include "streaming/computed.h"

namespace mlxmill::streaming {

Status evaluate(const tensors::Gathered&, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out) {
  return in.read(0, begin, n, out);
}

Status evaluate(const tensors::Cast&, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out) {
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

Status evaluate(const tensors::AddConstant& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  MLXMILL_TRY(in.read(0, begin, n, out));
  kernels::add(out, in.computed.dtype, static_cast<float>(op.value), n);
  return {};
}

Status evaluate(const tensors::MultiplyConstant& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  MLXMILL_TRY(in.read(0, begin, n, out));
  kernels::multiply(out, in.computed.dtype, static_cast<float>(op.value), n);
  return {};
}

Status evaluate(const tensors::MultiplyAlong& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  MLXMILL_TRY(in.read(0, begin, n, out));
  std::uint64_t inner = 1;
  for (std::size_t k = op.axis + 1; k < in.computed.shape.size(); ++k)
    inner *= static_cast<std::uint64_t>(in.computed.shape[k]);
  const std::uint64_t width = dtype_bytes(in.computed.dtype);
  auto* bytes = static_cast<std::byte*>(out);
  for (std::uint64_t i = 0; i < n;) {
    const std::uint64_t at = begin + i;
    const std::uint64_t run = std::min(inner - at % inner, n - i);
    const float factor = op.values[at / inner % op.values.size()];
    kernels::multiply(bytes + i * width, in.computed.dtype, factor, run);
    i += run;
  }
  return {};
}

Status evaluate(const tensors::MultiplyBy&, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out) {
  const std::uint64_t n_factors = in.readers[1].elements();
  const std::uint64_t slice = in.readers[0].elements() / n_factors;
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  for (std::uint64_t i = 0; i < n;) {
    const std::uint64_t at = begin + i;
    const std::uint64_t run = std::min(slice - at % slice, n - i);
    float factor = 0;
    MLXMILL_TRY(in.read_f32(1, at / slice, 1, &factor));
    kernels::multiply(values.floats() + i, DType::kF32, factor, run);
    i += run;
  }
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

namespace {

/// Reads bytes and replaces each.
template <typename Step>
Status each_byte(const Inputs& in, std::uint64_t begin, std::uint64_t n, void* out,
                 const Step& step) {
  MLXMILL_TRY(in.read(0, begin, n, out));
  auto* bytes = static_cast<std::uint8_t*>(out);
  for (std::uint64_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(step(bytes[i]));
  return {};
}

}  // namespace

Status evaluate(const tensors::XorBytes& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out) {
  return each_byte(in, begin, n, out, [&](std::uint8_t b) { return b ^ op.mask; });
}

Status evaluate(const tensors::AddBytes& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out) {
  return each_byte(in, begin, n, out, [&](std::uint8_t b) { return b + op.value; });
}

Status evaluate(const tensors::ShiftBytes& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  return each_byte(in, begin, n, out, [&](std::uint8_t b) { return (b >> op.shift) & op.mask; });
}

Status evaluate(const tensors::Reciprocal&, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out) {
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  for (std::uint64_t i = 0; i < n; ++i) values.floats()[i] = 1 / values.floats()[i];
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

Status evaluate(const tensors::LogOfNegative&, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  for (std::uint64_t i = 0; i < n; ++i) {
    values.floats()[i] = static_cast<float>(std::log(-static_cast<double>(values.floats()[i])));
  }
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

Status evaluate(const tensors::Constant& op, const Inputs& in, std::uint64_t, std::uint64_t n,
                void* out) {
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  std::fill_n(values.floats(), n, op.value);
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

Status evaluate(const tensors::ResidualGate& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  auto* values = static_cast<float*>(out);
  MLXMILL_TRY(in.read_f32(0, begin, n, values));
  kernels::residual_gate(values, n, static_cast<float>(op.temperature),
                         static_cast<float>(op.epsilon), op.stream);
  return {};
}

}  // namespace mlxmill::streaming

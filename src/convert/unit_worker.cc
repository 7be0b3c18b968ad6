#include "convert/unit_worker.h"

#include <algorithm>
#include <array>

#include "kernels/kernels.h"

namespace mlxmill::convert {
namespace {

std::byte* grow(std::vector<std::byte>& buffer, std::uint64_t bytes) {
  if (buffer.size() < bytes) buffer.resize(bytes);
  return buffer.data();
}

/// Elements of input `i` that belong to `n` weights: the weights themselves, or words and groups of
/// packed ones.
std::uint64_t input_elements(const Job& job, std::size_t i, std::uint64_t n) {
  if (job.kind != Job::Kind::kDequantize) return n;
  if (i == 0) return n * static_cast<std::uint64_t>(job.scheme->bits) / 32;
  return n / static_cast<std::uint64_t>(job.scheme->group_size);
}

std::uint64_t weights_of(const Job& job, std::uint64_t unit) {
  return std::min(job.unit_elements, job.elements - unit * job.unit_elements);
}

}  // namespace

OutputRange output_range(const Conversion& conversion, const Job& job, std::uint64_t unit,
                         std::size_t which) {
  const OutputTensor& tensor = conversion.outputs[job.outputs[which]];
  const std::uint64_t offset = unit * tensor.chunk_bytes;
  return {tensor.file, tensor.begin + offset, std::min(tensor.chunk_bytes, tensor.bytes - offset)};
}

std::uint64_t unit_source_bytes(const Job& job, std::uint64_t unit) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < job.inputs.size(); ++i) {
    bytes += input_elements(job, i, weights_of(job, unit)) * dtype_bytes(job.inputs[i].dtype);
  }
  return bytes;
}

std::uint64_t UnitWorker::batch_bytes(const Job& job, std::uint64_t units) {
  const std::uint64_t n = std::min(job.elements, job.unit_elements * units);
  const std::uint64_t unit = std::min(job.elements, job.unit_elements);
  const bool transposed = job.whole_row > 1;
  std::uint64_t bytes = n * dtype_bytes(job.inputs[0].dtype) * (transposed ? 2 : 1);
  if (job.from != job.to) bytes += unit * dtype_bytes(job.to);
  // Each computation holds its values as float32 beside what it reads.
  bytes += job.depth * unit * 8;
  return bytes + unit * 8;  // Outputs, scales and biases included.
}

std::uint64_t UnitWorker::units_per_batch(const Job& job, std::uint64_t budget_bytes) {
  if (job.whole_row <= 1) return 1;
  const std::uint64_t one = batch_bytes(job, 1);
  return std::clamp<std::uint64_t>(budget_bytes / std::max<std::uint64_t>(one, 1), 1,
                                   std::max<std::uint64_t>(job.n_units, 1));
}

void UnitWorker::will_read(const Job& job, std::uint64_t first, std::uint64_t last) {
  if (first >= job.n_units) return;
  reader_.inputs(job)[0].will_read(std::min(job.elements, first * job.unit_elements),
                                   std::min(job.elements, last * job.unit_elements));
}

Status UnitWorker::read(const Job& job, std::uint64_t first, std::uint64_t n) {
  raw_.resize(std::max(raw_.size(), job.inputs.size()));
  const std::uint64_t begin = first * job.unit_elements;
  const std::uint64_t end = std::min(job.elements, (first + n) * job.unit_elements);
  for (std::size_t i = 0; i < job.inputs.size(); ++i) {
    const std::uint64_t from = input_elements(job, i, begin);
    const std::uint64_t to = input_elements(job, i, end);
    std::byte* out = grow(raw_[i], (to - from) * dtype_bytes(job.inputs[i].dtype));
    Status status = reader_.inputs(job)[i].read(from, to, out, scratch_);
    if (!status) return std::move(status.error().at(job.module));
  }
  return {};
}

void UnitWorker::dequantize(const Job& job, std::uint64_t offset_elements, std::uint64_t n) {
  std::array<const std::byte*, 3> parts{};
  for (std::size_t i = 0; i < job.inputs.size(); ++i) {
    parts[i] =
        raw_[i].data() + input_elements(job, i, offset_elements) * dtype_bytes(job.inputs[i].dtype);
  }
  if (job.scheme->mode == Mode::kAffine && job.from != job.to) {
    const std::uint64_t groups = n / static_cast<std::uint64_t>(job.scheme->group_size);
    std::byte* cast = grow(cast_, 2 * groups * dtype_bytes(job.to));
    for (std::size_t i = 1; i < 3; ++i) {
      kernels::convert_floats(parts[i], job.from, cast, job.to, groups);
      parts[i] = cast;
      cast += groups * dtype_bytes(job.to);
    }
  }
  kernels::dequantize(*job.scheme, {parts[0], parts[1], parts[2]}, job.to, n,
                      grow(out_[0], n * dtype_bytes(job.to)));
}

namespace {

/// Neither type has an infinity.
std::uint32_t count_nan_bytes(const std::byte* bytes, DType type, std::uint64_t n) {
  const std::byte mask{static_cast<unsigned char>(type == DType::kF8E4M3 ? 0x7F : 0xFF)};
  return static_cast<std::uint32_t>(
      std::count_if(bytes, bytes + n, [mask](std::byte b) { return (b & mask) == mask; }));
}

}  // namespace

Status UnitWorker::compute(const Job& job, std::uint64_t first, std::uint64_t unit,
                           UnitRecord& record) {
  const std::uint64_t offset = (unit - first) * job.unit_elements;
  const std::uint64_t n = weights_of(job, unit);
  if (job.kind == Job::Kind::kDequantize) {
    dequantize(job, offset, n);
    record.non_finite =
        static_cast<std::uint32_t>(kernels::count_non_finite(out_[0].data(), job.to, n));
    return write(job, unit, std::array<const std::byte*, 1>{out_[0].data()}, record);
  }

  const std::byte* weights = raw_[0].data() + offset * dtype_bytes(job.inputs[0].dtype);
  if (job.from != job.to) {
    std::byte* cast = grow(cast_, n * dtype_bytes(job.to));
    kernels::convert_floats(weights, job.from, cast, job.to, n);
    weights = cast;
  }
  if (job.kind == Job::Kind::kCopy) {
    if (is_mlx_float(job.to))
      record.non_finite = static_cast<std::uint32_t>(kernels::count_non_finite(weights, job.to, n));
    if (job.bytes_are) record.non_finite = count_nan_bytes(weights, *job.bytes_are, n);
    return write(job, unit, std::array<const std::byte*, 1>{weights}, record);
  }

  for (std::size_t i = 0; i < job.outputs.size(); ++i)
    grow(out_[i], output_range(c_, job, unit, i).bytes);
  record.non_finite = static_cast<std::uint32_t>(kernels::quantize(
      *job.scheme, weights, job.to, n, {out_[0].data(), out_[1].data(), out_[2].data()}));
  return write(job, unit,
               std::array<const std::byte*, 3>{out_[0].data(), out_[1].data(), out_[2].data()},
               record);
}

Status UnitWorker::write(const Job& job, std::uint64_t unit,
                         std::span<const std::byte* const> parts, UnitRecord& record) {
  for (std::size_t i = 0; i < job.outputs.size(); ++i) {
    const OutputRange range = output_range(c_, job, unit, i);
    const std::span<const std::byte> data(parts[i], range.bytes);
    record.digests[i] = io::digest(data);
    MLXMILL_TRY(files_[range.file].write_at(range.begin, data));
  }
  return {};
}

Result<bool> UnitWorker::matches(const Job& job, std::uint64_t unit, const UnitRecord& record) {
  for (std::size_t i = 0; i < job.outputs.size(); ++i) {
    const OutputRange range = output_range(c_, job, unit, i);
    const std::span<std::byte> data(grow(out_[0], range.bytes), range.bytes);
    MLXMILL_TRY(files_[range.file].read_at(range.begin, data));
    if (io::digest(std::span<const std::byte>(data)) != record.digests[i]) return false;
  }
  return true;
}

}  // namespace mlxmill::convert

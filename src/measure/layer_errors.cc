#include "measure/layer_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>

#include "base/parallel.h"
#include "convert/conversion.h"
#include "convert/job_reader.h"
#include "formats/quantization_config.h"
#include "kernels/kernels.h"
#include "measure/output_error.h"

namespace mlxmill::measure {
namespace {

using convert::Conversion;
using convert::Job;

constexpr std::string_view kWeight = ".weight";

// The model's weights as plain floats: a conversion that is planned and never run.
Result<Conversion> open_weights(const std::filesystem::path& path) {
  ConvertOptions options;
  options.source = path;
  options.output = path.parent_path() / (path.filename().string() + ".mlxmill-unwritten");
  MLXMILL_ASSIGN(Conversion plain, convert::make_conversion(options));
  MLXMILL_ASSIGN(const auto packed, formats::read_quantization_config(plain.checkpoint.config));
  if (!packed) return plain;
  options.dequantize = true;
  return convert::make_conversion(options);
}

// Weights [begin, end) of a job as float32. `floats` is resized.
class WeightReader {
 public:
  explicit WeightReader(const Conversion& model) : reader_(model) {}

  Status read(const Job& job, std::uint64_t begin, std::uint64_t end, std::vector<float>& floats) {
    const std::uint64_t n = end - begin;
    floats.resize(n);
    const bool coded = job.kind == Job::Kind::kDequantize;
    if (coded) {
      MLXMILL_TRY(dequantize(job, begin, n));
    } else {
      plain_.resize(n * dtype_bytes(job.from));
      MLXMILL_TRY(reader_.inputs(job)[0].read(begin, end, plain_.data(), scratch_));
    }
    kernels::convert_floats(plain_.data(), job.from, floats.data(), DType::kF32, n);
    return {};
  }

 private:
  Status dequantize(const Job& job, std::uint64_t begin, std::uint64_t n) {
    const Scheme& scheme = *job.scheme;
    const auto group = static_cast<std::uint64_t>(scheme.group_size);
    const auto bits = static_cast<std::uint64_t>(scheme.bits);
    // Codes are 32-bit words; a group of any scheme fills whole ones.
    codes_.resize(kernels::code_bytes(scheme, n));
    const std::vector<streaming::ViewReader>& inputs = reader_.inputs(job);
    MLXMILL_TRY(
        inputs[0].read(begin * bits / 32, (begin + n) * bits / 32, codes_.data(), scratch_));
    const auto read_groups = [&](std::size_t input, std::vector<std::byte>& out) {
      const streaming::ViewReader& reader = inputs[input];
      out.resize(n / group * reader.element_bytes());
      return reader.read(begin / group, (begin + n) / group, out.data(), scratch_);
    };
    MLXMILL_TRY(read_groups(1, scales_));
    if (inputs.size() > 2) MLXMILL_TRY(read_groups(2, biases_));
    plain_.resize(n * dtype_bytes(job.from));
    kernels::dequantize(scheme, {codes_.data(), scales_.data(), biases_.data()}, job.from, n,
                        plain_.data());
    return {};
  }

  convert::JobReader reader_;
  streaming::Scratch scratch_;
  std::vector<std::byte> codes_;
  std::vector<std::byte> scales_;
  std::vector<std::byte> biases_;
  std::vector<std::byte> plain_;
};

// One matrix of both models.
struct Pair {
  const Job* candidate = nullptr;
  const Job* reference = nullptr;
  OutputError::Shape shape;
  LayerError result;
};

// Axes before the last two count matrices.
OutputError::Shape shape_of(const convert::OutputTensor& tensor) {
  const std::size_t axes = tensor.shape.size();
  const auto extent = [&](std::size_t axis) {
    return static_cast<std::uint64_t>(tensor.shape[axis]);
  };
  OutputError::Shape shape{1, extent(axes - 2), extent(axes - 1)};
  for (std::size_t axis = 0; axis + 2 < axes; ++axis) shape.matrices *= extent(axis);
  return shape;
}

Result<std::vector<Pair>> pair_up(const Conversion& candidate, const Conversion& reference) {
  std::map<std::string, const Job*> known;
  for (const Job& job : reference.jobs) known[reference.outputs[job.outputs[0]].name] = &job;
  std::map<std::size_t, const Job*> jobs;  // In the order of the output.
  for (const Job& job : candidate.jobs) jobs[job.outputs[0]] = &job;
  std::vector<Pair> pairs;
  for (const auto& [index, job] : jobs) {
    const convert::OutputTensor& tensor = candidate.outputs[index];
    const auto found = known.find(tensor.name);
    const bool matrix = tensor.shape.size() > 1 && tensor.name.ends_with(kWeight);
    if (!matrix || found == known.end() || !is_mlx_float(job->from)) continue;
    const Job& other = *found->second;
    if (other.elements != job->elements || !is_mlx_float(other.from)) {
      return Error(Code::kInvalidInput,
                   fmt::format("expected {} weights as in the reference, got {}", other.elements,
                               job->elements))
          .at("tensor " + tensor.name);
    }
    Pair pair{job, &other, shape_of(tensor), {}};
    pair.result.path = tensor.name.substr(0, tensor.name.size() - kWeight.size());
    pair.result.coding = job->scheme ? describe(*job->scheme) : std::string(dtype_name(job->from));
    pair.result.parameters = job->elements;
    pairs.push_back(std::move(pair));
  }
  if (pairs.empty()) {
    return Error(Code::kInvalidInput, "the models have no weights in common")
        .hint("the reference is the model that the candidate was made from");
  }
  return pairs;
}

struct Buffers {
  Buffers(const Conversion& made, const Conversion& original)
      : candidate_reader(made), reference_reader(original) {}

  WeightReader candidate_reader;
  WeightReader reference_reader;
  std::vector<float> candidate;
  std::vector<float> reference;
  base::ThreadPool alone{1};  // Modules are shared out, not what is in them.
};

Status measure_pair(Pair& pair, std::span<const ModuleInput> inputs, Buffers& buffers) {
  double difference = 0;
  double size = 0;
  std::uint64_t unit = std::max<std::uint64_t>(pair.candidate->unit_elements, 1);
  std::optional<OutputError> outputs;
  if (!inputs.empty()) {
    MLXMILL_ASSIGN(outputs, OutputError::make(inputs, pair.shape));
    // Whole rows.
    const std::uint64_t columns = pair.shape.columns;
    unit = std::max(unit / columns * columns, columns);
  }
  for (std::uint64_t begin = 0; begin < pair.candidate->elements; begin += unit) {
    const std::uint64_t end = std::min(begin + unit, pair.candidate->elements);
    MLXMILL_TRY(buffers.candidate_reader.read(*pair.candidate, begin, end, buffers.candidate));
    MLXMILL_TRY(buffers.reference_reader.read(*pair.reference, begin, end, buffers.reference));
    for (std::size_t i = 0; i < buffers.candidate.size(); ++i) {
      const auto w = static_cast<double>(buffers.reference[i]);
      const double d = static_cast<double>(buffers.candidate[i]) - w;
      difference += d * d;
      size += w * w;
    }
    if (outputs) {
      outputs->add(begin / pair.shape.columns, buffers.candidate, buffers.reference, buffers.alone);
    }
  }
  pair.result.weight_error = size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
  if (!outputs) return {};
  pair.result.output_error = outputs->total();
  if (pair.shape.matrices > 1) pair.result.output_errors = outputs->each();
  return {};
}

// Modules are taken from a shared counter; the first error, or that the caller stopped, ends it.
Status measure_all(std::vector<Pair>& pairs, const Conversion& made, const Conversion& original,
                   const InputSample& inputs, int threads, const LayerProgress& progress) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::size_t done = 0;
  Status failure;
  base::run_workers(std::max(threads, 1), [&](int) {
    Buffers buffers(made, original);
    for (std::size_t i = next++; i < pairs.size(); i = next++) {
      Status status = measure_pair(pairs[i], inputs.of(pairs[i].result.path), buffers);
      const std::lock_guard lock(mutex);
      if (!status) status.error().at(pairs[i].result.path);
      if (status && !progress(++done, pairs.size())) {
        status = Error(Code::kCancelled, "stopped while weights were compared");
      }
      if (status) continue;
      if (failure) failure = std::move(status);
      next = pairs.size();
    }
  });
  return failure;
}

}  // namespace

Result<std::vector<LayerError>> layer_errors(const std::filesystem::path& candidate,
                                             const std::filesystem::path& reference,
                                             const InputSample& inputs, int threads,
                                             const LayerProgress& progress) {
  MLXMILL_ASSIGN(const Conversion made, open_weights(candidate));
  MLXMILL_ASSIGN(const Conversion original, open_weights(reference));
  Result<std::vector<Pair>> pairs = pair_up(made, original);
  if (!pairs) return std::move(pairs).error().at(candidate.string());
  MLXMILL_TRY(measure_all(*pairs, made, original, inputs, threads, progress));
  std::vector<LayerError> errors;
  for (Pair& pair : *pairs) errors.push_back(std::move(pair.result));
  return errors;
}

}  // namespace mlxmill::measure

#include "runtime/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/checked_math.h"
#include "base/parallel.h"
#include "base/quoted.h"
#include "runtime/weight_memory.h"
#include "streaming/view_reader.h"
#include "tensors/operation.h"
#include "tensors/view.h"

namespace mlxmill::runtime {
namespace {

using architectures::Layout;
using architectures::Module;
using tensors::TensorView;

/// Elements a worker reads at once: long enough for disks, short enough to share and to cancel.
constexpr std::uint64_t kElementsPerRead = std::uint64_t{1} << 20;

DType loaded_dtype(const TensorView& view, std::optional<DType> dtype) {
  return dtype && is_mlx_float(view.dtype) ? *dtype : view.dtype;
}

/// The view with its floats in another type, rounded once while they are read.
TensorView as_loaded(const TensorView& view, std::optional<DType> dtype) {
  const DType wanted = loaded_dtype(view, dtype);
  if (wanted == view.dtype) return view;
  return tensors::view_of(view.name,
                          tensors::Computed{tensors::Cast{}, wanted, view.shape, {view}});
}

std::uint64_t bytes_of(const TensorView& view, DType dtype) {
  return base::element_count(view.shape).value_or(0) * dtype_bytes(dtype);
}

/// The sum of f(bytes in memory) over all tensors.
template <typename F>
std::uint64_t sum_over_tensors(const Layout& layout, std::optional<DType> dtype, const F& f) {
  std::uint64_t total = 0;
  for (const Module& module : layout.modules) {
    for (const TensorView& view : module.tensors) {
      total += f(bytes_of(view, loaded_dtype(view, dtype)));
    }
  }
  return total;
}

/// One tensor on its way into memory.
struct Job {
  streaming::ViewReader reader;
  std::byte* data;
};

/// Reads all jobs; workers share a cursor.
class Reading {
 public:
  Reading(const std::vector<Job>& jobs, std::uint64_t total, const Callbacks& callbacks)
      : jobs_(jobs), total_(total), callbacks_(callbacks) {}

  Status run() {
    report(0);
    base::run_workers(base::available_cores(), [this](int) { work(); });
    return status_;
  }

 private:
  struct Range {
    const Job* job = nullptr;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  Range next() {
    const std::lock_guard lock(mutex_);
    while (job_ < jobs_.size() && at_ >= jobs_[job_].reader.elements()) {
      ++job_;
      at_ = 0;
    }
    if (job_ == jobs_.size() || !status_.ok()) return {};
    const Job& job = jobs_[job_];
    const std::uint64_t multiple = job.reader.preferred_multiple();
    const std::uint64_t n = std::max(kElementsPerRead / multiple * multiple, multiple);
    const std::uint64_t begin = at_;
    at_ = std::min(job.reader.elements(), begin + n);
    return {&job, begin, at_};
  }

  void work() {
    streaming::Scratch scratch;
    for (Range range = next(); range.job; range = next()) {
      const std::size_t element = range.job->reader.element_bytes();
      Status status = range.job->reader.read(range.begin, range.end,
                                             range.job->data + range.begin * element, scratch);
      const std::lock_guard lock(mutex_);
      if (!status && status_.ok()) status_ = std::move(status);
      report((range.end - range.begin) * element);
    }
  }

  void report(std::uint64_t bytes) {
    done_ += bytes;
    if (callbacks_.progress) {
      Progress progress;
      progress.phase = "loading";
      progress.bytes_done = done_;
      progress.bytes_total = total_;
      callbacks_.progress(progress);
    }
    if (status_.ok() && callbacks_.cancelled && callbacks_.cancelled()) {
      status_ = Error(Code::kCancelled, "stopped while the model was loaded");
    }
  }

  const std::vector<Job>& jobs_;
  const std::uint64_t total_;
  const Callbacks& callbacks_;
  std::mutex mutex_;
  std::size_t job_ = 0;
  std::uint64_t at_ = 0;
  std::uint64_t done_ = 0;
  Status status_;
};

}  // namespace

mx::Dtype mlx_dtype(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return mx::bool_;
    case DType::kI8:
      return mx::int8;
    case DType::kU16:
      return mx::uint16;
    case DType::kI16:
      return mx::int16;
    case DType::kF16:
      return mx::float16;
    case DType::kBF16:
      return mx::bfloat16;
    case DType::kU32:
      return mx::uint32;
    case DType::kI32:
      return mx::int32;
    case DType::kF32:
      return mx::float32;
    case DType::kU64:
      return mx::uint64;
    case DType::kI64:
      return mx::int64;
    case DType::kF64:
      return mx::float64;
    default:
      return mx::uint8;
  }
}

std::uint64_t Weights::bytes(const Layout& layout, std::optional<DType> dtype) {
  return sum_over_tensors(layout, dtype, [](std::uint64_t bytes) { return bytes; });
}

Result<Weights> Weights::load(const Layout& layout, std::optional<DType> dtype,
                              streaming::SourcePool& sources, const Callbacks& callbacks) {
  Weights weights;
  std::vector<Job> jobs;
  WeightMemory memory(sum_over_tensors(layout, dtype, &WeightMemory::room));
  for (const Module& module : layout.modules) {
    if (module.packed) weights.schemes_.emplace(module.path, *module.packed_scheme);
    if (!module.stacked_of.empty()) {
      weights.stacked_of_.emplace(
          module.path, std::make_shared<const std::vector<std::string>>(module.stacked_of));
    }
    for (const TensorView& stored : module.tensors) {
      const TensorView view = as_loaded(stored, dtype);
      mx::Shape shape(view.shape.begin(), view.shape.end());
      mx::array array = memory.take(std::move(shape), mlx_dtype(view.dtype));
      jobs.push_back({streaming::ViewReader(view, sources),
                      reinterpret_cast<std::byte*>(array.data<std::uint8_t>())});
      weights.arrays_.emplace(view.name, std::move(array));
    }
  }
  MLXMILL_TRY(Reading(jobs, bytes(layout, dtype), callbacks).run());
  return weights;
}

Result<mx::array> Weights::tensor(std::string_view name) const {
  const auto found = arrays_.find(name);
  if (found != arrays_.end()) return found->second;
  return Error(Code::kInvalidInput,
               fmt::format("the model has no tensor {}, which its family computes with",
                           base::quoted(name)));
}

Result<Linear> Weights::linear(std::string_view path) const {
  const std::string prefix = std::string(path) + ".";
  MLXMILL_ASSIGN(const mx::array weight, tensor(prefix + "weight"));
  Linear layer{weight, std::nullopt, std::nullopt, std::nullopt, {}, int8_x_, std::string(path)};
  const auto optional = [&](const char* name) -> std::optional<mx::array> {
    const auto found = arrays_.find(prefix + name);
    return found == arrays_.end() ? std::nullopt : std::optional(found->second);
  };
  layer.bias = optional("bias");
  if (const auto found = stacked_of_.find(path); found != stacked_of_.end()) {
    layer.stacked_of = found->second;
  }
  if (const auto scheme = schemes_.find(path); scheme != schemes_.end()) {
    layer.scheme = scheme->second;
    MLXMILL_ASSIGN(layer.scales, tensor(prefix + "scales"));
    layer.biases = optional("biases");
  }
  return layer;
}

Result<std::optional<Linear>> Weights::linear_if(std::string_view path) const {
  if (path.empty()) return std::optional<Linear>();
  MLXMILL_ASSIGN(Linear layer, linear(path));
  return std::optional<Linear>(std::move(layer));
}

Result<Norm> Weights::norm(const NormSpec& spec) const {
  Norm norm;
  norm.kind = spec.kind;
  norm.epsilon = static_cast<float>(spec.epsilon);
  if (!spec || spec.path.empty()) return norm;
  MLXMILL_ASSIGN(mx::array weight, tensor(spec.path + ".weight"));
  if (spec.offset != 0) {
    weight = mx::add(weight, scalar(spec.offset, weight));
    mx::eval(weight);
  }
  norm.weight = weight;
  if (const auto bias = arrays_.find(spec.path + ".bias"); bias != arrays_.end()) {
    norm.bias = bias->second;
  }
  return norm;
}

mx::Dtype Weights::float_type(std::string_view path) const {
  for (const char* name : {".scales", ".weight"}) {
    const auto found = arrays_.find(std::string(path) + name);
    if (found != arrays_.end() && mx::issubdtype(found->second.dtype(), mx::floating)) {
      return found->second.dtype();
    }
  }
  // Codes whose scales are bytes: the norms say.
  for (const auto& [name, array] : arrays_) {
    if (array.ndim() == 1 && mx::issubdtype(array.dtype(), mx::floating)) return array.dtype();
  }
  return mx::bfloat16;
}

}  // namespace mlxmill::runtime

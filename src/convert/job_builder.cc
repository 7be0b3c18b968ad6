#include "convert/job_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/checked_math.h"
#include "convert/packed_modules.h"
#include "streaming/view_reader.h"
#include "tensors/operation.h"

namespace mlxmill::convert {
namespace {

using architectures::Module;
using tensors::TensorView;

/// A transposed row longer than this is cut; shorter ones are kept whole in a unit.
constexpr std::uint64_t kLongestWholeRow = 4 << 20;

/// The first stored tensor that a view needs.
std::size_t first_source(const TensorView& view) {
  if (view.pieces.empty()) return 0;
  const tensors::Piece& piece = view.pieces[0];
  if (!piece.computed) return piece.source;
  return piece.computed->inputs.empty() ? 0 : first_source(piece.computed->inputs[0]);
}

void add_input(Job& job, const TensorView& view) {
  job.inputs.push_back(view);
  job.inputs.back().name = {};
  job.inputs.back().packed.reset();
}

Job make_job(Job::Kind kind, const Module& module, const TensorView& weight,
             const streaming::SourcePool& pool) {
  Job job;
  job.kind = kind;
  job.module = module.path.empty() ? weight.name : module.path;
  job.from = weight.dtype;
  add_input(job, weight);
  job.depth = tensors::depth(weight);
  // Readers are made when the job is: all of them at once would take more than the plan.
  streaming::SourcePool own = streaming::SourcePool::over(pool);
  const streaming::ViewReader reader(weight, own);
  job.elements = reader.elements();
  job.source_bytes = job.elements * dtype_bytes(weight.dtype);
  job.whole_row = reader.preferred_multiple();
  job.source_position = first_source(weight);
  job.unit_elements = job.whole_row > 1 && job.whole_row <= kLongestWholeRow
                          ? base::round_up(kUnitElements, job.whole_row)
                          : kUnitElements;
  return job;
}

}  // namespace

void JobBuilder::expect(const std::vector<Module>& modules) {
  std::size_t n_tensors = 0;
  std::size_t n_outputs = 0;
  for (const Module& module : modules) {
    n_tensors += module.tensors.size();
    const bool codes = !module.packed && architectures::is_quantizable(module.kind);
    n_outputs += module.tensors.size() + (codes ? 2 : 0);
  }
  c_.jobs.reserve(c_.jobs.size() + n_tensors);
  c_.outputs.reserve(c_.outputs.size() + n_outputs);
  c_.plan.modules.reserve(c_.plan.modules.size() + modules.size());
}

/// The dtype a float tensor leaves with.
DType JobBuilder::cast_type(const Module& module, std::size_t index) const {
  const DType stored = module.tensors[index].dtype;
  const std::optional<DType> wanted = own_dtype_ ? own_dtype_ : settings_.dtype;
  if (!wanted || !is_mlx_float(stored) || module.keep_dtype[index]) return stored;
  return *wanted;
}

std::size_t JobBuilder::add_output(std::string name, DType dtype, base::Shape shape,
                                   const Job& job) {
  OutputTensor tensor{.name = std::move(name), .dtype = dtype, .shape = std::move(shape)};
  tensor.bytes = *base::element_count(tensor.shape) * dtype_bytes(dtype);
  // Elements map to output bytes linearly, so a unit's share is exact; reduced first, it cannot
  // overflow.
  if (const std::uint64_t common = std::gcd(tensor.bytes, job.elements)) {
    tensor.chunk_bytes = job.unit_elements * (tensor.bytes / common) / (job.elements / common);
  }
  c_.outputs.push_back(std::move(tensor));
  return c_.outputs.size() - 1;
}

void JobBuilder::add_copy(const Module& module, std::size_t index) {
  const TensorView& view = module.tensors[index];
  Job job = make_job(Job::Kind::kCopy, module, view, *c_.sources);
  job.to = cast_type(module, index);
  job.outputs = {add_output(view.name, job.to, view.shape, job)};
  c_.jobs.push_back(std::move(job));
}

void JobBuilder::add_quantize(const Module& module, const Scheme& scheme) {
  const TensorView& view = module.tensors[0];
  Job job = make_job(Job::Kind::kQuantize, module, view, *c_.sources);
  job.to = cast_type(module, 0);
  job.scheme = scheme;
  base::Shape codes = view.shape;
  codes.back() = codes.back() * scheme.bits / 32;
  base::Shape groups = view.shape;
  groups.back() /= scheme.group_size;
  const bool affine = scheme.mode == Mode::kAffine;
  const DType scale_type = affine ? job.to : DType::kU8;
  job.outputs = {add_output(module.path + ".weight", DType::kU32, codes, job),
                 add_output(module.path + ".scales", scale_type, groups, job)};
  if (affine) job.outputs.push_back(add_output(module.path + ".biases", scale_type, groups, job));
  c_.jobs.push_back(std::move(job));
}

void JobBuilder::add_dequantize(const Module& module, const Scheme& scheme) {
  const TensorView& codes = module.tensors[0];
  const bool affine = scheme.mode == Mode::kAffine;
  Job job = make_job(Job::Kind::kDequantize, module, codes, *c_.sources);
  base::Shape shape = codes.shape;
  shape.back() = shape.back() * 32 / scheme.bits;
  job.elements = *base::element_count(shape);
  job.unit_elements = kUnitElements;
  job.scheme = scheme;
  for (std::size_t i = 1; i < (affine ? 3u : 2u); ++i) {
    const TensorView& view = module.tensors[i];
    add_input(job, view);
    job.source_bytes += *base::element_count(view.shape) * dtype_bytes(view.dtype);
  }
  // mlx casts scales and biases before it dequantizes; the other modes always give bfloat16.
  job.from = affine ? module.tensors[1].dtype : DType::kBF16;
  job.to = affine ? cast_type(module, 1) : DType::kBF16;
  job.outputs = {add_output(module.path + ".weight", job.to, shape, job)};
  c_.jobs.push_back(std::move(job));
}

void JobBuilder::note_plan(const Module& module, std::optional<Scheme> scheme, std::string reason) {
  PlannedModule planned{
      .path = module.path, .scheme = scheme, .reason = std::move(reason), .rule = {}};
  for (std::size_t i = 0; i < module.tensors.size(); ++i) {
    const std::string& name = module.tensors[i].name;
    std::uint64_t n = *base::element_count(module.tensors[i].shape);
    if (module.packed && scheme && name == module.path + ".weight")
      n = n * 32 / static_cast<std::uint64_t>(scheme->bits);
    if (module.packed && (name == module.path + ".scales" || name == module.path + ".biases" ||
                          name == module.path + ".global_scale"))
      continue;
    planned.parameters += n;
  }
  if (module.parameters) planned.parameters = *module.parameters;
  c_.plan.parameters += planned.parameters;
  c_.plan.modules.push_back(std::move(planned));
}

Status JobBuilder::add_packed(const Module& module) {
  const std::optional<Scheme> scheme = module.packed_scheme;
  if (!scheme) return Error(Code::kInternal, "a packed module without a scheme").at(module.path);
  if (settings_.packed) {
    const auto& entries = settings_.packed->entries;
    const auto entry = entries.find(module.path);
    if (entry != entries.end() && entry->second != scheme) {
      return Error(Code::kInvalidInput,
                   fmt::format("the shapes say {}, config.json's quantization says {}",
                               describe(*scheme),
                               entry->second ? describe(*entry->second) : "not quantized"))
          .at(module.path);
    }
  }
  const std::size_t needed = scheme->mode == Mode::kAffine ? 3 : 2;
  std::size_t first_rest = 0;
  if (settings_.dequantize && has_global_scale(module)) {
    const Module plain = unpacked(module);
    for (std::size_t i = 0; i < plain.tensors.size(); ++i) add_copy(plain, i);
    note_plan(plain, {}, {});
    return {};
  }
  if (settings_.dequantize) {
    add_dequantize(module, *scheme);
    first_rest = needed;
  }
  for (std::size_t i = first_rest; i < module.tensors.size(); ++i) {
    add_copy(module, i);
    const bool scales = module.tensors[i].name == module.path + ".scales";
    if (scales && scheme->mode != Mode::kAffine)
      c_.jobs.back().bytes_are = scheme->mode == Mode::kNvfp4 ? DType::kF8E4M3 : DType::kF8E8M0;
  }
  note_plan(module, scheme, {});
  if (settings_.dequantize) c_.plan.modules.back().scheme.reset();
  return {};
}

Status JobBuilder::add(const Module& module, const quantize::Decision& decision) {
  const std::size_t first_output = c_.outputs.size();
  // Codes that were kept keep their scales as they are.
  own_dtype_ = module.packed ? std::nullopt : decision.dtype;
  if (module.packed) {
    MLXMILL_TRY(add_packed(module));
  } else {
    if (decision.scheme) add_quantize(module, *decision.scheme);
    for (std::size_t i = decision.scheme ? 1 : 0; i < module.tensors.size(); ++i)
      add_copy(module, i);
    note_plan(module, decision.scheme, decision.reason);
    c_.plan.modules.back().rule = decision.rule;
  }
  for (std::size_t k = first_output; k < c_.outputs.size(); ++k) {
    c_.plan.modules.back().bytes += c_.outputs[k].bytes;
  }
  return {};
}

}  // namespace mlxmill::convert

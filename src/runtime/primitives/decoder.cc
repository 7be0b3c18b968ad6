#include "runtime/primitives/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "runtime/primitives/cpu_primitive.h"
#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

base::ThreadPool& pool() { return base::ThreadPool::shared(); }

std::size_t size_of(int n) { return static_cast<std::size_t>(n); }

class RmsNormOnCpu final : public CpuPrimitive {
 public:
  RmsNormOnCpu(mx::Stream stream, float epsilon) : CpuPrimitive(stream), epsilon_(epsilon) {}
  const char* name() const override { return "MlxmillRmsNorm"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array x = row_major(inputs[0]);
    allocate(outputs[0]);
    kernels::RmsNorm norm;
    norm.type = dtype_of(x.dtype());
    norm.x = x.data<void>();
    norm.y = outputs[0].data<void>();
    norm.cols = size_of(x.shape(-1));
    norm.rows = norm.cols == 0 ? 0 : x.size() / norm.cols;
    norm.epsilon = epsilon_;
    if (inputs.size() > 1) norm.weight = row_major(inputs[1]).data<void>();
    dispatch([norm] { kernels::rms_norm(norm, pool()); });
  }

 private:
  float epsilon_;
};

class WidenOnCpu final : public CpuPrimitive {
 public:
  using CpuPrimitive::CpuPrimitive;
  const char* name() const override { return "MlxmillWiden"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array x = row_major(inputs[0]);
    allocate(outputs[0]);
    dispatch([type = dtype_of(x.dtype()), x = x.data<void>(), y = outputs[0].data<void>(),
              n = x.size()] { kernels::convert_floats(x, type, y, DType::kF32, n); });
  }
};

class AddOnCpu final : public CpuPrimitive {
 public:
  using CpuPrimitive::CpuPrimitive;
  const char* name() const override { return "MlxmillAdd"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array a = row_major(inputs[0]);
    const mx::array b = row_major(inputs[1]);
    allocate(outputs[0]);
    dispatch([type = dtype_of(a.dtype()), a = a.data<void>(), b = b.data<void>(),
              y = outputs[0].data<void>(), n = a.size()] { kernels::add(type, a, b, y, n); });
  }
};

class GateOnCpu final : public CpuPrimitive {
 public:
  GateOnCpu(mx::Stream stream, kernels::GateKind kind) : CpuPrimitive(stream), kind_(kind) {}
  const char* name() const override { return "MlxmillGate"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    allocate(outputs[0]);
    kernels::Gate gate;
    gate.type = dtype_of(inputs[0].dtype());
    gate.kind = kind_;
    gate.gate = row_major(inputs[0]).data<void>();
    gate.up = row_major(inputs[1]).data<void>();
    gate.y = outputs[0].data<void>();
    gate.count = inputs[0].size();
    dispatch([gate] { kernels::gate(gate, pool()); });
  }

 private:
  kernels::GateKind kind_;
};

/// Cosines and sines of positions, which layers of one model ask for again and again.
struct Angles {
  std::vector<float> frequencies;
  int offset = 0;
  int length = 0;
  std::vector<float> cosines, sines;
};

Angles make_angles(const std::vector<float>& frequencies, int offset, int length) {
  Angles made{frequencies, offset, length, {}, {}};
  for (int t = 0; t < length; ++t) {
    for (const float frequency : frequencies) {
      const float angle = static_cast<float>(offset + t) * frequency;
      made.cosines.push_back(std::cos(angle));
      made.sines.push_back(std::sin(angle));
    }
  }
  return made;
}

std::shared_ptr<const Angles> angles_of(const std::vector<float>& frequencies, int offset,
                                        int length) {
  // Some families turn two kinds of layers differently.
  thread_local std::vector<std::shared_ptr<const Angles>> kept;
  for (const auto& angles : kept) {
    if (angles->offset == offset && angles->length == length &&
        angles->frequencies == frequencies) {
      return angles;
    }
  }
  if (kept.size() == 4) kept.erase(kept.begin());
  kept.push_back(std::make_shared<const Angles>(make_angles(frequencies, offset, length)));
  return kept.back();
}

class RotateOnCpu final : public CpuPrimitive {
 public:
  RotateOnCpu(mx::Stream stream, std::shared_ptr<const RotationTable> table, int offset)
      : CpuPrimitive(stream), table_(std::move(table)), offset_(offset) {}
  const char* name() const override { return "MlxmillRotate"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const bool dense = inputs[0].strides(-1) == 1 && inputs[0].strides(-2) >= 0;
    const mx::array x = dense ? inputs[0] : row_major(inputs[0]);
    allocate(outputs[0]);
    kernels::Rotation r;
    r.type = dtype_of(x.dtype());
    r.x = x.data<void>();
    r.y = outputs[0].data<void>();
    r.heads = size_of(x.shape(1));
    r.length = size_of(x.shape(2));
    r.size = size_of(x.shape(3));
    r.head_step = static_cast<std::size_t>(x.strides(1));
    r.token_step = static_cast<std::size_t>(x.strides(2));
    r.dims = 2 * table_->frequencies.size();
    r.traditional = table_->traditional;
    dispatch([r, table = table_, offset = offset_]() mutable {
      const auto angles = angles_of(table->frequencies, offset, static_cast<int>(r.length));
      r.cosines = angles->cosines.data();
      r.sines = angles->sines.data();
      kernels::rotate(r, pool());
    });
  }

 private:
  std::shared_ptr<const RotationTable> table_;
  int offset_;
};

class AttendOnCpu final : public CpuPrimitive {
 public:
  AttendOnCpu(mx::Stream stream, float scale, float softcap, bool masked)
      : CpuPrimitive(stream), scale_(scale), softcap_(softcap), masked_(masked) {}
  const char* name() const override { return "MlxmillAttend"; }

  /// Inputs: queries, keys, values, the mask and the sinks where there are.
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array queries = row_major(inputs[0]);
    const mx::array keys = dense_heads(inputs[1]);
    const mx::array values = dense_heads(inputs[2]);
    allocate(outputs[0]);
    kernels::Attention a;
    a.type = dtype_of(queries.dtype());
    a.queries = queries.data<void>();
    a.keys = keys.data<void>();
    a.values = values.data<void>();
    std::size_t next = 3;
    if (masked_) a.mask = row_major(inputs[next++]).data<bool>();
    if (next < inputs.size()) a.sinks = row_major(inputs[next]).data<void>();
    a.y = outputs[0].data<void>();
    a.heads = size_of(queries.shape(1));
    a.kv_heads = size_of(keys.shape(1));
    a.length = size_of(queries.shape(2));
    a.n = size_of(keys.shape(2));
    a.size = size_of(queries.shape(3));
    a.value_size = size_of(values.shape(3));
    a.key_step = static_cast<std::size_t>(keys.strides(1));
    a.value_step = static_cast<std::size_t>(values.strides(1));
    a.scale = scale_;
    a.softcap = softcap_;
    dispatch([a] { kernels::attend(a, pool()); });
  }

 private:
  /// Keys or values [1, heads, n, size] whose heads are dense, wherever each starts.
  mx::array dense_heads(const mx::array& x) {
    const bool dense = x.strides(3) == 1 && x.strides(2) == x.shape(3) && x.strides(1) >= 0;
    return dense ? x : row_major(x);
  }

  float scale_, softcap_;
  bool masked_;
};

/// The one result of a primitive, of its first input's type.
mx::array result_of(const std::shared_ptr<CpuPrimitive>& primitive, std::vector<mx::array> inputs,
                    mx::Shape shape) {
  const mx::Dtype type = inputs[0].dtype();
  return results_of(primitive, std::move(inputs), {std::move(shape)}, {type})[0];
}

}  // namespace

bool computes_on_cpu(const mx::array& x) {
  return mx::default_device() == mx::Device(mx::Device::cpu) && is_float(x.dtype());
}

mx::array rms_norm_on_cpu(const mx::array& x, const std::optional<mx::array>& weight,
                          float epsilon) {
  std::vector<mx::array> inputs = {x};
  if (weight) inputs.push_back(*weight);
  return result_of(std::make_shared<RmsNormOnCpu>(cpu_stream(), epsilon), std::move(inputs),
                   x.shape());
}

mx::array widened_on_cpu(const mx::array& x) {
  return results_of(std::make_shared<WidenOnCpu>(cpu_stream()), {x}, {x.shape()}, {mx::float32})[0];
}

mx::array add_on_cpu(const mx::array& a, const mx::array& b) {
  return result_of(std::make_shared<AddOnCpu>(cpu_stream()), {a, b}, a.shape());
}

mx::array gate_on_cpu(kernels::GateKind kind, const mx::array& gate, const mx::array& up) {
  return result_of(std::make_shared<GateOnCpu>(cpu_stream(), kind), {gate, up}, gate.shape());
}

mx::array rotate_on_cpu(const mx::array& x, std::shared_ptr<const RotationTable> table,
                        int offset) {
  return result_of(std::make_shared<RotateOnCpu>(cpu_stream(), std::move(table), offset), {x},
                   x.shape());
}

bool attends_on_cpu(const mx::array& queries, const mx::array& keys, const mx::array& values,
                    const std::optional<mx::array>& mask, const std::optional<mx::array>& sinks) {
  if (sinks && sinks->size() != static_cast<std::size_t>(queries.shape(1))) return false;
  if (!computes_on_cpu(queries) || keys.dtype() != queries.dtype() ||
      values.dtype() != queries.dtype() || queries.shape(0) != 1 || keys.shape(1) == 0 ||
      queries.shape(1) % keys.shape(1) != 0 || keys.shape(1) != values.shape(1) ||
      keys.shape(2) != values.shape(2) || keys.shape(3) != queries.shape(3)) {
    return false;
  }
  return !mask || (mask->dtype() == mx::bool_ &&
                   mask->shape() == mx::Shape{queries.shape(2), keys.shape(2)});
}

mx::array attend_on_cpu(const mx::array& queries, const mx::array& keys, const mx::array& values,
                        const std::optional<mx::array>& mask, const std::optional<mx::array>& sinks,
                        float scale, float softcap) {
  std::vector<mx::array> inputs = {queries, keys, values};
  if (mask) inputs.push_back(*mask);
  if (sinks) inputs.push_back(settled(mx::astype(*sinks, queries.dtype())));
  // Heads of a token lie together, as the next product reads them.
  mx::Shape shape = {1, queries.shape(2), queries.shape(1), values.shape(3)};
  const auto primitive =
      std::make_shared<AttendOnCpu>(cpu_stream(), scale, softcap, mask.has_value());
  return swapped(result_of(primitive, std::move(inputs), std::move(shape)), 1, 2);
}

}  // namespace mlxmill::runtime

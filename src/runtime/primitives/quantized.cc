#include "runtime/primitives/quantized.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "runtime/primitives/cpu_primitive.h"

namespace mlxmill::runtime {
namespace {

/// Weights of a task.
constexpr std::size_t kPiece = 16384;

const std::uint8_t* advanced(const mx::array& x, std::size_t elements) {
  return x.data<std::uint8_t>() + elements * x.itemsize();
}

class QuantizeOnCpu final : public CpuPrimitive {
 public:
  QuantizeOnCpu(mx::Stream stream, const Scheme& scheme) : CpuPrimitive(stream), scheme_(scheme) {}
  const char* name() const override { return "MlxmillQuantize"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array x = row_major(inputs[0]);
    for (mx::array& part : outputs) allocate(part);
    dispatch([scheme = scheme_, type = dtype_of(x.dtype()), x = x.data<void>(), n = x.size(),
              codes = outputs[0].data<void>(), scales = outputs[1].data<void>(),
              biases = outputs[2].data<void>()] {
      kernels::quantize(scheme, x, type, n, {codes, scales, biases});
    });
  }

 private:
  Scheme scheme_;
};

class DequantizeOnCpu final : public CpuPrimitive {
 public:
  DequantizeOnCpu(mx::Stream stream, const Scheme& scheme)
      : CpuPrimitive(stream), scheme_(scheme) {}
  const char* name() const override { return "MlxmillDequantize"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    allocate(outputs[0]);
    std::vector<mx::array> parts;
    for (const mx::array& part : inputs) parts.push_back(dense_heads(part));
    dispatch([parts = weak(parts), scheme = scheme_, y = mx::array::unsafe_weak_copy(outputs[0])] {
      dequantize(parts, scheme, y);
    });
  }

 private:
  /// Without owning what the graph owns.
  static std::vector<mx::array> weak(const std::vector<mx::array>& parts) {
    std::vector<mx::array> copies;
    for (const mx::array& part : parts) copies.push_back(mx::array::unsafe_weak_copy(part));
    return copies;
  }

  /// Heads one after another, wherever each starts, each in one piece.
  mx::array dense_heads(const mx::array& x) {
    const bool dense = x.strides(3) == 1 && x.strides(2) == x.shape(3) && x.strides(1) >= 0;
    return dense ? x : row_major(x);
  }

  static void dequantize(const std::vector<mx::array>& parts, const Scheme& scheme,
                         const mx::array& y) {
    const auto heads = static_cast<std::size_t>(y.shape(1));
    const std::size_t of_head = heads == 0 ? 0 : y.size() / heads;
    const auto group = static_cast<std::size_t>(scheme.group_size);
    const auto bits = static_cast<std::size_t>(scheme.bits);
    const std::size_t pieces = (of_head + kPiece - 1) / kPiece;
    auto* to = const_cast<std::uint8_t*>(y.data<std::uint8_t>());
    base::ThreadPool::shared().run(heads * pieces, [&](std::size_t task, int /*worker*/) {
      const std::size_t head = task / pieces;
      const std::size_t first = task % pieces * kPiece;
      const std::size_t n = std::min(kPiece, of_head - first);
      const auto place = [&](std::size_t part, std::size_t elements) {
        return advanced(parts[part],
                        head * static_cast<std::size_t>(parts[part].strides(1)) + elements);
      };
      kernels::dequantize(
          scheme, {place(0, first * bits / 32), place(1, first / group), place(2, first / group)},
          dtype_of(y.dtype()), n, to + (head * of_head + first) * y.itemsize());
    });
  }

  Scheme scheme_;
};

}  // namespace

std::vector<mx::array> quantize_on_cpu(const mx::array& x, const Scheme& scheme) {
  const int cols = x.shape(-1);
  const mx::Shape groups = with_last(x.shape(), cols / scheme.group_size);
  return results_of(std::make_shared<QuantizeOnCpu>(cpu_stream(), scheme), {x},
                    {with_last(x.shape(), cols * scheme.bits / 32), groups, groups},
                    {mx::uint32, x.dtype(), x.dtype()});
}

mx::array dequantize_on_cpu(const std::vector<mx::array>& parts, const Scheme& scheme) {
  const int cols = parts[1].shape(-1) * scheme.group_size;
  const mx::Dtype type = parts[1].dtype();
  return results_of(std::make_shared<DequantizeOnCpu>(cpu_stream(), scheme), parts,
                    {with_last(parts[0].shape(), cols)}, {type})[0];
}

}  // namespace mlxmill::runtime

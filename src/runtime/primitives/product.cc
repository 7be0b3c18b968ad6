#include "runtime/primitives/product.h"

#include <mlx/backend/cpu/encoder.h>
#include <mlx/primitives.h>

#include <cstring>
#include <numeric>
#include <stdexcept>

#include "base/thread_pool.h"
#include "kernels/matmul.h"

namespace mlxmill::runtime {
namespace {

DType dtype_of(mx::Dtype type) {
  if (type == mx::float16) return DType::kF16;
  return type == mx::bfloat16 ? DType::kBF16 : DType::kF32;
}

bool is_float(mx::Dtype type) {
  return type == mx::float16 || type == mx::bfloat16 || type == mx::float32;
}

/// What a primitive has to remember of a layer; its arrays are the primitive's inputs.
struct Form {
  std::optional<Scheme> scheme;
  bool has_biases = false;

  std::size_t arrays() const { return 1u + (scheme ? 1 : 0) + (has_biases ? 1 : 0); }
};

Form form_of(const Linear& layer) {
  return {layer.scales ? std::optional(layer.scheme) : std::nullopt, layer.biases.has_value()};
}

/// The layer's arrays, each in one piece, behind those that `inputs` holds.
void add_arrays(const Linear& layer, std::vector<mx::array>& inputs, const mx::Stream& stream) {
  inputs.push_back(mx::contiguous(layer.weight, false, stream));
  if (layer.scales) inputs.push_back(mx::contiguous(*layer.scales, false, stream));
  if (layer.biases) inputs.push_back(mx::contiguous(*layer.biases, false, stream));
}

/// The weight whose arrays start at inputs[at]; of stacked ones the first.
kernels::MatrixView view_of(const Form& shape, const std::vector<mx::array>& inputs, std::size_t at,
                            std::size_t cols) {
  kernels::MatrixView w;
  w.scheme = shape.scheme;
  w.data = inputs[at].data<void>();
  w.rows = static_cast<std::size_t>(inputs[at].shape(-2));
  w.cols = cols;
  w.type = dtype_of(inputs[at].dtype());
  if (shape.scheme) {
    w.scales = inputs[at + 1].data<void>();
    w.type = dtype_of(inputs[at + 1].dtype());
  }
  if (shape.has_biases) w.biases = inputs[at + 2].data<void>();
  return w;
}

/// Bytes of one expert's part of a stacked array.
std::size_t part_bytes(const mx::array& stacked) {
  return stacked.shape(0) == 0 ? 0 : stacked.nbytes() / static_cast<std::size_t>(stacked.shape(0));
}

const void* advance(const void* at, std::size_t bytes) {
  return at == nullptr ? nullptr : static_cast<const std::uint8_t*>(at) + bytes;
}

class Products final : public mx::Primitive {
 public:
  Products(mx::Stream stream, std::vector<Form> shapes)
      : Primitive(stream), shapes_(std::move(shapes)) {}

  const char* name() const override { return "MlxmillProducts"; }
  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("MlxmillProducts has no GPU form");
  }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array& x = inputs[0];
    const auto cols = static_cast<std::size_t>(x.shape(-1));
    std::vector<kernels::Product> products;
    std::size_t at = 1;
    for (std::size_t i = 0; i < shapes_.size(); at += shapes_[i++].arrays()) {
      outputs[i].set_data(mx::allocator::malloc(outputs[i].nbytes()));
      kernels::Product p;
      p.weight = view_of(shapes_[i], inputs, at, cols);
      p.type = dtype_of(x.dtype());
      p.x = x.data<void>();
      p.y = outputs[i].data<void>();
      p.x_stride = cols;
      p.y_stride = p.weight.rows;
      p.count = cols == 0 ? 0 : x.size() / cols;
      products.push_back(p);
    }
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([products = std::move(products)] {
      kernels::multiply(products, base::ThreadPool::shared());
    });
  }

 private:
  std::vector<Form> shapes_;
};

/// Rows that each expert gets, experts one after another.
struct Routes {
  std::vector<std::uint32_t> in, out;  // Rows of x and y, by expert.
  std::vector<std::size_t> first;      // Where each expert's start; one more at the end.
};

Routes route(const std::uint32_t* experts, const std::uint32_t* rows, std::size_t n,
             std::size_t n_experts) {
  Routes routes;
  routes.first.assign(n_experts + 1, 0);
  for (std::size_t i = 0; i < n; ++i) {
    if (experts[i] < n_experts) ++routes.first[experts[i] + 1];
  }
  std::partial_sum(routes.first.begin(), routes.first.end(), routes.first.begin());
  routes.in.resize(routes.first.back());
  routes.out.resize(routes.first.back());
  std::vector<std::size_t> next(routes.first.begin(), routes.first.end() - 1);
  for (std::size_t i = 0; i < n; ++i) {
    if (experts[i] >= n_experts) continue;
    const std::size_t at = next[experts[i]]++;
    routes.in[at] = rows[i];
    routes.out[at] = static_cast<std::uint32_t>(i);
  }
  return routes;
}

/// A product of stacked experts, with what leads from one to the next.
struct Gathered {
  kernels::Product product;
  std::size_t experts, data_bytes, scales_bytes, biases_bytes;
  std::size_t outputs;
  std::size_t y_bytes;
  const std::uint32_t* indices;
  const std::uint32_t* rows;
};

void multiply_gathered(const Gathered& g) {
  const Routes routes = route(g.indices, g.rows, g.outputs, g.experts);
  if (routes.in.size() != g.outputs) std::memset(g.product.y, 0, g.y_bytes);
  std::vector<kernels::Product> products;
  for (std::size_t e = 0; e < g.experts; ++e) {
    const std::size_t first = routes.first[e];
    if (routes.first[e + 1] == first) continue;
    kernels::Product p = g.product;
    p.weight.data = advance(p.weight.data, e * g.data_bytes);
    p.weight.scales = advance(p.weight.scales, e * g.scales_bytes);
    p.weight.biases = advance(p.weight.biases, e * g.biases_bytes);
    p.count = routes.first[e + 1] - first;
    p.in = routes.in.data() + first;
    p.out = routes.out.data() + first;
    products.push_back(p);
  }
  kernels::multiply(products, base::ThreadPool::shared());
}

class GatheredProduct final : public mx::Primitive {
 public:
  GatheredProduct(mx::Stream stream, Form shape) : Primitive(stream), shape_(shape) {}

  const char* name() const override { return "MlxmillGatheredProduct"; }
  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("MlxmillGatheredProduct has no GPU form");
  }

  /// Inputs: x, indices and rows of x (u32, one each for every row of y), the layer's arrays.
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array& x = inputs[0];
    mx::array& y = outputs[0];
    y.set_data(mx::allocator::malloc(y.nbytes()));
    Gathered g{};
    g.product.weight = view_of(shape_, inputs, 3, static_cast<std::size_t>(x.shape(-1)));
    g.product.type = dtype_of(x.dtype());
    g.product.x = x.data<void>();
    g.product.y = y.data<void>();
    g.product.x_stride = g.product.weight.cols;
    g.product.y_stride = g.product.weight.rows;
    g.experts = static_cast<std::size_t>(inputs[3].shape(0));
    g.data_bytes = part_bytes(inputs[3]);
    if (shape_.scheme) g.scales_bytes = part_bytes(inputs[4]);
    if (shape_.has_biases) g.biases_bytes = part_bytes(inputs[5]);
    g.outputs = inputs[1].size();
    g.y_bytes = y.nbytes();
    g.indices = inputs[1].data<std::uint32_t>();
    g.rows = inputs[2].data<std::uint32_t>();
    mx::cpu::get_command_encoder(stream()).dispatch([g] { multiply_gathered(g); });
  }

 private:
  Form shape_;
};

mx::Shape with_last(mx::Shape shape, int last) {
  shape.back() = last;
  return shape;
}

}  // namespace

bool multiplies_on_cpu(const Linear& layer, const mx::array& x, int weight_axes) {
  if (mx::default_stream(mx::default_device()).device != mx::Device::cpu) return false;
  if (!is_float(x.dtype()) || static_cast<int>(layer.weight.ndim()) != weight_axes) return false;
  if (!layer.scales) return layer.weight.dtype() == x.dtype() && x.dtype() != mx::float32;
  const bool affine = layer.scheme.mode == Mode::kAffine;
  return affine == layer.biases.has_value() && (!affine || is_float(layer.scales->dtype()));
}

std::vector<mx::array> multiply_on_cpu(const std::vector<const Linear*>& layers,
                                       const mx::array& x) {
  const mx::Stream stream = mx::default_stream(mx::Device::cpu);
  std::vector<mx::array> inputs = {mx::contiguous(x, false, stream)};
  std::vector<Form> shapes;
  std::vector<mx::Shape> outputs;
  for (const Linear* layer : layers) {
    add_arrays(*layer, inputs, stream);
    shapes.push_back(form_of(*layer));
    outputs.push_back(with_last(x.shape(), layer->outputs()));
  }
  return mx::array::make_arrays(std::move(outputs),
                                std::vector<mx::Dtype>(layers.size(), x.dtype()),
                                std::make_shared<Products>(stream, std::move(shapes)), inputs);
}

mx::array gather_on_cpu(const Linear& layer, const mx::array& x, const mx::array& indices) {
  const mx::Stream stream = mx::default_stream(mx::Device::cpu);
  mx::Shape leading(x.shape().begin(), x.shape().end() - 2);
  const auto x_rows = static_cast<int>(
      std::accumulate(leading.begin(), leading.end(), std::int64_t{1}, std::multiplies<>()));
  const mx::array numbers = mx::reshape(mx::arange(0, x_rows, mx::uint32), leading);
  const auto both = mx::broadcast_arrays({mx::astype(indices, mx::uint32), numbers});
  std::vector<mx::array> inputs = {mx::contiguous(x, false, stream),
                                   mx::contiguous(both[0], false, stream),
                                   mx::contiguous(both[1], false, stream)};
  add_arrays(layer, inputs, stream);
  mx::Shape output = both[0].shape();
  output.push_back(1);
  output.push_back(layer.outputs());
  return mx::array(std::move(output), x.dtype(),
                   std::make_shared<GatheredProduct>(stream, form_of(layer)), inputs);
}

}  // namespace mlxmill::runtime

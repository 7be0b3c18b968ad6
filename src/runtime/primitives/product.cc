#include "runtime/primitives/product.h"

#include <cstring>
#include <numeric>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "runtime/primitives/cpu_primitive.h"
#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

/// What a primitive has to remember of a layer; its arrays are the primitive's inputs.
struct Form {
  std::optional<Scheme> scheme;
  bool has_biases = false;
  bool has_bias = false;
  bool int8_x = false;

  std::size_t arrays() const {
    return 1u + (scheme ? 1 : 0) + (has_biases ? 1 : 0) + (has_bias ? 1 : 0);
  }
};

/// The bias counts where it has the type of what it is added to.
Form form_of(const Linear& layer, mx::Dtype type) {
  return {layer.scales ? std::optional(layer.scheme) : std::nullopt, layer.biases.has_value(),
          layer.bias && layer.bias->dtype() == type &&
              layer.bias->shape() == mx::Shape{layer.outputs()},
          layer.int8_x};
}

/// An array in one piece. Weights are already, and cost no step of the graph.
mx::array in_one_piece(const mx::array& x, const mx::Stream& stream) {
  const bool known = x.status() == mx::array::Status::available;
  return known && x.flags().row_contiguous ? x : mx::contiguous(x, false, stream);
}

/// The layer's arrays behind those that `inputs` holds.
void add_arrays(const Linear& layer, const Form& form, std::vector<mx::array>& inputs,
                const mx::Stream& stream) {
  inputs.push_back(in_one_piece(layer.weight, stream));
  if (layer.scales) inputs.push_back(in_one_piece(*layer.scales, stream));
  if (layer.biases) inputs.push_back(in_one_piece(*layer.biases, stream));
  if (form.has_bias) inputs.push_back(in_one_piece(*layer.bias, stream));
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

class Products final : public CpuPrimitive {
 public:
  Products(mx::Stream stream, std::vector<Form> shapes)
      : CpuPrimitive(stream), shapes_(std::move(shapes)) {}

  const char* name() const override { return "MlxmillProducts"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array x = row_major(inputs[0]);
    const auto cols = static_cast<std::size_t>(x.shape(-1));
    std::vector<kernels::Product> products;
    std::size_t at = 1;
    for (std::size_t i = 0; i < shapes_.size(); at += shapes_[i++].arrays()) {
      allocate(outputs[i]);
      kernels::Product p;
      p.weight = view_of(shapes_[i], inputs, at, cols);
      p.type = dtype_of(x.dtype());
      p.int8_x = shapes_[i].int8_x;
      p.x = x.data<void>();
      p.y = outputs[i].data<void>();
      if (shapes_[i].has_bias) p.bias = inputs[at + shapes_[i].arrays() - 1].data<void>();
      p.x_stride = cols;
      p.y_stride = p.weight.rows;
      p.count = cols == 0 ? 0 : x.size() / cols;
      products.push_back(p);
    }
    dispatch([products = std::move(products)] {
      kernels::multiply(products, base::ThreadPool::shared());
    });
  }

 private:
  std::vector<Form> shapes_;
};

/// Rows that each expert gets, experts one after another.
struct GroupedRoutes {
  std::vector<std::uint32_t> in, out;  // Rows of x and y, by expert.
  std::vector<std::size_t> first;      // Where each expert's start; one more at the end.
};

GroupedRoutes route(const std::uint32_t* experts, const std::uint32_t* rows, std::size_t n,
                    std::size_t n_experts) {
  GroupedRoutes routes;
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
  const GroupedRoutes routes = route(g.indices, g.rows, g.outputs, g.experts);
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

class GatheredProduct final : public CpuPrimitive {
 public:
  GatheredProduct(mx::Stream stream, Form shape) : CpuPrimitive(stream), shape_(shape) {}

  const char* name() const override { return "MlxmillGatheredProduct"; }

  /// Inputs: x, indices and rows of x (u32, one each for every row of y), the layer's arrays.
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array& x = inputs[0];
    mx::array& y = outputs[0];
    allocate(y);
    Gathered g{};
    g.product.weight = view_of(shape_, inputs, 3, static_cast<std::size_t>(x.shape(-1)));
    g.product.type = dtype_of(x.dtype());
    g.product.int8_x = shape_.int8_x;
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
    dispatch([g] { multiply_gathered(g); });
  }

 private:
  Form shape_;
};

/// The row of x that each result reads: `leading` axes of x, broadcast to `shape`.
mx::array rows_read(const mx::Shape& leading, const mx::Shape& shape) {
  std::vector<std::uint32_t> rows = {0};
  std::uint32_t step = 1;
  // From the last axis on, what is there repeats along each further one.
  for (std::size_t axis = shape.size(), own = leading.size(); axis-- > 0;) {
    const int extent = own == 0 ? 1 : leading[--own];
    const std::size_t n = rows.size();
    rows.reserve(n * static_cast<std::size_t>(shape[axis]));
    if (shape[axis] == 0) rows.clear();
    for (int i = 1; i < shape[axis]; ++i) {
      const std::uint32_t first = extent == 1 ? 0 : static_cast<std::uint32_t>(i) * step;
      for (std::size_t k = 0; k < n; ++k) rows.push_back(first + rows[k]);
    }
    step *= static_cast<std::uint32_t>(extent);
  }
  return mx::array(rows.begin(), shape, mx::uint32);
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
  const mx::Stream stream = cpu_stream();
  std::vector<mx::array> inputs = {x};
  std::vector<Form> shapes;
  std::vector<mx::Shape> outputs;
  for (const Linear* layer : layers) {
    shapes.push_back(form_of(*layer, x.dtype()));
    add_arrays(*layer, shapes.back(), inputs, stream);
    outputs.push_back(with_last(x.shape(), layer->outputs()));
  }
  const auto products = std::make_shared<Products>(stream, shapes);
  std::vector<mx::array> results = results_of(products, std::move(inputs), std::move(outputs),
                                              std::vector<mx::Dtype>(layers.size(), x.dtype()));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i]->bias && !shapes[i].has_bias) results[i] = mx::add(results[i], *layers[i]->bias);
  }
  return results;
}

mx::array gather_on_cpu(const Linear& layer, const mx::array& x, const mx::array& indices) {
  const mx::Stream stream = cpu_stream();
  const mx::Shape leading(x.shape().begin(), x.shape().end() - 2);
  mx::Shape output = mx::broadcast_shapes(leading, indices.shape());
  mx::array experts = indices.dtype() == mx::uint32 ? indices : mx::astype(indices, mx::uint32);
  if (experts.shape() != output) experts = mx::broadcast_to(experts, output);
  std::vector<mx::array> inputs = {in_one_piece(x, stream), in_one_piece(experts, stream),
                                   rows_read(leading, output)};
  Form form = form_of(layer, x.dtype());
  form.has_bias = false;
  add_arrays(layer, form, inputs, stream);
  output.push_back(1);
  output.push_back(layer.outputs());
  return results_of(std::make_shared<GatheredProduct>(stream, form), std::move(inputs),
                    {std::move(output)}, {x.dtype()})[0];
}

bool has_rows_on_cpu(const Linear& table, const mx::array& ids) {
  const auto ready = [](const std::optional<mx::array>& part) {
    return !part || (at_hand(*part) && part->flags().row_contiguous);
  };
  return ids.dtype() == mx::int32 && ready(ids) && ready(table.weight) && ready(table.scales) &&
         ready(table.biases) && table.weight.ndim() == 2 &&
         (!table.biases || is_float(table.biases->dtype()));
}

mx::array rows_on_cpu(const Linear& table, const mx::array& ids, mx::Dtype dtype) {
  const mx::array& codes = table.weight;
  const mx::Dtype type = table.biases   ? table.biases->dtype()
                         : table.scales ? dtype
                                        : codes.dtype();
  const int cols = table.scales ? table.scales->shape(1) * table.scheme.group_size : codes.shape(1);
  mx::Shape shape = ids.shape();
  shape.push_back(cols);
  mx::array result(std::move(shape), type, nullptr, {});
  result.set_data(mx::allocator::malloc(result.nbytes()));
  auto* to = result.data<std::uint8_t>();
  const std::size_t bytes = static_cast<std::size_t>(cols) * result.itemsize();
  const auto row_of = [](const mx::array& part, std::int32_t id) {
    const std::size_t row = part.nbytes() / static_cast<std::size_t>(part.shape(0));
    return part.data<std::uint8_t>() + static_cast<std::size_t>(id) * row;
  };
  for (std::size_t i = 0; i < ids.size(); ++i, to += bytes) {
    const std::int32_t id = ids.data<std::int32_t>()[i];
    if (!table.scales) {
      std::memcpy(to, row_of(codes, id), bytes);
      continue;
    }
    const kernels::QuantizedIn in{row_of(codes, id), row_of(*table.scales, id),
                                  table.biases ? row_of(*table.biases, id) : nullptr};
    kernels::dequantize(table.scheme, in, dtype_of(type), static_cast<std::size_t>(cols), to);
  }
  result.set_status(mx::array::Status::available);
  return result;
}

}  // namespace mlxmill::runtime

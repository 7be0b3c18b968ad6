#include "runtime/watch.h"

#include <cstring>
#include <map>

#include "runtime/primitives/cpu_primitive.h"

namespace mlxmill::runtime {
namespace {

thread_local Watch* watching = nullptr;

mx::array row_major(const mx::array& x) {
  const bool ready = x.is_available() && x.flags().row_contiguous;
  mx::array dense = ready ? x : mx::contiguous(x);
  mx::eval(dense);
  return dense;
}

std::shared_ptr<const InputRows> rows_of(const mx::array& x) {
  const mx::array dense = row_major(x);
  auto rows = std::make_shared<InputRows>();
  rows->dtype = dtype_of(dense.dtype());
  rows->columns = static_cast<std::size_t>(dense.shape(-1));
  rows->values.resize(dense.nbytes());
  std::memcpy(rows->values.data(), dense.data<std::byte>(), dense.nbytes());
  return rows;
}

/// x [..., matrices, rows, in] meets matrix by matrix; where it has one for all, there is nothing
/// to tell apart.
std::vector<std::uint32_t> matrices_of(const mx::array& x, int matrices) {
  if (matrices == 1 || x.ndim() < 3 || x.shape(-3) != matrices) return {};
  const auto each = static_cast<std::size_t>(x.shape(-2));
  std::vector<std::uint32_t> of_rows(x.size() / static_cast<std::size_t>(x.shape(-1)));
  for (std::size_t row = 0; row < of_rows.size(); ++row) {
    of_rows[row] = static_cast<std::uint32_t>(row / each % static_cast<std::size_t>(matrices));
  }
  return of_rows;
}

std::vector<std::uint32_t> numbers_of(const mx::array& indices) {
  const mx::array dense = row_major(mx::astype(indices, mx::uint32));
  return {dense.data<std::uint32_t>(), dense.data<std::uint32_t>() + dense.size()};
}

/// x [..., 1, in] with a row for each index, or for each run of them along their last axes.
mx::array matched(const mx::array& x, const mx::array& indices) {
  const mx::Shape& to = indices.shape();
  const mx::Shape from(x.shape().begin(), x.shape().end() - 2);
  std::size_t same = 0;
  while (same < std::min(from.size(), to.size()) && from[same] == to[same]) ++same;
  bool fits = from.size() == to.size();
  for (std::size_t axis = same; axis < from.size(); ++axis) fits = fits && from[axis] == 1;
  if (fits) return x;
  mx::Shape shape = to;
  shape.insert(shape.end(), x.shape().end() - 2, x.shape().end());
  return mx::broadcast_to(x, shape);
}

/// The rows of x that met each of the modules, one for each matrix of a stack. `met` as in
/// ModuleInput::matrices.
void add_modules(const std::vector<std::string>& modules, const std::shared_ptr<const InputRows>& x,
                 const std::vector<std::uint32_t>& met, std::vector<ModuleInput>& inputs) {
  const std::size_t row_bytes = x->columns * dtype_bytes(x->dtype);
  const std::size_t each = x->rows() == 0 ? 0 : met.size() / x->rows();
  for (std::size_t k = 0; k < modules.size(); ++k) {
    if (met.empty()) {
      inputs.push_back({modules[k], x, {}});
      continue;
    }
    auto rows = std::make_shared<InputRows>();
    rows->dtype = x->dtype;
    rows->columns = x->columns;
    for (std::size_t i = 0; i < met.size(); ++i) {
      if (met[i] != k) continue;
      const auto row = x->values.begin() + static_cast<std::ptrdiff_t>(i / each * row_bytes);
      rows->values.insert(rows->values.end(), row, row + static_cast<std::ptrdiff_t>(row_bytes));
    }
    if (!rows->values.empty()) inputs.push_back({modules[k], std::move(rows), {}});
  }
}

}  // namespace

Watch::Watch() { watching = this; }
Watch::~Watch() { watching = nullptr; }
Watch* Watch::current() { return watching; }

void Watch::met(const Linear& layer, const mx::array& x) {
  const int matrices = layer.weight.ndim() > 2 ? layer.weight.shape(0) : 1;
  meetings_.push_back({layer.path, matrices, x, std::nullopt, layer.stacked_of});
}

void Watch::met(const Linear& layer, const mx::array& x, const mx::array& indices) {
  const mx::Shape leading(x.shape().begin(), x.shape().end() - 2);
  const mx::array all = mx::broadcast_to(indices, mx::broadcast_shapes(leading, indices.shape()));
  // Kept as it came where it can be: layers that read the same then share it.
  meetings_.push_back({layer.path, layer.weight.shape(0), matched(x, all), all, layer.stacked_of});
}

std::vector<ModuleInput> Watch::inputs() const {
  std::map<std::uintptr_t, std::shared_ptr<const InputRows>> known;
  std::vector<ModuleInput> inputs;
  for (const Meeting& meeting : meetings_) {
    std::shared_ptr<const InputRows>& rows = known[meeting.x.id()];
    if (!rows) rows = rows_of(meeting.x);
    std::vector<std::uint32_t> met =
        meeting.indices ? numbers_of(*meeting.indices) : matrices_of(meeting.x, meeting.matrices);
    if (meeting.stacked_of) {
      add_modules(*meeting.stacked_of, rows, met, inputs);
    } else {
      inputs.push_back({meeting.module, rows, std::move(met)});
    }
  }
  return inputs;
}

}  // namespace mlxmill::runtime

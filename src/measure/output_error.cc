#include "measure/output_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/matmul.h"

namespace mlxmill::measure {
namespace {

// Of the weight: their outputs for all rows of x are held.
constexpr std::uint64_t kRowsAtOnce = 1024;

double sum_of_squares(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return sum;
}

std::optional<double> ratio(double difference, double size) {
  if (!std::isfinite(difference) || !std::isfinite(size)) return std::nullopt;
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

}  // namespace

Result<OutputError> OutputError::make(std::span<const ModuleInput> inputs, const Shape& shape) {
  OutputError error(shape);
  error.rows_of_.resize(shape.matrices);
  error.sums_.resize(shape.matrices);
  MLXMILL_TRY(error.gather(inputs));
  return error;
}

Status OutputError::gather(std::span<const ModuleInput> inputs) {
  std::size_t total = 0;
  for (const ModuleInput& input : inputs) total += input.rows->rows();
  x_.resize(total * shape_.columns);
  std::size_t at = 0;
  for (const ModuleInput& input : inputs) {
    const InputRows& rows = *input.rows;
    const std::size_t n = rows.rows();
    const bool fits = rows.columns == shape_.columns &&
                      (input.matrices.empty() || (n > 0 && input.matrices.size() % n == 0));
    if (!fits) {
      return Error(
          Code::kInternal,
          fmt::format("rows of {} numbers for {} matrices reached a weight with {} columns",
                      rows.columns, input.matrices.size(), shape_.columns));
    }
    kernels::convert_floats(rows.values.data(), rows.dtype, x_.data() + at * shape_.columns,
                            DType::kF32, n * shape_.columns);
    const std::size_t each = n == 0 ? 0 : input.matrices.size() / n;
    for (std::size_t row = 0; row < n; ++row, ++at) {
      if (input.matrices.empty()) {
        for (auto& of : rows_of_) of.push_back(static_cast<std::uint32_t>(at));
      }
      for (std::size_t i = 0; i < each; ++i) {
        const std::uint32_t matrix = input.matrices[row * each + i];
        if (matrix >= shape_.matrices) {
          return Error(Code::kInternal,
                       fmt::format("a row met matrix {} of {}", matrix, shape_.matrices));
        }
        rows_of_[matrix].push_back(static_cast<std::uint32_t>(at));
      }
    }
  }
  return {};
}

void OutputError::add(std::uint64_t first, std::span<const float> candidate,
                      std::span<const float> reference, base::ThreadPool& pool) {
  differences_.resize(candidate.size());
  for (std::size_t i = 0; i < candidate.size(); ++i) differences_[i] = candidate[i] - reference[i];
  const std::uint64_t end = first + candidate.size() / shape_.columns;
  for (std::uint64_t row = first; row < end;) {
    const std::uint64_t matrix = row / shape_.rows;
    const std::uint64_t next = std::min({(matrix + 1) * shape_.rows, end, row + kRowsAtOnce});
    const std::size_t at = (row - first) * shape_.columns;
    const std::size_t n = (next - row) * shape_.columns;
    add_to(matrix, std::span(differences_).subspan(at, n), reference.subspan(at, n), pool);
    row = next;
  }
}

void OutputError::add_to(std::uint64_t matrix, std::span<const float> differences,
                         std::span<const float> reference, base::ThreadPool& pool) {
  const std::vector<std::uint32_t>& rows = rows_of_[matrix];
  if (rows.empty()) return;
  kernels::Product product;
  product.weight.type = product.type = DType::kF32;
  product.weight.rows = reference.size() / shape_.columns;
  product.weight.cols = product.x_stride = shape_.columns;
  product.x = x_.data();
  product.in = rows.data();
  product.count = rows.size();
  product.y_stride = product.weight.rows;
  const std::size_t n = product.count * product.weight.rows;
  outputs_.resize(2 * n);
  kernels::Product products[] = {product, product};
  products[0].weight.data = differences.data();
  products[0].y = outputs_.data();
  products[1].weight.data = reference.data();
  products[1].y = outputs_.data() + n;
  kernels::multiply(products, pool);
  const std::span<const float> outputs(outputs_);
  sums_[matrix].difference += sum_of_squares(outputs.first(n));
  sums_[matrix].size += sum_of_squares(outputs.subspan(n));
}

std::optional<double> OutputError::total() const {
  Sums all;
  bool met = false;
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    met = met || !rows_of_[i].empty();
    all.difference += sums_[i].difference;
    all.size += sums_[i].size;
  }
  if (!met) return std::nullopt;
  return ratio(all.difference, all.size);
}

std::vector<std::optional<double>> OutputError::each() const {
  std::vector<std::optional<double>> errors(sums_.size());
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    if (!rows_of_[i].empty()) errors[i] = ratio(sums_[i].difference, sums_[i].size);
  }
  return errors;
}

}  // namespace mlxmill::measure

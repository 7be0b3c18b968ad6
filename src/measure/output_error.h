// How far the outputs of a module are from the reference's, over the same inputs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "mlxmill/result.h"
#include "mlxmill/run.h"

namespace mlxmill::measure {

/// |X (W' - W)^T| / |X W^T| in the Frobenius norm, X being rows that reached the module and W'
/// the candidate's weight. Biases are in neither. Weights come in ranges of rows, in any order.
/// Memory: X in float32, and its products with 1024 rows of both weights.
/// Numerics: products are summed in float32, their squares in double.
class OutputError {
 public:
  /// A weight [matrices, rows, columns]; 1 matrix for one that is no stack.
  struct Shape {
    std::uint64_t matrices = 1;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
  };

  /// Errors: kInternal when inputs do not fit the shape.
  static Result<OutputError> make(std::span<const ModuleInput> inputs, const Shape& shape);

  /// Whole rows from row `first` on, counted through all matrices; both [n, columns].
  void add(std::uint64_t first, std::span<const float> candidate, std::span<const float> reference,
           base::ThreadPool& pool);

  /// Over everything that was added; nothing where no row was met, or where outputs are not finite.
  std::optional<double> total() const;
  /// The same of each matrix.
  std::vector<std::optional<double>> each() const;

 private:
  struct Sums {
    double difference = 0;
    double size = 0;
  };

  explicit OutputError(const Shape& shape) : shape_(shape) {}
  Status gather(std::span<const ModuleInput> inputs);
  void add_to(std::uint64_t matrix, std::span<const float> differences,
              std::span<const float> reference, base::ThreadPool& pool);

  Shape shape_;
  std::vector<float> x_;                             ///< [all rows, columns]
  std::vector<std::vector<std::uint32_t>> rows_of_;  ///< By matrix, rows of x_.
  std::vector<Sums> sums_;                           ///< By matrix.
  std::vector<float> differences_, outputs_;
};

}  // namespace mlxmill::measure

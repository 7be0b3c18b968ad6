// The tensors of a checkpoint while a weight format turns what it stores into weights.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"
#include "tensors/tensor_view.h"

namespace mlxmill::sources {

/// Reads a whole small tensor: its index in the checkpoint. Errors: those of io::File.
using ReadSmall = std::function<Result<std::vector<std::byte>>(std::size_t index)>;

/// Views by name, in the order of the checkpoint; what is made comes after them.
class SourceTable {
 public:
  explicit SourceTable(std::vector<tensors::TensorView> views, ReadSmall read);

  const tensors::TensorView* find(std::string_view name) const;

  /// Takes a tensor out of the table. Errors: kInvalidInput when it is not there; `needed_by` is
  /// the tensor that asks for it.
  Result<tensors::TensorView> take(std::string_view name, std::string_view needed_by);
  /// The same for one that may be absent.
  std::optional<tensors::TensorView> take_if(std::string_view name);

  /// Adds or replaces.
  void put(tensors::TensorView view);

  /// Names that end so, in the table's order, without the ending.
  std::vector<std::string> ending_in(std::string_view ending) const;

  /// A stored tensor of at most 1 MiB, whole. Errors: kUnsupported for a larger or computed one;
  /// those of io::File.
  Result<std::vector<std::byte>> read(const tensors::TensorView& view) const;

  /// What is in the table, in its order.
  std::vector<const tensors::TensorView*> in_order() const;
  std::vector<tensors::TensorView> views() &&;

 private:
  std::deque<std::optional<tensors::TensorView>> views_;  ///< Grows without a copy of itself.
  std::map<std::string, std::size_t, std::less<>> index_;
  ReadSmall read_;
};

}  // namespace mlxmill::sources

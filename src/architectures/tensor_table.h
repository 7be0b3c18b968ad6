// The tensors of a checkpoint while rules turn them into those of the converted model.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "architectures/declaration.h"
#include "mlxmill/result.h"
#include "tensors/tensor_view.h"

namespace mlxmill::architectures {

/// Views by name; no two share one.
class TensorTable {
 public:
  /// Errors: kInvalidInput for a name that is empty, longer than 1024 bytes or there twice.
  static Result<TensorTable> of(std::vector<TensorView> tensors);

  bool has(std::string_view name) const { return index_.find(name) != index_.end(); }
  const TensorView* find(std::string_view name) const;
  const std::vector<TensorView>& views() const { return views_; }

  /// Takes other views instead. Errors: kInvalidInput when two would have one name or rules
  /// computed too much on top of each other; the table is unchanged then.
  Status replace(std::vector<TensorView> views);

 private:
  std::vector<TensorView> views_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

}  // namespace mlxmill::architectures

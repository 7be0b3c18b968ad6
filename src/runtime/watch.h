// What reaches the weights of modules while a model runs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mlxmill/run.h"
#include "runtime/linear.h"

namespace mlxmill::runtime {

/// As long as it lives, products with weights on its thread tell it what they read; what a product
/// computes does not change. One at a time on a thread.
class Watch {
 public:
  Watch();
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// The one that watches this thread; null without.
  static Watch* current();

  /// As the arguments of apply(), or of apply_gathered().
  void met(const Linear& layer, const mx::array& x);
  void met(const Linear& layer, const mx::array& x, const mx::array& indices);

  /// All that was told, in its order. Of a stack made of the model's own modules, those that rows
  /// met are named instead, in the stack's order. Evaluates it.
  std::vector<ModuleInput> inputs() const;

 private:
  struct Meeting {
    std::string module;
    int matrices;  ///< In its weight.
    mx::array x;
    std::optional<mx::array> indices;
    std::shared_ptr<const std::vector<std::string>> stacked_of;
  };
  std::vector<Meeting> meetings_;
};

}  // namespace mlxmill::runtime

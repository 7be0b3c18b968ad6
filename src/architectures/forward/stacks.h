// Modules that a model holds one by one, as the stacks that blocks compute with.
#pragma once

#include <span>

#include "architectures/declaration.h"

namespace mlxmill::architectures {

/// Puts one module in the place of those that a stack is made of: its tensors are views
/// [modules, ...] over theirs, and nothing is read. Errors: kInvalidInput for modules that are not
/// there or differ in shape, and for one in two stacks; kUnsupported for modules that are not
/// quantized alike.
Status stack_modules(std::span<const StackSpec> stacks, Layout& layout);

}  // namespace mlxmill::architectures

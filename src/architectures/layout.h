// From the tensors after all rules to the modules of the converted model.
#pragma once

#include "architectures/declaration.h"
#include "architectures/program.h"
#include "architectures/scope.h"
#include "architectures/tensor_table.h"
#include "mlxmill/result.h"

namespace mlxmill::architectures {

/// Adds the modules of a family that says what it holds; every tensor must belong to one, as
/// mlx-lm's strict load has it. Errors: kInvalidInput or kUnsupported with all differences counted
/// and the first ones listed.
Status add_strict_modules(const detail::Program& program, Scope& scope, const TensorTable& tensors,
                          Layout& layout);

/// What [config] comes to. Errors: those of its expressions.
Result<std::vector<ConfigEdit>> config_edits(const detail::Program& program, const Scope& scope);

/// Modules of a family that does not: tensors grouped by the path before their last dot, in natural
/// order.
Result<std::vector<Module>> open_modules(const detail::Program& program, const Scope& scope,
                                         const TensorTable& tensors);

/// Whether MLX can hold a packed view's codes in such a module: factors beside them only for
/// stacks.
bool can_take_codes(const TensorView& weight, ModuleKind kind);

/// Makes the module that of a packed view that can_take_codes(): codes, scales and perhaps biases
/// and global scales under MLX's names.
void take_codes(Module& module, const TensorView& weight);

/// Factors of nvfp4 codes, which stay float32.
bool is_global_scale(std::string_view name);

/// How a module of an MLX-quantized source is packed. `in` is the number of weights in a row.
/// Errors: the text says what does not fit.
Result<Scheme> packed_scheme(const TensorView& weight, const TensorView& scales, std::int64_t in);

}  // namespace mlxmill::architectures

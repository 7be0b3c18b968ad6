// Tensors of ggml's types as views.
#pragma once

#include <string>

#include "base/ggml_type.h"
#include "tensors/tensor_view.h"

namespace mlxmill::sources {

/// The weights of stored tensor `source` whose bytes are rows of blocks. A packed view for types
/// that MLX holds exactly; F32 decoded while it is read for the other block types; plain numbers as
/// they are. Requires rows of whole blocks.
tensors::TensorView ggml_view(std::string name, base::GgmlType type, base::Shape shape,
                              std::size_t source);

}  // namespace mlxmill::sources

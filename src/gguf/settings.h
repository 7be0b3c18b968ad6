// What the expressions of a GGUF family see: the metadata of the architecture as an object.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/value.h"
#include "formats/gguf.h"
#include "mlxmill/result.h"
#include "tensors/tensor_view.h"

namespace mlxmill::gguf {

/// general.architecture. Errors: kInvalidInput when it is missing or no string.
Result<std::string> architecture_of(const base::Value& metadata);

/// An object of
/// - the keys of the architecture without their first part, dots as objects: `block_count`,
///   `attention.head_count`; a list with the same number for every layer is that number;
/// - `general` and `tokenizer`: keys of these names, without long texts and lists of texts;
/// - `shapes`: of tensors by name, of the first layer that has them: `shapes.attn_q.weight[0]`;
/// - `rope_factors_long`, `rope_factors_short`: the numbers of these tensors;
/// - `xielu`: keys of this name;
/// - `llama3_rope`, `proportional_rope.turned`: what rope_freqs was made from (rope.h).
/// Floats are the shortest decimals that round to the F32 of the file.
/// Errors: kInvalidInput for keys of the wrong type or range; those of rope.h; kIo.
Result<base::Value> settings_of(const formats::GgufModel& model, std::string_view architecture,
                                std::span<const tensors::TensorView> views);

/// Sets a key of an object, with the objects on the way to it made where there are none.
void set_path(base::Value& object, std::span<const std::string> path, base::Value value);

}  // namespace mlxmill::gguf

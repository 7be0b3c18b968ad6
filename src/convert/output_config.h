// config.json and index of the output, as mlx-lm writes them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/value.h"
#include "mlxmill/scheme.h"
#include "quantize/recipe.h"

namespace mlxmill::convert {

/// Group size, bits and mode.
base::Value scheme_entry(const Scheme& scheme);

/// What `quantization` says of one module: what its predicate gave, or all of its scheme. Requires
/// a scheme.
base::Value module_entry(const quantize::Decision& decision);

/// The `quantization` object: the run's scheme, then one entry for every module whose decision has
/// its own.
base::Value quantization_value(
    const Scheme& scheme, const std::vector<std::pair<std::string, quantize::Decision>>& decisions);

/// The output's config: `_name_or_path` and (but with `keep_vision`) `vision_config` removed,
/// `quantization` set (or removed when `quantization` is null and `drop_quantization`), mirrored as
/// `quantization_config`, top-level keys sorted. Source: mlx_lm/utils.py save_config,
/// quantize_model.
std::string output_config_text(base::Value config, const base::Value& quantization,
                               bool drop_quantization, bool keep_vision = false);

/// Takes out `quantization_config`, also that of `text_config`.
void drop_quantization_config(base::Value& config);

/// model.safetensors.index.json. `weight_map` pairs tensor and file and is sorted here.
std::string index_text(std::uint64_t total_size, std::uint64_t total_parameters,
                       std::vector<std::pair<std::string_view, std::string_view>> weight_map);

}  // namespace mlxmill::convert

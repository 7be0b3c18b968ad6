#include "convert/packed_modules.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "convert/output_config.h"
#include "formats/quantization_config.h"
#include "tensors/operation.h"
#include "tensors/view.h"

namespace mlxmill::convert {

using architectures::Module;
using tensors::TensorView;

namespace {

/// The scheme that most packed weights have.
std::optional<Scheme> commonest(const std::vector<Module>& modules, const Decisions& decisions,
                                bool with_decided) {
  std::map<std::tuple<Mode, int, int>, std::size_t> counts;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    std::optional<Scheme> scheme;
    if (modules[i].packed) scheme = modules[i].packed_scheme;
    if (!scheme && with_decided) scheme = decisions[i].second.scheme;
    if (scheme) ++counts[{scheme->mode, scheme->bits, scheme->group_size}];
  }
  std::optional<Scheme> best;
  std::size_t most = 0;
  for (const auto& [key, n] : counts) {
    if (n <= most) continue;
    most = n;
    best = Scheme{std::get<0>(key), std::get<1>(key), std::get<2>(key)};
  }
  return best;
}

/// What floats were coded as; nothing for others.
std::optional<Scheme> coded_as(const Module& module) {
  return module.tensors.empty() ? std::nullopt : module.tensors[0].coded_as;
}

/// F32 [experts, rows, 1] from MLX's global scales [experts], which are 448 * 6 times that.
TensorView factor_of_rows(const TensorView& scales, const base::Shape& codes) {
  constexpr double kLargest = 448 * 6;
  const TensorView factor = tensors::view_of(
      scales.name,
      tensors::Computed{
          tensors::MultiplyConstant{1 / kLargest}, DType::kF32, scales.shape, {scales}});
  TensorView rows = factor;
  rows.shape = {codes[0], codes[1], 1};
  tensors::Piece& piece = rows.pieces.edit()[0];
  piece.shape = rows.shape;
  piece.strides = {1, 0, 1};
  return rows;
}

/// Where an entry of its own stands for a module of a source.
base::Value packed_entry(const Module& module) {
  base::Value entry = scheme_entry(*module.packed_scheme);
  if (has_global_scale(module)) entry.set("global_scale", base::Value(true));
  return entry;
}

}  // namespace

Status check_quantizable(const architectures::Layout& layout, bool quantizes, bool dequantizes) {
  if (!layout.as_is.empty() && (quantizes || dequantizes)) {
    return Error(Code::kUnsupported, layout.as_is)
        .hint(fmt::format("convert without {}", quantizes ? "--quantize" : "--dequantize"));
  }
  if (layout.needs_quantization_config.empty() || !quantizes) return {};
  return Error(Code::kUnsupported,
               fmt::format("the source is quantized with '{}', which mlx-lm only loads when "
                           "nothing else in the model is quantized",
                           layout.needs_quantization_config))
      .at("config.json: quantization_config")
      .hint("convert without --quantize");
}

bool has_global_scale(const Module& module) {
  return module.packed && module.packed_scheme->mode == Mode::kNvfp4 && module.tensors.size() > 2 &&
         module.tensors[2].name == module.path + ".global_scale";
}

Module unpacked(const Module& module) {
  Module result = module;
  const bool affine = module.packed_scheme->mode == Mode::kAffine;
  const bool scaled = has_global_scale(module);
  const std::size_t n_parts = affine || scaled ? 3 : 2;
  TensorView weight;
  if (module.decoded) {
    weight = *module.decoded;
  } else {
    std::optional<TensorView> biases;
    std::optional<TensorView> factor;
    if (affine) biases = module.tensors[2];
    if (scaled) factor = factor_of_rows(module.tensors[2], module.tensors[0].shape);
    tensors::Packed parts(*module.packed_scheme, module.tensors[0], module.tensors[1],
                          std::move(biases), std::move(factor));
    const DType dtype = affine ? module.tensors[1].dtype : DType::kBF16;
    weight =
        tensors::decoded(tensors::packed_view(module.tensors[0].name, std::move(parts), dtype));
  }
  weight.name = module.path + ".weight";
  const auto n = static_cast<std::ptrdiff_t>(n_parts);
  result.tensors.erase(result.tensors.begin(), result.tensors.begin() + n);
  result.keep_dtype.erase(result.keep_dtype.begin(), result.keep_dtype.begin() + n);
  result.tensors.insert(result.tensors.begin(), std::move(weight));
  result.keep_dtype.insert(result.keep_dtype.begin(), module.keep_dtype[0]);
  result.packed = false;
  result.packed_scheme.reset();
  return result;
}

Requantized::Requantized(std::vector<Module>& modules) {
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (!modules[i].packed || !modules[i].packed_scheme) continue;
    originals_.emplace_back(i, modules[i]);
    modules[i] = unpacked(modules[i]);
  }
}

std::size_t Requantized::settle(std::vector<Module>& modules, const Decisions& decisions) const {
  std::size_t n_rounded = 0;
  for (const auto& [i, original] : originals_) {
    if (decisions[i].second.scheme == original.packed_scheme) {
      modules[i] = original;
    } else if (decisions[i].second.scheme) {
      ++n_rounded;
    }
  }
  return n_rounded;
}

std::optional<Scheme> quantized_before(const Module& module) {
  if (module.tensors.empty() || !module.tensors[0].coded_as) return std::nullopt;
  const Scheme scheme = *module.tensors[0].coded_as;
  if (module.tensors[0].shape.back() % scheme.group_size != 0) return std::nullopt;
  return scheme;
}

base::Value kept_quantization(const std::vector<Module>& modules, const Decisions& decisions,
                              const base::Value& own, const std::optional<Scheme>& run) {
  const auto common = commonest(modules, decisions, !run);
  if (!common) return {};
  base::Value result = scheme_entry(*common);
  // mlx-lm's own wording where it says the same.
  base::Value config(base::Object{{"quantization", own}});
  if (!own.is_null()) {
    const auto told = formats::read_quantization_config(config);
    if (told && *told && (*told)->scheme == *common) result = own;
  }
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const quantize::Decision& decision = decisions[i].second;
    const std::string& path = modules[i].path;
    if (modules[i].packed) {
      if (modules[i].packed_scheme != common) result.set(path, packed_entry(modules[i]));
    } else if (decision.scheme &&
               ((run && decision.scheme != coded_as(modules[i])) || decision.scheme != common)) {
      result.set(path, module_entry(decision));
    }
  }
  return result;
}

}  // namespace mlxmill::convert

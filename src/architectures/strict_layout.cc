// A family with [[modules]]: expected and present tensors must agree exactly.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "architectures/language.h"
#include "architectures/layout.h"
#include "architectures/report.h"
#include "tensors/packed.h"
#include "tensors/view.h"

namespace mlxmill::architectures {
namespace {

using detail::Block;
using detail::ModuleSpec;
using detail::Parameter;
using detail::PathTemplate;

// Beyond any model; a loop costs a step of the budget per turn before any tensor justifies it.
constexpr std::int64_t kMaxLoop = 100'000;

class Builder {
 public:
  Builder(const detail::Program& program, Scope& scope, const TensorTable& tensors, Layout& result)
      : program_(program), scope_(scope), tensors_(tensors), result_(result) {
    const base::Value* quantization = scope.config().find("quantization");
    if (quantization && quantization->as_object()) quantization_ = quantization;
    // mlx-lm 0.32.2 utils.py load_model: an MLX quantization comes before the original's.
    if (!quantization_) bitnet_ = bitnet_config(scope.config());
  }

  Status build() {
    for (const Block& block : program_.blocks) {
      const auto modules = [&](const std::string& prefix) -> Status {
        if (block.when) {
          MLXMILL_ASSIGN(const bool applies, block.when->condition(scope_));
          if (!applies) return {};
        }
        for (const ModuleSpec& spec : block.modules) {
          const auto one = [&](const std::string& path) { return module(spec, path); };
          MLXMILL_TRY(expand(spec.path, 0,
                             prefix.empty() || spec.path.elements.empty() ? prefix : prefix + ".",
                             one));
        }
        return {};
      };
      MLXMILL_TRY(block.at ? expand(*block.at, 0, "", modules) : modules(""));
    }
    for (const TensorView& view : tensors_.views()) {
      if (!used_.contains(view.name)) report_.unexpected(view);
    }
    if (!report_.empty()) return report_.error(program_.family, quantization_ != nullptr);
    return {};
  }

 private:
  using Visit = std::function<Status(const std::string& path)>;

  /// Visits every path a template stands for, loop variables set.
  Status expand(const PathTemplate& path, std::size_t at, const std::string& prefix,
                const Visit& visit) {
    if (at == path.elements.size()) return visit(prefix);
    const PathTemplate::Element& element = path.elements[at];
    if (!element.gap) return expand(path, at + 1, prefix + element.text, visit);
    if (!element.bound) {
      MLXMILL_ASSIGN(const Environment::Operand value, scope_.name({element.text}));
      if (value.absent() || !value.value().as_int()) {
        return error_at(program_.file_name, 1,
                        fmt::format("{{{}}} is no loop variable here", element.text));
      }
      return expand(path, at + 1, prefix + std::to_string(*value.value().as_int()), visit);
    }
    MLXMILL_ASSIGN(const std::int64_t count, element.bound->integer(scope_));
    if (count < 0 || count > kMaxLoop) {
      return error_at(
                 program_.file_name, element.bound->line(),
                 fmt::format("{} is {}; expected 0 to {}", element.bound->text(), count, kMaxLoop))
          .hint("is config.json the model's?");
    }
    for (std::int64_t i = 0; i < count; ++i) {
      // A turn costs far more than a step of an expression.
      if (!scope_.spend(10)) {
        return error_at(program_.file_name, element.bound->line(),
                        "the loops take too many steps with this config.json");
      }
      Scope::Locals locals(scope_);
      locals.set(element.text, base::Value(i));
      MLXMILL_TRY(expand(path, at + 1, prefix + std::to_string(i), visit));
    }
    return {};
  }

  Error too_much() const {
    return Error(Code::kInvalidInput,
                 fmt::format("config.json describes more than {} tensors that are not there; the "
                             "checkpoint has {}",
                             report_.n_missing(), tensors_.views().size()))
        .at(program_.file_name)
        .hint("is config.json the model's?");
  }

  Result<base::Shape> extents(const Parameter& parameter) {
    base::Shape shape;
    for (const Expression& expression : parameter.extents) {
      MLXMILL_ASSIGN(const std::int64_t extent, expression.integer(scope_));
      if (extent < 0) {
        return error_at(program_.file_name, expression.line(),
                        fmt::format("in {}: a size of {}; expected 0 or more",
                                    quoted(expression.text()), extent));
      }
      shape.push_back(extent);
    }
    return shape;
  }

  static std::string full_name(const std::string& path, const std::string& name) {
    return path.empty() ? name : path + "." + name;
  }

  bool keeps(const ModuleSpec& spec, const std::string& name) const {
    return spec.keeps_all ||
           std::find(spec.keeps.begin(), spec.keeps.end(), name) != spec.keeps.end();
  }

  Status module(const ModuleSpec& spec, const std::string& path) {
    Scope::Locals locals(scope_);
    locals.set("path", base::Value(path));
    if (spec.when) {
      MLXMILL_ASSIGN(const bool applies, spec.when->condition(scope_));
      if (!applies) return {};
    }
    Module module;
    module.path = path;
    const TensorView* weight = tensors_.find(full_name(path, "weight"));
    const bool has_codes =
        is_quantizable(spec.kind) && weight && can_take_codes(*weight, spec.kind);
    module.kind = spec.kind == ModuleKind::kLinear && !has_codes && becomes_bitlinear(path)
                      ? ModuleKind::kBitLinear
                      : spec.kind;
    if (module.kind != spec.kind) result_.needs_quantization_config = "bitnet";
    module.rule = spec.rule;
    module.packed = is_quantizable(module.kind) && !has_codes && is_packed(path);
    for (const Parameter& parameter : spec.parameters) {
      MLXMILL_ASSIGN(const base::Shape shape, extents(parameter));
      if (module.kind == ModuleKind::kBitLinear) {
        // Source: mlx_lm/models/bitlinear_layers.py.
        add(module, spec, "weight", {shape[0] / 4 + (shape[0] % 4 != 0), shape[1]});
        add(module, spec, "weight_scale", {1});
      } else if (module.packed) {
        add_packed(module, shape);
        for (const TensorView& view : module.tensors)
          module.keep_dtype.push_back(keeps(spec, "weight") || is_global_scale(view.name));
      } else if (has_codes) {
        add_codes(module, *weight, shape, keeps(spec, "weight"));
      } else {
        add(module, spec, parameter.name, shape);
      }
    }
    if (spec.has_bias) {
      MLXMILL_ASSIGN(const bool has_bias, spec.has_bias->condition(scope_));
      if (has_bias) {
        MLXMILL_ASSIGN(const base::Shape shape, extents(*spec.bias));
        add(module, spec, "bias", shape);
      }
    }
    if (spec.count) {
      MLXMILL_ASSIGN(const std::int64_t count, spec.count->integer(scope_));
      module.parameters = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
    }
    result_.modules.push_back(std::move(module));
    // An absurd config is stopped before it makes more of the plan than the checkpoint has tensors
    // for.
    if (report_.n_missing() > 4 * tensors_.views().size() + 1000) return too_much();
    return {};
  }

  const TensorView* take(const std::string& name, const base::Shape& expected) {
    const TensorView* view = tensors_.find(name);
    if (view) {
      used_.insert(name);
    } else {
      report_.missing(name, expected);
    }
    return view;
  }

  void add(Module& module, const ModuleSpec& spec, const std::string& name,
           const base::Shape& shape) {
    const std::string full = full_name(module.path, name);
    const TensorView* view = take(full, shape);
    if (!view) return;
    const bool bits = module.kind == ModuleKind::kBitLinear && name == "weight";
    const bool any_dtype = spec.kind == ModuleKind::kTensors;
    const bool scale = module.kind == ModuleKind::kBitLinear && name == "weight_scale";
    if (!scale && looks_quantized(*view)) {
      report_.unexpected(*view);
    } else if (view->shape != shape) {
      report_.ill_formed(full, base::to_string(shape), base::to_string(view->shape));
    } else if (bits && view->dtype != DType::kU8) {
      report_.ill_formed(full, "U8", std::string(dtype_name(view->dtype)));
    } else if (!bits && !any_dtype && !is_mlx_float(view->dtype)) {
      report_.ill_formed(full, "BF16, F16 or F32", std::string(dtype_name(view->dtype)));
    }
    module.tensors.push_back(*view);
    module.keep_dtype.push_back(view->keeps_dtype || keeps(spec, name));
  }

  static const base::Value* bitnet_config(const base::Value& config) {
    const base::Value* own = config.find("quantization_config");
    if (const base::Value* text = config.find("text_config"); !own && text) {
      own = text->find("quantization_config");
    }
    const base::Value* method = own ? own->find("quant_method") : nullptr;
    const std::string* name = method ? method->as_string() : nullptr;
    return name && *name == "bitnet" ? own : nullptr;
  }

  /// mlx-lm 0.32.2 models/bitlinear_layers.py bitnet_quantize: every Linear that is not excepted.
  bool becomes_bitlinear(const std::string& path) const {
    if (!bitnet_) return false;
    const base::Value* excepted = bitnet_->find("modules_to_not_convert");
    const base::Array* names = excepted ? excepted->as_array() : nullptr;
    return !names || std::none_of(names->begin(), names->end(), [&](const base::Value& name) {
      return name.as_string() && *name.as_string() == path;
    });
  }

  /// mlx-lm 0.32.2 utils.py load_model: an entry of "quantization" for the path decides, else its
  /// scales do.
  bool is_packed(const std::string& path) const {
    if (!quantization_) return false;
    if (const base::Value* entry = quantization_->find(path)) {
      if (const bool* quantized = entry->as_bool())
        return *quantized && tensors_.has(path + ".scales");
      return entry->as_object() != nullptr;
    }
    return tensors_.has(full_name(path, "scales"));
  }

  /// Weights that the source's own format held as codes.
  void add_codes(Module& module, const TensorView& weight, const base::Shape& shape, bool keeps) {
    used_.insert(weight.name);
    if (weight.shape != shape) {
      report_.ill_formed(weight.name, base::to_string(shape), base::to_string(weight.shape));
    }
    take_codes(module, weight);
    for (std::size_t i = 0; i < module.tensors.size(); ++i)
      module.keep_dtype[i] = keeps || is_global_scale(module.tensors[i].name);
  }

  void add_packed(Module& module, const base::Shape& logical) {
    const std::string path = module.path;
    const TensorView* weight = take(full_name(path, "weight"), logical);
    const TensorView* scales = take(full_name(path, "scales"), {});
    if (!weight || !scales) return;
    const auto scheme = packed_scheme(*weight, *scales, logical.back());
    const bool same_rows = weight->shape.size() == logical.size() &&
                           std::equal(logical.begin(), logical.end() - 1, weight->shape.begin());
    if (!scheme || !same_rows) {
      report_.ill_formed(weight->name, fmt::format("MLX codes of {}", base::to_string(logical)),
                         fmt::format("{} {} with scales {} {}", dtype_name(weight->dtype),
                                     base::to_string(weight->shape), dtype_name(scales->dtype),
                                     base::to_string(scales->shape)));
      return;
    }
    module.packed_scheme = *scheme;
    module.tensors = {*weight, *scales};
    if (scheme->mode == Mode::kAffine) {
      const TensorView* biases = take(full_name(path, "biases"), scales->shape);
      if (!biases) return;
      if (biases->shape != scales->shape || biases->dtype != scales->dtype) {
        report_.ill_formed(biases->name, base::to_string(scales->shape),
                           base::to_string(biases->shape));
      }
      module.tensors.push_back(*biases);
    }
    if (scheme->mode == Mode::kNvfp4 && tensors_.has(full_name(path, "global_scale")))
      add_global_scale(module, logical[0]);
  }

  /// One factor for each expert, which mlx-lm's stacked layers alone take.
  void add_global_scale(Module& module, std::int64_t n) {
    const TensorView* factor = take(full_name(module.path, "global_scale"), {n});
    if (factor->shape != base::Shape{n} || factor->dtype != DType::kF32 ||
        module.kind != ModuleKind::kStacked) {
      report_.ill_formed(
          factor->name,
          module.kind == ModuleKind::kStacked ? fmt::format("F32 [{}]", n) : "none beside a matrix",
          fmt::format("{} {}", dtype_name(factor->dtype), base::to_string(factor->shape)));
    }
    module.tensors.push_back(*factor);
  }

  const detail::Program& program_;
  Scope& scope_;
  const TensorTable& tensors_;
  const base::Value* quantization_ = nullptr;
  const base::Value* bitnet_ = nullptr;
  Report report_;
  std::set<std::string, std::less<>> used_;
  Layout& result_;
};

}  // namespace

bool is_global_scale(std::string_view name) { return name.ends_with(".global_scale"); }

bool can_take_codes(const TensorView& weight, ModuleKind kind) {
  if (!weight.packed) return false;
  if (!weight.packed->factor()) return true;
  return kind == ModuleKind::kStacked && tensors::factor_of_slices(*weight.packed->factor());
}

void take_codes(Module& module, const TensorView& weight) {
  module.packed = true;
  module.packed_scheme = weight.packed->scheme();
  module.decoded = tensors::decoded(weight);
  const auto add = [&](const TensorView& part, std::string_view name) {
    module.tensors.push_back(part);
    module.tensors.back().name = module.path + "." + std::string(name);
    module.keep_dtype.push_back(false);
  };
  add(weight.packed->codes(), "weight");
  add(weight.packed->scales(), "scales");
  if (weight.packed->biases()) add(*weight.packed->biases(), "biases");
  if (!weight.packed->factor()) return;
  // mlx-lm 0.32.2 muse_spark.py _NVFP4_SCALE_2_TO_GLOBAL: the largest e4m3 times the largest e2m1.
  constexpr double kLargest = 448 * 6;
  const auto factor = tensors::factor_of_slices(*weight.packed->factor());
  add(tensors::view_of(
          "factor",
          tensors::Computed{
              tensors::MultiplyConstant{kLargest}, DType::kF32, factor->shape, {*factor}}),
      "global_scale");
  module.keep_dtype.back() = true;
}

Result<Scheme> packed_scheme(const TensorView& weight, const TensorView& scales, std::int64_t in) {
  const Error unfit(Code::kInvalidInput, "the codes do not fit the module");
  const bool sane = weight.dtype == DType::kU32 && !weight.shape.empty() && in > 0 &&
                    in < (std::int64_t{1} << 40) && weight.shape.size() == scales.shape.size() &&
                    scales.shape.back() > 0 && weight.shape.back() <= in &&
                    std::equal(weight.shape.begin(), weight.shape.end() - 1, scales.shape.begin());
  if (!sane || weight.shape.back() * 32 % in != 0 || in % scales.shape.back() != 0) return unfit;
  const auto bits = static_cast<int>(weight.shape.back() * 32 / in);
  const std::int64_t group = in / scales.shape.back();
  // mlx-lm 0.32.2 utils.py infer_quant_config: only affine keeps its scales in a float type.
  if (is_mlx_float(scales.dtype)) {
    const bool legal =
        bits >= 2 && bits <= 8 && bits != 7 && (group == 32 || group == 64 || group == 128);
    if (legal) return Scheme{Mode::kAffine, bits, static_cast<int>(group)};
  } else if (scales.dtype == DType::kU8) {
    if (bits == 4 && group == 16) return Scheme{Mode::kNvfp4, 4, 16};
    if (bits == 4 && group == 32) return Scheme{Mode::kMxfp4, 4, 32};
    if (bits == 8 && group == 32) return Scheme{Mode::kMxfp8, 8, 32};
  }
  return unfit;
}

Status add_strict_modules(const detail::Program& program, Scope& scope, const TensorTable& tensors,
                          Layout& layout) {
  return Builder(program, scope, tensors, layout).build();
}

}  // namespace mlxmill::architectures

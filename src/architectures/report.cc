#include "architectures/report.h"

#include <fmt/format.h>

#include "architectures/language.h"
#include "base/shape.h"

namespace mlxmill::architectures {
namespace {

constexpr std::size_t kMaxShown = 8;

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> endings) {
  for (const std::string_view ending : endings) {
    if (name.ends_with(ending)) return true;
  }
  return false;
}

}  // namespace

bool looks_quantized(const TensorView& view) {
  const bool fp8 =
      view.dtype == DType::kF8E4M3 || view.dtype == DType::kF8E5M2 || view.dtype == DType::kF8E8M0;
  return fp8 || ends_with_any(view.name, {".qweight", ".qzeros", ".g_idx", "weight_scale_inv",
                                          ".weight_packed", ".weight_scale", ".weight_shape",
                                          "_blocks", ".absmax", ".quant_map", ".SCB"});
}

void Report::add(Group& group, std::string text) {
  if (group.n++ < kMaxShown) group.shown.push_back(std::move(text));
}

void Report::missing(const std::string& name, const base::Shape& expected) {
  add(missing_, fmt::format("{} {}", quoted(name), base::to_string(expected)));
}

void Report::unexpected(const TensorView& view) {
  foreign_quantization_ |= looks_quantized(view);
  has_scales_ |= ends_with_any(view.name, {".scales", ".biases"});
  adapter_ |= view.name.find("lora_") != std::string::npos ||
              view.name.find("base_model.") != std::string::npos;
  add(unexpected_, fmt::format("{} {} {}", quoted(view.name), dtype_name(view.dtype),
                               base::to_string(view.shape)));
}

void Report::ill_formed(const std::string& name, const std::string& expected,
                        const std::string& got) {
  add(ill_formed_, fmt::format("{} expected {}, got {}", quoted(name), expected, got));
}

void Report::append(std::string& text, const Group& group, std::string_view what) {
  if (group.n == 0) return;
  if (!text.empty()) text += "; ";
  text += fmt::format("{} {}: ", group.n, what);
  for (std::size_t i = 0; i < group.shown.size(); ++i) {
    text += (i ? ", " : "") + group.shown[i];
  }
  if (group.n > group.shown.size()) text += ", ...";
}

Error Report::error(std::string_view family, bool mlx_quantized) const {
  std::string text;
  append(text, missing_, "missing");
  append(text, unexpected_, "unexpected");
  append(text, ill_formed_, "ill-formed");
  const bool foreign = foreign_quantization_;
  Error error(foreign ? Code::kUnsupported : Code::kInvalidInput,
              fmt::format("the tensors are not those of family {} with this config.json: {}",
                          quoted(family), text));
  if (foreign) {
    error.hint(
        "this source is quantized in a way that is not supported yet; "
        "convert from the unquantized model");
  } else if (adapter_) {
    error.hint("this looks like an adapter; merge it into its base model first");
  } else if (has_scales_ && !mlx_quantized) {
    error.hint("scales without \"quantization\" in config.json; is this config.json the model's?");
  } else if (missing_.n > 0 && unexpected_.n == 0) {
    error.hint("is a shard missing?");
  }
  return error;
}

}  // namespace mlxmill::architectures

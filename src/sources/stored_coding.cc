#include "sources/stored_coding.h"

#include <fmt/format.h>

#include <initializer_list>
#include <optional>
#include <string_view>

#include "base/checked_math.h"
#include "sources/decode.h"

namespace mlxmill::sources {

using tensors::SourceTensor;

namespace {

class Describer {
 public:
  Describer(const base::Value* settings, std::span<const SourceTensor> tensors)
      : settings_(settings) {
    for (const SourceTensor& tensor : tensors) by_name_.emplace(tensor.name, &tensor);
  }

  std::map<std::string, StoredCoding> run() {
    for (const auto& [name, tensor] : by_name_) {
      if (const auto stem = without(name, ".qweight")) {
        grouped(*stem, *tensor);
      } else if (const auto packed = without(name, ".weight_packed")) {
        compressed(*packed, *tensor);
      } else if (const auto blocks = without(name, "_blocks");
                 blocks && tensor->dtype == DType::kU8) {
        if (find(*blocks + "_scales")) add(*blocks, *tensor, "mxfp4", 2, {"_blocks", "_scales"});
      } else {
        numbers(name, *tensor);
      }
    }
    return std::move(result_);
  }

 private:
  static std::optional<std::string> without(std::string_view name, std::string_view ending) {
    if (name.size() <= ending.size() || !name.ends_with(ending)) return std::nullopt;
    return std::string(name.substr(0, name.size() - ending.size()));
  }

  const SourceTensor* find(const std::string& name) const {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : at->second;
  }

  std::int64_t told(std::string_view key, std::int64_t fallback) const {
    const base::Value* value = settings_ ? settings_->find(key) : nullptr;
    const std::int64_t* number = value ? value->as_int() : nullptr;
    return number && *number >= 1 && *number <= 8 ? *number : fallback;
  }

  /// The num_bits of compressed-tensors' first group.
  std::int64_t group_bits() const {
    const base::Value* groups = settings_ ? settings_->find("config_groups") : nullptr;
    const base::Object* members = groups ? groups->as_object() : nullptr;
    if (!members || members->empty()) return 4;
    const base::Value* weights = members->begin()->value.find("weights");
    const base::Value* bits = weights ? weights->find("num_bits") : nullptr;
    const std::int64_t* number = bits ? bits->as_int() : nullptr;
    return number && *number >= 1 && *number <= 8 ? *number : 4;
  }

  static std::string groups_of(std::int64_t columns, std::int64_t groups) {
    if (groups <= 0 || columns < groups) return "";
    return fmt::format(", groups of {}", (columns + groups - 1) / groups);
  }

  /// Codes of `per_element` weights each, and the tensors beside them.
  void add(const std::string& stem, const SourceTensor& codes, const std::string& coding,
           std::uint64_t per_element, std::initializer_list<std::string_view> endings) {
    const std::uint64_t n = base::element_count(codes.shape).value_or(0) * per_element;
    insert(stem, codes.name, coding, n);
    for (const std::string_view ending : endings) {
      const std::string name = stem + std::string(ending);
      if (find(name) && name != codes.name) insert(stem, name, coding, 0);
    }
  }

  void insert(const std::string& module, const std::string& name, const std::string& coding,
              std::uint64_t parameters) {
    result_.insert_or_assign(name, StoredCoding{module, coding, parameters});
  }

  void grouped(const std::string& stem, const SourceTensor& codes) {
    const SourceTensor* scales = find(stem + ".scales");
    if (!scales || scales->shape.size() != 2 || codes.shape.size() != 2) return;
    const std::int64_t bits = told("bits", 4);
    const bool awq = codes.shape[1] != scales->shape[1];
    const std::int64_t columns = awq ? codes.shape[0] : codes.shape[0] * 32 / bits;
    const base::Value* method = settings_ ? settings_->find("quant_method") : nullptr;
    const std::string* name = method ? method->as_string() : nullptr;
    const std::string coding = fmt::format("{} {}-bit{}",
                                           name  ? *name
                                           : awq ? "awq"
                                                 : "gptq",
                                           bits, groups_of(columns, scales->shape[0]));
    add(stem, codes, coding, 0, {".qzeros", ".scales", ".g_idx"});
    const std::uint64_t n = base::element_count(base::Shape{scales->shape[1], columns}).value_or(0);
    insert(stem, codes.name, coding, n);
  }

  void compressed(const std::string& stem, const SourceTensor& codes) {
    const SourceTensor* scales = find(stem + ".weight_scale");
    if (!scales || scales->shape.size() != 2 || codes.shape.size() != 2) return;
    const std::initializer_list<std::string_view> beside = {".weight_scale", ".weight_zero_point",
                                                            ".weight_shape", ".weight_g_idx",
                                                            ".weight_global_scale"};
    if (codes.dtype == DType::kU8) {
      add(stem, codes, scales->dtype == DType::kF8E4M3 ? "nvfp4" : "mxfp4", 2, beside);
      return;
    }
    const std::int64_t bits = group_bits();
    const std::int64_t columns = codes.shape[1] * 32 / bits;
    const std::string coding = fmt::format("int{}{}", bits, groups_of(columns, scales->shape[1]));
    add(stem, codes, coding, 0, beside);
    insert(stem, codes.name, coding,
           base::element_count(base::Shape{codes.shape[0], columns}).value_or(0));
  }

  /// One number, or two FP4 codes, for each element, with scales under one of these names.
  void numbers(const std::string& name, const SourceTensor& tensor) {
    const bool one_byte = dtype_bytes(tensor.dtype) == 1 && tensor.shape.size() >= 2;
    if (!one_byte) return;
    const std::string module = without(name, ".weight").value_or(name);
    std::vector<std::string> beside = {name + "_scale_inv", name + "_scale", name + "_scale_2",
                                       name + "_zero_point"};
    if (module != name) beside.push_back(module + ".scale");
    const SourceTensor* scales = nullptr;
    for (const std::string& other : beside) scales = scales ? scales : find(other);
    if (!scales) return;
    std::uint64_t per_element = 1;
    const std::string coding = name_of(tensor, *scales, per_element);
    if (coding.empty()) return;
    insert(module, name, coding, base::element_count(tensor.shape).value_or(0) * per_element);
    for (const std::string& other : beside) {
      if (find(other)) insert(module, other, coding, 0);
    }
  }

  static std::string name_of(const SourceTensor& tensor, const SourceTensor& scales,
                             std::uint64_t& per_element) {
    const bool exponents = scales.dtype == DType::kU8 || scales.dtype == DType::kF8E8M0;
    const std::int64_t columns = tensor.shape.back();
    const std::int64_t groups = scales.shape.empty() ? 1 : scales.shape.back();
    if (tensor.dtype == DType::kU8 || tensor.dtype == DType::kI8) {
      const bool fp4 = columns == groups * 8 || columns == groups * 16;
      if (fp4 && (exponents || scales.dtype == DType::kF8E4M3)) {
        per_element = 2;
        return exponents ? "mxfp4" : "nvfp4";
      }
      if (tensor.dtype == DType::kI8) return "int8";
      per_element = 4;
      return base::element_count(scales.shape) == 1u ? "bitnet ternary" : "";
    }
    if (tensor.dtype != DType::kF8E4M3 && tensor.dtype != DType::kF8E5M2) return "";
    if (exponents && columns == groups * 32) return "mxfp8";
    const std::int64_t rows = tensor.shape[tensor.shape.size() - 2];
    if (base::element_count(scales.shape) == 1u) return "fp8, one scale for the tensor";
    if (scales.shape.size() < 2) return "fp8, scales for rows or experts";
    const std::int64_t bands = scales.shape[scales.shape.size() - 2];
    if (groups == 1 && bands == rows) return "fp8, a scale for each row";
    if (bands <= 0 || groups <= 0) return "";
    const auto extent = [](std::int64_t n, std::int64_t parts) {
      return (n + 127) / 128 == parts ? 128 : (n + parts - 1) / parts;
    };
    return fmt::format("fp8, blocks of {} x {}", extent(rows, bands), extent(columns, groups));
  }

  const base::Value* settings_;
  std::map<std::string, const SourceTensor*, std::less<>> by_name_;
  std::map<std::string, StoredCoding> result_;
};

}  // namespace

std::map<std::string, StoredCoding> stored_codings(const base::Value& config,
                                                   std::span<const SourceTensor> tensors) {
  return Describer(settings_of(config, base::Value()), tensors).run();
}

}  // namespace mlxmill::sources

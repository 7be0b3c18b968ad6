#include "sources/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/checked_math.h"
#include "base/quoted.h"
#include "sources/methods.h"

namespace mlxmill::sources {

using tensors::TensorView;

namespace {

struct Method {
  std::string_view name;
  Status (*decode)(Work& work);
};

constexpr std::array kMethods = {
    Method{"auto-round", decode_auto_round},
    Method{"awq", decode_awq},
    Method{"bitnet", decode_bitnet},
    Method{"compressed-tensors", decode_compressed_tensors},
    Method{"fbgemm_fp8", decode_fp8},
    Method{"fp8", decode_fp8},
    Method{"gptq", decode_gptq},
    Method{"modelopt", decode_modelopt},
    Method{"modelopt_fp4", decode_modelopt},
    Method{"modelopt_mixed", decode_modelopt},
    Method{"mxfp4", decode_mxfp4},
    Method{"mxfp8", decode_fp8},
};

std::string all_methods() {
  std::string text;
  for (const Method& method : kMethods)
    text += (text.empty() ? "" : ", ") + std::string(method.name);
  return text;
}

/// The first tensor that plain checkpoints do not have, for the message.
std::string strange_tensor(const std::vector<const TensorView*>& tensors) {
  for (const TensorView* at : tensors) {
    const TensorView& view = *at;
    const bool plain = is_mlx_float(view.dtype) || view.dtype == DType::kI64;
    if (!plain) {
      return fmt::format("; its tensor {} is {} {}", base::quoted(view.name),
                         dtype_name(view.dtype), base::to_string(view.shape));
    }
  }
  return "";
}

/// Sizes stay far from where the methods' own products of them overflow. A tensor without elements
/// may have any extents in its file.
Status check_sizes(const std::vector<TensorView>& tensors) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 48;
  for (const TensorView& view : tensors) {
    base::Shape extents = view.shape;
    std::replace(extents.begin(), extents.end(), std::int64_t{0}, std::int64_t{1});
    if (base::element_count(extents).value_or(kMost + 1) <= kMost) continue;
    return unfit(view, "extents that multiply to 2^48 at most");
  }
  return {};
}

/// The method's name. Errors: kInvalidInput when there is none or it is no string.
Result<std::string> method_of(const base::Value& settings) {
  const base::Value* method = settings.find("quant_method");
  if (!method) {
    // hf_quant_config.json of ModelOpt names its producer instead.
    const base::Value* producer = settings.find("producer");
    const base::Value* name = producer ? producer->find("name") : nullptr;
    if (name && name->as_string()) return *name->as_string();
  }
  if (method && method->as_string()) return *method->as_string();
  return Error(Code::kInvalidInput, fmt::format("quant_method is {}; expected a string",
                                                method ? method->type_name() : "missing"))
      .at("config.json: quantization_config");
}

}  // namespace

void Work::drop(std::string_view name, std::string_view why) {
  if (table.take_if(name)) result.dropped.emplace_back(name, why);
}

Result<std::int64_t> integer_setting(const base::Value& settings, std::string_view key,
                                     std::int64_t fallback, std::int64_t least, std::int64_t most) {
  const base::Value* value = settings.find(key);
  if (!value || value->is_null()) return fallback;
  const std::int64_t* number = value->as_int();
  if (number && *number >= least && *number <= most) return *number;
  return Error(Code::kInvalidInput,
               fmt::format("{} is {}; expected {} to {}", key,
                           number ? std::to_string(*number) : std::string(value->type_name()),
                           least, most))
      .at("config.json: quantization_config");
}

Result<std::optional<Block>> block_setting(const base::Value& settings, std::string_view key) {
  const base::Value* value = settings.find(key);
  if (!value || value->is_null()) return std::optional<Block>();
  const base::Array* sizes = value->as_array();
  if (sizes && sizes->size() == 2) {
    const std::int64_t* rows = (*sizes)[0].as_int();
    const std::int64_t* columns = (*sizes)[1].as_int();
    constexpr std::int64_t kMost = 1 << 20;
    if (rows && columns && *rows > 0 && *columns > 0 && *rows <= kMost && *columns <= kMost) {
      return std::optional<Block>(Block{*rows, *columns});
    }
  }
  return Error(Code::kInvalidInput,
               fmt::format("{} is wrong; expected two sizes, as [128, 128]", key))
      .at("config.json: quantization_config");
}

std::string text_setting(const base::Value& settings, std::string_view key,
                         std::string_view fallback) {
  const base::Value* value = settings.find(key);
  const std::string* text = value ? value->as_string() : nullptr;
  return text ? *text : std::string(fallback);
}

Error unsupported(const Work& work, std::string_view what) {
  return Error(Code::kUnsupported, fmt::format("{}{}", what, strange_tensor(work.table.in_order())))
      .at("config.json: quantization_config")
      .hint("convert the original checkpoint");
}

Error unfit(const TensorView& view, std::string_view expected) {
  return Error(Code::kInvalidInput, fmt::format("it is {} {}; expected {}", dtype_name(view.dtype),
                                                base::to_string(view.shape), expected))
      .at(fmt::format("tensor {}", base::quoted(view.name)));
}

Status check_unused(const Work& work, const std::string& name, std::string_view codes) {
  const TensorView* found = work.table.find(name);
  if (!found) return {};
  return Error(Code::kInvalidInput,
               fmt::format("the same weights are in {} too; which of them counts is not told",
                           base::quoted(codes)))
      .at(fmt::format("tensor {}", base::quoted(name)));
}

const base::Value* settings_of(const base::Value& config, const base::Value& modelopt) {
  const base::Value* mlx = config.find("quantization");
  if (mlx && !mlx->is_null()) return nullptr;
  const base::Value* own = config.find("quantization_config");
  if (!own || own->is_null()) {
    const base::Value* text = config.find("text_config");
    own = text ? text->find("quantization_config") : nullptr;
  }
  if (own && !own->is_null()) return own;
  return modelopt.is_null() ? nullptr : &modelopt;
}

Result<DecodedSource> decode(const base::Value& config, const base::Value& modelopt,
                             std::vector<TensorView> tensors, const ReadSmall& read, bool repack) {
  DecodedSource result;
  const base::Value* settings = settings_of(config, modelopt);
  if (!settings) {
    result.tensors = std::move(tensors);
    return result;
  }
  MLXMILL_ASSIGN(result.method, method_of(*settings));
  MLXMILL_TRY(check_sizes(tensors));
  SourceTable table(std::move(tensors), read);
  Work work{table, *settings, text_setting(config, "model_type", ""), repack, result};
  for (const Method& method : kMethods) {
    if (method.name != result.method) continue;
    MLXMILL_TRY(method.decode(work));
    result.tensors = std::move(table).views();
    return result;
  }
  return unsupported(work,
                     fmt::format("the source is quantized with {}, which is not read; read are {}",
                                 base::quoted(result.method), all_methods()));
}

}  // namespace mlxmill::sources

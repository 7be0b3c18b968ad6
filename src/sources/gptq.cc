// GPTQ and AWQ: integer codes packed along inputs or outputs, with a scale and a zero point for
// each group.
//
// Layouts: AutoGPTQ's and GPTQModel's QuantLinear, AutoAWQ's WQLinear_GEMM, and mlx_lm/utils.py
// _transform_awq_weights.
#include <fmt/format.h>

#include "base/checked_math.h"
#include "base/quoted.h"
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::Computed;
using tensors::TensorView;

namespace {

Result<TensorView> turned(const TensorView& view) {
  const std::size_t axes[] = {1, 0};
  return tensors::transpose(view, axes);
}

/// P's tensors as they are stored.
struct Stored {
  TensorView codes;   ///< I32 [in * bits / 32, out], or [in, out * bits / 32] in AWQ's packing.
  TensorView scales;  ///< Float [groups, out].
  std::optional<TensorView> zeros;  ///< I32 [groups, out * bits / 32].
  std::optional<TensorView> index;  ///< I32 [in].
};

Status check(const TensorView& view, std::size_t rank, bool integer) {
  const bool type =
      integer ? view.dtype == DType::kI32 || view.dtype == DType::kU32 : is_mlx_float(view.dtype);
  const bool empty = base::element_count(view.shape).value_or(0) == 0;
  if (view.shape.size() == rank && type && !empty) return {};
  return unfit(view,
               fmt::format("{} with {} ax{}s, none of them empty",
                           integer ? "I32" : "F16, BF16 or F32", rank, rank == 1 ? "i" : "e"));
}

Result<Stored> take(Work& work, const std::string& path) {
  Stored stored;
  const std::string name = path + ".qweight";
  MLXMILL_ASSIGN(stored.codes, work.table.take(name, name));
  MLXMILL_ASSIGN(stored.scales, work.table.take(path + ".scales", name));
  stored.zeros = work.table.take_if(path + ".qzeros");
  stored.index = work.table.take_if(path + ".g_idx");
  MLXMILL_TRY(check(stored.codes, 2, true));
  MLXMILL_TRY(check(stored.scales, 2, false));
  if (stored.zeros) MLXMILL_TRY(check(*stored.zeros, 2, true));
  if (stored.index) MLXMILL_TRY(check(*stored.index, 1, true));
  return stored;
}

/// What all modules of a model share.
struct Settings {
  int bits = 4;
  std::int64_t group = 0;  ///< 0: one for a row.
  int add_to_zeros = 0;
  bool varies = false;  ///< Some modules have other bits and groups.
};

/// A module's bits: the model's, or what its zero points tell where modules differ.
int bits_of(const Stored& stored, const Settings& settings) {
  if (!settings.varies || !stored.zeros) return settings.bits;
  const std::int64_t out = stored.scales.shape[1];
  for (const int bits : {2, 3, 4, 8}) {
    if (stored.zeros->shape[1] * 32 == out * bits) return bits;
  }
  return settings.bits;
}

Status decode_module(Work& work, const std::string& path, Settings settings,
                     DecodedModules& decoded) {
  MLXMILL_ASSIGN(Stored stored, take(work, path));
  const int told = settings.bits;
  settings.bits = bits_of(stored, settings);
  const std::string name = path + ".weight";
  MLXMILL_TRY(check_unused(work, name, stored.codes.name));
  const std::int64_t out = stored.scales.shape[1];
  const std::int64_t groups = stored.scales.shape[0];
  // Both packings are published under either name; the shapes tell. AWQ's is one of 4 bits.
  const bool awq = settings.bits == 4 && stored.codes.shape[1] != out &&
                   stored.codes.shape[1] * 32 == out * settings.bits;
  if (!awq && stored.codes.shape[1] != out) {
    return unfit(stored.codes, fmt::format("{} columns as in its scales {}{}", out,
                                           base::to_string(stored.scales.shape),
                                           settings.bits == 4 ? ", or 4-bit codes of them" : ""));
  }
  GroupedCodes parts;
  parts.bits = settings.bits;
  if (awq) {
    MLXMILL_ASSIGN(const TensorView bytes,
                   turned(unpacked_codes(stored.codes, settings.bits, true)));
    base::Shape shape = bytes.shape;
    if (shape[1] % 32 != 0) return unfit(stored.codes, "a multiple of 32 inputs");
    shape[1] = shape[1] * settings.bits / 32;
    parts.codes = tensors::view_of(
        "codes", Computed{tensors::PackStream{settings.bits}, DType::kU32, shape, {bytes}});
  } else {
    MLXMILL_ASSIGN(parts.codes, turned(stored.codes));
  }
  MLXMILL_ASSIGN(parts.scales, turned(stored.scales));
  if (stored.zeros) {
    if (stored.zeros->shape[0] != groups || stored.zeros->shape[1] * 32 != out * settings.bits) {
      return unfit(*stored.zeros, fmt::format("{}-bit codes of {}", settings.bits,
                                              base::to_string(stored.scales.shape)));
    }
    MLXMILL_ASSIGN(parts.zeros, turned(unpacked_codes(*stored.zeros, settings.bits, awq)));
    // AutoGPTQ stores zero points less one; its codes and AWQ's never do.
    parts.add_to_zeros = awq ? 0 : settings.add_to_zeros;
  }
  parts.group = settings.bits == told ? settings.group : 0;
  parts.index = std::move(stored.index);
  MLXMILL_TRY(check_index(work, parts));
  MLXMILL_ASSIGN(TensorView view, affine_view(name, std::move(parts)));
  decoded.add(view);
  work.table.put(std::move(view));
  return {};
}

Status decode_all(Work& work, const Settings& settings) {
  DecodedModules decoded;
  for (const std::string& path : work.table.ending_in(".qweight")) {
    const TensorView* scales = work.table.find(path + ".scales");
    if (scales && (scales->dtype == DType::kF16 || scales->dtype == DType::kBF16))
      work.result.scale_type = scales->dtype;
    MLXMILL_TRY(decode_module(work, path, settings, decoded));
  }
  decoded.warn(work.result);
  return {};
}

/// Whether a member is there and says something.
bool has(const base::Value& settings, std::string_view key) {
  const base::Value* value = settings.find(key);
  const base::Object* members = value ? value->as_object() : nullptr;
  return members && !members->empty();
}

/// As mlx-lm writes it for both methods.
base::Value mlx_settings(std::int64_t group_size, int bits) {
  return base::Value(
      base::Object{{"group_size", base::Value(group_size)}, {"bits", base::Value(bits)}});
}

}  // namespace

Status decode_gptq(Work& work) {
  MLXMILL_ASSIGN(const std::int64_t bits, integer_setting(work.settings, "bits", 4, 2, 8));
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    return unsupported(work, fmt::format("GPTQ with {} bits; read are 2, 3, 4 and 8", bits));
  }
  const base::Value* marlin = work.settings.find("is_marlin_format");
  if (marlin && marlin->as_bool() && *marlin->as_bool())
    return unsupported(work, "GPTQ in Marlin's packing is not read");
  MLXMILL_ASSIGN(const std::int64_t group,
                 integer_setting(work.settings, "group_size", 128, -1, 1 << 20));
  const std::string format = text_setting(work.settings, "checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    return unsupported(work, fmt::format("checkpoint_format {} of GPTQ is not read; read are "
                                         "\"gptq\" and \"gptq_v2\"",
                                         base::quoted(format)));
  }
  Settings settings;
  settings.bits = static_cast<int>(bits);
  settings.group = std::max<std::int64_t>(group, 0);
  settings.add_to_zeros = format == "gptq" ? 1 : 0;
  // GPTQModel's and AutoRound's settings of single modules.
  settings.varies = has(work.settings, "dynamic") || has(work.settings, "extra_config");
  work.result.quantization = mlx_settings(group, settings.bits);
  return decode_all(work, settings);
}

Status decode_awq(Work& work) {
  MLXMILL_ASSIGN(const std::int64_t bits, integer_setting(work.settings, "bits", 4, 1, 16));
  MLXMILL_ASSIGN(const std::int64_t group,
                 integer_setting(work.settings, "group_size", 128, -1, 1 << 20));
  const std::string version = text_setting(work.settings, "version", "gemm");
  if (bits != 4 || (version != "gemm" && version != "GEMM")) {
    return unsupported(work, fmt::format("AWQ with {} bits in version {} is not read; read are 4 "
                                         "bits in version \"gemm\"",
                                         bits, base::quoted(version)));
  }
  work.result.quantization = mlx_settings(group, 4);
  Settings settings;
  settings.group = std::max<std::int64_t>(group, 0);
  return decode_all(work, settings);
}

Status decode_auto_round(Work& work) {
  const std::string packing = text_setting(work.settings, "packing_format", "");
  if (packing.ends_with("auto_gptq")) return decode_gptq(work);
  if (packing.ends_with("auto_awq")) return decode_awq(work);
  if (packing.ends_with("llm_compressor")) return decode_compressed_tensors(work);
  return unsupported(work, fmt::format("the packing {} of AutoRound is not read; read are those of "
                                       "auto_gptq, auto_awq and llm_compressor",
                                       base::quoted(packing)));
}

}  // namespace mlxmill::sources

// GPTQ and AWQ: integer codes packed along inputs or outputs, with a scale and a zero point for
// each group.
//
// Layouts: AutoGPTQ's and GPTQModel's QuantLinear, AutoAWQ's WQLinear_GEMM, and mlx_lm/utils.py
// _transform_awq_weights.
#include <fmt/format.h>

#include <cstring>

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

/// Whether column i belongs to group i / group size. Errors: kInvalidInput for a group that is not
/// there.
Result<bool> groups_in_order(Work& work, const TensorView& index, std::int64_t columns,
                             std::int64_t groups) {
  if (index.shape[0] != columns) return unfit(index, fmt::format("I32 [{}]", columns));
  MLXMILL_ASSIGN(const std::vector<std::byte> bytes, work.table.read(index));
  bool in_order = columns % groups == 0;
  for (std::int64_t i = 0; i < columns; ++i) {
    std::int32_t group;
    std::memcpy(&group, bytes.data() + static_cast<std::size_t>(i) * sizeof(group), sizeof(group));
    if (group < 0 || group >= groups) {
      return Error(Code::kInvalidInput,
                   fmt::format("entry {} is group {}; expected 0 to {}", i, group, groups - 1))
          .at(fmt::format("tensor {}", base::quoted(index.name)));
    }
    in_order = in_order && group == i / (columns / groups);
  }
  return in_order;
}

/// What all modules of a model share.
struct Settings {
  int bits = 4;
  int add_to_zeros = 0;
};

Status decode_module(Work& work, const std::string& path, const Settings& settings,
                     std::size_t& n_decoded) {
  MLXMILL_ASSIGN(Stored stored, take(work, path));
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
  const std::int64_t columns = parts.codes.shape[1] * 32 / settings.bits;
  bool in_order = true;
  if (stored.index) {
    MLXMILL_ASSIGN(in_order, groups_in_order(work, *stored.index, columns, groups));
  }
  if (in_order) {
    MLXMILL_ASSIGN(TensorView view, affine_view(name, std::move(parts)));
    work.table.put(std::move(view));
    return {};
  }
  const std::int64_t group = (columns + groups - 1) / groups;
  MLXMILL_ASSIGN(TensorView view, decoded_groups(name, parts, stored.index));
  const int kept = group % 128 == 0 ? 128 : group % 64 == 0 ? 64 : 32;
  view.coded_as = Scheme{Mode::kAffine, settings.bits, kept};
  work.table.put(std::move(view));
  ++n_decoded;
  return {};
}

Status decode_all(Work& work, const Settings& settings) {
  std::size_t n_modules = 0;
  std::size_t n_decoded = 0;
  for (const std::string& path : work.table.ending_in(".qweight")) {
    const TensorView* scales = work.table.find(path + ".scales");
    if (scales && (scales->dtype == DType::kF16 || scales->dtype == DType::kBF16))
      work.result.scale_type = scales->dtype;
    MLXMILL_TRY(decode_module(work, path, settings, n_decoded));
    ++n_modules;
  }
  if (n_decoded != 0) {
    work.result.warnings.push_back(
        fmt::format("{} of {} modules keep their columns in another order than their groups "
                    "(desc_act), which MLX "
                    "cannot hold: they are dequantized and quantized anew",
                    n_decoded, n_modules));
  }
  return {};
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
    return Error(Code::kUnsupported, fmt::format("GPTQ with {} bits; read are 2, 3, 4 and 8", bits))
        .at("config.json: quantization_config");
  }
  MLXMILL_ASSIGN(const std::int64_t group,
                 integer_setting(work.settings, "group_size", 128, -1, 1 << 20));
  const std::string format = text_setting(work.settings, "checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    return Error(Code::kUnsupported,
                 fmt::format("checkpoint_format {} is not read; read are \"gptq\" and \"gptq_v2\"",
                             base::quoted(format)))
        .at("config.json: quantization_config");
  }
  Settings settings;
  settings.bits = static_cast<int>(bits);
  settings.add_to_zeros = format == "gptq" ? 1 : 0;
  work.result.quantization = mlx_settings(group, settings.bits);
  return decode_all(work, settings);
}

Status decode_awq(Work& work) {
  MLXMILL_ASSIGN(const std::int64_t bits, integer_setting(work.settings, "bits", 4, 1, 16));
  MLXMILL_ASSIGN(const std::int64_t group,
                 integer_setting(work.settings, "group_size", 128, -1, 1 << 20));
  const std::string version = text_setting(work.settings, "version", "gemm");
  if (bits != 4 || (version != "gemm" && version != "GEMM")) {
    return Error(Code::kUnsupported, fmt::format("AWQ with {} bits in version {} is not read; read "
                                                 "are 4 bits in version \"gemm\"",
                                                 bits, base::quoted(version)))
        .at("config.json: quantization_config");
  }
  work.result.quantization = mlx_settings(group, 4);
  return decode_all(work, Settings{4, 0});
}

}  // namespace mlxmill::sources

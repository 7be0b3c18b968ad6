// compressed-tensors (vLLM's llm-compressor): a container of several formats. What a module holds
// is told by its tensors; the config only says the bits.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/quoted.h"
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::Computed;
using tensors::TensorView;

namespace {

/// What the config's groups say that the tensors alone do not.
struct Told {
  std::set<std::int64_t> bits;
  std::int64_t group = 0;  ///< The group size, when all that have one have the same.
  std::optional<Block> block;
};

class Decoder {
 public:
  Decoder(Work& work, Told told) : work_(work), told_(std::move(told)) {}

  Status run() {
    for (const std::string& path : work_.table.ending_in(".weight_packed"))
      MLXMILL_TRY(packed(path));
    for (const std::string& path : work_.table.ending_in(".weight_scale")) MLXMILL_TRY(plain(path));
    for (const std::string_view ending :
         {".input_scale", ".input_zero_point", ".input_global_scale", ".output_scale",
          ".output_zero_point", ".q_scale", ".k_scale", ".v_scale", ".k_zero_point",
          ".v_zero_point"}) {
      for (const std::string& path : work_.table.ending_in(ending))
        work_.drop(path + std::string(ending), "a scale of activations");
    }
    decoded_.warn(work_.result);
    return {};
  }

  bool any_integers() const { return integers_; }
  bool any_mxfp4() const { return mxfp4_; }

 private:
  Status packed(const std::string& path) {
    const std::string name = path + ".weight_packed";
    MLXMILL_ASSIGN(TensorView codes, work_.table.take(name, name));
    MLXMILL_TRY(check_unused(work_, path + ".weight", name));
    MLXMILL_ASSIGN(TensorView scales, work_.table.take(path + ".weight_scale", name));
    std::optional<TensorView> shape = work_.table.take_if(path + ".weight_shape");
    if (codes.dtype == DType::kU8) return fp4(path, std::move(codes), std::move(scales));
    if (codes.dtype != DType::kI32 || codes.shape.size() != 2 || scales.shape.size() != 2) {
      return unfit(codes, "I32 or U8 with 2 axes, beside scales with 2 axes");
    }
    GroupedCodes parts;
    MLXMILL_ASSIGN(parts.bits, bits_of(codes, shape));
    parts.codes = codes;
    parts.scales = scales;
    if (auto zeros = work_.table.take_if(path + ".weight_zero_point")) {
      MLXMILL_ASSIGN(parts.zeros, zero_points(*zeros, scales, parts.bits));
    }
    return grouped(path, std::move(parts));
  }

  /// FP4 codes. The factor is stored as a divisor.
  Status fp4(const std::string& path, TensorView codes, TensorView scales) {
    std::optional<TensorView> factor;
    if (auto divisor = work_.table.take_if(path + ".weight_global_scale")) {
      if (divisor->dtype != DType::kF32) return unfit(*divisor, "F32");
      factor = tensors::view_of(
          divisor->name, Computed{tensors::Reciprocal{}, DType::kF32, divisor->shape, {*divisor}});
    }
    mxfp4_ = mxfp4_ || (!factor && scales.dtype != DType::kF8E4M3);
    MLXMILL_ASSIGN(TensorView view, fp4_view(path + ".weight", std::move(codes), std::move(scales),
                                             std::move(factor)));
    work_.table.put(std::move(view));
    return {};
  }

  /// Bits of packed codes: what the config says, or what the stored shape says where it says
  /// several.
  Result<int> bits_of(const TensorView& codes, const std::optional<TensorView>& shape) {
    std::int64_t bits = told_.bits.size() == 1 ? *told_.bits.begin() : 0;
    if (shape) {
      MLXMILL_ASSIGN(const std::vector<std::byte> bytes, work_.table.read(*shape));
      std::int64_t rows = 0;
      std::int64_t columns = 0;
      std::int32_t narrow[2] = {0, 0};
      if (shape->dtype == DType::kI64 && bytes.size() == 16) {
        std::memcpy(&rows, bytes.data(), 8);
        std::memcpy(&columns, bytes.data() + 8, 8);
      } else if (shape->dtype == DType::kI32 && bytes.size() == 8) {
        std::memcpy(narrow, bytes.data(), 8);
        rows = narrow[0];
        columns = narrow[1];
      } else {
        return unfit(*shape, "I64 [2] or I32 [2]");
      }
      if (rows != codes.shape[0]) {
        return Error(Code::kInvalidInput,
                     fmt::format("it says {} rows; the codes have {}", rows, codes.shape[0]))
            .at(fmt::format("tensor {}", base::quoted(shape->name)));
      }
      if (columns <= 0 || columns > (std::int64_t{1} << 40) || codes.shape[1] * 32 % columns != 0) {
        return Error(Code::kInvalidInput,
                     fmt::format("it says {} columns; the codes are {} words long", columns,
                                 codes.shape[1]))
            .at(fmt::format("tensor {}", base::quoted(shape->name)));
      }
      const std::int64_t stored = codes.shape[1] * 32 / columns;
      if (bits != 0 && bits != stored) {
        return Error(Code::kInvalidInput,
                     fmt::format("its shape says {}-bit codes, config.json says {}", stored, bits))
            .at(fmt::format("tensor {}", base::quoted(codes.name)));
      }
      bits = stored;
    }
    if (bits >= 2 && bits <= 8) return static_cast<int>(bits);
    return Error(Code::kUnsupported, fmt::format("it has {}-bit codes; read are 2 to 8 bits", bits))
        .at(fmt::format("tensor {}", base::quoted(codes.name)));
  }

  /// Zero points [out, groups]: int8, or packed along the outputs, as codes that are 2^(bits - 1)
  /// higher.
  Result<TensorView> zero_points(const TensorView& zeros, const TensorView& scales, int bits) {
    const std::size_t axes[] = {1, 0};
    if (zeros.dtype == DType::kI8 && zeros.shape == scales.shape) return raised(zeros, bits);
    const bool whole = zeros.shape.size() == 2 && zeros.shape[0] * 32 % bits == 0;
    if (zeros.dtype != DType::kI32 || !whole || zeros.shape[1] != scales.shape[1] ||
        zeros.shape[0] != (scales.shape[0] * bits + 31) / 32) {
      return unfit(zeros, fmt::format("{}-bit codes of {} packed along the first axis", bits,
                                      base::to_string(scales.shape)));
    }
    MLXMILL_ASSIGN(const TensorView turned, tensors::transpose(zeros, axes));
    const TensorView codes = unpacked_codes(turned, bits);
    return tensors::transpose(tensors::slice(codes, 1, 0, scales.shape[0]), axes);
  }

  /// int8 numbers as codes that are 2^(bits - 1) higher.
  static TensorView raised(const TensorView& numbers, int bits) {
    const TensorView codes = tensors::view_of(
        numbers.name, Computed{tensors::XorBytes{0x80}, DType::kU8, numbers.shape, {numbers}});
    if (bits == 8) return codes;
    return tensors::view_of(
        numbers.name,
        Computed{tensors::AddBytes{static_cast<std::uint8_t>(256 - 128 + (1 << (bits - 1)))},
                 DType::kU8,
                 numbers.shape,
                 {codes}});
  }

  Status grouped(const std::string& path, GroupedCodes parts) {
    parts.group = told_.group;
    parts.index = work_.table.take_if(path + ".weight_g_idx");
    if (parts.index && parts.index->dtype != DType::kI32) return unfit(*parts.index, "I32");
    MLXMILL_TRY(check_index(work_, parts));
    if (parts.scales.dtype == DType::kF16 || parts.scales.dtype == DType::kBF16)
      work_.result.scale_type = parts.scales.dtype;
    MLXMILL_ASSIGN(TensorView view, affine_view(path + ".weight", std::move(parts)));
    integers_ = integers_ || view.packed;
    decoded_.add(view);
    work_.table.put(std::move(view));
    return {};
  }

  /// Weights that are not packed, one number each, beside their scale.
  Status plain(const std::string& path) {
    const std::string name = path + ".weight";
    const TensorView* weight = work_.table.find(name);
    if (!weight) {
      return Error(Code::kInvalidInput, fmt::format("there is no {} for it", base::quoted(name)))
          .at(fmt::format("tensor {}", base::quoted(path + ".weight_scale")))
          .hint("is a shard missing?");
    }
    if (is_mlx_float(weight->dtype)) {
      work_.drop(path + ".weight_scale", "a scale of weights that are floats already");
      work_.drop(path + ".weight_zero_point", "a zero point of weights that are floats already");
      return {};
    }
    MLXMILL_ASSIGN(TensorView numbers, work_.table.take(name, name));
    MLXMILL_ASSIGN(TensorView scales, work_.table.take(path + ".weight_scale", name));
    std::optional<TensorView> zeros = work_.table.take_if(path + ".weight_zero_point");
    if (numbers.dtype != DType::kI8) {
      if (numbers.dtype != DType::kF8E4M3 && numbers.dtype != DType::kF8E5M2)
        return unfit(numbers, "I8 or F8_E4M3");
      if (zeros) MLXMILL_TRY(check_no_zeros(*zeros));
      MLXMILL_ASSIGN(TensorView view, float8_view(numbers, std::move(scales), told_.block));
      work_.table.put(std::move(view));
      return {};
    }
    return int8(path, numbers, std::move(scales), std::move(zeros));
  }

  /// Zero points of floats, which early files have, are zeros.
  Status check_no_zeros(const TensorView& zeros) {
    MLXMILL_ASSIGN(const std::vector<std::byte> bytes, work_.table.read(zeros));
    if (std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; })) {
      work_.result.dropped.emplace_back(zeros.name, "zero points that are zero");
      return {};
    }
    return unfit(zeros, "zeros, as for all 8-bit floats");
  }

  Status int8(const std::string& path, const TensorView& numbers, TensorView scales,
              std::optional<TensorView> zeros) {
    if (numbers.shape.size() != 2) return unfit(numbers, "2 axes");
    const std::int64_t rows = numbers.shape[0];
    if (scales.shape.size() < 2) {
      MLXMILL_ASSIGN(
          scales, tensors::reshape(scales, scales.shape.empty() ? base::Shape{1, 1}
                                                                : base::Shape{scales.shape[0], 1}));
    }
    if (zeros && zeros->shape.size() < 2) {
      MLXMILL_ASSIGN(zeros, tensors::reshape(*zeros, scales.shape));
    }
    if (scales.shape[0] == 1 && rows > 1) {
      // One scale for the whole tensor.
      MLXMILL_ASSIGN(scales, tensors::repeat(scales, 0, rows));
      if (zeros) {
        MLXMILL_ASSIGN(zeros, tensors::repeat(*zeros, 0, rows));
      }
    }
    GroupedCodes parts;
    parts.bits = 8;
    MLXMILL_ASSIGN(parts.codes, tensors::bit_cast(raised(numbers, 8), DType::kU32));
    parts.scales = std::move(scales);
    if (zeros) {
      if (zeros->dtype != DType::kI8) return unfit(*zeros, "I8");
      parts.zeros = raised(*zeros, 8);
    }
    return grouped(path, std::move(parts));
  }

  Work& work_;
  Told told_;
  DecodedModules decoded_;
  bool integers_ = false;
  bool mxfp4_ = false;
};

Result<Told> read_groups(const base::Value& settings) {
  Told told;
  std::set<std::int64_t> sizes;
  const base::Value* groups = settings.find("config_groups");
  const base::Object* members = groups ? groups->as_object() : nullptr;
  if (!members) return told;
  for (const base::Member& group : *members) {
    const base::Value* weights = group.value.find("weights");
    if (!weights || weights->is_null()) continue;
    MLXMILL_ASSIGN(const std::int64_t n, integer_setting(*weights, "num_bits", 4, 1, 16));
    told.bits.insert(n);
    MLXMILL_ASSIGN(const std::int64_t size,
                   integer_setting(*weights, "group_size", 0, -1, 1 << 20));
    if (size > 0) sizes.insert(size);
    MLXMILL_ASSIGN(const auto block, block_setting(*weights, "block_structure"));
    if (block) told.block = block;
  }
  if (sizes.size() == 1) told.group = *sizes.begin();
  return told;
}

}  // namespace

Status decode_compressed_tensors(Work& work) {
  MLXMILL_ASSIGN(Told told, read_groups(work.settings));
  const base::Value* sparsity = work.settings.find("sparsity_config");
  const std::string sparse = sparsity ? text_setting(*sparsity, "format", "dense") : "dense";
  if (sparse != "dense") {
    return Error(Code::kUnsupported,
                 fmt::format("the sparse format {} of compressed-tensors is not read",
                             base::quoted(sparse)))
        .at("config.json: quantization_config");
  }
  // The one dense format whose tensors have the names of another.
  const std::string format = text_setting(work.settings, "format", "");
  if (format == "marlin-24") {
    return Error(Code::kUnsupported, fmt::format("the format {} of compressed-tensors is not read",
                                                 base::quoted(format)))
        .at("config.json: quantization_config")
        .hint("convert the original checkpoint");
  }
  Decoder decoder(work, std::move(told));
  MLXMILL_TRY(decoder.run());
  // As mlx-lm writes it, whatever the group size of the codes.
  if (decoder.any_integers() || decoder.any_mxfp4()) {
    work.result.quantization = base::Value(
        base::Object{{"group_size", base::Value(32)},
                     {"bits", base::Value(4)},
                     {"mode", base::Value(decoder.any_integers() ? "affine" : "mxfp4")}});
  }
  return {};
}

}  // namespace mlxmill::sources

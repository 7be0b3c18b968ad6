// Weights from the parts that the methods keep them in.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/checked_math.h"
#include "base/quoted.h"
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::Computed;
using tensors::Packed;
using tensors::TensorView;

namespace {

/// What the weights themselves come out as: the scales' own type where it is a 16-bit one.
DType weight_type(const TensorView& scales) {
  return scales.dtype == DType::kF16 ? DType::kF16 : DType::kBF16;
}

bool has_elements(const base::Shape& shape) { return base::element_count(shape).value_or(0) != 0; }

bool same_but_last(const base::Shape& a, const base::Shape& b) {
  return a.size() == b.size() && !a.empty() && std::equal(a.begin(), a.end() - 1, b.begin());
}

/// The group size to keep groups of this many weights in: the same, or a divisor. 0: MLX has none.
std::int64_t mlx_group(std::int64_t group) {
  for (const std::int64_t legal : {128, 64, 32}) {
    if (group % legal == 0) return legal;
  }
  return 0;
}

/// Columns of a group, the last one perhaps shorter: as told where that fits, else equal parts.
std::int64_t run_of(const GroupedCodes& parts, std::int64_t columns) {
  const std::int64_t groups = parts.scales.shape.back();
  const bool told = parts.group > 0 && (columns + parts.group - 1) / parts.group == groups;
  return told ? parts.group : (columns + groups - 1) / groups;
}

/// Weights along a row. Errors: kInvalidInput when codes, scales and zero points disagree.
Result<std::int64_t> check_groups(std::string_view name, const GroupedCodes& parts) {
  const base::Shape& codes = parts.codes.shape;
  const base::Shape& scales = parts.scales.shape;
  const auto bits = static_cast<std::int64_t>(parts.bits);
  const bool rows_fit = codes.size() >= 2 && same_but_last(codes, scales) && has_elements(codes) &&
                        has_elements(scales) && is_mlx_float(parts.scales.dtype);
  const bool zeros_fit = !parts.zeros || parts.zeros->shape == scales;
  if (rows_fit && zeros_fit && codes.back() * 32 % bits == 0) {
    const std::int64_t columns = codes.back() * 32 / bits;
    const bool even = columns % scales.back() == 0;
    if (even || parts.index || run_of(parts, columns) == parts.group) return columns;
  }
  return Error(Code::kInvalidInput,
               fmt::format(
                   "its {}-bit codes {}, scales {} {}{} do not fit each other", parts.bits,
                   base::to_string(codes), dtype_name(parts.scales.dtype), base::to_string(scales),
                   parts.zeros ? " and zero points " + base::to_string(parts.zeros->shape) : ""))
      .at(fmt::format("tensor {}", base::quoted(name)));
}

/// The block that scales of this shape stand for.
std::optional<Block> block_of(const base::Shape& numbers, const base::Shape& scales,
                              const std::optional<Block>& told) {
  const std::int64_t r = numbers[numbers.size() - 2];
  const std::int64_t c = numbers.back();
  const std::int64_t sr = scales[scales.size() - 2];
  const std::int64_t sc = scales.back();
  const auto fits = [&](const Block& b) {
    return (r + b.first - 1) / b.first == sr && (c + b.second - 1) / b.second == sc;
  };
  if (told && fits(*told)) return told;
  if (sr <= 0 || sc <= 0 || sr > r || sc > c) return std::nullopt;
  if (sr == 1 || sc == 1 || !told) {
    // The usual blocks first: two scales for 192 rows are one for 128 and one for the rest.
    if (fits({128, 128})) return Block{128, 128};
    if (r % sr == 0 && c % sc == 0) return Block{r / sr, c / sc};
  }
  return std::nullopt;
}

bool mlx_has(int bits) { return bits >= 2 && bits <= 8 && bits != 7; }

/// The scheme nearest to groups that MLX cannot hold. None: it has none for such rows.
std::optional<Scheme> nearest_scheme(int bits, std::int64_t group, std::int64_t columns) {
  for (const int legal : {128, 64, 32}) {
    const bool fits = legal == 32 || group >= legal;
    if (fits && columns % legal == 0 && mlx_has(bits)) return Scheme{Mode::kAffine, bits, legal};
  }
  return std::nullopt;
}

/// The weights as floats.
TensorView decoded_groups(std::string name, GroupedCodes parts, std::int64_t columns) {
  const std::int64_t run = run_of(parts, columns);
  base::Shape shape = parts.codes.shape;
  shape.back() = columns;
  std::vector<TensorView> inputs = {unpacked_codes(parts.codes, parts.bits), parts.scales};
  tensors::DecodeGroups op{parts.add_to_zeros, parts.zeros.has_value(), parts.index.has_value(),
                           run};
  if (parts.zeros) {
    inputs.push_back(*std::move(parts.zeros));
  } else {
    op.add += 1 << (parts.bits - 1);
  }
  if (parts.index) inputs.push_back(*std::move(parts.index));
  TensorView view = tensors::view_of(
      std::move(name), Computed{op, weight_type(parts.scales), shape, std::move(inputs)});
  view.coded_as = nearest_scheme(parts.bits, run, columns);
  return view;
}

/// Scales with as many axes as the numbers: [n] beside [n, r, c] is one for each slice, beside [n,
/// c] one for each row.
Result<TensorView> align_axes(const TensorView& scales, const base::Shape& numbers) {
  base::Shape shape = scales.shape;
  if (base::element_count(shape) == 1u) shape = base::Shape(numbers.size(), 1);
  while (shape.size() < numbers.size()) shape.push_back(1);
  return tensors::reshape(scales, shape);
}

/// The factor of each row [..., rows, 1] of `codes`, from one for all, for each expert, or for each
/// of an expert's parts [experts, parts].
Result<TensorView> factor_for_rows(const TensorView& factor, const base::Shape& codes) {
  const auto n = static_cast<std::int64_t>(base::element_count(factor.shape).value_or(0));
  const std::size_t axis = codes.size() - 2;
  const std::int64_t rows = codes[axis];
  base::Shape shape(codes.size(), 1);
  if (n != 1) {
    const bool by_expert = codes.size() == 3 && n > 0 && n % codes[0] == 0 &&
                           factor.shape[0] == codes[0] && rows % (n / codes[0]) == 0;
    if (!by_expert) shape.clear();
    if (by_expert) shape = {codes[0], n / codes[0], 1};
  }
  if (shape.empty() || factor.dtype != DType::kF32) return unfit(factor, "one F32 for each tensor");
  MLXMILL_ASSIGN(TensorView result, tensors::reshape(factor, shape));
  if (n == 1 && codes.size() == 3) {
    MLXMILL_ASSIGN(result, tensors::repeat(result, 0, codes[0]));
  }
  return tensors::repeat(result, axis, rows / shape[axis]);
}

/// AutoAWQ's order of the eight codes in a word.
constexpr std::array<std::uint8_t, 8> kAwqOrder = {0, 4, 1, 5, 2, 6, 3, 7};

}  // namespace

TensorView unpacked_codes(const TensorView& words, int bits, bool awq_order) {
  TensorView input = words;
  input.dtype = DType::kU32;
  base::Shape shape = words.shape;
  shape.back() = shape.back() * 32 / bits;
  tensors::Operation operation = tensors::UnpackStream{bits};
  if (32 % bits == 0) {
    tensors::UnpackCodes op{bits, {}};
    for (std::size_t k = 0; k < op.order.size(); ++k) {
      op.order[k] = awq_order ? kAwqOrder[k % kAwqOrder.size()] : static_cast<std::uint8_t>(k);
    }
    operation = op;
  }
  return tensors::view_of(words.name, Computed{std::move(operation), DType::kU8, shape, {input}});
}

Result<TensorView> affine_view(std::string name, GroupedCodes parts) {
  MLXMILL_ASSIGN(const std::int64_t columns, check_groups(name, parts));
  const std::int64_t group = run_of(parts, columns);
  const bool even = columns % group == 0 && !parts.index;
  const std::int64_t legal = mlx_group(group);
  if (legal == 0 || !even || !mlx_has(parts.bits))
    return decoded_groups(std::move(name), std::move(parts), columns);
  TensorView codes = parts.codes;
  codes.dtype = DType::kU32;
  TensorView biases;
  if (parts.zeros) {
    biases = tensors::view_of("biases", Computed{tensors::ZeroToBias{parts.add_to_zeros},
                                                 parts.scales.dtype,
                                                 parts.scales.shape,
                                                 {*parts.zeros, parts.scales}});
  } else {
    const double zero = (1 << (parts.bits - 1)) + parts.add_to_zeros;
    biases = tensors::view_of("biases", Computed{tensors::MultiplyConstant{-zero},
                                                 parts.scales.dtype,
                                                 parts.scales.shape,
                                                 {parts.scales}});
  }
  if (legal != group) {
    const std::size_t last = parts.scales.shape.size() - 1;
    MLXMILL_ASSIGN(parts.scales, tensors::repeat(parts.scales, last, group / legal));
    MLXMILL_ASSIGN(biases, tensors::repeat(biases, last, group / legal));
  }
  const Scheme scheme{Mode::kAffine, parts.bits, static_cast<int>(legal)};
  const DType dtype = weight_type(parts.scales);
  return tensors::packed_view(
      std::move(name), Packed(scheme, std::move(codes), std::move(parts.scales), std::move(biases)),
      dtype);
}

Result<TensorView> scaled_view(const TensorView& numbers, TensorView scales,
                               std::optional<Block> block) {
  const Error bad(Code::kInvalidInput,
                  fmt::format("its scales {} {} fit no blocks of {} {}", dtype_name(scales.dtype),
                              base::to_string(scales.shape), dtype_name(numbers.dtype),
                              base::to_string(numbers.shape)));
  const std::string where = fmt::format("tensor {}", base::quoted(numbers.name));
  const bool scale_type = is_mlx_float(scales.dtype) || scales.dtype == DType::kF8E8M0;
  const std::size_t rank = numbers.shape.size();
  if (rank < 2 || scales.shape.size() > rank || !scale_type ||
      base::element_count(scales.shape).value_or(0) == 0 ||
      base::element_count(numbers.shape).value_or(0) == 0) {
    return Error(bad).at(where);
  }
  MLXMILL_ASSIGN(scales, align_axes(scales, numbers.shape));
  const auto found = block_of(numbers.shape, scales.shape, block);
  std::uint64_t slices = 1;
  std::uint64_t scale_slices = 1;
  for (std::size_t k = 0; k + 2 < rank; ++k) {
    slices *= static_cast<std::uint64_t>(numbers.shape[k]);
    scale_slices *= static_cast<std::uint64_t>(scales.shape[k]);
  }
  if (!found || (scale_slices != 1 && scale_slices != slices)) return Error(bad).at(where);
  return tensors::view_of(numbers.name, Computed{tensors::ScaleBlocks{found->first, found->second},
                                                 DType::kBF16,
                                                 numbers.shape,
                                                 {numbers, scales}});
}

Result<TensorView> fp4_view(std::string name, TensorView bytes, TensorView scales,
                            std::optional<TensorView> factor) {
  const bool nvfp4 = scales.dtype == DType::kF8E4M3;
  const std::int64_t group = nvfp4 ? 16 : 32;
  const bool fits = (nvfp4 || scales.dtype == DType::kU8 || scales.dtype == DType::kF8E8M0) &&
                    bytes.shape.size() >= 2 &&
                    (bytes.dtype == DType::kU8 || bytes.dtype == DType::kI8) &&
                    same_but_last(bytes.shape, scales.shape) && has_elements(scales.shape) &&
                    bytes.shape.back() * 2 == scales.shape.back() * group;
  if (!fits) {
    return Error(Code::kInvalidInput,
                 fmt::format("its FP4 codes {} {} and scales {} {} do not fit each other",
                             dtype_name(bytes.dtype), base::to_string(bytes.shape),
                             dtype_name(scales.dtype), base::to_string(scales.shape)))
        .at(fmt::format("tensor {}", base::quoted(name)));
  }
  MLXMILL_ASSIGN(TensorView codes, tensors::bit_cast(bytes, DType::kU32));
  MLXMILL_ASSIGN(TensorView scale_bytes, tensors::bit_cast(scales, DType::kU8));
  const Scheme scheme = nvfp4 ? Scheme{Mode::kNvfp4, 4, 16} : Scheme{Mode::kMxfp4, 4, 32};
  std::optional<TensorView> of_rows;
  if (factor) {
    if (!nvfp4) return unfit(*factor, "no factor beside exponents");
    MLXMILL_ASSIGN(of_rows, factor_for_rows(*factor, bytes.shape));
  }
  return tensors::packed_view(
      std::move(name),
      Packed(scheme, std::move(codes), std::move(scale_bytes), std::nullopt, std::move(of_rows)),
      DType::kBF16);
}

Result<TensorView> float8_view(const TensorView& numbers, TensorView scales,
                               std::optional<Block> block) {
  if (scales.dtype == DType::kU8) scales.dtype = DType::kF8E8M0;
  const bool in_groups = scales.dtype == DType::kF8E8M0 && numbers.dtype == DType::kF8E4M3 &&
                         numbers.shape.size() >= 2 && same_but_last(numbers.shape, scales.shape) &&
                         scales.shape.back() > 0 &&
                         numbers.shape.back() == scales.shape.back() * 32;
  if (in_groups) return mxfp8_view(numbers, std::move(scales));
  return scaled_view(numbers, std::move(scales), block);
}

Result<TensorView> mxfp8_view(TensorView numbers, TensorView exponents) {
  const bool fits =
      numbers.shape.size() >= 2 && numbers.shape.size() == exponents.shape.size() &&
      std::equal(numbers.shape.begin(), numbers.shape.end() - 2, exponents.shape.begin()) &&
      numbers.shape.back() == exponents.shape.back() * 32 && has_elements(numbers.shape) &&
      has_elements(exponents.shape) &&
      numbers.shape[numbers.shape.size() - 2] % exponents.shape[exponents.shape.size() - 2] == 0 &&
      dtype_bytes(exponents.dtype) == 1 && dtype_bytes(numbers.dtype) == 1;
  if (!fits) {
    return Error(Code::kInvalidInput,
                 fmt::format("its exponents {} {} do not fit {} {}", dtype_name(exponents.dtype),
                             base::to_string(exponents.shape), dtype_name(numbers.dtype),
                             base::to_string(numbers.shape)))
        .at(fmt::format("tensor {}", base::quoted(numbers.name)));
  }
  const std::size_t rows = numbers.shape.size() - 2;
  const std::int64_t times = numbers.shape[rows] / exponents.shape[rows];
  MLXMILL_ASSIGN(TensorView codes, tensors::bit_cast(numbers, DType::kU32));
  MLXMILL_ASSIGN(TensorView scales, tensors::bit_cast(exponents, DType::kU8));
  if (times > 1) {
    MLXMILL_ASSIGN(scales, tensors::repeat(scales, rows, times));
  }
  return tensors::packed_view(numbers.name,
                              Packed({Mode::kMxfp8, 8, 32}, std::move(codes), std::move(scales)),
                              DType::kBF16);
}

}  // namespace mlxmill::sources

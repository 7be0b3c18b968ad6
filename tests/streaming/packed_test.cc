// Weights from codes, computations on top of each other, and reads that fail.
#include "kernels/ggml.h"
#include "streaming/support.h"

namespace mlxmill::streaming {
namespace {

using tensors::Computed;
using tensors::RepackGgml;
using tensors::TensorView;

class PackedTest : public StreamingTest {
 protected:
  /// Codes, scales and biases of `rows` x `columns` weights that were quantized in a scheme.
  tensors::Packed quantized(const Scheme& scheme, DType type, std::int64_t rows,
                            std::int64_t columns) {
    const auto n = static_cast<std::size_t>(rows * columns);
    const std::string weights = rounded(some_floats(n), type);
    const bool affine = scheme.mode == Mode::kAffine;
    const auto groups = n / static_cast<std::size_t>(scheme.group_size);
    codes_.assign(kernels::code_bytes(scheme, n), '\0');
    scales_.assign(groups * (affine ? dtype_bytes(type) : 1), '\0');
    biases_ = scales_;
    kernels::quantize(scheme, weights.data(), type, n,
                      {codes_.data(), scales_.data(), biases_.data()});
    const DType scale_type = affine ? type : DType::kU8;
    // Stored one after the other: their order is that of the list of sources.
    TensorView codes = store(DType::kU32, {rows, columns * scheme.bits / 32}, codes_);
    TensorView scales = store(scale_type, {rows, columns / scheme.group_size}, scales_);
    std::optional<TensorView> biases;
    if (affine) biases = store(scale_type, {rows, columns / scheme.group_size}, biases_);
    return tensors::Packed(scheme, std::move(codes), std::move(scales), std::move(biases));
  }

  /// What the codes of the last quantized() stand for.
  std::string dequantized(const Scheme& scheme, DType type, std::size_t n) const {
    std::string weights(n * dtype_bytes(type), '\0');
    kernels::dequantize(scheme, {codes_.data(), scales_.data(), biases_.data()}, type, n,
                        weights.data());
    return weights;
  }

  std::string codes_;
  std::string scales_;
  std::string biases_;
};

TEST_F(PackedTest, DecodesEveryScheme) {
  std::vector<Scheme> schemes = {
      {Mode::kMxfp4, 4, 32}, {Mode::kNvfp4, 4, 16}, {Mode::kMxfp8, 8, 32}};
  for (const int bits : {2, 3, 4, 5, 6, 8}) schemes.push_back({Mode::kAffine, bits, 32});
  for (const Scheme& scheme : schemes) {
    SCOPED_TRACE(describe(scheme));
    const TensorView view =
        tensors::packed_view("w", quantized(scheme, DType::kBF16, 3, 64), DType::kBF16);
    EXPECT_EQ(view.shape, (base::Shape{3, 64}));
    expect_every_range(view, dequantized(scheme, DType::kBF16, 3 * 64));
  }
}

TEST_F(PackedTest, AffineCodesAreDecodedInTheTypeOfTheirScales) {
  const Scheme scheme{Mode::kAffine, 4, 32};
  const TensorView view =
      tensors::packed_view("w", quantized(scheme, DType::kF16, 2, 64), DType::kF32);
  const std::string halves = dequantized(scheme, DType::kF16, 2 * 64);
  std::string expected(halves.size() * 2, '\0');
  kernels::convert_floats(halves.data(), DType::kF16, expected.data(), DType::kF32, 2 * 64);
  expect_every_range(view, expected);
}

TEST_F(PackedTest, AFactorForEachSlice) {
  const Scheme scheme{Mode::kNvfp4, 4, 16};
  const tensors::Packed packed = quantized(scheme, DType::kF32, 3, 48);
  const std::string plain = dequantized(scheme, DType::kF32, 3 * 48);
  for (const std::vector<float>& factors :
       {std::vector<float>{0.3f}, std::vector<float>{0.3f, -2, 5}}) {
    std::vector<float> expected(3 * 48);
    std::memcpy(expected.data(), plain.data(), plain.size());
    const std::size_t slice = expected.size() / factors.size();
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] *= factors[i / slice];
    const auto n = static_cast<std::int64_t>(factors.size());
    const TensorView each = store_floats(DType::kF32, {n, 1, 1}, factors);
    const TensorView factor = n == 3 ? each : *tensors::repeat(each, 0, 3);
    const TensorView view =
        tensors::view_of("w", Computed{tensors::DecodePacked{scheme, true},
                                       DType::kBF16,
                                       {3, 1, 48},
                                       {*tensors::reshape(packed.codes(), {3, 1, 6}),
                                        *tensors::reshape(packed.scales(), {3, 1, 3}), factor}});
    expect_every_range(view, rounded(expected, DType::kBF16));
  }
}

/// Rows of blocks whose scales are no NaNs.
std::string blocks_of(base::GgmlType type, std::size_t n_blocks) {
  const std::size_t bytes = base::ggml_type_info(type).block_bytes;
  std::vector<std::uint8_t> all = noise(n_blocks * bytes);
  for (std::size_t b = 0; b < n_blocks; ++b) {
    std::uint8_t* block = all.data() + b * bytes;
    for (std::size_t k = 0; k < 4 && type == base::GgmlType::kNVFP4; ++k) block[k] &= 0x3F;
    if (type == base::GgmlType::kMXFP4) block[0] = static_cast<std::uint8_t>(120 + b);
    // An F16 below 1, and the minimum beside it.
    if (type != base::GgmlType::kNVFP4 && type != base::GgmlType::kMXFP4) {
      block[1] = 0x2A;
      block[3] = type == base::GgmlType::kQ4_1 || type == base::GgmlType::kQ5_1 ? 0xA9 : block[3];
    }
  }
  return bytes_of(all);
}

TEST_F(PackedTest, RepacksGgmlBlocksPartByPart) {
  using base::GgmlType;
  for (const GgmlType type : {GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1,
                              GgmlType::kQ8_0, GgmlType::kMXFP4, GgmlType::kNVFP4}) {
    const base::GgmlTypeInfo& info = base::ggml_type_info(type);
    SCOPED_TRACE(info.name);
    const Scheme scheme = *kernels::ggml_repack_scheme(type);
    const bool affine = scheme.mode == Mode::kAffine;
    const std::size_t n = 6 * info.block_elements;
    const std::string blocks = blocks_of(type, 6);
    codes_.assign(kernels::code_bytes(scheme, n), '\0');
    scales_.assign(n / static_cast<std::size_t>(scheme.group_size) * (affine ? 2 : 1), '\0');
    biases_ = scales_;
    ASSERT_EQ(kernels::repack_ggml(type, blocks.data(), 6,
                                   {codes_.data(), scales_.data(), biases_.data()}),
              0u);
    const TensorView stored = store(DType::kU8, {2, 3 * info.block_bytes}, blocks);
    const auto part = [&](RepackGgml::Part which, DType dtype, std::size_t elements) {
      return tensors::view_of("p", Computed{RepackGgml{type, scheme, which},
                                            dtype,
                                            {2, static_cast<std::int64_t>(elements / 2)},
                                            {stored}});
    };
    expect_every_range(part(RepackGgml::Part::kCodes, DType::kU32, codes_.size() / 4), codes_);
    const DType scale_type = affine ? DType::kF16 : DType::kU8;
    const std::size_t groups = n / static_cast<std::size_t>(scheme.group_size);
    expect_every_range(part(RepackGgml::Part::kScales, scale_type, groups), scales_);
    if (affine) expect_every_range(part(RepackGgml::Part::kBiases, scale_type, groups), biases_);
    std::string weights(n * 4, '\0');
    kernels::decode_ggml(type, blocks.data(), 6, reinterpret_cast<float*>(weights.data()));
    expect_every_range(tensors::view_of("d", Computed{tensors::DecodeGgml{type},
                                                      DType::kF32,
                                                      {2, static_cast<std::int64_t>(n / 2)},
                                                      {stored}}),
                       weights);
  }
}

TEST_F(PackedTest, ComputationsOnTopOfEachOther) {
  // Codes are unpacked, turned, cut, scaled, turned back and read as other types.
  auto codes = noise(32 * 16 / 2);
  const TensorView words = store(DType::kU32, {32, 2}, bytes_of(codes));
  tensors::UnpackCodes op{4, {}};
  for (std::size_t k = 0; k < 8; ++k) op.order[k] = static_cast<std::uint8_t>(k);
  const TensorView bytes = tensors::view_of("b", Computed{op, DType::kU8, {32, 16}, {words}});
  const std::size_t axes[] = {1, 0};
  const TensorView turned = *tensors::transpose(bytes, axes);
  const TensorView cut = tensors::slice(tensors::slice(turned, 0, 1, 16, 3), 1, 5, 30);
  const TensorView wide =
      tensors::view_of("c", Computed{tensors::Cast{}, DType::kF32, {5, 25}, {cut}});
  const TensorView scaled =
      tensors::view_of("s", Computed{tensors::MultiplyConstant{0.5}, DType::kF32, {5, 25}, {wide}});
  std::vector<float> expected;
  for (std::size_t r = 1; r < 16; r += 3) {
    for (std::size_t c = 5; c < 30; ++c) {
      const std::uint8_t pair = codes[(c * 16 + r) / 2];
      expected.push_back(static_cast<float>(r % 2 ? pair >> 4 : pair & 15) / 2);
    }
  }
  EXPECT_EQ(tensors::depth(scaled), 3u);
  expect_every_range(scaled, bytes_of(expected));
  // The same once more, the other way round.
  std::vector<float> back(expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) back[i % 25 * 5 + i / 25] = expected[i];
  expect_every_range(*tensors::transpose(scaled, axes), bytes_of(back));
  expect_every_range(*tensors::bit_cast(scaled, DType::kU8), bytes_of(expected), 3);
}

TEST_F(PackedTest, RepeatsRowsAndColumns) {
  const std::vector<std::uint8_t> values = {1, 2, 3, 4, 5, 6};
  const TensorView view = store(DType::kU8, {2, 3}, bytes_of(values));
  const TensorView rows = *tensors::repeat(view, 0, 2);
  EXPECT_EQ(rows.shape, (base::Shape{4, 3}));
  expect_every_range(rows, bytes_of(std::vector<std::uint8_t>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
  const TensorView columns = *tensors::repeat(view, 1, 3);
  expect_every_range(columns, bytes_of(std::vector<std::uint8_t>{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4,
                                                                 5, 5, 5, 6, 6, 6}));
  // One number for everything, past what is read as one block.
  const TensorView one = store(DType::kF32, {1, 1}, bytes_of(std::vector<float>{2.5f}));
  const TensorView many = *tensors::repeat(*tensors::repeat(one, 0, 300), 1, 400);
  EXPECT_EQ(read(many), bytes_of(std::vector<float>(300 * 400, 2.5f)));
  // And of a computed tensor.
  const TensorView inverse =
      tensors::view_of("i", Computed{tensors::Reciprocal{}, DType::kF32, {1, 1}, {one}});
  expect_every_range(*tensors::repeat(*tensors::repeat(inverse, 0, 3), 1, 5),
                     bytes_of(std::vector<float>(15, 0.4f)));
}

TEST_F(PackedTest, NothingIsReadOfEmptyTensors) {
  const TensorView empty = store(DType::kF32, {0, 4}, "");
  expect_every_range(tensors::view_of("e", Computed{tensors::Cast{}, DType::kF16, {0, 4}, {empty}}),
                     "");
  expect_every_range(
      tensors::view_of("n", Computed{tensors::Normalize{0, 0}, DType::kF32, {0, 4}, {empty}}), "");
}

TEST_F(PackedTest, AFileThatEndsEarlyIsAnErrorOfEveryOperation) {
  const Scheme scheme{Mode::kAffine, 4, 32};
  const TensorView packed =
      tensors::packed_view("w", quantized(scheme, DType::kF32, 2, 32), DType::kF32);
  const TensorView codes = store(DType::kU8, {4, 32}, std::string(128, '\1'));
  const auto of = [&](tensors::Operation op, DType dtype, base::Shape shape,
                      std::vector<TensorView> inputs) {
    return tensors::view_of("m",
                            Computed{std::move(op), dtype, std::move(shape), std::move(inputs)});
  };
  // The last tensor of the file is the one that is cut off.
  const TensorView floats = store_floats(DType::kF32, {4, 4}, some_floats(16));
  const TensorView numbers = tensors::slice(codes, 1, 0, 4);
  const TensorView bytes = *tensors::bit_cast(floats, DType::kU8);
  const TensorView words = *tensors::bit_cast(floats, DType::kU32);
  const std::vector<TensorView> views = {
      of(tensors::Gathered{}, DType::kF32, {4, 4}, {floats}),
      of(tensors::Cast{}, DType::kF16, {4, 4}, {floats}),
      of(tensors::AddConstant{1}, DType::kF32, {4, 4}, {floats}),
      of(tensors::MultiplyConstant{2}, DType::kF32, {4, 4}, {floats}),
      of(tensors::MultiplyAlong{0, {1, 2, 3, 4}}, DType::kF32, {4, 4}, {floats}),
      of(tensors::Normalize{0, 0}, DType::kF32, {4, 4}, {floats}),
      of(tensors::Normalize{1, 0}, DType::kF32, {4, 4}, {floats}),
      of(tensors::DecodePacked{scheme}, DType::kF32, {2, 32},
         {packed.packed->codes(), tensors::slice(*tensors::reshape(floats, {16, 1}), 0, 14, 16),
          *packed.packed->biases()}),
      of(tensors::ScaleBlocks{1, 1}, DType::kBF16, {4, 4}, {numbers, floats}),
      of(tensors::UnpackCodes{4, {}}, DType::kU8, {4, 32}, {words}),
      of(tensors::UnpackStream{2}, DType::kU8, {4, 64}, {words}),
      of(tensors::PackStream{4}, DType::kU32, {4, 2}, {bytes}),
      of(tensors::XorBytes{1}, DType::kU8, {4, 16}, {bytes}),
      of(tensors::AddBytes{1}, DType::kU8, {4, 16}, {bytes}),
      of(tensors::ShiftBytes{1, 1}, DType::kU8, {4, 16}, {bytes}),
      of(tensors::Reciprocal{}, DType::kF32, {4, 4}, {floats}),
      of(tensors::ZeroToBias{0}, DType::kF32, {4, 4}, {numbers, floats}),
      of(tensors::DecodeGroups{0, false, false}, DType::kBF16, {4, 32}, {codes, floats}),
      of(tensors::DecodeGgml{base::GgmlType::kQ8_0}, DType::kF32, {1, 32},
         {tensors::slice(*tensors::reshape(bytes, {1, 64}), 1, 30, 64)}),
  };
  for (const TensorView& view : views) {
    SCOPED_TRACE(tensors::describe(*view.pieces[0].computed));
    SourcePool whole = pool();
    SourcePool cut = pool(1);
    for (SourcePool* sources : {&whole, &cut}) {
      const ViewReader reader(view, *sources);
      Scratch scratch;
      std::vector<std::byte> out(reader.elements() * reader.element_bytes());
      const Status status = reader.read(0, reader.elements(), out.data(), scratch);
      ASSERT_EQ(status.ok(), sources == &whole);
      if (sources == &cut) {
        EXPECT_EQ(status.error().code(), Code::kInvalidInput) << status.error().message();
      }
    }
  }
}

}  // namespace
}  // namespace mlxmill::streaming

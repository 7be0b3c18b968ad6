// Every operation against a direct computation, in every range of a small tensor.
#include "streaming/computed.h"

#include <cmath>
#include <numeric>

#include "kernels/arithmetic.h"
#include "kernels/ref/block_float.h"
#include "streaming/support.h"

namespace mlxmill::streaming {
namespace {

using tensors::Computed;
using tensors::TensorView;

constexpr DType kFloats[] = {DType::kF16, DType::kBF16, DType::kF32};

class ComputedTest : public StreamingTest {};

TensorView computed(tensors::Operation op, DType dtype, base::Shape shape,
                    std::vector<TensorView> inputs) {
  return tensors::view_of("made",
                          Computed{std::move(op), dtype, std::move(shape), std::move(inputs)});
}

float round_to(DType type, float value) { return kernels::ref::round_to(type, value); }

TEST_F(ComputedTest, Gathered) {
  std::vector<std::uint16_t> values(60);
  std::iota(values.begin(), values.end(), std::uint16_t{0});
  const TensorView all = store(DType::kU16, {10, 6}, bytes_of(values));
  const TensorView both[] = {tensors::slice(all, 0, 7, 9), tensors::slice(all, 0, 1, 4, 2)};
  std::vector<std::uint16_t> expected;
  for (const int row : {7, 8, 1, 3}) {
    for (int column = 0; column < 6; ++column)
      expected.push_back(static_cast<std::uint16_t>(row * 6 + column));
  }
  expect_every_range(tensors::gathered(*tensors::concatenate(both, 0)), bytes_of(expected));
}

TEST_F(ComputedTest, Casts) {
  const std::vector<float> values = some_floats(77);
  for (const DType from : kFloats) {
    for (const DType to : kFloats) {
      const TensorView view = store_floats(from, {7, 11}, values);
      expect_every_range(computed(tensors::Cast{}, to, {7, 11}, {view}), rounded(values, to));
    }
  }
  std::vector<std::int64_t> integers = {0, -1, 16777217, INT64_MAX, INT64_MIN};
  expect_every_range(
      computed(tensors::Cast{}, DType::kF32, {5}, {store(DType::kI64, {5}, bytes_of(integers))}),
      bytes_of(std::vector<float>{0, -1, 16777216, 0x1p63f, -0x1p63f}));
}

TEST_F(ComputedTest, AddsAndMultiplies) {
  const std::vector<float> values = some_floats(60);
  const std::vector<float> factors = {0.1f, -3, 7.77f, 0};
  for (const DType type : kFloats) {
    const TensorView view = store_floats(type, {5, 4, 3}, values);
    std::vector<float> sum;
    std::vector<float> product;
    std::vector<float> along;
    for (std::size_t i = 0; i < values.size(); ++i) {
      sum.push_back(values[i] + round_to(type, 0.3f));
      product.push_back(values[i] * round_to(type, 0.3f));
      along.push_back(values[i] * round_to(type, factors[i / 3 % 4]));
    }
    expect_every_range(computed(tensors::AddConstant{0.3}, type, {5, 4, 3}, {view}),
                       rounded(sum, type));
    expect_every_range(computed(tensors::MultiplyConstant{0.3}, type, {5, 4, 3}, {view}),
                       rounded(product, type));
    expect_every_range(computed(tensors::MultiplyAlong{1, factors}, type, {5, 4, 3}, {view}),
                       rounded(along, type));
  }
}

TEST_F(ComputedTest, NormalizesAlongEitherAxis) {
  const std::vector<float> values = some_floats(6 * 9);
  for (const DType type : kFloats) {
    const TensorView view = store_floats(type, {6, 9}, values);
    for (const std::size_t axis : {0u, 1u}) {
      std::vector<float> expected;
      for (std::size_t r = 0; r < 6; ++r) {
        for (std::size_t c = 0; c < 9; ++c) {
          float squares = 0;
          for (std::size_t k = 0; k < (axis == 0 ? 6u : 9u); ++k) {
            const float v = axis == 0 ? values[k * 9 + c] : values[r * 9 + k];
            squares += v * v;
          }
          expected.push_back(values[r * 9 + c] / (std::sqrt(squares) + 1e-3f));
        }
      }
      expect_every_range(computed(tensors::Normalize{axis, 1e-3}, type, {6, 9}, {view}),
                         rounded(expected, type));
    }
  }
}

TEST_F(ComputedTest, NormalizesAMiddleAxis) {
  const std::vector<float> values = some_floats(2 * 3 * 4);
  const TensorView view = store_floats(DType::kF32, {2, 3, 4}, values);
  std::vector<float> expected;
  for (std::size_t i = 0; i < values.size(); ++i) {
    float squares = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const float v = values[i / 12 * 12 + k * 4 + i % 4];
      squares += v * v;
    }
    expected.push_back(values[i] / std::sqrt(squares));
  }
  expect_every_range(computed(tensors::Normalize{1, 0}, DType::kF32, {2, 3, 4}, {view}),
                     bytes_of(expected));
}

TEST_F(ComputedTest, ScalesBlocksThatDoNotFillTheirTensor) {
  const auto codes = noise(2 * 7 * 11);
  std::vector<std::uint8_t> numbers;
  for (const std::uint8_t code : codes) numbers.push_back((code & 0x7F) == 0x7F ? 1 : code);
  const std::vector<float> scales = some_floats(2 * 3 * 3, 5);
  for (const bool own : {true, false}) {
    std::vector<float> expected;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const std::size_t at = (own ? i / 77 * 9 : 0) + i % 77 / 11 / 3 * 3 + i % 11 / 4;
      expected.push_back(kernels::ref::f32_from_fp8(numbers[i]) * scales[at]);
    }
    const TensorView view = store(DType::kF8E4M3, {2, 7, 11}, bytes_of(numbers));
    const TensorView by = store_floats(DType::kF32, {own ? 2 : 1, 3, 3},
                                       {scales.begin(), scales.begin() + (own ? 18 : 9)});
    expect_every_range(computed(tensors::ScaleBlocks{3, 4}, DType::kBF16, {2, 7, 11}, {view, by}),
                       rounded(expected, DType::kBF16));
  }
}

TEST_F(ComputedTest, ScalesByPowersOfTwo) {
  const std::vector<std::uint8_t> exponents = {0, 127, 254, 130};
  const std::vector<float> powers = {0x1p-127f, 1, 0x1p127f, 8};
  std::vector<std::int8_t> numbers;
  std::vector<float> expected;
  for (int i = 0; i < 40; ++i) {
    numbers.push_back(static_cast<std::int8_t>(i % 3 - 1));
    expected.push_back(static_cast<float>(i % 3 - 1) * powers[static_cast<std::size_t>(i / 10)]);
  }
  const TensorView view = store(DType::kI8, {4, 10}, bytes_of(numbers));
  const TensorView by = store(DType::kF8E8M0, {4, 1}, bytes_of(exponents));
  expect_every_range(computed(tensors::ScaleBlocks{1, 10}, DType::kF32, {4, 10}, {view, by}),
                     bytes_of(expected));
}

TEST_F(ComputedTest, UnpacksAndPacksCodes) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    const auto b = static_cast<std::int64_t>(bits);
    auto codes = noise(3 * 64);
    for (std::uint8_t& code : codes) code &= static_cast<std::uint8_t>((1 << bits) - 1);
    std::string stream(codes.size() / 8 * static_cast<std::size_t>(bits), '\0');
    for (std::size_t i = 0; i < codes.size() * static_cast<std::size_t>(bits); ++i) {
      const auto width = static_cast<std::size_t>(bits);
      if (codes[i / width] >> (i % width) & 1)
        stream[i / 8] = static_cast<char>(stream[i / 8] | 1 << i % 8);
    }
    const TensorView words = store(DType::kU32, {3, 2 * b}, stream);
    const TensorView bytes = store(DType::kU8, {3, 64}, bytes_of(codes));
    expect_every_range(computed(tensors::UnpackStream{bits}, DType::kU8, {3, 64}, {words}),
                       bytes_of(codes));
    const TensorView packed = computed(tensors::PackStream{bits}, DType::kU32, {3, 2 * b}, {bytes});
    expect_every_range(packed, stream);
    // Read as bytes, ranges begin and end inside of words.
    expect_every_range(*tensors::bit_cast(packed, DType::kU8), stream);
    expect_every_range(*tensors::bit_cast(packed, DType::kU16), stream);
    if (32 % bits != 0) continue;
    // Backwards within a word.
    tensors::UnpackCodes op{bits, {}};
    const std::size_t per_word = 32 / static_cast<std::size_t>(bits);
    std::vector<std::uint8_t> backwards;
    for (std::size_t i = 0; i < codes.size(); ++i)
      backwards.push_back(codes[i / per_word * per_word + per_word - 1 - i % per_word]);
    for (std::size_t k = 0; k < per_word; ++k)
      op.order[k] = static_cast<std::uint8_t>(per_word - 1 - k);
    expect_every_range(computed(op, DType::kU8, {3, 64}, {words}), bytes_of(backwards));
  }
}

TEST_F(ComputedTest, Bytes) {
  const auto codes = noise(50);
  const TensorView view = store(DType::kU8, {50}, bytes_of(codes));
  std::vector<std::uint8_t> xored;
  std::vector<std::uint8_t> added;
  std::vector<std::uint8_t> shifted;
  for (const std::uint8_t code : codes) {
    xored.push_back(code ^ 0x80);
    added.push_back(static_cast<std::uint8_t>((code + 136) % 256));
    shifted.push_back(code / 16 % 4);
  }
  expect_every_range(computed(tensors::XorBytes{0x80}, DType::kU8, {50}, {view}), bytes_of(xored));
  expect_every_range(computed(tensors::AddBytes{136}, DType::kU8, {50}, {view}), bytes_of(added));
  expect_every_range(computed(tensors::ShiftBytes{4, 3}, DType::kU8, {50}, {view}),
                     bytes_of(shifted));
}

TEST_F(ComputedTest, FactorsOfOthersLogarithmsAndConstants) {
  const std::vector<float> values = some_floats(60);
  const std::vector<float> factors = {0.1f, -3, 7.77f, 0, 1e3f};
  for (const DType type : kFloats) {
    const TensorView view = store_floats(type, {5, 4, 3}, values);
    const TensorView each = store_floats(DType::kF32, {5}, factors);
    const TensorView one = store_floats(DType::kF32, {}, {0.3f});
    std::vector<float> by_each;
    std::vector<float> by_one;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float x = round_to(type, values[i]);
      by_each.push_back(x * factors[i / 12]);
      by_one.push_back(x * 0.3f);
    }
    expect_every_range(computed(tensors::MultiplyBy{}, type, {5, 4, 3}, {view, each}),
                       rounded(by_each, type));
    expect_every_range(computed(tensors::MultiplyBy{}, type, {5, 4, 3}, {view, one}),
                       rounded(by_one, type));
    expect_every_range(computed(tensors::Constant{0.3f}, type, {7}, {}),
                       rounded(std::vector<float>(7, 0.3f), type));
  }
  const std::vector<float> negative = {-1, -2.5f, -1e-6f, -3e4f};
  std::vector<float> expected;
  for (const float x : negative)
    expected.push_back(static_cast<float>(std::log(-static_cast<double>(x))));
  expect_every_range(computed(tensors::LogOfNegative{}, DType::kF32, {4},
                              {store_floats(DType::kF32, {4}, negative)}),
                     bytes_of(expected));
}

TEST_F(ComputedTest, ReciprocalsAndBiases) {
  const std::vector<float> values = {1, 3, -0.5f, 7, 0, 1024};
  const std::vector<std::uint8_t> zeros = {0, 1, 8, 15, 255, 7};
  for (const DType type : kFloats) {
    const TensorView scales = store_floats(type, {2, 3}, values);
    std::vector<float> inverse;
    std::vector<float> biases;
    for (std::size_t i = 0; i < values.size(); ++i) {
      inverse.push_back(1 / values[i]);
      biases.push_back(-(static_cast<float>(zeros[i]) + 1) * values[i]);
    }
    expect_every_range(computed(tensors::Reciprocal{}, type, {2, 3}, {scales}),
                       rounded(inverse, type));
    expect_every_range(computed(tensors::ZeroToBias{1}, type, {2, 3},
                                {store(DType::kU8, {2, 3}, bytes_of(zeros)), scales}),
                       rounded(biases, type));
  }
}

TEST_F(ComputedTest, DecodesGroups) {
  auto codes = noise(4 * 24);
  for (std::uint8_t& code : codes) code &= 15;
  auto zeros = noise(4 * 3, 9);
  for (std::uint8_t& zero : zeros) zero &= 15;
  const std::vector<float> scales = some_floats(4 * 3, 4);
  std::vector<std::int32_t> index;
  for (std::int32_t c = 0; c < 24; ++c) index.push_back(c * 7 % 3);
  for (const bool has_zeros : {false, true}) {
    for (const bool has_index : {false, true}) {
      std::vector<float> expected;
      for (std::size_t i = 0; i < codes.size(); ++i) {
        const std::size_t column = i % 24;
        const auto group = has_index ? static_cast<std::size_t>(index[column]) : column / 8;
        const std::size_t at = i / 24 * 3 + group;
        const int zero = (has_zeros ? zeros[at] : 0) + 1;
        expected.push_back(static_cast<float>(codes[i] - zero) * scales[at]);
      }
      std::vector<TensorView> inputs = {store(DType::kU8, {4, 24}, bytes_of(codes)),
                                        store_floats(DType::kF16, {4, 3}, scales)};
      if (has_zeros) inputs.push_back(store(DType::kU8, {4, 3}, bytes_of(zeros)));
      if (has_index) inputs.push_back(store(DType::kI32, {24}, bytes_of(index)));
      expect_every_range(computed(tensors::DecodeGroups{1, has_zeros, has_index}, DType::kBF16,
                                  {4, 24}, std::move(inputs)),
                         rounded(expected, DType::kBF16));
    }
  }
}

TEST_F(ComputedTest, ALongReadIsDoneInChunks) {
  // Past 256 Ki elements, which no row and no group divides.
  const std::size_t n = 3 * 100'003;
  const auto codes = noise(n);
  const TensorView view = store(DType::kU8, {3, 100'003}, bytes_of(codes));
  const TensorView wide = computed(tensors::Cast{}, DType::kF32, {3, 100'003}, {view});
  std::vector<float> expected;
  for (const std::uint8_t code : codes) expected.push_back(code);
  EXPECT_EQ(read(wide), bytes_of(expected));
  expect_every_range(wide, bytes_of(expected), 99'991);
  std::vector<float> norms;
  for (std::size_t r = 0; r < 3; ++r) {
    float squares = 0;
    for (std::size_t c = 0; c < 100'003; ++c)
      squares += expected[r * 100'003 + c] * expected[r * 100'003 + c];
    norms.push_back(std::sqrt(squares));
  }
  for (std::size_t i = 0; i < n; ++i) expected[i] /= norms[i / 100'003];
  expect_every_range(computed(tensors::Normalize{1, 0}, DType::kF32, {3, 100'003}, {wide}),
                     bytes_of(expected), 149'993);
}

}  // namespace
}  // namespace mlxmill::streaming

// Primitives of libmlx's graph over mlxmill's kernels, against plain loops in F64 and libmlx's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/primitives/decoder.h"
#include "runtime/primitives/product.h"
#include "runtime/primitives/quantized.h"

namespace mlxmill::runtime {
namespace {

mx::array random_array(mx::Shape shape, mx::Dtype type, unsigned seed) {
  return mx::astype(
      mx::random::uniform(-1.0F, 1.0F, std::move(shape), mx::float32, mx::random::key(seed)), type);
}

/// Values in row-major order.
std::vector<float> values_of(const mx::array& x) {
  const mx::array wide = mx::contiguous(mx::astype(x, mx::float32));
  mx::eval(wide);
  return {wide.data<float>(), wide.data<float>() + wide.size()};
}

Linear quantized(const Scheme& scheme, mx::Shape shape, mx::Dtype type, unsigned seed) {
  const mx::array weight = random_array(std::move(shape), type, seed);
  const std::vector<mx::array> parts =
      mx::quantize(weight, scheme.group_size, scheme.bits, std::string(mode_name(scheme.mode)));
  Linear layer{parts[0], parts[1], std::nullopt, std::nullopt, scheme};
  if (parts.size() > 2) layer.biases = parts[2];
  mx::eval(parts);
  return layer;
}

std::vector<float> weights_of(const Linear& layer) {
  if (!layer.scales) return values_of(layer.weight);
  return values_of(mx::dequantize(
      layer.weight, *layer.scales, layer.biases, layer.scheme.group_size, layer.scheme.bits,
      std::string(mode_name(layer.scheme.mode)), std::nullopt, mx::float32));
}

/// What one row of a product may be off: sums in F32 or BF16 weights, and the type of y.
void expect_row(const float* y, const float* x, const float* w, const float* bias, int out, int in,
                mx::Dtype type) {
  const double unit = type == mx::float32 ? 0x1p-18 : 0x1p-8;
  for (int n = 0; n < out; ++n) {
    double sum = bias != nullptr ? bias[n] : 0;
    double magnitude = std::fabs(sum);
    for (int k = 0; k < in; ++k) {
      const double term = double{x[k]} * w[n * in + k];
      sum += term;
      magnitude += std::fabs(term);
    }
    ASSERT_NEAR(y[n], sum, unit * magnitude) << "output " << n;
  }
}

std::vector<Scheme> schemes() {
  std::vector<Scheme> all = {{Mode::kMxfp4, 4, 32}, {Mode::kNvfp4, 4, 16}, {Mode::kMxfp8, 8, 32}};
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) all.push_back({Mode::kAffine, bits, group});
  }
  return all;
}

TEST(Products, EveryScheme) {
  for (const Scheme& scheme : schemes()) {
    for (const mx::Dtype type : {mx::bfloat16, mx::float16, mx::float32}) {
      for (const int count : {1, 3, 21}) {
        Linear layer = quantized(scheme, {37, 384}, type, 1);
        layer.bias = random_array({37}, type, 2);
        mx::eval(*layer.bias);
        const mx::array x = random_array({1, count, 384}, type, 3);
        ASSERT_TRUE(multiplies_on_cpu(layer, x, 2));
        SCOPED_TRACE(std::string(mode_name(scheme.mode)) + " " + std::to_string(scheme.bits) + " " +
                     std::to_string(scheme.group_size) + " rows " + std::to_string(count));
        const mx::array y = multiply_on_cpu({&layer}, x)[0];
        EXPECT_EQ(y.shape(), (mx::Shape{1, count, 37}));
        EXPECT_EQ(y.dtype(), type);
        const auto ys = values_of(y), xs = values_of(x), ws = weights_of(layer);
        const auto bias = values_of(*layer.bias);
        for (int i = 0; i < count; ++i) {
          expect_row(&ys[i * 37], &xs[i * 384], ws.data(), bias.data(), 37, 384, type);
        }
      }
    }
  }
}

TEST(Products, SeveralLayersOfOneInput) {
  const Linear a = quantized({Mode::kAffine, 4, 64}, {33, 128}, mx::bfloat16, 1);
  Linear b = quantized({Mode::kAffine, 8, 32}, {5, 128}, mx::bfloat16, 2);
  b.bias = random_array({5}, mx::float32, 3);  // Of another type than x.
  const Linear c{random_array({1, 128}, mx::bfloat16, 4), {}, {}, {}, {}};
  // Not in row-major order.
  const mx::array x = mx::swapaxes(random_array({128, 6}, mx::bfloat16, 5), 0, 1);
  const auto y = multiply_on_cpu({&a, &b, &c}, x);
  const auto xs = values_of(x);
  const std::vector<float> bias = values_of(*b.bias);
  const Linear* layers[] = {&a, &b, &c};
  for (std::size_t l = 0; l < 3; ++l) {
    const auto ys = values_of(y[l]), ws = weights_of(*layers[l]);
    const int out = layers[l]->outputs();
    for (int i = 0; i < 6; ++i) {
      expect_row(&ys[i * out], &xs[i * 128], ws.data(), l == 1 ? bias.data() : nullptr, out, 128,
                 mx::bfloat16);
    }
  }
}

TEST(Products, GatheredExperts) {
  for (const Scheme& scheme : schemes()) {
    if (scheme.group_size == 128) continue;
    const Linear layer = quantized(scheme, {5, 19, 64}, mx::bfloat16, 1);
    const mx::array x = random_array({7, 1, 1, 64}, mx::bfloat16, 2);
    // Some experts get many rows, some none; 9 is out of range.
    const std::vector<std::uint32_t> chosen = {0, 1, 0, 3, 0, 0, 3, 0, 0, 1, 0, 9, 0, 0};
    const mx::array indices(chosen.begin(), {7, 2}, mx::uint32);
    const mx::array y = gather_on_cpu(layer, x, indices);
    EXPECT_EQ(y.shape(), (mx::Shape{7, 2, 1, 19}));
    const auto ys = values_of(y), xs = values_of(x), ws = weights_of(layer);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (chosen[i] == 9) {
        for (int n = 0; n < 19; ++n) EXPECT_EQ(ys[i * 19 + n], 0);
        continue;
      }
      expect_row(&ys[i * 19], &xs[i / 2 * 64], &ws[chosen[i] * 19 * 64], nullptr, 19, 64,
                 mx::bfloat16);
    }
  }
}

void expect_near(const mx::array& got, const mx::array& want, double limit) {
  ASSERT_EQ(got.shape(), want.shape());
  const auto a = values_of(got), b = values_of(want);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], limit) << i;
}

TEST(DecoderSteps, AgreeWithLibmlx) {
  // Views whose rows do not follow each other in memory.
  const mx::array x = mx::swapaxes(random_array({1, 9, 6, 32}, mx::float32, 1), 1, 2);
  const mx::array weight = random_array({32}, mx::float32, 2);
  expect_near(rms_norm_on_cpu(x, weight, 1e-6F), mx::fast::rms_norm(x, weight, 1e-6F), 1e-5);
  expect_near(add_on_cpu(x, x), mx::add(x, x), 0);
  expect_near(gate_on_cpu(kernels::GateKind::kSilu, x, x),
              mx::multiply(mx::multiply(x, mx::sigmoid(x)), x), 1e-6);
  for (const bool traditional : {false, true}) {
    auto table = std::make_shared<RotationTable>();
    table->traditional = traditional;
    for (int k = 0; k < 8; ++k) table->frequencies.push_back(std::pow(100.0F, -k / 8.0F));
    expect_near(rotate_on_cpu(x, table, 11), mx::fast::rope(x, 16, traditional, 100.0F, 1.0F, 11),
                1e-5);
  }
}

TEST(DecoderSteps, AttendOverSlices) {
  const mx::array queries = mx::swapaxes(random_array({1, 5, 6, 24}, mx::float32, 1), 1, 2);
  // As a cache gives them: the first tokens of a longer buffer.
  const auto slice = [](int size, unsigned seed) {
    return mx::slice(random_array({1, 2, 256, size}, mx::float32, seed), {0, 0, 3, 0},
                     {1, 2, 80, size});
  };
  const mx::array keys = slice(24, 2);
  const mx::array values = slice(40, 3);
  const mx::array mask = mx::greater(random_array({5, 77}, mx::float32, 4), mx::array(-0.5F));
  const mx::array sinks = random_array({6}, mx::float32, 5);
  ASSERT_TRUE(attends_on_cpu(queries, keys, values, mask, sinks));
  expect_near(
      attend_on_cpu(queries, keys, values, mask, sinks, 0.2F, 0),
      mx::fast::scaled_dot_product_attention(queries, keys, values, 0.2F, "array", mask, sinks),
      1e-5);
}

TEST(DecoderSteps, TakeOnlyWhatFits) {
  const mx::array q = mx::zeros({1, 6, 5, 24}, mx::float32);
  const mx::array kv = mx::zeros({1, 2, 7, 24}, mx::float32);
  EXPECT_TRUE(attends_on_cpu(q, kv, kv, std::nullopt, std::nullopt));
  EXPECT_FALSE(attends_on_cpu(q, mx::zeros({1, 4, 7, 24}), kv, std::nullopt, std::nullopt));
  EXPECT_FALSE(attends_on_cpu(q, mx::zeros({1, 2, 8, 24}), kv, std::nullopt, std::nullopt));
  EXPECT_FALSE(attends_on_cpu(q, mx::zeros({1, 2, 7, 16}), kv, std::nullopt, std::nullopt));
  EXPECT_FALSE(attends_on_cpu(q, kv, kv, mx::zeros({5, 6}, mx::bool_), std::nullopt));
  EXPECT_FALSE(attends_on_cpu(q, kv, kv, std::nullopt, mx::zeros({5})));
  EXPECT_FALSE(computes_on_cpu(mx::zeros({1}, mx::int32)));
}

TEST(Quantized, EqualsLibmlxBitForBit) {
  const auto same = [](const mx::array& a, const mx::array& b) {
    return a.shape() == b.shape() && a.dtype() == b.dtype() && mx::array_equal(a, b).item<bool>();
  };
  for (const mx::Dtype type : {mx::float32, mx::bfloat16, mx::float16}) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      const Scheme scheme{Mode::kAffine, bits, 32};
      const mx::array x = random_array({1, 3, 700, 64}, type, static_cast<unsigned>(bits));
      const auto parts = quantize_on_cpu(x, scheme);
      const auto expected = mx::quantize(x, 32, bits);
      for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(same(parts[i], expected[i])) << bits << i;
      // Some tokens of each head, as a cache gives them.
      std::vector<mx::array> some;
      for (const mx::array& part : expected) {
        some.push_back(mx::slice(part, {0, 0, 5, 0}, {1, 3, 699, part.shape(3)}));
      }
      mx::eval(some);
      const mx::array want = mx::dequantize(some[0], some[1], some[2], 32, bits);
      EXPECT_TRUE(same(dequantize_on_cpu(some, scheme), want)) << bits;
    }
  }
}

}  // namespace
}  // namespace mlxmill::runtime

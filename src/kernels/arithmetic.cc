#include "kernels/arithmetic.h"

#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "kernels/kernels.h"
#include "kernels/ref/block_float.h"
#include "kernels/ref/floats.h"

namespace mlxmill::kernels {
namespace {

constexpr std::size_t kBlock = 1024;

float f32_from_e5m2(std::uint8_t byte) {
  // E5M2 is the upper half of an F16.
  return ref::f32_from_f16(static_cast<std::uint16_t>(byte << 8));
}

using ByteTable = std::array<float, 256>;

template <typename Value>
ByteTable make_table(const Value& value) {
  ByteTable table{};
  for (unsigned i = 0; i < 256; ++i) table[i] = value(static_cast<std::uint8_t>(i));
  return table;
}

const ByteTable& table_of(DType type) {
  static const ByteTable kE4M3 = make_table([](std::uint8_t b) { return ref::f32_from_fp8(b); });
  static const ByteTable kE5M2 = make_table(f32_from_e5m2);
  static const ByteTable kE8M0 = make_table([](std::uint8_t b) {
    return b == 255 ? ref::float_of(ref::kQuietNanF32) : ref::power_of_two(b - 127);
  });
  static const ByteTable kSigned =
      make_table([](std::uint8_t b) { return static_cast<float>(static_cast<std::int8_t>(b)); });
  static const ByteTable kUnsigned =
      make_table([](std::uint8_t b) { return static_cast<float>(b); });
  switch (type) {
    case DType::kF8E4M3:
      return kE4M3;
    case DType::kF8E5M2:
      return kE5M2;
    case DType::kF8E8M0:
      return kE8M0;
    case DType::kI8:
      return kSigned;
    default:
      return kUnsigned;
  }
}

template <typename T>
void cast(const void* src, float* dst, std::size_t n) {
  const auto* from = static_cast<const std::uint8_t*>(src);
  for (std::size_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    dst[i] = static_cast<float>(value);
  }
}

/// Applies `step` to float32 values of each block and rounds back.
template <typename Step>
void in_place(void* x, DType type, std::size_t n, const Step& step) {
  std::array<float, kBlock> values;
  auto* bytes = static_cast<std::uint8_t*>(x);
  const std::size_t width = dtype_bytes(type);
  for (std::size_t i = 0; i < n; i += kBlock) {
    const std::size_t count = std::min(kBlock, n - i);
    to_f32(bytes + i * width, type, values.data(), count);
    for (std::size_t k = 0; k < count; ++k) values[k] = step(values[k]);
    from_f32(values.data(), bytes + i * width, type, count);
  }
}

std::uint64_t load_bytes(const std::uint8_t* from, int n) {
  std::uint64_t value = 0;
  for (int i = 0; i < n; ++i) value |= std::uint64_t{from[i]} << (8 * i);
  return value;
}

}  // namespace

bool is_number(DType type) { return type != DType::kBool; }

void to_f32(const void* src, DType type, float* dst, std::size_t n) {
  switch (type) {
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
      return convert_floats(src, type, dst, DType::kF32, n);
    case DType::kF64:
      return cast<double>(src, dst, n);
    case DType::kU16:
      return cast<std::uint16_t>(src, dst, n);
    case DType::kI16:
      return cast<std::int16_t>(src, dst, n);
    case DType::kU32:
      return cast<std::uint32_t>(src, dst, n);
    case DType::kI32:
      return cast<std::int32_t>(src, dst, n);
    case DType::kU64:
      return cast<std::uint64_t>(src, dst, n);
    case DType::kI64:
      return cast<std::int64_t>(src, dst, n);
    default: {
      const ByteTable& table = table_of(type);
      const auto* from = static_cast<const std::uint8_t*>(src);
      for (std::size_t i = 0; i < n; ++i) dst[i] = table[from[i]];
    }
  }
}

void from_f32(const float* src, void* dst, DType type, std::size_t n) {
  convert_floats(src, DType::kF32, dst, type, n);
}

void add(void* x, DType type, float value, std::size_t n) {
  const float rounded = ref::round_to(type, value);
  in_place(x, type, n, [rounded](float v) { return v + rounded; });
}

void multiply(void* x, DType type, float value, std::size_t n) {
  const float rounded = ref::round_to(type, value);
  in_place(x, type, n, [rounded](float v) { return v * rounded; });
}

namespace {

/// 2^y by its integer part and a polynomial of degree 6 in the rest. Source: mlx 0.32.4
/// backend/cpu/simd/math.h; the coefficients are Cephes'.
float exponential(float x) {
  constexpr float kCoefficients[] = {1.535336188319500e-4f,
                                     1.339887440266574e-3f,
                                     9.618437357674640e-3f,
                                     5.550332471162809e-2f,
                                     2.402264791363012e-1f,
                                     6.931472028550421e-1f,
                                     1.0f};
  if (std::isnan(x)) return x;
  if (x > 88.0f) return std::numeric_limits<float>::infinity();
  if (x < -88.0f) return 0;
  const float y = x * 1.442695f;
  const float whole = std::floor(y + 0.5f);
  const float rest = y - whole;
  float power = kCoefficients[0];
  for (std::size_t i = 1; i < std::size(kCoefficients); ++i) {
    power = std::fma(power, rest, kCoefficients[i]);
  }
  return ref::power_of_two(static_cast<int>(whole)) * power;
}

float sigmoid(float x) {
  const float low = 1.0f / (1.0f + exponential(std::abs(x)));
  return x < 0 ? low : 1.0f - low;
}

}  // namespace

void residual_gate(float* x, std::size_t n, float temperature, float epsilon, bool stream) {
  for (std::size_t i = 0; i < n; ++i) {
    const float w = x[i] / temperature;
    const float branch = sigmoid(w);
    if (!stream) {
      x[i] = branch;
      continue;
    }
    const float square = sigmoid(-w) * (1.0f + branch);
    x[i] = std::sqrt(square < epsilon ? epsilon : square);
  }
}

void unpack_words(const void* words, std::size_t n_words, int bits,
                  std::span<const std::uint8_t> order, std::uint8_t* codes) {
  const auto* from = static_cast<const std::uint8_t*>(words);
  const std::uint32_t mask = (1u << bits) - 1;
  const auto per_word = static_cast<std::size_t>(32 / bits);
  std::array<unsigned, 32> shifts{};
  for (std::size_t k = 0; k < per_word; ++k) shifts[k] = order[k] * static_cast<unsigned>(bits);
  for (std::size_t w = 0; w < n_words; ++w) {
    std::uint32_t word;
    std::memcpy(&word, from + 4 * w, 4);
    for (std::size_t k = 0; k < per_word; ++k) {
      codes[w * per_word + k] = static_cast<std::uint8_t>(word >> shifts[k] & mask);
    }
  }
}

void unpack_stream(const void* stream, int bits, std::size_t n, std::uint8_t* codes) {
  const auto* from = static_cast<const std::uint8_t*>(stream);
  const std::uint64_t mask = (1u << bits) - 1;
  for (std::size_t i = 0; i < n; i += 8, from += bits) {
    // Eight codes are `bits` bytes.
    const std::uint64_t eight = load_bytes(from, bits);
    for (int k = 0; k < 8; ++k)
      codes[i + static_cast<std::size_t>(k)] =
          static_cast<std::uint8_t>(eight >> (k * bits) & mask);
  }
}

void pack_stream(const std::uint8_t* codes, int bits, std::size_t n, void* stream) {
  auto* to = static_cast<std::uint8_t*>(stream);
  for (std::size_t i = 0; i < n; i += 8, to += bits) {
    std::uint64_t eight = 0;
    for (int k = 0; k < 8; ++k)
      eight |= std::uint64_t{codes[i + static_cast<std::size_t>(k)]} << (k * bits);
    for (int k = 0; k < bits; ++k) to[k] = static_cast<std::uint8_t>(eight >> (8 * k));
  }
}

}  // namespace mlxmill::kernels

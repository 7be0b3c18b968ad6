// Plain elements, blocks of up to 128 weights, and the ternary types.
#include <array>
#include <cmath>

#include "kernels/ggml-inl.h"

namespace mlxmill::kernels {
namespace {

using base::GgmlType;
using std::uint8_t;

template <std::size_t kN>
using Floats = float (&)[kN];
template <std::size_t kN>
using Block = const uint8_t (&)[kN];

// One element of a plain type, little-endian.
template <typename T>
void decode_plain(Block<sizeof(T)> block, Floats<1> out) {
  T value;
  std::memcpy(&value, block, sizeof(T));
  out[0] = static_cast<float>(value);
}
void decode_f16(Block<2> block, Floats<1> out) { out[0] = load_f16(block); }
void decode_bf16(Block<2> block, Floats<1> out) { out[0] = ref::f32_from_bf16(load_u16(block)); }

// Blocks of 32 hold code j in the low nibble of byte j and code j + 16 in its high one.
void unpack_nibbles(const uint8_t* bytes, int (&codes)[32]) {
  for (std::size_t j = 0; j < 16; ++j) {
    codes[j] = bytes[j] & 15;
    codes[j + 16] = bytes[j] >> 4;
  }
}

// The fifth bits of 32 codes, code 0's lowest.
void add_fifth_bits(const uint8_t* bytes, int (&codes)[32]) {
  const std::uint32_t high = load_u32(bytes);
  for (std::size_t j = 0; j < 32; ++j) codes[j] |= static_cast<int>(high >> j & 1) << 4;
}

void decode_q4_0(Block<18> block, Floats<32> out) {
  const float d = load_f16(block);
  int codes[32];
  unpack_nibbles(block + 2, codes);
  for (std::size_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(codes[j] - 8);
}

void decode_q4_1(Block<20> block, Floats<32> out) {
  const float d = load_f16(block);
  const float m = load_f16(block + 2);
  int codes[32];
  unpack_nibbles(block + 4, codes);
  for (std::size_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(codes[j]) + m;
}

void decode_q5_0(Block<22> block, Floats<32> out) {
  const float d = load_f16(block);
  int codes[32];
  unpack_nibbles(block + 6, codes);
  add_fifth_bits(block + 2, codes);
  for (std::size_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(codes[j] - 16);
}

void decode_q5_1(Block<24> block, Floats<32> out) {
  const float d = load_f16(block);
  const float m = load_f16(block + 2);
  int codes[32];
  unpack_nibbles(block + 8, codes);
  add_fifth_bits(block + 4, codes);
  for (std::size_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(codes[j]) + m;
}

void decode_q8_0(Block<34> block, Floats<32> out) {
  const float d = load_f16(block);
  for (std::size_t j = 0; j < 32; ++j) {
    out[j] = static_cast<float>(static_cast<std::int8_t>(block[2 + j])) * d;
  }
}

// Behind the codes lie sums of them, which decoding does not need.
void decode_q8_k(Block<292> block, Floats<256> out) {
  const float d = ref::float_of(load_u32(block));
  for (std::size_t j = 0; j < 256; ++j) {
    out[j] = d * static_cast<float>(static_cast<std::int8_t>(block[4 + j]));
  }
}

void decode_q1_0(Block<18> block, Floats<128> out) {
  const float d = load_f16(block);
  static constexpr std::uint32_t kBits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  for (std::size_t i = 0; i < 16; ++i) {
    const std::uint32_t byte = block[2 + i];
    for (std::size_t j = 0; j < 8; ++j) {
      const std::uint32_t flip = (byte & kBits[j]) == 0 ? 0x80000000 : 0;
      out[i * 8 + j] = ref::float_of(ref::bits_of(d) ^ flip);
    }
  }
}

// kvalues_iq4nl of ggml-common.h.
constexpr std::array<std::int8_t, 16> kIq4 = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};

void decode_iq4_nl(Block<18> block, Floats<32> out) {
  const float d = load_f16(block);
  for (std::size_t j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kIq4[block[2 + j] & 15]);
    out[j + 16] = d * static_cast<float>(kIq4[block[2 + j] >> 4]);
  }
}

void decode_iq4_xs(Block<136> block, Floats<256> out) {
  const float d = load_f16(block);
  const unsigned high = load_u16(block + 2);
  for (std::size_t group = 0; group < 8; ++group) {
    const unsigned scale = nibble(block + 4, group) | (high >> 2 * group & 3) << 4;
    const float dl = d * static_cast<float>(static_cast<int>(scale) - 32);
    const uint8_t* codes = block + 8 + group * 16;
    for (std::size_t j = 0; j < 16; ++j) {
      out[group * 32 + j] = dl * static_cast<float>(kIq4[codes[j] & 15]);
      out[group * 32 + j + 16] = dl * static_cast<float>(kIq4[codes[j] >> 4]);
    }
  }
}

// E2M1, doubled; the scales beside it are halved.
constexpr std::array<std::int8_t, 16> kE2m1Twice = {0, 1,  2,  3,  4,  6,  8,  12,
                                                    0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e - 128), which is subnormal for 0 and 1.
float half_e8m0(unsigned e) {
  return ref::float_of(e < 2 ? std::uint32_t{0x00200000} << e : std::uint32_t{e - 1} << 23);
}

void decode_mxfp4(Block<17> block, Floats<32> out) {
  const float d = half_e8m0(block[0]);
  for (std::size_t j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kE2m1Twice[block[1 + j] & 15]);
    out[j + 16] = d * static_cast<float>(kE2m1Twice[block[1 + j] >> 4]);
  }
}

// E4M3 without sign: the top bit is not looked at, but 0x7F alone is 0.
float half_e4m3(unsigned byte) {
  if (byte == 0 || byte == 0x7F) return 0;
  const unsigned exponent = byte >> 3 & 15;
  const auto mantissa = static_cast<float>(byte & 7);
  if (exponent == 0) return mantissa * 0x1p-10f;
  return std::ldexp(1.0f + mantissa / 8, static_cast<int>(exponent) - 8);
}

void decode_nvfp4(Block<36> block, Floats<64> out) {
  for (std::size_t group = 0; group < 4; ++group) {
    const float d = half_e4m3(block[group]);
    const uint8_t* codes = block + 4 + group * 8;
    for (std::size_t j = 0; j < 8; ++j) {
      out[group * 16 + j] = d * static_cast<float>(kE2m1Twice[codes[j] & 15]);
      out[group * 16 + j + 8] = d * static_cast<float>(kE2m1Twice[codes[j] >> 4]);
    }
  }
}

// Five ternary digits as a fraction of 256: times a power of three, the next digit is at the top.
float trit(unsigned byte, unsigned power) {
  return static_cast<float>(static_cast<int>((byte * power & 255) * 3 >> 8) - 1);
}

void decode_tq1_0(Block<54> block, Floats<256> out) {
  constexpr std::array<unsigned, 5> kPowers = {1, 3, 9, 27, 81};
  const float d = load_f16(block + 52);
  for (std::size_t p = 0; p < 5; ++p) {
    for (std::size_t j = 0; j < 32; ++j) out[p * 32 + j] = d * trit(block[j], kPowers[p]);
    for (std::size_t j = 0; j < 16; ++j)
      out[160 + p * 16 + j] = d * trit(block[32 + j], kPowers[p]);
  }
  for (std::size_t p = 0; p < 4; ++p) {
    for (std::size_t j = 0; j < 4; ++j) out[240 + p * 4 + j] = d * trit(block[48 + j], kPowers[p]);
  }
}

void decode_tq2_0(Block<66> block, Floats<256> out) {
  const float d = load_f16(block + 64);
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      for (std::size_t j = 0; j < 32; ++j) {
        const int code = block[half * 32 + j] >> 2 * shift & 3;
        out[half * 128 + shift * 32 + j] = d * static_cast<float>(code - 1);
      }
    }
  }
}

}  // namespace

GgmlDecoder ggml_simple_decoder(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return decoder<GgmlType::kF32, 1, 4, decode_plain<float>>();
    case GgmlType::kF64:
      return decoder<GgmlType::kF64, 1, 8, decode_plain<double>>();
    case GgmlType::kF16:
      return decoder<GgmlType::kF16, 1, 2, decode_f16>();
    case GgmlType::kBF16:
      return decoder<GgmlType::kBF16, 1, 2, decode_bf16>();
    case GgmlType::kI8:
      return decoder<GgmlType::kI8, 1, 1, decode_plain<std::int8_t>>();
    case GgmlType::kI16:
      return decoder<GgmlType::kI16, 1, 2, decode_plain<std::int16_t>>();
    case GgmlType::kI32:
      return decoder<GgmlType::kI32, 1, 4, decode_plain<std::int32_t>>();
    case GgmlType::kI64:
      return decoder<GgmlType::kI64, 1, 8, decode_plain<std::int64_t>>();
    case GgmlType::kQ4_0:
      return decoder<GgmlType::kQ4_0, 32, 18, decode_q4_0>();
    case GgmlType::kQ4_1:
      return decoder<GgmlType::kQ4_1, 32, 20, decode_q4_1>();
    case GgmlType::kQ5_0:
      return decoder<GgmlType::kQ5_0, 32, 22, decode_q5_0>();
    case GgmlType::kQ5_1:
      return decoder<GgmlType::kQ5_1, 32, 24, decode_q5_1>();
    case GgmlType::kQ8_0:
      return decoder<GgmlType::kQ8_0, 32, 34, decode_q8_0>();
    case GgmlType::kQ8_K:
      return decoder<GgmlType::kQ8_K, 256, 292, decode_q8_k>();
    case GgmlType::kQ1_0:
      return decoder<GgmlType::kQ1_0, 128, 18, decode_q1_0>();
    case GgmlType::kIQ4_NL:
      return decoder<GgmlType::kIQ4_NL, 32, 18, decode_iq4_nl>();
    case GgmlType::kIQ4_XS:
      return decoder<GgmlType::kIQ4_XS, 256, 136, decode_iq4_xs>();
    case GgmlType::kMXFP4:
      return decoder<GgmlType::kMXFP4, 32, 17, decode_mxfp4>();
    case GgmlType::kNVFP4:
      return decoder<GgmlType::kNVFP4, 64, 36, decode_nvfp4>();
    case GgmlType::kTQ1_0:
      return decoder<GgmlType::kTQ1_0, 256, 54, decode_tq1_0>();
    case GgmlType::kTQ2_0:
      return decoder<GgmlType::kTQ2_0, 256, 66, decode_tq2_0>();
    default:
      return nullptr;
  }
}

}  // namespace mlxmill::kernels

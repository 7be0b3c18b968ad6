// The K types: blocks of 256 weights in groups of 16 or 32, whose scales are small integers.
#include "kernels/ggml-inl.h"

namespace mlxmill::kernels {
namespace {

using base::GgmlType;
using std::uint8_t;

// Codes of 2 bits: each half of 128 weights takes 32 bytes, whose lowest bits are the first 32.
void unpack_2_bits(const uint8_t* bytes, uint8_t (&codes)[256]) {
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      for (std::size_t j = 0; j < 32; ++j) {
        codes[half * 128 + shift * 32 + j] =
            static_cast<uint8_t>(bytes[half * 32 + j] >> 2 * shift & 3);
      }
    }
  }
}

// Codes of 4 bits: low nibbles of kRun bytes, then their high ones.
template <std::size_t kRun>
void unpack_4_bits(const uint8_t* bytes, uint8_t (&codes)[256]) {
  for (std::size_t run = 0; run < 128 / kRun; ++run) {
    for (std::size_t j = 0; j < kRun; ++j) {
      codes[run * 2 * kRun + j] = bytes[run * kRun + j] & 15;
      codes[run * 2 * kRun + kRun + j] = static_cast<uint8_t>(bytes[run * kRun + j] >> 4);
    }
  }
}

// One more bit per code: bit i of byte j belongs to code i * 32 + j.
void add_bit(const uint8_t* bytes, int position, uint8_t (&codes)[256]) {
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t j = 0; j < 32; ++j) {
      codes[i * 32 + j] = static_cast<uint8_t>(codes[i * 32 + j] | (bytes[j] >> i & 1) << position);
    }
  }
}

// scale * (code - zero)
template <std::size_t kGroup>
void scale_codes(const uint8_t (&codes)[256], int zero, const float (&scales)[256 / kGroup],
                 float (&out)[256]) {
  for (std::size_t group = 0; group < 256 / kGroup; ++group) {
    for (std::size_t j = 0; j < kGroup; ++j) {
      out[group * kGroup + j] =
          scales[group] * static_cast<float>(int{codes[group * kGroup + j]} - zero);
    }
  }
}

// scale * code - minimum
template <std::size_t kGroup>
void scale_codes(const uint8_t (&codes)[256], const float (&scales)[256 / kGroup],
                 const float (&minima)[256 / kGroup], float (&out)[256]) {
  for (std::size_t group = 0; group < 256 / kGroup; ++group) {
    for (std::size_t j = 0; j < kGroup; ++j) {
      out[group * kGroup + j] =
          scales[group] * static_cast<float>(int{codes[group * kGroup + j]}) - minima[group];
    }
  }
}

void decode_q2_k(const uint8_t (&block)[84], float (&out)[256]) {
  const float d = load_f16(block + 80);
  const float d_min = load_f16(block + 82);
  float scales[16];
  float minima[16];
  for (std::size_t i = 0; i < 16; ++i) {
    scales[i] = d * static_cast<float>(block[i] & 15);
    minima[i] = d_min * static_cast<float>(block[i] >> 4);
  }
  uint8_t codes[256];
  unpack_2_bits(block + 16, codes);
  scale_codes<16>(codes, scales, minima, out);
}

// 32 bytes of third bits, 64 of codes, 12 of scales (8 of low nibbles, 4 of high bits), d.
void decode_q3_k(const uint8_t (&block)[110], float (&out)[256]) {
  const float d = load_f16(block + 108);
  const uint8_t* low = block + 96;
  const uint8_t* high = block + 104;
  float scales[16];
  for (std::size_t i = 0; i < 16; ++i) {
    const int scale = (low[i % 8] >> i / 8 * 4 & 15) | (high[i % 4] >> i / 4 * 2 & 3) << 4;
    scales[i] = d * static_cast<float>(scale - 32);
  }
  uint8_t codes[256];
  unpack_2_bits(block + 32, codes);
  add_bit(block, 2, codes);
  scale_codes<16>(codes, 4, scales, out);
}

// 8 scales and 8 minima of 6 bits in 12 bytes: the first four of each have bytes of their own, in
// whose top two bits lie the top bits of the others.
void load_scales(const uint8_t (&block)[12], float d, float d_min, float (&scales)[8],
                 float (&minima)[8]) {
  for (std::size_t i = 0; i < 4; ++i) {
    scales[i] = d * static_cast<float>(block[i] & 63);
    minima[i] = d_min * static_cast<float>(block[4 + i] & 63);
    scales[4 + i] = d * static_cast<float>((block[8 + i] & 15) | (block[i] >> 6) << 4);
    minima[4 + i] = d_min * static_cast<float>(block[8 + i] >> 4 | (block[4 + i] >> 6) << 4);
  }
}

template <std::size_t kBytes>
void load_scales(const uint8_t (&block)[kBytes], float (&scales)[8], float (&minima)[8]) {
  uint8_t packed[12];
  std::memcpy(packed, block + 4, 12);
  load_scales(packed, load_f16(block), load_f16(block + 2), scales, minima);
}

void decode_q4_k(const uint8_t (&block)[144], float (&out)[256]) {
  float scales[8];
  float minima[8];
  load_scales(block, scales, minima);
  uint8_t codes[256];
  unpack_4_bits<32>(block + 16, codes);
  scale_codes<32>(codes, scales, minima, out);
}

void decode_q5_k(const uint8_t (&block)[176], float (&out)[256]) {
  float scales[8];
  float minima[8];
  load_scales(block, scales, minima);
  uint8_t codes[256];
  unpack_4_bits<32>(block + 48, codes);
  add_bit(block + 16, 4, codes);
  scale_codes<32>(codes, scales, minima, out);
}

// 128 bytes of low nibbles, 64 of high bits, 16 signed scales, d.
void decode_q6_k(const uint8_t (&block)[210], float (&out)[256]) {
  const float d = load_f16(block + 208);
  float scales[16];
  for (std::size_t i = 0; i < 16; ++i) {
    scales[i] = d * static_cast<float>(static_cast<std::int8_t>(block[192 + i]));
  }
  uint8_t codes[256];
  uint8_t high[256];
  unpack_4_bits<64>(block, codes);
  unpack_2_bits(block + 128, high);
  for (std::size_t j = 0; j < 256; ++j) codes[j] = static_cast<uint8_t>(codes[j] | high[j] << 4);
  scale_codes<16>(codes, 32, scales, out);
}

}  // namespace

GgmlDecoder ggml_k_decoder(GgmlType type) {
  switch (type) {
    case GgmlType::kQ2_K:
      return decoder<GgmlType::kQ2_K, 256, 84, decode_q2_k>();
    case GgmlType::kQ3_K:
      return decoder<GgmlType::kQ3_K, 256, 110, decode_q3_k>();
    case GgmlType::kQ4_K:
      return decoder<GgmlType::kQ4_K, 256, 144, decode_q4_k>();
    case GgmlType::kQ5_K:
      return decoder<GgmlType::kQ5_K, 256, 176, decode_q5_k>();
    case GgmlType::kQ6_K:
      return decoder<GgmlType::kQ6_K, 256, 210, decode_q6_k>();
    default:
      return nullptr;
  }
}

}  // namespace mlxmill::kernels

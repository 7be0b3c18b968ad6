// Products of many rows with AMX tiles: BF16 products, F32 sums.
//
// Weights take the place of the left matrix, whose tiles hold plain rows; x takes that of the right
// one, whose tiles hold pairs of rows, and is laid out so once. A task decodes 64 rows of weights,
// a stretch of columns at a time that stays in the second-level cache, and meets all of x with it.
#include "kernels/matmul_engine.h"
#include "kernels/x86_bf16.h"

#if MLXMILL_HAS_X86_BF16

#include "kernels/avx512_rows.h"
#include "kernels/x86_features.h"

MLXMILL_X86_BF16_BEGIN
namespace mlxmill::kernels {
namespace amx {
namespace {

constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileCols = 32;  // BF16 elements.
constexpr std::size_t kTileBytes = 1024;
constexpr std::size_t kTaskRows = 64;
constexpr std::size_t kTaskTiles = kTaskRows / kTileRows;
constexpr std::size_t kStretch = 1024;  // Columns decoded at a time.

std::size_t padded_cols(const MatrixView& w) { return round_up(w.cols, 64); }
std::size_t panels_of(const Product& p) { return ceil_div(p.count, kTileRows); }
std::size_t panel_bytes(const MatrixView& w) { return padded_cols(w) * kTileRows * 2; }

/// Transposes 16 x 16 lanes of 32 bits.
HWY_INLINE void transpose16(__m512i (&r)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
  }
}

/// One panel: for each 32 columns a tile whose row c holds elements 2c and 2c + 1 of sixteen rows.
void prepare(const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
  const std::size_t bytes = p.weight.cols * 2;
  std::uint8_t* to = prepared + first / kTileRows * panel_bytes(p.weight);
  for (std::size_t at = 0; at < padded_cols(p.weight) * 2; at += 64, to += kTileBytes) {
    __m512i rows[16];
    for (std::size_t r = 0; r < kTileRows; ++r) {
      rows[r] = first + r < last && at < bytes
                    ? avx512::load_part(x_row(p, first + r) + at, bytes - at)
                    : _mm512_setzero_si512();
    }
    transpose16(rows);
    for (std::size_t r = 0; r < kTileRows; ++r) _mm512_store_si512(to + 64 * r, rows[r]);
  }
}

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Decodes columns [k0, k1) of weight rows [first, last) into tiles: [pair of tiles][32 columns]
/// [tile of the pair]. Rows beyond `last` up to a whole pair are 0.
void decode_tiles(const MatrixView& w, std::size_t first, std::size_t last, std::size_t k0,
                  std::size_t k1, float* parameters, std::uint8_t* tiles) {
  const std::size_t pair_bytes = (k1 - k0) / kTileCols * 2 * kTileBytes;
  const std::size_t end = first + round_up(last - first, 2 * kTileRows);
  avx512::with_layout(avx512::layout_of(w), [&]<avx512::Layout kLayout>() MLXMILL_X86_BF16_ATTR {
    for (std::size_t n = first; n < end; ++n) {
      const std::size_t tile = (n - first) / kTileRows;
      std::uint8_t* to =
          tiles + tile / 2 * pair_bytes + tile % 2 * kTileBytes + (n - first) % kTileRows * 64;
      const auto place = [to](std::size_t k) { return to + k / kTileCols * 2 * kTileBytes; };
      if (n < last) {
        avx512::decode_row<kLayout>(w, n, k0, k1, parameters, place);
      } else {
        for (std::size_t k = 0; k < k1 - k0; k += kTileCols) std::memset(place(k), 0, 64);
      }
    }
  });
}

/// Adds to sums (tiles [2][kPanels], or sets them where `start`) what `steps` times 32 columns
/// give.
template <int kPanels>
HWY_INLINE void multiply_tiles(const std::uint8_t* weights, const std::uint8_t* x0,
                               const std::uint8_t* x1, std::size_t steps, bool start,
                               std::uint8_t* sums0, std::uint8_t* sums1) {
  if (start) {
    _tile_zero(0);
    _tile_zero(1);
    if (kPanels == 2) _tile_zero(2);
    if (kPanels == 2) _tile_zero(3);
  } else {
    _tile_loadd(0, sums0, 64);
    _tile_loadd(1, sums1, 64);
    if (kPanels == 2) _tile_loadd(2, sums0 + kTileBytes, 64);
    if (kPanels == 2) _tile_loadd(3, sums1 + kTileBytes, 64);
  }
  for (std::size_t step = 0; step < steps; ++step) {
    _tile_loadd(4, weights + step * 2 * kTileBytes, 64);
    _tile_loadd(6, x0 + step * kTileBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, weights + step * 2 * kTileBytes + kTileBytes, 64);
    _tile_dpbf16ps(1, 5, 6);
    if (kPanels == 2) {
      _tile_loadd(7, x1 + step * kTileBytes, 64);
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums0, 64);
  _tile_stored(1, sums1, 64);
  if (kPanels == 2) _tile_stored(2, sums0 + kTileBytes, 64);
  if (kPanels == 2) _tile_stored(3, sums1 + kTileBytes, 64);
}

/// Sums of sixteen weight rows from n on (of which `rows` count) and sixteen rows of x to y.
void write_tile(const Product& p, const std::uint8_t* sums, std::size_t panel, std::size_t n,
                std::size_t rows) {
  __m512i r[16];
  for (std::size_t i = 0; i < 16; ++i) r[i] = _mm512_load_si512(sums + 64 * i);
  transpose16(r);
  const auto mask = avx512::first_lanes(rows);
  const std::size_t last = std::min(kTileRows, p.count - panel * kTileRows);
  for (std::size_t i = 0; i < last; ++i) {
    const __m256bh y = _mm512_cvtneps_pbh(_mm512_castsi512_ps(r[i]));
    __m256i bits;
    std::memcpy(&bits, &y, 32);
    const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi16(0x7FFF));
    const __mmask16 nan = _mm256_cmpgt_epi16_mask(magnitude, _mm256_set1_epi16(0x7F80));
    bits = _mm256_mask_set1_epi16(bits, nan, 0x7FC0);
    _mm256_mask_storeu_epi16(y_row(p, panel * kTileRows + i) + n * 2, mask, bits);
  }
}

/// Sums lie as [panel pair][tile][panel of the pair].
std::uint8_t* sums_at(std::uint8_t* sums, std::size_t panel, std::size_t tile) {
  return sums + ((panel / 2 * kTaskTiles + tile) * 2 + panel % 2) * kTileBytes;
}

void meet_x(const Product& p, const std::uint8_t* prepared, const std::uint8_t* tiles,
            std::size_t pairs, std::size_t k0, std::size_t k1, std::uint8_t* sums) {
  const std::size_t steps = (k1 - k0) / kTileCols;
  const std::size_t panels = panels_of(p);
  for (std::size_t panel = 0; panel < panels; panel += 2) {
    const std::uint8_t* x0 = prepared + panel * panel_bytes(p.weight) + k0 / kTileCols * kTileBytes;
    const std::uint8_t* x1 = x0 + panel_bytes(p.weight);
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      const std::uint8_t* weights = tiles + pair * steps * 2 * kTileBytes;
      std::uint8_t* sums0 = sums_at(sums, panel, 2 * pair);
      std::uint8_t* sums1 = sums_at(sums, panel, 2 * pair + 1);
      if (panel + 1 < panels) {
        multiply_tiles<2>(weights, x0, x1, steps, k0 == 0, sums0, sums1);
      } else {
        multiply_tiles<1>(weights, x0, x0, steps, k0 == 0, sums0, sums1);
      }
    }
  }
}

std::size_t tiles_bytes(const MatrixView& w) {
  return kTaskTiles * std::min(kStretch, padded_cols(w)) / kTileCols * kTileBytes;
}

void compute(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
             std::uint8_t* scratch) {
  const MatrixView& w = p.weight;
  auto* parameters = reinterpret_cast<float*>(scratch);
  std::uint8_t* tiles = scratch + round_up(avx512::parameter_room(w) * 8, 64);
  std::uint8_t* sums = tiles + tiles_bytes(w);
  const std::size_t pairs = ceil_div(last - first, 2 * kTileRows);
  const TileConfig config;
  _tile_loadconfig(&config);
  for (std::size_t k = 0; k < padded_cols(w); k += kStretch) {
    const std::size_t end = std::min(k + kStretch, padded_cols(w));
    decode_tiles(w, first, last, k, end, parameters, tiles);
    meet_x(p, prepared, tiles, pairs, k, end, sums);
  }
  _tile_release();
  for (std::size_t panel = 0; panel < panels_of(p); ++panel) {
    for (std::size_t n = first; n < last; n += kTileRows) {
      write_tile(p, sums_at(sums, panel, (n - first) / kTileRows), panel, n,
                 std::min(kTileRows, last - n));
    }
  }
}

std::size_t prepared_bytes(const Product& p) { return panels_of(p) * panel_bytes(p.weight); }

std::size_t scratch_bytes(const Product& p) {
  return round_up(avx512::parameter_room(p.weight) * 8, 64) + tiles_bytes(p.weight) +
         round_up(panels_of(p), 2) * kTaskTiles * kTileBytes;
}

bool takes(const Product& p) { return p.count > kVectorRows && avx512_bf16_engine().takes(p); }

std::size_t task_rows(const Product& /*p*/) { return kTaskRows; }

}  // namespace
}  // namespace amx

const MatmulEngine& amx_bf16_engine() {
  static const MatmulEngine engine{"amx-bf16",         /*portable=*/false,  x86_has_amx_bf16,
                                   amx::takes,         amx::prepared_bytes, amx::prepare,
                                   amx::scratch_bytes, amx::task_rows,      amx::compute};
  return engine;
}

}  // namespace mlxmill::kernels
MLXMILL_X86_BF16_END

#endif  // MLXMILL_HAS_X86_BF16

// Which Highway targets the kernels are compiled for. Included before any Highway header by every
// file that has one, so that all of them agree.
//
// x86 keeps AVX3_ZEN4 (where Highway has it), AVX3, AVX2, SSE4 and the compiler's baseline; Arm
// keeps NEON. Left out, because each costs compile time and a test run and gains nothing here:
//   SSSE3             machines without SSE4.1 get the baseline
//   AVX3_DL, AVX3_SPR, AVX10_2   no instruction the kernels use beyond AVX3
//   SVE*              run-time vector lengths; the kernels want lanes to divide a group
//   NEON_BF16         no instruction the kernels use beyond NEON
#pragma once

#define HWY_DISABLED_TARGETS                                                             \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_SPR | HWY_AVX10_2 | HWY_NEON_BF16 | HWY_SVE2_128 | \
   HWY_SVE_256 | HWY_SVE2 | HWY_SVE)

#include <hwy/detect_targets.h>

// Highway releases differ in the targets they know.
#ifndef HWY_AVX3_SPR
#define HWY_AVX3_SPR 0
#endif
#ifndef HWY_AVX10_2
#define HWY_AVX10_2 0
#endif
#ifndef HWY_SSE2
#define HWY_SSE2 0
#endif
#ifndef HWY_NEON_BF16
#define HWY_NEON_BF16 0
#endif

// Scalar Highway has no blocks of bytes to shuffle; the reference stands in for it.
#define MLXMILL_TARGET_HAS_VECTORS (HWY_TARGET != HWY_SCALAR)

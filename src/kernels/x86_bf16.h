// Instructions beyond Highway's targets: AVX-512 BF16 and VNNI, and AMX. Only the engines that are
// written in them include this; what they hold is compiled for such machines whatever the
// compiler's flags.
#pragma once

#include "kernels/targets.h"

#include <hwy/base.h>

// A build for this machine alone has them where the machine has.
#if HWY_ARCH_X86_64 && defined(__linux__) && \
    (!defined(HWY_COMPILE_ONLY_STATIC) || defined(__AVX512BF16__))
#define MLXMILL_HAS_X86_BF16 1
#else
#define MLXMILL_HAS_X86_BF16 0
#endif

#if MLXMILL_HAS_X86_BF16

// GCC 12 takes its intrinsics' deliberately undefined operands for mistakes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#define MLXMILL_X86_BF16_FEATURES                                         \
  "sse4.2,avx,avx2,fma,f16c,bmi,bmi2,avx512f,avx512vl,avx512bw,avx512dq," \
  "avx512vbmi,avx512bf16,amx-tile,amx-bf16"
#define MLXMILL_X86_VNNI_FEATURES MLXMILL_X86_BF16_FEATURES ",avx512vnni"
#define MLXMILL_X86_BF16_BEGIN HWY_PUSH_ATTRIBUTES(MLXMILL_X86_BF16_FEATURES)
#define MLXMILL_X86_BF16_END HWY_POP_ATTRIBUTES
// For lambdas, which the above does not reach in every compiler.
#define MLXMILL_X86_BF16_ATTR __attribute__((target(MLXMILL_X86_BF16_FEATURES)))

#endif  // MLXMILL_HAS_X86_BF16

// What this x86 machine can run beyond Highway's targets.
#pragma once

namespace mlxmill::kernels {

/// AVX-512 with BF16 dot products and VBMI, saved by the operating system.
bool x86_has_avx512_bf16();

/// That, and VNNI.
bool x86_has_avx512_vnni();

/// The first, and AMX tiles with BF16, which Linux grants on request; asks for them.
bool x86_has_amx_bf16();

}  // namespace mlxmill::kernels

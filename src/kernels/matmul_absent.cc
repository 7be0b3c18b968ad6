// Engines of machines that this is not.
#include "kernels/matmul_engine.h"
#include "kernels/x86_bf16.h"

#if !MLXMILL_HAS_X86_BF16

namespace mlxmill::kernels {
namespace {

const MatmulEngine& absent_engine() {
  static const MatmulEngine engine{"absent",
                                   /*portable=*/false,
                                   [] { return false; },
                                   [](const Product&) { return false; },
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr};
  return engine;
}

}  // namespace

const MatmulEngine& avx512_vnni_engine() { return absent_engine(); }
const MatmulEngine& avx512_bf16_engine() { return absent_engine(); }
const MatmulEngine& amx_bf16_engine() { return absent_engine(); }

}  // namespace mlxmill::kernels

#endif  // !MLXMILL_HAS_X86_BF16

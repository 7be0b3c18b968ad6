#include "kernels/x86_features.h"

#include "kernels/x86_bf16.h"

#if MLXMILL_HAS_X86_BF16

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace mlxmill::kernels {
namespace {

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(unsigned leaf, unsigned subleaf) {
  Leaf r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

/// Registers that the operating system saves (XCR0).
std::uint64_t saved_state() {
  if ((cpuid(1, 0).ecx >> 27 & 1) == 0) return 0;
  unsigned low = 0;
  unsigned high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

bool all(unsigned word, unsigned bits) { return (word & bits) == bits; }

bool find_avx512_bf16() {
  constexpr unsigned kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
  constexpr unsigned kVbmi = 1u << 1;
  constexpr unsigned kBf16 = 1u << 5;
  constexpr std::uint64_t kState = 0xE6;
  return (saved_state() & kState) == kState && all(cpuid(7, 0).ebx, kF | kDq | kBw | kVl) &&
         all(cpuid(7, 0).ecx, kVbmi) && all(cpuid(7, 1).eax, kBf16);
}

bool find_amx_bf16() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  constexpr std::uint64_t kState = 0x60000;
  // ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA: Documentation/arch/x86/xstate.rst.
  constexpr long kRequest = 0x1023, kTileData = 18;
  return find_avx512_bf16() && (saved_state() & kState) == kState &&
         all(cpuid(7, 0).edx, kBf16 | kTile) && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

bool x86_has_avx512_bf16() {
  static const bool has = find_avx512_bf16();
  return has;
}

bool x86_has_avx512_vnni() {
  constexpr unsigned kVnni = 1u << 11;
  static const bool has = find_avx512_bf16() && all(cpuid(7, 0).ecx, kVnni);
  return has;
}

bool x86_has_amx_bf16() {
  static const bool has = find_amx_bf16();
  return has;
}

}  // namespace mlxmill::kernels

#endif  // MLXMILL_HAS_X86_BF16

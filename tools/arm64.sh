#!/usr/bin/env bash
# Cross-compiles mlxmill for 64-bit ARM Linux on an x86-64 Debian or Ubuntu: build/arm64/mlxmill, which runs as
#   qemu-aarch64 -L /usr/aarch64-linux-gnu build/arm64/mlxmill ...
# It converts, and does not run models: there is no libmlx for the sysroot.
# The libraries' arm64 packages are unpacked into build/arm64-sysroot; nothing of them is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(libhwy-dev:arm64 libfmt-dev:arm64 libxxhash-dev:arm64 libtomlplusplus-dev:arm64
          nlohmann-json3-dev libcli11-dev)
# libcurl is linked with two dozen others; the C library and GCC's are the cross compiler's own.
with_dependencies=(libcurl4-openssl-dev:arm64 libssl-dev:arm64 libedit-dev:arm64)
theirs='^(libc6|libc6-dev|libcrypt1|libgcc-s1|gcc-[0-9]+-base|linux-libc-dev|libc-dev-bin)(:arm64)?$'
sysroot=$PWD/build/arm64-sysroot
stamp=$sysroot/complete

if [ ! -e "$stamp" ]; then
  if ! dpkg --print-foreign-architectures | grep -qx arm64; then
    if [ "$(id -u)" != 0 ]; then
      printf 'arm64: run this once, then start again:\n  sudo dpkg --add-architecture arm64 && sudo apt-get update\n' >&2
      exit 1
    fi
    dpkg --add-architecture arm64
  fi
  # The list of arm64 packages may be missing or old.
  if [ "$(id -u)" = 0 ]; then apt-get update -qq </dev/null; fi
  # Shared libraries are named after their version: take what this release's development packages depend on.
  for library in hwy fmt; do
    for needed in $(apt-cache depends "lib$library-dev:arm64" | sed -n "s/.*Depends: \(lib${library}[^: ]*\).*/\1/p"); do
      packages+=("$needed:arm64")
    done
  done
  mapfile -t -O "${#packages[@]}" packages < <(
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
      "${with_dependencies[@]}" | grep -E '^[a-z].*:arm64$' | grep -vE "$theirs" | sort -u)
  rm -rf "$sysroot"
  mkdir -p "$sysroot/packages"
  (cd "$sysroot/packages" && apt-get -o APT::Sandbox::User=root download -qq "${packages[@]}" </dev/null)
  for package in "$sysroot"/packages/*.deb; do dpkg-deb --extract "$package" "$sysroot"; done
  touch "$stamp"
fi

# -O1: an emulator runs what is optimised further no faster, and compiling takes twice as long.
cmake --preset release -B build/arm64 -G Ninja -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" \
  -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake" -DMLXMILL_SYSROOT="$sysroot" \
  -DMLXMILL_BUILD_TESTS=OFF -DMLXMILL_WITH_RUNTIME=OFF >/dev/null
cmake --build build/arm64
qemu-aarch64 -L /usr/aarch64-linux-gnu build/arm64/mlxmill --version

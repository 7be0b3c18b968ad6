#!/usr/bin/env bash
# Installs what mlxmill is built with, through the platform's package manager; libmlx comes as the pinned wheel, into
# build/mlx. With --tests also what its tests need: a second compiler, the arm64 cross compiler and QEMU (Linux), and the mlx-lm oracle in build/venv.
# What is there already is left alone, so a second run is instant and needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=no
for argument in "$@"; do
  case "$argument" in
    --tests) tests=yes ;;
    *) echo "usage: tools/setup.sh [--tests]" >&2; exit 2 ;;
  esac
done

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- Debian and Ubuntu ---

debian_has() { [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]; }

# The tokenizer is built with cargo. Debian's own may be old; what it builds browsers with is newer.
rust_is_new_enough() {
  local version
  version=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
  [ -n "$version" ] && [ "$(printf '1.85\n%s\n' "$version" | sort -V | head -n 1)" = 1.85 ]
}

rust_packages() {
  if apt-cache show cargo-web >/dev/null 2>&1; then
    echo cargo-web rustc-web
  else
    echo cargo rustc
  fi
}

debian_missing() {
  have g++ || echo g++
  have cmake || echo cmake
  have ninja || echo ninja-build
  rust_is_new_enough || rust_packages
  local package
  for package in libhwy-dev libfmt-dev nlohmann-json3-dev libcli11-dev libtomlplusplus-dev libxxhash-dev libopenblas-dev \
    libcurl4-openssl-dev libssl-dev libedit-dev; do
    debian_has "$package" || echo "$package"
  done
  # venv without ensurepip is what Debian's python3 has before python3-venv.
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv
  [ "$tests" = yes ] || return 0
  for package in libgtest-dev libgmock-dev libbenchmark-dev; do
    debian_has "$package" || echo "$package"
  done
  have clang++ || echo clang
  have clang-format || echo clang-format
  have git || echo git
  # Reads the HTML report.
  have chromium || echo chromium
  if [ "$(dpkg --print-architecture)" = amd64 ]; then
    have aarch64-linux-gnu-g++ || echo g++-aarch64-linux-gnu
    have qemu-aarch64 || echo qemu-user
  fi
}

# The sanitizers' and libFuzzer's runtime is a package of its own, named after the version that `clang` is.
clang_runtime_missing() {
  [ "$tests" = yes ] && have clang++ || return 0
  if ! compgen -G "$(clang++ -print-resource-dir)/lib/*/*clang_rt.fuzzer*" >/dev/null; then
    echo "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
  fi
}

debian_install() {
  [ $# -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    say "these packages are missing. Install them and start again:"
    printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n' "$*" >&2
    exit 1
  fi
  say "installing $*"
  local log=build/setup.log
  mkdir -p build
  # Old package lists name versions that the mirrors no longer hold: refresh before the first install.
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
      >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    say "apt-get failed; the whole log is in $log"
    exit 1
  fi
}

set_up_debian() {
  # Package names hold no spaces: word splitting is what is wanted here.
  # shellcheck disable=SC2046
  debian_install $(debian_missing)
  # shellcheck disable=SC2046
  debian_install $(clang_runtime_missing)
}

# --- macOS ---

set_up_macos() {
  if ! xcode-select -p >/dev/null 2>&1; then
    say "the command line tools are missing. Install them and start again:"
    printf '  xcode-select --install\n' >&2
    exit 1
  fi
  if ! have brew; then
    say "Homebrew is missing. Install it as https://brew.sh says and start again."
    exit 1
  fi
  local installed wanted wanted_rust='' missing=() formula
  installed=$(brew list --formula -1)
  have cargo || wanted_rust=rust
  wanted="cmake ninja ${wanted_rust:-} highway fmt nlohmann-json cli11 tomlplusplus xxhash curl openssl@3"
  # libFuzzer is not part of Apple's clang: llvm brings it.
  [ "$tests" = no ] || wanted="$wanted googletest google-benchmark clang-format llvm"
  for formula in $wanted; do
    grep -qx "$formula" <<<"$installed" || missing+=("$formula")
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    say "installing ${missing[*]}"
    HOMEBREW_NO_AUTO_UPDATE=1 brew install --quiet "${missing[@]}" >&2
  fi
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    say "installing python@3.12 for the mlx wheel"
    brew install --quiet python@3.12 >&2
  fi
}

# --- The crates of the tokenizer ---

# Once: the build itself then needs no network.
fetch_crates() {
  if ! have cargo; then
    say "cargo is missing: build with -DMLXMILL_WITH_RUNTIME=OFF, or install Rust 1.85 or newer"
    return 0
  fi
  local manifest=src/tokenize/rust/Cargo.toml
  if cargo fetch --locked --offline --quiet --manifest-path "$manifest" 2>/dev/null; then return 0; fi
  say "fetching the crates of the tokenizer"
  cargo fetch --locked --quiet --manifest-path "$manifest" </dev/null
}

# --- libmlx, and the oracle ---

# set_up_python FOLDER REQUIREMENTS: a Python environment that holds exactly these.
set_up_python() {
  local folder=$1 wanted=$2 stamp=$1/requirements.installed python=python3
  if [ -x "$folder/bin/python" ] && cmp -s "$wanted" "$stamp"; then return 0; fi
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then python=python3.12; fi
  say "installing $folder"
  rm -rf "$folder"
  mkdir -p build
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" </dev/null
  cp "$wanted" "$stamp"
}

set_up_mlx() {
  # The oracle brings the same wheel.
  if [ -x build/venv/bin/python ]; then return 0; fi
  mkdir -p build
  grep -E '^mlx(\[cpu\])?==' tests/parity/requirements.txt >build/mlx-requirements.txt
  set_up_python build/mlx build/mlx-requirements.txt
}

set_up_oracle() {
  set_up_python build/venv tests/parity/requirements.txt
}

case "$(uname -s)" in
  Linux)
    if have dpkg-query && have apt-get; then
      set_up_debian
    else
      say "no apt-get here: install g++ or clang, CMake, Ninja, Highway, fmt, nlohmann/json, CLI11, toml++, xxHash, OpenBLAS,"
      say "libcurl, OpenSSL, libedit and Rust"
      say "with their headers through your package manager; going on with what is there"
    fi
    ;;
  Darwin) set_up_macos ;;
  *) say "$(uname -s) is not supported"; exit 1 ;;
esac
fetch_crates
if [ "$tests" = yes ]; then set_up_oracle; else set_up_mlx; fi

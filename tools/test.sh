#!/usr/bin/env bash
# Sets everything up, builds mlxmill and runs its tests. Without arguments all stages run, the quick ones first; the
# first failure ends the run with a non-zero status.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: tools/test.sh [--dry-run] [STAGE...]

  lint    layers, formatting, scripts
  fast    release build; kernel, cli and hostile-input tests
  asan    AddressSanitizer and UndefinedBehaviorSanitizer, with clang: all unit tests, those of the fast stage, and each
          fuzz target for some seconds; the parity stage compares what this build writes
  tsan    ThreadSanitizer: the thread pool, files by position and the kernels with several threads
  arm64   cross build for 64-bit ARM; the parity stage runs it under QEMU
  parity  everything else: live mlx-lm, determinism across builds, the installed package, memory, the README's commands

With CI=true in the environment warnings are errors. fast and parity use build/release. `tidy` is a stage that only runs when named.
TEXT
}

stages=() dry_run=no
for argument in "$@"; do
  case "$argument" in
    --help|-h) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    lint|fast|asan|tsan|arm64|parity|tidy) stages+=("$argument") ;;
    *) usage >&2; exit 2 ;;
  esac
done
everything=no
if [ "${#stages[@]}" = 0 ]; then
  everything=yes
  stages=(lint fast asan tsan arm64 parity)
fi

jobs=$(getconf _NPROCESSORS_ONLN)
# A compiler newer than ours may warn of something new: that stops CI, not a newcomer.
werror=OFF
if [ "${CI:-}" = true ]; then werror=ON; fi
# Tests that compare with other programs or builds, or take minutes, run once, at the end.
late='^(parity|install|slow)$'

configure() {  # configure PRESET [CMAKE ARGUMENT...]
  local preset=$1
  shift
  cmake --preset "$preset" -G Ninja "$@" >"build/$preset.log" 2>&1 || { cat "build/$preset.log" >&2; return 1; }
}

build() {  # build PRESET [CMAKE ARGUMENT...]
  configure "$@"
  cmake --build "build/$1"
}

run_ctest() {  # run_ctest TREE [CTEST ARGUMENT...]
  local tree=$1
  shift
  ctest --test-dir "build/$tree" -j "$jobs" --output-on-failure --no-tests=error "$@"
}

# Unit tests of what full optimisation changes most; all of them are built and run once, with sanitizers.
build_release() {
  build release -DMLXMILL_BUILD_TESTS=ON -DMLXMILL_TEST_ROOMS="kernels;streaming" -DMLXMILL_WERROR="$werror"
}

stage_lint() { ./tools/lint.sh; }

stage_fast() {
  build_release
  run_ctest release -LE "$late"
  # The README's first command, for real; it finds the program built.
  ./tools/try.sh
}

stage_asan() {
  build asan -DMLXMILL_BUILD_TESTS=ON -DMLXMILL_WERROR="$werror"
  # halt_on_error is the default; leaks count, too.
  ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=0 \
    UBSAN_OPTIONS=print_stacktrace=1 run_ctest asan -LE "$late|^unsanitized$"
}

# The rooms whose threads share memory. The rest of the tree is not built, so ctest would miss its programs.
stage_tsan() {
  local room fixed_addresses=()
  # Older sanitizers fail to start where the kernel spreads addresses far.
  if setarch -R true 2>/dev/null; then fixed_addresses=(setarch -R); fi
  configure tsan -DMLXMILL_WERROR="$werror"
  cmake --build build/tsan --target base_test io_test kernels_test
  for room in base io kernels; do
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
      ${fixed_addresses[@]+"${fixed_addresses[@]}"} "build/tsan/tests/${room}_test" --gtest_brief=1
  done
}

stage_arm64() {
  if [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ] || ! command -v apt-get >/dev/null; then
    echo "arm64: skipped, the cross build is for x86-64 Debian and Ubuntu"
    return 0
  fi
  ./tools/arm64.sh
}

stage_tidy() {
  build_release
  ./tools/tidy.sh
}

stage_parity() {
  build_release
  if [ "$everything" = yes ] && [ "$(uname -s)" = Linux ]; then
    # The stages before have built them all: none may be missing now.
    export MLXMILL_REQUIRE_BUILDS=1
  fi
  run_ctest release -L "$late"
}

if [ "$dry_run" = yes ]; then
  printf 'would run: %s\n' "${stages[*]}"
  exit 0
fi
./tools/setup.sh --tests
mkdir -p build
# The interpreter that has mlx and safetensors: some unit tests ask them, and skip without it.
export MLXMILL_PYTHON=$PWD/build/venv/bin/python
for stage in "${stages[@]}"; do
  printf '\n=== %s (%d s) ===\n' "$stage" "$SECONDS"
  # No `||` or `if` around the call: bash would switch `set -e` off inside it.
  "stage_$stage"
done

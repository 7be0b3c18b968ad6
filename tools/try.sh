#!/usr/bin/env bash
# Sets everything up, builds mlxmill, converts the sample model to 4 bits and checks the result.
# MLXMILL_PROGRAM names a program that is built already; then nothing is installed or built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${MLXMILL_PROGRAM:-}
if [ -z "$program" ]; then
  ./tools/setup.sh
  cmake --preset release -DMLXMILL_BUILD_TESTS=OFF -G Ninja >/dev/null
  cmake --build build/release --target mlxmill_cli
  program=build/release/mlxmill
fi
output=${1:-build/sample-4bit}

mkdir -p "$(dirname "$output")"
set -x
"$program" convert models/sample-llama -o "$output" --bits 4 --force
"$program" verify "$output"

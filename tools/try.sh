#!/usr/bin/env bash
# Sets everything up, builds mlxmill, converts the sample model to 8, 6, 5, 4, 3 and 2 bits, checks the 4-bit one, lets it
# write, and shows what each costs. MLXMILL_PROGRAM names a program that is built already; then nothing is installed or built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${MLXMILL_PROGRAM:-}
if [ -z "$program" ]; then
  ./tools/setup.sh
  cmake --preset release -DMLXMILL_BUILD_TESTS=OFF -G Ninja >/dev/null
  cmake --build build/release --target mlxmill_cli
  program=build/release/mlxmill
fi
folder=${1:-build}

mkdir -p "$folder"
candidates=()
for bits in 8 6 5 3 2; do
  "$program" convert models/sample-llama -o "$folder/sample-${bits}bit" --bits "$bits" --force --quiet >/dev/null
  candidates+=("$folder/sample-${bits}bit")
done
set -x
"$program" convert models/sample-llama -o "$folder/sample-4bit" --bits 4 --force
"$program" verify "$folder/sample-4bit"
"$program" generate "$folder/sample-4bit" -p "Once upon a time" -m 60 --temp 0.7 --top-p 0.9 --seed 7
"$program" eval "${candidates[@]}" "$folder/sample-4bit" --reference models/sample-llama --context 128 --samples 2

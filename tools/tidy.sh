#!/usr/bin/env bash
# clang-tidy over the library and the program, by build/release's compile commands. Any finding fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

files=()
while IFS= read -r file; do files+=("$file"); done < <(
  git ls-files --cached --others --exclude-standard -- 'src/*.cc' 'cli/*.cc')
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" clang-tidy --quiet -p build/release
echo "tidy: ${#files[@]} files are clean"

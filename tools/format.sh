#!/usr/bin/env bash
# Formats every C++ file; with --check only says which are not formatted, and fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Versions of clang-format disagree with each other: this one, Debian 12's, decides.
version=14
formatter=
for candidate in "clang-format-$version" clang-format; do
  if command -v "$candidate" >/dev/null && "$candidate" --version | grep -q "version $version\."; then
    formatter=$candidate
    break
  fi
done
if [ -z "$formatter" ]; then
  echo "format: skipped, clang-format $version is not here"
  exit 0
fi

files=()
while IFS= read -r file; do files+=("$file"); done < <(
  git ls-files --cached --others --exclude-standard -- '*.cc' '*.h')
if [ "${1:-}" = --check ]; then
  "$formatter" --dry-run --Werror "${files[@]}"
  echo "format: ${#files[@]} files are formatted"
else
  "$formatter" -i "${files[@]}"
fi

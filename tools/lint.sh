#!/usr/bin/env bash
# Everything that can be checked without building.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 tools/check_layers.py --self-test
python3 tools/check_layers.py
for script in tools/*.sh .ci/run; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then shellcheck tools/*.sh .ci/run; fi
# Compiles without leaving __pycache__ behind.
python3 - tools/*.py tests/*/*.py bench/*.py <<'PYTHON'
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        compile(file.read(), path, "exec")
PYTHON
python3 -m json.tool CMakePresets.json >/dev/null
./tools/format.sh --check

#!/usr/bin/env python3
"""Converts variants of checkpoints (shards, dtypes, odd configs and widths) with mlx-lm and with mlxmill.

Runs in build/venv (tests/parity/requirements.txt). Exit status 77: the checkpoints are not there.
"""
import argparse
import sys
import tempfile
from pathlib import Path

import oracle
import variants


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path, help="folder that holds the checkpoints by name")
    parser.add_argument("--jobs", type=int, default=1, help="processes that work at once")
    parser.add_argument("--only", default="", help="variants whose name contains this")
    arguments = parser.parse_args()
    missing = sorted({base for _, base, _, _ in variants.VARIANTS
                      if not (arguments.checkpoints / base / "config.json").exists()})
    if missing:
        print(f"skipped: no {', '.join(missing)} in {arguments.checkpoints}")
        return oracle.SKIP
    with tempfile.TemporaryDirectory(prefix="mlxmill-variants-") as name:
        folders = variants.make_all(arguments.checkpoints.resolve(), Path(name))
        tasks = [(label, folder, configuration)
                 for label, folder, weights in folders if arguments.only in label
                 for configuration in oracle.few_configurations(weights)]
        return oracle.report(oracle.run_all(arguments.mlxmill.resolve(), tasks, arguments.jobs))


if __name__ == "__main__":
    sys.exit(main())

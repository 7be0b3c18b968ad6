#!/usr/bin/env python3
"""Converts checkpoints in every mode, bits, group and dtype with mlx-lm and with mlxmill: everything must be equal.

Runs in build/venv (tests/parity/requirements.txt). Exit status 77: a checkpoint is not there.
"""
import argparse
import sys
from pathlib import Path

import oracle


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--jobs", type=int, default=1, help="processes that work at once")
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    arguments = parser.parse_args()
    for checkpoint in arguments.checkpoints:
        if not (checkpoint / "config.json").exists():
            print(f"skipped: no checkpoint at {checkpoint}")
            return oracle.SKIP
    tasks = [(checkpoint.name, checkpoint.resolve(), configuration)
             for checkpoint in arguments.checkpoints
             for configuration in oracle.configurations() if arguments.only in configuration.name]
    return oracle.report(oracle.run_all(arguments.mlxmill.resolve(), tasks, arguments.jobs))


if __name__ == "__main__":
    sys.exit(main())

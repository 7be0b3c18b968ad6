#!/usr/bin/env python3
"""Converts variants of checkpoints (shards, dtypes, odd configs and widths) with mlx-lm and with mlxmill.

Runs in build/venv (tests/parity/requirements.txt). Exit status 77: the checkpoints are not there.
"""
import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import oracle
import quantized_variants
import variants


def twin_outcomes(program, twins, work):
    for label, source, twin in twins:
        for configuration in oracle.few_configurations(weights=True):
            yield label, [oracle.twin_outcome(program, source, twin, configuration, work / f"{source.name}-runs")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path, help="folder that holds the checkpoints by name")
    parser.add_argument("--jobs", type=int, default=1, help="processes that work at once")
    parser.add_argument("--only", default="", help="variants whose name contains this")
    arguments = parser.parse_args()
    missing = sorted({base for _, base, _, _ in variants.VARIANTS + [("", "ministral3", None, None)]
                      if not (arguments.checkpoints / base / "config.json").exists()})
    if missing:
        print(f"skipped: no {', '.join(missing)} in {arguments.checkpoints}")
        return oracle.SKIP
    with tempfile.TemporaryDirectory(prefix="mlxmill-variants-") as name:
        folders = variants.make_all(arguments.checkpoints.resolve(), Path(name))
        tasks = [(label, folder, configuration)
                 for label, folder, weights in folders if arguments.only in label
                 for configuration in oracle.few_configurations(weights)]
        twins = [task for task in quantized_variants.twins(arguments.checkpoints.resolve(), Path(name))
                 if arguments.only in task[0]]
        return oracle.report(itertools.chain(oracle.run_all(arguments.mlxmill.resolve(), tasks, arguments.jobs),
                                             twin_outcomes(arguments.mlxmill.resolve(), twins, Path(name))))


if __name__ == "__main__":
    sys.exit(main())

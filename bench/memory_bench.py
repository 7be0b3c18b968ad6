#!/usr/bin/env python3
"""Peak memory of `mlxmill convert` does not grow with the model: at most 300 MiB on sparse models of 1 GB and 16 GB, on one
whose embedding alone has 2 GB, on 512 stacked experts and on transposed layers.

Exit status 77: too little disk for some of the outputs; they are named.
"""
import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from make_model import make_model
from measure import measure

SKIP = 77
LIMIT_BYTES = 300 << 20

# What makes each one hard, and the flags that keep its output small where only the reading matters.
CASES = (
    ("llama-1gb", ["--bits", "4"]),
    ("llama-1gb", []),
    ("embedding-2gb", ["--mode", "mxfp4"]),
    ("experts", ["--bits", "4"]),
    ("gpt2-wide", ["--bits", "4"]),
    ("llama-16gb", ["--bits", "2"]),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build"), help="folder on a disk with room")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    arguments = parser.parse_args()
    program = arguments.mlxmill.resolve()
    failed = skipped = 0
    print(f"{'model':16} {'flags':14} {'source':>9} {'peak':>9} {'seconds':>8}  GB/s")
    for shape, flags in CASES:
        if arguments.only not in shape:
            continue
        arguments.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="memory-bench-", dir=arguments.work) as name:
            source, output = Path(name) / "model", Path(name) / "out"
            total = make_model(source, shape, sparse=True)
            plan = measure([program, "convert", source, "-o", output, *flags, "--dry-run", "--json", "--quiet"])
            what = f"{shape:16} {' '.join(flags):14} {total / 1e9:6.2f} GB"
            if plan.status != 0:
                print(f"{what}  the plan failed: {plan.output.strip()}")
                failed += 1
                continue
            # Disk that would be full is a finding about this machine, not about mlxmill.
            needed = json.loads(plan.output)["disk_needed_bytes"]
            if shutil.disk_usage(name).free < needed + (1 << 30):
                print(f"{what}  skipped: needs {needed / 1e9:.1f} GB of disk")
                skipped += 1
                continue
            run = measure([program, "convert", source, "-o", output, *flags, "--quiet"])
            good = run.status == 0 and run.peak_bytes <= LIMIT_BYTES
            failed += not good
            print(f"{what} {run.peak_bytes / (1 << 20):5.0f} MiB {run.seconds:8.1f}  "
                  f"{total / 1e9 / run.seconds:.2f}" + ("" if good else "  FAILED"), flush=True)
            if run.status != 0:
                print(run.output.strip())
    print(f"limit {LIMIT_BYTES >> 20} MiB: {failed} failed, {skipped} skipped")
    return 1 if failed else SKIP if skipped else 0


if __name__ == "__main__":
    sys.exit(main())

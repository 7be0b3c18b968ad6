#!/usr/bin/env python3
"""Converts tiny checkpoints that transformers itself wrote, of every family it knows, with mlx-lm and with mlxmill.

Needs torch beside tests/parity/requirements.txt. Long: not part of the test suite, but for whoever touches families.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import oracle
import transformers_models

NAMES = ("16-bit", "affine 4-bit g64", "mxfp4", "mixed_3_6")
FEW = ("16-bit", "affine 4-bit g64")
OUTSIDE = {"llava", "lfm2_vl", "mistral3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "pixtral", "kimi_vl"}


def known_types(program):
    """Model types that both transformers and mlxmill know."""
    listed = json.loads(subprocess.run([program, "architectures", "--json"], stdout=subprocess.PIPE, check=True).stdout)
    ours = {name for family in listed["families"] for name in family["model_types"]}
    return sorted(ours & transformers_models.known_types())


def as_saved(program, folder, plain, configuration, work):
    """Ours of the layout that transformers holds in memory beside ours of what it saves by default: the same model."""
    outputs = []
    for name, source in (("memory", folder), ("saved", plain)):
        result = oracle.mlxmill(program, source, work / name, configuration.flags)
        if result.returncode != 0:
            return oracle.Outcome("as saved", "mlx-lm fails", f"we say: {result.stderr.splitlines()[0]}", ())
        outputs.append(oracle.read_folder(work / name)[0])
    problems = oracle.compare_tensors(outputs[1], outputs[0])
    return oracle.Outcome(f"{configuration.name}, as saved", "differs" if problems else "equal",
                          f"{len(outputs[0])} tensors", tuple(problems))


def configurations(names):
    return [replace(c, logits=False, dequantize=False) for c in oracle.configurations() if c.name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("tokenizer", type=Path, help="folder of a checkpoint with a tokenizer of 512 words")
    parser.add_argument("--types", nargs="*", help="model types (default: all that both know)")
    parser.add_argument("--variants", nargs="*", default=list(transformers_models.VARIANTS))
    parser.add_argument("--few", action="store_true", help="16 and 4 bits only")
    parser.add_argument("--keep", type=Path, help="folder that keeps the checkpoints")
    arguments = parser.parse_args()
    program = arguments.mlxmill.resolve()
    with tempfile.TemporaryDirectory(prefix="mlxmill-sweep-") as name:
        work = arguments.keep or Path(name)

        def results():
            for model_type in arguments.types or known_types(program):
                for variant in arguments.variants:
                    label = f"{model_type}, {variant}"
                    folder = work / f"{model_type}-{variant.replace(' ', '_')}"
                    reason = None if folder.exists() else transformers_models.make(
                        model_type, variant, arguments.tokenizer.resolve(), folder)
                    if reason:
                        print(f"\n{label}: not built: {reason}", flush=True)
                        continue
                    plain = work / f"{model_type}-plain"
                    for configuration in configurations(FEW if arguments.few else NAMES):
                        outcomes = oracle.run_configuration(program, folder, configuration)
                        if variant == "in memory" and plain.exists():
                            with tempfile.TemporaryDirectory(prefix="mlxmill-sweep-") as pair:
                                outcomes.append(as_saved(program, folder, plain, configuration, Path(pair)))
                        yield label, outcomes
        return oracle.report(results())


if __name__ == "__main__":
    sys.exit(main())

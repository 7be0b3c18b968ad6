#!/usr/bin/env python3
"""Converts checkpoints made by mlx-lm's own model classes with mlx-lm and with mlxmill: everything must be equal.

Runs in build/venv (tests/parity/requirements.txt). Exit status 77: the checkpoint that lends its tokenizer is missing.
"""
import argparse
import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from mlx_lm.models import afm7, bailing_moe, bailing_moe_linear

import computed_families
import families
import oracle

NAMES = ("16-bit", "affine 4-bit g64", "affine 3-bit g32", "mxfp4", "mixed_3_6", "16-bit float16", "affine 4-bit float16")


@contextlib.contextmanager
def output_layer_kept():
    """norm_head: mlx-lm quantizes the output layer and can then only load it as nonsense. This way it leaves it."""
    originals = {}
    for module in (bailing_moe, bailing_moe_linear):
        originals[module] = module.Model.quant_predicate
        inner = originals[module].fget
        module.Model.quant_predicate = property(
            lambda self, inner=inner: lambda path, layer: path != "lm_head" and inner(self)(path, layer))
    try:
        yield
    finally:
        for module, original in originals.items():
            module.Model.quant_predicate = original


def refusal_outcome(program, source, configuration, work):
    """mlx-lm writes a model that it cannot load itself: ours refuses."""
    theirs, ours = work / configuration.name / "mlx-lm", work / configuration.name / "mlxmill"
    theirs.parent.mkdir(parents=True)
    oracle.quietly(oracle.convert, str(source), str(theirs), **configuration.arguments)
    result = oracle.mlxmill(program, source, ours, configuration.flags)
    problems = [] if result.returncode == 5 and not ours.exists() else [f"exit status {result.returncode}"]
    try:
        oracle.quietly(oracle.load, str(theirs))
        problems.append("mlx-lm loads its own output")
    except ValueError:
        pass
    return oracle.Outcome(f"{configuration.name}, refused", "differs" if problems else "equal",
                          "mlx-lm's output does not load", tuple(problems))


def patched_outcome(program, source, configuration, work):
    """afm7 -q: mlx-lm's FusedLinear does not take the mode that it is given. The codes are those it makes without."""
    theirs, ours = work / configuration.name / "mlx-lm", work / configuration.name / "mlxmill"
    theirs.parent.mkdir(parents=True)
    original = afm7.FusedLinear.to_quantized
    afm7.FusedLinear.to_quantized = lambda self, group_size, bits, mode: original(self, group_size, bits)
    try:
        oracle.quietly(oracle.convert, str(source), str(theirs), **configuration.arguments)
    finally:
        afm7.FusedLinear.to_quantized = original
    result = oracle.mlxmill(program, source, ours, configuration.flags)
    name = f"{configuration.name}, repaired"
    if result.returncode != 0:
        return oracle.Outcome(name, "differs", "", (result.stderr.strip()[-400:],))
    theirs, ours = oracle.read_folder(theirs)[0], oracle.read_folder(ours)[0]
    problems = oracle.compare_tensors(theirs, ours)
    return oracle.Outcome(name, "differs" if problems else "equal", f"{len(ours)} tensors", tuple(problems))


def loads_outcome(program, source, configuration, work):
    """What mlx-lm makes of it stops in mlx-lm; ours must run."""
    theirs, ours = work / configuration.name / "mlx-lm", work / configuration.name / "mlxmill"
    theirs.parent.mkdir(parents=True)
    oracle.quietly(oracle.convert, str(source), str(theirs), **configuration.arguments)
    result = oracle.mlxmill(program, source, ours, configuration.flags)
    problems = oracle.loads(ours) if result.returncode == 0 else [result.stderr.strip()[-400:]]
    if not oracle.loads(theirs):
        problems.append("mlx-lm runs its own output")
    return oracle.Outcome(f"{configuration.name}, ours runs", "differs" if problems else "equal", "", tuple(problems))


def packed_outcomes(program, source, decoded, configuration, work):
    """Of a source that is quantized: as it is, and turned back."""
    if configuration.name != "16-bit":
        return []
    back = replace(configuration, name="-d", flags=("-d",))
    return [oracle.convert_both(program, source, work / "kept", "kept", configuration, {}, ()),
            oracle.twin_outcome(program, source, decoded, back, work)]


def outcomes(program, name, folders, configuration, work):
    source = folders[name]
    if name in computed_families.NO_RECIPES | families.NO_RECIPES | families.NORM_HEADS and configuration.name.startswith("mixed"):
        return []
    if name in families.PACKED:
        return packed_outcomes(program, source, folders[families.PACKED[name]], configuration, work / name)
    if name in families.NOT_TO_QUANTIZE and "-q" in configuration.flags:
        return [refusal_outcome(program, source, configuration, work / name)]
    if name in families.REPACKED and "-q" in configuration.flags:
        return [loads_outcome(program, source, configuration, work / name)]
    if name in families.TWINS:
        return [oracle.twin_outcome(program, source, folders[families.TWINS[name]], configuration, work / name)]
    if name in computed_families.BROKEN_BY_RECIPES and configuration.name.startswith("mixed"):
        return [loads_outcome(program, source, configuration, work / name)]
    if name in families.NO_FORWARD | computed_families.NO_FORWARD:
        configuration = replace(configuration, logits=False)
    with output_layer_kept() if name in families.NORM_HEADS else contextlib.nullcontext():
        result = oracle.run_configuration(program, source, configuration)
    if name == "afm7" and configuration.name.startswith(("affine", "mixed")):
        result.append(patched_outcome(program, source, configuration, work / name))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("tokenizer", type=Path, help="folder of a checkpoint with a tokenizer of 512 words")
    parser.add_argument("--only", default="", help="checkpoints whose name contains this")
    arguments = parser.parse_args()
    if not (arguments.tokenizer / "tokenizer.json").exists():
        print(f"skipped: no tokenizer in {arguments.tokenizer}")
        return oracle.SKIP
    program = arguments.mlxmill.resolve()
    with tempfile.TemporaryDirectory(prefix="mlxmill-families-") as name:
        work = Path(name)
        folders = families.make_all(arguments.tokenizer.resolve(), work / "sources",
                                   families.MAKERS + computed_families.MAKERS)
        return oracle.report(
            (label, outcomes(program, label, folders, configuration, work)) for label in folders
            if arguments.only in label for configuration in oracle.configurations() if configuration.name in NAMES)


if __name__ == "__main__":
    sys.exit(main())

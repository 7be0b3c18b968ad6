"""Logits of `mlxmill logits` beside those of transformers (ref.npz) and of live mlx-lm."""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from logits_oracle import Program, mlx_logits, quantized_by_mlxmill

# Float32 logits, largest difference relative to the largest logit.
TOLERANCE = 2e-5
# Another order of the same float32 operations over the cache.
CACHE_TOLERANCE = 2e-5


def relative(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def reference(folder):
    file = folder / "ref.npz"
    if not file.exists():
        return None, None
    data = np.load(file)
    return data["ids"].astype(np.int32), data["logits"].astype(np.float32)


def check_float32(program, folder, ids, expected, problems):
    full = program.logits(folder, ids, "--dtype", "float32")
    steps = program.logits(folder, ids, "--dtype", "float32", "--steps", str(len(ids) // 2))
    figures = {"cached": relative(steps, full)}
    if expected is not None:
        figures["transformers"] = relative(full, expected)
    if figures["cached"] > CACHE_TOLERANCE:
        problems.append(f"{folder.name}: the cached pass differs by {figures['cached']:.1e}")
    if figures.get("transformers", 0) > TOLERANCE:
        problems.append(f"{folder.name}: float32 is {figures['transformers']:.1e} from transformers")
    return figures


def distance(a, reference):
    """The median over positions of the relative distance: one router that chooses another expert by a hair is no measure."""
    return float(np.median(np.sqrt(((a - reference) ** 2).mean(-1) / (reference ** 2).mean(-1))))


def check_as_stored(program, folder, ids, problems, bits):
    """No further from the exact logits of the same weights than mlx-lm, which rounds elsewhere."""
    exact = program.logits(folder, ids, "--dtype", "float32")
    ours = program.logits(folder, ids)
    theirs = mlx_logits(folder, ids)
    # Where mlx-lm cannot run it (16-bit experts on a CPU), the rounding of 16-bit activations bounds it.
    figures = (distance(ours, exact), 5e-2 if theirs is None else distance(theirs, exact))
    if figures[0] > 1.5 * figures[1] + 1e-5:
        problems.append(f"{folder.name} {bits}: {figures[0]:.1e} from exact logits, mlx-lm {figures[1]:.1e}")
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--float32-only", action="store_true")
    parser.add_argument("--not-as-mlx", nargs="*", default=[],
                        help="checkpoints where mlx-lm differs from transformers: docs/ARCHITECTURES.md")
    arguments = parser.parse_args()
    missing = [str(folder) for folder in arguments.folders if not folder.is_dir()]
    if missing:
        print("skipped: no", ", ".join(missing))
        return 77
    problems = []
    with tempfile.TemporaryDirectory() as work:
        program = Program(arguments.program, Path(work))
        for folder in arguments.folders:
            ids, expected = reference(folder)
            if ids is None:
                ids = np.random.default_rng(7).integers(3, 200, 24).astype(np.int32)
            try:
                line = json.dumps({k: float(f"{v:.1e}") for k, v in
                                   check_float32(program, folder, ids, expected, problems).items()})
                if not arguments.float32_only and folder.name not in arguments.not_as_mlx:
                    for bits, model in quantized_by_mlxmill(program, folder):
                        ours, theirs = check_as_stored(program, model, ids, problems, bits)
                        line += f" {bits}: {ours:.1e} (bound by mlx-lm {theirs:.1e})"
            except RuntimeError as failure:
                problems.append(f"{folder.name}: {failure}")
                line = "failed"
            print(f"{folder.name}: {line}", flush=True)
    for problem in problems:
        print("FAILED", problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

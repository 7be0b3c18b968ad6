"""What --exact-norms is worth: logits of converted 16-bit models against transformers' float32 logits.

    exact_norms_test.py MLXMILL CHECKPOINTS NAME...

Prints, for each model, the largest difference of a logit relative to the largest logit, and the mean KL divergence. Fails
unless --exact-norms gains at least tenfold in both.
"""
import sys
import tempfile
from pathlib import Path

import numpy as np

from oracle import SKIP, load, mlxmill, mx, quietly


def measure(program, source, out, flags):
    result = mlxmill(program, source, out, flags)
    if result.returncode:
        sys.exit(f"{source.name}: exit status {result.returncode}: {result.stderr}")
    reference = np.load(source / "ref.npz")

    def compute():
        model, _ = load(str(out))
        model.set_dtype(mx.float32)
        ids = mx.array(reference["ids"])
        return np.array(model(ids if ids.ndim == 2 else ids[None]).astype(mx.float32))

    wanted = reference["logits"]
    got = quietly(compute).reshape(wanted.shape)

    def log_softmax(x):
        x = x.astype(np.float64) - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    p, q = log_softmax(wanted), log_softmax(got)
    return np.abs(got - wanted).max() / np.abs(wanted).max(), (np.exp(p) * (p - q)).sum(-1).mean()


def main():
    program, checkpoints, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    if not checkpoints.is_dir():
        print(f"skipped: {checkpoints} is not here")
        return SKIP
    failed = False
    for name in names:
        with tempfile.TemporaryDirectory(prefix="mlxmill-norms-") as folder:
            plain = measure(program, checkpoints / name, Path(folder) / "plain", ())
            exact = measure(program, checkpoints / name, Path(folder) / "exact", ("--exact-norms",))
        failed |= exact[0] * 10 > plain[0] or exact[1] * 10 > plain[1]
        print(f"  {name:14} largest difference {plain[0]:.1e} -> {exact[0]:.1e}   KL {plain[1]:.1e} -> {exact[1]:.1e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

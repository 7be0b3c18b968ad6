"""Logits by the program under test and by mlx-lm."""
import subprocess
from functools import lru_cache

import numpy as np

import mlx.core as mx

# Another device would round elsewhere.
mx.set_default_device(mx.cpu)


class Program:
    def __init__(self, path, work):
        self.path = path
        self.work = work

    def run(self, *arguments):
        done = subprocess.run([str(self.path), *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def logits(self, model, ids, *flags):
        ids_file = self.work / "ids.txt"
        ids_file.write_text(" ".join(map(str, ids)))
        out = self.work / "logits.safetensors"
        self.run("logits", model, "--ids", ids_file, "-o", out, "--quiet", *flags)
        logits = np.array(mx.load(str(out))["logits"])
        if not np.isfinite(logits).all():
            raise RuntimeError("logits are not finite")
        return logits


def quantized_by_mlxmill(program, folder):
    """The model as mlxmill converts it: 16-bit, and with codes of 8 and 4 bits."""
    settings = {"16-bit": [], "8-bit": ["--bits", "8", "--group-size", "32"], "4-bit": ["--bits", "4", "--group-size", "32"]}
    for name, flags in settings.items():
        out = program.work / f"{folder.name}-{name}"
        if not out.exists():
            program.run("convert", folder, "-o", out, "--quiet", *flags)
        yield name, out


@lru_cache(maxsize=1)
def _load(folder):
    from mlx_lm.utils import load_model

    return load_model(folder)[0]


def mlx_logits(folder, ids):
    """None where libmlx's CPU backend cannot run the model for mlx-lm (16-bit experts)."""
    from mlx_lm.models.cache import make_prompt_cache

    model = _load(folder)
    try:
        # Gemma 3n shares keys and values between layers through the cache only.
        cache = make_prompt_cache(model)
        return np.array(model(mx.array(ids)[None], cache=cache)[0].astype(mx.float32))
    except (RuntimeError, ValueError) as failure:
        if "Currently only supports float32" not in str(failure):
            raise
        return None

"""mlxmill eval --layers-only against mlx-lm: what reaches every module of the reference there, times both weights in
float64 by NumPy.

    layers_parity.py MLXMILL CHECKPOINT...
"""
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm import load
from mlx_lm.models import mla, switch_layers
from mlx_lm.models.cache import make_prompt_cache

PROGRAM, CHECKPOINTS = sys.argv[1], sys.argv[2:]
LENGTH, WINDOWS, SAMPLED = 32, 8, 128
TEXT = " ".join(f"Once upon a time there was a little girl named {name}. She liked to play with {toy} every day."
                for name in ("Lily", "Mia", "Tom", "Sue", "Ben") for toy in ("a red ball", "her dog", "the big cat"))


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 5:
        print("skipped: this build runs no models")
        sys.exit(77)
    if done.returncode:
        sys.exit(f"FAILED: {arguments}: {done.stderr}")
    return done.stdout


class Watched:
    """Calls of modules with weights, with their inputs, while `on`."""

    def __init__(self, model):
        self.on = False
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.met = defaultdict(list)  # Path to pairs of rows [n, in] and matrices [n].
        for owner, name in ((nn.Linear, "__call__"), (nn.Embedding, "as_linear"), (mla.MultiLinear, "__call__"),
                            (switch_layers.SwitchLinear, "__call__")):
            setattr(owner, name, self.hook(getattr(owner, name)))

    def hook(self, original):
        def call(module, x, *rest, **named):
            if self.on and id(module) in self.paths:
                self.meet(module, np.array(x.astype(mx.float32)).astype(np.float64), *rest, **named)
            return original(module, x, *rest, **named)
        return call

    def meet(self, module, x, indices=None, sorted_indices=False, transpose=True):
        if isinstance(module, mla.MultiLinear):
            assert transpose, "of one token, queries are absorbed"
            heads = np.broadcast_to(np.arange(module.weight.shape[0])[:, None], x.shape[-3:-1])
            matrices = np.broadcast_to(heads, x.shape[:-1])
        elif isinstance(module, switch_layers.SwitchLinear):
            chosen = np.array(indices)[..., None]
            x = np.broadcast_to(x, (*np.broadcast_shapes(x.shape[:-1], chosen.shape), x.shape[-1]))
            matrices = np.broadcast_to(chosen, x.shape[:-1])
        else:
            matrices = np.zeros(x.shape[:-1], int)
        self.met[self.paths[id(module)]].append((x.reshape(-1, x.shape[-1]), matrices.ravel()))


def middles(parts, n):
    return [(2 * i + 1) * n // (2 * parts) for i in range(parts)]


def sample(model, windows):
    """Runs the positions that docs/EVALUATION.md names one by one, watched."""
    watched = Watched(model)
    chosen = middles(min(len(windows), WINDOWS), len(windows))
    for w in chosen:
        first, scored = LENGTH // 2, LENGTH // 2 - 1
        cache, at = make_prompt_cache(model), 0
        for position in middles(min(SAMPLED // len(chosen), scored), scored):
            position += first
            if at < position:
                mx.eval(model(mx.array([windows[w][at:position]]), cache=cache))
            watched.on = True
            mx.eval(model(mx.array([windows[w][position:position + 1]]), cache=cache))
            watched.on = False
            at = position + 1
    return watched.met


def weights_of(model):
    weights = {}
    for path, module in model.named_modules():
        if "weight" not in module:
            continue
        weight = module.weight
        if "scales" in module:
            weight = mx.dequantize(weight, module.scales, module.get("biases"), module.group_size, module.bits,
                                   module.mode)
        weights[path] = np.array(weight.astype(mx.float32)).astype(np.float64)
    return weights


def expected_errors(met, candidate, reference):
    """The module's error and those of its matrices."""
    stack = reference.reshape(-1, *reference.shape[-2:])
    changes = candidate.reshape(stack.shape) - stack
    sums = np.zeros((len(stack), 2))
    reached = np.zeros(len(stack), bool)
    for rows, matrices in met:
        for row, matrix in zip(rows, matrices):
            sums[matrix] += np.square(changes[matrix] @ row).sum(), np.square(stack[matrix] @ row).sum()
            reached[matrix] = True
    total = np.sqrt(sums[:, 0].sum() / sums[:, 1].sum())
    return total, [np.sqrt(d / s) if r else None for (d, s), r in zip(sums, reached)]


def close(what, got, expected):
    # mlx-lm runs gpt_oss otherwise than transformers, which mlxmill follows: other inputs reach its modules.
    allowed = 2e-2 if what.startswith("gpt_oss") else 2e-3
    if (got is None) != (expected is None) or (got is not None and abs(got - expected) > allowed * expected):
        sys.exit(f"FAILED: {what}: expected {expected}, got {got}")


def check(checkpoint, work):
    reference, four, three = (work / f"{checkpoint.name}-{name}" for name in ("f32", "4bit", "3bit"))
    run("convert", checkpoint, "--dtype", "float32", "-o", reference, "--quiet")
    for folder, bits in ((four, 4), (three, 3)):
        run("convert", reference, "--bits", bits, "-o", folder, "--quiet")
    text = work / "tales.txt"
    text.write_text(TEXT)
    report = json.loads(run("eval", four, three, reference, "--reference", reference, "--layers-only", "--text", text,
                            "--protocol", "llama-perplexity", "--context", LENGTH, "--json", "--quiet"))
    model, tokenizer = load(str(reference))
    ids = tokenizer.encode(TEXT)
    bos = tokenizer.encode("")[:1]
    windows = [(bos or ids[i:i + 1]) + ids[i + 1:i + LENGTH] for i in range(0, len(ids) - LENGTH + 1, LENGTH)]
    met = sample(model, windows)
    plain = weights_of(model)
    if report["output_tokens"] != sum(min(SAMPLED // min(len(windows), WINDOWS), LENGTH // 2 - 1)
                                      for _ in range(min(len(windows), WINDOWS))):
        sys.exit(f"FAILED: {checkpoint.name}: {report['output_tokens']} tokens were sampled")
    of_model = {m["name"]: {e["path"]: e for e in m["layers"]} for m in report["models"]}
    unreached, compared = 0, 0
    for folder in (four, three):
        quantized = weights_of(load(str(folder))[0])
        layers = of_model[folder.name]
        for path, inputs in met.items():
            what = f"{folder.name}: {path}"
            total, each = expected_errors(inputs, quantized[path], plain[path])
            close(what, layers[path]["output_error"], total)
            compared += 1
            if len(each) == 1:
                continue
            if len(layers[path]["output_errors"]) != len(each):
                sys.exit(f"FAILED: {what}: {len(layers[path]['output_errors'])} matrices, expected {len(each)}")
            for i, (got, expected) in enumerate(zip(layers[path]["output_errors"], each)):
                close(f"{what} {i}", got, expected)
                unreached += expected is None
    for path, entry in of_model[four.name].items():
        coarse, own = of_model[three.name][path]["output_error"], of_model[reference.name][path]["output_error"]
        fine = entry["output_error"]
        # Routers have 8 bits in both.
        alike = entry["coding"] == of_model[three.name][path]["coding"]
        if fine is not None and not (own == 0 and (fine == coarse if alike else fine < coarse)):
            sys.exit(f"FAILED: {checkpoint.name}: {path}: {own} without, {fine} with 4, {coarse} with 3 bits")
    without = [path for path, entry in of_model[four.name].items() if entry["output_error"] is None]
    print(f"test: {checkpoint.name}: {compared} modules as mlx-lm's inputs say, {unreached} matrices not reached; "
          f"without outputs: {', '.join(without) or 'none'}")


def main():
    work = Path(tempfile.mkdtemp(prefix="mlxmill-layers-"))
    for checkpoint in CHECKPOINTS:
        check(Path(checkpoint), work)


main()

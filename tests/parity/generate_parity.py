"""Greedy text of mlxmill generate against mlx_lm's for the same folders, token by token.

    generate_parity.py MLXMILL FOLDER...

Each folder runs converted to 16 bits and to 4 bits with groups of 32, computed in float32: in 16-bit types rounding decides
between near tokens, and logits_parity.py says how near it comes to mlx-lm's.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mlx_lm.generate import maybe_quantize_kv_cache
from mlx_lm.models.cache import KVCache, RotatingKVCache
from oracle import SKIP, load, mlxmill, mx, quietly

PROMPTS = ["Once upon a time", "Tom and Lily went to the park. They", "  \n\"Hello\", said é 犬 🙂"]
TOKENS = 60


# How far below the likeliest token's logit a chosen one may be, relative to it.
TOLERANCE = 1e-4


def generated(program, folder, prompt, *flags):
    result = subprocess.run(
        [program, "generate", folder, "-p", prompt, "-m", str(TOKENS), "--json", "--ignore-chat-template",
         "--dtype", "float32", *flags],
        capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{folder}: exit status {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


def check(program, folder):
    """How many tokens agree; ends the program where one does not that must."""
    model, tokenizer = quietly(lambda: load(str(folder)))
    model.set_dtype(mx.float32)
    agreed = 0
    for prompt in PROMPTS:
        ours = generated(program, folder, prompt)
        ids = tokenizer.encode(prompt)
        if len(ids) != ours["prompt_tokens"]:
            sys.exit(f"{folder}: {ours['prompt_tokens']} prompt tokens, mlx-lm {len(ids)}")
        logits = np.array(model(mx.array([ids + ours["ids"]])).astype(mx.float32))[0, len(ids) - 1:]
        ended = ours["finish"] == "end of text"
        chosen = ours["ids"] + ([None] if ended else [])
        for position, token in enumerate(chosen):
            row = logits[position]
            best = int(row.argmax())
            if token is None:
                if best not in tokenizer.eos_token_ids:
                    sys.exit(f"{folder}: ended after {position} tokens, mlx-lm goes on with {best}")
            elif token != best and row[best] - row[token] > TOLERANCE * abs(row[best]):
                sys.exit(f"{folder}: token {position} is {token}, mlx-lm's {best} ({row[best]} against {row[token]})")
            else:
                agreed += token == best
        text = tokenizer.decode(ours["ids"])
        if text.strip() != ours["text"].strip():
            sys.exit(f"{folder}: text {ours['text']!r}, mlx-lm's tokenizer {text!r}")
    return agreed


def check_cached(program, folder, flags, new_cache, after_call=lambda cache: None, step=16):
    """The same with caches of other kinds: tokens of ours that are mlx-lm's choice over its own such cache.

    new_cache makes that of a layer; after_call changes those of all layers, as mlx-lm does after each call of a model.
    """
    model, tokenizer = quietly(lambda: load(str(folder)))
    model.set_dtype(mx.float32)
    agreed = 0
    for prompt in (PROMPTS[0], " ".join(PROMPTS) * 3):
        ours = generated(program, folder, prompt, *flags, "--prefill-step-size", str(step))
        ids = tokenizer.encode(prompt)
        cache = [new_cache() for _ in model.layers]
        done = 0
        while len(ids) - done > 1:  # As generate_step: the last one alone.
            n = min(step, len(ids) - done - 1)
            model(mx.array([ids[done:done + n]]), cache=cache)
            after_call(cache)
            done += n
        for position, token in enumerate(ours["ids"]):
            last = ids[-1] if position == 0 else ours["ids"][position - 1]
            row = np.array(model(mx.array([[last]]), cache=cache).astype(mx.float32))[0, -1]
            after_call(cache)
            best = int(row.argmax())
            if token != best and row[best] - row[token] > TOLERANCE * abs(row[best]):
                sys.exit(f"{folder}: with {' '.join(flags)} token {position} is {token}, mlx-lm's {best} "
                         f"({row[best]} against {row[token]})")
            agreed += token == best
    return agreed


def check_limited(program, folder, limit=24):
    # As make_prompt_cache; it leaves the flag out for classes that make their own caches, as llama's.
    return check_cached(program, folder, ("--max-kv-size", str(limit)), lambda: RotatingKVCache(max_size=limit, keep=4))


def check_quantized(program, folder, start=40, bits=8, group_size=32):
    """Keys and values that become codes during the longer prompt and during the answer to the shorter one."""
    flags = ("--kv-bits", str(bits), "--kv-group-size", str(group_size), "--quantized-kv-start", str(start))
    return check_cached(program, folder, flags, KVCache,
                        lambda cache: maybe_quantize_kv_cache(cache, start, group_size, bits))


def head_size(folder):
    config = json.loads((folder / "config.json").read_text())
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def main():
    program, folders = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    ran = 0
    for folder in folders:
        if not (folder / "config.json").exists():
            print(f"  skipped: {folder} is not here")
            continue
        with tempfile.TemporaryDirectory(prefix="mlxmill-generate-") as work:
            for name, flags in (("16-bit", ()), ("4-bit", ("--bits", "4", "--group-size", "32"))):
                out = Path(work) / name
                result = mlxmill(program, folder, out, flags)
                if result.returncode:
                    sys.exit(f"{folder}: exit status {result.returncode}: {result.stderr}")
                print(f"  {folder.name:24} {name:7} {check(program, out)} tokens equal")
                print(f"  {folder.name:24} {name:7} {check_limited(program, out)} tokens equal with a cache of limited size")
                if head_size(out) % 32 == 0:
                    print(f"  {folder.name:24} {name:7} {check_quantized(program, out)} tokens equal with a cache of 8 bits from 40 on")
                ran += 1
    return 0 if ran else SKIP


if __name__ == "__main__":
    sys.exit(main())

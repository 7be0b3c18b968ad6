"""mlxmill eval of models that run, against mlx_lm.perplexity and mlx-lm's own logits on the same text.

    eval_models.py MLXMILL SAMPLE
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import mlx_lm.perplexity as upstream
import numpy as np
from mlx_lm import load
from mlx_lm.tuner.datasets import TextDataset

PROGRAM, SAMPLE = sys.argv[1:]
LENGTH, SAMPLES, SEED = 48, 4, 123


def close(what, got, expected, relative):
    if abs(got - expected) > relative * abs(expected):
        sys.exit(f"FAILED: {what}: expected {expected}, got {got}")


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 5:
        print("skipped: this build runs no models")
        sys.exit(77)
    if done.returncode:
        sys.exit(f"FAILED: {arguments}: {done.stderr}")
    return done.stdout


def main():
    work = Path(tempfile.mkdtemp(prefix="mlxmill-eval-"))
    four = work / "four"
    run("convert", SAMPLE, "--bits", 4, "-o", four, "--quiet", "--dtype", "float32")
    rows = [{"text": f"Once upon a time there was a little girl named {name}. She liked to play with {toy} every day."}
            for name in ("Lily", "Mia", "Tom", "Sue", "Ben") for toy in ("a red ball", "her dog", "the big cat")]
    data = work / "tales.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, tokenizer = load(str(four))
    upstream.load_dataset = lambda arguments, tok: (TextDataset(rows, tok), None, None)
    np.random.seed(SEED)
    windows = upstream.load_data(tokenizer, "", SAMPLES, LENGTH)
    perplexity, error = upstream.eval_ppl(model, windows)
    report = json.loads(run("eval", four, "--text", data, "--protocol", "mlx_lm.perplexity", "--context", LENGTH,
                            "--samples", SAMPLES, "--seed", SEED, "--no-cache", "--json", "--quiet"))
    got = report["models"][0]["scores"]["perplexity"]
    if report["models"][0]["scores"]["positions"] != windows.shape[0] * (LENGTH - 1):
        sys.exit("FAILED: another number of positions")
    close("perplexity", got["value"], perplexity, 2e-4)
    close("its error", got["error"], error, 2e-4)

    # llama-perplexity's protocol, computed here from mlx-lm's logits.
    text = work / "tales.txt"
    text.write_text(" ".join(row["text"] for row in rows))
    ids = tokenizer.encode(text.read_text())
    bos = tokenizer.encode("")[:1]
    nll = []
    for start in range(0, len(ids) - LENGTH + 1, LENGTH):
        chunk = ids[start:start + LENGTH]
        chunk[:1] = bos or chunk[:1]
        logits = np.array(model(mx.array([chunk])).astype(mx.float32))[0].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nll += [-logp[i, chunk[i + 1]] for i in range(LENGTH // 2, LENGTH - 1)]
    mean, spread = np.mean(nll), np.sqrt((np.mean(np.square(nll)) - np.mean(nll) ** 2) / (len(nll) - 1))
    report = json.loads(run("eval", four, "--text", text, "--protocol", "llama-perplexity", "--context", LENGTH,
                            "--no-cache", "--json", "--quiet"))
    scores = report["models"][0]["scores"]
    if scores["positions"] != len(nll):
        sys.exit(f"FAILED: {scores['positions']} positions, expected {len(nll)}")
    close("llama-perplexity", scores["perplexity"]["value"], np.exp(mean), 2e-4)
    close("its error", scores["perplexity"]["error"], np.exp(mean) * spread, 2e-4)
    print(f"test: mlx_lm.perplexity {perplexity:.5f} ± {error:.5f}, mlxmill {got['value']:.5f} ± {got['error']:.5f}; "
          f"llama-perplexity {np.exp(mean):.5f}, mlxmill {scores['perplexity']['value']:.5f}")


main()

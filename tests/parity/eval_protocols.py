"""The mlx_lm.perplexity protocol against mlx_lm.perplexity itself: its windows of a data set, its numbers.

    eval_protocols.py WINDOW_ORACLE MLXMILL
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import mlx_lm.perplexity as upstream
import numpy as np

import logits_files

ORACLE, PROGRAM = sys.argv[1:]


class Records:
    """A data set as mlx_lm's: rows of token ids."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    def process(self, row):
        return row, 0


def check_windows(seed, records, length, samples):
    generator = np.random.default_rng(seed + 1)
    rows = [generator.integers(0, 1000, generator.integers(1, 60)).tolist() for _ in range(records)]
    upstream.load_dataset = lambda arguments, tokenizer: (Records(rows), None, None)
    np.random.seed(seed)
    expected = np.array(upstream.load_data(None, "", samples, length)).tolist()
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    done = subprocess.run([ORACLE, str(length), str(samples), str(seed)], input=text, capture_output=True, text=True,
                          check=True)
    got = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    if got != expected:
        sys.exit(f"FAILED: windows of seed {seed}, {records} records, length {length}, {samples} samples")


def check_numbers(work):
    tokens, logits = logits_files.reference(5, 11, 33, 257, spread=2.0)
    path = work / "logits.safetensors"
    logits_files.save(path, {"tokens": tokens, "logits": logits})

    def model(batch):
        # The rows of the windows that mlx_lm asks for, found by their tokens.
        found = [next(w for w in range(len(tokens)) if (tokens[w, :-1] == row).all()) for row in np.array(batch)]
        return mx.array(logits[found][:, :-1])

    perplexity, error = upstream.eval_ppl(model, mx.array(tokens), batch_size=4)
    done = subprocess.run([PROGRAM, "eval", path, "--json", "--quiet", "--protocol", "mlx_lm.perplexity"],
                          capture_output=True, text=True, check=True)
    got = json.loads(done.stdout)["models"][0]["scores"]["perplexity"]
    # mlx_lm sums in float32.
    for name, ours, theirs in (("value", got["value"], perplexity), ("error", got["error"], error)):
        if abs(ours - theirs) > 2e-5 * theirs:
            sys.exit(f"FAILED: perplexity {name}: mlx_lm gives {theirs}, mlxmill {ours}")
    return got, perplexity, error


def main():
    for case in ((123, 40, 16, 20), (0, 7, 32, 3), (7, 300, 64, 100), (4294967295, 33, 8, 1)):
        check_windows(*case)
    got, perplexity, error = check_numbers(Path(tempfile.mkdtemp(prefix="mlxmill-eval-")))
    print(f"test: 4 data sets cut as mlx_lm cuts them; perplexity {got['value']:.6f} ± {got['error']:.6f}, "
          f"mlx_lm {perplexity:.6f} ± {error:.6f}")


main()

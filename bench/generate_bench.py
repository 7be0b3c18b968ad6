#!/usr/bin/env python3
"""Tokens per second of mlxmill, llama.cpp and mlx-lm on one model: the shape of Qwen2.5-0.5B with seeded random weights.

The contenders take turns, so that a slow moment of the machine meets them all; ratios are of the same round. All use the
threads the machine has. What mlxmill computes is held against mlx-lm on the same folder: logits in float32 are to be
equal, and those of the computation that is timed as near to them as mlx-lm's own. llama.cpp takes part where its
programs are named.
Runs in build/venv (tools/setup.sh --tests makes it); needs the program generate_speed (MLXMILL_BUILD_BENCH=ON).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy

from make_model import make_model

ROOT = Path(__file__).resolve().parent.parent
LLAMA = {
    "Q4_0": ["--pure", "--token-embedding-type", "q4_0"],
    "Q4_K_M": [],
    "Q8_0": ["--pure", "--token-embedding-type", "q8_0"],
}
RIVALS = {4: ("Q4_0", "Q4_K_M"), 8: ("Q8_0",)}
# llama.cpp rounds activations to 8 bits; mlxmill does where it is asked.
INT8 = ", int8 activations"
# Float32 logits, largest difference relative to the largest logit; and how much farther from them than mlx-lm's own the
# logits in BF16 may be.
TOLERANCE = 1e-4
FARTHER = 1.5


def run(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def prompt_of(tokens, vocabulary):
    """As bench/generate_speed.cc."""
    return [(i * 7919 + 11) % vocabulary for i in range(tokens)]


def make_models(arguments):
    work = arguments.work
    source = work / "generate-source"
    if not source.exists():
        make_model(source, "qwen2.5-0.5b", sparse=False)
    models = {}
    for bits in (4, 8):
        models[bits] = work / f"generate-{bits}bit"
        if not models[bits].exists():
            run([arguments.mlxmill, "convert", source, "-o", models[bits], "-q", "--bits", bits, "--quiet"])
    if arguments.llama_bench:
        whole = work / "generate-source.gguf"
        if not whole.exists():
            from make_gguf import make_gguf
            make_gguf(source, whole)
        for name, flags in LLAMA.items():
            models[name] = work / f"generate-{name}.gguf"
            if not models[name].exists():
                run([arguments.llama_quantize, *flags, whole, models[name], name, os.cpu_count()])
    return models


def measure_mlxmill(arguments, model, int8):
    result = json.loads(run([arguments.speed, model, arguments.prompt, arguments.tokens, 1, arguments.depth, int(int8)]))
    return {"prefill": result["prefill"][0], "decode": result["decode"][0], "bytes": result["weight_bytes"],
            "bandwidth": result["bandwidth"]}


def measure_llama(arguments, model):
    rows = json.loads(run([arguments.llama_bench, "-m", model, "-t", os.cpu_count(), "-p", arguments.prompt,
                           "-n", arguments.tokens, "-d", arguments.depth, "-r", 1, "-o", "json"]))
    speed = {"prefill" if row["n_prompt"] else "decode": row["avg_ts"] for row in rows}
    return {**speed, "bytes": rows[0]["model_size"]}


def measure_mlx_lm(model, tokens):
    """A prompt of 4 and few tokens: each takes seconds. With the logits after the prompt, in float32 as well."""
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load_model

    def logits_of(ids, cache):
        logits = network(mx.array([ids]), cache=cache)[0, -1].astype(mx.float32)
        mx.eval(logits)
        return logits

    network, config = load_model(model)
    prompt = prompt_of(4, config["vocab_size"])
    cache = make_prompt_cache(network)
    start = time.perf_counter()
    logits = logits_of(prompt, cache)
    prefill = 4 / (time.perf_counter() - start)
    first = numpy.array(logits)
    start = time.perf_counter()
    for _ in range(tokens):
        logits = logits_of([int(mx.argmax(logits))], cache)
    decode = tokens / (time.perf_counter() - start)
    network.set_dtype(mx.float32)
    exact = numpy.array(logits_of(prompt, make_prompt_cache(network)))
    return {"prefill": prefill, "decode": decode, "logits": first, "logits32": exact}


def problems_of(ours, theirs):
    exact = theirs["logits32"]

    def distance(logits):
        return float(numpy.abs(numpy.array(logits) - exact).max() / numpy.abs(exact).max())

    exactly, own, others = distance(ours["logits32"]), distance(ours["logits"]), distance(theirs["logits"])
    print(f"from mlx-lm's float32 logits: ours in float32 {exactly:.1e}, ours as timed {own:.1e}, "
          f"mlx-lm's in bfloat16 {others:.1e}")
    problems = []
    if not exactly <= TOLERANCE:
        problems.append("float32 logits differ from mlx-lm's")
    if not own <= FARTHER * others:
        problems.append("logits as timed are farther from float32 than mlx-lm's own")
    return problems


def contenders(arguments, models):
    """Names, and what measures each once; those that are compared are neighbours."""
    for bits, rivals in RIVALS.items():
        for int8 in (False, True) if bits == 4 else (False,):
            yield f"mlxmill {bits}-bit{INT8 if int8 else ''}", lambda: measure_mlxmill(arguments, models[bits], int8)
        for name in rivals:
            if name in models:
                yield f"llama.cpp {name}", lambda: measure_llama(arguments, models[name])


def table(results, bandwidths):
    """`bandwidths`: what memory gave in each round, in bytes a second."""
    lines = ["| | MB | prefill tokens/s | decode tokens/s | decode GB/s | of bandwidth |", "| --- " + "| ---: " * 5 + "|"]
    for name, rounds in results.items():
        prefill, decode = (statistics.median(r[what] for r in rounds) for what in ("prefill", "decode"))
        size = rounds[0].get("bytes", 0)
        share = statistics.median(r["decode"] * size / most for r, most in zip(rounds, bandwidths))
        lines.append(f"| {name} | {size / 1e6:.0f} | {prefill:.4g} | {decode:.4g} | {decode * size / 1e9:.1f} | "
                     f"{100 * share:.0f} % |")
    return "\n".join(lines)


def ratios(results):
    """Ours over theirs, round by round, as medians."""
    for bits, names in RIVALS.items():
        for ours in (f"mlxmill {bits}-bit", f"mlxmill {bits}-bit{INT8}"):
            for name in names:
                pairs = list(zip(results.get(ours, []), results.get(f"llama.cpp {name}", [])))
                if pairs:
                    yield (f"{ours} over llama.cpp {name}: "
                           + ", ".join(f"{what} {statistics.median(a[what] / b[what] for a, b in pairs):.2f}"
                                       for what in ("prefill", "decode")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = ROOT / "build" / "release"
    parser.add_argument("--mlxmill", type=Path, default=build / "mlxmill")
    parser.add_argument("--speed", type=Path, default=build / "bench" / "generate_speed")
    parser.add_argument("--llama-bench", type=Path)
    parser.add_argument("--llama-quantize", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "build", help="where models are made and kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens made one at a time")
    parser.add_argument("--depth", type=int, default=0, help="tokens that the cache holds before")
    parser.add_argument("--mlx-lm-tokens", type=int, default=2, help="as many from mlx-lm; 0 leaves it and the check out")
    arguments = parser.parse_args()
    if bool(arguments.llama_bench) != bool(arguments.llama_quantize):
        parser.error("--llama-bench and --llama-quantize go together")
    models = make_models(arguments)
    results = {}
    for turn in range(arguments.rounds):
        for label, measure in contenders(arguments, models):
            one = measure()
            results.setdefault(label, []).append(one)
            print(f"  {turn + 1}: {label}: prefill {one['prefill']:.4g}, decode {one['decode']:.4g}", file=sys.stderr, flush=True)
    probed = [[one["bandwidth"] for one in rounds] for rounds in results.values() if "bandwidth" in rounds[0]]
    bandwidths = [max(of_round) for of_round in zip(*probed)]
    problems = []
    if arguments.mlx_lm_tokens:
        theirs = measure_mlx_lm(models[4], arguments.mlx_lm_tokens)
        problems = problems_of(json.loads(run([arguments.speed, models[4], "logits"])), theirs)
        theirs["bytes"] = results["mlxmill 4-bit"][0]["bytes"]
        results["mlx-lm 4-bit"] = [theirs]
    print(f"{os.cpu_count()} threads; memory gives {min(bandwidths) / 1e9:.1f} to {max(bandwidths) / 1e9:.1f} GB/s; medians of {arguments.rounds} rounds; "
          f"load {os.getloadavg()[0]:.1f}\n")
    print(table(results, bandwidths))
    print()
    for line in ratios(results):
        print(line)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

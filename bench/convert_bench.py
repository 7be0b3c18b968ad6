#!/usr/bin/env python3
"""Times whole conversions in one run: cp of the source, mlxmill, mlx_lm.convert and, if given, llama-quantize.

The contenders take turns, so that a slow moment of the machine meets them all. The source lies in the page cache and the
output on tmpfs. What mlxmill wrote is verified and compared, tensor by tensor, with what mlx_lm.convert wrote.
Runs in build/venv (tools/setup.sh --tests makes it).
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from make_model import make_model
from measure import measure, remove
from raw_safetensors import read_folder

MODES = {
    "affine 4-bit": ["-q", "--q-bits", "4"],
    "affine 8-bit": ["-q", "--q-bits", "8"],
    "mxfp4": ["-q", "--q-mode", "mxfp4"],
    "nvfp4": ["-q", "--q-mode", "nvfp4"],
    "mxfp8": ["-q", "--q-mode", "mxfp8"],
}
SLOW = ("mxfp4", "nvfp4")  # a minute each, and up to 10 GB, in mlx-lm


def contenders(arguments, source):
    """name -> command that writes to the path put in place of OUT."""
    result = {"cp": ["cp", "-r", source, "OUT"]}
    for mode, flags in MODES.items():
        if arguments.only in mode:
            result[f"mlxmill {mode}"] = [arguments.mlxmill, "convert", source, "-o", "OUT", "--quiet", *flags]
    for mode, flags in MODES.items():
        if arguments.only in mode and not arguments.no_mlx_lm and (arguments.slow or mode not in SLOW):
            result[f"mlx-lm {mode}"] = [sys.executable, "-m", "mlx_lm", "convert", "--hf-path", source,
                                        "--mlx-path", "OUT", *flags]
    if arguments.llama_quantize:
        result["llama-quantize Q4_0"] = [arguments.llama_quantize, arguments.gguf, "OUT", "Q4_0", "2"]
    return result


def run_rounds(arguments, commands, work):
    """Measurements by contender; the outputs of the first round stay for the check."""
    results = {name: [] for name in commands}
    for turn in range(arguments.runs):
        for name, command in commands.items():
            if turn and name.startswith("mlx-lm") and any(mode in name for mode in SLOW):
                continue  # once says enough about something a hundred times slower
            output = work / ("kept " + name if turn == 0 else "out")
            remove(output)
            result = measure([output if word == "OUT" else word for word in command])
            if result.status != 0:
                raise SystemExit(f"{name} failed:\n{result.output}")
            results[name].append(result)
            print(f"  {name}: {result.seconds:.2f} s", file=sys.stderr, flush=True)
            if turn or not name.startswith(("mlxmill", "mlx-lm")):
                remove(output)
    return results


def check(arguments, work):
    """Returns what is wrong with the outputs of the first round."""
    problems = []
    for mode in MODES:
        ours, theirs = work / f"kept mlxmill {mode}", work / f"kept mlx-lm {mode}"
        if not ours.exists():
            continue
        done = subprocess.run([arguments.mlxmill, "verify", ours], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8")
        if done.returncode != 0:
            problems.append(f"{mode}: verify: {done.stdout}")
        if theirs.exists():
            a, b = read_folder(ours)[0], read_folder(theirs)[0]
            if a != b:
                names = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
                problems.append(f"{mode}: {len(names)} tensors differ from mlx-lm's, the first {names[0]}")
            else:
                print(f"{mode}: {len(a)} tensors equal mlx-lm's, byte for byte")
        elif not arguments.no_mlx_lm:
            print(f"{mode}: verified; not compared with mlx-lm (--slow runs it)")
    return problems


def table(results, source_bytes):
    """Markdown: medians, the range, throughput of source bytes, ratios, memory."""
    medians = {name: statistics.median(run.seconds for run in runs) for name, runs in results.items()}
    lines = ["| | seconds | min - max | GB/s | x cp | x mlx-lm | peak MiB |", "| --- " + "| ---: " * 6 + "|"]
    for name, runs in results.items():
        seconds = medians[name]
        theirs = medians.get(name.replace("mlxmill", "mlx-lm")) if name.startswith("mlxmill") else None
        ratio = f"{theirs / seconds:.1f}" if theirs else ""
        spread = f"{min(r.seconds for r in runs):.2f} - {max(r.seconds for r in runs):.2f}"
        lines.append(f"| {name} | {seconds:.2f} | {spread} | {source_bytes / 1e9 / seconds:.2f} | "
                     f"{medians['cp'] / seconds:.2f} | {ratio} | {max(r.peak_bytes for r in runs) >> 20} |")
    if "llama-quantize Q4_0" in medians and "mlxmill affine 4-bit" in medians:
        ratio = medians["llama-quantize Q4_0"] / medians["mlxmill affine 4-bit"]
        lines.append(f"\nmlxmill affine 4-bit is {ratio:.1f} times as fast as llama-quantize Q4_0.")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mlxmill", type=Path, nargs="?", default=ROOT / "build" / "release" / "mlxmill")
    parser.add_argument("--model", type=Path, help="checkpoint to convert (default: the shape of Qwen2.5-0.5B)")
    parser.add_argument("--output", type=Path, default=Path("/dev/shm"), help="where outputs go")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="modes whose name contains this")
    parser.add_argument("--slow", action="store_true", help="mlx-lm's mxfp4 and nvfp4, too (once)")
    parser.add_argument("--no-mlx-lm", action="store_true")
    parser.add_argument("--llama-quantize", type=Path, help="that program")
    parser.add_argument("--gguf", type=Path, help="the same model as a 16-bit GGUF file, for llama-quantize")
    arguments = parser.parse_args()
    arguments.mlxmill = arguments.mlxmill.resolve()
    if arguments.llama_quantize and not arguments.gguf:
        parser.error("--llama-quantize needs --gguf")
    source = arguments.model
    if source is None:
        source = ROOT / "build" / "bench-model"
        if not source.exists():
            make_model(source, "qwen2.5-0.5b", sparse=False)
    source_bytes = 0
    for file in sorted(source.glob("*.safetensors")):
        with open(file, "rb") as stream:  # into the page cache
            while block := stream.read(16 << 20):
                source_bytes += len(block)
    work = arguments.output / "mlxmill-convert-bench"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        results = run_rounds(arguments, contenders(arguments, source), work)
        problems = check(arguments, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    info = json.loads(subprocess.run([arguments.mlxmill, "info", "--json"], stdout=subprocess.PIPE,
                                     check=True).stdout)
    print(f"\n{source.name}, {source_bytes / 1e9:.2f} GB; {info['cores']} cores, {info['simd_chosen']}; "
          f"medians of {arguments.runs} runs; seconds of wall clock\n")
    print(table(results, source_bytes))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

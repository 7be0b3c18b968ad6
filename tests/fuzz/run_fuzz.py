#!/usr/bin/env python3
"""Runs one fuzz target for some seconds, starting from files of this project. Exit status: the target's."""
import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def header_input(path):
    """What safetensors_fuzz takes: a byte that tells how much data follows, then the header's text."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    data = max(0, len(content) - 8 - length)
    return bytes([min(data, 255)]) + content[8 : 8 + min(length, 1 << 16)]


SEEDS = {
    "safetensors": ("tests/hostile/*/*.safetensors", header_input),
    "index": ("tests/hostile/*/*.index.json", Path.read_bytes),
    "config": ("tests/hostile/*/config.json", Path.read_bytes),
    "recipe": ("src/quantize/recipes/*.toml", Path.read_bytes),
    "declaration": ("src/architectures/families/*.toml", Path.read_bytes),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("name", choices=sorted(SEEDS))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()

    corpus = arguments.work / f"{arguments.name}_corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    pattern, read = SEEDS[arguments.name]
    seeds = 0
    for path in sorted(ROOT.glob(pattern)):
        if path.is_file() and path.stat().st_size < 1 << 20:
            (corpus / f"{seeds}-{path.parent.name}").write_bytes(read(path))
            seeds += 1
    if not seeds:
        sys.exit(f"no seeds match {pattern}")
    command = [str(arguments.program), f"-max_total_time={arguments.seconds}", "-timeout=20", "-rss_limit_mb=2048",
               "-max_len=65536", "-print_final_stats=1", f"-artifact_prefix={arguments.work}/{arguments.name}-", str(corpus)]
    print(" ".join(command), flush=True)
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            errors="replace")
    print("\n".join(result.stdout.splitlines()[-25:]))
    print(f"{seeds} seeds, exit status {result.returncode}")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())

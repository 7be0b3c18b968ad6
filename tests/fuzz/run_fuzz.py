#!/usr/bin/env python3
"""Runs one fuzz target for some seconds, starting from files of this project. Exit status: the target's."""
import argparse
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def header_input(path):
    """What safetensors_fuzz takes: a byte that tells how much data follows, then the header's text."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    data = max(0, len(content) - 8 - length)
    return bytes([min(data, 255)]) + content[8 : 8 + min(length, 1 << 16)]


def gguf_inputs():
    """What gguf_fuzz takes: a byte that tells how many times 64 bytes follow, then the beginning of a file."""

    def text(value):
        return struct.pack("<Q", len(value)) + value

    def pair(key, kind, value):
        return text(key) + struct.pack("<I", kind) + value

    def array(kind, count, elements):
        return struct.pack("<IQ", kind, count) + elements

    def tensor(name, extents, kind, offset):
        return text(name) + struct.pack(f"<I{len(extents)}QIQ", len(extents), *extents, kind, offset)

    # Every value type as a value and as an array's: u8 to f32, bool, string, array, u64, i64, f64.
    widths = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    pairs = [pair(b"general.alignment", 4, struct.pack("<I", 64)), pair(b"s", 8, text(b"llama"))]
    pairs += [pair(b"v%d" % kind, kind, b"\1" + bytes(width - 1)) for kind, width in widths.items()]
    pairs += [pair(b"a%d" % kind, 9, array(kind, 2, bytes(2 * width))) for kind, width in widths.items()]
    pairs += [pair(b"tokens", 9, array(8, 3, text(b"a") + text(b"") + text("\u0120".encode())))]
    pairs += [pair(b"deep", 9, array(9, 1, array(9, 1, array(9, 1, array(7, 1, b"\1")))))]
    split = [pair(b"split.no", 2, b"\1\0"), pair(b"split.count", 2, b"\3\0"),
             pair(b"split.tensors.count", 5, struct.pack("<I", 9))]
    tensors = [tensor(b"q", [256, 2], 12, 0), tensor(b"f", [3, 2, 1, 1], 0, 320), tensor(b"s", [], 28, 384)]
    for version, some_pairs, some_tensors in ((3, pairs, tensors), (2, split, []), (3, [], tensors[:1]), (1, [], [])):
        header = b"GGUF" + struct.pack("<IQQ", version, len(some_tensors), len(some_pairs))
        header += b"".join(some_pairs) + b"".join(some_tensors)
        for data in (0, 12):
            yield bytes([data]) + header + bytes(-len(header) % 64)


def pickle_input(path):
    """What pickle_fuzz takes: a byte that allows windows of storages, then the pickle."""
    if not zipfile.is_zipfile(path):
        return b"\x01" + path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"\x00" + archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


SEEDS = {
    "safetensors": ("tests/hostile/*/*.safetensors", header_input),
    "index": ("tests/hostile/*/*.index.json", Path.read_bytes),
    "config": ("tests/hostile/*/config.json", Path.read_bytes),
    "recipe": ("src/quantize/recipes/*.toml", Path.read_bytes),
    "torch": ("tests/formats/torch/*.pt", Path.read_bytes),
    "pickle": ("tests/formats/torch/*.pt", pickle_input),
    "declaration": ("src/architectures/families/*.toml", Path.read_bytes),
}


def seeds_of(name):
    """Pairs of a name and the bytes."""
    if name == "gguf":
        yield from ((f"made-{i}", content) for i, content in enumerate(gguf_inputs()))
        return
    pattern, read = SEEDS[name]
    for path in sorted(ROOT.glob(pattern)):
        if path.is_file() and path.stat().st_size < 1 << 20:
            yield path.parent.name, read(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("name", choices=sorted([*SEEDS, "gguf"]))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()

    corpus = arguments.work / f"{arguments.name}_corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    seeds = 0
    for name, content in seeds_of(arguments.name):
        (corpus / f"{seeds}-{name}").write_bytes(content)
        seeds += 1
    if not seeds:
        sys.exit(f"no seeds for {arguments.name}")
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

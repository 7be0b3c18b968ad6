#!/usr/bin/env python3
"""Runs one fuzz target for some seconds, starting from files of this project. Exit status: the target's."""
import argparse
import json
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


def sources_inputs():
    """What sources_fuzz takes: settings, a byte that asks for repacking, tensors (name, type, extents), bytes."""
    types = {"U8": 1, "I8": 2, "F8_E4M3": 3, "F8_E8M0": 5, "F16": 8, "BF16": 9, "U32": 10, "I32": 11, "F32": 12, "I64": 14}

    def extent(n):
        return n if n < 160 else 159 + n // 128

    def model(settings, *tensors, data=bytes(range(256)) * 16, repack=0):
        content = json.dumps(settings).encode() + bytes([0, repack])
        for name, kind, *shape in tensors:
            content += name.encode() + bytes([0, types[kind], len(shape), *map(extent, shape)])
        return content + b"\0" + data

    for block in ([8, 16], None):
        yield model({"quant_method": "fp8", "weight_block_size": block}, ("a.weight", "F8_E4M3", 16, 32),
                    ("a.weight_scale_inv", "F32", 2, 2), ("a.input_scale", "F32", 1), ("n.weight", "BF16", 32))
    yield model({"quant_method": "fp8"}, ("e.down_proj", "F8_E4M3", 3, 4, 8), ("e.down_proj_scale", "F32", 3))
    yield model({"quant_method": "mxfp8"}, ("a.weight", "F8_E4M3", 8, 64), ("a.weight_scale_inv", "U8", 8, 2))
    order = b"".join((i % 2).to_bytes(4, "little") for i in range(64))
    for bits in (2, 3, 4, 8):
        yield model({"quant_method": "gptq", "bits": bits, "checkpoint_format": "gptq_v2"}, ("a.g_idx", "I32", 64),
                    ("a.qweight", "I32", 2 * bits, 32), ("a.scales", "F16", 2, 32), ("a.qzeros", "I32", 2, bits), data=order)
    yield model({"quant_method": "awq"}, ("a.qweight", "I32", 64, 4), ("a.scales", "F16", 2, 32), ("a.qzeros", "I32", 2, 4))
    integers = {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}}
    yield model(integers, ("a.weight_packed", "I32", 8, 8), ("a.weight_scale", "BF16", 8, 2), ("a.weight_zero_point", "I32", 1, 2))
    yield model(integers, ("a.weight_shape", "I64", 2), ("a.weight_packed", "I32", 8, 8), ("a.weight_scale", "BF16", 8, 2),
                data=(8).to_bytes(8, "little") + (64).to_bytes(8, "little"))
    yield model(integers, ("a.weight", "I8", 8, 64), ("a.weight_scale", "BF16", 8, 1), ("a.weight_zero_point", "I8", 8, 1),
                ("b.weight", "F8_E4M3", 8, 8), ("b.weight_scale", "F32", 1))
    yield model(integers, ("a.weight_packed", "U8", 8, 32), ("a.weight_scale", "F8_E4M3", 8, 4), ("a.weight_global_scale", "F32", 1))
    yield model({"quant_method": "modelopt"}, ("a.weight", "U8", 8, 32), ("a.weight_scale", "F8_E4M3", 8, 4),
                ("a.weight_scale_2", "F32"), ("b.weight", "F8_E4M3", 8, 8), ("b.weight_scale", "F32"), ("b.input_scale", "F32"))
    yield model({"quant_method": "mxfp4"}, ("e.down_proj_blocks", "U8", 2, 4, 2, 16), ("e.down_proj_scales", "U8", 2, 4, 2))
    yield model({"quant_method": "bitnet"}, ("a.weight", "U8", 8, 128), ("a.weight_scale", "BF16", 1), repack=1)


def pickle_input(path):
    """What pickle_fuzz takes: a byte that allows windows of storages, then the pickle."""
    if not zipfile.is_zipfile(path):
        return b"\x01" + path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"\x00" + archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def template_input(path):
    """What template_fuzz takes: the template, a zero byte, the messages."""
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]
    return path.read_bytes() + b"\0" + json.dumps(chat).encode()


def tokenizer_inputs():
    """Small files of each kind of model, with the steps that people use."""
    steps = {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
                                                               {"type": "Prepend", "prepend": "_"}]},
             "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a+|b"}, "behavior": "Isolated", "invert": False},
             "decoder": {"type": "ByteFallback"}, "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}}
    added = [{"id": 9, "content": "<s>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": True, "special": True}]
    models = [{"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<0x0A>": 3}, "merges": [["a", "b"]], "byte_fallback": True, "unk_token": "a"},
              {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5], ["_a", -2]], "unk_id": 0},
              {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "##b": 2}, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
               "max_input_chars_per_word": 100},
              {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}]
    for model in models:
        yield json.dumps({"version": "1.0", "added_tokens": added, **steps, "model": model}).encode()
        yield json.dumps({"model": model}).encode()

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    pieces = field(1, field(1, b"<unk>") + b"\x18\x02") + field(1, field(1, b"a")) + field(1, field(1, b"ab"))
    for kind in (1, 2):
        yield pieces + field(2, bytes([24, kind])) + field(3, b"\x18\x01")


SEEDS = {
    "safetensors": ("tests/hostile/*/*.safetensors", header_input),
    "index": ("tests/hostile/*/*.index.json", Path.read_bytes),
    "config": ("tests/hostile/*/config.json", Path.read_bytes),
    "recipe": ("src/quantize/recipes/*.toml", Path.read_bytes),
    "torch": ("tests/formats/torch/*.pt", Path.read_bytes),
    "pickle": ("tests/formats/torch/*.pt", pickle_input),
    "template": ("tests/parity/templates/*.jinja", template_input),
    "declaration": ("src/architectures/families/*.toml", Path.read_bytes),
}


def seeds_of(name):
    """Pairs of a name and the bytes."""
    if name == "gguf":
        yield from ((f"made-{i}", content) for i, content in enumerate(gguf_inputs()))
        return
    if name == "sources":
        yield from ((f"made-{i}", content) for i, content in enumerate(sources_inputs()))
        return
    if name == "tokenizer":
        yield from ((f"made-{i}", content) for i, content in enumerate(tokenizer_inputs()))
        return
    pattern, read = SEEDS[name]
    for path in sorted(ROOT.glob(pattern)):
        if path.is_file() and path.stat().st_size < 1 << 20:
            yield path.parent.name, read(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("name", choices=sorted([*SEEDS, "gguf", "sources", "tokenizer"]))
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

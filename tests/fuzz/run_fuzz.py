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


def gguf_import_inputs():
    """What gguf_import_fuzz takes: whole files of small models, with their tokenizers."""

    def text(value):
        return struct.pack("<Q", len(value)) + value

    def number(value):
        return (struct.pack("<I", 6) + struct.pack("<f", value) if isinstance(value, float)
                else struct.pack("<IB", 7, value) if isinstance(value, bool) else struct.pack("<II", 4, value))

    def array(values):
        if isinstance(values[0], bytes):
            return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))
        kind, code = (6, "f") if isinstance(values[0], float) else (5, "i")
        return struct.pack("<IIQ", 9, kind, len(values)) + struct.pack(f"<{len(values)}{code}", *values)

    def value(v):
        return (struct.pack("<I", 8) + text(v) if isinstance(v, bytes) else array(v) if isinstance(v, list) else number(v))

    def model(arch, keys, tensors, tokenizer, shared={}):
        own = {"block_count": 1, "context_length": 64, "embedding_length": 8, "feed_forward_length": 16,
               "attention.head_count": 2, "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-5, **keys}
        pairs = {"general.architecture": arch, **shared, **{f"{arch.decode()}.{k}": v for k, v in own.items()},
                 **{f"tokenizer.{k}": v for k, v in tokenizer.items()}}
        shapes = {"token_embd": [5, 8], "output_norm": [8], "blk.0.attn_norm": [8], "blk.0.ffn_norm": [8],
                  "blk.0.attn_q": [8, 8], "blk.0.attn_k": [4, 8], "blk.0.attn_v": [4, 8], "blk.0.attn_output": [8, 8],
                  "blk.0.ffn_gate": [16, 8], "blk.0.ffn_up": [16, 8], "blk.0.ffn_down": [8, 16], **tensors}
        entries, data = b"", b""
        for name, shape in shapes.items():
            name += "" if name.endswith((".scale", ".bias", "ssm_a")) else ".weight"
            entries += text(name.encode()) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], 0, len(data))
            count = 1
            for extent in shape:
                count *= extent
            data += struct.pack("<f", 1.0) * count
            data += bytes(-len(data) % 32)
        header = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(pairs))
        header += b"".join(text(k.encode()) + value(v) for k, v in pairs.items()) + entries
        return header + bytes(-len(header) % 32) + data

    bpe = {"ggml.model": b"gpt2", "ggml.pre": b"qwen2", "ggml.tokens": [b"a", b"b", b"ab", b"<|im_end|>", b"<x>"],
           "ggml.token_type": [1, 1, 1, 3, 4], "ggml.merges": [b"a b"], "ggml.eos_token_id": 3,
           "ggml.add_bos_token": False, "chat_template": b"{{ x }}<|im_end|>"}
    pieces = {"ggml.model": b"llama", "ggml.tokens": [b"<unk>", b"<s>", b"a", b"b", b"ab"],
              "ggml.scores": [0.0, 0.0, -3.0, -2.0, -1.0], "ggml.token_type": [2, 3, 1, 1, 1], "ggml.bos_token_id": 1}
    delta = {"ssm.conv_kernel": 4, "ssm.state_size": 4, "ssm.group_count": 1, "ssm.time_step_rank": 2, "ssm.inner_size": 8}
    yield model(b"llama", {"rope.freq_base": 10000.0}, {"rope_freqs": [2], "blk.0.ffn_up.scale": [1]}, bpe)
    yield model(b"gemma3", {"attention.sliding_window": 8}, {}, {**pieces, "ggml.model": b"llama"})
    yield model(b"gemma4", {"attention.key_length": 4, "attention.sliding_window_pattern": [0], "attention.sliding_window": 4},
                {"rope_freqs": [2]}, {**pieces, "ggml.model": b"gemma4", "ggml.merges": [b"a b"]})
    yield model(b"qwen35", delta, {"blk.0.attn_qkv": [16, 8], "blk.0.attn_gate": [8, 8], "blk.0.ssm_conv1d": [16, 4],
                                   "blk.0.ssm_a": [2], "blk.0.ssm_dt.bias": [2], "blk.0.ssm_out": [8, 8]}, bpe)
    xielu = {f"xielu.{key}": [0.5] for key in ("alpha_p", "alpha_n", "beta", "eps")}
    yield model(b"apertus", {}, {}, bpe, xielu)
    latent = {"expert_count": 2, "expert_used_count": 1, "expert_feed_forward_length": 8, "attention.key_length": 6,
              "attention.value_length": 4, "attention.kv_lora_rank": 4, "rope.dimension_count": 2}
    yield model(b"deepseek2", latent, {"blk.0.attn_kv_a_mqa": [6, 8], "blk.0.attn_kv_b": [16, 4]}, bpe)
    yield model(b"lfm2", {"attention.head_count_kv": [1], "shortconv.l_cache": 3}, {}, bpe)


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
    # Columns in any order: groups of 48 and 16, and of the sizes that the order happens to have.
    for group, groups in ((48, 2), (-1, 2), (32, 4)):
        mixed = b"".join((i * 5 % 64 // 16 % groups).to_bytes(4, "little") for i in range(64))
        yield model({"quant_method": "gptq", "bits": 4, "group_size": group, "desc_act": True}, ("a.g_idx", "I32", 64),
                    ("a.qweight", "I32", 8, 32), ("a.scales", "F16", groups, 32), ("a.qzeros", "I32", groups, 4), data=mixed)
    for packing in ("auto_round", "auto_round:auto_gptq"):
        yield model({"quant_method": "auto-round", "bits": 4, "packing_format": packing}, ("a.qweight", "I32", 8, 32),
                    ("a.scales", "F16", 2, 32), ("a.qzeros", "I32", 2, 4))
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
    # Factors for each expert, for parts of an expert's rows, and for all.
    for factor in ((2,), (2, 2), (1,)):
        yield model({"quant_method": "modelopt"}, ("e.gate_up_proj", "U8", 2, 8, 32), ("e.gate_up_proj_weight_scale", "F8_E4M3", 2, 8, 4),
                    ("e.gate_up_proj_weight_scale_2", "F32", *factor), ("e.gate_up_proj_input_scale", "F32", 1))
    yield model({"quant_method": "modelopt"}, ("a.weight", "F8_E4M3", 16, 32), ("a.weight_scale", "F32", 2, 1, 2, 1),
                ("b.weight", "F8_E4M3", 16, 32), ("b.weight_scale_inv", "F32", 2, 2))
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


def predictions_inputs():
    """What predictions_fuzz takes as rows and as windows; files of predictions have checksums, which it does not guess."""
    yield struct.pack("<12I", 2, 0, 0, 2, 3, 5, 6, 7, 1, 0, 1, 2) + struct.pack("<2I", 8, 9)
    head = struct.pack("<d5i", 1.5, 0, 1, 2, 3, 4)
    kept = b"".join(struct.pack("<if", i, -i) for i in (0, 1, 2, 7, 9))
    yield head + struct.pack("<3d", 1.0, 0.25, -0.5) + kept
    yield head + struct.pack("<20f", *range(20))
    yield b"MLXMEVL1" + struct.pack("<Q", 2) + b"{}" + bytes(16)


def seeds_of(name):
    """Pairs of a name and the bytes."""
    if name == "predictions":
        yield from ((f"made-{i}", content) for i, content in enumerate(predictions_inputs()))
        return
    if name == "gguf":
        yield from ((f"made-{i}", content) for i, content in enumerate(gguf_inputs()))
        return
    if name == "gguf_import":
        yield from ((f"made-{i}", content) for i, content in enumerate(gguf_import_inputs()))
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
    parser.add_argument("name", choices=sorted([*SEEDS, "gguf", "gguf_import", "predictions", "sources", "tokenizer"]))
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

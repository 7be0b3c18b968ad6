#!/usr/bin/env python3
"""Time and peak memory of a conversion for every source format, on about 1 GB of weights each, beside cp of the same files,
mlx_lm.convert where it reads them, llama-quantize and the gguf package's decoder for GGUF.

Sources hold random codes with plausible scales. Each output is verified by `mlxmill verify`. Runs in build/venv
(tools/setup.sh --tests makes it). llama-quantize of llama.cpp is used when it is on PATH or told; it copies (COPY) what mlxmill
repacks, and writes Q4_0 where mlxmill quantizes to 4 bits.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "parity"))

import torch_writer
from make_model import SAMPLE, shape_of
from measure import measure, remove
from raw_safetensors import Tensor, write_file

GIGABYTE = 1_000_000_000
GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
              "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
HALF_AT = {"Q4_0": (0,), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,), "IQ4_XS": (0,)}


class Maker:
    """Random tensors of one shape of model."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def bytes_of(self, *shape):
        return self.generator.integers(0, 256, shape, dtype=np.uint8)

    def bf16(self, shape):
        values = self.generator.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        return Tensor("BF16", shape, (values.view(np.uint32) >> 16).astype("<u2").tobytes())

    def full(self, shape, value, dtype):
        if dtype == "BF16":
            bits = (np.full(shape, value, np.float32).view(np.uint32) >> 16).astype("<u2")
            return Tensor("BF16", shape, bits.tobytes())
        array = np.full(shape, value, {"F32": np.float32, "F16": np.float16, "U8": np.uint8}[dtype])
        return Tensor(dtype, shape, array.tobytes())

    def raw(self, dtype, width, shape):
        return Tensor(dtype, shape, self.bytes_of(int(np.prod(shape)) * width).tobytes())

    def fp8(self, path, out, columns):
        codes = self.bytes_of(out, columns) & 0xBF  # no NaN, nothing above 2
        yield path + ".weight", Tensor("F8_E4M3", (out, columns), codes.tobytes())
        yield path + ".weight_scale_inv", self.full((-(-out // 128), -(-columns // 128)), 0.01, "F32")

    def gptq(self, path, out, columns):
        yield path + ".qweight", self.raw("I32", 4, (columns // 8, out))
        yield path + ".qzeros", self.raw("I32", 4, (columns // 128, out // 8))
        yield path + ".scales", self.full((columns // 128, out), 0.003, "F16")

    def awq(self, path, out, columns):
        yield path + ".qweight", self.raw("I32", 4, (columns, out // 8))
        yield path + ".qzeros", self.raw("I32", 4, (columns // 128, out // 8))
        yield path + ".scales", self.full((columns // 128, out), 0.003, "F16")

    def int4(self, path, out, columns):
        yield path + ".weight_packed", self.raw("I32", 4, (out, columns // 8))
        yield path + ".weight_scale", self.full((out, columns // 32), 0.003, "BF16")

    def nvfp4(self, path, out, columns):
        yield path + ".weight", self.raw("U8", 1, (out, columns // 2))
        yield path + ".weight_scale", Tensor("F8_E4M3", (out, columns // 16), bytes([0x38]) * (out * columns // 16))
        yield path + ".weight_scale_2", self.full((), 0.01, "F32")

    def mxfp4(self, path, out, columns):
        yield path + ".weight_packed", self.raw("U8", 1, (out, columns // 2))
        yield path + ".weight_scale", self.full((out, columns // 32), 120, "U8")


PACKED = {"quant_method": "compressed-tensors"}
# name -> how modules are stored, quantization_config, bytes a weight, flags, whether mlx-lm reads it
FORMATS = {
    "safetensors BF16": (None, None, 2, ("-q",), True),
    "PyTorch BF16": (None, None, 2, ("-q",), False),
    "FP8 128x128": ("fp8", {"quant_method": "fp8", "weight_block_size": [128, 128]}, 1, ("-q",), False),
    "GPTQ 4-bit": ("gptq", {"quant_method": "gptq", "bits": 4, "group_size": 128}, 0.52, (), False),
    "AWQ 4-bit": ("awq", {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, 0.52, (), True),
    "compressed-tensors int4": ("int4", {**PACKED, "format": "pack-quantized", "config_groups": {
        "g": {"weights": {"num_bits": 4, "group_size": 32}}}}, 0.56, (), False),
    "compressed-tensors mxfp4": ("mxfp4", {**PACKED, "format": "mxfp4-pack-quantized"}, 0.53, (), False),
    "ModelOpt NVFP4": ("nvfp4", {"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.56, ("-q",), False),
    "GGUF BF16": ("BF16", None, 2, ("-q",), False),
    "GGUF Q4_0": ("Q4_0", None, 0.56, (), False),
    "GGUF Q8_0": ("Q8_0", None, 1.06, (), False),
    "GGUF Q4_K": ("Q4_K", None, 0.56, ("-q",), False),
    "GGUF Q6_K": ("Q6_K", None, 0.82, ("-q",), False),
    "GGUF IQ4_XS": ("IQ4_XS", None, 0.53, ("-q",), False),
    "MLX 8-bit to 4": ("mlx", None, 1.06, ("-q",), False),
}


def shapes(bytes_a_weight, target):
    """A llama with as many layers as make up the bytes."""
    config, one = shape_of("llama-1gb", 0)
    per_layer = sum(int(np.prod(s)) for n, s in one if n.startswith("model.layers.0."))
    config["num_hidden_layers"] = max(1, round((target - 2 * 2 * 32000 * 2048) / (per_layer * bytes_a_weight)))
    config["vocab_size"] = 32000
    from make_model import transformer
    return config, list(transformer(config, 32, 4, 64))


def write_gguf(path, config, kinds, kind, maker):
    import gguf
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(2048)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    quantized = getattr(gguf.GGMLQuantizationType, kind)
    elements, size = gguf.GGML_QUANT_SIZES[quantized]
    for name, shape in kinds:
        stem = name.removesuffix(".weight")
        if stem.startswith("model.layers."):
            _, _, layer, rest = stem.split(".", 3)
            to = f"blk.{layer}.{GGUF_NAMES[rest]}.weight"
        else:
            to = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}[stem] + ".weight"
        if len(shape) == 1:
            writer.add_tensor(to, np.ones(shape, np.float32))
            continue
        if kind == "BF16":
            blocks = np.frombuffer(maker.bf16(shape).data, np.uint8)
        else:
            blocks = maker.bytes_of(shape[0] * shape[1] // elements, size)
            for at in HALF_AT[kind]:
                blocks[:, at:at + 2] = np.full(len(blocks), 0.001, np.float16).view(np.uint8).reshape(-1, 2)
        writer.add_tensor(to, blocks.reshape(shape[0], -1), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(name, folder, arguments):
    """Writes the source. Returns the path to convert."""
    store, settings, bytes_a_weight, _, _ = FORMATS[name]
    config, kinds = shapes(bytes_a_weight, arguments.bytes)
    maker = Maker()
    folder.mkdir(parents=True)
    if name.startswith("GGUF"):
        write_gguf(folder / "model.gguf", config, kinds, store, maker)
        return folder / "model.gguf"
    if store == "mlx":
        plain = folder.parent / "plain"
        FORMATS["plain"] = (None, None, bytes_a_weight, (), False)
        make("plain", plain, arguments)
        shutil.rmtree(folder)
        subprocess.run([arguments.mlxmill, "convert", plain, "-o", folder, "-q", "--bits", "8", "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(plain)
        return folder
    if settings:
        config["quantization_config"] = settings
    if store in ("gptq", "awq"):
        config["torch_dtype"] = "float16"
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(SAMPLE / file, folder / file)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    tensors = {}
    for tensor_name, shape in kinds:
        if store and ("_proj." in tensor_name):
            tensors.update(getattr(maker, store)(tensor_name.removesuffix(".weight"), *shape))
        else:
            tensors[tensor_name] = maker.bf16(shape)
    if name == "PyTorch BF16":
        torch_writer.write_folder(folder, tensors, 1)
    else:
        write_file(folder / "model.safetensors", tensors, {"format": "pt"})
    return folder


def contenders(name, source, arguments):
    _, _, _, flags, in_mlx_lm = FORMATS[name]
    result = {"cp": ["cp", "-r", source, "OUT"], "mlxmill": [arguments.mlxmill, "convert", source, "-o", "OUT", "--quiet", *flags]}
    if in_mlx_lm:
        result["mlx-lm"] = [sys.executable, "-m", "mlx_lm", "convert", "--hf-path", source, "--mlx-path", "OUT", *flags]
    if name.startswith("GGUF") and arguments.llama_quantize:
        to = "Q4_0" if "-q" in flags else "COPY"
        result["llama-quantize " + to] = [arguments.llama_quantize, "--allow-requantize", source, "OUT", to]
    if name.startswith("GGUF"):
        code = ("import gguf, sys\n"
                "for t in gguf.GGUFReader(sys.argv[1]).tensors: gguf.quants.dequantize(t.data, t.tensor_type)")
        result["gguf package, decode only"] = [sys.executable, "-c", code, source]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mlxmill", type=Path, nargs="?", default=ROOT / "build" / "release" / "mlxmill")
    parser.add_argument("--output", type=Path, default=Path("/dev/shm"), help="where sources and outputs go")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=GIGABYTE, help="size of each source")
    parser.add_argument("--only", default="", help="formats whose name contains this")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--llama-quantize", default=shutil.which("llama-quantize"), help="llama.cpp's program; default: on PATH")
    arguments = parser.parse_args()
    arguments.mlxmill = arguments.mlxmill.resolve()
    work = arguments.output / "mlxmill-formats-bench"
    print("| source | GB | mlxmill s | x cp | peak MiB | peer s | peer peak MiB |")
    print("| --- " + "| ---: " * 6 + "|")
    failed = False
    for name in list(FORMATS):
        if arguments.only not in name:
            continue
        shutil.rmtree(work, ignore_errors=True)
        source = make(name, work / "source", arguments)
        size = sum(f.stat().st_size for f in (source.rglob("*") if source.is_dir() else [source]) if f.is_file())
        runs = {}
        for turn in range(arguments.runs):
            for who, command in contenders(name, source, arguments).items():
                peer = who not in ("cp", "mlxmill")
                if peer and (turn or arguments.no_peers):
                    continue
                out = work / "out"
                remove(out)
                result = measure([out if word == "OUT" else word for word in command])
                if result.status:
                    print(f"{name}, {who}: {result.output[-300:]}", file=sys.stderr)
                    failed = True
                    continue
                if who == "mlxmill" and turn == 0:
                    done = subprocess.run([arguments.mlxmill, "verify", out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    failed |= done.returncode != 0
                runs.setdefault(who, []).append(result)
        seconds = {who: statistics.median(r.seconds for r in results) for who, results in runs.items()}
        peak = {who: max(r.peak_bytes for r in results) >> 20 for who, results in runs.items()}
        peers = [who for who in runs if who not in ("cp", "mlxmill")]
        row = [name + (" -q" if "-q" in FORMATS[name][3] else ""), f"{size / 1e9:.2f}"]
        if "mlxmill" in seconds:
            row += [f"{seconds['mlxmill']:.2f}", f"{seconds['cp'] / seconds['mlxmill']:.2f}", str(peak["mlxmill"])]
        row += [", ".join(f"{who} {seconds[who]:.1f}" for who in peers), ", ".join(str(peak[who]) for who in peers)]
        print("| " + " | ".join(row) + " |", flush=True)
        FORMATS.pop("plain", None)
    shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Tiny models, one for each method of quantization and each value that a scale should not have; what mlxmill says of them.

usage: hostile_scales.py MLXMILL FOLDER. Prints a line for each: method, value, exit status, message.
"""
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SIZE = 128
CONFIG = {"model_type": "llama", "hidden_size": SIZE, "head_dim": SIZE, "num_attention_heads": 1, "num_key_value_heads": 1,
          "intermediate_size": SIZE, "num_hidden_layers": 1, "vocab_size": SIZE, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
          "tie_word_embeddings": True, "torch_dtype": "bfloat16", "max_position_embeddings": 64}
AT = "model.layers.0."
MODULES = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
           "mlp.down_proj"]
VALUES = {"NaN": float("nan"), "infinite": float("inf"), "negative": -0.5, "zero": 0.0}
# Bytes of types without a Python float; a missing one is a value that the type cannot hold.
E4M3 = {"NaN": 0x7F, "negative": 0xB0, "zero": 0}
E8M0 = {"NaN": 0xFF}


def bf16(value):
    return struct.pack("<f", value)[2:]


def filled(dtype, shape, name, value):
    """A tensor of ones (a half for codes), its first element the hostile value."""
    n = 1
    for extent in shape:
        n *= extent
    pack = {"F32": lambda v: struct.pack("<f", v), "F16": lambda v: struct.pack("<e", v), "BF16": bf16,
            "F8_E4M3": lambda v: bytes([E4M3[v] if isinstance(v, str) else 0x38]),
            "U8": lambda v: bytes([E8M0[v] if isinstance(v, str) else 0x7F])}[dtype]
    first = pack(value if dtype in ("F8_E4M3", "U8") else VALUES[value]) if value else pack(1.0)
    return name, dtype, shape, first + pack(1.0) * (n - 1)


def codes(name, dtype, shape, width):
    n = width
    for extent in shape:
        n *= extent
    return name, dtype, shape, b"\x22" * n


def method(config, *tensors, flags=()):
    return {"config": config, "tensors": tensors, "flags": flags}


def packed(bits, kind, form):
    return {"quant_method": "compressed-tensors", "format": form,
            "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind}}}}


# Each tensor: suffix, dtype, shape, width of codes, or None for scales; the last one is the hostile one.
NVFP4 = (("weight", "U8", [SIZE, SIZE // 2], 1),)
METHODS = {
    "fp8": method({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("weight", "F8_E4M3", [SIZE, SIZE], 1),
                  ("weight_scale_inv", "F32", [1, 1], None)),
    "mxfp8": method({"quant_method": "mxfp8"}, ("weight", "F8_E4M3", [SIZE, SIZE], 1), ("weight_scale_inv", "U8", [SIZE, SIZE // 32], None)),
    "gptq": method({"quant_method": "gptq", "bits": 4, "group_size": 32}, ("qweight", "I32", [SIZE // 8, SIZE], 4),
                   ("qzeros", "I32", [SIZE // 32, SIZE // 8], 4), ("scales", "F16", [SIZE // 32, SIZE], None)),
    "awq": method({"quant_method": "awq", "bits": 4, "group_size": 32}, ("qweight", "I32", [SIZE, SIZE // 8], 4),
                  ("qzeros", "I32", [SIZE // 32, SIZE // 8], 4), ("scales", "F16", [SIZE // 32, SIZE], None)),
    "compressed-tensors int4": method(packed(4, "int", "pack-quantized"), ("weight_packed", "I32", [SIZE, SIZE // 8], 4),
                                      ("weight_scale", "BF16", [SIZE, SIZE // 32], None)),
    "compressed-tensors int8": method(packed(8, "int", "int-quantized"), ("weight", "I8", [SIZE, SIZE], 1),
                                      ("weight_scale", "BF16", [SIZE, 1], None)),
    "compressed-tensors float8": method(packed(8, "float", "float-quantized"), ("weight", "F8_E4M3", [SIZE, SIZE], 1),
                                        ("weight_scale", "BF16", [SIZE, 1], None)),
    "compressed-tensors nvfp4": method(packed(4, "float", "nvfp4-pack-quantized"), ("weight_packed", "U8", [SIZE, SIZE // 2], 1),
                                       ("weight_scale", "F8_E4M3", [SIZE, SIZE // 16], None)),
    "compressed-tensors nvfp4, divisor": method(
        packed(4, "float", "nvfp4-pack-quantized"), ("weight_packed", "U8", [SIZE, SIZE // 2], 1),
        ("weight_scale", "F8_E4M3", [SIZE, SIZE // 16], 1), ("weight_global_scale", "F32", [1], None)),
    "compressed-tensors mxfp4": method(packed(4, "float", "mxfp4-pack-quantized"), ("weight_packed", "U8", [SIZE, SIZE // 2], 1),
                                       ("weight_scale", "U8", [SIZE, SIZE // 32], None)),
    "modelopt fp8": method({"quant_method": "modelopt", "quant_algo": "FP8"}, ("weight", "F8_E4M3", [SIZE, SIZE], 1),
                           ("weight_scale", "F32", [], None)),
    "modelopt nvfp4": method({"quant_method": "modelopt", "quant_algo": "NVFP4"}, *NVFP4,
                             ("weight_scale_2", "F32", [], 4), ("weight_scale", "F8_E4M3", [SIZE, SIZE // 16], None)),
    "modelopt nvfp4, factor": method({"quant_method": "modelopt", "quant_algo": "NVFP4"}, *NVFP4,
                                     ("weight_scale", "F8_E4M3", [SIZE, SIZE // 16], 1), ("weight_scale_2", "F32", [], None)),
    "bitnet": method({"quant_method": "bitnet"}, ("weight", "U8", [SIZE // 4, SIZE], 1), ("weight_scale", "BF16", [1], None),
                     flags=("-q", "--q-bits", "2", "--q-group-size", "128")),
}


def write(folder, of, value):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": of["config"]}))
    tensors = [filled("BF16", [SIZE, SIZE], "model.embed_tokens.weight", None)]
    tensors += [filled("BF16", [SIZE], name, None) for name in ("model.norm.weight", AT + "input_layernorm.weight",
                                                                AT + "post_attention_layernorm.weight")]
    for module in MODULES:
        hostile = module == MODULES[0]
        for suffix, dtype, shape, width in of["tensors"]:
            name = f"{AT}{module}.{suffix}"
            tensors.append(codes(name, dtype, shape, width) if width else filled(dtype, shape, name, value if hostile else None))
    header, data = {}, b""
    for name, dtype, shape, content in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    program, work = sys.argv[1], Path(sys.argv[2])
    for name, of in METHODS.items():
        dtype = of["tensors"][-1][1]
        values = {"F8_E4M3": E4M3, "U8": E8M0}.get(dtype, VALUES)
        for value in values:
            source, out = work / "source", work / "out"
            write(source, of, value)
            done = subprocess.run([program, "convert", str(source), "-o", str(out), *of["flags"]], capture_output=True, text=True)
            lines = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
            kept = "; ".join(lines) or "converted"
            assert (done.returncode == 0) == out.exists(), (name, value)
            print(f"{name}, {value}: {done.returncode} {kept}")
            shutil.rmtree(source)
            shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()

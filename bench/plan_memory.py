#!/usr/bin/env python3
"""What a tensor costs `mlxmill convert` in memory: peaks on checkpoints of small modules that differ in the number of
tensors alone, and the peak on a mixture of experts with as many tensors as the largest published models.

A module of 4-bit GPTQ or AWQ is three tensors of the source and three of the output.
"""
import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path

from measure import measure

SIZE = 64
LIMIT_BYTES = 2432  # For each tensor of the source, with what is made of it.
LIMIT_PEAK = 300 << 20  # Of any conversion, DeepSeek V3's number of tensors included.
DENSE = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
NORMS = ("input_layernorm", "post_attention_layernorm")


def weight(name, coding):
    """The tensors of a SIZE x SIZE projection: name, dtype, shape."""
    if coding is None:
        return [(f"{name}.weight", "BF16", [SIZE, SIZE])]
    packed_columns = coding == "awq"
    codes = [SIZE, SIZE // 8] if packed_columns else [SIZE // 8, SIZE]
    return [(f"{name}.qweight", "I32", codes), (f"{name}.qzeros", "I32", [1, SIZE // 8]), (f"{name}.scales", "F16", [1, SIZE])]


def config_of(model_type, coding, layers):
    config = {"model_type": model_type, "hidden_size": SIZE, "intermediate_size": SIZE, "num_hidden_layers": layers,
              "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": SIZE // 2, "rms_norm_eps": 1e-5,
              "vocab_size": SIZE, "rope_theta": 10000.0, "max_position_embeddings": 512, "tie_word_embeddings": True,
              "torch_dtype": "bfloat16" if coding is None else "float16"}
    if coding == "gptq":
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": SIZE, "desc_act": False,
                                         "checkpoint_format": "gptq"}
    elif coding == "awq":
        config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": SIZE, "zero_point": True,
                                         "version": "gemm", "modules_to_not_convert": ["gate"]}
    return config


def write_checkpoint(folder, config, tensors):
    """Zeros, as a sparse file. Returns how many tensors there are."""
    header, offset = {}, 0
    for name, dtype, shape in tensors:
        size = 4 if dtype == "I32" else 2
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return len(header)


def ends(coding):
    float_type = "BF16" if coding is None else "F16"
    return [("model.embed_tokens.weight", float_type, [SIZE, SIZE]), ("model.norm.weight", float_type, [SIZE])]


def dense(folder, coding, layers):
    float_type = "BF16" if coding is None else "F16"
    tensors = ends(coding)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ATTENTION + DENSE:
            tensors += weight(at + name, coding)
        tensors += [(f"{at}{name}.weight", float_type, [SIZE]) for name in NORMS]
    return write_checkpoint(folder, config_of("llama", coding, layers), tensors)


def experts(folder, coding, layers, n_experts=256):
    float_type = "BF16" if coding is None else "F16"
    config = config_of("qwen3_moe", coding, layers)
    config.update({"num_experts": n_experts, "num_experts_per_tok": 8, "moe_intermediate_size": SIZE,
                   "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True})
    tensors = ends(coding)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ATTENTION:
            tensors += weight(at + name, coding)
        for expert in range(n_experts):
            for name in DENSE:
                tensors += weight(at + name.replace("mlp.", f"mlp.experts.{expert}."), coding)
        tensors += [(f"{at}{name}.weight", float_type, [SIZE]) for name in NORMS]
        tensors += [(f"{at}self_attn.{name}.weight", float_type, [SIZE // 2]) for name in ("q_norm", "k_norm")]
        tensors.append((f"{at}mlp.gate.weight", float_type, [n_experts, SIZE]))
    return write_checkpoint(folder, config, tensors)


def peak_of(program, source, flags):
    output = source.with_name(source.name + "-out")
    run = measure([program, "convert", source, "-o", output, "--quiet", "--threads", "1", *flags])
    if run.status != 0:
        sys.exit(run.output)
    return run.peak_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("--only", help="cases whose name holds this")
    arguments = parser.parse_args()
    program = arguments.mlxmill.resolve()
    failed = False
    growing = (("llama, GPTQ", dense, "gptq", (143, 715), []), ("llama, BF16 -q", dense, None, (200, 1000), ["-q"]))
    largest = (("256 experts in 60 layers, AWQ", experts, "awq", 60, []),
               ("256 experts in 60 layers, AWQ --dry-run", experts, "awq", 60, ["--dry-run"]),
               ("256 experts in 60 layers, BF16 -q", experts, None, 60, ["-q"]))
    with tempfile.TemporaryDirectory(prefix="mlxmill-plan-memory-") as name:
        folder = Path(name)
        for number, (title, make, coding, sizes, flags) in enumerate(growing):
            if arguments.only and arguments.only not in title:
                continue
            found = []
            for layers in sizes:
                source = folder / f"{number}-{layers}"
                found.append((make(source, coding, layers), peak_of(program, source, flags)))
            (few, low), (many, high) = found
            each = (high - low) / (many - few)
            failed |= each > LIMIT_BYTES
            print(f"{title}: {low / (1 << 20):.1f} MiB for {few} tensors, {high / (1 << 20):.1f} for {many}: {each:.0f} bytes "
                  f"for each tensor of the source; at most {LIMIT_BYTES}", flush=True)
        for number, (title, make, coding, layers, flags) in enumerate(largest):
            if arguments.only and arguments.only not in title:
                continue
            source = folder / f"largest-{number}"
            tensors = make(source, coding, layers)
            peak = peak_of(program, source, flags)
            failed |= peak > LIMIT_PEAK
            print(f"{title}: {peak / (1 << 20):.1f} MiB for {tensors} tensors; at most {LIMIT_PEAK >> 20}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

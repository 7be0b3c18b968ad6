#!/usr/bin/env python3
"""What a tensor costs `mlxmill convert` in memory: peaks on GPTQ checkpoints of 1,001 and 5,005 small modules, which differ
in the number of tensors alone. A module of 4-bit GPTQ is three tensors of the source and three of the output.
"""
import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path

from measure import measure

SIZE = 64
LIMIT_BYTES = 2816  # For each tensor of the source, with what is made of it.
PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
               "mlp.up_proj", "mlp.down_proj")


def make_checkpoint(folder, layers):
    """A llama of zeros. Returns how many tensors it has."""
    config = {"model_type": "llama", "hidden_size": SIZE, "intermediate_size": SIZE, "num_hidden_layers": layers,
              "num_attention_heads": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": SIZE,
              "tie_word_embeddings": True, "torch_dtype": "float16",
              "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": SIZE, "desc_act": False,
                                      "checkpoint_format": "gptq"}}
    tensors = {"model.embed_tokens.weight": ("F16", [SIZE, SIZE]), "model.norm.weight": ("F16", [SIZE])}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in PROJECTIONS:
            tensors[f"{at}{name}.qweight"] = ("I32", [SIZE // 8, SIZE])
            tensors[f"{at}{name}.qzeros"] = ("I32", [1, SIZE // 8])
            tensors[f"{at}{name}.scales"] = ("F16", [1, SIZE])
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{name}.weight"] = ("F16", [SIZE])
    header, offset = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = offset + (2 if dtype == "F16" else 4) * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return len(tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    arguments = parser.parse_args()
    program = arguments.mlxmill.resolve()
    found = []
    with tempfile.TemporaryDirectory(prefix="mlxmill-plan-memory-") as name:
        for layers in (143, 715):
            source = Path(name) / str(layers)
            tensors = make_checkpoint(source, layers)
            run = measure([program, "convert", source, "-o", Path(name) / f"out-{layers}", "--quiet", "--threads", "1"])
            if run.status != 0:
                print(run.output)
                return 1
            found.append((tensors, run.peak_bytes))
            print(f"{tensors:6} tensors: {run.peak_bytes / (1 << 20):.1f} MiB")
    (few, low), (many, high) = found
    each = (high - low) / (many - few)
    print(f"{each:.0f} bytes for each tensor of the source; at most {LIMIT_BYTES}")
    return 0 if each <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())

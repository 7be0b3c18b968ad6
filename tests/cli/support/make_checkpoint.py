"""Makes a llama checkpoint of seeded random bf16 weights in three shards, with a small model's tokenizer.

    make_checkpoint.py SMALL_MODEL OUTPUT
"""
import json
import pathlib
import random
import shutil
import struct
import sys

HIDDEN, LAYERS, HEADS, MLP, VOCABULARY, SHARDS = 1024, 5, 8, 2816, 24000, 3
# High bytes of bf16 whose exponent is far from all ones: finite, and of a weight's size.
FINITE = bytes((b & 0x80) | 0x3C | (b & 0x03) if (b & 0x7F) != 0 else b for b in range(256))


def shapes():
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    for layer in range(LAYERS):
        path = f"model.layers.{layer}."
        for name in "qkvo":
            yield f"{path}self_attn.{name}_proj.weight", [HIDDEN, HIDDEN]
        yield path + "mlp.gate_proj.weight", [MLP, HIDDEN]
        yield path + "mlp.up_proj.weight", [MLP, HIDDEN]
        yield path + "mlp.down_proj.weight", [HIDDEN, MLP]
        yield path + "input_layernorm.weight", [HIDDEN]
        yield path + "post_attention_layernorm.weight", [HIDDEN]
    yield "model.norm.weight", [HIDDEN]


def count(shape):
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def weights(generator, shape):
    data = bytearray(generator.randbytes(2 * count(shape)))
    data[1::2] = data[1::2].translate(FINITE)
    return data


def write_shard(path, tensors, generator):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        end = offset + 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors:
            file.write(weights(generator, shape))
    return offset


def main():
    small, output = map(pathlib.Path, sys.argv[1:])
    output.mkdir(parents=True)
    for path in small.glob("*.json"):
        shutil.copy(path, output)
    config = json.loads((small / "config.json").read_text())
    config.update(hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                  num_key_value_heads=HEADS, head_dim=HIDDEN // HEADS, intermediate_size=MLP,
                  vocab_size=VOCABULARY)
    (output / "config.json").write_text(json.dumps(config, indent=2))
    generator, everything = random.Random(1), list(shapes())
    index, total = {}, 0
    for shard in range(SHARDS):
        tensors = everything[shard * len(everything) // SHARDS:(shard + 1) * len(everything) // SHARDS]
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        total += write_shard(output / name, tensors, generator)
        index.update({tensor: name for tensor, _ in tensors})
    (output / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2))


main()

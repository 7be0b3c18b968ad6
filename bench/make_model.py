#!/usr/bin/env python3
"""Writes a synthetic checkpoint in Hugging Face layout, a tensor at a time.

Shapes of real models filled with seeded random weights (needs numpy) or, with --sparse, with a hole in the file: the
weights read as zeros and take no disk, which is enough to measure memory.
"""
import argparse
import json
import shutil
import struct
import sys
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent.parent / "models" / "sample-llama"
SHARD_BYTES = 5_000_000_000
INDEX = "model.safetensors.index.json"


def transformer(config, heads, kv_heads, head_dim, biases=False, experts=0, moe_mlp=0):
    """Tensor shapes of the llama, qwen2 and qwen3_moe layout."""
    hidden, mlp, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            yield f"{at}self_attn.{name}_proj.weight", (rows * head_dim, hidden)
            if biases:
                yield f"{at}self_attn.{name}_proj.bias", (rows * head_dim,)
        yield at + "self_attn.o_proj.weight", (hidden, heads * head_dim)
        yield at + "post_attention_layernorm.weight", (hidden,)
        if experts:
            yield at + "self_attn.q_norm.weight", (head_dim,)
            yield at + "self_attn.k_norm.weight", (head_dim,)
            yield at + "mlp.gate.weight", (experts, hidden)
        blocks = [(f"mlp.experts.{i}.", moe_mlp) for i in range(experts)] or [("mlp.", mlp)]
        for block, width in blocks:
            yield f"{at}{block}gate_proj.weight", (width, hidden)
            yield f"{at}{block}up_proj.weight", (width, hidden)
            yield f"{at}{block}down_proj.weight", (hidden, width)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)


def gpt2(config):
    """GPT-2 stores its linear layers transposed (Conv1D)."""
    width = config["n_embd"]
    yield "wte.weight", (config["vocab_size"], width)
    yield "wpe.weight", (config["n_positions"], width)
    for layer in range(config["n_layer"]):
        at = f"h.{layer}."
        for norm in ("ln_1", "ln_2"):
            yield f"{at}{norm}.weight", (width,)
            yield f"{at}{norm}.bias", (width,)
        for name, shape in (("attn.c_attn", (width, 3 * width)), ("attn.c_proj", (width, width)),
                            ("mlp.c_fc", (width, 4 * width)), ("mlp.c_proj", (4 * width, width))):
            yield f"{at}{name}.weight", shape
            yield f"{at}{name}.bias", shape[1:]
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)


def common(model_type, hidden, mlp, layers, heads, kv_heads, vocabulary, tied, **more):
    return {"architectures": ["x"], "model_type": model_type, "hidden_size": hidden, "intermediate_size": mlp,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
            "vocab_size": vocabulary, "tie_word_embeddings": tied, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
            "max_position_embeddings": 32768, "torch_dtype": "bfloat16", "hidden_act": "silu", **more}


def shape_of(name, experts):
    """(config, tensor shapes in file order) of a model by name."""
    if name == "qwen2.5-0.5b":
        config = common("qwen2", 896, 4864, 24, 14, 2, 151936, True)
        return config, transformer(config, 14, 2, 64, biases=True)
    if name == "llama-1gb":
        config = common("llama", 2048, 5632, 8, 32, 4, 32000, False)
        return config, transformer(config, 32, 4, 64)
    if name == "llama-16gb":
        config = common("llama", 4096, 14336, 32, 32, 8, 128256, False)
        return config, transformer(config, 32, 8, 128)
    if name == "embedding-2gb":
        config = common("llama", 4096, 4096, 1, 32, 8, 262144, True)
        return config, transformer(config, 32, 8, 128)
    if name == "experts":
        config = common("qwen3_moe", 1024, 2048, 1, 16, 4, 32000, False, num_experts=experts, head_dim=64,
                        num_experts_per_tok=8, moe_intermediate_size=512, decoder_sparse_step=1,
                        norm_topk_prob=True, mlp_only_layers=[])
        return config, transformer(config, 16, 4, 64, experts=experts, moe_mlp=512)
    if name == "gpt2-wide":
        config = {"architectures": ["x"], "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024,
                  "n_ctx": 1024, "n_embd": 4096, "n_layer": 2, "n_head": 32, "layer_norm_epsilon": 1e-05,
                  "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
        return config, gpt2(config)
    raise SystemExit(f"unknown shape {name}")


SHAPES = ("qwen2.5-0.5b", "llama-1gb", "llama-16gb", "embedding-2gb", "experts", "gpt2-wide")


def shards(shapes, shard_bytes):
    """Cuts the list of (name, shape) into files of at most `shard_bytes`."""
    result, size = [[]], 0
    for name, shape in shapes:
        count = 2
        for extent in shape:
            count *= extent
        if result[-1] and size + count > shard_bytes:
            result.append([])
            size = 0
        result[-1].append((name, shape, count))
        size += count
    return result


def write_random(file, size, generator):
    """bfloat16 normals of standard deviation 0.02, in blocks of 16 MiB."""
    import numpy
    while size > 0:
        count = min(size // 2, 8 << 20)
        values = generator.standard_normal(count, dtype=numpy.float32) * numpy.float32(0.02)
        bits = values.view(numpy.uint32)
        # Round to nearest, ties to even: what a checkpoint that was trained and saved holds.
        file.write(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes())
        size -= 2 * count


def write_shard(path, tensors, generator):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, size in tensors:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if generator is None:
            file.truncate(8 + len(text) + offset)
        else:
            for _, _, size in tensors:
                write_random(file, size, generator)


def make_model(folder, name, sparse, experts=512, seed=0, shard_bytes=SHARD_BYTES):
    """Writes the checkpoint and returns the bytes of its weights."""
    config, shapes = shape_of(name, experts)
    generator = None
    if not sparse:
        import numpy
        generator = numpy.random.default_rng(seed)
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(SAMPLE / file, folder / file)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    files = shards(shapes, shard_bytes)
    weight_map, total = {}, 0
    for i, tensors in enumerate(files):
        file = "model.safetensors" if len(files) == 1 else f"model-{i + 1:05d}-of-{len(files):05d}.safetensors"
        write_shard(folder / file, tensors, generator)
        weight_map.update((tensor, file) for tensor, _, _ in tensors)
        total += sum(size for _, _, size in tensors)
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to make")
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b")
    parser.add_argument("--sparse", action="store_true", help="a hole instead of random weights")
    parser.add_argument("--experts", type=int, default=512, help="experts of --shape experts")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.folder.exists():
        print(f"{arguments.folder} exists already", file=sys.stderr)
        return 1
    total = make_model(arguments.folder, arguments.shape, arguments.sparse, arguments.experts, arguments.seed)
    print(f"{arguments.folder}: {total / 1e9:.2f} GB of weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())

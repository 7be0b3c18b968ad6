"""The sample model in every GGUF type, converted: what MLX holds exactly must be exact, the rest decoded exactly.

    gguf_convert_test.py MLXMILL SAMPLE
"""
import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

import formats
from oracle import as_array, logits_of, mlxmill, mx
from raw_safetensors import Tensor, read_file, read_folder

LAYERS = 2
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
KEPT = {Type.Q4_0: 4, Type.Q4_1: 4, Type.Q5_0: 5, Type.Q5_1: 5, Type.Q8_0: 8}
DECODED = [Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL, Type.IQ4_XS, Type.IQ2_XXS, Type.IQ3_S, Type.IQ1_M,
           Type.TQ1_0, Type.TQ2_0]
PLAIN = [Type.F32, Type.F16, Type.BF16]
# As MLX has them: mode, bits and group size.
SAME = {Type.MXFP4: ("mxfp4", 4, 32), Type.NVFP4: ("nvfp4", 4, 16)}
# Files with several types, as llama-quantize makes them: the type of most tensors, and of some.
MIXED = {
    "Q4_K_M": (Type.Q4_K, {"token_embd": Type.Q6_K, "attn_v": Type.Q6_K, "ffn_down": Type.Q6_K}),
    "Q4_0 with Q6_K": (Type.Q4_0, {"token_embd": Type.Q6_K}),
    "Q8_0 and BF16": (Type.Q8_0, {"attn_q": Type.BF16, "ffn_up": Type.F16}),
}
FACTORS = "NVFP4 with factors"


def type_of(kind, name):
    """The type of a tensor of two axes."""
    if kind == FACTORS:
        return Type.NVFP4
    if kind not in MIXED:
        return kind
    most, some = MIXED[kind]
    return some.get(name.split(".")[-2], most)


def permute(weight, heads):
    """As llama.cpp's converter orders the rows of q and k."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def blocks_of(weight, kind, generator):
    """The weight in blocks where the package can quantize; else valid blocks of small random numbers."""
    if kind in KEPT or kind in PLAIN or kind == Type.MXFP4:
        return gguf.quants.quantize(weight, kind)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (weight.size // elements, size), dtype=np.uint8)
    # Factors of super-blocks are float16 somewhere in the block: all of them small and finite.
    halves = {Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,), Type.TQ1_0: (52,),
              Type.TQ2_0: (64,)}.get(kind, (0,))
    for at in halves if kind != Type.NVFP4 else ():
        blocks[:, at:at + 2] = np.full(len(blocks), 0.0001, np.float16).view(np.uint8).reshape(-1, 2)
    if kind == Type.NVFP4:  # four scales, small ones
        blocks[:, :4] = generator.integers(1, 0x28, (len(blocks), 4), dtype=np.uint8)
        return blocks.reshape(weight.shape[0], -1)
    if kind == Type.IQ1_M:  # spread over the upper nibbles of four words
        words = blocks[:, 48:56].copy().view("<u2") & 0x0FFF
        bits = int(np.array(0.0001, np.float16).view(np.uint16))
        for i in range(4):
            words[:, i] |= ((bits >> (4 * i)) & 15) << 12
        blocks[:, 48:56] = words.view(np.uint8)
    return blocks.reshape(weight.shape[0], -1)


def write(path, sample, kind):
    """Returns what each Hugging Face weight must be, as float32."""
    tensors, _ = read_file(sample / "model.safetensors")
    config = json.loads((sample / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    tokens = json.loads((sample / "tokenizer.json").read_text())
    vocabulary = sorted(tokens["model"]["vocab"], key=tokens["model"]["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([1] * len(vocabulary))
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokens["model"]["merges"]])
    generator = np.random.default_rng(1)
    expected, types = {}, {}

    def put(hf_name, name, heads=None):
        tensor = tensors[hf_name]
        weight = formats.from_bf16(tensor.data, tensor.shape)
        if weight.ndim == 1:
            writer.add_tensor(name, weight.copy())
            expected[hf_name] = weight
            return
        own = type_of(kind, name)
        stored = blocks_of(permute(weight, heads) if heads else weight, own, generator)
        plain = own in PLAIN
        writer.add_tensor(name, stored, raw_shape=None if plain and own != Type.BF16 else stored.shape, raw_dtype=own)
        values = gguf.quants.dequantize(stored, own).reshape(weight.shape)
        if kind == FACTORS and "attn" in name:
            factor = np.array([0.37], dtype=np.float32)
            writer.add_tensor(name.replace(".weight", ".scale"), factor)
            values = values * factor
        types[hf_name] = Type.Q6_K if kind == FACTORS and "attn" in name else own
        if heads:
            values = values.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        expected[hf_name] = values

    put("model.embed_tokens.weight", "token_embd.weight")
    put("model.norm.weight", "output_norm.weight")
    for layer in range(LAYERS):
        for hf_name, name in NAMES.items():
            heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}.get(name)
            put(f"model.layers.{layer}.{hf_name}.weight", f"blk.{layer}.{name}.weight", heads)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected, types


def decoded(out, name, kind):
    """What the module stands for, in float32 arithmetic."""
    path = name[:-len(".weight")]
    if kind in SAME:
        mode, bits, group = SAME[kind]
        codes, scales = as_array(out[name]), as_array(out[f"{path}.scales"])
        return np.array(mx.dequantize(codes, scales, group_size=group, bits=bits, mode=mode, dtype=mx.float32))
    scales, biases = (as_array(out[f"{path}.{part}"]).astype(mx.float32) for part in ("scales", "biases"))
    return np.array(mx.dequantize(as_array(out[name]), scales, biases, 32, KEPT[kind]))


def check(program, sample, work, kind):
    source = work / "model.gguf"
    expected, types = write(source, sample, kind)
    for name, flags in (("kept", ()), ("four", ("-q", "--q-group-size", "32"))):
        result = mlxmill(program, source, work / name, flags)
        if result.returncode:
            return f"exit status {result.returncode}: {result.stderr.strip()[-300:]}"
        # Of the sample most weights are in the embedding.
        if kind == "Q4_K_M" and "nearest to most of them: -q --q-bits 6 --q-group-size 32" not in result.stderr:
            return f"it does not say that weights are decoded: {result.stderr.strip()[-300:]}"
    out, _ = read_folder(work / "kept")
    half = "BF16" if kind == Type.BF16 else "F16"
    to_half = formats.to_bf16 if half == "BF16" else lambda v: v.astype(np.float16)
    for name, values in expected.items():
        own = types.get(name)
        if own in KEPT or own in SAME:
            if out[name].dtype != "U32" or not np.array_equal(decoded(out, name, own), values):
                return f"{name}: not the same numbers"
        elif out[name].data != to_half(values).tobytes():
            return f"{name}: not the decoded weights in {half}"
    four, _ = read_folder(work / "four")
    for name, values in expected.items():
        if types.get(name) not in DECODED:
            continue
        weight = mx.array(values).astype(mx.bfloat16 if half == "BF16" else mx.float16)
        codes = mx.quantize(weight, 32, 4)[0]
        if four[name].data != np.array(codes).tobytes():
            return f"{name}: not what mx.quantize makes of the decoded weights"
    try:
        return None if logits_of(work / "kept")[1] else "logits are not finite"
    except Exception as error:
        return f"does not load in mlx-lm: {type(error).__name__}: {error}"


def main():
    program, sample = Path(sys.argv[1]), Path(sys.argv[2])
    failed = 0
    kinds = [*KEPT, *SAME, *PLAIN, *DECODED, *MIXED, FACTORS]
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="mlxmill-gguf-") as folder:
            problem = check(program, sample, Path(folder), kind)
        failed += problem is not None
        print(f"  {getattr(kind, 'name', kind):18} {'differs: ' + problem if problem else 'exact'}", flush=True)
    print(f"\n{len(kinds)} types: {len(kinds) - failed} exact, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

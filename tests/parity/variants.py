"""Checkpoints as people publish them: each variant changes one thing of a checkpoint that both programs can read."""
import json
import random
import shutil
import struct
from pathlib import Path

from raw_safetensors import Tensor, read_file, write_file

INDEX = "model.safetensors.index.json"


class Checkpoint:
    """A copy of a checkpoint in memory, to be changed and written."""

    def __init__(self, folder):
        self.tensors, _ = read_file(folder / "model.safetensors")
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.files = {p.name: p.read_bytes() for p in folder.iterdir()
                      if p.name not in ("config.json", "model.safetensors", "ref.npz")}
        self.config_text = None
        self.shards = 1
        self.index = False

    def write(self, folder):
        folder.mkdir(parents=True)
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        text = self.config_text or json.dumps(self.config, indent=2, ensure_ascii=False)
        (folder / "config.json").write_text(text, encoding="utf-8")
        if self.shards == 1 and not self.index:
            write_file(folder / "model.safetensors", self.tensors, {"format": "pt"})
            return
        weight_map = {}
        # Round robin, so that what belongs together (experts, the parts of a layer) lies apart.
        for shard in range(self.shards):
            name = f"model-{shard + 1:05d}-of-{self.shards:05d}.safetensors"
            part = dict(list(self.tensors.items())[shard::self.shards])
            write_file(folder / name, part, {"format": "pt"})
            weight_map.update(dict.fromkeys(part, name))
        if self.index:
            total = sum(len(tensor.data) for tensor in self.tensors.values())
            (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}),
                                        encoding="utf-8")


# --- Dtypes: only exact conversions are made here, so nothing depends on how this file rounds. ---

def bf16_to_f32(data):
    words = struct.unpack(f"<{len(data) // 2}H", data)
    return struct.pack(f"<{len(words)}I", *(word << 16 for word in words))


def f32_to_f16(data):
    values = struct.unpack(f"<{len(data) // 4}f", data)
    return struct.pack(f"<{len(values)}e", *(max(-65504.0, min(65504.0, value)) for value in values))


def convert_all(checkpoint, dtype):
    for name, tensor in checkpoint.tensors.items():
        if tensor.dtype == "BF16":
            data = bf16_to_f32(tensor.data)
            checkpoint.tensors[name] = Tensor(dtype, tensor.shape, f32_to_f16(data) if dtype == "F16" else data)


def f32_noise(checkpoint):
    """Fills the low mantissa bits, so that rounding to 16 bits has something to round."""
    generator = random.Random(1)
    for name, tensor in checkpoint.tensors.items():
        if tensor.dtype == "F32":
            words = struct.unpack(f"<{len(tensor.data) // 4}I", tensor.data)
            noisy = (word | generator.getrandbits(16) for word in words)
            checkpoint.tensors[name] = Tensor("F32", tensor.shape, struct.pack(f"<{len(words)}I", *noisy))


# --- Variants: name, checkpoint it starts from, what it does, whether it is the weights that differ. ---

VARIANTS = []


def variant(base, weights=False):
    def register(function):
        VARIANTS.append((function.__name__.replace("_", " "), base, function, weights))
        return function
    return register


@variant("llama", weights=True)
def two_shards_with_index(c):
    c.shards, c.index = 2, True


@variant("qwen3_moe", weights=True)
def three_shards_with_index_experts_apart(c):
    c.shards, c.index = 3, True


@variant("gpt2")
def two_shards_without_index(c):
    c.shards = 2


@variant("llama")
def one_shard_with_index(c):
    c.index = True


@variant("llama", weights=True)
def f32_source_f32_config(c):
    convert_all(c, "F32")
    f32_noise(c)
    c.config["torch_dtype"] = "float32"


@variant("gpt2", weights=True)
def f32_source_bf16_config(c):
    convert_all(c, "F32")
    f32_noise(c)


@variant("qwen3_moe", weights=True)
def f32_source_f16_config(c):
    convert_all(c, "F32")
    f32_noise(c)
    c.config["torch_dtype"] = "float16"


@variant("gemma3_text", weights=True)
def f16_source_bf16_config(c):
    convert_all(c, "F16")


@variant("qwen2", weights=True)
def f16_source_without_dtype(c):
    convert_all(c, "F16")
    del c.config["torch_dtype"]


@variant("llama", weights=True)
def mixed_dtypes_without_torch_dtype(c):
    for i, (name, tensor) in enumerate(list(c.tensors.items())):
        if i % 3 == 0:
            c.tensors[name] = Tensor("F32", tensor.shape, bf16_to_f32(tensor.data))
    del c.config["torch_dtype"]


@variant("llama", weights=True)
def dtype_key_of_transformers_5(c):
    convert_all(c, "F32")
    c.config["dtype"] = c.config.pop("torch_dtype")


@variant("llama")
def unusual_torch_dtype(c):
    c.config["torch_dtype"] = "float8_e4m3fn"


@variant("llama")
def without_tie_word_embeddings(c):
    c.config.pop("tie_word_embeddings", None)


@variant("qwen2_untied")
def without_tie_word_embeddings_qwen2(c):
    c.config.pop("tie_word_embeddings", None)


@variant("qwen3")
def without_tie_word_embeddings_qwen3(c):
    c.config["tie_word_embeddings"] = bool(c.config.get("tie_word_embeddings", False))


@variant("llama_tied_bias")
def redundant_lm_head_when_tied(c):
    c.tensors["lm_head.weight"] = c.tensors["model.embed_tokens.weight"]


@variant("qwen2")
def redundant_lm_head_when_tied_qwen2(c):
    c.tensors["lm_head.weight"] = c.tensors["model.embed_tokens.weight"]


@variant("llama")
def rotary_buffers(c):
    for layer in range(c.config["num_hidden_layers"]):
        c.tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = Tensor("F32", (16,), bytes(64))


@variant("gpt2")
def attention_mask_buffers(c):
    for layer in range(c.config["n_layer"]):
        c.tensors[f"h.{layer}.attn.bias"] = Tensor("F32", (1, 1, 64, 64), bytes(4 * 64 * 64))


@variant("llama")
def eos_list_in_generation_config(c):
    c.files["generation_config.json"] = b'{"bos_token_id": 1, "eos_token_id": [2, 5, 7], "do_sample": true}'


@variant("llama")
def eos_zero_in_generation_config(c):
    c.files["generation_config.json"] = b'{"eos_token_id": 0}'


@variant("llama")
def broken_generation_config(c):
    c.files["generation_config.json"] = b'{"eos_token_id": 3,'


@variant("llama")
def name_or_path_and_vision_config(c):
    c.config["_name_or_path"] = "someone/something"
    c.config["vision_config"] = {"hidden_size": 3}


@variant("llama")
def unknown_keys(c):
    c.config.update({"zeta": [1, [2, {"b": None, "a": True}], []], "Alpha": {}, "_private": "x",
                     "auto_map": {"AutoConfig": "configuration_x.X"}, "": "an empty key"})


@variant("llama")
def non_ascii_strings(c):
    c.config.update({"name": "Größe \u2028 日本語 😀 \"\\/\b\f\n\r\t\u0000\u007f", "ключ": "é", "z\u0301": "\ud7ff"})


@variant("llama")
def odd_numbers(c):
    text = json.dumps(c.config, indent=2)
    extra = ('"big": 123456789012345678901234567890, "negative_zero": -0.0, "minus_zero": -0, "tiny": 1e-06, '
             '"small": 5e-324, "large": 1e22, "larger": 1E+16, "sum": 0.30000000000000004, "ten": 10000.0, '
             '"limit": 9223372036854775808, "low": -9223372036854775809, "third": 0.3333333333333333, '
             '"round": 1e15, "switch": 0.0001, "under": 0.00001, "precise": 1.7976931348623157e308, ')
    c.config_text = text.replace("{", "{" + extra, 1)


@variant("llama")
def infinities(c):
    text = json.dumps(c.config, indent=2)
    c.config_text = text.replace(
        "{", '{"over": 1e400, "under": -1e999, "plain": Infinity, "deep": {"a": [-Infinity, 1.5]}, ', 1)


@variant("llama")
def escaped_config_text(c):
    text = json.dumps(c.config)
    c.config_text = text.replace("{", '{"\\u0061\\u00e9": "\\ud83d\\ude00 \\/", ', 1)


@variant("llama")
def python_files_and_templates(c):
    c.files["modeling_x.py"] = "# não é executado\n".encode()
    c.files["chat_template.jinja"] = "{{ messages }}\r\n".encode()


def tiny_llama(folder, base, hidden, mlp, heads, head_dim):
    """A llama of any width, with the tokenizer of another checkpoint."""
    generator = random.Random(hidden)
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("ref.npz", "model.safetensors", "config.json"))
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    vocabulary, layers = config["vocab_size"], 2
    config.update(hidden_size=hidden, intermediate_size=mlp, num_attention_heads=heads, num_key_value_heads=heads,
                  head_dim=head_dim, num_hidden_layers=layers)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    width = heads * head_dim
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,),
              "lm_head.weight": (vocabulary, hidden)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        shapes.update({
            at + "input_layernorm.weight": (hidden,), at + "post_attention_layernorm.weight": (hidden,),
            at + "self_attn.q_proj.weight": (width, hidden), at + "self_attn.k_proj.weight": (width, hidden),
            at + "self_attn.v_proj.weight": (width, hidden), at + "self_attn.o_proj.weight": (hidden, width),
            at + "mlp.gate_proj.weight": (mlp, hidden), at + "mlp.up_proj.weight": (mlp, hidden),
            at + "mlp.down_proj.weight": (hidden, mlp)})
    tensors = {}
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        # bfloat16 of about +-0.1: sign, exponent 0x7A..0x7D, any mantissa.
        words = [generator.getrandbits(1) << 15 | generator.randrange(0x3D00, 0x3DFF) for _ in range(count)]
        tensors[name] = Tensor("BF16", shape, struct.pack(f"<{count}H", *words))
    write_file(folder / "model.safetensors", tensors, {"format": "pt"})


# name -> hidden, mlp, heads, head_dim. Rows that no group divides stay as they are.
WIDTHS = {
    "rows of 96": (96, 160, 3, 32),
    "rows of 80, mlp of 128": (80, 128, 4, 16),
    "rows of 64, mlp of 96": (64, 96, 2, 32),
    "rows of 48": (48, 48, 3, 16),
}


def make_all(checkpoints, work):
    """Writes every variant below `work`. Returns (label, folder, whether its weights are what differs) of each."""
    result = []
    for name, base, change, weights in VARIANTS:
        checkpoint = Checkpoint(checkpoints / base)
        change(checkpoint)
        folder = work / name.replace(" ", "_")
        checkpoint.write(folder)
        result.append((f"{base}: {name}", folder, weights))
    for name, widths in WIDTHS.items():
        folder = work / name.replace(" ", "_").replace(",", "")
        tiny_llama(folder, checkpoints / "llama", *widths)
        result.append((f"llama: {name}", folder, True))
    return result

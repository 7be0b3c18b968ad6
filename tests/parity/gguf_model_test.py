"""GGUF files of tiny models, written as llama.cpp's converter does, against stock mlx-lm on the original checkpoint.

    gguf_model_test.py ORACLE CHECKPOINTS [--convert MLXMILL] [--only NAME...]

For every architecture: the checkpoint's tensors under the names of the gguf package, with the converter's changes to
values and with its metadata. ORACLE must give back the tensors that mlx-lm's own sanitize makes of the original, every
number equal, and a config.json from which mlx-lm reads the same arguments. MLXMILL must make folders of the same files
that stock mlx-lm loads and runs, with the same weights where nothing is quantized.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import gguf_hybrids
import mlx.core as mx
import numpy as np
from gguf_cases import CASES, MADE
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes, load_config, load_model

BF16, F16 = gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.F16

# Names that MLX's modules have where the checkpoint of the model had others.
BACK = [("model.wte", "wte"), ("model.wpe", "wpe"), ("model.ln_f", "ln_f"), ("model.h.", "h."),
        (".switch_mlp.gate_proj", ".experts.gate_proj"),
        (".switch_mlp.up_proj", ".experts.up_proj"), (".switch_mlp.down_proj", ".experts.down_proj"),
        ("block_sparse_moe.experts.gate_proj", "block_sparse_moe.experts.w1"),
        ("block_sparse_moe.experts.up_proj", "block_sparse_moe.experts.w3"),
        ("block_sparse_moe.experts.down_proj", "block_sparse_moe.experts.w2")]


def numbers(array):
    return np.array(array.astype(mx.float32))


def unfused(weights):
    """gpt-oss with experts [E, out, in], gate and up apart: mlx-lm's sanitize knows packed ones only."""
    out = {}
    for name, value in weights.items():
        stem, is_expert, last = name.rpartition(".experts.")
        if not is_expert:
            out[name] = value
            continue
        kind = ".bias" if last.endswith("_bias") else ".weight"
        value = value if kind == ".bias" else value.swapaxes(-1, -2)
        if last.startswith("down_proj"):
            out[f"{stem}.experts.down_proj{kind}"] = value
        else:
            out[f"{stem}.experts.gate_proj{kind}"] = value[:, ::2]
            out[f"{stem}.experts.up_proj{kind}"] = value[:, 1::2]
    return out


def original(folder, name):
    """config.json and mlx-lm's weights of a checkpoint: what its sanitize makes of the files."""
    if name in MADE:
        config = MADE[name]
        model_class, args_class = _get_classes(config)
        model = model_class(args_class.from_dict(config))
        mx.random.seed(7)
        weights = {k: (mx.random.normal(v.shape) * 0.3 + 0.1).astype(mx.bfloat16)
                   for k, v in tree_flatten(model.parameters())}
        return config, weights
    config = json.loads((folder / name / "config.json").read_text())
    weights = {}
    for file in sorted((folder / name).glob("*.safetensors")):
        weights.update(mx.load(str(file)))
    if name == "gpt_oss":
        # Experts come as MXFP4: blocks of 32 numbers, low nibble first.
        for key in [k for k in weights if k.endswith("_blocks")]:
            stem = key.removesuffix("_blocks")
            codes, scales = weights.pop(key), weights.pop(stem + "_scales")
            dense = mx.dequantize(codes.view(mx.uint32).flatten(-2), scales, group_size=32, bits=4, mode="mxfp4")
            weights[stem] = dense.astype(mx.bfloat16).swapaxes(-1, -2)
        config.pop("quantization_config")
    model_class, args_class = _get_classes(config)
    if name == "gpt_oss":
        return config, unfused(weights)
    model = model_class(args_class.from_dict(config))
    if hasattr(model, "sanitize"):
        weights = model.sanitize(weights)
    if name == "gemma3n":  # the converter adds rows of zeros
        key = "model.language_model.embed_tokens_per_layer.weight"
        text = config["text_config"]
        weights[key] = mx.pad(weights[key], ((0, text["vocab_size"] - weights[key].shape[0]), (0, 0)))
        text["vocab_size_per_layer_input"] = text["vocab_size"]
    if name == "gemma4_e":
        weights = {k.removeprefix("language_model."): v for k, v in weights.items()}
        config = config["text_config"]
    return config, weights


def permuted(weights, n_heads):
    """Rows as llama.cpp's RoPE wants them."""
    return (weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, *weights.shape[1:])
            .swapaxes(1, 2).reshape(weights.shape))


def layers_of(config):
    return config.get("num_hidden_layers") or config.get("num_layers") or config["n_layer"]


def gguf_tensors(arch, config, weights):
    """Name and numbers of every tensor of the file."""
    if arch in gguf_hybrids.ARCHS:
        return gguf_hybrids.tensors(arch, config, {k: numbers(v) for k, v in weights.items()})
    arch_id = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch)
    names = gguf.get_tensor_name_map(arch_id, layers_of(config))
    heads = config.get("num_attention_heads") or config["n_head"]
    kv = config.get("num_key_value_heads", heads)
    out = {}
    for name, value in weights.items():
        value = numbers(value)
        if name.endswith("embed_q.weight"):  # [heads, rank, nope]
            out[name.replace("model.layers", "blk").replace("self_attn.embed_q", "attn_k_b")] = value
            continue
        if name.endswith("unembed_out.weight"):
            out[name.replace("model.layers", "blk").replace("self_attn.unembed_out", "attn_v_b")] = value
            continue
        if name.endswith("kv_b_proj.weight") and config["model_type"] == "deepseek_v2":
            stem = name.replace("model.layers", "blk").replace("self_attn.kv_b_proj.weight", "")
            rows = value.reshape(heads, -1, value.shape[-1])
            nope = config["qk_nope_head_dim"]
            out[stem + "attn_k_b.weight"] = rows[:, :nope].swapaxes(1, 2)
            out[stem + "attn_v_b.weight"] = rows[:, nope:]
            continue
        if name.endswith("attention.wqkv.weight"):
            rows = value.reshape(kv, -1, config["hidden_size"] // heads, value.shape[-1])
            stem = name.replace("model.layers", "blk").replace("attention.wqkv.weight", "attn_")
            for part, some in zip("qkv", (rows[:, :-2], rows[:, -2], rows[:, -1])):
                out[f"{stem}{part}.weight"] = some.reshape(-1, value.shape[-1])
            continue
        for ours, theirs in BACK:
            name = name.replace(ours, theirs)
        if "_layernorm.norms." in name:
            stem, _, head = name.removesuffix(".weight").rpartition(".norms.")
            name = stem + ".weight"
            out.setdefault(("stack", name), {})[int(head)] = value
            continue
        name = name.replace("e_score_correction_bias", "e_score_correction.bias")
        if arch == "gpt-oss":
            name = name.replace("self_attn.sinks", "self_attn.sinks.weight")
        mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise SystemExit(f"{arch}: the gguf package has no name for {name} {value.shape}")
        out[mapped] = value
    for key in [k for k in out if isinstance(k, tuple)]:
        stacked = out.pop(key)
        name = names.get_name(key[1], try_suffixes=(".weight", ".bias"))
        out[name] = np.stack([stacked[i] for i in range(len(stacked))])
    if arch in ("llama", "granite", "granitemoe", "smollm3", "mistral3", "internlm2"):
        for name in out:
            if ".attn_q." in name:
                out[name] = permuted(out[name], heads)
            if ".attn_k." in name:
                out[name] = permuted(out[name], kv)
    if arch in ("gemma", "gemma2", "gemma3", "nemotron"):
        out = {k: v + np.float32(1) if k.endswith("norm.weight") else v for k, v in out.items()}
    return out


def as_others_write(variant, out, config):
    """The same tensors in other forms that files have."""
    if variant == "and a layer more":  # which predicts several tokens at once
        config["nextn"] = 1
        for part in ("attn_q", "nextn.eh_proj"):
            out[f"blk.{config['num_hidden_layers']}.{part}.weight"] = np.ones((8, 8), dtype=np.float32)
    for name in list(out):
        stem = name.rpartition(".ffn_")[0]
        if variant == "expert by expert" and "_exps." in name:
            for e, part in enumerate(out.pop(name)):
                out[name.replace("_exps.weight", f".{e}.weight")] = part
        if variant == "gate of one axis" and name.endswith("ffn_gate_inp_shexp.weight"):
            out[name] = out[name].reshape(-1)
        if variant == "gate and up in one" and name.endswith("ffn_gate_exps.weight"):
            both = [out.pop(f"{stem}.ffn_{p}_exps.weight") for p in ("gate", "up")]
            out[f"{stem}.ffn_gate_up_exps.weight"] = np.concatenate(both, axis=1)
        if variant == "q, k and v in one" and ".attn_q." in name:
            parts = [out.pop(name.replace("attn_q", f"attn_{p}")) for p in "qkv"]
            out[name.replace("attn_q", "attn_qkv")] = np.concatenate(parts)
        if variant == "k and v in one" and name.endswith("attn_k_b.weight"):
            k, v = out.pop(name).swapaxes(1, 2), out.pop(name.replace("attn_k_b", "attn_v_b"))
            both = np.concatenate([k, v], axis=1)
            out[name.replace("attn_k_b", "attn_kv_b")] = both.reshape(-1, both.shape[-1])


def llama3_factors(config):
    """As the converter computes them, in F32."""
    scaling = config["rope_scaling"]
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    freqs = (1.0 / (np.float32(config["rope_theta"]) ** (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim))))
    old = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    result = []
    for freq in freqs:
        wave = 2 * math.pi / float(freq)
        if wave < old / high:
            result.append(1)
        elif wave > old / low:
            result.append(scaling["factor"])
        else:
            smooth = (old / wave - low) / (high - low)
            result.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(result, dtype=np.float32)


def write_experts(writer, arch, config):
    get = config.get
    experts = get("num_local_experts") or get("num_experts") or get("n_routed_experts") or get("moe_num_experts")
    if experts and arch != "gemma4":
        writer.add_expert_count(experts)
        writer.add_expert_used_count(get("num_experts_per_tok") or config["moe_k"])
    if get("moe_num_experts"):
        writer.add_leading_dense_block_count(config["moe_layer_start_index"])
        writer.add_interleave_moe_layer_step(config["moe_layer_interval"])
    if get("moe_intermediate_size") and arch != "qwen3moe":  # old files lack it
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if get("shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if arch == "nemotron_h_moe":
        writer.add_expert_shared_count(config["n_shared_experts"])
        writer.add_expert_weights_scale(config["routed_scaling_factor"])
        writer.add_expert_weights_norm(config["norm_topk_prob"])
        writer.add_expert_group_count(config["n_group"])
    elif get("n_shared_experts") and arch != "deepseek":
        writer.add_expert_shared_count(config["n_shared_experts"])
        writer.add_leading_dense_block_count(config["first_k_dense_replace"])
        writer.add_expert_weights_scale(config["routed_scaling_factor"])
        writer.add_expert_weights_norm(config["norm_topk_prob"])
        writer.add_expert_group_count(config["n_group"])
        writer.add_expert_group_used_count(config["topk_group"])
        sigmoid = config.get("scoring_func") == "sigmoid" or arch in ("glm4moe", "dots1")
        writer.add_expert_gating_func(
            gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)


def write_scaling(writer, config):
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if "llama_4_scaling_beta" in scaling:
        writer.add_rope_freq_base(scaling["rope_theta"])
        writer.add_attn_temperature_scale(scaling["llama_4_scaling_beta"])
        writer.add_rope_scaling_yarn_log_mul(scaling["mscale_all_dim"])
    kind = scaling.get("rope_type") or scaling.get("type")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(scaling["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        if scaling.get("mscale_all_dim") and "llama_4_scaling_beta" not in scaling:
            writer.add_rope_scaling_yarn_log_mul(0.1 * scaling["mscale_all_dim"])


def write_metadata(writer, arch, config, name, weights):
    config = gguf_hybrids.flat(config)
    get = config.get
    heads = get("num_attention_heads") or get("n_head", 0)
    hidden = get("hidden_size") or config["n_embd"]
    head_dim = get("head_dim") or hidden // max(heads, 1)
    writer.add_block_count(layers_of(config) + get("nextn", 0))
    if get("nextn"):
        writer.add_nextn_predict_layers(config["nextn"])
    writer.add_context_length(get("max_position_embeddings") or get("n_ctx", 2**20))
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(get("intermediate_size") or 4 * hidden)
    writer.add_head_count(heads)
    if arch not in ("gpt2",):
        writer.add_head_count_kv(1 if arch == "deepseek2" else get("num_key_value_heads", heads))
    for key in ("rms_norm_eps",):
        if get(key):
            writer.add_layer_norm_rms_eps(config[key])
    if arch == "exaone":
        writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    for key in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"):
        if get(key) and arch != "exaone":
            writer.add_layer_norm_eps(config[key])
    if get("rope_theta") and (name != "qwen2" or config["rope_theta"] != 10000.0):  # old files leave that out
        writer.add_rope_freq_base(config["rope_theta"])
    if arch == "deepseek2":
        writer.add_key_length(config["kv_lora_rank"] + config["qk_rope_head_dim"])
        writer.add_value_length(config["kv_lora_rank"])
        writer.add_key_length_mla(config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
        writer.add_value_length_mla(config["v_head_dim"])
        writer.add_kv_lora_rank(config["kv_lora_rank"])
        if get("q_lora_rank"):
            writer.add_q_lora_rank(config["q_lora_rank"])
        writer.add_rope_dimension_count(config["qk_rope_head_dim"])
    elif arch not in ("gpt2", "phi3", "phi2"):
        if get("head_dim"):
            writer.add_key_length(head_dim)
            writer.add_value_length(head_dim)
        writer.add_rope_dimension_count(get("rotary_dim") or int(head_dim * get("partial_rotary_factor", 1.0)))
    elif arch != "gpt2":
        writer.add_rope_dimension_count(int(head_dim * get("partial_rotary_factor", 1.0)))
    write_experts(writer, arch, config)
    if get("sliding_window") is not None or arch in ("gemma2",):
        writer.add_sliding_window(get("sliding_window") or 4096)
    elif arch == "phi3":
        writer.add_sliding_window(0)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if get("logit_scale") is not None:
        writer.add_logit_scale(config["logit_scale"])
    if get("logits_scaling"):
        writer.add_logit_scale(config["logits_scaling"])
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
    if arch == "stablelm":
        writer.add_parallel_residual(config["use_parallel_residual"])
    write_scaling(writer, config)
    if arch == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
    writer.add_tokenizer_model("none")
    gguf_hybrids.metadata(writer, arch, config, weights)


def write_gguf(path, arch, name, config, tensors, weights):
    writer = gguf.GGUFWriter(path, arch)
    write_metadata(writer, arch, config, name, weights)
    config = gguf_hybrids.flat(config)
    scaling = config.get("rope_scaling") or {}
    extra = {}
    if scaling.get("rope_type") == "llama3":
        extra["rope_freqs.weight"] = llama3_factors(config)
    if arch == "gemma4":
        full = config["global_head_dim"] // 2
        turned = int(full * config["rope_parameters"]["full_attention"]["partial_rotary_factor"])
        extra["rope_freqs.weight"] = np.array([1.0] * turned + [1e30] * (full - turned), dtype=np.float32)
    for part in ("long", "short"):
        if f"{part}_factor" in scaling:
            extra[f"rope_factors_{part}.weight"] = np.array(scaling[f"{part}_factor"], dtype=np.float32)
    for key, value in {**extra, **tensors}.items():
        value = np.ascontiguousarray(value, dtype=np.float32)
        if value.ndim < 2 or not key.endswith(".weight") or key.endswith("_norm.weight"):
            writer.add_tensor(key, value)
        else:
            kind = F16 if config.get("torch_dtype") == "float16" else BF16
            writer.add_tensor(key, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def imported(folder):
    report = json.loads((folder / "tensors.json").read_text())
    data = (folder / "tensors.bin").read_bytes()
    out = {}
    for t in report["tensors"]:
        n = int(np.prod(t["shape"]))
        if t["dtype"] == "F32":
            value = np.frombuffer(data, np.float32, n, t["offset"])
        elif t["dtype"] == "BF16":
            value = (np.frombuffer(data, np.uint16, n, t["offset"]).astype(np.uint32) << 16).view(np.float32)
        else:
            value = np.frombuffer(data, np.float16, n, t["offset"]).astype(np.float32)
        out[t["name"]] = value.reshape(t["shape"])
    return out


def same(a, b):
    """Numbers of a config: a GGUF file holds them as F32."""
    if isinstance(a, dict) and isinstance(b, dict):
        # type and rope_type are two names of one key.
        return all(same(a.get(k), b.get(k)) for k in {*a, *b} - {"type", "rope_type"}) and (
            (a.get("rope_type") or a.get("type")) == (b.get("rope_type") or b.get("type")))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return np.float32(a) == np.float32(b) and (a == b or len(repr(b)) <= len(repr(a)))
    return a == b


def same_numbers(key, got, expected, dtype):
    if key.endswith("A_log"):  # the logarithm of what was an exponential in F32
        expected = numbers(expected.astype(dtype))
        return got.shape == expected.shape and np.allclose(got, expected, rtol=2**-8 if dtype == mx.bfloat16 else 1e-6,
                                                           atol=1e-6)
    return np.array_equal(got, numbers(expected))


def converted(mlxmill, file, weights, flags):
    """What is wrong with the folder that the program makes of the file."""
    out = file.parent / ("out" + "".join(flags))
    run = subprocess.run([mlxmill, "convert", file, "-o", out, *flags], capture_output=True, text=True)
    if run.returncode:
        return [f"convert {flags}: {run.stderr.strip()}"]
    model, _ = load_model(out)
    got = dict(tree_flatten(model.parameters()))
    if not flags:
        other = [k for k in {*got} ^ {*weights}]
        other += [k for k in {*got} & {*weights} if not same_numbers(k, numbers(got[k]), weights[k], got[k].dtype)]
        if other:
            return [f"convert: {len(other)} weights differ, such as {other[0]}"]
    model.set_dtype(mx.float32)  # MLX on a CPU multiplies by experts in float32 only.
    if not mx.all(mx.isfinite(model(mx.array([[1, 5, 9, 20, 7]])))):
        return [f"convert {flags}: the output is not finite"]
    return []


def arguments_of(config):
    args = _get_classes(config)[1].from_dict(config)
    text = getattr(args, "text_config", None)
    if isinstance(text, dict):
        module = sys.modules[type(args).__module__]
        kind = getattr(module, "TextConfig", None) or sys.modules["mlx_lm.models.qwen3_5"].TextModelArgs
        return kind.from_dict({k: v for k, v in text.items()})
    return text or args


def check(oracle, mlxmill, folder, name, arch, allowed):
    problems = []
    name, _, variant = name.partition(" ")
    config, weights = original(folder, name)
    tensors = gguf_tensors(arch, config, weights)
    as_others_write(variant, tensors, config)
    with tempfile.TemporaryDirectory() as temp:
        temp = Path(temp)
        write_gguf(temp / "model.gguf", arch, name, config, tensors, weights)
        run = subprocess.run([oracle, temp / "model.gguf", temp], capture_output=True, text=True)
        if run.returncode:
            return [run.stderr.strip()], 0
        got = imported(temp)
        got_config = load_config(temp)
        # mlx-lm's llama4_text multiplies by its embedding as if it were never quantized.
        for flags in ([], ["-q"])[:1 if name == "llama4_text" else 2] if mlxmill else ():
            problems += converted(mlxmill, temp / "model.gguf", weights, flags)
    for key in sorted({*weights} - {*got}):
        problems.append(f"{key} is missing")
    for key in sorted({*got} - {*weights}):
        problems.append(f"{key} is new")
    for key in {*got} & {*weights}:
        expected = numbers(weights[key])
        if got[key].shape != expected.shape:
            problems.append(f"{key} is {got[key].shape}; expected {expected.shape}")
        elif not same_numbers(key, got[key], weights[key], mx.float32):
            problems.append(f"{key} has {np.sum(got[key] != expected)} other numbers")
    args, got_args = arguments_of(config), arguments_of(got_config)
    for field in dataclasses.fields(args):
        a, b = getattr(args, field.name), getattr(got_args, field.name)
        if field.name == "head_dim" and a is None:
            a = config["hidden_size"] // config["num_attention_heads"]
        if field.name not in allowed and not same(a, b):
            problems.append(f"argument {field.name} is {b!r}; expected {a!r}")
    return problems, len(got)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("oracle")
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--convert", metavar="MLXMILL")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    failed, n_tensors, n_models = 0, 0, 0
    for name, (arch, allowed) in CASES.items():
        if arguments.only and name not in arguments.only:
            continue
        base = name.partition(" ")[0]
        if base not in MADE and not (arguments.checkpoints / base / "config.json").exists():
            print(f"{name}: SKIPPED, there is no such checkpoint")
            continue
        problems, n = check(arguments.oracle, arguments.convert, arguments.checkpoints, name, arch, allowed)
        n_tensors += n
        n_models += 1
        print(f"{name} ({arch}): {'ok, ' + str(n) + ' tensors' if not problems else 'FAILED'}")
        for problem in problems[:8]:
            print("    " + problem)
        failed += bool(problems)
    print(f"{n_models} models, {n_tensors} tensors, {failed} failed")
    return 77 if n_models == 0 else 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

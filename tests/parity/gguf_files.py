"""Files as llama.cpp's converter writes them: names and values of tensors, metadata, from a config and MLX's weights."""

import math

import gguf
import gguf_hybrids
import mlx.core as mx
import numpy as np

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
        if arch == "starcoder":
            name = name.removeprefix("transformer.")
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
        writer.add_expert_used_count(get("num_experts_per_tok") or get("moe_k") or config["moe_topk"])
    if arch == "hunyuan-moe":
        writer.add_expert_shared_feed_forward_length(config["intermediate_size"])
        writer.add_expert_shared_count(config["num_shared_expert"])
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
    if arch == "starcoder":
        writer.add_head_count_kv(1)
    elif arch != "gpt2":
        writer.add_head_count_kv(1 if arch in ("deepseek2", "glm-dsa") else get("num_key_value_heads", heads))
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
    if arch == "glm-dsa":
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
        writer.add_indexer_head_count(config["index_n_heads"])
        writer.add_indexer_key_length(config["index_head_dim"])
        writer.add_indexer_top_k(config["index_topk"])
    if arch in ("deepseek2", "glm-dsa"):
        writer.add_key_length(config["kv_lora_rank"] + config["qk_rope_head_dim"])
        writer.add_value_length(config["kv_lora_rank"])
        writer.add_key_length_mla(config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
        writer.add_value_length_mla(config["v_head_dim"])
        writer.add_kv_lora_rank(config["kv_lora_rank"])
        if get("q_lora_rank"):
            writer.add_q_lora_rank(config["q_lora_rank"])
        writer.add_rope_dimension_count(config["qk_rope_head_dim"])
    elif arch not in ("gpt2", "starcoder", "phi3", "phi2", "phimoe"):
        if get("head_dim"):
            writer.add_key_length(head_dim)
            writer.add_value_length(head_dim)
        writer.add_rope_dimension_count(get("rotary_dim") or int(head_dim * get("partial_rotary_factor", 1.0)))
    elif arch not in ("gpt2", "starcoder"):
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
    if arch in ("phi3", "phimoe"):
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

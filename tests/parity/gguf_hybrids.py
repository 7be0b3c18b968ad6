"""GGUF tensors and metadata of architectures whose tensors llama.cpp's converter changes in more than their names.

tensors(arch, config, weights): by names of the file, from MLX's weights. metadata(writer, arch, config) adds the keys
that gguf_model_test.py does not write for every architecture.
"""

import re

import gguf
import numpy as np

SSM = ("granitehybrid", "nemotron_h", "nemotron_h_moe", "mamba2", "falcon-h1")
ARCHS = ("qwen3next", "qwen35", "qwen35moe", "lfm2", "lfm2moe", "mamba", "gptneox", "minicpm", "minicpm3", "apertus",
         "bailingmoe", "bailingmoe2", "deepseek", "llama4", "gemma3n", "gemma4", *SSM)
PAIRED = ("granitehybrid", "nemotron_h", "nemotron_h_moe", "minicpm", "bailingmoe", "deepseek")

# MLX's names back to those of the checkpoint.
TO_CHECKPOINT = [
    (r"^language_model\.", ""), (r"^model\.language_model\.", "model."),
    (r"switch_mlp\.fc1", "experts.up_proj"), (r"switch_mlp\.fc2", "experts.down_proj"),
    (r"\.switch_mlp\.", ".experts."), (r"experts\.switch_glu\.", "experts."),
    (r"^model\.h\.", "gpt_neox.layers."), (r"^model\.(embed_in|final_layer_norm)", r"gpt_neox.\1"),
    (r"^model\.embed_out", "embed_out"), (r"gate\.gate_proj", "gate"), (r"\.dt_bias$", ".dt_proj.bias"),
    (r"e_score_correction_bias", "e_score_correction.bias"), (r"expert_bias", "expert_bias.bias"),
    (r"correct_output_scale$", "correct_output_scale.weight"), (r"layer_scalar$", "layer_scalar.weight"),
]


def paired(rows, n_heads):
    return (rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:]).swapaxes(1, 2)
            .reshape(rows.shape))


def flat(config):
    return config.get("text_config") or config


def repeats_first(value, k_heads, axis, head_dim):
    """Heads of v from those of each head of k together to one for each head of k, again and again."""
    shape = value.shape
    value = value.reshape(*shape[:axis], k_heads, -1, head_dim, *shape[axis + 1:])
    return np.ascontiguousarray(value.swapaxes(axis, axis + 1)).reshape(shape)


def qwen3next(name, value, c):
    if not name.endswith("in_proj_qkvz.weight"):
        return {name: value}
    k, dk, dv = c["linear_num_key_heads"], c["linear_key_head_dim"], c["linear_value_head_dim"]
    rows = value.reshape(k, -1, value.shape[-1])
    width = c["linear_num_value_heads"] // k * dv
    parts = np.split(rows, [dk, 2 * dk, 2 * dk + width], axis=1)
    layer = int(re.search(r"layers\.(\d+)\.", name)[1])
    flat_parts = [p.reshape(-1, value.shape[-1]) for p in parts]
    return {f"blk.{layer}.attn_qkv.weight": np.concatenate(flat_parts[:3]), f"blk.{layer}.attn_gate.weight": flat_parts[3]}


def qwen35(name, value, c):
    k, dk, dv = c["linear_num_key_heads"], c["linear_key_head_dim"], c["linear_value_head_dim"]
    if "linear_attn." not in name or name.endswith(".norm.weight"):
        return {name: value}
    if "in_proj_qkv." in name or "conv1d" in name:
        keys, values = np.split(value, [2 * k * dk])
        value = np.concatenate([keys, repeats_first(values, k, 0, dv)])
    elif "in_proj_z." in name:
        value = repeats_first(value, k, 0, dv)
    elif "out_proj." in name:
        value = repeats_first(value, k, 1, dv)
    else:
        value = repeats_first(value, k, 0, 1)
    return {name: value}


def gptneox(name, value, c):
    if "query_key_value" in name:
        heads = c["num_attention_heads"]
        value = value.reshape(heads, 3, -1, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
    return {name: value}


def bailingmoe(name, value, c):
    if not name.endswith("query_key_value.weight"):
        return {name: value}
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    dim = value.shape[0] // (heads + 2 * kv)
    q, k, v = np.split(value, [heads * dim, (heads + kv) * dim])
    stem = name.replace("model.layers", "blk").replace("attention.query_key_value", "attn_")
    return {stem.replace("attn_", "attn_q"): paired(q, heads), stem.replace("attn_", "attn_k"): paired(k, kv),
            stem.replace("attn_", "attn_v"): v}


def granitehybrid(name, value, c):
    if name.endswith("shared_mlp.input_linear.weight"):
        stem = name.replace("model.layers", "blk").replace("shared_mlp.input_linear", "ffn_{}_shexp")
        gate, up = np.split(value, 2)
        return {stem.format("gate"): gate, stem.format("up"): up}
    return {name.replace("block_sparse_moe.experts.", "mlp.experts.")
            .replace("router.layer", "router.layer"): value}


def gemma4(name, value, c):
    stem = name.replace("model.layers", "blk")
    if name.endswith("router.scale"):
        return {stem.replace("router.scale", "ffn_gate_inp.scale"): value}
    if name.endswith("per_expert_scale"):
        return {stem.replace("router.per_expert_scale", "ffn_down_exps.scale"): value}
    return {name: value}


def changed(arch, name, value, c):
    """The checkpoint's name and numbers as the converter writes them: one tensor or several."""
    if name.endswith("A_log"):
        value = -np.exp(value)
    if name.endswith(("conv1d.weight", "conv.conv.weight")):
        value = value[..., 0]
    if arch in SSM and name.endswith(("A_log", ".D")):
        value = value.reshape(-1, 1)
    if arch in SSM and name.endswith(("mixer.norm.weight", "mamba.norm.weight")):
        value = value.reshape(c.get("n_groups") or c["mamba_n_groups"], -1)
    if arch in PAIRED and name.endswith(("q_proj.weight", "q_proj.bias")):
        value = paired(value, c["num_attention_heads"])
    if arch in PAIRED and name.endswith(("k_proj.weight", "k_proj.bias")):
        value = paired(value, c["num_key_value_heads"])
    special = {"qwen3next": qwen3next, "qwen35": qwen35, "qwen35moe": qwen35, "gptneox": gptneox, "gemma4": gemma4,
               "bailingmoe": bailingmoe, "granitehybrid": granitehybrid}.get(arch)
    return special(name, value, c) if special else {name: value}


def direct(arch, name):
    """Names that the package has under another checkpoint's only."""
    stem = re.sub(r"^(model|backbone)\.layers\.", "blk.", name)
    table = {
        "nemotron_h_moe": [("mixer.experts.up_proj", "ffn_up_exps"), ("mixer.experts.down_proj", "ffn_down_exps"),
                           ("mixer.gate.e_score_correction.bias", "exp_probs_b.bias")],
        "granitehybrid": [("mlp.experts.gate_proj", "ffn_gate_exps"), ("mlp.experts.up_proj", "ffn_up_exps"),
                          ("mlp.experts.down_proj", "ffn_down_exps"),
                          ("shared_mlp.output_linear", "ffn_down_shexp")],
        "llama4": [("feed_forward.experts.gate_proj", "ffn_gate_exps"), ("feed_forward.experts.up_proj", "ffn_up_exps"),
                   ("feed_forward.experts.down_proj", "ffn_down_exps")],
        "gemma4": [("experts.gate_proj", "ffn_gate_exps"), ("experts.up_proj", "ffn_up_exps"),
                   ("experts.down_proj", "ffn_down_exps"), ("layer_scalar.weight", "layer_output_scale.weight")],
    }.get(arch, [])
    for ours, theirs in table:
        if f".{ours}" in stem:
            return stem.replace(ours, theirs)
    return None


def tensors(arch, config, weights):
    c = flat(config)
    names = gguf.get_tensor_name_map(next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch),
                                     c.get("num_hidden_layers") or len(c["hybrid_override_pattern"]))
    out, altup = {}, {}
    for name, value in weights.items():
        if re.search(r"act_fn\.(alpha_p|alpha_n|beta|eps)$", name):
            continue  # metadata
        for pattern, to in TO_CHECKPOINT:
            if not (arch == "mamba" and "dt_bias" in pattern):
                name = re.sub(pattern, to, name)
        found = re.match(r"model\.(altup_\w+)\.(\d)\.weight", name)
        if found:
            altup.setdefault(f"model.{found[1]}.weight", {})[int(found[2])] = value
            continue
        for key, numbers in changed(arch, name, value, c).items():
            known = key.startswith("blk.") or key in out
            mapped = key if known else direct(arch, key) or names.get_name(key, try_suffixes=(".weight", ".bias"))
            if mapped is None:
                raise SystemExit(f"{arch}: the gguf package has no name for {key} {numbers.shape}")
            out[mapped] = np.ascontiguousarray(numbers)
    for key, parts in altup.items():
        mapped = names.get_name(key, try_suffixes=(".weight",))
        out[mapped] = np.stack([parts[k] for k in sorted(parts)])
    if arch == "gemma4":
        for gate in [k for k in out if k.endswith("ffn_gate_exps.weight")]:
            up = gate.replace("gate_exps", "up_exps")
            out[gate.replace("gate_exps", "gate_up_exps")] = np.concatenate([out.pop(gate), out.pop(up)], axis=1)
    return out


def write_ssm(writer, c):
    heads = c.get("mamba_n_heads") or c.get("mamba_num_heads") or c["num_heads"]
    head_dim = c.get("mamba_d_head") or c.get("mamba_head_dim") or c["head_dim"]
    writer.add_ssm_conv_kernel(c.get("mamba_d_conv") or c["conv_kernel"])
    writer.add_ssm_state_size(c.get("mamba_d_state") or c.get("ssm_state_size") or c["state_size"])
    writer.add_ssm_group_count(c.get("mamba_n_groups") or c["n_groups"])
    writer.add_ssm_inner_size(heads * head_dim)
    writer.add_ssm_time_step_rank(heads)


def write_delta(writer, c):
    writer.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
    writer.add_ssm_state_size(c["linear_key_head_dim"])
    writer.add_ssm_group_count(c["linear_num_key_heads"])
    writer.add_ssm_time_step_rank(c["linear_num_value_heads"])
    writer.add_ssm_inner_size(c["linear_value_head_dim"] * c["linear_num_value_heads"])
    writer.add_full_attention_interval(c["full_attention_interval"])
    factor = (c.get("rope_parameters") or c)["partial_rotary_factor"]
    writer.add_rope_dimension_count(int(c["head_dim"] * factor))
    writer.add_rope_freq_base((c.get("rope_parameters") or c)["rope_theta"])


def write_gemma(writer, arch, c):
    sliding = [t == "sliding_attention" for t in c["layer_types"]]
    writer.add_sliding_window_pattern(sliding)
    writer.add_sliding_window(c["sliding_window"])
    writer.add_shared_kv_layers(c["num_kv_shared_layers"])
    writer.add_embedding_length_per_layer_input(c["hidden_size_per_layer_input"])
    writer.add_final_logit_softcapping(c["final_logit_softcapping"])
    rope = c["rope_parameters"]
    writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if arch == "gemma3n":
        # The normal distribution's inverse of 0.95 and of 0, in F32.
        writer.add_activation_sparsity_scale(
            [1.6448535919189453 if s == 0.95 else -np.inf for s in c["activation_sparsity_pattern"]])
        writer.add_altup_active_idx(c["altup_active_idx"])
        writer.add_altup_num_inputs(c["altup_num_inputs"])
        return
    full = c["global_head_dim"]
    writer.add_key_length(full)
    writer.add_value_length(full)
    writer.add_key_length_swa(c["head_dim"])
    writer.add_value_length_swa(c["head_dim"])
    writer.add_rope_dimension_count(full)
    writer.add_rope_dimension_count_swa(c["head_dim"])
    if c.get("use_double_wide_mlp"):
        n_own = c["num_hidden_layers"] - c["num_kv_shared_layers"]
        writer.add_feed_forward_length([c["intermediate_size"] * (1 if i < n_own else 2)
                                        for i in range(c["num_hidden_layers"])])
    if c.get("num_global_key_value_heads"):
        writer.add_head_count_kv([c["num_key_value_heads"] if s else c["num_global_key_value_heads"] for s in sliding])
    if c.get("enable_moe_block"):
        writer.add_expert_count(c["num_experts"])
        writer.add_expert_used_count(c["top_k_experts"])
        writer.add_expert_feed_forward_length(c["moe_intermediate_size"])


def write_minicpm(writer, arch, c):
    if arch == "minicpm":
        writer.add_embedding_scale(float(c["scale_emb"]))
        writer.add_residual_scale(c["scale_depth"] / c["num_hidden_layers"] ** 0.5)
        writer.add_logit_scale(c["hidden_size"] / c["dim_model_base"])
        return
    writer.add_q_lora_rank(c["q_lora_rank"])
    writer.add_kv_lora_rank(c["kv_lora_rank"])
    writer.add_key_length(c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    writer.add_rope_dimension_count(c["qk_rope_head_dim"])


def write_layers(writer, arch, c):
    """One number for each layer, 0 where the layer is of another kind."""
    kinds = c.get("layer_types") or c.get("hybrid_override_pattern")
    writer.add_head_count_kv([c["num_key_value_heads"] if kind in ("attention", "full_attention", "*") else 0
                              for kind in kinds])
    if arch.startswith("nemotron"):
        size = c["moe_intermediate_size"] if arch.endswith("moe") else c["intermediate_size"]
        writer.add_feed_forward_length([size if kind in "-E" else 0 for kind in kinds])


def metadata(writer, arch, c, weights):
    if arch in SSM:
        write_ssm(writer, c)
    if arch in ("qwen3next", "qwen35", "qwen35moe"):
        write_delta(writer, c)
    if arch in ("lfm2", "lfm2moe", "granitehybrid", "nemotron_h", "nemotron_h_moe"):
        write_layers(writer, arch, c)
    if arch.startswith("lfm2"):
        writer.add_shortconv_l_cache(c["conv_L_cache"])
        writer.add_layer_norm_rms_eps(c["norm_eps"])
    if arch == "lfm2moe":
        writer.add_leading_dense_block_count(c["num_dense_layers"])
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if arch == "granitehybrid":
        writer.add_rope_scaling_finetuned(c["position_embedding_type"] == "rope")
        writer.add_expert_shared_feed_forward_length(c["shared_intermediate_size"])
    if arch.startswith("nemotron_h"):
        writer.add_layer_norm_rms_eps(c["layer_norm_epsilon"])
        if arch.endswith("moe"):
            writer.add_expert_shared_feed_forward_length(c["moe_shared_expert_intermediate_size"])
    if arch == "mamba":
        writer.add_ssm_conv_kernel(c["conv_kernel"])
        writer.add_ssm_inner_size(c["intermediate_size"])
        writer.add_ssm_state_size(c["state_size"])
        writer.add_ssm_time_step_rank(c["time_step_rank"])
        writer.add_ssm_dt_b_c_rms(c["model_type"] == "falcon_mamba")
    if arch.startswith("mamba"):
        writer.add_layer_norm_rms_eps(c["layer_norm_epsilon"])
    if arch == "gptneox":
        writer.add_rope_dimension_count(int(c["rotary_pct"] * (c["hidden_size"] // c["num_attention_heads"])))
        writer.add_parallel_residual(c["use_parallel_residual"])
    if arch.startswith("minicpm"):
        write_minicpm(writer, arch, c)
    if arch == "apertus":
        for kind in ("alpha_p", "alpha_n", "beta", "eps"):
            getattr(writer, f"add_xielu_{kind}")(
                [float(weights[f"model.layers.{i}.mlp.act_fn.{kind}"].item()) for i in range(c["num_hidden_layers"])])
    if arch.startswith("bailingmoe"):
        writer.add_rope_dimension_count(int(c["hidden_size"] // c["num_attention_heads"]
                                            * c.get("partial_rotary_factor", 1.0)))
        writer.add_expert_shared_count(c["num_shared_experts"])
        writer.add_leading_dense_block_count(c["first_k_dense_replace"])
        writer.add_expert_weights_norm(c["norm_topk_prob"])
        writer.add_expert_weights_scale(c.get("routed_scaling_factor", 1.0))
        if arch == "bailingmoe2":
            writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
            writer.add_expert_group_count(c["n_group"])
            writer.add_expert_group_used_count(c["topk_group"])
    if arch == "deepseek":
        writer.add_expert_shared_count(c["n_shared_experts"])
        writer.add_leading_dense_block_count(c["first_k_dense_replace"])
        writer.add_expert_weights_scale(1.0)
    if arch == "llama4":
        writer.add_interleave_moe_layer_step(c["interleave_moe_layer_step"])
        writer.add_expert_feed_forward_length(c["intermediate_size"])
        writer.add_feed_forward_length(c["intermediate_size_mlp"])
    if arch in ("gemma3n", "gemma4"):
        write_gemma(writer, arch, c)

"""Small checkpoints of families whose tensors are computed: mlx-lm's own parameters, turned back as published."""
import re

import mlx.core as mx

from families import tensors_of, with_kv_b


def step3p5():
    config = {"model_type": "step3p5", "hidden_size": 128, "num_hidden_layers": 4, "vocab_size": 512,
              "num_attention_heads": 4, "num_attention_groups": 2, "head_dim": 32, "intermediate_size": 256,
              "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
              "attention_other_setting": {"num_attention_heads": 6, "num_attention_groups": 3},
              "moe_num_experts": 4, "moe_top_k": 2, "moe_intermediate_size": 64, "share_expert_dim": 96,
              "moe_layers_enum": "2, 3", "torch_dtype": "bfloat16"}
    return config, tensors_of(config)


def baichuan_m1():
    config = {"model_type": "baichuan_m1", "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
              "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 1e5,
              "sliding_window": 8, "sliding_window_layers": [1], "conv_window": 2, "rms_norm_eps": 1e-5,
              "num_swa_attention_heads": 8, "num_swa_key_value_heads": 4, "torch_dtype": "bfloat16"}
    return config, tensors_of(config)


def falcon_h1():
    config = {"model_type": "falcon_h1", "hidden_size": 128, "intermediate_size": 256, "head_dim": 32,
              "mamba_d_head": 32, "mamba_d_ssm": 128, "mamba_d_state": 16, "mamba_n_heads": 4, "mamba_n_groups": 1,
              "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 512,
              "mamba_rms_norm": True, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    return config, tensors_of(config)


def bailing_norm_head(kind="bailing_moe", **more):
    config = {"model_type": kind, "hidden_size": 128, "intermediate_size": 256, "max_position_embeddings": 512,
              "moe_intermediate_size": 64, "num_experts": 4, "num_shared_experts": 1, "norm_topk_prob": True,
              "num_attention_heads": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads": 2,
              "rms_norm_eps": 1e-5, "rope_theta": 1e4, "vocab_size": 512, "first_k_dense_replace": 1, "n_group": 1,
              "topk_group": 1, "norm_head": True, "torch_dtype": "bfloat16", **more}
    return config, tensors_of(config)


def bailing_linear_norm_head():
    return bailing_norm_head("bailing_moe_linear", layer_group_size=2, group_norm_size=1, head_dim=32)


def mlx_deepseek_with_kv_b(decode=False):
    """What mlx-lm wrote before it cut kv_b_proj: 4-bit codes of both halves of latent attention in one tensor."""
    config = {"model_type": "deepseek_v3", "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
              "moe_intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
              "n_shared_experts": 1, "n_routed_experts": 4, "kv_lora_rank": 64, "q_lora_rank": None,
              "qk_rope_head_dim": 32, "v_head_dim": 64, "qk_nope_head_dim": 64, "num_experts_per_tok": 2,
              "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "torch_dtype": "bfloat16"}
    tensors = {}
    for name, tensor in with_kv_b(tensors_of(config), "model.layers.", 2).items():
        if tensor.ndim == 1 or name.endswith("mlp.gate.weight"):
            tensors[name] = tensor
            continue
        codes, scales, biases = mx.quantize(tensor, group_size=64, bits=4)
        stem = name.removesuffix("weight")
        if decode:
            tensors[name] = mx.dequantize(codes, scales, biases, group_size=64, bits=4)
        else:
            tensors.update({name: codes, stem + "scales": scales, stem + "biases": biases})
    if not decode:
        config["quantization"] = {"group_size": 64, "bits": 4}
    return config, tensors


def mlx_deepseek_decoded():
    return mlx_deepseek_with_kv_b(decode=True)


def published_norms(tensors):
    """Centered around 0, as transformers has them."""
    return {name: tensor - 1 if name.endswith("norm.weight") else tensor for name, tensor in tensors.items()}


def step3p5_as_published():
    config, tensors = step3p5()
    parts = ((".mlp.switch_mlp.", ".moe."), (".mlp.gate.gate.", ".moe.gate."),
             (".mlp.gate.router_bias", ".moe.router_bias"), (".mlp.share_expert.", ".share_expert."))
    named = {}
    for name, tensor in published_norms(tensors).items():
        for mine, theirs in parts:
            name = name.replace(mine, theirs)
        named[name] = tensor
    named["model.layers.4.input_layernorm.weight"] = tensors["model.norm.weight"]
    named["model.mtp.norm.weight"] = tensors["model.norm.weight"]
    return config, named


def falcon_h1_as_published(**more):
    """Multipliers not yet folded in; none of the factors is a number of 16 bits."""
    config, tensors = falcon_h1()
    config.update(attention_in_multiplier=0.7, ssm_in_multiplier=1.1, lm_head_multiplier=0.03, **more)
    return config, {name: mx.contiguous(tensor.swapaxes(1, 2)) if "conv1d.weight" in name else tensor
                    for name, tensor in tensors.items()}


def falcon_h1_in_float16():
    config, tensors = falcon_h1_as_published(torch_dtype="float16", mamba_n_groups=1)
    return config, {name: tensor.astype(mx.float16) for name, tensor in tensors.items()}


def qwen3_5_tied():
    """A flat config, tied, in MLX's layout: norms stay."""
    config = {"model_type": "qwen3_5", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4,
              "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "linear_num_value_heads": 4,
              "linear_num_key_heads": 2, "linear_key_head_dim": 32, "linear_value_head_dim": 32, "head_dim": 64,
              "tie_word_embeddings": True, "torch_dtype": "bfloat16",
              "rope_parameters": {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.25}}
    return config, tensors_of(config)


def kimi_k3(**more):
    """In MLX's layout."""
    text = {"model_type": "kimi_linear", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 256, "q_lora_rank": 64,
            "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64,
            "mla_use_output_gate": True, "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1,
            "moe_intermediate_size": 64, "first_k_dense_replace": 1, "routed_expert_hidden_size": 96,
            "latent_moe_use_norm": True, "attn_res_block_size": 2, "activation_situ_beta": 1.5,
            "linear_attn_config": {"kda_layers": [1, 2, 4], "full_attn_layers": [3], "num_heads": 4, "head_dim": 32,
                                   "short_conv_kernel_size": 4, "use_full_rank_gate": False}}
    text.update(more)
    config = {"model_type": "kimi_k3", "text_config": text, "torch_dtype": "bfloat16"}
    tensors = tensors_of(config)
    for name, tensor in tensors.items():
        if name.endswith(("A_log", "dt_bias", "e_score_correction_bias")):
            tensors[name] = tensor.astype(mx.float32)
    return config, tensors


def kimi_k3_as_published(packed=False, **more):
    config, tensors = kimi_k3(**more)
    heads = config["text_config"]["linear_attn_config"]["num_heads"]
    named = {"vision_tower.patch.weight": mx.zeros((8, 8)), "mm_projector.proj.weight": mx.zeros((8, 8)),
             "language_model.model.mtp.norm.weight": mx.zeros((8,)),
             "language_model.model.layers.4.input_layernorm.weight": mx.zeros((128,))}
    for layer in range(4):
        at = f"language_model.model.layers.{layer}.self_attn."
        if at + "embed_q.weight" in tensors:
            one = {at.replace(f".{layer}.", ".0.") + kind: tensors.pop(at + kind)
                   for kind in ("embed_q.weight", "unembed_out.weight")}
            named[at + "kv_b_proj.weight"] = next(iter(with_kv_b(one, "language_model.model.layers.", 1).values()))
    for name, tensor in tensors.items():
        stem = name.rsplit(".self_attn.", 1)[0] + ".self_attn."
        if name.endswith("qkv_proj.weight"):
            named.update({f"{stem}{p}_proj.weight": part for p, part in zip("qkv", mx.split(tensor, 3))})
        elif name.endswith("qkv_conv.conv.weight"):
            named.update({f"{stem}{p}_conv1d.weight": part.swapaxes(1, 2)
                          for p, part in zip("qkv", mx.split(tensor, 3))})
        elif name.endswith("A_log"):
            named[name] = mx.concatenate([tensor, mx.zeros((4,))]).reshape(1, 1, heads + 4, 1)
        elif ".mlp.switch_mlp." in name:
            proj = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[name.split(".")[-2]]
            base = name.split(".mlp.")[0] + ".block_sparse_moe.experts"
            for expert in range(tensor.shape[0]):
                if packed:
                    codes, scales = mx.quantize(tensor[expert], mode="mxfp4")
                    named[f"{base}.{expert}.{proj}.weight_packed"] = codes.view(mx.uint8)
                    named[f"{base}.{expert}.{proj}.weight_scale"] = scales
                else:
                    named[f"{base}.{expert}.{proj}.weight"] = tensor[expert]
        elif name.endswith("e_score_correction_bias"):
            named[name.replace(".mlp.", ".block_sparse_moe.gate.")] = tensor
        elif any(part in name for part in (".mlp.gate.", ".mlp.shared_experts.", ".mlp.routed_")):
            named[name.replace(".mlp.", ".block_sparse_moe.")] = tensor
        elif "_res_proj" in name or "_res_norm" in name:
            named[name.replace("_proj.weight", ".proj_weight").replace("_norm.weight", ".norm_weight")] = tensor
        else:
            named[name] = tensor
    if packed:
        config["quantization_config"] = {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
                                         "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                                             "num_bits": 4, "type": "float", "group_size": 32}}}}
    return config, {name: mx.contiguous(tensor) for name, tensor in named.items()}


def kimi_k3_full_rank():
    config, tensors = kimi_k3(q_lora_rank=None, mla_use_output_gate=False, attn_res_block_size=None,
                              routed_expert_hidden_size=None, tie_word_embeddings=True,
                              linear_attn_config={"kda_layers": [1, 2, 4], "num_heads": 4, "head_dim": 32,
                                                  "short_conv_kernel_size": 4, "use_full_rank_gate": True})
    return config, tensors


def kimi_k3_mxfp4():
    return kimi_k3_as_published(packed=True)


DEEPSEEK_NAMES = (
    ("lm_head.", "head."), ("model.embed_tokens.", "embed."), (".self_attn.", ".attn."), (".mlp.", ".ffn."),
    (".input_layernorm.", ".attn_norm."), (".post_attention_layernorm.", ".ffn_norm."), (".attn_hc.", ".hc_attn_"),
    (".ffn_hc.", ".hc_ffn_"), (".sinks", ".attn_sink"), (".compressor.gate_proj.", ".compressor.wgate."),
    (".shared_experts.gate_proj.", ".shared_experts.w1."), (".shared_experts.down_proj.", ".shared_experts.w2."),
    (".shared_experts.up_proj.", ".shared_experts.w3."), (".indexer.k_proj.", ".indexer.wk."),
    (".q_a_proj.", ".wq_a."), (".q_b_proj.", ".wq_b."), (".kv_proj.", ".wkv."), (".o_a_proj.", ".wo_a."),
    (".o_b_proj.", ".wo_b."), (".q_a_norm.", ".q_norm."), (".compressor.kv_norm.", ".compressor.norm."),
    (".gate.e_score_correction_bias", ".gate.bias"))


def deepseek_v41():
    """In MLX's layout."""
    config = {"model_type": "deepseek_v41", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 4,
              "num_attention_heads": 4, "head_dim": 64, "q_lora_rank": 64, "qk_rope_head_dim": 32, "o_groups": 2,
              "o_lora_rank": 64, "moe_intermediate_size": 64, "n_routed_experts": 4, "num_experts_per_tok": 2,
              "sliding_window": 8, "compress_ratios": [0, 2, 2, 1], "kv_source_layer_ids": [1, 3],
              "index_source_layer_ids": [1, 3], "candidate_source_layer_id": -1, "index_n_heads": 2,
              "index_head_dim": 64, "index_topk": 4, "hc_mult": 2, "torch_dtype": "bfloat16"}
    tensors = tensors_of(config)
    floats = ("_hc.", "sinks", "e_score_correction_bias", "compressor.")
    return config, {name: tensor.astype(mx.float32) if any(part in name for part in floats) else tensor
                    for name, tensor in tensors.items()}


def deepseek_v41_as_published(coded=False):
    """DeepSeek's names; `coded`: mxfp8 in tiles of 32 x 32, experts in FP4."""
    config, tensors = deepseek_v41()
    named = {"vision.patch.weight": mx.zeros((8, 8)), "mtp.0.norm.weight": mx.zeros((8,)),
             "layers.0.ffn.gate.bias_vl": mx.zeros((4,)), "layers.1.engram.table.weight": mx.zeros((8, 8))}
    for name, tensor in tensors.items():
        for mine, theirs in DEEPSEEK_NAMES:
            name = name.replace(mine, theirs)
        name = name.removeprefix("model.")
        if ".switch_mlp." in name:
            base, proj = name.split(".switch_mlp.")
            for expert in range(tensor.shape[0]):
                stem = f"{base}.{expert}.{ {'gate_proj': 'w1', 'down_proj': 'w2', 'up_proj': 'w3'}[proj.split('.')[0]]}"
                if coded:
                    codes, scales = mx.quantize(tensor[expert], mode="mxfp4")
                    named.update({stem + ".weight": codes.view(mx.int8), stem + ".scale": scales})
                else:
                    named[stem + ".weight"] = tensor[expert]
            continue
        if ".wo_a." in name:
            tensor = tensor.flatten(0, 1)
        linear = re.search(r"\.w(q_a|q_b|kv|o_a|o_b|k|1|2|3)\.weight$", name) and "compressor" not in name
        if coded and linear:
            rows = -(-tensor.shape[0] // 32)
            exponents = mx.random.randint(108, 114, (rows, tensor.shape[1] // 32), key=mx.random.key(rows))
            named[name] = mx.random.randint(0, 120, tensor.shape, key=mx.random.key(len(name))).astype(mx.uint8)
            named[name.removesuffix("weight") + "scale"] = exponents.astype(mx.uint8)
        else:
            named[name] = tensor
    if coded:
        config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0",
                                         "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    return config, {name: mx.contiguous(tensor) for name, tensor in named.items()}


def deepseek_v41_coded():
    config, tensors = deepseek_v41_as_published(coded=True)
    return {"model_type": "deepseek_v41_text", **{k: v for k, v in config.items() if k != "model_type"}}, tensors


def muse_spark(**more):
    """In MLX's layout."""
    text = {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
            "num_hidden_layers": 4, "vocab_size": 512, "rms_norm_eps": 1e-5, "post_norm_eps": 1e-5,
            "rope_parameters": {"rope_theta": 10000.0}, "layer_rope_theta": [10000.0, 0, 10000.0, 10000.0],
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
            "sliding_window": 8, "final_logit_softcapping": 30.0, "output_multiplier": 1.0, "num_local_experts": 4,
            "num_experts_per_tok": 2, "moe_hidden_size": 64, "moe_intermediate_size": 64}
    config = {"model_type": "muse_spark", "text_config": text, "torch_dtype": "bfloat16",
              "audio_config": {"out_hidden_size": 128}, **more}
    tensors = tensors_of(config)
    return config, {name: tensor.astype(mx.float32) if name.endswith(("_alpha", "_beta")) else tensor
                    for name, tensor in tensors.items()}


def apart(tensor, head_dim):
    """Neighbouring rows back to where transformers has them."""
    return tensor.reshape(-1, head_dim // 2, 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def muse_spark_as_published(**more):
    """Gates of all sizes, so that the exponential is tried over its range."""
    config, tensors = muse_spark(**more)
    named = {"model.audio_tower.conv.weight": mx.zeros((8, 8))}
    zero_centred = ("input_layernorm.weight", "feedforward_layernorm.weight", "expert_norm.weight")
    for index, (name, tensor) in enumerate(tensors.items()):
        stem = name.rsplit(".", 2)[0]
        if name.endswith(("_alpha", "_beta")):
            layer, kind = name.rsplit(".", 1)
            where = "attention" if "attn" in kind else "feedforward"
            gate = mx.random.normal(tensor.shape, key=mx.random.key(index)) * mx.linspace(0, 12, tensor.size)
            named[f"{layer}.post_{where}_residual_gate.gate"] = gate.astype(mx.bfloat16)
        elif name.endswith("qkvg_proj.weight"):
            q, k, v, gate = mx.split(tensor, [128, 192, 256])
            named.update({f"{stem}.q_proj.weight": apart(q, 32), f"{stem}.k_proj.weight": apart(k, 32),
                          f"{stem}.v_proj.weight": v, f"{stem}.gate_proj.weight": gate})
        elif ".attn.qkv_proj." in name:
            q, k, v = mx.split(tensor, 3)
            part = name.rsplit(".", 1)[1]
            named.update({f"{stem}.q_proj.{part}": apart(q, 16), f"{stem}.k_proj.{part}": apart(k, 16),
                          f"{stem}.v_proj.{part}": v})
        elif ".experts.gate_proj." in name:
            named[f"{stem}.gate_up_proj"] = mx.concatenate([tensor, tensors[name.replace("gate_proj", "up_proj")]], 1)
        elif ".experts.down_proj." in name:
            named[f"{stem}.down_proj"] = tensor
        elif name.endswith(zero_centred):
            named[name] = tensor - 1
        elif ".experts.up_proj." not in name:
            named[name] = tensor
    return config, {name: mx.contiguous(tensor) for name, tensor in named.items()}


def muse_spark_with_vision():
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
              "patch_size": 4, "pos_emb_height": 4, "pos_emb_width": 4}
    return muse_spark_as_published(vision_config=vision)


def prism_hadamard_qwen35(**more):
    """Some modules in 2-bit codes, with and without a rotation; the rest floats."""
    text = {"model_type": "qwen3_5_text", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 512,
            "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 32,
            "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4, "full_attention_interval": 4,
            "tie_word_embeddings": False, "rms_norm_eps": 1e-6, "max_position_embeddings": 512,
            "rope_parameters": {"type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}}
    packed = [("model.embed_tokens", 512), ("lm_head", 512), ("model.layers.0.linear_attn.in_proj_qkv", 512),
              ("model.layers.1.mlp.down_proj", 1024), ("model.layers.2.mlp.up_proj", 0),
              ("model.layers.3.self_attn.q_proj", 512), ("model.layers.3.mlp.gate_proj", 0)]
    config = {"model_type": "prism_hadamard_qwen35", "schema_version": 2, "tensor_namespace": "mlx-vlm-qwen3_5",
              "quantization": {"bits": 2, "group_size": 128, "mode": "affine"}, "text_config": text,
              "modules": [{"path": path, "block": block, "embedding": "embed" in path, "dtype": "float16"}
                          for path, block in packed], **more}
    tensors = tensors_of(config, mx.float16)
    for index, (name, tensor) in enumerate(tensors.items()):
        if name.endswith(".signs"):
            bits = mx.random.randint(0, 2, tensor.shape, key=mx.random.key(index))
            tensors[name] = (2 * bits - 1).astype(mx.float32)
    tensors["vision_tower.x.weight"] = mx.zeros((8, 8))
    return config, tensors


def prism_hadamard_qwen35_in_bf16():
    return prism_hadamard_qwen35(torch_dtype="bfloat16")


# The recipes stop at a position_embedding_table.
NO_RECIPES = {"muse_spark_with_vision"}
# The model computes with Metal kernels only.
NO_FORWARD = {"muse_spark", "muse_spark_as_published", "muse_spark_with_vision"}
# A recipe makes mlx-lm quantize what it then multiplies by as if it were not.
BROKEN_BY_RECIPES = {"kimi_k3", "kimi_k3_as_published", "kimi_k3_mxfp4"}
MAKERS = [step3p5, step3p5_as_published, baichuan_m1, falcon_h1, falcon_h1_as_published, falcon_h1_in_float16,
          bailing_norm_head, bailing_linear_norm_head, qwen3_5_tied, mlx_deepseek_with_kv_b, mlx_deepseek_decoded,
          kimi_k3, kimi_k3_as_published, kimi_k3_full_rank, kimi_k3_mxfp4, deepseek_v41, deepseek_v41_as_published,
          deepseek_v41_coded, muse_spark, muse_spark_as_published, muse_spark_with_vision,
          prism_hadamard_qwen35, prism_hadamard_qwen35_in_bf16]

"""Small checkpoints of families whose published layout is far from mlx-lm's: its own parameters, turned back."""
import mlx.core as mx

from families import tensors_of, with_kv_b


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


MAKERS = [kimi_k3, kimi_k3_as_published, kimi_k3_full_rank, kimi_k3_mxfp4]

"""Tiny checkpoints written by transformers' own classes: the names, shapes and configs that a release publishes.

Needs torch, which the other comparisons do without. The weights are random; a maker returns None and a reason where
transformers itself cannot build the model at these sizes.
"""
import copy
import json
import shutil
import zlib

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
                                                    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")

# Keys of configs, whatever they are called, and a small value.
SIZES = {
    "hidden_size": 128, "n_embd": 128, "d_model": 128, "dim": 128, "model_dim": 128,
    "intermediate_size": 256, "n_inner": 256, "ffn_hidden_size": 256, "ffn_dim": 256, "mlp_hidden_size": 256,
    "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    "max_position_embeddings": 256, "n_positions": 256, "n_ctx": 256, "max_seq_len": 256, "vocab_size": 512,
    "moe_intermediate_size": 64, "expert_intermediate_size": 64, "shared_expert_intermediate_size": 96,
    "shared_intermediate_size": 96, "intermediate_size_mlp": 192, "expert_ffn_hidden_size": 64, "moe_ffn_dim": 64,
    "num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4, "moe_num_experts": 4, "ffn_num_experts": 4,
    "num_experts_per_tok": 2, "moe_k": 2, "moe_topk": 2, "top_k_experts": 2, "moe_top_k": 2, "num_shared_experts": 1,
    "n_shared_experts": 1, "moe_num_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "num_dense_layers": 1, "moe_layer_start_index": 1,
    "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "qk_head_dim": 48,
    "v_head_dim": 32, "index_n_heads": 2, "index_head_dim": 32, "index_topk": 8,
    "sliding_window": 16, "attention_window_size": 16, "lru_width": 128,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
    "mamba_n_heads": 8, "mamba_d_head": 32, "mamba_d_ssm": 256, "mamba_d_state": 16, "mamba_n_groups": 1,
    "mamba_d_conv": 4, "mamba_expand": 2, "mamba_chunk_size": 16, "mamba_num_heads": 8, "mamba_head_dim": 32,
    "ssm_state_size": 16, "state_size": 16, "n_groups": 1, "num_heads": 8, "time_step_rank": 8, "mamba_dt_rank": 8,
    "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 512, "laurel_rank": 8,
    "num_kv_shared_layers": 2, "global_head_dim": 64, "num_global_key_value_heads": 1, "altup_num_inputs": 2,
    "conv_dim": 128, "block_ff_dim": 256, "block_dim": 128, "num_nextn_predict_layers": 1,
    "zero_expert_num": 2, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 32,
    "swa_v_head_dim": 32, "add_full_attention_sink_bias": False,
}
VISION = {"hidden_size": 32, "embed_dim": 32, "intermediate_size": 64, "num_hidden_layers": 1, "depth": 1,
          "num_attention_heads": 2, "num_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "image_size": 28,
          "patch_size": 14, "out_hidden_size": 128, "vocab_size": 64, "num_position_embeddings": 16,
          "fullatt_block_indexes": [0], "deepstack_visual_indexes": [0], "projector_input_dim": 32,
          "projector_output_dim": 128, "vision_output_dim": 128, "num_layers": 1, "deepstack_layers": [0]}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": None}


def default_config(model_type):
    return AutoConfig.for_model(model_type).to_dict()


def shrink(config, vision=False):
    """The default config with small sizes: what depends on them is dropped, to be derived again."""
    table = VISION if vision else SIZES
    for key in list(config):
        value = config[key]
        if isinstance(value, dict) and key.endswith("_config"):
            shrink(value, vision=vision or key in ("vision_config", "audio_config"))
        elif key in table and value is not None and not isinstance(value, dict):
            config[key] = table[key]
        elif key in ("per_layer_config", "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"):
            config.pop(key)
        elif key in TOKENS and not vision:
            config[key] = TOKENS[key]
        elif key.endswith("_token_id") or key.endswith("_token_index"):
            config[key] = 5
        elif key in ("layer_types", "mlp_layer_types", "no_rope_layers", "layers_block_type", "block_types",
                     "moe_layers", "indexer_types", "layer_type", "no_rope_layer_interval_list", "hybrid_layer_ids",
                     "layers_block_type_list", "attention_types", "mlp_only_layers", "full_attn_idxs", "attn_layer_indices"):
            config.pop(key)
    if config.get("kv_lora_rank") and not vision:  # latent attention: heads have no groups, head_dim is what is rotated
        config["num_key_value_heads"] = config["num_attention_heads"]
        if "head_dim" in config and "linear_key_head_dim" not in config:
            config["head_dim"] = config["qk_rope_head_dim"]
    return config


# What the table above cannot say.
SPECIAL = {
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 5e5},
             "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2}},
    "gemma3n": {"text_config.activation_sparsity_pattern": None, "text_config.intermediate_size": 256,
                "text_config.altup_num_inputs": 4},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba", "attention"], "mamba_n_heads": 8, "mamba_d_head": 32},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "moe", "mlp"]},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_offset": 1, "expert_layer_period": 2},
    "recurrent_gemma": {"num_key_value_heads": 1, "block_types": ["recurrent", "recurrent", "attention"]},
    "mamba2": {"hidden_size": 128, "num_heads": 8, "head_dim": 32, "n_groups": 1},
    "mixtral": {"intermediate_size": 64},
    "minimax": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "gptj": {"rotary_dim": 16},
    "hunyuan_v1_dense": {"head_dim": 32},
    "gemma3": {"text_config.num_hidden_layers": 6},
    "gemma3_text": {"num_hidden_layers": 6},
    "lfm2_vl": {"text_config.layer_types": ["conv", "full_attention"] * 2},
    "gpt_neox": {"intermediate_size": 512},
    "llama4_text": {"interleave_moe_layer_step": 0, "moe_layers": [], "num_local_experts": 1, "num_experts_per_tok": 1},
    "qwen2_vl": {"text_config.rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e6}},
    "qwen2_5_vl": {"text_config.rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e6}},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "laguna": {"num_attention_heads_per_layer": [4, 4, 4, 4]},
    "olmo_hybrid": {"linear_num_key_heads": 4},
    "deepseek_v2": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "mscale": 1.0,
                                        "mscale_all_dim": 1.0, "original_max_position_embeddings": 64},
                    "num_experts_per_tok": 2},
    "phimoe": {"intermediate_size": 64, "attention_bias": True, "lm_head_bias": True},
    "bailing_hybrid": {"layer_group_size": 2, "num_expert_group": 1, "num_experts_per_token": 2, "head_dim": 32},
    "kimi_linear": {"num_hidden_layers": 6, "num_experts_per_token": 2, "linear_num_heads": 4, "linear_head_dim": 32},
    "minimax_m3_vl": {"text_config.rotary_dim": 16},
    "llava": {"text_config": {"model_type": "llama", "hidden_size": 128, "intermediate_size": 256,
                              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                              "vocab_size": 512}},
}

# --- Variants of a config ---


def texts(config):
    """The objects that hold the language model's keys."""
    return [config] + [config[key] for key in ("text_config",) if isinstance(config.get(key), dict)]


def set_everywhere(config, **values):
    for section in texts(config):
        for key, value in values.items():
            if key in section:
                section[key] = value


def tied(config):
    for section in texts(config):
        section["tie_word_embeddings"] = True


def untied(config):
    for section in texts(config):
        section["tie_word_embeddings"] = False


def odd(config):
    """Widths that no group size of 64 divides, a vocabulary that is no multiple of anything."""
    set_everywhere(config, hidden_size=96, n_embd=96, intermediate_size=168, vocab_size=517, moe_intermediate_size=40,
                   head_dim=24, num_attention_heads=6, num_key_value_heads=3, num_hidden_layers=3,
                   qk_nope_head_dim=24, v_head_dim=40, q_lora_rank=24, kv_lora_rank=40)


def biased(config):
    set_everywhere(config, attention_bias=True, use_bias=True, mlp_bias=True, qkv_bias=True, use_qkv_bias=True,
                   add_qkv_bias=True, bias=True, lm_head_bias=True, attention_in_bias=True, attention_out_bias=True)


def same(config):
    del config


# --- Variants of the written folder ---


def v4_config(folder):
    """As transformers 4 wrote it: torch_dtype, rope_theta and rope_scaling beside the sizes."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for section in texts(config):
        if "dtype" in section:
            section["torch_dtype"] = section.pop("dtype")
        rope = section.pop("rope_parameters", None)
        if isinstance(rope, dict) and "rope_theta" in rope:
            section["rope_theta"] = rope.pop("rope_theta")
            if "partial_rotary_factor" in rope:
                section["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
            section["rope_scaling"] = None if rope.get("rope_type", "default") == "default" and len(rope) < 2 else rope
        elif rope is not None:
            section["rope_parameters"] = rope
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def no_dtype(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for section in texts(config):
        section.pop("dtype", None)
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


VARIANTS = {  # change of the config, dtype, options of save_pretrained, change of the folder
    "plain": (same, torch.bfloat16, {}, None),
    "tied": (tied, torch.bfloat16, {}, None),
    "untied": (untied, torch.bfloat16, {}, None),
    "odd": (odd, torch.bfloat16, {}, None),
    "biased": (biased, torch.float16, {}, None),
    "sharded": (same, torch.float32, {"max_shard_size": "150KB"}, None),
    "v4": (same, torch.bfloat16, {}, v4_config),
    "no dtype": (same, torch.float16, {}, no_dtype),
    # The layout transformers holds in memory: fused experts, its own names.
    "in memory": (same, torch.bfloat16, {"save_original_format": False}, None),
}


def known_types():
    return set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) | set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def model_class(model_type):
    for table in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES):
        if model_type in table:
            name = table[model_type]
            return getattr(transformers, name if isinstance(name, str) else name[0])
    return AutoModelForCausalLM


def fill(model, dtype):
    model.to(dtype)
    for name, value in list(model.named_parameters()) + list(model.named_buffers()):
        if not value.is_floating_point() or "inv_freq" in name:
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        noise = torch.randn(value.shape, generator=generator) * 0.05
        value.data = (noise + (1 if name.endswith("norm.weight") else 0)).to(value.dtype)


def make(model_type, variant, base, folder):
    """Returns None, or why transformers does not build it."""
    change, dtype, options, after = VARIANTS[variant]
    try:
        config = shrink(copy.deepcopy(default_config(model_type)))
        for key, value in SPECIAL.get(model_type, {}).items():
            section, _, inner = key.rpartition(".")
            target = config[section] if section else config
            if value is None:
                target.pop(inner, None)
            else:
                target[inner] = value
        change(config)
        config.pop("model_type", None)
        config.pop("transformers_version", None)
        config = AutoConfig.for_model(model_type, **config)
        torch.manual_seed(0)
        model = model_class(model_type)._from_config(config, dtype=dtype)
        fill(model, dtype)
        if getattr(model.config, "tie_word_embeddings", False) or getattr(
                getattr(model.config, "text_config", None), "tie_word_embeddings", False):
            model.tie_weights()
        folder.mkdir(parents=True)
        model.save_pretrained(folder, **options)
        for name in TOKENIZER:
            shutil.copyfile(base / name, folder / name)
        if after:
            after(folder)
    except Exception as error:  # transformers' own limits are no finding
        shutil.rmtree(folder, ignore_errors=True)
        return f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}"
    return None

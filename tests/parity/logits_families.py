"""Logits of families that transformers does not have, beside live mlx-lm in float32.

The checkpoints are made by mlx-lm's model classes with random weights, like those of families.py.
"""
import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

# mlx-lm's olmo imports it and uses nothing of it.
sys.modules.setdefault("hf_olmo", ModuleType("hf_olmo"))

from logits_oracle import Program, mlx_logits

# Largest difference of a logit relative to the largest.
TOLERANCE = 2e-5

SIZES = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 96, "num_attention_heads": 4,
         "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "rope_theta": 10000.0}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 8, "n_routed_experts": 8, "num_experts_per_tok": 2,
           "norm_topk_prob": True, "num_shared_experts": 1, "n_shared_experts": 1, "first_k_dense_replace": 1,
           "routed_scaling_factor": 1.5}
TYPES = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
YARN = {"rope_type": "yarn", "rope_theta": 20000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LATENT = {"kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "qk_nope_head_dim": 32}

FAMILIES = {
    "bailing_moe": {**SIZES, **EXPERTS, "use_qk_norm": True, "use_bias": True},
    "bailing_moe ": {**SIZES, **EXPERTS, "use_qkv_bias": True, "score_function": "sigmoid", "moe_router_enable_expert_bias": True,
                     "n_group": 4, "topk_group": 2, "partial_rotary_factor": 0.5},
    "hunyuan_v1_dense": {**SIZES, "attention_bias": True, "head_dim": 16, "use_qk_norm": True,
                         "rope_scaling": {"alpha": 50.0, "factor": 1.0, "type": "dynamic"}},
    "olmo": {"d_model": 64, "n_layers": 3, "mlp_hidden_size": 192, "n_heads": 4, "vocab_size": 256, "embedding_size": 256},
    "exaone_moe": {**SIZES, **EXPERTS, "head_dim": 16, "layer_types": TYPES, "sliding_window": 8, "is_moe_layer": [False, True, True, True],
                   "n_group": 1, "topk_group": 1, "tie_word_embeddings": True},
    "lille-130m": {"block_size": 256, "layer_norm_eps": 1e-5, "n_embd": 128, "n_head": 4, "n_kv_heads": 2, "n_layer": 3, "rope_theta": 1e4,
                   "vocab_size": 256},
    "mellum": {**SIZES, **EXPERTS, "head_dim": 16, "layer_types": TYPES, "sliding_window": 8, "tie_word_embeddings": False,
               "rope_parameters": {"sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}, "full_attention": YARN}},
    "solar_open": {**SIZES, **EXPERTS, "head_dim": 16, "n_group": 1, "topk_group": 1, "tie_word_embeddings": False,
                   "partial_rotary_factor": 1.0, "use_qk_norm": True},
    "telechat3": {**SIZES, "attention_bias": True, "mlp_bias": True},
    "qwen": {**SIZES, "kv_channels": 16, "layer_norm_epsilon": 1e-5, "no_bias": False},
    "plamo": {**SIZES, "n_shared_head": 2, "num_attention_heads": 8},
    "plamo3": {**SIZES, "head_dim": 16, "window_size": 6, "sliding_window_pattern": 2, "tie_word_embeddings": False},
    "gptj": {"n_embd": 64, "n_head": 4, "n_layer": 3, "n_positions": 256, "vocab_size": 256, "rotary_dim": 8, "layer_norm_epsilon": 1e-5},
    "openelm": {"head_dim": 16, "num_transformer_layers": 4, "model_dim": 64, "vocab_size": 256, "ffn_dim_divisor": 32,
                "num_query_heads": [4, 4, 6, 8], "num_kv_heads": [2, 2, 3, 4], "ffn_multipliers": [0.5, 1.3, 2.8, 4.0]},
    "step3p5": {**SIZES, "num_attention_groups": 2, "head_dim": 16, "sliding_window": 8, "layer_types": TYPES, "moe_num_experts": 8,
                "moe_top_k": 2, "moe_intermediate_size": 32, "share_expert_dim": 32, "partial_rotary_factors": [0.5, 1.0, 0.5, 1.0],
                "attention_other_setting": {"num_attention_heads": 6, "num_attention_groups": 3}, "rope_theta": [1e4, 2e4, 3e4, 4e4],
                "swiglu_limits": [0, 0, 0.02, 0.01], "swiglu_limits_shared": [0.05, 0, 0, 0.03]},
    "mimo_v2_flash": {**SIZES, **EXPERTS, "head_dim": 24, "v_head_dim": 16, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 4,
                      "swa_head_dim": 24, "swa_v_head_dim": 16, "swa_rope_theta": 1e4, "add_swa_attention_sink_bias": True,
                      "add_full_attention_sink_bias": False, "sliding_window_size": 8, "hybrid_layer_pattern": [0, 1, 1, 0],
                      "moe_layer_freq": [0, 1, 1, 1], "topk_method": "noaux_tc", "scoring_func": "sigmoid", "n_group": 1, "topk_group": 1,
                      "layernorm_epsilon": 1e-5, "partial_rotary_factor": 0.34, "attention_value_scale": 0.7, "sliding_window": 8,
                      "attention_bias": False},
    "afmoe": {**SIZES, **EXPERTS, "head_dim": 16, "layer_types": TYPES, "sliding_window": 8, "num_dense_layers": 1, "mup_enabled": True,
              "route_scale": 1.3, "n_group": 1, "topk_group": 1},
    "laguna": {**SIZES, **EXPERTS, "head_dim": 16, "layer_types": TYPES, "sliding_window": 8, "num_attention_heads_per_layer": [4, 4, 6, 4],
               "shared_expert_intermediate_size": 32, "moe_routed_scaling_factor": 1.7, "qkv_bias": True,
               "rope_parameters": {"sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
                                   "full_attention": {**YARN, "partial_rotary_factor": 0.5}}},
    "laguna ": {**SIZES, **EXPERTS, "head_dim": 16, "layer_types": TYPES, "sliding_window": 8, "moe_router_score_func": "sqrtsoftplus",
                "shared_expert_intermediate_size": 32, "moe_router_logit_softcapping": 0.5, "gating": False},
    "deepseek": {**SIZES, **EXPERTS, "norm_topk_prob": False},
    "phixtral": {"num_vocab": 256, "model_dim": 64, "num_heads": 4, "num_layers": 3, "rotary_dim": 8, "num_local_experts": 4,
                 "num_experts_per_tok": 2},
    "nemotron-nas": {**SIZES, "rope_theta": 2e4, "block_configs": [
        {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 2.625}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.0}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
        {"attention": {"n_heads_in_group": 4}, "ffn": {"replace_with_linear": True}}]},
    "nanochat": {**SIZES, "num_key_value_heads": 2},
    "kimi_vl": {"text_config": {**SIZES, **EXPERTS, **LATENT, "n_group": 2, "topk_group": 1, "scoring_func": "sigmoid", "moe_layer_freq": 1}},
    "lfm2-vl": {"text_config": {**SIZES, "model_type": "lfm2", "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "block_dim": 64,
                                "block_ff_dim": 96, "block_multiple_of": 32, "block_ffn_dim_multiplier": 1.0,
                                "block_auto_adjust_ff_dim": False, "full_attn_idxs": [1, 3]}},
    "llama4": {"text_config": {
        **SIZES, "model_type": "llama4_text", "attention_bias": False, "attention_chunk_size": 8, "head_dim": 16,
        "interleave_moe_layer_step": 2, "intermediate_size_mlp": 128, "num_experts_per_tok": 1, "num_local_experts": 4,
        # mlx-lm's norms of queries and keys have this one always.
        "rms_norm_eps": 1e-6, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 32},
        "use_qk_norm": True, "attn_temperature_tuning": 4, "floor_scale": 4}},
    "mamba2": {**SIZES, "num_heads": 8, "head_dim": 16, "state_size": 16, "conv_kernel": 4, "n_groups": 1, "use_bias": True,
               "use_conv_bias": True, "layer_norm_epsilon": 1e-5, "time_step_limit": [0.0, 0.6], "time_step_rank": 8, "expand": 2,
               "chunk_size": 8},
    "rwkv7": {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 96, "norm_eps": 1e-5, "head_dim": 16,
              "a_low_rank_dim": 8, "v_low_rank_dim": 8, "gate_low_rank_dim": 24, "decay_low_rank_dim": 16},
    "minimax_m3_vl": {"text_config": {
        **SIZES, "model_type": "minimax_m3_vl_text", "head_dim": 32, "rotary_dim": 16, "dense_intermediate_size": 80,
        "shared_intermediate_size": 48, "num_local_experts": 4, "num_experts_per_tok": 2, "mlp_layer_types": ["dense"] + 3 * ["sparse"],
        "layer_types": ["full_attention"] + 3 * ["minimax_m3_sparse"], "index_n_heads": 2, "index_head_dim": 16, "index_block_size": 8,
        "index_topk_blocks": 3, "index_local_blocks": 1, "swiglu_limit": 0.2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}},
    "minimax_m3_vl ": {"text_config": {
        **SIZES, "model_type": "minimax_m3_vl_text", "head_dim": 16, "moe_layer_freq": [0, 1, 1, 0], "num_local_experts": 4,
        "num_experts_per_tok": 2, "dense_intermediate_size": 80, "shared_intermediate_size": 48, "tie_word_embeddings": True,
        "sparse_attention_config": {"sparse_num_index_heads": 1, "sparse_index_dim": 16, "sparse_block_size": 4, "sparse_topk_blocks": 4,
                                    "sparse_local_block": 2, "sparse_attention_freq": [0, 1, 0, 1]}}},
    "kimi_linear": {
        **SIZES, "head_dim": 16, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
        "num_experts": 8, "num_experts_per_token": 2, "num_shared_experts": 1, "moe_intermediate_size": 32, "rms_norm_eps": 1e-6,
        "model_max_length": 256, "first_k_dense_replace": 1, "moe_layer_freq": 1, "routed_scaling_factor": 1.5, "moe_renormalize": True,
        "moe_router_activation_func": "sigmoid", "num_expert_group": 1, "topk_group": 1, "use_grouped_topk": True,
        "linear_attn_config": {"kda_layers": [1, 2, 4], "full_attn_layers": [3], "num_heads": 4, "head_dim": 32,
                               "short_conv_kernel_size": 4}},
    "hunyuan": {**SIZES, "attention_bias": False, "moe_topk": 2, "num_experts": 4, "num_shared_expert": 1, "use_mixed_mlp_moe": True,
                "use_qk_norm": True, "use_cla": True, "cla_share_factor": 2, "rope_scaling": {"alpha": 100.0, "factor": 1.0, "type": "dynamic"}},
}

# So many tokens reach another chunk of the recurrence, and more blocks than are chosen.
LENGTHS = {"rwkv7": 77, "minimax_m3_vl": 77}


def make(folder, name, config):
    """A checkpoint of mlx-lm's own layout in float32."""
    kind = name.strip()
    module = importlib.import_module(f"mlx_lm.models.{kind}")
    config = {"model_type": kind, "tie_word_embeddings": False, "torch_dtype": "float32", **config}
    model = module.Model(module.ModelArgs.from_dict(json.loads(json.dumps(config))))
    tensors = {}
    for index, (path, value) in enumerate(sorted(tree_flatten(model.parameters()))):
        noise = 0.1 * mx.random.normal(value.shape, key=mx.random.key(index))
        tensors[path] = (noise + 1 if value.ndim == 1 and "norm" in path else noise).astype(mx.float32)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "mlx"})


def oracle(folder, kind, ids):
    if kind != "olmo":
        return mlx_logits(folder, ids)
    # mlx-lm's masks nothing when it reads several tokens at once.
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load_model

    model = load_model(folder)[0]
    cache = make_prompt_cache(model)
    return np.stack([np.array(model(mx.array([[int(token)]]), cache=cache)[0, 0]) for token in ids])


def relative(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        program = Program(arguments.program, Path(work))
        for name, config in FAMILIES.items():
            if arguments.only and name.strip() not in arguments.only:
                continue
            kind, folder = name.strip(), Path(work) / name.replace(" ", "2")
            ids = np.random.default_rng(7).integers(3, 250, LENGTHS.get(kind, 24)).astype(np.int32)
            try:
                make(folder, name, config)
                full = program.logits(folder, ids, "--dtype", "float32")
                steps = program.logits(folder, ids, "--dtype", "float32", "--steps", str(len(ids) // 2))
                figures = relative(full, oracle(folder, kind, ids)), relative(steps, full)
            except RuntimeError as failure:
                figures = (np.inf, np.inf)
                print(failure, file=sys.stderr)
            bad = max(figures) > TOLERANCE
            failed += bad
            print(f"{name}: {figures[0]:.1e} from mlx-lm, cached {figures[1]:.1e}{'  FAILED' if bad else ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

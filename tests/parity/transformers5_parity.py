#!/usr/bin/env python3
"""Configs as transformers 5 writes them, on checkpoints whose config mlx-lm reads.

Where mlx-lm reads the new spelling, the outputs are equal; where it stops, mlxmill's output must compute what mlx-lm's
of the original does. Runs in build/venv. Exit status 77: the checkpoints are missing.
"""
import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import families
import oracle

# What transformers 5 leaves out, beside the names of rope; {new: old} where it renames.
SPELLINGS = {
    "apertus": (["mlp_bias", "post_norm", "qk_norm"], {}),
    "ernie4_5_moe": ([], {}),
    "exaone4": (["head_dim"], {}),
    "glm4": ([], {}),
    "glm4_moe": ([], {}),
    "glm_moe_dsa": (["topk_method", "scoring_func", "moe_layer_freq"], {}),
    "gpt2": (["n_ctx"], {}),
    "gpt_neox": ([], {}),
    "granite": ([], {}),
    "lfm2": (["block_dim", "block_ff_dim"], {}),
    "llama": ([], {}),
    "minimax_m2": (["shared_intermediate_size", "rotary_dim"], {}),
    "olmo3": ([], {}),
    "qwen3": ([], {}),
    "qwen3_moe": ([], {"num_local_experts": "num_experts"}),
    "qwen3_next": ([], {}),
    "stablelm": ([], {}),
}


def respell(section, left_out, renamed):
    """One object of a config as transformers 5 writes it."""
    if "torch_dtype" in section:
        section["dtype"] = section.pop("torch_dtype")
    rope = dict(section.pop("rope_scaling", None) or {"rope_type": "default"})
    rope.pop("type", None)
    section.pop("rotary_emb_base", None)
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in section:
            rope[key] = section.pop(key)
    if "rotary_pct" in section:
        rope["partial_rotary_factor"] = section.pop("rotary_pct")
    if "rope_parameters" not in section and "rope_theta" in rope:
        section["rope_parameters"] = rope
    for key in left_out:
        section.pop(key, None)
    for new, old in renamed.items():
        section[new] = section.pop(old)


# Whose configs transformers 5 writes anew: {key of mlx-lm: value}, {key of transformers 5: value}, and what both say.
SIZES = {"vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64,
         "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 32,
         "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "routed_scaling_factor": 1.5,
         "topk_group": 1, "tie_word_embeddings": False, "rms_norm_eps": 1e-5}
WIDE = ["linear_attention", "linear_attention", "full_attention", "linear_attention"]
REWRITTEN = {
    "kimi_linear": (
        {"linear_attn_config": {"kda_layers": [1, 2, 4], "full_attn_layers": [3], "num_heads": 4, "head_dim": 32,
                                "short_conv_kernel_size": 4},
         "first_k_dense_replace": 1, "rope_theta": 10000.0},
        {"layer_types": WIDE, "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "linear_num_heads": 4,
         "linear_head_dim": 32, "linear_conv_kernel_dim": 4},
        SIZES | {"head_dim": 16, "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1,
                 "num_expert_group": 1, "moe_renormalize": True, "model_max_length": 512}),
    "mimo_v2_flash": (
        {"hybrid_layer_pattern": [0, 1, 1, 0], "moe_layer_freq": [0, 1, 1, 1], "add_swa_attention_sink_bias": True,
         "add_full_attention_sink_bias": False, "sliding_window_size": 16, "n_shared_experts": None,
         "topk_method": "noaux_tc", "scoring_func": "sigmoid", "layernorm_epsilon": 1e-5, "rope_theta": 5e6,
         "swa_rope_theta": 1e4, "partial_rotary_factor": 0.5, "swa_num_attention_heads": 4,
         "swa_num_key_value_heads": 4, "swa_head_dim": 32, "swa_v_head_dim": 32},
        {"layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
         "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "sliding_window": 16,
         "rope_parameters": {"full_attention": {"rope_theta": 5e6, "partial_rotary_factor": 0.5},
                             "sliding_attention": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}},
        SIZES | {"num_key_value_heads": 2, "head_dim": 32, "n_routed_experts": 4, "num_experts_per_tok": 2,
                 "n_group": 1, "norm_topk_prob": True, "max_position_embeddings": 512}),
    "bailing_moe_v3": (
        {"head_dim": 32, "num_experts_per_tok": 2, "n_group": 1, "moe_shared_expert_intermediate_size": 64,
         "max_position_embeddings": 512, "architectures": ["BailingMoeV3ForCausalLM"]},
        {"head_dim": 16, "linear_head_dim": 32, "num_experts_per_token": 2, "num_expert_group": 1,
         "model_max_length": 512, "architectures": ["BailingHybridForCausalLM"]},
        SIZES | {"q_lora_rank": 64, "num_experts": 4, "num_shared_experts": 1, "first_k_dense_replace": 1,
                 "layer_group_size": 2, "rope_theta": 1e4}),
}


def make_rewritten(name, base, plain, new):
    old, other, common = REWRITTEN[name]
    tensors = families.tensors_of(common | old | {"model_type": name})
    model_type = "bailing_hybrid" if name == "bailing_moe_v3" else name
    for folder, more in ((plain, old), (new, other)):
        families.write(folder, base, {"model_type": model_type} | common | more | {"dtype": "bfloat16"}, tensors)


def make_respelled(source, plain, new):
    left_out, renamed = SPELLINGS[source.name]
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = config.pop("torch_dtype")  # which mlx-lm does not read: no cast in either
    for folder in (plain, new):
        shutil.copytree(source, folder)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    respell(config, left_out, renamed)
    (new / "config.json").write_text(json.dumps(config), encoding="utf-8")


def outcome(program, name, checkpoints, work, configuration):
    plain, new = work / "plain", work / "new"
    if name in REWRITTEN:
        make_rewritten(name, checkpoints / "llama", plain, new)
    else:
        make_respelled(checkpoints / name, plain, new)
    first = oracle.convert_both(program, new, work / "both", configuration.name, configuration,
                                configuration.arguments, configuration.flags)
    if first.status != "mlx-lm fails":
        return first
    theirs, ours = work / "theirs", work / "both" / "mlxmill" / "out"
    oracle.quietly(oracle.convert, str(plain), str(theirs), **configuration.arguments)
    problems = ["ours stops, too"] if not ours.exists() else oracle.compare_tensors(
        oracle.read_folder(theirs)[0], oracle.read_folder(ours)[0]) + oracle.compare_logits(theirs, ours)
    return oracle.Outcome(configuration.name, "differs" if problems else "equal",
                          "mlx-lm stops; ours is its model of the old spelling", tuple(problems))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--only", default="", help="checkpoints whose name contains this")
    arguments = parser.parse_args()
    if not arguments.checkpoints.is_dir():
        print(f"skipped: no checkpoints in {arguments.checkpoints}")
        return oracle.SKIP
    four_bit = next(c for c in oracle.configurations() if c.name == "affine 4-bit g64")
    configuration = replace(four_bit, dequantize=False)

    def results():
        for name in [*SPELLINGS, *REWRITTEN]:
            if arguments.only in name:
                with tempfile.TemporaryDirectory(prefix="mlxmill-spelling-") as work:
                    yield name, [outcome(arguments.mlxmill.resolve(), name, arguments.checkpoints, Path(work),
                                         configuration)]
    return oracle.report(results())


if __name__ == "__main__":
    sys.exit(main())

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


def outcome(program, source, work, configuration):
    left_out, renamed = SPELLINGS[source.name]
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = config.pop("torch_dtype")  # which mlx-lm does not read: no cast in either
    plain, new = work / "plain", work / "new"
    for folder in (plain, new):
        shutil.copytree(source, folder)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    respell(config, left_out, renamed)
    (new / "config.json").write_text(json.dumps(config), encoding="utf-8")
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
        for name in SPELLINGS:
            if arguments.only in name:
                with tempfile.TemporaryDirectory(prefix="mlxmill-spelling-") as work:
                    yield name, [outcome(arguments.mlxmill.resolve(), arguments.checkpoints / name, Path(work),
                                         configuration)]
    return oracle.report(results())


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The same weights in another layout: tied output layers left out, experts fused as transformers 5 has them in memory,
a layer more that predicts tokens ahead.

mlxmill's conversion of the other layout must be mlx-lm's of a checkpoint that mlx-lm reads, byte for byte. Runs in
build/venv. Exit status 77: the checkpoints are missing.
"""
import argparse
import json
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import families
import oracle
from raw_safetensors import Tensor, read_folder, write_file

# Families whose mlx-lm class has an output layer even where the config ties it: the embedding and the output layer.
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {
    "deepseek_v2": (EMBEDDING, HEAD), "deepseek_v3": (EMBEDDING, HEAD), "glm4": (EMBEDDING, HEAD),
    "glm4_moe": (EMBEDDING, HEAD), "glm_moe_dsa": (EMBEDDING, HEAD), "gpt_neox": ("gpt_neox.embed_in.weight", "embed_out.weight"),
    "gpt_oss": (EMBEDDING, HEAD), "kimi_k25": ("language_model." + EMBEDDING, "language_model." + HEAD),
    "phimoe": (EMBEDDING, HEAD), "pixtral": ("language_model." + EMBEDDING, "language_model." + HEAD),
    "stablelm": (EMBEDDING, HEAD),
}
FUSED = ["deepseek_v2", "deepseek_v3", "deepseek_v3_fp8", "ernie4_5_moe", "glm4_moe", "glm_moe_dsa", "minimax_m2",
         "phimoe", "qwen3_moe", "qwen3_next", "kimi_k25"]
PREDICTING = ["deepseek_v3", "deepseek_v3_fp8"]
NAMES = ("16-bit", "affine 4-bit g64", "mxfp4", "mixed_3_6")

EXPERT = re.compile(r"(?P<at>.*)\.experts\.(?P<e>\d+)\.(?P<proj>gate_proj|up_proj|down_proj|w1|w2|w3)"
                    r"\.weight(?P<part>|_scale_inv)")
ROLES = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


def write(folder, source, config, tensors):
    folder.mkdir(parents=True)
    for path in source.glob("*token*.json"):
        shutil.copyfile(path, folder / path.name)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    write_file(folder / "model.safetensors", tensors, {"format": "pt"})


def config_of(source):
    return json.loads((source / "config.json").read_text(encoding="utf-8"))


def make_tied(source, work):
    """Without an output layer, and the twin that mlx-lm reads: with the embedding as one."""
    embedding, head = TIED[source.name]
    tensors, config = read_folder(source)[0], config_of(source)
    config["tie_word_embeddings"] = True
    left = {name: tensor for name, tensor in tensors.items() if name != head}
    write(work / "tied", source, config, left)
    write(work / "twin", source, config, left | {head: left[embedding]})
    return work / "tied", work / "twin"


def fused_tensors(tensors):
    """Experts one after the other: [E, 2 * intermediate, hidden] and [E, hidden, intermediate]."""
    result, experts = {}, {}
    for name, tensor in tensors.items():
        if match := EXPERT.fullmatch(name):
            at = match["at"].replace("block_sparse_moe", "mlp")
            role = ROLES.get(match["proj"], match["proj"])
            experts.setdefault((at, match["part"]), {})[int(match["e"]), role] = tensor
        else:
            renamed = name.replace(".block_sparse_moe.", ".mlp.")
            result[renamed] = tensor
    for (at, part), slices in experts.items():
        count = max(e for e, _ in slices) + 1
        for fused, roles in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
            first = slices[0, roles[0]]
            shape = (count, sum(slices[0, role].shape[0] for role in roles), first.shape[1])
            data = b"".join(slices[e, role].data for e in range(count) for role in roles)
            result[f"{at}.experts.{fused}{part}"] = Tensor(first.dtype, shape, data)
    return result


def make_fused(source, work):
    tensors = read_folder(source)[0]
    write(work / "fused", source, config_of(source), fused_tensors(tensors))
    return work / "fused", source


def make_predicting(source, work):
    """A last layer more, which predicts a token ahead: mlx-lm drops it where DeepSeek V3 itself has it, as layer 61."""
    tensors, config = read_folder(source)[0], config_of(source)
    last = config["num_hidden_layers"] - 1
    config["num_nextn_predict_layers"] = 1
    more = {name.replace(f"layers.{last}.", f"layers.{last + 1}."): tensor for name, tensor in tensors.items()
            if f"layers.{last}." in name}
    more[f"model.layers.{last + 1}.shared_head.head.weight"] = tensors[HEAD]
    write(work / "predicting", source, config, tensors | more)
    write(work / "twin", source, config, tensors)
    return work / "predicting", work / "twin"


def mixtral(base, folder):
    """As published, made from mlx-lm's class: a family that has no checkpoint of its own here."""
    config = {"model_type": "mixtral", "hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2,
              "rms_norm_eps": 1e-5, "vocab_size": 512, "torch_dtype": "bfloat16"}
    tensors = {}
    for name, value in families.tensors_of(config).items():
        at, switch, proj = name.partition(".switch_mlp.")
        role = {"gate_proj.weight": "w1", "down_proj.weight": "w2", "up_proj.weight": "w3"}.get(proj)
        for e in range(value.shape[0] if switch else 0):
            tensors[f"{at}.experts.{e}.{role}.weight"] = value[e]
        if not switch:
            tensors[name] = value
    families.write(folder, base, config, tensors)
    return folder


def outcomes(program, make, source, names):
    with tempfile.TemporaryDirectory(prefix="mlxmill-layouts-") as name:
        other, twin = make(source, Path(name))
        for configuration in oracle.configurations():
            if configuration.name in names:
                plain = replace(configuration, dequantize=False)
                work = Path(name) / "out"
                shutil.rmtree(work, ignore_errors=True)
                result = oracle.twin_outcome(program, other, twin, plain, work)
                ours = work / configuration.name / "mlxmill"
                problems = list(result.problems)
                if configuration.name == "16-bit" and not problems:
                    problems += oracle.loads(ours)
                yield result._replace(status="differs" if problems else result.status, problems=tuple(problems))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--only", default="", help="labels that contain this")
    arguments = parser.parse_args()
    if not arguments.checkpoints.is_dir():
        print(f"skipped: no checkpoints in {arguments.checkpoints}")
        return oracle.SKIP
    program = arguments.mlxmill.resolve()

    def results():
        for name in TIED:
            if arguments.only in f"{name}, tied":
                yield f"{name}, tied", outcomes(program, make_tied, arguments.checkpoints / name, NAMES[:2])
        for name in PREDICTING:
            if arguments.only in f"{name}, predicting":
                yield (f"{name}, predicting",
                       outcomes(program, make_predicting, arguments.checkpoints / name, NAMES[:2]))
        with tempfile.TemporaryDirectory(prefix="mlxmill-layouts-") as made:
            sources = [arguments.checkpoints / name for name in FUSED]
            sources.append(mixtral(arguments.checkpoints / "llama", Path(made) / "mixtral"))
            for source in sources:
                if arguments.only in f"{source.name}, fused":
                    yield f"{source.name}, fused", outcomes(program, make_fused, source, NAMES)
    return oracle.report(results())


if __name__ == "__main__":
    sys.exit(main())

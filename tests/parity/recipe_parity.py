#!/usr/bin/env python3
"""Recipes against mlx-lm given the same rules as a Python predicate: everything must be equal, and each module in the
output must be as its rule says.

Runs in build/venv (tests/parity/requirements.txt). Exit status 77: a checkpoint is not there.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import oracle
from raw_safetensors import read_folder

EIGHT = {"group_size": 64, "bits": 8, "mode": "affine"}
FOUR = {"group_size": 64, "bits": 4, "mode": "affine"}
MXFP4 = {"group_size": 32, "bits": 4, "mode": "mxfp4"}

MINE = r"""
[[rules]]                      # the first and last layer
match = "**.self_attn.*"
when = "layer == 0 or layer == layers - 1"
bits = 6
group_size = 32
[[rules]]
regex = '.*\.(o|k)_proj'
keep = true
optional = true
[[rules]]
match = "**.{up,gate}_proj"
mode = "mxfp8"
[[rules]]
match = "lm_head"
dtype = "float32"
[[rules]]
match = "**.down_proj"
as_run = true
"""


def is_expert(path):
    return ".switch_mlp." in path


def families_own(path):
    """What qwen3_moe's own predicate says, which a predicate given by hand replaces."""
    return {"group_size": 64, "bits": 8} if path.endswith("mlp.gate") else True


def routers_8(path, module):
    if path.endswith(("mlp.gate", "embed_tokens", "lm_head")):
        return dict(EIGHT)
    return True


def experts_4_rest_8(path, module):
    return dict(FOUR if is_expert(path) else EIGHT)


def mxfp4_experts(path, module):
    return dict(MXFP4 if is_expert(path) else EIGHT)


def mine(n_layers):
    def predicate(path, module):
        parts = path.split(".")
        if "self_attn" in parts and int(parts[2]) in (0, n_layers - 1):
            return {"group_size": 32, "bits": 6, "mode": "affine"}
        if parts[-1] in ("o_proj", "k_proj") or path == "lm_head":
            return False
        if parts[-1] in ("up_proj", "gate_proj"):
            return {"group_size": 32, "bits": 8, "mode": "mxfp8"}
        return families_own(path)
    return predicate


def check_modules(folder, predicate):
    """Codes and groups of every module have the sizes its settings ask for."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    run = config["quantization"]
    tensors, _ = read_folder(folder)
    problems, seen = [], 0
    for name, tensor in tensors.items():
        if not name.endswith(".scales"):
            continue
        path = name[:-len(".scales")]
        settings = predicate(path, None)
        settings = {**run, **settings} if isinstance(settings, dict) else run
        seen += 1
        columns = tensors[path + ".weight"].shape[-1] * 32 // settings["bits"]
        if settings.get("mode", "affine") != "affine" and path + ".biases" in tensors:
            problems.append(f"{path}: has biases")
        if columns != tensor.shape[-1] * settings["group_size"]:
            problems.append(f"{path}: not {settings}")
    return problems if seen else ["nothing is quantized"]


def compare(program, source, name, recipe, predicate, float32=()):
    with tempfile.TemporaryDirectory(prefix="mlxmill-recipes-") as folder:
        theirs, ours = Path(folder) / "mlx-lm" / "out", Path(folder) / "mlxmill" / "out"
        for path in (theirs, ours):
            path.parent.mkdir()
        file = Path(folder) / "mine.toml"
        file.write_text(MINE, encoding="utf-8")
        oracle.quietly(oracle.convert, str(source), str(theirs), quantize=True, quant_predicate=predicate,
                       q_group_size=64, q_bits=4)
        result = oracle.mlxmill(program, source, ours, ("-q", "--recipe", recipe or str(file)))
        if result.returncode != 0:
            return oracle.Outcome(name, "differs", "", (result.stderr.strip()[-400:],))
        configuration = oracle.Configuration(name)
        problems = []
        if float32:
            # mlx-lm casts all weights alike; such modules are compared by value.
            problems += compare_casts(theirs, ours, float32)
        else:
            found, tensors, _ = oracle.compare_folders(source, theirs, ours, configuration)
            problems += found + oracle.compare_logits(theirs, ours)
        problems += check_modules(ours, predicate) + oracle.loads(ours)
        return oracle.Outcome(name, "differs" if problems else "equal",
                              f"{len(read_folder(ours)[0])} tensors, logits", tuple(problems))


def compare_casts(theirs, ours, float32):
    a, b = read_folder(theirs)[0], read_folder(ours)[0]
    problems = []
    for name in float32:
        if b[name].dtype != "F32":
            problems.append(f"{name}: {b[name].dtype}, not F32")
            continue
        widened = b"".join(b"\0\0" + a[name].data[i:i + 2] for i in range(0, len(a[name].data), 2))
        if a[name].dtype != "BF16" or widened != b[name].data:
            problems.append(f"{name}: not the values of the source")
        del a[name], b[name]
    problems += oracle.compare_tensors(a, b)
    return problems + oracle.compare_configs(theirs, ours, oracle.Configuration("cast"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path, help="folder with llama and qwen3_moe")
    arguments = parser.parse_args()
    program = arguments.mlxmill.resolve()
    results = []
    for name in ("llama", "qwen3_moe"):
        source = (arguments.checkpoints / name).resolve()
        if not (source / "config.json").exists():
            print(f"skipped: no checkpoint at {source}")
            return oracle.SKIP
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        cases = [("routers_8", "routers_8", routers_8, ())]
        if name == "qwen3_moe":
            cases += [("experts_4_rest_8", "experts_4_rest_8", experts_4_rest_8, ()),
                      ("mxfp4_experts", "mxfp4_experts", mxfp4_experts, ())]
        cases.append(("a file", None, mine(config["num_hidden_layers"]), ("lm_head.weight",)))
        for case in cases:
            results.append((name, [compare(program, source, *case)]))
    return oracle.report(results)


if __name__ == "__main__":
    sys.exit(main())

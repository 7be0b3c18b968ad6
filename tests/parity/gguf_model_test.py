"""GGUF files of tiny models, written as llama.cpp's converter does, against stock mlx-lm on the original checkpoint.

    gguf_model_test.py ORACLE CHECKPOINTS [--convert MLXMILL] [--only NAME...]

For every architecture: the checkpoint's tensors under the names of the gguf package, with the converter's changes to
values and with its metadata. ORACLE must give back the tensors that mlx-lm's own sanitize makes of the original, every
number equal, and a config.json from which mlx-lm reads the same arguments. MLXMILL must make folders of the same files
that stock mlx-lm loads and runs, with the same weights where nothing is quantized.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from gguf_cases import CASES, MADE
from gguf_files import as_others_write, gguf_tensors, numbers, write_gguf
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes, load_config, load_model


def unfused(weights):
    """gpt-oss with experts [E, out, in], gate and up apart: mlx-lm's sanitize knows packed ones only."""
    out = {}
    for name, value in weights.items():
        stem, is_expert, last = name.rpartition(".experts.")
        if not is_expert:
            out[name] = value
            continue
        kind = ".bias" if last.endswith("_bias") else ".weight"
        value = value if kind == ".bias" else value.swapaxes(-1, -2)
        if last.startswith("down_proj"):
            out[f"{stem}.experts.down_proj{kind}"] = value
        else:
            out[f"{stem}.experts.gate_proj{kind}"] = value[:, ::2]
            out[f"{stem}.experts.up_proj{kind}"] = value[:, 1::2]
    return out


def original(folder, name):
    """config.json and mlx-lm's weights of a checkpoint: what its sanitize makes of the files."""
    if name in MADE:
        config = MADE[name]
        model_class, args_class = _get_classes(config)
        model = model_class(args_class.from_dict(config))
        mx.random.seed(7)
        weights = {k: (mx.random.normal(v.shape) * 0.3 + 0.1).astype(mx.bfloat16)
                   for k, v in tree_flatten(model.parameters())}
        return config, weights
    config = json.loads((folder / name / "config.json").read_text())
    weights = {}
    for file in sorted((folder / name).glob("*.safetensors")):
        weights.update(mx.load(str(file)))
    if name == "gpt_oss":
        # Experts come as MXFP4: blocks of 32 numbers, low nibble first.
        for key in [k for k in weights if k.endswith("_blocks")]:
            stem = key.removesuffix("_blocks")
            codes, scales = weights.pop(key), weights.pop(stem + "_scales")
            dense = mx.dequantize(codes.view(mx.uint32).flatten(-2), scales, group_size=32, bits=4, mode="mxfp4")
            weights[stem] = dense.astype(mx.bfloat16).swapaxes(-1, -2)
        config.pop("quantization_config")
    model_class, args_class = _get_classes(config)
    if name == "gpt_oss":
        return config, unfused(weights)
    model = model_class(args_class.from_dict(config))
    if hasattr(model, "sanitize"):
        weights = model.sanitize(weights)
    if name == "gemma3n":  # the converter adds rows of zeros
        key = "model.language_model.embed_tokens_per_layer.weight"
        text = config["text_config"]
        weights[key] = mx.pad(weights[key], ((0, text["vocab_size"] - weights[key].shape[0]), (0, 0)))
        text["vocab_size_per_layer_input"] = text["vocab_size"]
    if name == "phimoe":  # the published model's, which the file does not hold
        config["rope_scaling"].update(long_mscale=1.243163121016122, short_mscale=1.243163121016122)
    if name == "gemma4_e":
        weights = {k.removeprefix("language_model."): v for k, v in weights.items()}
        config = config["text_config"]
    return config, weights


def imported(folder):
    report = json.loads((folder / "tensors.json").read_text())
    data = (folder / "tensors.bin").read_bytes()
    out = {}
    for t in report["tensors"]:
        n = int(np.prod(t["shape"]))
        if t["dtype"] == "F32":
            value = np.frombuffer(data, np.float32, n, t["offset"])
        elif t["dtype"] == "BF16":
            value = (np.frombuffer(data, np.uint16, n, t["offset"]).astype(np.uint32) << 16).view(np.float32)
        else:
            value = np.frombuffer(data, np.float16, n, t["offset"]).astype(np.float32)
        out[t["name"]] = value.reshape(t["shape"])
    return out


def same(a, b):
    """Numbers of a config: a GGUF file holds them as F32."""
    if isinstance(a, dict) and isinstance(b, dict):
        # type and rope_type are two names of one key.
        return all(same(a.get(k), b.get(k)) for k in {*a, *b} - {"type", "rope_type"}) and (
            (a.get("rope_type") or a.get("type")) == (b.get("rope_type") or b.get("type")))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return np.float32(a) == np.float32(b) and (a == b or len(repr(b)) <= len(repr(a)))
    return a == b


def same_numbers(key, got, expected, dtype):
    if key.endswith("A_log"):  # the logarithm of what was an exponential in F32
        expected = numbers(expected.astype(dtype))
        return got.shape == expected.shape and np.allclose(got, expected, rtol=2**-8 if dtype == mx.bfloat16 else 1e-6,
                                                           atol=1e-6)
    return np.array_equal(got, numbers(expected))


def converted(mlxmill, file, weights, flags):
    """What is wrong with the folder that the program makes of the file."""
    out = file.parent / ("out" + "".join(flags))
    run = subprocess.run([mlxmill, "convert", file, "-o", out, *flags], capture_output=True, text=True)
    if run.returncode:
        return [f"convert {flags}: {run.stderr.strip()}"]
    model, _ = load_model(out)
    got = dict(tree_flatten(model.parameters()))
    if not flags:
        other = [k for k in {*got} ^ {*weights}]
        other += [k for k in {*got} & {*weights} if not same_numbers(k, numbers(got[k]), weights[k], got[k].dtype)]
        if other:
            return [f"convert: {len(other)} weights differ, such as {other[0]}"]
    model.set_dtype(mx.float32)  # MLX on a CPU multiplies by experts in float32 only.
    if not mx.all(mx.isfinite(model(mx.array([[1, 5, 9, 20, 7]])))):
        return [f"convert {flags}: the output is not finite"]
    return []


def arguments_of(config):
    args = _get_classes(config)[1].from_dict(config)
    text = getattr(args, "text_config", None)
    if isinstance(text, dict):
        module = sys.modules[type(args).__module__]
        kind = getattr(module, "TextConfig", None) or sys.modules["mlx_lm.models.qwen3_5"].TextModelArgs
        return kind.from_dict({k: v for k, v in text.items()})
    return text or args


def check(oracle, mlxmill, folder, name, arch, allowed):
    problems = []
    name, _, variant = name.partition(" ")
    config, weights = original(folder, name)
    tensors = gguf_tensors(arch, config, weights)
    as_others_write(variant, tensors, config)
    with tempfile.TemporaryDirectory() as temp:
        temp = Path(temp)
        write_gguf(temp / "model.gguf", arch, name, config, tensors, weights)
        run = subprocess.run([oracle, temp / "model.gguf", temp], capture_output=True, text=True)
        if run.returncode:
            return [run.stderr.strip()], 0
        got = imported(temp)
        got_config = load_config(temp)
        # mlx-lm's llama4_text multiplies by its embedding as if it were never quantized.
        for flags in ([], ["-q"])[:1 if name == "llama4_text" else 2] if mlxmill else ():
            problems += converted(mlxmill, temp / "model.gguf", weights, flags)
    for key in sorted({*weights} - {*got}):
        problems.append(f"{key} is missing")
    for key in sorted({*got} - {*weights}):
        problems.append(f"{key} is new")
    for key in {*got} & {*weights}:
        expected = numbers(weights[key])
        if got[key].shape != expected.shape:
            problems.append(f"{key} is {got[key].shape}; expected {expected.shape}")
        elif not same_numbers(key, got[key], weights[key], mx.float32):
            problems.append(f"{key} has {np.sum(got[key] != expected)} other numbers")
    args, got_args = arguments_of(config), arguments_of(got_config)
    for field in dataclasses.fields(args):
        a, b = getattr(args, field.name), getattr(got_args, field.name)
        if field.name == "head_dim" and a is None:
            a = config["hidden_size"] // config["num_attention_heads"]
        if field.name not in allowed and not same(a, b):
            problems.append(f"argument {field.name} is {b!r}; expected {a!r}")
    return problems, len(got)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("oracle")
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--convert", metavar="MLXMILL")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    failed, n_tensors, n_models = 0, 0, 0
    for name, (arch, allowed) in CASES.items():
        if arguments.only and name not in arguments.only:
            continue
        base = name.partition(" ")[0]
        if base not in MADE and not (arguments.checkpoints / base / "config.json").exists():
            print(f"{name}: SKIPPED, there is no such checkpoint")
            continue
        problems, n = check(arguments.oracle, arguments.convert, arguments.checkpoints, name, arch, allowed)
        n_tensors += n
        n_models += 1
        print(f"{name} ({arch}): {'ok, ' + str(n) + ' tensors' if not problems else 'FAILED'}")
        for problem in problems[:8]:
            print("    " + problem)
        failed += bool(problems)
    print(f"{n_models} models, {n_tensors} tensors, {failed} failed")
    return 77 if n_models == 0 else 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

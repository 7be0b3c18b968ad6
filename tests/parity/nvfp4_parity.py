"""NVFP4 with a factor for every tensor: kept beside stacked experts, as mlx-lm's layers hold it there; BF16 elsewhere.

usage: nvfp4_parity.py MLXMILL SAMPLE
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import computed_families
import families
import formats
import oracle
from mlx_lm.models.switch_layers import QuantizedSwitchLinear
from mlx_lm.utils import load_model
from oracle import as_array, mlxmill, mx
from raw_safetensors import Tensor, read_folder, write_file

MOE = {"model_type": "qwen3_moe", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 128,
       "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2,
       "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 64, "rms_norm_eps": 1e-5,
       "rope_theta": 10000.0, "tie_word_embeddings": False, "max_position_embeddings": 256, "norm_topk_prob": True,
       "torch_dtype": "bfloat16"}
MODELOPT = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}
COMPRESSED = {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized", "ignore": ["lm_head"],
              "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "float",
                                                                            "group_size": 16, "strategy": "tensor_group"}}}}


def plain(tensors):
    return {name: np.array(value.astype(mx.float32)) for name, value in tensors.items()}


def bf16(values):
    return Tensor("BF16", tuple(values.shape), formats.to_bf16(values).tobytes())


def write(folder, base, config, tensors):
    families.write(folder, base, config, {"x": mx.zeros((1,))})
    write_file(folder / "model.safetensors", tensors, {"format": "pt"})


def moe(base, work, settings, names, divide):
    """The published layout, one matrix for each expert, and its twin in BF16."""
    coded, twin = {}, {}
    for name, values in plain(families.tensors_of(MOE)).items():
        stem, _, kind = name.partition(".switch_mlp.")
        parts = [(f"{stem}.experts.{e}.{kind}", values[e]) for e in range(len(values))] if kind else [(name, values)]
        for path, matrix in parts:
            twin[path] = bf16(matrix)
            if not path.endswith("_proj.weight"):
                coded[path] = twin[path]
                continue
            tensors, must_be = formats.nvfp4(matrix, names, divide)
            coded.update({path.removesuffix("weight") + suffix: tensor for suffix, tensor in tensors.items()})
            coded[path.removesuffix("weight") + "input_scale"] = formats.tensor(np.ones(1, np.float32), "F32")
            twin[path] = bf16(must_be["values"])
    write(work / "coded", base, {**MOE, "quantization_config": settings}, coded)
    write(work / "twin", base, MOE, twin)


def run(program, source, out, *flags):
    result = mlxmill(program, source, out, flags)
    if result.returncode:
        raise AssertionError(f"{out.name}: exit status {result.returncode}: {result.stderr.strip()[-400:]}")
    return read_folder(out)[0]


def require(condition, text):
    if not condition:
        raise AssertionError(text)


def check_moe(program, base, work, settings, names, divide):
    moe(base, work, settings, names, divide)
    kept = run(program, work / "coded", work / "kept")
    twin = run(program, work / "twin", work / "float")
    for name, tensor in kept.items():
        if not name.endswith("_proj.weight"):
            continue
        stem = name.removesuffix("weight")
        if ".switch_mlp." not in name:
            require(tensor == twin[name], f"{name}: not the decoded weights")
            continue
        scale = kept[stem + "global_scale"]
        require((scale.dtype, scale.shape) == ("F32", (4,)), f"{stem}: global_scale {scale.dtype} {scale.shape}")
        require(tensor.dtype == "U32" and kept[stem + "scales"].dtype == "U8", f"{stem}: no codes")
        for e in range(4):
            layer, _, kind = name.partition(".switch_mlp.")
            path = f"{layer}.experts.{e}.{kind}".removesuffix("weight")
            source = read_folder(work / "coded")[0]
            words = np.frombuffer(tensor.data, np.uint8).reshape(4, -1)[e].tobytes()
            require(words == source[path + names[0]].data, f"{path}: codes changed")
            scales = np.frombuffer(kept[stem + "scales"].data, np.uint8).reshape(4, -1)[e].tobytes()
            require(scales == source[path + names[1]].data, f"{path}: scales changed")
            factor = np.frombuffer(source[path + names[2]].data, np.float32)[0]
            factor = np.float32(1) / factor if divide else factor
            ours = np.frombuffer(scale.data, np.float32)[e]
            require(ours == factor * np.float32(2688), f"{path}: factor {ours}")
    require(run(program, work / "coded", work / "back", "-d") == twin, "-d: not the decoded weights")
    require(run(program, work / "kept", work / "back2", "-d") == twin, "-d of the output: not the decoded weights")
    require(run(program, work / "kept", work / "same") == kept, "the output converted again changed")
    again = run(program, work / "kept", work / "eight", "-q", "--q-bits", "8")
    require(again == run(program, work / "float", work / "eight2", "-q", "--q-bits", "8"), "-q 8 of the output differs")
    check_meaning(work / "kept", twin)


def check_meaning(folder, twin):
    """What stock mlx-lm makes of codes and factors. Its layer multiplies on a GPU only, so the experts are decoded."""
    model, _ = oracle.quietly(load_model, folder)
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, QuantizedSwitchLinear)]
    require(len(layers) == 6, f"{len(layers)} quantized stacks")
    for name, module in layers:
        decoded = mx.stack([mx.dequantize(module.weight[e], module.scales[e], None, 16, 4, "nvfp4", module.global_scale[e], mx.float32)
                            for e in range(4)])
        expected = as_array(twin[name + ".weight"]).astype(mx.float32)
        require(mx.allclose(decoded, expected, rtol=2 ** -8, atol=0).item(), f"{name}: mlx reads other weights")


def muse_spark(base, work):
    config, tensors = computed_families.muse_spark_as_published()
    coded = {}
    for name, values in plain(tensors).items():
        experts = name.endswith((".experts.gate_up_proj", ".experts.down_proj"))
        layer = int(name.split(".")[3]) if ".layers." in name else 0
        if not experts or layer in (0, 3):
            coded[name] = bf16(values)
            continue
        parts = 2 if "gate_up" in name else 1
        made = [[formats.nvfp4(part, ("weight", "scale", "factor"), False)[0] for part in np.split(expert, parts)]
                for expert in values]
        for key, suffix, shape in (("weight", "", values.shape[:2] + (-1,)), ("scale", "_weight_scale", values.shape[:2] + (-1,)),
                                   ("factor", "_weight_scale_2", (4, 2) if parts == 2 else (4,))):
            data = b"".join(part[key].data for expert in made for part in expert)
            dtype = {"weight": "U8", "scale": "F8_E4M3", "factor": "F32"}[key]
            array = np.frombuffer(data, {"F32": np.float32}.get(dtype, np.uint8)).reshape(shape)
            coded[name + suffix] = formats.tensor(array, dtype)
        coded[name + "_input_scale"] = formats.tensor(np.ones(1, np.float32), "F32")
    write(work / "source", base, {**config, "quantization_config": MODELOPT}, coded)


def check_muse_spark(program, base, work):
    """Against mlx-lm, which keeps these codes too (and rounds the factors to bfloat16)."""
    muse_spark(base, work)
    oracle.quietly(oracle.convert, str(work / "source"), str(work / "theirs"))
    ours = run(program, work / "source", work / "ours")
    theirs = read_folder(work / "theirs")[0]
    require(set(ours) == set(theirs), f"names differ: {sorted(set(ours) ^ set(theirs))[:4]}")
    kept = 0
    for name, tensor in theirs.items():
        if name.endswith(".global_scale"):
            kept += 1
            mine = as_array(ours[name])
            require(ours[name].dtype == "F32", f"{name}: {ours[name].dtype}")
            require(mx.array_equal(mine.astype(mx.bfloat16), as_array(tensor).astype(mx.bfloat16)).item(), f"{name} differs")
            continue
        require(tensor == ours[name], f"{name}: {tensor.dtype} {tensor.shape}, ours {ours[name].dtype} {ours[name].shape}")
    require(kept == 6, f"{kept} global scales")
    require(json.loads((work / "ours" / "config.json").read_text())["quantization"]["mode"] == "nvfp4", "config.json")


def main():
    program, base = Path(sys.argv[1]), Path(sys.argv[2])
    checks = {
        "experts, ModelOpt": lambda work: check_moe(program, base, work, MODELOPT, ("weight", "weight_scale", "weight_scale_2"), False),
        "experts, compressed-tensors": lambda work: check_moe(
            program, base, work, COMPRESSED, ("weight_packed", "weight_scale", "weight_global_scale"), True),
        "muse_spark, ModelOpt": lambda work: check_muse_spark(program, base, work),
    }
    failed = 0
    for name, check in checks.items():
        with tempfile.TemporaryDirectory(prefix="mlxmill-nvfp4-") as folder:
            try:
                check(Path(folder))
                print(f"  {name:32} exact", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"  {name:32} differs: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

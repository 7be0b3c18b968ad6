"""Every weight format on the sample model: what MLX can hold must come out bit for bit, the rest rounded once.

usage: formats_parity.py MLXMILL SAMPLE
"""
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import formats
import torch_writer
from oracle import as_array, logits_of, mlxmill, mx
from raw_safetensors import Tensor, read_folder
from variants import Checkpoint

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def is_projection(name):
    return name.endswith(".weight") and name.split(".")[-2] in PROJECTIONS


def mixed_index(columns, group):
    """A desc_act order: neighbouring columns in different groups."""
    return (np.arange(columns) * 7 % columns) // group


def in_groups(bits, group, **settings):
    return {"quant_method": "gptq", "bits": bits, "group_size": group, **settings}


def packed_settings(form, bits, group=None, kind="int"):
    weights = {"num_bits": bits, "type": kind, "strategy": "group" if group else "channel", "group_size": group}
    return {"quant_method": "compressed-tensors", "format": form,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


def fp8_block(rows, columns, suffix="_scale_inv", scale_dtype="F32"):
    def make(weight):
        codes, scales, values = formats.fp8(weight, min(rows, weight.shape[0]), min(columns, weight.shape[1]), scale_dtype)
        scale = formats.tensor(scales, "F32") if scale_dtype == "F32" else Tensor("BF16", scales.shape, formats.to_bf16(scales).tobytes())
        return {"weight": formats.tensor(codes, "F8_E4M3"), "weight" + suffix: scale}, {"values": values}
    return make


def fp8_blocks_told():
    settings = packed_settings("float-quantized", 8, kind="float")
    settings["config_groups"]["group_0"]["weights"].update(strategy="block", block_structure=[96, 64])
    return settings


def fp8_flat_blocks(weight):
    """ModelOpt's FP8_PB_WO: scales with axes of 1 between."""
    tensors, must_be = fp8_block(128, 128, "_scale")(weight)
    scale = tensors["weight_scale"]
    tensors["weight_scale"] = Tensor(scale.dtype, (scale.shape[0], 1, scale.shape[1], 1), scale.data)
    return tensors, must_be


def fp8_tensor(shape, suffix, activation=None):
    def make(weight):
        codes, scales, values = formats.fp8(weight, *weight.shape)
        tensors = {"weight": formats.tensor(codes, "F8_E4M3"), "weight" + suffix: formats.tensor(scales.reshape(shape), "F32")}
        if activation:
            tensors[activation] = formats.tensor(np.ones(shape, np.float32), "F32")
        return tensors, {"values": values}
    return make


def fp8_rows(weight):
    codes, scales, values = formats.fp8(weight, 1, weight.shape[1])
    return {"weight": formats.tensor(codes, "F8_E4M3"), "weight_scale": formats.tensor(scales, "F32")}, {"values": values}


# name, quantization_config, how a weight is stored
CASES = [
    *((f"gptq {bits}-bit g{group}{'' if symmetric else ' asymmetric'}{' v2' if version == 2 else ''}",
       in_groups(bits, group, **({"checkpoint_format": "gptq_v2"} if version == 2 else {})),
       lambda w, b=bits, g=group, s=symmetric, v=version: formats.gptq(w, b, g, s, v))
      for bits in (2, 3, 4, 8) for group in (32, 128) for symmetric in (True, False) for version in ((1, 2) if bits == 4 else (1,))),
    ("gptq one group for each row", in_groups(4, -1), lambda w: formats.gptq(w, 4, w.shape[1])),
    ("gptq desc_act", in_groups(4, 64, desc_act=True),
     lambda w: formats.gptq(w, 4, 64, False, index=mixed_index(w.shape[1], 64))),
    ("gptq desc_act, the last group shorter", in_groups(4, 96, desc_act=True),
     lambda w: formats.gptq_any_groups(w, 4, mixed_index(w.shape[1], 96), 64)),
    ("gptq, the last group shorter", in_groups(8, 160), lambda w: formats.gptq_any_groups(w, 8, np.arange(w.shape[1]) // 160, 128)),
    ("auto-round", {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "packing_format": "auto_round:auto_gptq"},
     lambda w: formats.gptq(w, 4, 128)),
    ("awq", {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm", "zero_point": True},
     lambda w: formats.awq(w, 64)),
    ("compressed-tensors int4 g32", packed_settings("pack-quantized", 4, 32), lambda w: formats.pack_quantized(w, 4, 32)),
    ("compressed-tensors int4 asymmetric", packed_settings("pack-quantized", 4, 128),
     lambda w: formats.pack_quantized(w, 4, 128, False)),
    ("compressed-tensors actorder group", packed_settings("pack-quantized", 4, 64),
     lambda w: formats.pack_quantized_mixed(w, 4, 64, mixed_index(w.shape[1], 64))),
    *((f"compressed-tensors int{bits}", packed_settings("pack-quantized", bits, 64),
       lambda w, b=bits: formats.pack_quantized(w, b, 64, False)) for bits in (2, 3, 5, 6)),
    ("compressed-tensors mxfp8", packed_settings("mxfp8-quantized", 8, 32, "float"),
     lambda w: formats.mxfp8(w, ("weight", "weight_scale"))),
    ("compressed-tensors float in blocks", fp8_blocks_told(), fp8_block(96, 64, "_scale")),
    ("compressed-tensors int8 by channel", packed_settings("pack-quantized", 8), lambda w: formats.pack_quantized(w, 8, None)),
    ("compressed-tensors int8, not packed", packed_settings("int-quantized", 8), formats.int_quantized),
    ("compressed-tensors int8, zero points", packed_settings("int-quantized", 8), lambda w: formats.int_quantized(w, False)),
    ("compressed-tensors float by channel", packed_settings("float-quantized", 8, kind="float"), fp8_rows),
    ("compressed-tensors nvfp4", packed_settings("nvfp4-pack-quantized", 4, 16, "float"),
     lambda w: formats.nvfp4(w, ("weight_packed", "weight_scale", "weight_global_scale"), True)),
    ("compressed-tensors mxfp4", packed_settings("mxfp4-pack-quantized", 4, 32, "float"),
     lambda w: formats.mxfp4(w, ("weight_packed", "weight_scale"))),
    ("fp8 128x128", {"quant_method": "fp8", "weight_block_size": [128, 128]}, fp8_block(128, 128)),
    ("fp8 96x80, the last ones smaller", {"quant_method": "fp8", "weight_block_size": [96, 80]}, fp8_block(96, 80)),
    ("fp8 bfloat16 scales", {"quant_method": "fp8", "weight_block_size": [128, 128]}, fp8_block(128, 128, scale_dtype="BF16")),
    ("fp8 by tensor", {"quant_method": "fp8"}, fp8_tensor((), "_scale_inv", "activation_scale")),
    ("fp8 by tensor, shape [1]", {"quant_method": "fp8"}, fp8_tensor((1,), "_scale")),
    ("modelopt fp8", {"quant_method": "modelopt", "quant_algo": "FP8"}, fp8_tensor((), "_scale", "input_scale")),
    ("modelopt fp8 in blocks", {"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}, fp8_flat_blocks),
    ("modelopt mxfp8", {"quant_method": "modelopt", "quant_algo": "MXFP8"}, lambda w: formats.mxfp8(w, ("weight", "weight_scale"))),
    ("modelopt nvfp4", {"quant_method": "modelopt", "quant_algo": "NVFP4"},
     lambda w: formats.nvfp4(w, ("weight", "weight_scale", "weight_scale_2"), False)),
    ("modelopt, settings in a file", {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}},
     lambda w: formats.nvfp4(w, ("weight", "weight_scale", "weight_scale_2"), False)),
    ("bitnet, repacked", {"quant_method": "bitnet", "linear_class": "autobitlinear"}, formats.bitnet),
]


def quantized(sample, settings, store):
    checkpoint = Checkpoint(sample)
    # Two layers show what six would.
    checkpoint.config["num_hidden_layers"] = 2
    for name in [n for n in checkpoint.tensors if n.startswith("model.layers.") and int(n.split(".")[2]) >= 2]:
        del checkpoint.tensors[name]
    expected = {}
    for name, plain in list(checkpoint.tensors.items()):
        if not is_projection(name):
            continue
        path = name[:-len(".weight")]
        stored, must_be = store(formats.from_bf16(plain.data, plain.shape))
        del checkpoint.tensors[name]
        checkpoint.tensors.update({f"{path}.{suffix}": tensor for suffix, tensor in stored.items()})
        expected[path] = must_be
    if "quant_method" in settings:
        checkpoint.config["quantization_config"] = settings
    else:
        checkpoint.files["hf_quant_config.json"] = json.dumps(settings).encode()
    if any(t.dtype == "F16" for t in checkpoint.tensors.values()):
        checkpoint.config["torch_dtype"] = "float16"
    return checkpoint, expected


def unpack(words, bits):
    rows = words.shape[0]
    stream = np.unpackbits(words.view(np.uint8).reshape(rows, -1), axis=-1, bitorder="little")
    return (stream.reshape(rows, -1, bits).astype(np.int64) << np.arange(bits)).sum(-1)


def raw(tensor, dtype):
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)


def compare_module(path, out, must_be):
    weight = out[path + ".weight"]
    if "values" in must_be:
        if weight.dtype != "BF16":
            return f"{path}: {weight.dtype}"
        return None if weight.data == formats.to_bf16(must_be["values"]).tobytes() else f"{path}: values differ"
    if weight.dtype != "U32":
        return f"{path}: {weight.dtype} {weight.shape}; expected codes"
    words = raw(weight, "<u4")
    if "mode" in must_be:
        good = np.array_equal(words, must_be["words"]) and np.array_equal(raw(out[path + ".scales"], np.uint8), must_be["scales"])
        return None if good else f"{path}: {must_be['mode']} codes or scales differ"
    if "requantized" in must_be:
        codes, scales, biases = mx.quantize(mx.array(must_be["requantized"]), must_be["group"], must_be["bits"])
        theirs = [np.array(codes).tobytes(), np.array(scales).tobytes(), np.array(biases).tobytes()]
        ours = [weight.data, out[path + ".scales"].data, out[path + ".biases"].data]
        return None if theirs == ours else f"{path}: not what mx.quantize makes of the decoded weights"
    if not np.array_equal(unpack(words, must_be["bits"]), must_be["codes"]):
        return f"{path}: codes differ"
    for part in ("scales", "biases"):
        if out[f"{path}.{part}"].data != np.ascontiguousarray(must_be[part]).tobytes():
            return f"{path}: {part} differ"
    return None


def run(program, source, out, *flags):
    result = mlxmill(program, source, out, flags)
    return None if result.returncode == 0 else f"exit status {result.returncode}: {result.stderr.strip()[-300:]}"


def check_loads(out):
    try:
        return None if logits_of(out)[1] else "logits are not finite"
    except Exception as error:
        return f"does not load in mlx-lm: {type(error).__name__}: {error}"


def check_case(program, sample, work, settings, store):
    checkpoint, expected = quantized(sample, settings, store)
    source, out = work / "source", work / "out"
    checkpoint.write(source)
    repacked = settings.get("quant_method") == "bitnet"
    if problem := run(program, source, out, *(("-q",) if repacked else ())):
        return problem
    tensors, _ = read_folder(out)
    for path, must_be in expected.items():
        if problem := compare_module(path, tensors, must_be):
            return problem
    config = json.loads((out / "config.json").read_text())
    packed = any("values" not in must_be for must_be in expected.values())
    if ("quantization" in config) != packed or ("quantization_config" in config) != packed:
        return "config.json: quantization does not say what the weights are"
    return check_loads(out)


def check_torch(program, sample, work, shards):
    """The same weights in files as torch.save writes them."""
    checkpoint = Checkpoint(sample)
    source = work / "source"
    checkpoint.write(source)
    (source / "model.safetensors").unlink()
    torch_writer.write_folder(source, checkpoint.tensors, shards)
    for folder, flags in (("float", ()), ("packed", ("-q",))):
        for origin, name in ((sample, "theirs"), (source, "ours")):
            if problem := run(program, origin, work / folder / name, *flags):
                return problem
        if read_folder(work / folder / "theirs")[0] != read_folder(work / folder / "ours")[0]:
            return f"{folder}: tensors differ from those of the safetensors file"
    return None


def check_again(program, sample, work):
    """An MLX model quantized again equals its dequantization quantized; the same settings keep every byte."""
    steps = [(sample, "eight", ("-q", "--q-bits", "8")), (work / "eight", "direct", ("-q", "--q-bits", "4", "--q-group-size", "32")),
             (work / "eight", "floats", ("-d",)), (work / "floats", "twice", ("-q", "--q-bits", "4", "--q-group-size", "32")),
             (work / "eight", "same", ("-q", "--q-bits", "8"))]
    for source, name, flags in steps:
        if problem := run(program, source, work / name, *flags):
            return f"{name}: {problem}"
    if read_folder(work / "direct")[0] != read_folder(work / "twice")[0]:
        return "quantizing again differs from -d and -q"
    if read_folder(work / "same")[0] != read_folder(work / "eight")[0]:
        return "the same settings changed something"
    return check_loads(work / "direct")


def main():
    program, sample = Path(sys.argv[1]), Path(sys.argv[2])
    checks = [(name, lambda work, s=settings, f=store: check_case(program, sample, work, s, f)) for name, settings, store in CASES]
    checks += [(f"PyTorch files, {n} shards", lambda work, n=n: check_torch(program, sample, work, n)) for n in (1, 3)]
    checks += [("MLX quantized again", lambda work: check_again(program, sample, work))]
    failed = 0
    for name, check in checks:
        with tempfile.TemporaryDirectory(prefix="mlxmill-formats-") as folder:
            problem = check(Path(folder))
        failed += problem is not None
        print(f"  {name:44} {'differs: ' + problem if problem else 'exact'}", flush=True)
    print(f"\n{len(checks)} formats: {len(checks) - failed} exact, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

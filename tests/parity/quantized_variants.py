"""Checkpoints of mixture and multimodal families as their makers quantize them: what mlx-lm decodes family by family."""
import copy

import numpy as np

import formats
from raw_safetensors import Tensor
from variants import Checkpoint, variant

FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}
FP8_TENSOR = {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None}
INT4 = {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
        "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
            "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}}}}


def linear_layers(c):
    """Names of the layers' matrices; embeddings, output layer, norms and routers stay floats."""
    return [name for name, tensor in c.tensors.items()
            if ".layers." in name and name.endswith("_proj.weight") or name.endswith((".w1.weight", ".w2.weight", ".w3.weight"))]


def values_of(tensor):
    return formats.from_bf16(tensor.data, tensor.shape)


def bf16(values):
    return Tensor("BF16", tuple(np.shape(values)), formats.to_bf16(np.asarray(values, np.float32)).tobytes())


def fp8_blocks(c, scale_dtype="F32"):
    for name in linear_layers(c):
        codes, scales, _ = formats.fp8(values_of(c.tensors[name]), 128, 128, scale_dtype)
        c.tensors[name] = formats.tensor(codes, "F8_E4M3")
        c.tensors[name + "_scale_inv"] = formats.tensor(scales, "F32") if scale_dtype == "F32" else bf16(scales)
    c.config["quantization_config"] = copy.deepcopy(FP8)


def fp8_scaled(values, scales):
    """Codes, the scales as BF16 holds them, and what mlx must make of both."""
    scales = formats.from_bf16(formats.to_bf16(scales).tobytes(), np.shape(scales))
    codes = formats.to_e4m3(np.clip(values / scales, -448, 448))
    decoded = bf16(formats.E4M3[codes] * scales)
    return formats.tensor(codes, "F8_E4M3"), bf16(scales), decoded


def fp8_tensors(c, twin=None):
    """One scale for a tensor, one for each expert of a stack; scales of activations beside them."""
    for name in linear_layers(c) + [name for name in c.tensors if name.endswith((".gate_up_proj", ".experts.down_proj"))]:
        values = values_of(c.tensors[name])
        by_expert = values.ndim == 3
        scales = np.abs(values).max(axis=(1, 2), keepdims=True) / 448 if by_expert else np.abs(values).max() / 448
        c.tensors[name], scale, decoded = fp8_scaled(values, scales.astype(np.float32))
        stem = name.removesuffix("weight")
        c.tensors[name + "_scale_inv"] = scale
        c.tensors[stem + ("_" if by_expert else "") + "activation_scale"] = bf16(np.float32(0.25))
        if twin:
            twin.tensors[name] = decoded
    c.config["quantization_config"] = copy.deepcopy(FP8_TENSOR)


def int4_experts(c, names, shape_dtype="I64"):
    for name in names:
        packed, _ = formats.pack_quantized(values_of(c.tensors.pop(name)), 4, 32)
        stem = name.removesuffix("weight")
        packed["weight_scale"] = bf16(np.frombuffer(packed["weight_scale"].data, np.float16).astype(np.float32)
                                      .reshape(packed["weight_scale"].shape))
        shape = np.frombuffer(packed["weight_shape"].data, np.int64)
        packed["weight_shape"] = formats.tensor(shape.astype({"I64": np.int64, "I32": np.int32}[shape_dtype]), shape_dtype)
        c.tensors.update({stem + kind: tensor for kind, tensor in packed.items()})


@variant("deepseek_v3", weights=True)
def fp8_in_blocks(c):
    fp8_blocks(c)


@variant("kimi_k2", weights=True)
def fp8_in_blocks_kimi(c):
    fp8_blocks(c)


@variant("glm_moe_dsa", weights=True)
def fp8_in_blocks_sparse_attention(c):
    fp8_blocks(c)


@variant("minimax", weights=True)
def fp8_in_blocks_minimax(c):
    fp8_blocks(c)


@variant("minimax_m2", weights=True)
def fp8_in_blocks_minimax_m2(c):
    fp8_blocks(c)


@variant("mistral4", weights=True)
def fp8_by_tensor_and_expert(c):
    fp8_tensors(c)


@variant("kimi_k25", weights=True)
def int4_experts_kimi(c):
    int4_experts(c, [name for name in linear_layers(c) if ".experts." in name], "I32")
    c.config["text_config"]["quantization_config"] = copy.deepcopy(INT4)


@variant("deepseek_v3")
def int4_experts_and_attention(c):
    """kv_b_proj packed, too: it is decoded, cut, and coded again."""
    int4_experts(c, [name for name in linear_layers(c) if ".experts." in name or "kv_b_proj" in name])
    c.config["quantization_config"] = copy.deepcopy(INT4)


def twins(checkpoints, work):
    """What mlx-lm misreads, and the same weights as 16-bit floats: (label, folder, twin's folder).

    ministral3 multiplies the codes of 8-bit floats as if they were integers."""
    coded = Checkpoint(checkpoints / "ministral3")
    plain = Checkpoint(checkpoints / "ministral3")
    fp8_tensors(coded, plain)
    coded.write(work / "ministral3_fp8")
    plain.write(work / "ministral3_decoded")
    return [("ministral3: fp8 by tensor", work / "ministral3_fp8", work / "ministral3_decoded")]

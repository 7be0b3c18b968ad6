"""Weight formats as others publish them, made here from plain weights with NumPy, each with what MLX must hold."""
import numpy as np

from raw_safetensors import Tensor

# What a module must become: MLX codes, or floats.
#   {"bits", "codes": [out, in], "scales": [out, groups], "biases": [out, groups]}, or {"mode", "words", "scales"}
#   {"values": float32 [out, in]}


def to_bf16(values):
    """To nearest, ties to even; no NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(data, shape):
    return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)


def tensor(array, dtype):
    return Tensor(dtype, tuple(array.shape), np.ascontiguousarray(array).tobytes())


# --- Float8 (E4M3) ---

def e4m3_table():
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    values = np.where(exponent == 0, mantissa / 8 * 2.0 ** -6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))
    values = sign * values
    values[[0x7F, 0xFF]] = np.nan
    return values.astype(np.float32)


E4M3 = e4m3_table()
_FINITE = np.array([c for c in range(256) if c & 0x7F != 0x7F])
_ORDER = _FINITE[np.argsort(E4M3[_FINITE], kind="stable")]


def to_e4m3(values):
    """The nearest code; which of two equally near ones does not matter here."""
    sorted_values = E4M3[_ORDER]
    at = np.clip(np.searchsorted(sorted_values, values), 1, len(_ORDER) - 1)
    low, high = sorted_values[at - 1], sorted_values[at]
    return _ORDER[np.where(values - low <= high - values, at - 1, at)].astype(np.uint8)


FP4 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def to_fp4(values):
    return np.abs(values[..., None] - FP4).argmin(-1).astype(np.uint8)


def fp8(weight, rows, columns, scale_dtype="F32"):
    """Codes, and scales for blocks of rows by columns, the last ones smaller."""
    r, c = weight.shape
    sr, sc = -(-r // rows), -(-c // columns)
    padded = np.zeros((sr * rows, sc * columns), np.float32)
    padded[:r, :c] = weight
    blocks = padded.reshape(sr, rows, sc, columns)
    scales = np.maximum(np.abs(blocks).max((1, 3)) / 448, 1e-8).astype(np.float32)
    if scale_dtype == "BF16":
        scales = (to_bf16(scales).astype(np.uint32) << 16).view(np.float32)
    wide = np.repeat(np.repeat(scales, rows, 0), columns, 1)[:r, :c]
    codes = to_e4m3(weight / wide)
    return codes, scales, E4M3[codes] * wide


# --- Integers in groups ---

def group_codes(weight, bits, group, symmetric, generator=None):
    """Unsigned codes [out, in], float16 scales and zero points [out, groups]."""
    out, columns = weight.shape
    grouped = weight.reshape(out, columns // group, group)
    top = (1 << bits) - 1
    if symmetric:
        zeros = np.full(grouped.shape[:2], 1 << (bits - 1))
        scales = np.abs(grouped).max(-1) / max((1 << (bits - 1)) - 1, 1)
    else:
        low, high = np.minimum(grouped.min(-1), 0), np.maximum(grouped.max(-1), 0)
        scales = (high - low) / top
        zeros = np.round(-low / np.maximum(scales, 1e-8))
    scales = np.maximum(scales, 1e-4).astype(np.float16)
    zeros = np.clip(zeros, 1, top).astype(np.int64)  # GPTQ stores them less one
    codes = np.round(grouped / scales[..., None].astype(np.float32)) + zeros[..., None]
    return np.clip(codes, 0, top).astype(np.int64).reshape(out, columns), scales, zeros


def pack_rows(codes, bits, order=None):
    """Little-endian bit streams along the last axis in 32-bit words; `order`: AutoAWQ's places in a word."""
    rows, columns = codes.shape
    if order is not None:
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        codes = codes.reshape(rows, -1, len(order))[..., places].reshape(rows, columns)
    stream = ((codes[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(rows, columns * bits)
    return np.packbits(stream, axis=-1, bitorder="little").view("<u4")


def affine(codes, scales, zeros, bits):
    """What MLX must hold, groups longer than 128 cut."""
    columns = codes.shape[1]
    group = columns // scales.shape[1]
    legal = next(g for g in (128, 64, 32) if group % g == 0)
    biases = (-zeros.astype(np.float32) * scales.astype(np.float32)).astype(scales.dtype)
    times = group // legal
    return {"bits": bits, "codes": codes, "scales": np.repeat(scales, times, 1), "biases": np.repeat(biases, times, 1)}


def gptq(weight, bits, group, symmetric=True, version=1, index=None):
    """Tensors of AutoGPTQ's QuantLinear. `index`: the group of each column, for desc_act."""
    columns = weight.shape[1]
    order = np.arange(columns) if index is None else np.argsort(index, kind="stable")
    codes, scales, zeros = group_codes(weight[:, order], bits, group, symmetric)
    back = np.empty(columns, np.int64)
    back[order] = np.arange(columns)
    codes = codes[:, back]
    stored_zeros = zeros - (1 if version == 1 else 0)
    tensors = {
        "qweight": tensor(pack_rows(codes, bits).T.view(np.int32), "I32"),
        "qzeros": tensor(pack_rows(stored_zeros.T, bits).view(np.int32), "I32"),
        "scales": tensor(scales.T, "F16"),
        "g_idx": tensor((np.arange(columns) // group if index is None else index).astype(np.int32), "I32"),
    }
    if index is None:
        return tensors, affine(codes, scales, zeros, bits)
    groups = np.asarray(index)
    values = (codes - zeros[:, groups]).astype(np.float32) * scales[:, groups].astype(np.float32)
    return tensors, {"requantized": values.astype(np.float16), "bits": bits, "group": group}


def gptq_any_groups(weight, bits, index, kept):
    """Groups of any length and order; `kept`: the group size that MLX codes them in anew."""
    groups = int(index.max()) + 1
    top = (1 << bits) - 1
    low = np.stack([np.minimum(weight[:, index == g].min(-1), 0) for g in range(groups)], -1)
    high = np.stack([np.maximum(weight[:, index == g].max(-1), 0) for g in range(groups)], -1)
    scales = np.maximum((high - low) / top, 1e-4).astype(np.float16)
    zeros = np.clip(np.round(-low / scales.astype(np.float32)), 1, top).astype(np.int64)
    wide = scales.astype(np.float32)[:, index]
    codes = np.clip(np.round(weight / wide) + zeros[:, index], 0, top).astype(np.int64)
    tensors = {"qweight": tensor(pack_rows(codes, bits).T.view(np.int32), "I32"),
               "qzeros": tensor(pack_rows((zeros - 1).T, bits).view(np.int32), "I32"),
               "scales": tensor(scales.T, "F16"), "g_idx": tensor(index.astype(np.int32), "I32")}
    values = ((codes - zeros[:, index]).astype(np.float32) * wide).astype(np.float16)
    return tensors, {"requantized": values, "bits": bits, "group": kept}


AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # the code at each place of a word, low bits first


def awq(weight, group):
    codes, scales, zeros = group_codes(weight, 4, group, False)

    def pack(matrix):  # [rows, out]: along the outputs
        rows, out = matrix.shape
        return pack_rows(matrix.reshape(rows, -1, 8)[..., AWQ_ORDER].reshape(rows, out), 4).view(np.int32)

    tensors = {"qweight": tensor(pack(codes.T), "I32"), "qzeros": tensor(pack(zeros.T), "I32"),
               "scales": tensor(scales.T, "F16")}
    return tensors, affine(codes, scales, zeros, 4)


def pack_quantized(weight, bits, group, symmetric=True):
    """compressed-tensors' pack-quantized: codes along the inputs, zero points along the outputs."""
    out, columns = weight.shape
    group = group or columns
    codes, scales, zeros = group_codes(weight, bits, group, symmetric)
    tensors = {"weight_packed": tensor(pack_rows(codes, bits).view(np.int32), "I32"),
               "weight_scale": tensor(scales, "F16"),
               "weight_shape": tensor(np.array([out, columns], np.int64), "I64")}
    if not symmetric:
        tensors["weight_zero_point"] = tensor(pack_rows(zeros.T, bits).T.view(np.int32), "I32")
    return tensors, affine(codes, scales, zeros, bits)


def pack_quantized_mixed(weight, bits, group, index):
    """With actorder "group": `index` tells the group of each column."""
    tensors, must_be = gptq(weight, bits, group, index=index)
    codes = unpack_columns(tensors["qweight"], bits)
    scales = np.frombuffer(tensors["scales"].data, np.float16).reshape(tensors["scales"].shape)
    return {"weight_packed": tensor(pack_rows(codes, bits).view(np.int32), "I32"), "weight_scale": tensor(scales.T, "F16"),
            "weight_shape": tensor(np.array(weight.shape, np.int64), "I64"), "weight_g_idx": tensors["g_idx"]}, must_be


def unpack_columns(packed, bits):
    words = np.ascontiguousarray(np.frombuffer(packed.data, np.uint32).reshape(packed.shape).T)
    stream = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little").reshape(len(words), -1, bits)
    return (stream.astype(np.int64) << np.arange(bits)).sum(-1)


def mxfp8(weight, names):
    out, columns = weight.shape
    grouped = weight.reshape(out, -1, 32)
    exponents = np.ceil(np.log2(np.maximum(np.abs(grouped).max(-1), 1e-12) / 448)).astype(np.int64)
    codes = to_e4m3(grouped / 2.0 ** exponents[..., None]).reshape(out, columns)
    scales = (exponents + 127).astype(np.uint8)
    return {names[0]: tensor(codes, "F8_E4M3"), names[1]: tensor(scales, "U8")}, {
        "mode": "mxfp8", "words": codes.view("<u4"), "scales": scales}


def int_quantized(weight, symmetric=True):
    codes, scales, zeros = group_codes(weight, 8, weight.shape[1], symmetric)
    tensors = {"weight": tensor((codes - 128).astype(np.int8), "I8"), "weight_scale": tensor(scales, "F16")}
    if not symmetric:
        tensors["weight_zero_point"] = tensor((zeros - 128).astype(np.int8), "I8")
    return tensors, affine(codes, scales, zeros, 8)


def nvfp4(weight, names, divide):
    """FP4 with E4M3 scales of 16 and a factor for the tensor: multiplied (ModelOpt) or divided by (compressed-tensors)."""
    out, columns = weight.shape
    factor = np.float32(np.abs(weight).max() / (6 * 448))
    grouped = weight.reshape(out, -1, 16)
    scales = to_e4m3(np.abs(grouped).max(-1) / 6 / factor)
    stored = np.float32(1) / factor if divide else factor
    used = np.float32(1) / stored if divide else factor
    wide = np.maximum(E4M3[scales], 1e-9)[..., None] * used
    codes = to_fp4(grouped / wide).reshape(out, columns)
    values = (FP4[codes].reshape(out, -1, 16) * E4M3[scales][..., None]).astype(np.float32) * used
    packed = (codes[:, 0::2] | (codes[:, 1::2] << 4)).astype(np.uint8)
    tensors = {names[0]: tensor(packed, "U8"), names[1]: tensor(scales, "F8_E4M3"),
               names[2]: tensor(np.array([stored] if divide else stored, np.float32), "F32")}
    return tensors, {"values": values.reshape(out, columns)}


def mxfp4(weight, names):
    out, columns = weight.shape
    grouped = weight.reshape(out, -1, 32)
    exponents = np.ceil(np.log2(np.maximum(np.abs(grouped).max(-1), 1e-12) / 6)).astype(np.int64)
    codes = to_fp4(grouped / 2.0 ** exponents[..., None]).reshape(out, columns)
    packed = (codes[:, 0::2] | (codes[:, 1::2] << 4)).astype(np.uint8)
    scales = (exponents + 127).astype(np.uint8)
    tensors = {names[0]: tensor(packed, "U8"), names[1]: tensor(scales, "U8")}
    return tensors, {"mode": "mxfp4", "words": packed.view("<u4"), "scales": scales}


def bitnet(weight):
    """Ternary: four rows to a byte, a quarter of the outputs apart."""
    out, columns = weight.shape
    scale = np.abs(weight).mean()
    codes = (np.clip(np.round(weight / scale), -1, 1) + 1).astype(np.uint8)
    quarters = codes.reshape(4, out // 4, columns)
    packed = sum(quarters[k] << (2 * k) for k in range(4)).astype(np.uint8)
    scale_bits = to_bf16(np.array([scale]))
    tensors = {"weight": tensor(packed, "U8"), "weight_scale": Tensor("BF16", (1,), scale_bits.tobytes())}
    scales = np.broadcast_to(scale_bits, (out, columns // 128))
    return tensors, {"bits": 2, "codes": codes.astype(np.int64), "scales": scales, "biases": scales ^ 0x8000}

"""Compares the kernels with live libmlx on its CPU device, bit for bit.

    python kernel_oracle_test.py [EMULATOR ARGS...] PATH/TO/kernel_oracle

Every mode, bits, group and dtype, on every SIMD target of this machine and on the scalar reference.
The quantized bytes must be equal; of dequantized NaNs only the position counts. Prints one line and
exits 1 at the first difference.
"""

import os
import subprocess
import sys
import tempfile

import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
BLOCK_FLOAT = [("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)]
SCHEMES = [("affine", b, g) for b in (2, 3, 4, 5, 6, 8) for g in (32, 64, 128)] + BLOCK_FLOAT
FP4_VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def to_bits(values, dtype):
    """f32 -> raw bits of dtype; what overflows becomes the largest finite value."""
    if dtype == "float32":
        bits, top = values.astype(np.float32).view(np.uint32), np.uint32(0x7F7FFFFF)
    elif dtype == "float16":
        with np.errstate(over="ignore"):
            bits, top = values.astype(np.float16).view(np.uint16), np.uint16(0x7BFF)
    else:
        u = values.astype(np.float32).view(np.uint32).astype(np.uint64)
        bits, top = ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16), np.uint16(0x7F7F)
    sign = bits & ~np.array(np.iinfo(bits.dtype).max >> 1, bits.dtype)
    return np.minimum(bits ^ sign, top) | sign


def to_mx(bits, dtype):
    return mx.array(bits).view(DTYPES[dtype])


def raw(array):
    """The bytes of an mlx array."""
    width = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32}[array.dtype.size]
    return np.array(array.view(width)).reshape(-1)


def hand_made(group, rng):
    """Groups [*, group] of f32 that probe one thing each."""
    rows = []
    for scale in (1.0, 0.02, 1e-4, 1e-6, 3e-8, 1e-12, 1e-30, 1e-38, 1e-41, 3e-45, 1e4, 1e8, 1e30, 3e38):
        with np.errstate(over="ignore", under="ignore"):
            rows.append(rng.normal(size=(24, group)) * scale)
            rows.append(np.abs(rng.normal(size=(4, group))) * scale)
            rows.append(-np.abs(rng.normal(size=(4, group))) * scale)
            rows.append(np.full((1, group), scale))
            rows.append(np.full((1, group), -scale))
            rows.append(rng.choice([-scale, scale], size=(4, group)))
            rows.append(scale * (1 + 1e-3 * rng.normal(size=(8, group))))
            # Multiples of a half and a quarter of the step: ties.
            for top in (3, 7, 15, 31, 63, 255):
                ties = rng.integers(0, 4 * top + 1, size=(4, group)) / 4.0
                ties[:, 0], ties[:, -1] = 0, top
                rows += [ties * scale, (ties - top) * scale, (ties - top // 2) * scale]
    rows += [np.zeros((2, group)), np.full((2, group), -0.0)]
    rows.append(rng.choice([0.0, -0.0], size=(4, group)))
    one = np.zeros((8, group))
    one[np.arange(8), rng.integers(0, group, 8)] = [1, -1, 1e-30, -1e-30, 3e38, -3e38, 1e-45, -6]
    rows.append(one)
    # FP4 and E4M3 midpoints under every power of two, and one unit to either side.
    middles = np.concatenate([(FP4_VALUES[1:] + FP4_VALUES[:-1]) / 2, FP4_VALUES]).astype(np.float32)
    for around in (middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(9)),
                   middles * np.float32(1 + 2**-8), middles * np.float32(1 - 2**-8)):
        for exponent in range(-40, 40, 3):
            x = rng.choice(around, size=(1, group)) * rng.choice([-1, 1], size=(1, group))
            x[0, 0] = 6
            rows.append(x * 2.0**exponent)
            x = rng.integers(0, 33, size=(1, group)) / 2.0 * 2.0 ** rng.integers(-9, 6, size=(1, group))
            x[0, 0] = 448
            rows.append(x * 2.0**exponent)
    with np.errstate(over="ignore"):
        return np.concatenate(rows).astype(np.float32)


def exponents(group, dtype, rng):
    """Groups whose largest magnitude walks through the whole dtype (every value of the 16-bit ones,
    the neighbourhood of every power of two times the format's maximum of f32)."""
    if dtype == "float32":
        thresholds = []
        for maximum in (6.0, 448.0):
            for k in range(-149, 128):
                middle = np.float32(min(maximum * 2.0**k, 3.4e38)).view(np.uint32)
                thresholds.append(int(middle) + np.arange(-260, 260, 3 if k % 2 else 2))
        tops = np.clip(np.concatenate(thresholds), 1, 0x7F7FFFFF).astype(np.uint32)
        top_values = tops.view(np.float32)
    else:
        tops = np.arange(1, 0x7C00 if dtype == "float16" else 0x7F80, dtype=np.uint16)
        top_values = np.array(to_mx(tops, dtype).astype(mx.float32))
    with np.errstate(under="ignore"):
        # Mostly quotients near code boundaries: midpoints times a power of two near the top.
        fractions = rng.choice(np.concatenate([np.arange(-28, 29) / 28, np.arange(-48, 49) / 48]),
                               size=(len(tops), group))
        values = to_bits((top_values[:, None] * fractions.astype(np.float32)).astype(np.float32), dtype)
    values[:, 0] = tops
    return values


def any_bits(group, dtype, rng):
    """Random finite bit patterns, of one exponent per group or of all."""
    if dtype == "float32":
        bits = rng.integers(0, 2**32, size=(4096, group), dtype=np.uint32)
        bits[:2048] = (bits[:2048] & 0x80FFFFFF) | (rng.integers(0, 255, size=(2048, 1), dtype=np.uint32) << 23)
        bits[(bits & 0x7F800000) == 0x7F800000] &= 0xBFFFFFFF
    else:
        field, shift = (0x7C00, 10) if dtype == "float16" else (0x7F80, 7)
        bits = rng.integers(0, 2**16, size=(4096, group), dtype=np.uint16)
        low = (1 << shift) - 1
        top = rng.integers(0, field >> shift, size=(2048, 1), dtype=np.uint16) << np.uint16(shift)
        bits[:2048] = (bits[:2048] & np.uint16(0x8000 | low)) | top
        bits[(bits & field) == field] &= np.uint16(0xBFFF)
    return bits


def corpus(mode, group, dtype, rng):
    parts = [to_bits(hand_made(group, rng), dtype), any_bits(group, dtype, rng)]
    if mode != "affine":
        parts.append(exponents(group, dtype, rng))
    data = np.concatenate(parts)
    return data[: len(data) // 2 * 2]  # libmlx wants a whole number of 32 weights


def mlx_quantize(bits, mode, n_bits, group, dtype):
    """Codes, scales and biases as one byte string, then the weights dequantized."""
    w = to_mx(bits.reshape(-1, bits.shape[-1]), dtype)
    parts = mx.quantize(w, group_size=group, bits=n_bits, mode=mode)
    back = mx.dequantize(*parts, group_size=group, bits=n_bits, mode=mode, dtype=DTYPES[dtype])
    return b"".join(raw(p).tobytes() for p in parts), raw(back)


def is_nan(bits, dtype):
    mask, limit = {"float32": (0x7FFFFFFF, 0x7F800000), "float16": (0x7FFF, 0x7C00),
                   "bfloat16": (0x7FFF, 0x7F80)}[dtype]
    return (bits & mask) > limit


def same_weights(got, want, dtype):
    return np.array_equal(is_nan(got, dtype), is_nan(want, dtype)) and np.array_equal(
        got[~is_nan(got, dtype)], want[~is_nan(want, dtype)])


class Runner:
    def __init__(self, program, folder):
        self.program, self.folder, self.jobs, self.checks = program, folder, [], []
        out = subprocess.run([*program, "targets"], check=True, capture_output=True, text=True).stdout
        self.targets = ["ref"] + out.split()

    def add(self, action, scheme, dtype, data, check):
        base = os.path.join(self.folder, str(len(self.checks)))
        data.tofile(base) if isinstance(data, np.ndarray) else open(base, "wb").write(data)
        for target in self.targets:
            out = f"{base}.{target}"
            self.jobs.append(" ".join(map(str, (target, action, *scheme, dtype, base, out))))
            self.checks.append((target, action, scheme, dtype, out, check))

    def finish(self):
        subprocess.run([*self.program, "run"], input="\n".join(self.jobs) + "\n", text=True, check=True)
        failures = 0
        for target, action, scheme, dtype, out, check in self.checks:
            with open(out, "rb") as file:
                text = check(file.read())
            os.remove(out)
            if text:
                failures += 1
                print(f"{target} {action} {scheme} {dtype}: {text}", file=sys.stderr)
        self.jobs, self.checks = [], []
        return failures


def quantize_check(bits, scheme, dtype):
    mode, n_bits, group = scheme
    want, want_back = mlx_quantize(bits, mode, n_bits, group, dtype)

    def check(got):
        if got[: len(want)] != want:
            a, b = np.frombuffer(got[: len(want)], np.uint8), np.frombuffer(want, np.uint8)
            where = np.nonzero(a != b)[0]
            codes = bits.size * n_bits // 8
            if where[0] >= codes:
                g = (where[0] - codes) // (1 if mode != "affine" else bits.itemsize) % len(bits)
                part = "parameters"
            else:
                g, part = where[0] * 8 // n_bits // group, "codes"
            return f"{len(where)} bytes differ, first in the {part} of group {g}: {bits[g][:8]} got {a[where[:8]]} want {b[where[:8]]}"
        back = np.frombuffer(got[len(want):], want_back.dtype)
        return None if same_weights(back, want_back, dtype) else "dequantized weights differ"

    return check


def dequantize_data(scheme, dtype, rng):
    """Arbitrary codes under arbitrary scales: what other programs may have written."""
    mode, n_bits, group = scheme
    groups = 2048
    codes = rng.integers(0, 2**32, size=(groups, group * n_bits // 32), dtype=np.uint32)
    if mode != "affine":
        scales = np.resize(np.arange(256, dtype=np.uint8), groups)
        parts = (mx.array(codes), mx.array(scales.reshape(-1, 1)))
    else:
        scales = any_bits(1, dtype, rng)[:groups]
        scales[1::2] = to_bits(rng.normal(size=(groups // 2, 1)).astype(np.float32), dtype)
        biases = to_bits(rng.normal(size=(groups, 1)).astype(np.float32) * 4, dtype)
        biases[::7] = any_bits(1, dtype, rng)[: len(biases[::7])]
        parts = (mx.array(codes), to_mx(scales, dtype), to_mx(biases, dtype))
    want = raw(mx.dequantize(*parts, group_size=group, bits=n_bits, mode=mode, dtype=DTYPES[dtype]))
    return b"".join(raw(p).tobytes() for p in parts), want


def main():
    rng = np.random.default_rng(20)
    failures = weights = cases = 0
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(sys.argv[1:], folder)
        for scheme in SCHEMES:
            for dtype in DTYPES:
                bits = corpus(scheme[0], scheme[2], dtype, rng)
                runner.add("quantize", scheme, dtype, bits, quantize_check(bits, scheme, dtype))
                data, want = dequantize_data(scheme, dtype, rng)
                runner.add("dequantize", scheme, dtype, data,
                           lambda got, want=want, dtype=dtype: None if same_weights(
                               np.frombuffer(got, want.dtype), want, dtype) else "weights differ")
                weights += bits.size + want.size
                cases += len(runner.checks)
                failures += runner.finish()
    print(f"kernel_oracle: {cases} cases, {weights} weights each on {', '.join(runner.targets)} "
          f"against mlx {mx.__version__}: {failures} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Compares the block decoders with the gguf package, bit for bit, and what blocks are repacked to with what libmlx
makes of it.

    python ggml_oracle_test.py [EMULATOR ARGS...] PATH/TO/ggml_oracle [--time]

Every type, blocks of random bytes and blocks whose scales are chosen. Of NaNs only the position counts. Prints one line
and exits 1 at the first difference; 77 where the gguf package is missing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

try:
    import gguf
    import mlx.core as mx
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
except ImportError as error:
    print(f"skipped: {error}; tools/setup.sh --tests installs it")
    sys.exit(77)

mx.set_default_device(mx.cpu)

# Where the F16 fields of a block lie.
F16_FIELDS = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q1_0": [0], "Q2_K": [80, 82],
              "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ2_XXS": [0], "IQ2_XS": [0],
              "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52],
              "TQ2_0": [64]}
PLAIN = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F32": np.float32, "F64": np.float64,
         "F16": np.float16}
REPACKED = {"Q4_0": ("affine", 4, 32), "Q4_1": ("affine", 4, 32), "Q5_0": ("affine", 5, 32), "Q5_1": ("affine", 5, 32),
            "Q8_0": ("affine", 8, 32), "MXFP4": ("mxfp4", 4, 32), "NVFP4": ("nvfp4", 4, 16)}
# The bias is this many scales.
ZEROS = {"Q4_0": 8, "Q5_0": 16, "Q8_0": 128}
BLOCKS = 6000


def make_blocks(name, block_bytes, rng):
    """Random bytes; in three quarters of the blocks the F16 fields take every order of magnitude or the edges."""
    blocks = rng.integers(0, 256, size=(BLOCKS, block_bytes), dtype=np.uint8)
    edges = np.array([0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x3C00, 0x6FFF, 0x7000, 0x7001, 0x73FF, 0x6BFF, 0x6C00, 0x5FFF,
                      0x6000, 0xDFFF, 0xE000, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7D00], np.uint16)
    for at in F16_FIELDS.get(name, []):
        values = np.frombuffer(blocks[:, at:at + 2].tobytes(), np.uint16).copy()
        half = BLOCKS // 2
        values[:half] = (rng.normal(size=half) * 2.0 ** rng.integers(-20, 4, half)).astype(np.float16).view(np.uint16)
        values[half:half + BLOCKS // 4] = rng.choice(edges, BLOCKS // 4)
        blocks[:, at:at + 2] = values.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        blocks[:, 0] = np.resize(np.arange(256, dtype=np.uint8), BLOCKS)
    if name == "NVFP4":
        blocks[:BLOCKS // 2, :4] %= 127
        blocks[BLOCKS // 2:BLOCKS // 2 + 256, :4] = np.arange(256, dtype=np.uint8)[:, None]
    return blocks


def expected(name, blocks):
    """F32 weights [blocks, elements]."""
    with np.errstate(all="ignore"):
        if name in PLAIN:
            return np.frombuffer(blocks.tobytes(), PLAIN[name]).astype(np.float32).reshape(len(blocks), 1)
        # The gguf package knows the sizes of these two but does not decode them: ggml-quants.c, dequantize_row_*.
        if name == "Q8_K":
            d = np.frombuffer(blocks[:, :4].tobytes(), np.float32).reshape(-1, 1)
            return d * blocks[:, 4:260].view(np.int8).astype(np.float32)
        if name == "Q1_0":
            d = np.frombuffer(blocks[:, :2].tobytes(), np.float16).astype(np.float32).reshape(-1, 1)
            return np.where(np.unpackbits(blocks[:, 2:], axis=1, bitorder="little") == 1, d, -d)
        return gguf.quants.dequantize(blocks, GGMLQuantizationType[name]).reshape(len(blocks), -1)


def check_decoded(name, blocks, got):
    want = expected(name, blocks).astype(np.float32)
    got = np.frombuffer(got, np.uint32).reshape(want.shape)
    nan = np.isnan(want)
    if np.any(got[nan] != 0x7FC00000):
        return "a NaN is not the one quiet NaN"
    different = (got != want.view(np.uint32)) & ~nan
    if not different.any():
        return None
    block, element = np.argwhere(different)[0]
    return (f"{different.sum()} weights differ, first block {block} {blocks[block].tobytes().hex()} element {element}: "
            f"got {got[block, element]:08x} want {want.view(np.uint32)[block, element]:08x}")


def check_repacked(name, blocks, got):
    mode, bits, group = REPACKED[name]
    want = expected(name, blocks)
    n = want.size
    codes = mx.array(np.frombuffer(got[:n * bits // 8], np.uint32).reshape(len(blocks), -1))
    rest, groups = got[n * bits // 8:], n // group
    count = int.from_bytes(rest[-8:], "little")
    if mode == "affine":
        scales, biases = np.frombuffer(rest[:-8], np.float16).reshape(2, -1)
        if rest[:2 * groups] != blocks[:, :2].tobytes():
            return "the scales are not the blocks' own"
        exact = np.isfinite(scales) & np.isfinite(biases)
        if name in ZEROS:
            with np.errstate(over="ignore", invalid="ignore"):
                ours = (scales.astype(np.float64) * -ZEROS[name]).astype(np.float16)
            if not np.array_equal(ours, biases, equal_nan=True):
                return "a bias is not so many scales"
        # Scales and biases in F32 make libmlx compute in F32.
        parts = [mx.array(p.astype(np.float32).reshape(len(blocks), -1)) for p in (scales, biases)]
    else:
        scale_bytes = np.frombuffer(rest[:-8], np.uint8).reshape(len(blocks), -1)
        exact = (scale_bytes < (255 if mode == "mxfp4" else 127)).all(axis=1)
        parts = [mx.array(scale_bytes)]
    if count != np.count_nonzero(~exact):
        return f"{count} blocks are said to be inexact; {np.count_nonzero(~exact)} are"
    made = np.array(mx.dequantize(codes, *parts, group_size=group, bits=bits, mode=mode, dtype=mx.float32))
    same = made == want  # The sign of zero may differ: scale * 8 - 8 * scale is +0.
    if not same[exact].all():
        block = np.argwhere(~same.all(axis=1) & exact)[0][0]
        return f"block {block} {blocks[block].tobytes().hex()}: got {made[block][:8]} want {want[block][:8]}"
    return None


def main():
    arguments = sys.argv[1:]
    timing = arguments[-1] == "--time"
    program = arguments[:-1] if timing else arguments
    rng = np.random.default_rng(20)
    types = [line.split() for line in
             subprocess.run([*program, "types"], check=True, capture_output=True, text=True).stdout.splitlines()]
    sizes = {t.name: s for t, s in GGML_QUANT_SIZES.items() if t.name != "Q8_1"}
    if {n: (int(e), int(b)) for n, e, b in types} != sizes:
        sys.exit(f"types or sizes differ from the gguf package's: {set(sizes.items())}")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        jobs, checks = [], []

        def add(action, name, blocks, check):
            source, out = Path(folder) / f"{name}.in", Path(folder) / f"{name}.{action}"
            source.write_bytes(blocks.tobytes())
            jobs.append(f"{action} {name} {source} {out}")
            checks.append((action, name, out, lambda got: check(name, blocks, got)))

        for name, _, block_bytes in types:
            blocks = make_blocks(name, int(block_bytes), rng)
            if timing:
                repeat = (8 << 20) // (sizes[name][0] * 4 * BLOCKS) + 1
                add("time", name, np.tile(blocks[:BLOCKS // 2], (repeat * 2, 1)), lambda n, b, got: print(f"{n:8} {got.decode()} GB/s"))
                continue
            add("decode", name, blocks, check_decoded)
            if name in REPACKED:
                add("repack", name, blocks, check_repacked)
        subprocess.run([*program, "run"], input="\n".join(jobs) + "\n", text=True, check=True)
        for action, name, out, check in checks:
            if text := check(out.read_bytes()):
                failures += 1
                print(f"{action} {name}: {text}", file=sys.stderr)
    if failures:
        return 1
    if not timing:
        print(f"{len(types)} types of {BLOCKS} blocks decode as the gguf package has them; {len(REPACKED)} repacked")
    return 0


if __name__ == "__main__":
    sys.exit(main())

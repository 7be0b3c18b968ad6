"""Files of logits for tests: a reference and candidates that differ from it by noise."""
import json
import struct

import numpy as np

NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.int32): "I32",
         np.dtype(np.int64): "I64", np.dtype(np.uint32): "U32"}


def save(path, tensors, metadata=None):
    """Writes safetensors without a library, so that any values and shapes can be written."""
    header, offset = ({"__metadata__": metadata} if metadata else {}), 0
    for name, array in tensors.items():
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def reference(seed, windows, length, vocabulary, spread=4.0):
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, vocabulary, (windows, length), dtype=np.int32)
    # Heavy-tailed, as a language model's are: a few tokens take most of the probability.
    logits = (spread * generator.standard_normal((windows, length, vocabulary))).astype(np.float32)
    return tokens, logits


def noisy(logits, seed, amount):
    noise = np.random.default_rng(seed).standard_normal(logits.shape).astype(np.float32)
    return logits + np.float32(amount) * noise

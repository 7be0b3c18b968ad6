"""Writes GGUF files with the gguf package, and what it reads back from them as JSON.

    python gguf_oracle.py FOLDER

Makes one.gguf (every value type, every tensor type) and split-0000N-of-00003.gguf, each with a
description in one.json and split.json.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

# Q8_1 is not read: for activations only.
TYPES = [t for t in GGMLQuantizationType if t.name != "Q8_1"]


def add_metadata(writer):
    writer.add_uint8("t.u8", 255)
    writer.add_int8("t.i8", -128)
    writer.add_uint16("t.u16", 65535)
    writer.add_int16("t.i16", -32768)
    writer.add_uint32("t.u32", 4294967295)
    writer.add_int32("t.i32", -2147483648)
    writer.add_uint64("t.u64", 2**63 - 1)
    writer.add_key_value("t.big", 2**64 - 1, GGUFValueType.UINT64)
    writer.add_key_value("t.i64", -(2**63), GGUFValueType.INT64)
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 1e300)
    writer.add_bool("t.yes", True)
    writer.add_bool("t.no", False)
    writer.add_string("t.text", "h\u00e9 \U0001f600\n")
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -1e-6])
    writer.add_array("t.bools", [True, False])
    writer.add_array("t.texts", ["", "a", "\u0120b"])
    writer.add_string("t.\u00e9", "a key beyond ASCII")
    writer.add_token_list([f"token {i}" for i in range(40_000)])
    writer.add_token_scores([i / 8 for i in range(40_000)])
    writer.add_token_types([i % 7 for i in range(40_000)])
    writer.add_token_merges([f"a{i} b" for i in range(50_000)])


def add_tensor(writer, name, kind, shape, rng):
    block, size = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, size=(*shape[:-1], shape[-1] // block * size), dtype=np.uint8)
    writer.add_tensor(name, raw, raw_dtype=kind)


def description(paths):
    """Metadata of the first file and tensors of all, as the gguf package reads them."""
    tensors, metadata = [], {}
    for part, path in enumerate(paths):
        reader = gguf.GGUFReader(path)
        if part == 0:
            metadata = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
        for t in reader.tensors:
            tensors.append({"name": t.name, "type": t.tensor_type.name, "shape": [int(n) for n in reversed(t.shape)],
                            "elements": int(t.n_elements), "begin": int(t.data_offset),
                            "end": int(t.data_offset + t.n_bytes), "part": part})
    return {"metadata": metadata, "tensors": tensors}


def main():
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(1)

    writer = gguf.GGUFWriter(folder / "one.gguf", "llama")
    writer.add_custom_alignment(64)
    add_metadata(writer)
    for kind in TYPES:
        add_tensor(writer, f"blk.0.{kind.name}.weight", kind, (3, 512), rng)
    for shape in ((256,), (5, 1, 256), (2, 3, 1, 256)):
        add_tensor(writer, f"rank{len(shape)}", GGMLQuantizationType.Q4_K, shape, rng)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "one.json").write_text(json.dumps(description([folder / "one.gguf"])))

    writer = gguf.GGUFWriter(folder / "split.gguf", "qwen3", split_max_tensors=2)
    writer.add_block_count(3)
    for i in range(5):
        add_tensor(writer, f"blk.{i}.weight", GGMLQuantizationType.Q8_0, (4, 64), rng)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parts = [folder / f"split-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    (folder / "split.json").write_text(json.dumps(description(parts)))


main()

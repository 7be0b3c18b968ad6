"""Has the safetensors library write FOLDER/all.safetensors anew, byte for byte, and mlx load FOLDER/mlx.safetensors.

usage: safetensors_oracle.py FOLDER
"""

import ctypes
import json
import struct
import sys

import mlx.core as mx
from safetensors import TensorSpec, deserialize, serialize

TORCH_NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "U16": "uint16", "I16": "int16", "F16": "float16", "BF16": "bfloat16",
    "U32": "uint32", "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64", "F64": "float64",
}

data = open(sys.argv[1] + "/all.safetensors", "rb").read()
tensors = dict(deserialize(data))
buffer = ctypes.create_string_buffer(1024)
specs = {
    name: TensorSpec(dtype=TORCH_NAMES[t["dtype"]], shape=t["shape"], data_ptr=ctypes.addressof(buffer),
                     data_len=len(t["data"]))
    for name, t in tensors.items()
}
assert serialize(specs, {"format": "mlx"}) == data, "the safetensors library lays it out differently"

path = sys.argv[1] + "/mlx.safetensors"
data = open(path, "rb").read()
header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
assert header.pop("__metadata__") == {"format": "mlx"}
loaded = mx.load(path)
assert set(loaded) == set(header)
for name, array in loaded.items():
    assert list(array.shape) == header[name]["shape"], name

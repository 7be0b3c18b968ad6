"""Safetensors as bytes: no dtype is interpreted, so nothing is rounded on the way to a comparison."""
import json
import struct
from pathlib import Path
from typing import NamedTuple


class Tensor(NamedTuple):
    dtype: str
    shape: tuple
    data: bytes


def read_file(path):
    """The tensors of one file by name, and its metadata."""
    blob = Path(path).read_bytes()
    length, = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8:8 + length])
    metadata = header.pop("__metadata__", {})
    data = memoryview(blob)[8 + length:]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), bytes(data[begin:end]))
    return tensors, metadata


def read_folder(folder):
    """All tensors of model*.safetensors, and the metadata of each file by name."""
    tensors, metadata = {}, {}
    for path in sorted(Path(folder).glob("model*.safetensors")):
        more, metadata[path.name] = read_file(path)
        if both := tensors.keys() & more.keys():
            raise ValueError(f"{path}: {sorted(both)[0]} is in another shard too")
        tensors.update(more)
    return tensors, metadata


def write_file(path, tensors, metadata=None):
    """Writes tensors in the order given."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        end = offset + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.data)

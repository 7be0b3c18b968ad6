"""Writes pytorch_model.bin as torch.save does, without torch: a zip of a pickle and the storages."""
import io
import json
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "I64": "LongStorage",
            "I32": "IntStorage", "U8": "ByteStorage", "BOOL": "BoolStorage"}
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


def _stand_ins():
    """Modules under torch's names, so that the pickler writes its globals."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2():
        raise NotImplementedError

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    return {"torch": torch, "torch._utils": utils}


class _Storage:
    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class _Tensor:
    def __init__(self, rebuild, storage, shape):
        strides, step = [], 1
        for extent in reversed(shape):
            strides.insert(0, step)
            step *= extent
        self.state = (rebuild, (storage, 0, tuple(shape), tuple(strides), False, OrderedDict()))

    def __reduce__(self):
        return self.state


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, _Storage):
            return ("storage", value.kind, value.key, "cpu", value.count)
        return None


def write_file(path, tensors):
    stand_ins = _stand_ins()
    saved = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        state = OrderedDict()
        for key, (name, t) in enumerate(tensors.items()):
            kind = getattr(stand_ins["torch"], STORAGES[t.dtype])
            storage = _Storage(kind, str(key), len(t.data) // WIDTHS[t.dtype])
            state[name] = _Tensor(stand_ins["torch._utils"]._rebuild_tensor_v2, storage, t.shape)
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=2).dump(state)
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("pytorch_model/data.pkl", buffer.getvalue())
        archive.writestr("pytorch_model/byteorder", "little")
        for key, t in enumerate(tensors.values()):
            archive.writestr(f"pytorch_model/data/{key}", t.data)
        archive.writestr("pytorch_model/version", "3\n")


def write_folder(folder, tensors, shards):
    if shards == 1:
        write_file(folder / "pytorch_model.bin", tensors)
        return
    weight_map = {}
    for shard in range(shards):
        name = f"pytorch_model-{shard + 1:05d}-of-{shards:05d}.bin"
        part = dict(list(tensors.items())[shard::shards])
        write_file(folder / name, part)
        weight_map.update(dict.fromkeys(part, name))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

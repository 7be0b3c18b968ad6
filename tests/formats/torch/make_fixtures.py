#!/usr/bin/env python3
"""Writes the PyTorch files beside it and expected.json, which says what is in them. Needs torch and numpy.

The files are committed, so that the tests run without torch; storage keys of the old format are addresses, so a second
run does not give the same bytes. tests/formats/torch_file_test.cc reads them.
"""
import argparse
import collections
import json
import warnings
from pathlib import Path

import numpy
import torch

PAIR = (0.9, 0.999)
FOLDER = Path(__file__).resolve().parent
NAMES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2", torch.float8_e8m0fnu: "F8_E8M0", torch.uint16: "U16", torch.int16: "I16",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.uint32: "U32", torch.int32: "I32", torch.float32: "F32",
    torch.uint64: "U64", torch.int64: "I64", torch.float64: "F64",
}


def dense_bytes(tensor):
    """Row-major bytes, without the help of a dtype that numpy may lack."""
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def entry(name, tensor, storages):
    address = tensor.untyped_storage().data_ptr()
    # Storages of nothing have no address to tell them apart.
    storage = storages.setdefault(address or -len(storages) - 1, len(storages))
    return {
        "name": name,
        "dtype": NAMES[tensor.dtype],
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "offset": tensor.storage_offset(),
        "storage": storage,
        "storage_bytes": tensor.untyped_storage().nbytes(),
        "bytes": dense_bytes(tensor).hex(),
    }


def numbers(dtype, *shape):
    """Different small values of any dtype."""
    count = 1
    for extent in shape:
        count *= extent
    return (torch.arange(count) % 50 + 1).reshape(shape).to(dtype)


def plain():
    return {"a.weight": numbers(torch.float32, 2, 3), "a.bias": numbers(torch.bfloat16, 3)}


def all_dtypes():
    return {str(dtype).removeprefix("torch."): numbers(dtype, 2, 2) for dtype in NAMES}


def views():
    base = numbers(torch.float32, 4, 6)
    half = numbers(torch.float16, 2, 3, 4)
    return {
        "tied.a": base,
        "tied.b": base,
        "transposed": base.t(),
        "rows": base[1:3],
        "window": base[1:4:2, 2:5],
        "column": base[:, 5],
        "reversed.axes": half.permute(2, 0, 1),
        "expanded.once": numbers(torch.int64, 5).expand(1, 5),
        "empty": torch.empty(0, 7),
        "empty.end": base[4:],
        "empty.slice": torch.empty(2, 0, 4)[1:, :, 2:],
        "scalar": torch.tensor(2.5),
        "one": base[3, 5],
    }


def model():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(collections.OrderedDict(
        inner=torch.nn.Linear(3, 2), norm=torch.nn.BatchNorm1d(2), embed=torch.nn.Embedding(4, 2)))
    return layers.half()


def parameters():
    with_state = torch.nn.Parameter(numbers(torch.float32, 3), requires_grad=False)
    with_state.mark = "kept by _rebuild_parameter_with_state"
    attributed = numbers(torch.float32, 2)
    attributed.mark = 7
    weight = torch.nn.Parameter(numbers(torch.float32, 2, 2))
    return {"weight": weight, "with_state": with_state, "attributed": attributed}


def checkpoint(key):
    return {
        "epoch": 3,
        "loss": 0.25,
        "big": 1 << 90,
        "negative": -5,
        "long": 1 << 40,
        "none": None,
        "done": True,
        "raw": b"\x00\xff",
        "text": "caf\u00e9",
        "list": [1, (2, 3), {}],
        "device": torch.device("cuda", 1),
        "dtype": torch.bfloat16,
        "size": torch.Size([2, 3]),
        "shared": (PAIR, [PAIR]),
        key: plain(),
    }


def readable():
    """File name to (object, keyword arguments of torch.save, tensors by the names that are read)."""
    files = {
        "dtypes.pt": (all_dtypes(), {}, None),
        "dtypes_legacy.pt": (all_dtypes(), {"_use_new_zipfile_serialization": False}, None),
        "views.pt": (views(), {}, None),
        "views_legacy.pt": (views(), {"_use_new_zipfile_serialization": False}, None),
        "state_dict.pt": (model().state_dict(), {}, None),
        "state_dict_legacy.pt": (model().state_dict(), {"_use_new_zipfile_serialization": False}, None),
        "parameters.pt": (parameters(), {}, None),
        "wrapped_state_dict.pt": (checkpoint("state_dict"), {}, plain()),
        "wrapped_model.pt": (checkpoint("model"), {}, plain()),
        "wrapped_module.pt": (checkpoint("module"), {}, plain()),
        "wrapped_other.pt": (checkpoint("net"), {}, {f"net.{name}": tensor for name, tensor in plain().items()}),
    }
    step, group = torch.tensor(3.0), numbers(torch.int32, 2)
    both = {"model": plain(), "optimizer": {"state": {0: {"step": step}}, "groups": [group]}}
    names = {f"model.{name}": tensor for name, tensor in both["model"].items()}
    files["nested.pt"] = (both, {}, {**names, "optimizer.state.0.step": step, "optimizer.groups.0": group})
    for protocol in (1, 2, 3, 4, 5):
        files[f"protocol{protocol}.pt"] = (checkpoint("model"), {"pickle_protocol": protocol}, plain())
        files[f"protocol{protocol}_legacy.pt"] = (
            checkpoint("model"), {"pickle_protocol": protocol, "_use_new_zipfile_serialization": False}, plain())
    return files


def refused():
    """File name to (object, keyword arguments of torch.save)."""
    linear = torch.nn.Linear(2, 2)
    weights = numbers(torch.float32, 2, 2)
    return {
        "module.pt": (linear, {}),
        "module_legacy.pt": (linear, {"_use_new_zipfile_serialization": False}),
        "numpy_scalar.pt": ({"loss": numpy.float64(0.5), "w": weights}, {}),
        "namespace.pt": ({"args": argparse.Namespace(lr=1), "w": weights}, {}),
        "complex.pt": ({"w": numbers(torch.complex64, 2)}, {}),
        "sparse.pt": ({"w": weights.to_sparse()}, {}),
        "meta.pt": ({"w": torch.empty(2, device="meta")}, {}),
        "quantized.pt": ({"w": torch.quantize_per_tensor(weights, 0.1, 0, torch.qint8)}, {}),
        "negated.pt": ({"w": torch._neg_view(weights)}, {}),
        "float8_fnuz.pt": ({"w": numbers(torch.float8_e4m3fnuz, 2)}, {}),
        "expanded.pt": ({"w": torch.ones(1).expand(1000, 1000)}, {}),
        "tensor.pt": (weights, {}),
        "list.pt": ([weights], {}),
    }


def main():
    warnings.simplefilter("ignore")
    expected = {"torch": torch.__version__, "files": {}}
    for name, (content, arguments, tensors) in readable().items():
        torch.save(content, FOLDER / name, **arguments)
        # What torch itself reads back is the truth; a plain dict names its own tensors.
        storages = {}
        # torch writes dtypes without a storage class of their own into the old format but fails to read them.
        readable_by_torch = name != "dtypes_legacy.pt"
        loaded = torch.load(FOLDER / name, weights_only=False) if readable_by_torch else content
        flat = dict(loaded) if tensors is None else tensors
        if tensors is not None:
            found = [t for t in flatten(loaded)]
            assert len(found) == len(tensors) and all(torch.equal(a, b) for a, b in zip(found, tensors.values())), name
            flat = dict(zip(tensors, found))
        expected["files"][name] = [entry(key, tensor, storages) for key, tensor in flat.items()]
    for name, (content, arguments) in refused().items():
        torch.save(content, FOLDER / name, **arguments)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(FOLDER / "torchscript.pt"))
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def flatten(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from flatten(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flatten(item)


if __name__ == "__main__":
    main()

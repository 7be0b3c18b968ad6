"""Runs mlx-lm's own conversion beside mlxmill's and compares what they wrote."""
import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import mlx.core as mx
from mlx_lm import load
from mlx_lm.convert import convert

from raw_safetensors import Tensor, read_folder

# The CPU backend is the reference; Metal rounds ties differently (docs/NUMERICS.md).
mx.set_default_device(mx.cpu)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

SKIP = 77  # what ctest is told to read as "skipped"
CLEAN_FAILURES = {2, 3, 4, 5, 6, 8}  # exit statuses of docs/CLI.md that are no defect of mlxmill


@dataclass(frozen=True)
class Configuration:
    """One way to convert: the same flags for both programs."""
    name: str
    flags: tuple = ()
    arguments: dict = field(default_factory=dict, hash=False)
    logits: bool = False      # compare what the two models compute, too
    dequantize: bool = False  # then turn the result back with -d and compare again


def configurations():
    result = [Configuration("16-bit", logits=True)]
    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            common = bits == 4 and group == 64
            result.append(Configuration(
                f"affine {bits}-bit g{group}",
                ("-q", "--q-bits", str(bits), "--q-group-size", str(group)),
                {"quantize": True, "q_bits": bits, "q_group_size": group}, common, common))
    for mode in ("mxfp4", "nvfp4", "mxfp8"):
        result.append(Configuration(mode, ("-q", "--q-mode", mode), {"quantize": True, "q_mode": mode},
                                    mode == "mxfp4", True))
    for recipe in ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"):
        result.append(Configuration(
            recipe, ("-q", "--quant-predicate", recipe, "--q-group-size", "64"),
            {"quantize": True, "quant_predicate": recipe, "q_group_size": 64}, recipe == "mixed_3_6"))
    result.append(Configuration(
        "mixed_4_6, group by default", ("-q", "--quant-predicate", "mixed_4_6"),
        {"quantize": True, "quant_predicate": "mixed_4_6"}))
    for dtype in ("float16", "float32", "bfloat16"):
        result.append(Configuration(f"16-bit {dtype}", ("--dtype", dtype), {"dtype": dtype}))
        result.append(Configuration(f"affine 4-bit {dtype}", ("-q", "--dtype", dtype),
                                    {"quantize": True, "dtype": dtype}))
    return result


def few_configurations(weights):
    """For variants of a checkpoint: a handful when its weights or shapes are unusual, two when only its config is."""
    names = ["16-bit", "affine 4-bit g64"]
    if weights:
        names += ["affine 3-bit g32", "mxfp4", "mixed_3_6", "16-bit float16"]
    return [replace(c, dequantize=c.dequantize and weights) for c in configurations() if c.name in names]


class Outcome(NamedTuple):
    name: str
    status: str       # "equal", "differs", "mlx-lm fails"
    detail: str
    problems: tuple


def fixed_ids(vocabulary):
    """The same ids in every run, spread over the vocabulary."""
    return [(7 + 37 * i) % max(vocabulary, 1) for i in range(24)]


def quietly(function, *arguments, **keywords):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return function(*arguments, **keywords)


def logits_of(folder):
    """Loads a folder in stock mlx-lm and returns the bytes of its logits, and whether they are finite."""
    def compute():
        model, _, config = load(str(folder), return_config=True)
        vocabulary = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size", 256)
        ids = mx.array([fixed_ids(vocabulary)])
        try:
            values = model(ids).astype(mx.float32)
            mx.eval(values)
        except RuntimeError as error:
            # libmlx's CPU backend runs unquantized experts in float32 only.
            if "only supports float32" not in str(error):
                raise
            model.set_dtype(mx.float32)
            values = model(ids)
            mx.eval(values)
        return bytes(memoryview(values)), bool(mx.isfinite(values).all())
    return quietly(compute)


def mlxmill(program, source, output, flags):
    command = [str(program), "convert", "--hf-path", str(source), "--mlx-path", str(output), "--quiet", *flags]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          encoding="utf-8", errors="replace", timeout=600)


# --- Declared differences: what mlx-lm writes that no loader can use, or that says less than is known. ---

def fill_in_null_groups(config):
    """A recipe without --q-group-size: mlx-lm records "group_size": null for each module it lists, though it
    quantized them with the mode's default. mlxmill records the number."""
    for key in ("quantization", "quantization_config"):
        section = config.get(key)
        for entry in section.values() if isinstance(section, dict) else ():
            if isinstance(entry, dict) and entry.get("group_size", 0) is None:
                entry["group_size"] = 64


def drop_stale_settings(config):
    """A checkpoint whose 8-bit floats became 16-bit ones: mlx-lm leaves the quantization_config that describes them.
    mlxmill takes it out, as the weights are no such thing any more."""
    if "quantization" not in config:
        for section in (config, config.get("text_config", {})):
            if section.get("quantization_config", {}).get("quant_method") == "fp8":
                del section["quantization_config"]


def drop_told_schemes(theirs, ours):
    """FP4 experts in a model of 8-bit floats: mlx-lm tells their scheme by their shapes alone. mlxmill says it, for
    loaders that do not look. Returns whether it did."""
    told = False
    for key in ("quantization", "quantization_config"):
        section = ours.get(key)
        if not isinstance(section, dict) or section.get("mode") != "mxfp8":
            continue
        for path in [path for path, entry in section.items() if path not in theirs.get(key, {})]:
            if section[path] == {"group_size": 32, "bits": 4, "mode": "mxfp4"}:
                del section[path]
                told = True
    return told


def unpack_left_over(tensors, quantization):
    """-d of a model with MultiLinear (DeepSeek's embed_q and unembed_out): mlx-lm leaves these modules packed and
    drops the config that says so, which does not load. mlxmill turns them back like the others."""
    left = [name[:-len(".scales")] for name in tensors if name.endswith(".scales")]
    result = dict(tensors)
    for path in left:
        entry = quantization.get(path) if isinstance(quantization.get(path), dict) else quantization
        parts = {kind: result.pop(f"{path}.{kind}", None) for kind in ("weight", "scales", "biases")}
        arrays = {kind: as_array(tensor) for kind, tensor in parts.items() if tensor is not None}
        weight = mx.dequantize(arrays["weight"], arrays["scales"], arrays.get("biases"), entry["group_size"],
                               entry["bits"], entry.get("mode", "affine"))
        mx.eval(weight)
        dtype = {mx.bfloat16: "BF16", mx.float16: "F16", mx.float32: "F32"}[weight.dtype]
        unsigned = weight.view(mx.uint32 if dtype == "F32" else mx.uint16)
        result[f"{path}.weight"] = Tensor(dtype, tuple(weight.shape), bytes(memoryview(unsigned)))
    return result, left


def as_array(tensor):
    storage = {"U32": "I", "F32": "I", "U8": "B", "BF16": "H", "F16": "H"}[tensor.dtype]
    kinds = {"BF16": mx.bfloat16, "F16": mx.float16, "F32": mx.float32}
    flat = mx.array(memoryview(tensor.data).cast(storage).cast("B").cast(storage, list(tensor.shape)))
    return flat.view(kinds[tensor.dtype]) if tensor.dtype in kinds else flat


# --- Comparison ---

def compare_tensors(theirs, ours):
    problems = [f"{name}: missing" for name in sorted(theirs.keys() - ours.keys())]
    problems += [f"{name}: not in mlx-lm's output" for name in sorted(ours.keys() - theirs.keys())]
    for name in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[name], ours[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            problems.append(f"{name}: {b.dtype} {list(b.shape)}, mlx-lm {a.dtype} {list(a.shape)}")
        elif a.data != b.data:
            count = sum(x != y for x, y in zip(a.data, b.data))
            first = next(i for i, (x, y) in enumerate(zip(a.data, b.data)) if x != y)
            problems.append(f"{name}: {count} of {len(a.data)} bytes differ, the first at {first}")
    return problems


def json_differences(where, theirs, ours):
    """Yields what differs. 1, 1.0 and True are one to Python's == but not to a reader of JSON."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            if key not in ours:
                yield f"{where}{key}: missing"
            elif key not in theirs:
                yield f"{where}{key}: not in mlx-lm's"
            else:
                yield from json_differences(f"{where}{key}: ", theirs[key], ours[key])
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for i, (a, b) in enumerate(zip(theirs, ours)):
            yield from json_differences(f"{where}[{i}]: ", a, b)
    elif type(theirs) is not type(ours) or repr(theirs) != repr(ours):
        yield f"{where}{ours!r}, mlx-lm {theirs!r}"


def compare_configs(their_folder, our_folder, configuration):
    their_text = (their_folder / "config.json").read_text(encoding="utf-8")
    our_text = (our_folder / "config.json").read_text(encoding="utf-8")
    theirs, ours = json.loads(their_text), json.loads(our_text)
    nulls = "quant_predicate" in configuration.arguments and "q_group_size" not in configuration.arguments
    if nulls:
        fill_in_null_groups(theirs)
    drop_stale_settings(theirs)
    told = drop_told_schemes(theirs, ours)
    problems = list(json_differences("config.json: ", theirs, ours))
    if not problems and not nulls and not told and "fp8" not in their_text and their_text != our_text:
        at = next((i for i, (x, y) in enumerate(zip(their_text, our_text)) if x != y), len(our_text))
        problems.append(f"config.json: equal as JSON, but not as text: {our_text[at - 20:at + 20]!r}, "
                        f"mlx-lm {their_text[at - 20:at + 20]!r}")
    return problems


def compare_indexes(their_folder, our_folder, check_sizes):
    name = "model.safetensors.index.json"
    if not (our_folder / name).exists():
        return [f"{name}: missing"]
    theirs = json.loads((their_folder / name).read_text(encoding="utf-8"))
    ours = json.loads((our_folder / name).read_text(encoding="utf-8"))
    if not check_sizes:
        return []
    problems = []
    if theirs["metadata"] != ours["metadata"]:
        problems.append(f"{name}: metadata {ours['metadata']}, mlx-lm {theirs['metadata']}")
    if list(theirs["weight_map"].items()) != list(ours["weight_map"].items()):
        problems.append(f"{name}: the weight map differs")
    return problems


def compare_copies(source, our_folder):
    """Tokenizer, template and generation files come through byte for byte."""
    problems = []
    for path in sorted(source.iterdir()):
        if path.name.startswith(("tokenizer", "special_tokens", "generation_config", "chat_template", "vocab",
                                 "merges")):
            copy = our_folder / path.name
            if not copy.exists() or copy.read_bytes() != path.read_bytes():
                problems.append(f"{path.name}: not the source's bytes")
    return problems


def compare_folders(source, theirs, ours, configuration, dequantized=None):
    """`dequantized`: the quantization section of the source that -d was run on."""
    their_tensors, their_metadata = read_folder(theirs)
    our_tensors, our_metadata = read_folder(ours)
    left = []
    if dequantized is not None:
        their_tensors, left = unpack_left_over(their_tensors, dequantized)
    problems = compare_tensors(their_tensors, our_tensors)
    if their_metadata != our_metadata:
        problems.append(f"shards and metadata {our_metadata}, mlx-lm {their_metadata}")
    problems += compare_configs(theirs, ours, configuration)
    problems += compare_indexes(theirs, ours, check_sizes=not left)
    problems += compare_copies(source, ours)
    return problems, len(our_tensors), left


def compare_logits(theirs, ours):
    try:
        ours_bytes, finite = logits_of(ours)
    except Exception as error:  # any failure to load is the finding
        return [f"does not load in mlx-lm: {type(error).__name__}: {error}"]
    problems = [] if finite else ["logits are not finite"]
    if ours_bytes != logits_of(theirs)[0]:
        problems.append("logits differ from those of mlx-lm's output")
    return problems


def loads(folder):
    try:
        return [] if logits_of(folder)[1] else ["logits are not finite"]
    except Exception as error:
        return [f"does not load in mlx-lm: {type(error).__name__}: {error}"]


def after_mlx_lm_failed(result, ours, reason):
    """mlx-lm raised: mlxmill may refuse cleanly, or write a model that loads."""
    if result.returncode == 0:
        problems = loads(ours)
        return "differs" if problems else "mlx-lm fails", f"{reason}; ours loads", tuple(problems)
    if result.returncode in CLEAN_FAILURES and result.stderr.startswith("error:") and not ours.exists():
        return "mlx-lm fails", f"{reason}; we say: {result.stderr.splitlines()[0]}", ()
    return "differs", reason, (f"exit status {result.returncode}: {result.stderr.strip()[-400:]}",)


def convert_both(program, source, work, name, configuration, arguments, flags, dequantized=None):
    theirs, ours = work / "mlx-lm" / "out", work / "mlxmill" / "out"
    for folder in (theirs, ours):
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.parent.mkdir(parents=True)
    failure = None
    try:
        quietly(convert, str(source), str(theirs), **arguments)
    except (Exception, SystemExit) as error:  # its olmo.py exits where a package is missing
        failure = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    result = mlxmill(program, source, ours, flags)
    if failure:
        return Outcome(name, *after_mlx_lm_failed(result, ours, failure))
    if result.returncode != 0:
        return Outcome(name, "differs", "", (f"exit status {result.returncode}: {result.stderr.strip()[-400:]}",))
    problems, tensors, left = compare_folders(source, theirs, ours, configuration, dequantized)
    detail = f"{tensors} tensors"
    if left:
        detail += f", {len(left)} left packed by mlx-lm"
        problems = problems or loads(ours)
    elif configuration.logits and not problems:
        problems = compare_logits(theirs, ours)
        detail += ", logits"
    return Outcome(name, "differs" if problems else "equal", detail, tuple(problems))


def twin_outcome(program, source, twin, configuration, work):
    """mlx-lm's conversion of the twin beside ours of the source: the same model."""
    theirs, ours = work / configuration.name / "mlx-lm", work / configuration.name / "mlxmill"
    theirs.parent.mkdir(parents=True)
    quietly(convert, str(twin), str(theirs), **configuration.arguments)
    result = mlxmill(program, source, ours, configuration.flags)
    name = f"{configuration.name}, as its twin"
    if result.returncode != 0:
        return Outcome(name, "differs", "", (result.stderr.strip()[-400:],))
    problems, tensors, _ = compare_folders(source, theirs, ours, configuration)
    return Outcome(name, "differs" if problems else "equal", f"{tensors} tensors", tuple(problems))


def run_configuration(program, source, configuration):
    """Converts one checkpoint one way with both programs. Returns one outcome, two where -d follows."""
    with tempfile.TemporaryDirectory(prefix="mlxmill-parity-") as name:
        work = Path(name)
        outcomes = [convert_both(program, source, work / "q", configuration.name, configuration,
                                 configuration.arguments, configuration.flags)]
        packed = work / "q" / "mlx-lm" / "out"
        if configuration.dequantize and (packed / "config.json").exists():
            quantization = json.loads((packed / "config.json").read_text(encoding="utf-8"))["quantization"]
            outcomes.append(convert_both(program, packed, work / "d", f"-d of {configuration.name}", configuration,
                                         {"dequantize": True}, ("-d",), quantization))
        return outcomes


def run_all(program, tasks, jobs):
    """`tasks`: (label, source, configuration). Yields (label, outcomes) in the order given."""
    if jobs <= 1:
        for label, source, configuration in tasks:
            yield label, run_configuration(program, source, configuration)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [(label, pool.submit(run_configuration, program, source, configuration))
                   for label, source, configuration in tasks]
        for label, future in futures:
            yield label, future.result()


def report(results):
    """Prints a table per label and the final count. Returns the exit status."""
    counts = {"equal": 0, "differs": 0, "mlx-lm fails": 0}
    current = None
    for label, outcomes in results:
        if label != current:
            print(f"\n{label}")
            current = label
        for outcome in outcomes:
            counts[outcome.status] += 1
            print(f"  {outcome.name:34} {outcome.status:13} {outcome.detail}", flush=True)
            for problem in outcome.problems[:8]:
                print(f"      {problem}")
            if len(outcome.problems) > 8:
                print(f"      and {len(outcome.problems) - 8} more")
    total = sum(counts.values())
    print(f"\n{total} comparisons: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    return 0 if total and counts["differs"] == 0 and counts["equal"] else 1

#!/usr/bin/env python3
"""Times the Hub on loopback in one run: curl, `hf download` and `mlxmill download`; then download and convert beside
`convert --stream`.

The server is the one of the tests, in a process of its own; --rate caps each of its connections, as a CDN does. The
contenders take turns. Caches and outputs lie on tmpfs. What each has fetched must have the SHA-256 of the source, and what
was streamed the bytes of what was converted from the disk. Runs in build/venv (tools/setup.sh --tests makes it); needs curl.
"""
import argparse
import contextlib
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from make_model import make_model
from measure import measure, remove

ROOT = Path(__file__).resolve().parent.parent
NAME = "bench/model"
SHARD_BYTES = 250_000_000


@contextlib.contextmanager
def server(model, rate):
    """Serves `model` until the block ends; yields the endpoint."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "hub" / "hub_server.py", "--repo", f"{NAME}={model}",
         "--bytes-per-second", str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip().partition("=")[2]
    finally:
        process.stdin.close()
        process.wait(30)


def digests(folder, names):
    result = {}
    for name in names:
        with open(folder / name, "rb") as file:
            result[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return result


def download_commands(mlxmill, endpoint, files, work):
    """name -> (command, folder where its files lie afterwards)."""
    pairs = []
    for file in files:
        pairs += ["-o", work / "curl" / file, f"{endpoint}/{NAME}/resolve/main/{file}"]
    curl = ["curl", "--silent", "--show-error", "--fail", "--location", "--create-dirs"]
    hf = Path(sys.executable).with_name("hf")
    return {
        "curl": (curl + pairs, work / "curl"),
        "curl --parallel": (curl + ["--parallel", "--parallel-max", "8"] + pairs, work / "curl"),
        "curl, then openssl sha256": (["sh", "-c", 'check=$1; shift; "$@" && openssl dgst -sha256 "$check"/*', "-",
                                       work / "curl"] + curl + pairs, work / "curl"),
        "hf download": ([hf, "download", NAME, "--quiet"], work / "home"),
        "mlxmill download": ([mlxmill, "download", NAME, "--quiet"], work / "home"),
    }


def run(command):
    result = measure(command)
    if result.status != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.output}")
    return result


def fetched_folder(folder):
    """The snapshot in a cache of huggingface_hub, or the folder itself."""
    snapshots = list(folder.glob("hub/models--*/snapshots/*"))
    return snapshots[0] if snapshots else folder


def time_downloads(arguments, endpoint, expected, work):
    results = {}
    for _ in range(arguments.runs):
        for name, (command, folder) in download_commands(arguments.mlxmill, endpoint, list(expected), work).items():
            if folder.exists():
                remove(folder)
            result = run(command)
            if digests(fetched_folder(folder), expected) != expected:
                raise SystemExit(f"{name} fetched other bytes")
            results.setdefault(name, []).append(result)
            remove(folder)
    return results


def time_streams(arguments, work):
    results, kept = {}, {}
    flags = ["-q", "--q-bits", "4", "--quiet"]
    for _ in range(arguments.runs):
        for name in ("download, then convert", "convert --stream"):
            out = work / "out"
            for path in (out, work / "home"):
                if path.exists():
                    remove(path)
            if name == "convert --stream":
                steps = [[arguments.mlxmill, "convert", NAME, "--stream", "-o", out, *flags]]
            else:
                steps = [[arguments.mlxmill, "download", NAME, "--quiet"],
                         [arguments.mlxmill, "convert", NAME, "-o", out, *flags]]
            runs = [run(step) for step in steps]
            disk = sum(f.stat().st_size for place in (out, work / "home") if place.exists()
                       for f in place.rglob("*") if f.is_file() and not f.is_symlink())
            results.setdefault(name, []).append(
                (sum(r.seconds for r in runs), max(r.peak_bytes for r in runs), disk))
            kept[name] = digests(out, sorted(p.name for p in out.glob("*.safetensors")))
    if len(set(map(str, kept.values()))) != 1:
        raise SystemExit("the streamed model has other bytes")
    return results


def print_tables(downloads, streams, total):
    medians = {name: statistics.median(r.seconds for r in runs) for name, runs in downloads.items()}
    fastest = min(seconds for name, seconds in medians.items() if "mlxmill" not in name)
    print("| | seconds | min - max | MB/s | x the fastest peer | peak MiB |\n| --- " + "| ---: " * 5 + "|")
    for name, runs in downloads.items():
        seconds = [r.seconds for r in runs]
        print(f"| {name} | {medians[name]:.2f} | {min(seconds):.2f} - {max(seconds):.2f} | "
              f"{total / 1e6 / medians[name]:.0f} | {fastest / medians[name]:.2f} | "
              f"{max(r.peak_bytes for r in runs) >> 20} |")
    print("\n| | seconds | min - max | peak MiB | disk MB |\n| --- " + "| ---: " * 4 + "|")
    for name, runs in streams.items():
        seconds = [r[0] for r in runs]
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} - {max(seconds):.2f} | "
              f"{max(r[1] for r in runs) >> 20} | {max(r[2] for r in runs) / 1e6:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mlxmill", type=Path, nargs="?", default=ROOT / "build" / "release" / "mlxmill")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="where caches and outputs go")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0, help="MB/s of each connection (default: no cap)")
    arguments = parser.parse_args()
    arguments.mlxmill = arguments.mlxmill.resolve()
    model = ROOT / "build" / "bench-model-shards"
    if not model.exists():
        make_model(model, "qwen2.5-0.5b", sparse=False, shard_bytes=SHARD_BYTES)
    work = arguments.work / "mlxmill-hub-bench"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    files = sorted(p.name for p in model.iterdir())
    expected = digests(model, files)
    total = sum((model / file).stat().st_size for file in files)
    try:
        with server(model, int(arguments.rate * 1e6)) as endpoint:
            os.environ.update(HF_ENDPOINT=endpoint, HF_HOME=str(work / "home"), HF_HUB_DISABLE_XET="1",
                              HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_UPDATE_CHECK="1", NO_PROXY="127.0.0.1")
            os.environ.pop("HF_HUB_CACHE", None)
            downloads = time_downloads(arguments, endpoint, expected, work)
            streams = time_streams(arguments, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    cap = f"{arguments.rate:g} MB/s a connection" if arguments.rate else "no cap"
    print(f"{total / 1e9:.2f} GB in {len(list(model.glob('*.safetensors')))} shards, {cap}; "
          f"medians of {arguments.runs} runs\n")
    print_tables(downloads, streams, total)
    return 0


if __name__ == "__main__":
    sys.exit(main())

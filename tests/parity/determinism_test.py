#!/usr/bin/env python3
"""The same source and flags give the same bytes in every file of the output, however they were computed: every SIMD
target (the result says which ran), any number of threads, any memory budget, another compiler, arm64 under QEMU.

Exit status 77: a build or a checkpoint to compare with is missing; each is named. With MLXMILL_REQUIRE_BUILDS=1 in the
environment a missing build is a failure instead.
"""
import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77

SCHEMES = {
    "affine 4-bit": ["-q", "--q-bits", "4"],
    "affine 3-bit": ["-q", "--q-bits", "3", "--q-group-size", "32"],
    "mxfp4": ["-q", "--q-mode", "mxfp4"],
    "nvfp4": ["-q", "--q-mode", "nvfp4"],
    "mxfp8": ["-q", "--q-mode", "mxfp8"],
    "16-bit": [],
}


class Program:
    """A build of mlxmill and how to start it."""

    def __init__(self, name, command):
        self.name = name
        self.command = command
        text = self.run("info", "--json")
        self.targets = json.loads(text)["simd_supported"]

    def run(self, *arguments):
        done = subprocess.run([*self.command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace")
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(arguments)}: exit status {done.returncode}: {done.stderr}")
        return done.stdout


def hash_folder(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def convert(program, source, flags, work, target=None):
    """Hashes of the output's files by name."""
    # One name for all outputs: the model card carries it.
    output = work / "out"
    shutil.rmtree(output, ignore_errors=True)
    simd = ["--simd", target] if target else []
    text = program.run("convert", str(source), "-o", str(output), "--quiet", "--json", *flags, *simd)
    ran = json.loads(text)["simd_target"]
    if target and ran != target:
        raise RuntimeError(f"{program.name}: asked for {target}, ran {ran}")
    return hash_folder(output), ran


def ways(programs):
    """(label, program, extra flags, SIMD target) of every run to compare with the first."""
    native = programs[0]
    yield "again", native, [], None
    for threads in (1, 2, 7):
        yield f"{threads} threads", native, ["--threads", str(threads)], None
    for memory in ("64M", "512M"):
        yield f"memory {memory}", native, ["--memory", memory], None
    for program in programs:
        if program is not native:
            yield program.name, program, [], None
        for target in program.targets:
            yield f"{program.name} on {target}", program, ["--threads", "2"], target


def find_programs(arguments):
    """The builds there are, and what is missing."""
    programs, missing = [Program("this build", [str(arguments.mlxmill.resolve())])], []
    for name, path in (("clang", arguments.clang), ("arm64", arguments.arm64)):
        if path is None:
            continue
        if name == "arm64" and platform.machine() not in ("x86_64", "AMD64"):
            print("arm64 under QEMU: not on this machine")
            continue
        if not path.exists():
            missing.append(f"{name} (no {path})")
            continue
        command = [str(path.resolve())]
        if name == "arm64":
            command = [arguments.qemu, "-L", arguments.qemu_root, *command]
        programs.append(Program(name, command))
    return programs, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--clang", type=Path, help="the program as another compiler built it")
    parser.add_argument("--arm64", type=Path, help="the program built for arm64")
    parser.add_argument("--qemu", default="qemu-aarch64")
    parser.add_argument("--qemu-root", default="/usr/aarch64-linux-gnu")
    arguments = parser.parse_args()
    programs, missing = find_programs(arguments)
    for program in programs:
        print(f"{program.name}: {', '.join(program.targets)}")
    checkpoints = [path for path in arguments.checkpoints if (path / "config.json").exists()]
    absent = [f"checkpoint {path}" for path in arguments.checkpoints if path not in checkpoints]
    for name in missing + absent:
        print(f"missing: {name}")
    if not checkpoints:
        return SKIP

    runs, problems = 0, []
    with tempfile.TemporaryDirectory(prefix="mlxmill-determinism-") as name:
        for checkpoint in checkpoints:
            for scheme, flags in SCHEMES.items():
                first, target = convert(programs[0], checkpoint, flags, Path(name))
                for label, program, extra, simd in ways(programs):
                    runs += 1
                    other, _ = convert(program, checkpoint, flags + extra, Path(name), simd)
                    problems += [f"{checkpoint.name}, {scheme}, {label}: {file} differs from the run on {target}"
                                 for file in sorted(first.keys() | other.keys())
                                 if first.get(file) != other.get(file)]
            print(f"{checkpoint.name}: {len(SCHEMES)} schemes, {runs} runs so far", flush=True)
    for problem in problems[:40]:
        print(problem)
    print(f"{runs} runs compared, {len(problems)} differences")
    if problems or runs == 0:
        return 1
    if missing and os.environ.get("MLXMILL_REQUIRE_BUILDS") == "1":
        return 1
    return SKIP if missing or absent else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Installs the build into a temporary prefix and builds, links and runs a program of ten lines against it."""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def run(*command):
    print("+", " ".join(map(str, command)), flush=True)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8")
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nexit status {done.returncode}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--build", type=Path, required=True, help="build folder to install from")
    parser.add_argument("--source", type=Path, required=True, help="root of the repository")
    parser.add_argument("--generator", default="Ninja")
    parser.add_argument("--compiler", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlxmill-install-") as name:
        # A prefix with a space in it finds every unquoted path of the package.
        work = Path(name) / "a prefix"
        prefix, build, output = work / "prefix", work / "build", work / "out"
        run(arguments.cmake, "--install", arguments.build, "--prefix", prefix)
        # libmlx is found where the build found it.
        cache = (arguments.build / "CMakeCache.txt").read_text(encoding="utf-8")
        mlx = [f"-DMLX_DIR={line.split('=', 1)[1]}" for line in cache.splitlines() if line.startswith("MLX_DIR:")]
        version = run(prefix / "bin/mlxmill", "--version")
        if not version.startswith("mlxmill "):
            print(f"the installed program says {version!r}", file=sys.stderr)
            return 1
        run(arguments.cmake, "-S", arguments.source / "tests/install/consumer", "-B", build,
            "-G", arguments.generator, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release", *mlx,
            f"-DCMAKE_CXX_COMPILER={arguments.compiler}")
        run(arguments.cmake, "--build", build)
        text = run(build / "consumer", arguments.source / "models/sample-llama", output)
        print(text, end="")
        if "bits per weight" not in text:
            print("the consumer printed no result", file=sys.stderr)
            return 1
        config = json.loads((output / "config.json").read_text(encoding="utf-8"))
        if config["quantization"] != {"group_size": 64, "bits": 4, "mode": "affine"}:
            print(f"unexpected quantization {config['quantization']}", file=sys.stderr)
            return 1
        # Installed headers must not reach into the source tree.
        for header in (prefix / "include").rglob("*.h"):
            if str(arguments.source) in header.read_text(encoding="utf-8"):
                print(f"{header} names the source tree", file=sys.stderr)
                return 1
        targets = "".join(p.read_text(encoding="utf-8") for p in prefix.rglob("mlxmillTargets*.cmake"))
        if str(arguments.source) in targets:
            print("the package's targets name the source tree", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

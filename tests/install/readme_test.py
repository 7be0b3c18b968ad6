#!/usr/bin/env python3
"""Runs every `sh` block of the README, in order, in a folder that looks like a clone with a finished build.

What would build or test again is run dry; a line that needs what is not here (the network, mlx-lm) is named as not run.
Blocks marked `text` that follow a command are not compared: times and memory differ from run to run.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def blocks(text):
    """(line number, lines) of every ```sh block; continued lines are joined."""
    for match in re.finditer(r"^```sh\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, match.start()) + 2, match[1].replace("\\\n", " ").splitlines()


def how_to_run(line, venv):
    """The line to run instead, or None when it cannot run here."""
    words = line.split()
    if words[0] in ("git", "cd", "brew"):
        return None
    if words[0].startswith("mlx_lm."):
        return None if not (venv / words[0]).exists() else line
    if words[0] == "./tools/test.sh":
        return line + " --dry-run"
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mlxmill", type=Path)
    parser.add_argument("--source", type=Path, required=True, help="root of the repository")
    arguments = parser.parse_args()
    venv = arguments.source / "build" / "venv" / "bin"
    failures = ran = 0
    with tempfile.TemporaryDirectory(prefix="mlxmill-readme-") as name:
        clone = Path(name)
        for entry in ("models", "README.md", "tests", "bench"):
            (clone / entry).symlink_to(arguments.source / entry)
        # Scripts go to the folder they lie in: a link would lead them back to the source tree.
        (clone / "tools").mkdir()
        for script in (arguments.source / "tools").glob("*.sh"):
            (clone / "tools" / script.name).write_bytes(script.read_bytes())
            (clone / "tools" / script.name).chmod(0o755)
        release = clone / "build" / "release"
        release.mkdir(parents=True)
        (release / "mlxmill").symlink_to(arguments.mlxmill.resolve())
        environment = {**os.environ, "PATH": f"{release}:{venv}:{os.environ['PATH']}",
                       "MLXMILL_PROGRAM": str(release / "mlxmill"), "HF_HUB_OFFLINE": "1"}
        for number, lines in blocks((arguments.source / "README.md").read_text(encoding="utf-8")):
            for offset, line in enumerate(lines):
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                command = how_to_run(line, venv)
                where = f"README.md:{number + offset}: {line}"
                if command is None:
                    print(f"not run: {where}")
                    continue
                ran += 1
                done = subprocess.run(["bash", "-c", command], cwd=clone, env=environment, timeout=300,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      encoding="utf-8", errors="replace")
                print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {where}")
                if done.returncode != 0:
                    failures += 1
                    print(done.stdout)
    print(f"{ran} commands of the README ran, {failures} failed")
    return 1 if failures or ran < 4 else 0


if __name__ == "__main__":
    sys.exit(main())

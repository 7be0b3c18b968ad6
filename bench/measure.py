"""Runs a command and says how long it took and how much memory it held."""
import json
import os
import shutil
import subprocess
import sys
import time
from typing import NamedTuple


class Measurement(NamedTuple):
    status: int
    seconds: float
    peak_bytes: int  # largest resident set
    output: str      # stdout and stderr


def measure(command):
    """Wall clock from start to exit, and the child's peak resident set as the kernel counted it.

    A child's count starts at what its parent held when it was started. A bare interpreter starts it, so that this is
    some 10 MB and not what the caller holds.
    """
    read_end, write_end = os.pipe()
    done = subprocess.run([sys.executable, "-I", "-S", os.path.abspath(__file__), str(write_end), *map(str, command)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          pass_fds=[write_end])
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        text = pipe.read()
    output = done.stdout.decode("utf-8", "replace")
    if not text:
        return Measurement(done.returncode or 1, 0.0, 0, output)
    return Measurement(**json.loads(text), output=output)


def remove(path):
    """A file or a folder that may not be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run_child(report_to, command):
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    # Linux counts kilobytes, macOS bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    os.write(report_to, json.dumps({"status": os.waitstatus_to_exitcode(status), "seconds": seconds,
                                    "peak_bytes": peak}).encode())


if __name__ == "__main__":
    run_child(int(sys.argv[1]), sys.argv[2:])

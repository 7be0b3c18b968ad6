"""Runs a command and says how long it took and how much memory it held."""
import os
import subprocess
import sys
import time
from typing import NamedTuple


class Measurement(NamedTuple):
    status: int
    seconds: float
    peak_bytes: int  # largest resident set
    output: str      # stdout and stderr


def measure(command, environment=None):
    """Wall clock from start to exit. The peak is the child's own, as the kernel counted it."""
    start = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env=environment)
    output = process.stdout.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    # Linux counts kilobytes, macOS bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measurement(process.returncode, seconds, peak, output)

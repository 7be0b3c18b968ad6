"""Talks to a chat program in a terminal of its own, and interrupts it as a person would.

    chat_in_terminal.py COMMAND...
"""
import os
import pty
import re
import select
import sys
import termios
import time

DEADLINE = 120

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""


def wait_for(pattern, what):
    """Reads until the pattern comes; what came up to its end is then gone."""
    global seen
    end = time.monotonic() + DEADLINE
    while not (found := re.search(pattern, seen)):
        left = end - time.monotonic()
        if left <= 0:
            sys.exit(f"{what}: waited in vain; got {seen[-500:]!r}")
        if select.select([terminal], [], [], left)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                data = b""
            if not data:
                sys.exit(f"{what}: the program ended; got {seen[-500:]!r}")
            seen += data
    seen = seen[found.end():]


def wait_for_prompt(what):
    """Waits until the editor reads keys: between two lines the terminal would edit what is sent itself."""
    wait_for(rb">>> ", what)
    end = time.monotonic() + DEADLINE
    times_raw = 0
    while times_raw < 5:
        times_raw = 0 if termios.tcgetattr(terminal)[3] & termios.ICANON else times_raw + 1
        if time.monotonic() > end:
            sys.exit(f"{what}: the editor does not read keys")
        time.sleep(0.02)


def send(text):
    os.write(terminal, text)


wait_for_prompt("first prompt")
send(b"One day")
send(b"\x03")  # Ctrl-C while typing: the line is gone, the program is not.
wait_for_prompt("prompt after Ctrl-C")
send(b"/hxelp\x1b[D\x1b[D\x1b[D\x7f\r")  # The cursor goes back over "elp", and the x goes.
wait_for(rb"forget the conversation", "/help after editing")
wait_for_prompt("prompt after /help")
send(b"Once upon a time\r")
wait_for(rb"time\r\n.*[a-z]{3}", "an answer")
send(b"\x03")  # The answer stops, the program does not.
wait_for(rb"\(cancelled\)", "the note of a stopped answer")
wait_for_prompt("prompt after a stopped answer")
send(b"\x1b[A")  # The line before, from the history.
wait_for(rb"Once upon a time", "history")
send(b"\x15")
send(b"\x04")  # Ctrl-D on an empty line: the end.
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))

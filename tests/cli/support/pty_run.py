"""Runs a command whose stderr is a terminal of a given width, and copies what it writes there to a file.

    pty_run.py COLUMNS FILE COMMAND...
"""
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

columns, path, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
process = subprocess.Popen(command, stderr=theirs)
os.close(theirs)
with open(path, "wb") as file:
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux says EIO once the other side is closed.
            break
        if not data:
            break
        file.write(data)
sys.exit(process.wait())

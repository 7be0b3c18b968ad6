"""Prints name, SHA-256 and modification time of every file below a folder: what "untouched" means."""
import hashlib
import pathlib
import sys

for path in sorted(pathlib.Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        print(path, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)

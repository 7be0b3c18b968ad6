#!/usr/bin/env python3
"""Holds lists that a test wrote against Python's own modules. Standard library only.

    torch_oracle.py opcodes LIST        lines "CODE NAME" against pickletools
    torch_oracle.py zip LIST            for each archive its path, then lines "BEGIN BYTES NAME", against zipfile
"""
import pickletools
import struct
import sys
import zipfile


def opcodes(lines):
    listed = dict((int(code), name) for code, name in (line.split() for line in lines))
    known = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
    assert listed == known, (listed, known)


def zip_archives(lines):
    archives = {}
    for line in lines:
        if line.startswith("/"):
            listed = archives.setdefault(line, {})
        else:
            begin, size, name = line.split(" ", 2)
            listed[name] = (int(begin), int(size))
    for archive, listed in archives.items():
        zip_entries(archive, listed)


def zip_entries(archive, listed):
    known = {}
    with zipfile.ZipFile(archive) as opened, open(archive, "rb") as raw:
        for entry in opened.infolist():
            raw.seek(entry.header_offset + 26)
            name_bytes, extra_bytes = struct.unpack("<HH", raw.read(4))
            known[entry.filename] = (entry.header_offset + 30 + name_bytes + extra_bytes, entry.file_size)
            # An archive made by hand has no checksums.
            if entry.compress_type == zipfile.ZIP_STORED and entry.CRC:
                raw.seek(listed[entry.filename][0])
                assert raw.read(entry.file_size) == opened.read(entry), entry.filename
    assert listed == known, (listed, known)


def main():
    mode, path = sys.argv[1:]
    with open(path, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    assert lines
    opcodes(lines) if mode == "opcodes" else zip_archives(lines)


if __name__ == "__main__":
    main()

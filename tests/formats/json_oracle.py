"""Writes random JSON documents and what Python's json module makes of them.

usage: json_oracle.py SEED COUNT FILE

Each record is three length-prefixed byte strings: the document, the text that mlx-lm's load_config and save_config
would write for it (empty when Python refuses it), and "twice" when a key occurs twice in one object. The two
functions below are those of mlx_lm/utils.py in short.
"""

import json
import math
import random
import struct
import sys

TAGS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def decode(value):
    if isinstance(value, dict):
        tag = value.get("__float__")
        if set(value) == {"__float__"} and isinstance(tag, str) and tag in TAGS:
            return TAGS[tag]
        return {k: decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return [decode(v) for v in value]
    return value


def encode(value):
    if isinstance(value, float) and not math.isfinite(value):
        return {"__float__": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, dict):
        return {k: encode(v) for k, v in value.items()}
    if isinstance(value, list):
        return [encode(v) for v in value]
    return value


def number(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return str(rng.randrange(-1000, 1000))
    if kind == 1:
        return rng.choice(["-0", "-0.0", "0e5", "0.0", "1e400", "-1e400", "1e-400", "5e-324", "2.2250738585072014e-308",
                           "1.7976931348623157e308", "1e16", "1e15", "9999999999999998.0", "1e-4", "1e-5", "0.1E+2",
                           "123456789012345680.0", "9223372036854775807", "9223372036854775808",
                           "-9223372036854775808", "-9223372036854775809", "1e22", "1e23", "9007199254740993.0",
                           "2e-323", "1.0000000000000002", "100000000000000000000000000000000.0"])
    if kind == 2:
        return str(rng.randrange(-(10**rng.randrange(1, 60)), 10**rng.randrange(1, 60)))
    if kind == 3:
        bits = struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0]
        return repr(bits) if math.isfinite(bits) else "NaN"
    if kind == 4:
        return rng.choice(["NaN", "Infinity", "-Infinity"])
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 25)))
    text = rng.choice(["", "-"]) + str(int(digits)) + "." + digits
    if kind == 5:
        text += rng.choice("eE") + rng.choice(["", "+", "-"]) + str(rng.randrange(0, 330))
    return text


def string(rng):
    parts = []
    for _ in range(rng.randrange(0, 8)):
        kind = rng.randrange(7)
        if kind == 0:
            parts.append(rng.choice(['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"]))
        elif kind == 1:
            parts.append("\\u%04x" % rng.randrange(0x10000))
        elif kind == 2:
            parts.append("\\u%04X" % rng.randrange(0xD800, 0xE000))
        elif kind == 3:
            parts.append(chr(rng.choice([0x7F, 0x80, 0xE9, 0x20AC, 0xFEFF, 0xFFFF, 0x1F600, 0x10FFFF])))
        else:
            parts.append("".join(rng.choice("abc _-/<>&'~ ") for _ in range(rng.randrange(1, 6))))
    return '"' + "".join(parts) + '"'


def space(rng):
    return rng.choice(["", "", "", " ", "\n", "\t", "\r\n  "])


def value(rng, depth):
    kind = rng.randrange(10 if depth < 5 else 6)
    if kind < 2:
        return number(rng)
    if kind < 4:
        return string(rng)
    if kind < 6:
        return rng.choice(["true", "false", "null", '{"__float__": "Infinity"}', '{"__float__": "NaN"}',
                           '{"__float__": "other"}', '{"__float__": 1}', "{}", "[]", "{ }", "[\n]"])
    items = [space(rng) + value(rng, depth + 1) + space(rng) for _ in range(rng.randrange(0, 6))]
    if kind < 8:
        return "[" + ",".join(items) + "]"
    keys = [string(rng) if rng.randrange(4) else '"k%d"' % i for i in range(len(items))]
    return "{" + ",".join(space(rng) + k + space(rng) + ":" + v for k, v in zip(keys, items)) + "}"


def damaged(rng, text):
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + rng.choice('{}[],:"\\-+.eE01Ntfn \n\x01u') + text[at:]
    return text[:at] + text[at + 1:]


def python_text(document):
    """What mlx-lm would write, and whether a key occurs twice."""
    twice = False

    def pairs(items):
        nonlocal twice
        result = dict(items)
        twice = twice or len(result) != len(items)
        return result

    try:
        loaded = json.loads(document, object_pairs_hook=pairs)
    except json.JSONDecodeError:
        return b"", False
    loaded = decode(loaded)
    if isinstance(loaded, dict):
        loaded = dict(sorted(loaded.items()))
    return json.dumps(encode(loaded), indent=4).encode(), twice


def main():
    seed, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rng = random.Random(seed)
    with open(path, "wb") as out:
        for i in range(count):
            document = space(rng) + value(rng, 0) + space(rng)
            if i % 3 == 0:
                document = damaged(rng, document)
            text, twice = python_text(document)
            for part in (document.encode(), text, b"twice" if twice else b""):
                out.write(struct.pack("<I", len(part)) + part)


main()

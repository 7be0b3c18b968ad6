"""Makes a file of logits of a small vocabulary.

    make_logits.py FILE NOISE [WINDOWS [DOMAIN [NAME]]]

The logits follow from the windows alone; NOISE is how far those of a candidate are from them. NOISE nan, short or id
makes a file that must be refused.
"""
import json
import random
import struct
import sys

VOCABULARY, LENGTH = 40, 12

path, noise = sys.argv[1:3]
windows = int(sys.argv[3]) if len(sys.argv) > 3 else 4
domain = sys.argv[4] + "." if len(sys.argv) > 4 and sys.argv[4] else ""
metadata = {"bytes": "1200000", "bits_per_weight": "4.5"}
if len(sys.argv) > 5:
    metadata["name"] = sys.argv[5]
true, off = random.Random(1), random.Random(2)
tokens = [true.randrange(VOCABULARY) for _ in range(windows * LENGTH)]
logits = [true.gauss(0, 3) for _ in range(windows * LENGTH * VOCABULARY)]
if noise == "nan":
    logits[2 * LENGTH * VOCABULARY + 5 * VOCABULARY + 7] = float("nan")
elif noise == "id":
    tokens[17] = VOCABULARY
elif noise != "short":
    logits = [x + float(noise) * off.gauss(0, 1) for x in logits]
shape = [windows, LENGTH, VOCABULARY]
header = {"__metadata__": metadata}
header[domain + "logits"] = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * len(logits)]}
header[domain + "tokens"] = {"dtype": "I32", "shape": [windows, LENGTH],
                             "data_offsets": [4 * len(logits), 4 * len(logits) + 4 * len(tokens)]}
if noise == "short":
    del header[domain + "tokens"]
    tokens = []
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.write(struct.pack(f"<{len(logits)}f", *logits) + struct.pack(f"<{len(tokens)}i", *tokens))

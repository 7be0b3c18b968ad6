# The plan says the truth to the byte, and writes nothing.
sample
expect 0 mlxmill convert models/sample-llama --bits 4 -o planned --dry-run
only models
has out '^model\.embed_tokens\.weight +U32 +\[4096, 32\] +524,288 +affine 4-bit, groups of 64$'
has out '^model\.norm\.weight +BF16 +\[256\] +512 +kept$'
has out '^disk +[0-9,]+ bytes needed, [0-9,]+ bytes free$'
has out '^memory +[0-9,]+ bytes needed for buffers$'
has out '^Dry run: nothing was written\.$'

mlxmill convert models/sample-llama --bits 4 -o planned --dry-run --json > plan.json
mlxmill convert models/sample-llama --bits 4 -o planned --json --quiet > report.json
python3 - <<'PYTHON'
import json, os, struct
plan, report = json.load(open("plan.json")), json.load(open("report.json"))
assert plan["dry_run"] and not report["dry_run"]
for key in ("output_bytes", "copied_bytes", "files", "parameters", "bits_per_weight", "coding"):
    assert plan[key] == report[key], key
headers = {}
for file in plan["files"]:
    path = os.path.join("planned", file["name"])
    assert os.path.getsize(path) == file["bytes"], path
    with open(path, "rb") as stream:
        size = struct.unpack("<Q", stream.read(8))[0]
        header = json.loads(stream.read(size))
    for name, tensor in header.items():
        if name != "__metadata__":
            headers[name] = (tensor["dtype"], tensor["shape"], [8 + size + o for o in tensor["data_offsets"]])
planned = {t["name"]: (t["dtype"], t["shape"], [t["begin"], t["end"]]) for t in plan["tensors"]}
assert planned == headers
assert sum(f["bytes"] for f in plan["files"]) == plan["output_bytes"]
assert abs(plan["output_bytes"] * 8 / plan["parameters"] - plan["bits_per_weight"]) < 1e-9
assert plan["disk_needed_bytes"] >= sum(
    os.path.getsize(os.path.join("planned", name)) for name in os.listdir("planned"))
PYTHON

# An output that exists is no error here, but worth a word.
expect 0 mlxmill convert models/sample-llama --bits 4 -o planned --dry-run
has err '^warning: planned exists: '
expect 0 mlxmill convert models/sample-llama --bits 4 -o planned --dry-run --force
has_not err '^warning'

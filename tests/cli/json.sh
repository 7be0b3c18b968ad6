# Every --json is one valid document on stdout, and every key of it is in docs/CLI.md.
sample
mlxmill convert models/sample-llama --bits 4 -o sample-4bit --json > convert.json 2> err
mlxmill convert models/sample-llama --bits 4 -o other --dry-run --json > plan.json 2> err
mlxmill inspect sample-4bit --tensors --json > inspect.json
mlxmill inspect models/sample-llama/model.safetensors --json > file.json
mlxmill verify sample-4bit --json > verify.json 2> err
mlxmill architectures --json > architectures.json
mlxmill info --json > info.json
for file in *.json; do
  python3 -m json.tool "$file" > out || fail "$file is not JSON"
  python3 - "$file" "$SOURCE_DIR/docs/CLI.md" <<'PYTHON'
import json, sys
documented = open(sys.argv[2]).read()
for key in json.load(open(sys.argv[1])):
    assert f"`{key}`" in documented, f"{sys.argv[1]}: {key} is not in docs/CLI.md"
PYTHON
done
# Numbers are numbers.
python3 - <<'PYTHON'
import json
report = json.load(open("convert.json"))
assert report["parameters"] > 5_000_000 and 4 < report["bits_per_weight"] < 5
assert report["resumed_bytes"] == 0 and report["non_finite_weights"] == 0 and report["warnings"] == []
assert report["coding"][0]["scheme"] == {"mode": "affine", "bits": 4, "group_size": 64}
inspected = json.load(open("inspect.json"))
assert inspected["parameters"] == report["parameters"]
assert inspected["bits_per_weight"] == report["bits_per_weight"]
assert inspected["tensor_count"] == len(inspected["tensors"])
assert json.load(open("verify.json"))["ok"] is True
PYTHON
# An error leaves stdout empty.
expect 2 mlxmill convert models/sample-llama --bits 4 -o sample-4bit --json
[ ! -s out ]

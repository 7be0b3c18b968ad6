# Recipes: listed, shown, checked, used, and refused where they do not fit.
sample
mlxmill recipe list > out
for name in experts_4_rest_8 mixed_2_6 mixed_3_4 mixed_3_6 mixed_4_6 mxfp4_experts routers_8; do
  has out "^$name +[A-Z0-9]"
  mlxmill recipe show "$name" > "shown.toml"
  cmp shown.toml "$SOURCE_DIR/src/quantize/recipes/$name.toml"
done
mlxmill recipe list --json | python3 -c '
import json, sys
assert [set(r) for r in json.load(sys.stdin)["recipes"]] == [{"name", "description"}] * 7'

# A copy of a built-in recipe does what the built-in one does.
mlxmill recipe show mixed_3_6 > mine.toml
mkdir a b
mlxmill convert models/sample-llama --recipe mixed_3_6 -o a/out --quiet > out
mlxmill convert models/sample-llama --recipe mine.toml -o b/out --quiet > out
cmp a/out/model.safetensors b/out/model.safetensors
cmp a/out/config.json b/out/config.json
has b/out/README.md 'mine\.toml'

# The plan names each module's rule, and the check counts them.
cat > rules.toml <<'TOML'
[[rules]]
match = "**.v_proj"
when = "layer < layers // 2"
bits = 8
[[rules]]
match = "**.o_proj"
dtype = "float32"
TOML
expect 0 mlxmill convert models/sample-llama --recipe rules.toml -o planned --dry-run
has out '^TENSOR +DTYPE +SHAPE +BYTES +CODING +RULE$'
has out '^model\.layers\.0\.self_attn\.v_proj\.weight .* affine 8-bit, groups of 64 +rules\.toml:1$'
has out '^model\.layers\.0\.self_attn\.o_proj\.weight +F32 .* the recipe keeps it unquantized +rules\.toml:5$'
has out '^model\.layers\.0\.self_attn\.q_proj\.weight .* affine 4-bit, groups of 64$'
has out '^rules +rules\.toml:1 +8-bit +3 modules +[0-9,]+ parameters +\*\*\.v_proj when layer < layers // 2$'
only_planned=$(ls); case $only_planned in *planned*) fail "the dry run wrote something" ;; esac
mlxmill convert models/sample-llama --recipe rules.toml -o planned --dry-run --json > plan.json
mlxmill recipe check rules.toml models/sample-llama --json > check.json
mlxmill convert models/sample-llama --recipe rules.toml -o made --json --quiet > report.json
python3 - <<'PYTHON'
import json, struct
plan, check, report = (json.load(open(f"{name}.json")) for name in ("plan", "check", "report"))
assert plan["rules"] == check["rules"] and plan["bits_per_weight"] == check["bits_per_weight"]
assert check["bits_per_weight"] == report["bits_per_weight"]
rules = {m["path"]: m["rule"] for m in plan["modules"]}
for rule in plan["rules"]:
    decided = [m for m in plan["modules"] if m["rule"] == rule["rule"]]
    assert rule["modules"] == len(decided) > 0, rule
    assert rule["parameters"] == sum(m["parameters"] for m in decided), rule
config = json.load(open("made/config.json"))["quantization"]
entries = {k: v for k, v in config.items() if isinstance(v, dict)}
assert entries == {path: {"group_size": 64, "bits": 8, "mode": "affine"}
                   for path, rule in rules.items() if rule == "rules.toml:1"}, entries
with open("made/model.safetensors", "rb") as stream:
    header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
for path, rule in rules.items():
    if rule == "rules.toml:5":
        assert header[path + ".weight"]["dtype"] == "F32" and path + ".scales" not in header
PYTHON
expect 0 mlxmill verify made

# The run fills in what rules leave open.
expect 0 mlxmill recipe check routers_8 models/sample-llama --bits 2 --group-size 32
has out '^coding +affine 2-bit, groups of 32 '
has out '^bits per weight +[0-9.]+ '

# What does not fit is refused, with the line and what to do.
expect 3 mlxmill recipe check experts_4_rest_8 models/sample-llama
has err '^error: experts_4_rest_8:5: .* matches no module of this model; the nearest: model\.layers\.\*'
has err '^hint: optional = true'
printf '[[rules]]\nmatch = "**"\nbitz = 4\n' > typo.toml
expect 3 mlxmill convert models/sample-llama --recipe typo.toml -o never
has err '^error: typo\.toml:3: unknown key "bitz"$'
has err '^hint: did you mean "bits"\?$'
expect 3 mlxmill recipe show typo.toml
expect 4 mlxmill recipe check missing.toml models/sample-llama
expect 2 mlxmill convert models/sample-llama --recipe mixed_3_7 -o never
has err '^error: convert: --recipe: unknown recipe "mixed_3_7"; expected '
expect 2 mlxmill recipe
expect 2 mlxmill recipe show
expect 2 mlxmill recipe check routers_8
expect 2 mlxmill recipe list routers_8
expect 2 mlxmill recipe shw routers_8
[ ! -e never ]

# A file comes before a built-in recipe of its name.
cp rules.toml routers_8
expect 0 mlxmill recipe check routers_8 models/sample-llama
has out 'routers_8:5 +kept as float32'
rm routers_8


# Every recipe printed in docs/RECIPES.md works on the sample as it stands.
python3 - "$SOURCE_DIR/docs/RECIPES.md" <<'PYTHON'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
blocks = re.findall(r"```toml\n(.*?)```", text, re.S)
assert len(blocks) >= 3, len(blocks)
for i, block in enumerate(blocks):
    open(f"doc{i}.toml", "w").write(block)
PYTHON
for recipe in doc*.toml; do
  mlxmill recipe check "$recipe" models/sample-llama > out 2> err || { cat "$recipe" err >&2; fail "$recipe"; }
  has out '^rules .* [1-9][0-9]* modules? '
done
sed -n '/^```sh$/,/^```$/p' "$SOURCE_DIR/docs/RECIPES.md" | grep '^mlxmill ' > commands
[ "$(wc -l < commands)" -ge 4 ]
while IFS= read -r command; do
  eval "$command" > out 2> err < /dev/null || { cat out err >&2; fail "$command"; }
done < commands

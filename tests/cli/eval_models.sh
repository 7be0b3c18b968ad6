# eval runs the models: nearer candidates come first, a model equals itself, what was kept is used again.
sample
mlxmill info > about
mlxmill convert models/sample-llama --bits 8 -o sample-8bit --quiet > converted
mlxmill convert models/sample-llama --bits 3 -o sample-3bit --quiet > converted
settings="--context 64 --stride 64 --samples 1 --cache kept --quiet"
status=0
mlxmill eval models/sample-llama --reference models/sample-llama $settings --json > out 2> err || status=$?
[ "$status" -ne 5 ] || skip "this build runs no models"
[ "$status" -eq 0 ] || { cat err >&2; fail "exit status $status"; }
python3 - <<'PYTHON'
import json
report = json.load(open("out"))
model = report["models"][0]
scores = model["scores"]
assert scores["kl"]["value"] == 0 and scores["same_top"]["value"] == 1, scores
assert scores["perplexity_ratio"] == {"value": 1.0, "error": 0.0}, scores
assert len(model["texts"]) == 8 and report["texts"][0] == "code" and model["decode_per_second"] > 0, report
PYTHON
mlxmill eval sample-3bit sample-8bit --reference models/sample-llama $settings --layers --html report.html --json > out
python3 - <<'PYTHON'
import json
eight, three = json.load(open("out"))["models"]
assert eight["name"] == "sample-8bit" and three["name"] == "sample-3bit"
kl = [m["scores"]["kl"]["value"] for m in (eight, three)]
assert 0 < kl[0] < 0.01 < kl[1], kl
assert eight["worst"][0]["before"] and len(eight["layers"]) == 43
PYTHON
has report.html 'sample-8bit'
has report.html '<h2>Error of the outputs</h2>'

# Outputs of modules: on the same inputs whether candidates run or not, none where nothing is quantized, more with fewer bits.
mlxmill eval sample-3bit sample-8bit models/sample-llama --reference models/sample-llama $settings --layers-only --json > only
python3 - <<'PYTHON'
import json
scored = {m["name"]: m["layers"] for m in json.load(open("out"))["models"]}
report = json.load(open("only"))
layers = {m["name"]: m["layers"] for m in report["models"]}
assert report["output_tokens"] == json.load(open("out"))["output_tokens"] == 128 and report["protocol"].startswith("modules only;")
assert all("scores" not in m for m in report["models"])
assert layers["sample-8bit"] == scored["sample-8bit"] and layers["sample-3bit"] == scored["sample-3bit"]
assert all(e["output_error"] == 0 and e["weight_error"] == 0 for e in layers["sample-llama"])
for three, eight in zip(layers["sample-3bit"], layers["sample-8bit"]):
    assert three["path"] == eight["path"] and "output_errors" not in three
    assert 0.001 < eight["output_error"] < 0.02 < 0.05 < three["output_error"] < 0.6, (three, eight)
PYTHON
mlxmill eval sample-3bit --reference models/sample-llama $settings --layers-only --threads 1 --json > alone
python3 -c 'import json; a, b = (next(m["layers"] for m in json.load(open(f))["models"] if m["name"] == "sample-3bit") for f in ("only", "alone")); assert a == b'
mlxmill eval sample-3bit --reference models/sample-llama $settings --layers-only > table
has table '^sample-3bit: error of the weights [0-9.]+ %, of the outputs [0-9.]+ % \(root mean square over 43 modules\), largest$'
has table '^  MODULE +OUTPUTS +WEIGHTS +CODING$'
has table '^  model.layers.[0-9.a-z_]+ +[0-9.]+ %  [0-9.]+ %  affine 3-bit, groups of 64$'
has table '^outputs +of what reached the reference.s modules at 128 tokens$'

[ "$(ls kept/*.logprobs | wc -l)" = 1 ]
mlxmill eval sample-8bit --reference kept/*.logprobs --no-cache --quiet --json > again
python3 - <<'PYTHON'
import json
a = next(m for m in json.load(open("out"))["models"] if m["name"] == "sample-8bit")["scores"]
b = json.load(open("again"))["models"][0]["scores"]
assert a == b, (a, b)
PYTHON

# What activations of 8 bits cost: the same model with and without. What was kept is not mixed up.
mlxmill eval sample-3bit --reference sample-3bit $settings --int8-activations --json > out
python3 - <<'PYTHON'
import json, os
model = json.load(open("out"))["models"][0]
assert model["name"] == "sample-3bit (8-bit activations)", model["name"]
cost = model["scores"]["kl"]["value"]
# Where products of BF16 are faster nothing is rounded.
facts = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else "Metal"
rounds = "avx2" in facts and "avx512_bf16" not in facts
assert (0 < cost if rounds else 0 <= cost) and cost < 0.01, model["scores"]
PYTHON
mlxmill eval sample-3bit --reference sample-3bit $settings --json > plain
mlxmill eval sample-8bit --reference sample-8bit $settings --int8-activations --json > eight
python3 - <<'PYTHON'
import json
for file, name in (("plain", "sample-3bit"), ("eight", "sample-8bit (8-bit activations)")):
    model = json.load(open(file))["models"][0]
    assert model["name"] == name and model["scores"]["kl"]["value"] == 0, model
PYTHON
rm -r kept/*.logprobs
mlxmill eval sample-8bit --reference models/sample-llama $settings --json > out
expect 2 mlxmill eval sample-8bit --reference models/sample-llama --weights-only --int8-activations
has err 'eval: --int8-activations takes models that are run'

# The numbers go into the candidates' cards, once however often they are measured; verify does not mind.
mlxmill eval sample-3bit sample-8bit --reference models/sample-llama $settings --card > out
cp sample-8bit/README.md card
mlxmill eval sample-8bit --reference models/sample-llama $settings --card > out
same sample-8bit/README.md card
[ "$(grep -c '^## What quantization cost$' card)" = 1 ]
has card '^\| `sample-8bit` \| 6.15 MB \| 8.52[0-9] \| 0.000[0-9]+ ± '
has card '^Measured with mlxmill .*, against sample-llama\.$'
grep -A3 '^Measured with' card | grep -q '^## Use$' || fail "the section is not before Use"
grep -q 'sample-3bit' card && fail "another model's numbers"
expect 0 mlxmill verify sample-8bit
cp -r sample-8bit linked
mv linked/README.md elsewhere
ln -s ../elsewhere linked/README.md
expect 2 mlxmill eval linked --reference models/sample-llama $settings --card
has err 'README.md: is a link, into the cache of the Hub most likely'
expect 2 mlxmill eval sample-8bit --reference models/sample-llama --weights-only --card
has err 'eval: --card takes models that are run'

# Texts of one's own, and what is none.
printf '{"text": "Once upon a time there was a small house."}\n{"text": "It stood by the sea."}\n' > tales.jsonl
mlxmill eval sample-8bit --text tales.jsonl --context 8 --stride 8 --no-cache > out
has out '^sample-8bit '
expect 3 mlxmill eval sample-8bit --text tales.jsonl --no-cache
has err "text 'tales' has [0-9]+ tokens, fewer than the 512 that this protocol needs"
has err '^hint: give a longer text or a smaller --context$'
: > empty.txt
expect 3 mlxmill eval sample-8bit --text empty.txt --no-cache
has err '^error: empty.txt: the text is empty$'
printf 'a\0b' > binary.txt
expect 3 mlxmill eval sample-8bit --text binary.txt --no-cache
has err '^error: binary.txt: this is no text: there is a NUL at byte 1$'
printf 'caf\351' > latin.txt
expect 3 mlxmill eval sample-8bit --text latin.txt --no-cache
has err 'the text is not UTF-8'
echo '{"other": 1}' > other.jsonl
expect 3 mlxmill eval sample-8bit --text other.jsonl --no-cache
has err "line 1: there is no text in 'text'"

# eval: a table by divergence, kept predictions, weights, and what it refuses.
logits() { python3 "$SUPPORT/make_logits.py" "$@"; }
logits reference.safetensors 0
logits near.safetensors 0.1
logits far.safetensors 1

expect 0 mlxmill eval far.safetensors near.safetensors --reference reference.safetensors
[ "$(sed -n 2p out | cut -d' ' -f1)" = near ] || fail "the nearest is not first"
has out '^scored +44 tokens in 4 windows of tokens$'
has out '^reference +reference, perplexity .* kept: exact$'
has out '^near +1.20 MB +4.500 '

# A model against itself.
expect 0 mlxmill eval --logits reference.safetensors --reference-logits reference.safetensors --json
python3 - <<'PYTHON'
import json
scores = json.load(open("out"))["models"][0]["scores"]
assert scores["kl"] == {"value": 0.0, "error": 0.0} and scores["kl_quantiles"]["max"] == 0, scores
assert scores["same_top"]["value"] == 1 and scores["top5_overlap"]["value"] == 1, scores
assert scores["perplexity_ratio"] == {"value": 1.0, "error": 0.0}, scores
PYTHON

# Without a reference.
expect 0 mlxmill eval near.safetensors --json --protocol llama-perplexity
[ "$(python3 -c 'import json; print(json.load(open("out"))["models"][0]["scores"]["positions"])')" = 20 ]

# Kept predictions stand in for the reference, and only for their own tokens.
expect 0 mlxmill eval near.safetensors --reference reference.safetensors --cache kept --json --quiet
cp out first
[ "$(ls kept/*.logprobs | wc -l)" = 1 ]
expect 0 mlxmill eval near.safetensors --reference kept/*.logprobs --no-cache --json --quiet
python3 - <<'PYTHON'
import json
a, b = (json.load(open(name))["models"][0]["scores"] for name in ("first", "out"))
assert a == b, (a, b)
PYTHON
logits other.safetensors 0.1 5
expect 3 mlxmill eval near.safetensors --reference other.safetensors
has err 'the file has no logits for the tokens of the other one'
head -c 300 kept/*.logprobs > cut.logprobs
expect 3 mlxmill eval near.safetensors --reference cut.logprobs
has err '^error: cut.logprobs: '

# Weights alone.
sample
mlxmill convert models/sample-llama --bits 4 -o sample-4bit --quiet > converted
mlxmill convert models/sample-llama --bits 8 -o sample-8bit --quiet > converted
expect 0 mlxmill eval sample-4bit sample-8bit --reference models/sample-llama --weights-only --json
python3 - <<'PYTHON'
import json
four, eight = (model["layers"] for model in json.load(open("out"))["models"])
assert [e["path"] for e in four] == [e["path"] for e in eight] and len(four) == 43
for a, b in zip(four, eight):
    assert 0.05 < a["weight_error"] < 0.2 and 0.002 < b["weight_error"] < 0.01, (a, b)
    assert a["coding"] == "affine 4-bit, groups of 64"
PYTHON
expect 0 mlxmill eval models/sample-llama --reference models/sample-llama --weights-only --json
python3 -c 'import json; assert {e["weight_error"] for e in json.load(open("out"))["models"][0]["layers"]} == {0.0}'

# A reference of a family that is converted only: weights, and why there is no more.
cp -r models/sample-llama unrunnable
sed 's/"model_type": "llama"/"model_type": "nanbeige"/; s/LlamaForCausalLM/NanbeigeForCausalLM/' models/sample-llama/config.json > unrunnable/config.json
mlxmill convert unrunnable --bits 4 -o unrunnable-4bit --quiet > converted
expect 0 mlxmill eval unrunnable-4bit --reference unrunnable --layers-only --json
has err '^note: only weights are compared, as the reference cannot be run: '
python3 - <<'PYTHON'
import json
report = json.load(open("out"))
layers = report["models"][0]["layers"]
assert report["output_tokens"] == 0 and len(layers) == 43, report
assert all(e["output_error"] is None and e["weight_error"] > 0.05 for e in layers), layers
PYTHON
expect 0 mlxmill eval unrunnable-4bit --reference unrunnable --layers-only
has out '^unrunnable-4bit: error of the weights [0-9.]+ % \(root mean square over 43 modules\), largest$'
has_not out 'outputs'

# What it refuses.
logits nan.safetensors nan
expect 6 mlxmill eval nan.safetensors --reference reference.safetensors
has err '^error: nan: window 2, position 5: the logit of token 7 is NaN$'
expect 6 mlxmill eval near.safetensors --reference nan.safetensors
has err 'the reference: window 2, position 5: the logit of token 7 is NaN$'
logits id.safetensors id
expect 3 mlxmill eval id.safetensors
has err 'tensor "tokens": token id 40 is outside the vocabulary of 40'
logits short.safetensors short
expect 3 mlxmill eval short.safetensors
has err 'tensor "tokens" is missing'
expect 3 mlxmill eval models/sample-llama/model.safetensors
has err 'there are no tensors named logits and tokens'
expect 4 mlxmill eval nowhere.safetensors
expect 2 mlxmill eval
has err 'CANDIDATE is missing'
expect 2 mlxmill eval near.safetensors --weights-only
has err 'weights are compared with a reference'
expect 2 mlxmill eval sample-4bit --layers-only
has err 'weights are compared with a reference'
expect 2 mlxmill eval sample-4bit --reference models/sample-llama --layers-only --weights-only
has err '^error: eval: --weights-only and --layers-only contradict each other$'
expect 2 mlxmill eval sample-4bit --reference models/sample-llama --layers-only --card
has err 'eval: --card takes models that are run'
expect 4 mlxmill eval sample-4bit --reference nowhere --layers-only
expect 2 mlxmill eval near.safetensors --text models/sample-llama/config.json
has err 'files of logits bring their own tokens'
expect 2 mlxmill eval near.safetensors --protocol llama-perplexity --stride 8
has err 'llama-perplexity has no stride'

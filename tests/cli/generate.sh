# Text comes on stdout, figures on stderr; every way to give a prompt; flags that are wrong.
mlxmill info > info
grep -q '^libmlx' info || skip "built without the runtime"
sample
mlxmill generate models/sample-llama -p "Once upon a time" -m 20 > out 2> err
[ "$(wc -c < out)" -gt 20 ] || fail "no text"
has err '^prompt +[0-9]+ tokens, [0-9.]+ tokens/s'
has err '^generation +20 tokens, [0-9.]+ tokens/s, ended by max tokens'
has err '^peak memory +[0-9.]+ MB'

# The same by the other ways.
cp out text
printf 'Once upon a time' | mlxmill generate --model models/sample-llama --prompt - --max-tokens 20 --quiet > out 2> err
same out text
[ ! -s err ] || fail "--quiet wrote to stderr"
mlxmill generate models/sample-llama -p "Once upon a time" -m 20 --json > json 2> err
python3 - <<'PYTHON'
import json
result = json.load(open("json"))
assert result["text"] + "\n" == open("text").read(), result
assert result["finish"] == "max tokens" and len(result["ids"]) == 20
assert result["prompt_tokens"] > 2 and result["cached_tokens"] == 0
PYTHON

# A seed fixes what chance draws.
for run in 1 2; do
  mlxmill generate models/sample-llama -p "One day" -m 30 --temp 1 --top-p 0.9 --min-p 0.01 --top-k 50 --seed 7 \
    --repetition-penalty 1.1 --quiet > "drawn$run"
done
same drawn1 drawn2
mlxmill generate models/sample-llama -p "One day" -m 30 --temp 1 --seed 8 --quiet > other
! cmp -s drawn1 other || fail "two seeds, one text"

# Activations of 8 bits: another computation that says much the same; nothing where no codes are.
expect 0 mlxmill convert models/sample-llama -q -o sample-4bit --quiet
mlxmill generate sample-4bit -p "Once upon a time" -m 20 --int8-activations --quiet > out
[ "$(wc -c < out)" -gt 20 ] || fail "no text"
mlxmill generate models/sample-llama -p "Once upon a time" -m 20 --int8-activations --quiet > out
same out text

# A draft model guesses; the text is the same, and its vocabulary must be.
mlxmill generate models/sample-llama -p "Once upon a time" -m 20 --dtype float32 --quiet > text
mlxmill generate models/sample-llama -p "Once upon a time" -m 20 --dtype float32 --draft-model sample-4bit > out 2> err
same out text
has err 'draft  *[0-9]* tokens of these guessed'
expect 2 mlxmill generate models/sample-llama --num-draft-tokens 2
has err '.--num-draft-tokens needs --draft-model'
cp -r sample-4bit reworded
python3 - <<'PYTHON'
import json
tokenizer = json.load(open("reworded/tokenizer.json"))
ids = tokenizer["model"]["vocab"]
ids["the"], ids["and"] = ids["and"], ids["the"]
json.dump(tokenizer, open("reworded/tokenizer.json", "w"))
PYTHON
expect 2 mlxmill generate models/sample-llama -p "Once" --draft-model reworded
has err "expected '.*', as in the model"
has err 'a draft model has the vocabulary of the model'

# A prompt cache goes on where the prompt begins alike, and changes nothing.
mlxmill generate models/sample-llama -p "Once upon a time" -m 5 --prompt-cache cache.safetensors --quiet > out
mlxmill generate models/sample-llama -p "Once upon a time there was" -m 20 --prompt-cache cache.safetensors > out 2> err
has err 'more from the cache'
mlxmill generate models/sample-llama -p "Once upon a time there was" -m 20 --quiet > text
same out text
head -c 100 cache.safetensors > cut.safetensors
expect 3 mlxmill generate models/sample-llama -p "Once" --prompt-cache cut.safetensors
has err 'cut.safetensors'

expect 2 mlxmill generate models/sample-llama -p "x" --temp -1
has err '^error: --temp: expected a number of at least 0, got -1$'
expect 2 mlxmill generate models/sample-llama -p "x" --top-p 2
expect 2 mlxmill generate models/sample-llama -p "x" --system-prompt "y"
has err 'need a chat template'
expect 2 mlxmill generate models/sample-llama -p "x" --extra-eos-token '<nothing>'
has err "'<nothing>' is no token of the model"
expect 2 mlxmill generate
expect 4 mlxmill generate nowhere -p x
expect 3 mlxmill generate models/sample-llama -p "$(printf '\377')"
has err 'UTF-8'

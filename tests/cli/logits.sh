# Running a model over token ids: what is written, and what is refused.
sample
mlxmill logits models/sample-llama --ids 1,403,262 -o a.safetensors --dtype float32 --quiet > out
has out '^a.safetensors: logits of 3 positions over 4,096 tokens, computed in float32$'
printf '[1, 403]\n262 ' > ids.txt
mlxmill logits models/sample-llama --ids ids.txt -o b.safetensors --dtype float32 --steps 2 --quiet > out
inspect() { mlxmill inspect "$1" --json --tensors; }
inspect a.safetensors | grep -q '"ids"'
inspect a.safetensors | grep -q '"logits"'

expect 2 mlxmill logits models/sample-llama --ids 1,99999 -o c.safetensors
has err 'token 1 has the id 99999; expected 0 to'
expect 2 mlxmill logits models/sample-llama -o c.safetensors
expect 3 mlxmill logits models/sample-llama --ids ' ' -o c.safetensors
has err 'there are no token ids'
printf '1 two' > words.txt
expect 3 mlxmill logits models/sample-llama --ids words.txt -o c.safetensors
has err 'words.txt: byte 2: expected a token id'
expect 4 mlxmill logits models/sample-llama --ids nowhere.txt -o c.safetensors

# Memory is counted before anything is read.
expect 8 mlxmill logits models/sample-llama --ids 1 -o c.safetensors --memory 1M
has err 'the model needs .* MiB \(weights'
expect 2 mlxmill logits models/sample-llama --ids 1 -o c.safetensors --kv-bits 7
has err 'keys and values'
[ ! -e c.safetensors ]

# Every example of every help text works as printed, in the order printed.
sample
mkdir gguf
head -c 1000 "$SOURCE_DIR/models/sample-llama/model.safetensors" > gguf/gemma-3-1b-it-Q8_0.gguf
cp gguf/gemma-3-1b-it-Q8_0.gguf gguf/gemma-3-1b-it-Q4_K_M.gguf
echo hf_test > token.txt
hub Qwen/Qwen3-0.6B "ggml-org/gemma-3-1b-it-GGUF=$PWD/gguf"
for command in convert plan download login upload generate chat inspect verify eval recipe tokenize logits architectures info completion; do mlxmill help "$command"; done > texts
mlxmill help >> texts
grep '^  mlxmill ' texts | sed 's/^  //' | awk '!seen[$0]++' > examples
[ "$(wc -l < examples)" -ge 12 ]
while IFS= read -r example; do
  echo "running: $example" >&2
  eval "$example" > out 2> err < /dev/null || { cat out err >&2; fail "$example"; }
  [ -s out ] || fail "no result: $example"
done < examples

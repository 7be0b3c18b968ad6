# A script that calls mlx_lm.convert only changes the command.
sample
# The model card names the output, so equal outputs have equal names.
mkdir ours theirs
quiet() { mlxmill convert "$@" --quiet > out 2> err || { cat err >&2; fail "$*"; }; }

quiet models/sample-llama --bits 8 --group-size 32 -o ours/made
quiet --hf-path models/sample-llama --mlx-path theirs/made -q --q-bits 8 --q-group-size 32
same ours/made theirs/made
quiet --model models/sample-llama --quantize --q-mode affine --q-bits=8 --q-group-size=32 \
  --trust-remote-code --mlx-path theirs/made --force
same ours/made theirs/made

quiet models/sample-llama --recipe mixed_3_6 -o ours/mixed
quiet --hf-path models/sample-llama -q --quant-predicate mixed_3_6 --mlx-path theirs/mixed
same ours/mixed theirs/mixed

# The last of several counts, as with argparse.
quiet models/sample-llama -q --q-bits 2 --q-bits 8 --q-group-size 32 -o theirs/made --force
same ours/made theirs/made

# Their names without -q do nothing there, and nothing here but say so.
quiet models/sample-llama --dtype bfloat16 -o ours/plain
quiet models/sample-llama --dtype bfloat16 --q-bits 4 --quant-predicate mixed_2_6 -o theirs/plain
has err '^warning: without -q nothing is quantized: no effect: --q-bits, --quant-predicate$'
same ours/plain theirs/plain

# Ours imply -q.
for flag in '--bits 4' '--group-size 64' '--mode affine'; do
  # shellcheck disable=SC2086
  quiet models/sample-llama $flag -o implied
  quiet models/sample-llama -q -o explicit
  cmp implied/model.safetensors explicit/model.safetensors
  rm -r implied explicit
done

# And back.
quiet ours/made -d -o back
[ "$(python3 -c 'import json; print("quantization" in json.load(open("back/config.json")))')" = False ]

# verify passes what convert wrote and finds every kind of damage.
sample
mlxmill convert models/sample-llama --bits 4 -o made --quiet > out
expect 0 mlxmill verify made
has out '^result +ok$'

damaged() {
  rm -rf copy
  cp -R made copy
  "$@"
  expect 7 mlxmill verify copy
  has out '^problem: '
  has out '^result +[0-9]+ problems?$'
  expect 7 mlxmill verify copy --json
  [ "$(json out ok)" = False ]
}
flip() {
  python3 - "$1" "$2" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]), 0 if int(sys.argv[2]) >= 0 else 2)
    byte = file.read(1)
    file.seek(-1, 1)
    file.write(bytes([byte[0] ^ 1]))
PYTHON
}
damaged flip copy/model.safetensors 100000
has out 'model\.safetensors|problem'
damaged flip copy/model.safetensors -1
damaged flip copy/tokenizer.json 1000
damaged rm copy/tokenizer.json
expect 4 mlxmill verify nowhere

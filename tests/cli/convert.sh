# The result of a conversion, but for what differs from run to run.
sample
mlxmill convert models/sample-llama --bits 4 -o sample-4bit 2> err | sed -E \
  -e 's/^(time +).*, [0-9.]+ GB\/s of source \(.* of it reading back; [0-9]+ threads?, [A-Z0-9_]+\)$/\1.../' \
  -e 's/^(peak memory +)[0-9.]+ MB$/\1.../'
[ -f sample-4bit/config.json ]
[ -f sample-4bit/model.safetensors ]
only models sample-4bit
# As a log, stderr has no escape sequences.
has_not err "$(printf '\033')"

# "out/" and "out" are the same name.
mkdir other
mlxmill convert models/sample-llama/ --bits 4 -o other/sample-4bit/ --quiet > out 2> err
[ ! -s err ]
same sample-4bit other/sample-4bit

# The default name is mlx_lm.convert's.
expect 0 mlxmill convert models/sample-llama
[ -f mlx_model/config.json ]

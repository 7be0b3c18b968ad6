# What inspect says of a checkpoint, a file, and what convert makes of it.
sample
show mlxmill inspect models/sample-llama
show mlxmill inspect models/sample-llama/model.safetensors
show mlxmill inspect models/sample-llama --filter '*.layers.0.*'
mlxmill convert models/sample-llama --bits 4 -o made --quiet > out
show mlxmill inspect made
show mlxmill inspect nowhere
mkdir empty
show mlxmill inspect empty

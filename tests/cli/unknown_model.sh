# A model type nobody declared: what was found, near names, nothing written.
sample
sed 's/"model_type": "llama"/"model_type": "lama"/; s/"hidden_act": "silu"/"hidden_act": "gelu"/' models/sample-llama/config.json > config
cp config models/sample-llama/config.json
expect 5 mlxmill convert models/sample-llama --bits 4 -o made
has err '^error: .*lama'
has err 'llama'
has err 'kinds of tensors \("model\.layers\.\{l\}\.'
has err '"hidden_act"'
has err 'docs/ARCHITECTURES\.md|--architecture'
only models config

# One that follows a family exactly is converted as such, with a warning, and mlx-lm can load the result.
sed 's/"hidden_act": "gelu"/"hidden_act": "silu"/' config > models/sample-llama/config.json
mlxmill convert models/sample-llama --bits 4 -o made > out 2> err
has err '^warning: model_type "lama" is unknown; .*family llama'
has made/config.json '"model_type": "llama"'
mlxmill verify made

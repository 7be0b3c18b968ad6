# A model type nobody declared: its own exit status, near names, nothing written.
sample
sed 's/"model_type": "llama"/"model_type": "lama"/' models/sample-llama/config.json > config
mv config models/sample-llama/config.json
expect 5 mlxmill convert models/sample-llama --bits 4 -o made
has err '^error: .*lama'
has err 'llama'
has err 'docs/ARCHITECTURES\.md|--architecture'
only models

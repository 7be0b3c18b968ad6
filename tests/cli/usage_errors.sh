# What misuse is answered with: one line that says what, one that helps, status 2.
sample
show mlxmill convrt models/sample-llama
show mlxmill arch
show mlxmill help verfy
show mlxmill --bogus
show mlxmill convert
show mlxmill convert models/sample-llama --bitz 4
show mlxmill convert models/sample-llama --quant
show mlxmill convert models/sample-llama another
show mlxmill convert models/sample-llama --bits
show mlxmill convert models/sample-llama --bits four
show mlxmill convert models/sample-llama --bits 4x
show mlxmill convert models/sample-llama --bits 99999999999999999999
show mlxmill convert models/sample-llama -o ''
show mlxmill convert models/sample-llama --mode mxfp5
show mlxmill convert models/sample-llama --dtype float8
show mlxmill convert models/sample-llama --codes best
show mlxmill convert models/sample-llama --bits 4 -d
show mlxmill convert models/sample-llama --bits 4 --q-bits 8
show mlxmill convert models/sample-llama --hf-path other
show mlxmill convert models/sample-llama --quiet --verbose
show mlxmill convert models/sample-llama --threads 0
show mlxmill convert models/sample-llama --memory 63M
show mlxmill convert models/sample-llama --memory 12Q
show mlxmill convert models/sample-llama --memory 18446744073709551616
show mlxmill convert models/sample-llama --memory 17179869184G
show mlxmill convert models/sample-llama --memory=-1G
show env -u HF_TOKEN HF_HOME=nowhere mlxmill convert models/sample-llama --upload-repo me/sample
show mlxmill convert models/sample-llama --stream
show env HF_HUB_OFFLINE=1 HF_HOME=nowhere mlxmill convert Qwen/Qwen3-8B --bits 4
show mlxmill download https://example.com/Qwen/Qwen3-8B
show mlxmill inspect
show mlxmill verify
show mlxmill completion
show mlxmill completion tcsh
only models

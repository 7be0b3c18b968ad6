# NaN and infinity: counted, named, refused; passed on only when asked.
sample
python3 - <<'PYTHON'
with open("models/sample-llama/model.safetensors", "r+b") as file:
    file.seek(-2000, 2)
    file.write(b"\xc0\x7f\x80\x7f\x80\xff")  # NaN, infinity, -infinity in bf16
PYTHON
expect 6 mlxmill convert models/sample-llama --bits 4 -o made
has err '^error: .*3'
has err '--allow-non-finite'
[ ! -e made ]
expect 0 mlxmill convert models/sample-llama --bits 4 -o made --allow-non-finite --json
[ "$(json out non_finite_weights)" -eq 3 ]

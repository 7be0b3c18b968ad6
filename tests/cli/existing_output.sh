# An existing output is refused; --force replaces it, once the new one is complete.
sample
mlxmill convert models/sample-llama --bits 4 -o made --quiet > out
fingerprint made > before

expect 2 mlxmill convert models/sample-llama --bits 8 -o made
has err '^error: .*made'
has err '--force'
fingerprint made | cmp - before

# A conversion that fails leaves the old output as it was.
cp -R models/sample-llama broken
python3 - <<'PYTHON'
with open("broken/model.safetensors", "r+b") as file:
    file.seek(-2000, 2)
    file.write(b"\xc0\x7f" * 8)  # NaN
PYTHON
expect 6 mlxmill convert broken --bits 4 -o made --force
fingerprint made | cmp - before

mkdir fresh
expect 0 mlxmill convert models/sample-llama --bits 8 -o made --force --quiet
mlxmill convert models/sample-llama --bits 8 -o fresh/made --quiet > out
same fresh/made made

# A file of that name is no less taken.
echo precious > file
expect 2 mlxmill convert models/sample-llama --bits 4 -o file
[ "$(cat file)" = precious ]

# What may not be read or written is an error that names it.
sample
as_user() { python3 "$SUPPORT/as_nobody.py" "$@"; }
chmod 755 . .. ../bin
as_user mlxmill --version > out 2>&1 || skip "no unprivileged user can run the program here"
mkdir closed
chmod 555 closed
expect 4 as_user mlxmill convert models/sample-llama --bits 4 -o closed/made
has err '^error: .*closed'
[ -z "$(ls -A closed)" ]

mkdir open
chmod 777 open
chmod 000 models/sample-llama/model.safetensors
expect 4 as_user mlxmill convert models/sample-llama --bits 4 -o open/made
has err '^error: .*model\.safetensors'
[ -z "$(ls -A open)" ]
chmod 644 models/sample-llama/model.safetensors

chmod 000 models/sample-llama
expect 4 as_user mlxmill convert models/sample-llama --bits 4 -o open/made
chmod 755 models/sample-llama
[ -z "$(ls -A open)" ]

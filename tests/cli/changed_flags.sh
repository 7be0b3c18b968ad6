# An unfinished run is resumed only by the same flags on the same source; else it starts over and says so.
large_checkpoint source
mkdir four eight
mlxmill convert source --bits 4 -o four/made --quiet > out
mlxmill convert source --bits 8 -o eight/made --quiet > out

# Leaves an unfinished run behind.
interrupt() {
  rm -rf made
  tries=0
  while :; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || fail "no run could be interrupted"
    rm -rf made
    mlxmill convert source --bits 4 --threads 1 -o made > out 2> err &
    runner=$!
    # As soon as it has taken the output; how long it takes to get there depends on the build.
    while [ ! -s .made.mlxmill-work/journal ] && kill -0 "$runner" 2> kill_err; do sleep 0.005; done
    kill -9 "$runner" 2> kill_err || true
    wait "$runner" 2> wait_err || true
    ls -A | grep -q '^\..*made' && [ ! -e made ] && return
  done
}

interrupt
expect 0 mlxmill convert source --bits 8 -o made
has err '^(note|warning): .*(start|over|changed)'
same eight/made made

interrupt
touch source/model-00002-of-00003.safetensors
expect 0 mlxmill convert source --bits 4 -o made --json
[ "$(json out resumed_bytes)" -eq 0 ]
same four/made made

interrupt
expect 0 mlxmill convert source --bits 4 -o made --restart --json
[ "$(json out resumed_bytes)" -eq 0 ]
same four/made made
rm -f kill_err wait_err
only source four eight made

# Two runs for the same output: the second is refused and does no harm.
large_checkpoint source
mkdir expected
mlxmill convert source --bits 4 -o expected/made --quiet > out
tries=0
while :; do
  tries=$((tries + 1))
  [ "$tries" -le 50 ] || fail "the first run was never caught at work"
  rm -rf made
  mlxmill convert source --bits 4 --threads 1 -o made --quiet > first 2>&1 &
  runner=$!
  # Stopped as soon as it has taken the output; how long it takes to get there depends on the build.
  while [ ! -s .made.mlxmill-work/journal ] && kill -0 "$runner" 2> kill_err; do sleep 0.005; done
  kill -STOP "$runner" 2> kill_err || { wait "$runner"; continue; }
  status=0
  mlxmill convert source --bits 4 -o made > out 2> err || status=$?
  kill -CONT "$runner"
  [ "$status" -eq 4 ] && break
  wait "$runner" || true
done
has err '^error: '
wait "$runner"
same expected/made made

# shellcheck disable=SC2086
# Killed at any moment, the same command ends with the bytes of a run that nothing disturbed.
kills=${KILLS:-25}
large_checkpoint source
mkdir expected
fingerprint source > before
flags='--bits 4 --threads 1 --quiet --json'

start=$(python3 -c 'import time; print(time.time())')
mlxmill convert source $flags -o expected/made > out
seconds=$(python3 -c 'import sys, time; print(time.time() - float(sys.argv[1]))' "$start")

killed=0
resumed=0
round=0
while [ "$killed" -lt "$kills" ]; do
  round=$((round + 1))
  [ "$round" -le 200 ] || fail "only $killed of $round runs were killed before they ended"
  # From before the first byte to a little after the last.
  moment=$(python3 -c 'import random, sys; print(random.Random(int(sys.argv[1])).uniform(0, 1.05 * float(sys.argv[2])))' \
    "$round" "$seconds")
  # The program itself, not a function: that would be a shell of its own, and the signal would end only that.
  mlxmill convert source $flags -o made > out 2> err &
  runner=$!
  sleep "$moment"
  kill -9 "$runner" 2> kill_err || true
  status=0
  wait "$runner" 2> wait_err || status=$?
  if [ "$status" -eq 137 ]; then
    killed=$((killed + 1))
    if [ ! -e made ]; then
      # Every third is killed again before it may finish.
      [ $((killed % 3)) -eq 0 ] && [ "$killed" -lt "$kills" ] && continue
      mlxmill convert source $flags -o made > report.json 2> err || { cat err >&2; fail "no resumption after kill $killed"; }
      [ "$(json report.json resumed_bytes)" -eq 0 ] || resumed=$((resumed + 1))
    fi
  elif [ "$status" -ne 0 ]; then
    cat err >&2
    fail "round $round: exit status $status"
  fi
  # What stands under the final name is complete, even if the run was killed right after.
  if [ -e made ]; then
    same expected/made made
    rm -r made
  fi
done
fingerprint source | cmp - before
rm -f kill_err wait_err report.json
only source expected before
echo "test: killed $killed of $round runs, $resumed resumed" >&2
[ "$resumed" -gt 0 ] || fail "no run resumed anything"

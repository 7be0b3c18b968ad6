# Ctrl-C stops cleanly: status 130, what to do next, and the same command resumes.
large_checkpoint source
mkdir expected
mlxmill convert source --bits 4 -o expected/made --quiet > out
for signal in TERM INT; do
  tries=0
  status=0
  while [ "$status" -ne 130 ]; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || fail "SIG$signal never came in time"
    rm -rf made
    status=0
    # Through Python: a shell lets its background jobs ignore SIGINT.
    python3 - "$signal" > out 2> err <<'PYTHON' || status=$?
import os, signal, subprocess, sys, time
process = subprocess.Popen(["mlxmill", "convert", "source", "--bits", "4", "--threads", "1", "-o", "made"])
# As soon as it has taken the output; how long it takes to get there depends on the build.
while process.poll() is None and not os.path.exists(".made.mlxmill-work/journal"):
    time.sleep(0.002)
process.send_signal(getattr(signal, "SIG" + sys.argv[1]))
status = process.wait()
# Killed by the signal itself: it came before the program was ready for it.
sys.exit(0 if status == -getattr(signal, "SIG" + sys.argv[1]) else status)
PYTHON
  done
  [ ! -e made ]
  [ ! -s out ]
  has err '^interrupted: run the same command again'
  expect 0 mlxmill convert source --bits 4 --threads 1 -o made
  same expected/made made
done

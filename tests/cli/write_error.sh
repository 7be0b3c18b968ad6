# A file that may not grow is a write error like any other, not a signal that ends the program.
large_checkpoint source
status=0
(ulimit -f 2000; mlxmill convert source --bits 4 -o made --quiet > out 2> err) || status=$?
[ "$status" -eq 4 ] || { cat err >&2; fail "expected exit status 4, got $status"; }
has err '^error: '
[ ! -e made ]

# A result that cannot be printed is an error too.
if [ -e /dev/full ]; then
  status=0
  mlxmill architectures > /dev/full 2> err || status=$?
  [ "$status" -eq 4 ]
  has err '^error: stdout: cannot write the result'
fi

# One live line on a terminal that can, plain lines elsewhere, nothing with --quiet; stdout never has any of it.
large_checkpoint source
escape=$(printf '\033')
run() {
  columns=$1
  shift
  rm -rf made
  python3 "$SUPPORT/pty_run.py" "$columns" terminal mlxmill convert source --bits 4 -o made "$@" > out
  has_not out "$escape"
}

TERM=xterm run 80
# Drawn in place, and erased at the end.
has terminal "$(printf '\r')[a-z ]+[0-9]+%.* of [0-9.]+ MB"
python3 - <<'PYTHON'
data = open("terminal", "rb").read()
assert data.rstrip(b"\n").endswith(b"\r\x1b[K"), data[-100:]
for line in data.replace(b"\x1b[K", b"").replace(b"\n", b"\r").split(b"\r"):
    assert len(line) < 80, line
PYTHON

TERM=xterm run 24
python3 - <<'PYTHON'
data = open("terminal", "rb").read()
for line in data.replace(b"\x1b[K", b"").replace(b"\n", b"\r").split(b"\r"):
    assert len(line) < 24 or line.startswith((b"note", b"warning")), line
PYTHON

# A terminal that cannot gets plain lines.
TERM=dumb run 80
has_not terminal "$escape"
has terminal '^[a-z ]+: done in '

TERM=xterm run 80 --quiet
[ ! -s terminal ] || fail "--quiet wrote to stderr"

# Colour only without NO_COLOR.
status=0
TERM=xterm python3 "$SUPPORT/pty_run.py" 80 terminal mlxmill convert nowhere > out || status=$?
[ "$status" -eq 4 ]
has terminal "$escape\[1;31merror:"
NO_COLOR=1 TERM=xterm python3 "$SUPPORT/pty_run.py" 80 terminal mlxmill convert nowhere > out || true
has terminal '^error: '
has_not terminal "$escape"

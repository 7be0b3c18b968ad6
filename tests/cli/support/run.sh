# Runs one whole-program test and compares what it did with what it should do.
#
#   sh run.sh PROGRAM SOURCE_FOLDER TEST.sh
#
# The test runs in an empty folder, with `mlxmill` on PATH, $SOURCE_DIR and $SUPPORT set and lib.sh loaded.
# UPDATE=1 writes TEST.exact instead of comparing. Exit status: 0 passed, 77 skipped, 1 failed.
set -u
program=$1
SOURCE_DIR=$2
test=$3
SUPPORT=$(cd "$(dirname "$0")" && pwd)
expected=${test%.sh}

work=$(mktemp -d "${TMPDIR:-/tmp}/mlxmill-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/run"
ln -s "$program" "$work/bin/mlxmill"

# What a user's environment could change.
PATH="$work/bin:$PATH" LC_ALL=C TERM=dumb
export PATH LC_ALL TERM SOURCE_DIR SUPPORT
unset NO_COLOR

cd "$work/run"
status=0
sh -eu -c '. "$0"; . "$1"' "$SUPPORT/lib.sh" "$test" > "$work/stdout" 2> "$work/stderr" || status=$?
if [ "$status" -eq 77 ]; then
  cat "$work/stderr"
  exit 77
fi

failed=0
want=0
[ -f "$expected.exit" ] && want=$(cat "$expected.exit")
if [ "$status" -ne "$want" ]; then
  echo "exit status: expected $want, got $status"
  failed=1
fi
if [ -f "$expected.exact" ] || [ "${UPDATE:-}" = 1 -a -s "$work/stdout" ]; then
  if [ "${UPDATE:-}" = 1 ]; then
    cp "$work/stdout" "$expected.exact"
  elif ! diff -u "$expected.exact" "$work/stdout"; then
    echo "stdout differs from $expected.exact"
    failed=1
  fi
fi
if [ "$failed" -ne 0 ]; then
  echo "--- stdout"
  tail -50 "$work/stdout"
  echo "--- stderr"
  tail -50 "$work/stderr"
fi
# What a test counted is worth seeing even when it passed.
[ "$failed" -eq 0 ] && grep '^test: ' "$work/stderr"
exit "$failed"

# Words of the whole-program tests.

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  echo "SKIPPED: $*" >&2
  exit 77
}

# A private copy of the sample model at models/sample-llama.
sample() {
  mkdir -p models
  cp -R "$SOURCE_DIR/models/sample-llama" models/
}

# A larger llama checkpoint of random weights in several shards, at $1: long enough to be interrupted.
large_checkpoint() {
  python3 "$SUPPORT/make_checkpoint.py" "$SOURCE_DIR/models/sample-llama" "$1"
}

# Runs a command that must end with exit status $1; its streams are then in files `out` and `err`.
expect() {
  expected_status=$1
  shift
  got_status=0
  "$@" > out 2> err || got_status=$?
  [ "$got_status" -eq "$expected_status" ] && return
  cat out err >&2
  fail "$*: expected exit status $expected_status, got $got_status"
}

# The file $1 has a line that matches the extended regular expression $2.
has() {
  grep -Eq -- "$2" "$1" && return
  cat "$1" >&2
  fail "no line of $1 matches: $2"
}

has_not() {
  grep -Eq -- "$2" "$1" || return 0
  cat "$1" >&2
  fail "a line of $1 matches: $2"
}

# Shows a command, everything it prints and its exit status, for exact comparison.
show() {
  echo "\$ $*"
  shown_status=0
  "$@" 2>&1 || shown_status=$?
  echo "[$shown_status]"
}

# Two folders hold the same files with the same bytes.
same() {
  diff -r "$1" "$2" >&2 || fail "$1 and $2 differ"
}

# Nothing in the current folder but the names given: no output, no work folder left behind.
only() {
  for entry in * .[!.]*; do
    [ -e "$entry" ] || continue
    known=no
    for name in out err "$@"; do [ "$entry" = "$name" ] && known=yes; done
    [ "$known" = yes ] || fail "unexpected: $entry"
  done
}

# Name, hash and modification time of every file below $1.
fingerprint() {
  python3 "$SUPPORT/fingerprint.py" "$1"
}

# The value of key $2 in the JSON file $1.
json() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

# A Hub on loopback with the sample model under the names in $@ (NAME or NAME=FOLDER), and nothing of the user's settings.
# Ends with the test.
hub() {
  hub_repos=
  for hub_repo in "$@"; do
    case "$hub_repo" in *=*) ;; *) hub_repo="$hub_repo=$SOURCE_DIR/models/sample-llama" ;; esac
    hub_repos="$hub_repos --repo $hub_repo"
  done
  mkfifo hub-stdin
  # The server ends when its stdin does: when this shell ends.
  # shellcheck disable=SC2086
  python3 "$SOURCE_DIR/tests/hub/hub_server.py" $hub_repos --token hf_test=me < hub-stdin > hub-address &
  exec 9> hub-stdin
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -s hub-address ] && break
    sleep 0.2
  done
  [ -s hub-address ] || fail "the Hub did not start"
  unset HF_HUB_CACHE HF_TOKEN HF_HUB_DISABLE_IMPLICIT_TOKEN HF_TOKEN_PATH HF_HUB_OFFLINE HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY all_proxy
  HF_ENDPOINT=$(sed 's/^HF_ENDPOINT=//' hub-address) HF_HOME=$PWD/hf-home
  export HF_ENDPOINT HF_HOME
}

# The completions load cleanly and offer what the program takes.
mlxmill completion bash > completion.bash
mlxmill completion zsh > completion.zsh
mlxmill completion fish > completion.fish
for shell in bash zsh fish; do
  command -v "$shell" > out || { echo "no $shell here" >&2; continue; }
  "$shell" -n "completion.$shell" || fail "$shell cannot parse its completion"
done

command -v bash > out || skip "no bash here"
offered() {
  bash --norc -eu -c '
    . ./completion.bash
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _mlxmill
    printf "%s\n" "${COMPREPLY[@]:-}"' bash "$@" | sort | tr '\n' ' '
}
is() {
  [ "$1" = "$2" ] || fail "expected '$1', got '$2'"
}
is 'completion convert ' "$(offered mlxmill co)"
is 'affine ' "$(offered mlxmill convert --mode a)"
is 'mxfp4 mxfp8 ' "$(offered mlxmill convert --q-mode mx)"
is 'mixed_2_6 mixed_3_4 mixed_3_6 mixed_4_6 ' "$(offered mlxmill convert --recipe mixed)"
is 'check ' "$(offered mlxmill recipe c)"
is 'routers_8 ' "$(offered mlxmill recipe check rout)"
is '--q-bits ' "$(offered mlxmill convert --q-b)"
is 'bash fish zsh ' "$(offered mlxmill completion '')"
is 'verify ' "$(offered mlxmill help ver)"
mkdir 'a folder'
: > 'routers of mine.toml'
is 'routers of mine.toml routers_8 ' "$(offered mlxmill convert --recipe rout)"
rm 'routers of mine.toml'
is 'a folder ' "$(offered mlxmill recipe check routers_8 a)"
is 'a folder ' "$(offered mlxmill convert a)"
is 'a folder ' "$(offered mlxmill convert x -o a)"

# Every flag the help shows is offered.
for command in convert plan inspect verify recipe architectures info; do
  mlxmill help "$command" | sed -n 's/^  \(-[-a-z, ]*\).*/\1/p' | tr ', ' '\n\n' | grep '^--' > flags
  for flag in $(cat flags); do
    is "$flag" "$(offered mlxmill "$command" "$flag" | tr ' ' '\n' | grep -x -- "$flag")"
  done
done

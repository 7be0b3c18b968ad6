# Every hostile folder is refused by every command that opens a model: the exit status of its error, the message that
# tests/hostile/cases.tsv holds, no crash, nothing written.
tab=$(printf '\t')
status_of() {
  case $1 in
    kInvalidInput) echo 3 ;;
    kNotFound | kIo | kPermission) echo 4 ;;
    kUnsupported | kUnknownModel) echo 5 ;;
    *) fail "no exit status known for $1" ;;
  esac
}

mkdir messages
cases=0
while IFS="$tab" read -r folder code message _; do
  [ "$folder" = folder ] && continue
  cases=$((cases + 1))
  path=$SOURCE_DIR/tests/hostile/$folder
  expect "$(status_of "$code")" mlxmill inspect "$path"
  [ ! -s out ] || fail "$folder: printed a result"
  cp err "messages/$folder"
  for flags in '--bits 4' '--bits 4 --dry-run' '-d'; do
    # shellcheck disable=SC2086
    expect "$(status_of "$code")" mlxmill convert "$path" -o made $flags
    [ ! -s out ] || fail "$folder: printed a result"
  done
  only messages
done < "$SOURCE_DIR/tests/hostile/cases.tsv"
echo "test: $cases hostile folders" >&2
[ "$cases" -ge 50 ]

# One line of error and at most one of hint, which the table joins; nothing in it can drive a terminal.
python3 - "$SOURCE_DIR/tests/hostile" <<'PYTHON'
import pathlib, sys
hostile = pathlib.Path(sys.argv[1])
for line in (hostile / "cases.tsv").read_text().splitlines()[1:]:
    folder, _, message, _ = line.split("\t")
    lines = pathlib.Path("messages", folder).read_text().splitlines()
    assert len(lines) <= 2 and all(text.isprintable() for text in lines), lines
    got = lines[0].removeprefix("error: ")
    got += "".join("; " + text.removeprefix("hint: ") for text in lines[1:])
    expected = message.replace("DIR", str(hostile / folder)).replace("HOSTILE", str(hostile))
    assert got == expected, f"{folder}:\n{got!r}, expected\n{expected!r}"
PYTHON

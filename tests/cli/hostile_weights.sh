# Every folder of tests/hostile_weights: refused when its table says, with the status and the message there, and nothing
# written; or converted.
tab=$(printf '\t')
mkdir messages
cases=0
while IFS="$tab" read -r folder when status _; do
  [ "$folder" = folder ] && continue
  cases=$((cases + 1))
  path=$SOURCE_DIR/tests/hostile_weights/$folder
  early=0
  [ "$when" = plan ] && early=$status
  expect 0 mlxmill inspect "$path"
  expect "$early" mlxmill convert "$path" -o made --bits 4 --dry-run
  only messages
  for flags in '' '--bits 4'; do
    # shellcheck disable=SC2086
    expect "$status" mlxmill convert "$path" -o made $flags
    grep -e '^error: ' -e '^hint: ' err > "messages/$folder" || :
    [ "$when" = never ] || only messages
    rm -rf made
  done
done < "$SOURCE_DIR/tests/hostile_weights/cases.tsv"
[ "$cases" -eq "$(find "$SOURCE_DIR/tests/hostile_weights" -mindepth 1 -type d | wc -l)" ] || fail "not every folder is listed"

python3 - "$SOURCE_DIR/tests/hostile_weights" <<'PYTHON'
import pathlib, sys
hostile = pathlib.Path(sys.argv[1])
for line in (hostile / "cases.tsv").read_text().splitlines()[1:]:
    folder, _, _, message, _ = line.split("\t")
    lines = pathlib.Path("messages", folder).read_text().splitlines()
    got = "; ".join(text.removeprefix("error: ").removeprefix("hint: ") for text in lines)
    expected = message.replace("DIR", str(hostile / folder))
    assert got == expected, f"{folder}:\n{got!r}, expected\n{expected!r}"
PYTHON

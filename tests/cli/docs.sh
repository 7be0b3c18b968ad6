# Every command of docs/CLI.md and docs/PLAN.md works as written, in the order written.
sample
hub Qwen/Qwen3-0.6B
echo hf_test > token.txt
sed -n '/^```sh$/,/^```$/p' "$SOURCE_DIR/docs/CLI.md" "$SOURCE_DIR/docs/PLAN.md" | grep '^mlxmill ' > commands
[ "$(wc -l < commands)" -ge 8 ]
while IFS= read -r command; do
  echo "running: $command" >&2
  bash -c "$command" > out 2> err < /dev/null || { cat out err >&2; fail "$command"; }
done < commands

# Ctrl-C: what was scored is reported as partial, and the same command goes on.
python3 "$SUPPORT/make_logits.py" reference.safetensors 0 3000
python3 "$SUPPORT/make_logits.py" candidate.safetensors 0.2 3000
evaluate() {
  mlxmill eval candidate.safetensors --reference reference.safetensors --cache kept --json --threads 1 "$@"
}
# A full run first, for its result; the candidate's scores are then cut as a killed run leaves them.
evaluate > whole
scores=$(ls kept/*.scores)
mv "$scores" "$scores.partial"
truncate -s 400000 "$scores.partial"
evaluate > resumed 2> err
python3 - <<'PYTHON'
import json
a, b = (json.load(open(name))["models"][0] for name in ("whole", "resumed"))
assert a["scores"] == b["scores"] and a["worst"] == b["worst"] and b["complete"]
PYTHON
rm kept/*.scores
mlxmill eval candidate.safetensors --reference reference.safetensors --cache kept --json --threads 1 > out 2> err &
job=$!
for _ in $(seq 500); do
  [ -s kept/*.scores.partial ] && break
  sleep 0.01
done
kill -INT "$job"
status=0
wait "$job" || status=$?
if [ "$status" -eq 0 ]; then
  echo "test: the run was done before it could be stopped" >&2
else
  [ "$status" -eq 130 ] || { cat err >&2; fail "exit status $status"; }
  if [ -s out ]; then [ "$(json out complete)" = False ]; fi
fi
evaluate > again
python3 - <<'PYTHON'
import json
a, b = (json.load(open(name))["models"][0] for name in ("whole", "again"))
assert a["scores"] == b["scores"] and b["complete"]
PYTHON

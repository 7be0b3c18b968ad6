# A conversation from a pipe and in a terminal: commands, several lines, Ctrl-C.
mlxmill info > info
grep -q '^libmlx' info || skip "built without the runtime"
sample
expect 5 mlxmill chat models/sample-llama
has err 'this model has no chat template'
cat > models/sample-llama/chat_template.jinja <<'JINJA'
{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}
JINJA

printf 'One day\n/save saved.json\n/reset\nOne day\n/save again.json\n' |
  mlxmill chat models/sample-llama -m 10 --quiet > out 2> err
same saved.json again.json
python3 - <<'PYTHON'
import json
messages = json.load(open("saved.json"))
assert [m["role"] for m in messages] == ["user", "assistant"], messages
assert messages[0]["content"] == "One day"
assert messages[1]["content"] + "\n" == open("out").read()[: len(messages[1]["content"]) + 1], messages
PYTHON

printf '/system Be brief.\none \\\ntwo\n"""three\nfour"""\n/save lines.json\n' |
  mlxmill chat models/sample-llama -m 3 --quiet > out 2> err
python3 - <<'PYTHON'
import json
messages = json.load(open("lines.json"))
assert messages[0] == {"role": "system", "content": "Be brief."}, messages
assert messages[1]["content"] == "one \ntwo" and messages[3]["content"] == "three\nfour", messages
PYTHON

printf '/load lines.json\n/save loaded.json\n' | mlxmill chat models/sample-llama --quiet > out 2> err
same lines.json loaded.json
echo '[{"role": "assistant", "content": "x"}]' > wrong.json
expect 3 sh -c "printf '/load wrong.json\n' | mlxmill chat models/sample-llama --quiet"
has err "wrong.json: message 0: expected role 'user', got 'assistant'"
expect 2 sh -c "printf '/rest\n' | mlxmill chat models/sample-llama --quiet"
has err "did you mean /reset"

XDG_STATE_HOME=$PWD/state TERM=xterm python3 "$SUPPORT/chat_in_terminal.py" mlxmill chat models/sample-llama -m -1 \
  --context 100000
[ "$(stat -c %a state/mlxmill/chat_history 2>/dev/null || stat -f %Lp state/mlxmill/chat_history)" = 600 ]

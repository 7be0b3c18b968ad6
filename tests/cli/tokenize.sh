# Text to ids and back, chats, and what is wrong with what is given.
sample
mlxmill tokenize models/sample-llama 'Once' --ids > out || {
  [ "$?" -eq 5 ] && skip "built without tokenizers"
  fail "tokenize"
}
text='Once upon a time, é😀'
mlxmill tokenize models/sample-llama "$text" --ids > ids
mlxmill tokenize models/sample-llama --decode "$(cat ids)" > back
[ "$(cat back)" = "$text" ] || fail "decoded: $(cat back)"
printf '%s' "$text" | mlxmill tokenize models/sample-llama - --ids | cmp - ids || fail "stdin"
mlxmill tokenize models/sample-llama "$text" --json > json
[ "$(json json text)" = "$text" ] || fail "JSON"
[ "$(json json ids | tr -d '[],')" = "$(cat ids)" ] || fail "JSON ids"
mlxmill tokenize models/sample-llama 'a b' > table
has table "^ *[0-9]+ +' b'$"

chat='[{"role": "user", "content": "Hi"}]'
template='{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}'
[ "$(mlxmill tokenize models/sample-llama --chat "$chat" --template "$template")" = '<|endoftext|>[user]Hi[assistant]' ] || fail chat
[ "$(mlxmill tokenize models/sample-llama --chat "$chat" --template "$template" --continue)" = '<|endoftext|>[user]Hi' ] || fail continue
[ "$(mlxmill tokenize models/sample-llama --chat "$chat" --template '{{ x }}' --variables '{"x": 3}')" = 3 ] || fail variables
printf '%s' "$template" > models/sample-llama/chat_template.jinja
mlxmill tokenize models/sample-llama --chat "$chat" --ids > ids
has ids '^0 '

expect 3 mlxmill tokenize models/sample-llama --chat "$chat" --template '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}'
has err 'error: the chat template fails: it takes more than 20000000 steps; does it loop forever'
expect 3 mlxmill tokenize models/sample-llama --chat '{'
expect 3 mlxmill tokenize models/sample-llama "$(printf 'a\377')"
has err 'error: the text is no UTF-8 from byte 1 on'
expect 2 mlxmill tokenize models/sample-llama --decode 'x'
expect 2 mlxmill tokenize models/sample-llama --decode --chat 'x'
expect 2 mlxmill tokenize models/sample-llama x --tools '[]'
expect 2 mlxmill tokenize
mkdir empty
expect 4 mlxmill tokenize empty x
has err 'no tokenizer; expected tokenizer.json'

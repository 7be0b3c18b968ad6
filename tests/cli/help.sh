# Help goes to stdout with status 0, and is the same however it is asked for.
mlxmill --help > first
mlxmill help > second
mlxmill -h > third
cmp first second
cmp first third
cat first

for command in convert plan download login upload generate chat inspect verify eval recipe tokenize logits architectures info completion; do
  mlxmill "$command" --help > long
  mlxmill help "$command" > asked
  cmp long asked
  has long '^Usage: mlxmill'
  has long '^Examples:'
  has long '^Exit codes:'
  # Examples come first.
  [ "$(grep -n '^Examples:' long | cut -d: -f1)" -lt "$(grep -n '^Exit codes:' long | cut -d: -f1)" ]
done

# Without a command, the same on stderr, and misuse is told by the status.
expect 2 mlxmill
cmp err first
[ ! -s out ]

expect 0 mlxmill --version
has out '^mlxmill [0-9]+\.[0-9]+\.[0-9]+$'

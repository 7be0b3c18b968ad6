# The source keeps its bytes and times, whatever happens; an output inside it is refused.
sample
fingerprint models > before
for output in models/sample-llama models/sample-llama/out models/sample-llama/a/b models/../models/sample-llama/x; do
  expect 2 mlxmill convert models/sample-llama --bits 4 -o "$output" --force
  has err '^error: '
done
ln -s models/sample-llama link
expect 2 mlxmill convert models/sample-llama --bits 4 -o link/out
rm link
expect 0 mlxmill convert models/sample-llama --bits 4 -o made
expect 0 mlxmill convert models/sample-llama -o made --force
fingerprint models | cmp - before
[ "$(find models -type d | wc -l)" -eq 2 ]

# A read-only source is enough.
chmod -R a-w models
expect 0 mlxmill convert models/sample-llama --bits 4 -o made --force
chmod -R u+w models
mkdir again
mlxmill convert models/sample-llama --bits 4 -o again/made --quiet > out
same again/made made

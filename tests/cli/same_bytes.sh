# Threads, memory and vector instructions change nothing.
sample
mkdir expected
mlxmill convert models/sample-llama --bits 4 -o expected/made --quiet > out
for flags in '--threads 1' '--threads 2' '--threads 7' '--memory 64M' '--memory 1G'; do
  # shellcheck disable=SC2086
  mlxmill convert models/sample-llama --bits 4 $flags -o made --quiet > out
  same expected/made made
  rm -r made
done
for target in $(python3 -c 'import json, sys; print(*json.load(sys.stdin)["simd_supported"])' <<JSON
$(mlxmill info --json)
JSON
); do
  mlxmill convert models/sample-llama --bits 4 --simd "$target" -o made --quiet --json > report.json
  [ "$(json report.json simd_target)" = "$target" ]
  same expected/made made
  rm -r made
done
expect 2 mlxmill convert models/sample-llama --bits 4 --simd MMX -o made

# A shell's low limit on open files is raised.
(ulimit -Sn 16; mlxmill convert models/sample-llama --bits 4 -o made --quiet > out)
same expected/made made

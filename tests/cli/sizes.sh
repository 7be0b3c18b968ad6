# Every way to write a size that is meant to work.
sample
for size in 64M 64m 64MiB 65536K 65536KiB 67108864 67108864B 68MB 1G 1GB 1gib 1T; do
  expect 0 mlxmill convert models/sample-llama --dry-run --memory "$size"
done
only models

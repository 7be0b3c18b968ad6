# A full disk: a clear error, nothing under the final name, and once there is room the same command goes on.
[ "$(id -u)" -eq 0 ] || skip "needs root to mount a small disk"
large_checkpoint source
mkdir expected
mkdir disk
trap 'umount disk 2> umount_err || true' EXIT

# Too small from the start: told before the first byte.
mount -t tmpfs -o size=1m tmpfs disk 2> mount_err || skip "cannot mount a tmpfs here"
expect 4 mlxmill convert source --bits 4 -o disk/made
has err '^error: .*(space|full|disk)'
[ -z "$(ls -A disk)" ]
umount disk

# Full halfway: something else takes the room.
mlxmill convert source --bits 4 -o expected/made --quiet > out
mount -t tmpfs -o size=200m tmpfs disk
tries=0
status=0
while [ "$status" -eq 0 ]; do
  tries=$((tries + 1))
  [ "$tries" -le 50 ] || skip "the disk could not be filled in time"
  rm -rf disk/* disk/.[!.]*
  status=0
  mlxmill convert source --bits 4 --threads 1 -o disk/made --quiet > out 2> err &
  runner=$!
  # As soon as it has taken the output; how long it takes to get there depends on the build.
  while [ ! -s disk/.made.mlxmill-work/journal ] && kill -0 "$runner" 2> kill_err; do sleep 0.005; done
  kill -STOP "$runner" 2> kill_err || true
  dd if=/dev/zero of=disk/filler bs=1048576 count=400 2> dd_err || true
  kill -CONT "$runner" 2> kill_err || true
  wait "$runner" || status=$?
done
[ "$status" -eq 4 ] || { cat err >&2; fail "expected exit status 4, got $status"; }
has err '^error: .*(space|full|disk)'
[ ! -e disk/made ]
rm disk/filler
expect 0 mlxmill convert source --bits 4 --threads 1 -o disk/made
same expected/made disk/made

"""mlxmill convert --stream against the test Hub: the same bytes as from a folder, nothing stored, every hash checked."""
import json
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from hub_testing import SAMPLE, HubTest, random_bytes, tree_of

PROGRAM = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None


def write_safetensors(path, tensors):
    """`tensors`: name to (dtype, shape, bytes), written in this order."""
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(d for _, _, d in tensors.values()))


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    return {name: (t["dtype"], t["shape"], data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]])
            for name, t in header.items() if name != "__metadata__"}


class StreamTest(HubTest):
    def mlxmill(self, *arguments, **changes):
        changes = {"HF_HUB_DOWNLOAD_TIMEOUT": "2"} | changes
        return subprocess.run([str(PROGRAM), *arguments], env=self.environment(**changes), text=True,
                              capture_output=True, timeout=120, check=False, cwd=self.folder)

    def convert(self, source, output, *flags, status=0):
        done = self.mlxmill("convert", source, "--bits", "4", "-o", output, *flags)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def expect_same(self, model="alice/sample", source=SAMPLE):
        """The streamed output equals the one from a folder, and no weight was stored."""
        if not (self.folder / "from-folder" / "out").exists():
            self.convert(str(source), "from-folder/out", "--base-model", model)
        # The card alone knows of a commit.
        card = self.folder / "out" / "README.md"
        line = f"base_model_revision: {self.hub.store.repos[model].refs['main']}\n"
        self.assertEqual(card.read_text().replace(line, "", 1),
                         (self.folder / "from-folder" / "out" / "README.md").read_text())
        self.assertIn(line, card.read_text())
        ours, theirs = tree_of(self.folder / "out"), tree_of(self.folder / "from-folder" / "out")
        for tree in (ours, theirs):
            del tree["README.md"], tree["mlxmill-manifest.json"]  # which holds the card's hash
        self.assertEqual(ours, theirs)
        largest = max(p.stat().st_size for p in self.cache.rglob("*") if p.is_file())
        self.assertLess(largest, 1_000_000)
        self.assertFalse(list(self.folder.glob(".*.mlxmill-work")))

    def sent(self):
        return sum(r["bytes"] for r in self.hub.requests() if r["server"] == "cdn")


class Stream(StreamTest):
    def test_same_bytes_and_nothing_stored(self):
        self.convert("alice/sample", "out", "--stream")
        self.expect_same()
        self.assertEqual(self.sent(), 11_547_040 + (256 << 10))  # The header comes first, and again with the rest.

    def test_faults_on_the_way(self):
        for seed, kind in enumerate(["drop", "truncate", "stall", "expire", "status", "ignore_range"]):
            self.hub.faults.set([{"kind": kind, "count": 2, "skip": 1}], seed)
            self.convert("alice/sample", "out", "--stream", "--force")
            self.assertTrue(self.hub.faults.hits, kind)
            self.expect_same()

    def test_wrong_bytes_are_found(self):
        self.hub.faults.set([{"kind": "corrupt", "after": 3_000_000, "skip": 1}])  # After the header.
        done = self.convert("alice/sample", "out", "--stream")
        self.assertIn("arrived with wrong bytes", done.stderr)
        self.assertIn("starting over", done.stderr)
        self.expect_same()
        self.hub.faults.set([{"kind": "corrupt", "after": 3_000_000, "count": 100, "skip": 1}])
        done = self.convert("alice/sample", "bad", "--stream", status=3)
        self.assertRegex(done.stderr, "error: (.*: )?model.safetensors: (arrived with wrong|its header came again with other) bytes")
        self.assertFalse((self.folder / "bad").exists())

    def test_wrong_bytes_where_nothing_is_read(self):
        # A tensor that the conversion drops counts for the file's hash all the same.
        folder = self.folder / "made"
        shutil.copytree(SAMPLE, folder)
        tensors = read_safetensors(SAMPLE / "model.safetensors")
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = ("F32", [2_200_000], random_bytes(8_800_000, 1))
        write_safetensors(folder / "model.safetensors", tensors)
        self.hub.store.add_folder("alice/extra", folder)
        self.convert("alice/extra", "out", "--stream")
        self.expect_same("alice/extra", folder)
        self.hub.faults.set([{"kind": "corrupt", "path": "/blobs/", "skip": 4, "count": 100}])
        self.convert("alice/extra", "bad", "--stream", status=3)
        self.assertFalse((self.folder / "bad").exists())

    def test_tensors_out_of_order(self):
        # Reading goes by the output's needs; what lies behind the stream comes by ranges of its own.
        folder = self.folder / "made"
        shutil.copytree(SAMPLE, folder)
        tensors = read_safetensors(SAMPLE / "model.safetensors")
        names = sorted(tensors, key=lambda name: hash(name) % 1000)
        half = len(names) // 2
        shards = {f"model-0000{n}-of-00002.safetensors": names[(n - 1) * half:n * half if n == 1 else None]
                  for n in (1, 2)}
        for shard, inside in shards.items():
            write_safetensors(folder / shard, {name: tensors[name] for name in inside})
        index = {"metadata": {}, "weight_map": {n: s for s, inside in shards.items() for n in inside}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "model.safetensors").unlink()
        self.hub.store.add_folder("alice/shards", folder)
        self.convert("alice/shards", "out", "--stream")
        self.expect_same("alice/shards", folder)

    def test_dry_run_reads_headers(self):
        done = self.mlxmill("convert", "alice/sample", "--bits", "4", "-o", "out", "--dry-run", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        plan = json.loads(done.stdout)
        self.assertLess(self.sent(), 300_000)
        self.assertEqual(plan["output_bytes"], json.loads(self.mlxmill(
            "convert", str(SAMPLE), "--bits", "4", "-o", "out", "--dry-run", "--json").stdout)["output_bytes"])

    def test_refusals(self):
        self.assertIn("HF_HUB_OFFLINE", self.mlxmill("convert", "alice/sample", "--stream", "-o", "x",
                                                     HF_HUB_OFFLINE="1").stderr)
        self.assertIn("are for models of the Hub", self.mlxmill("convert", str(SAMPLE), "--stream", "-o", "x").stderr)


class Resumed(StreamTest):
    hub_settings = {"bytes_per_second": 3_000_000}

    def test_resumed_after_kill(self):
        folder = self.folder / "made"
        shutil.copytree(SAMPLE, folder)
        tensors = read_safetensors(SAMPLE / "model.safetensors")
        for n in range(4):
            tensors[f"extra.{n}.inv_freq"] = ("F32", [4 << 20], random_bytes(16 << 20, n))
        tensors = {n: t for n, t in tensors.items() if not n.startswith("extra")} | {
            f"model.layers.{n}.self_attn.rotary_emb.inv_freq": tensors[f"extra.{n}.inv_freq"] for n in range(4)}
        write_safetensors(folder / "model.safetensors", tensors)
        self.hub.store.add_folder("alice/long", folder)
        size = (folder / "model.safetensors").stat().st_size
        process = subprocess.Popen([str(PROGRAM), "convert", "alice/long", "--bits", "4", "-o", "out", "--stream",
                                    "--connections", "4"], cwd=self.folder, env=self.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(400):
            if self.sent() > 50 << 20:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.hub.bytes_per_second = 0
        self.hub.clear_log()
        done = self.convert("alice/long", "out", "--stream")
        self.assertIn("resuming an unfinished earlier run", done.stderr)
        # What had been hashed is not downloaded again.
        self.assertLess(self.sent(), size - (24 << 20))
        self.expect_same("alice/long", folder)


if __name__ == "__main__":
    unittest.main(warnings="ignore")

"""mlxmill download against the test Hub: what arrives, where it lies, what is asked for and how failures end."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from hub_testing import SAMPLE, TOKEN, HubTest, random_bytes, tree_of

PROGRAM = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None


class Download(HubTest):
    def command(self, *arguments):
        return [str(PROGRAM), *arguments]

    def mlxmill(self, *arguments, **changes):
        return subprocess.run(self.command(*arguments), env=self.environment(**changes), text=True,
                              capture_output=True, timeout=120, check=False, cwd=self.folder)

    def download(self, name="alice/sample", *flags, status=0, **changes):
        done = self.mlxmill("download", name, "--json", *flags, **changes)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout) if status == 0 else done.stderr

    def assert_sample(self, folder):
        found = tree_of(folder)
        found.pop(".gitattributes", None)
        self.assertEqual(found, tree_of(SAMPLE))

    def leftovers(self):
        return [p.name for p in self.cache.rglob("*.mlxmill.*")]

    def make_repo(self, name, files):
        folder = self.folder / "made" / name
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return self.hub.store.add_folder(name, folder)


class Whole(Download):
    def test_everything_a_conversion_needs(self):
        model = self.download()
        self.assertEqual(model["commit"], self.commit)
        self.assertEqual(Path(model["path"]), self.snapshot())
        self.assert_sample(model["path"])
        self.assertEqual(self.leftovers(), [])
        self.assertEqual(model["bytes_downloaded"], sum(p.stat().st_size for p in SAMPLE.iterdir()))
        link = self.snapshot() / "model.safetensors"
        self.assertEqual(os.readlink(link), f"../../blobs/{tree_of(SAMPLE)['model.safetensors']}")
        self.assertEqual((self.cache / "models--alice--sample" / "refs" / "main").read_text(), self.commit)
        self.assertIn("8a477f597d28d172789f06886806bc55", (self.cache / "CACHEDIR.TAG").read_text())
        self.assertTrue((self.cache / "models--alice--sample" / ".no_exist" / self.commit / "merges.txt").exists())

    def test_again_costs_nothing(self):
        self.download()
        self.hub.clear_log()
        self.assertEqual(self.download()["bytes_downloaded"], 0)
        self.assertFalse(any("/resolve/" in r["path"] for r in self.hub.requests()))

    def test_only_what_is_needed(self):
        weights = (SAMPLE / "model.safetensors").read_bytes()
        self.make_repo("alice/full", {
            "config.json": b"{}", "model.safetensors": weights, "pytorch_model.bin": weights, "tf_model.h5": weights,
            "original/consolidated.00.pth": weights, "onnx/model.onnx": weights, "picture.png": b"\0png",
            "tokenizer.json": b"{}", "LICENSE": b"terms", "additional_chat_templates/tool.jinja": b"x",
            "training_args.bin": weights, "model-Q8_0.gguf": weights, "nested/tokenizer.json": b"{}"})
        model = self.download("alice/full")
        self.assertEqual(set(tree_of(model["path"])), {"config.json", "model.safetensors", "tokenizer.json", "LICENSE",
                                                       "additional_chat_templates/tool.jinja"})

    def test_shards_of_the_index(self):
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        self.make_repo("alice/shards", {
            "config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(),
            "model-00001-of-00002.safetensors": random_bytes(3000, 1),
            "model-00002-of-00002.safetensors": random_bytes(3000, 2), "model.safetensors": random_bytes(9000, 3)})
        model = self.download("alice/shards")
        self.assertEqual(len(tree_of(model["path"])), 4)
        self.assertNotIn("model.safetensors", tree_of(model["path"]))

    def test_gguf_by_quantization(self):
        files = {f"m-{q}.gguf": random_bytes(2000, i) for i, q in enumerate(["Q4_K_M", "Q8_0"])}
        files |= {f"BF16/m-BF16-0000{n}-of-00002.gguf": random_bytes(500, n) for n in (1, 2)}
        self.make_repo("alice/gguf", files | {"mmproj-F16.gguf": b"\0"})
        self.assertTrue(self.download("alice/gguf:q8_0")["path"].endswith("/m-Q8_0.gguf"))
        self.assertEqual(self.download("alice/gguf", "--file", "m-Q4_K_M.gguf")["files"], 1)
        parts = self.download("alice/gguf:BF16")
        self.assertEqual((parts["files"], Path(parts["path"]).name), (2, "m-BF16-00001-of-00002.gguf"))
        self.assertIn("has several GGUF models: 'BF16/m-BF16', 'm-Q4_K_M', 'm-Q8_0'",
                      self.download("alice/gguf", status=2).replace('"', "'"))
        self.assertIn("has no GGUF file", self.download("alice/gguf:Q2_K", status=4))

    def test_every_spelling_of_a_name(self):
        self.hub.store.repos["alice/sample"].refs["v1/x"] = self.commit
        self.hub.store.commit(self.hub.store.repos["alice/sample"],
                              {"config.json": self.hub.store.make_entry("config.json", b"{}")}, "newer")
        for name in ("alice/sample@v1/x", f"alice/sample@{self.commit}", f"hf://alice/sample@{self.commit}",
                     f"{self.hub.endpoint}/alice/sample/tree/{self.commit}",
                     f"https://huggingface.co/alice/sample/tree/{self.commit}"):
            self.assertEqual(self.download(name)["commit"], self.commit, name)
        self.assertEqual(self.download("alice/sample", "--revision", "v1/x")["commit"], self.commit)
        self.assertNotEqual(self.download("hf://alice/sample")["commit"], self.commit)
        self.assertEqual((self.cache / "models--alice--sample" / "refs" / "v1" / "x").read_text(), self.commit)
        for wrong in ("https://example.com/alice/sample", "hf://alice/sample/../../x", "hf://a/b@../x",
                      "https://huggingface.co/datasets/alice/sample"):
            self.assertIn("error:", self.download(wrong, status=2))

    def test_a_folder_comes_first(self):
        shutil.copytree(SAMPLE, self.folder / "alice" / "sample")
        done = self.mlxmill("convert", "alice/sample", "--bits", "4", "-o", "out")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.hub.requests(), [])


class Credentials(Download):
    def test_token_goes_to_the_endpoint_alone(self):
        self.hub.store.repos["alice/sample"].private = True
        done = self.mlxmill("download", "alice/sample", HF_TOKEN=TOKEN)
        self.assertEqual(done.returncode, 0, done.stderr)
        requests = self.hub.requests()
        self.assertTrue(all(r["authorization"] for r in requests if r["server"] == "hub"))
        self.assertFalse(any(r["authorization"] for r in requests if r["server"] == "cdn"))
        self.assertNotIn(TOKEN, done.stdout + done.stderr)
        for path in self.home.rglob("*"):
            self.assertFalse(path.is_file() and TOKEN.encode() in path.read_bytes(), path)

    def test_token_file_and_paths(self):
        self.hub.store.repos["alice/sample"].private = True
        (self.home / "token").write_text(TOKEN + "\n")
        self.download()
        (self.home / "token").unlink()
        (self.home / "other").write_text(TOKEN)
        shutil.rmtree(self.cache)
        self.assertIn("is not on the Hub, or private", self.download(status=4))
        self.download(HF_TOKEN_PATH="~/other")
        self.download(HF_HUB_CACHE="$HOME/elsewhere", HF_TOKEN=TOKEN)
        self.assertTrue((self.home / "elsewhere" / "models--alice--sample").exists())

    def test_gated(self):
        self.hub.store.repos["alice/sample"].gated = "manual"
        self.hub.store.add_user("hf_bob", "bob")
        text = self.download(status=4)
        self.assertIn("alice/sample: is gated", text)
        self.assertIn(f"accept its terms at {self.hub.endpoint}/alice/sample, then run mlxmill login", text)
        text = self.download(status=4, HF_TOKEN="hf_bob")
        self.assertIn("the token of HF_TOKEN has not been let in", text)
        self.assertNotIn("hf_bob", text)
        self.hub.store.access.add(("bob", "alice/sample"))
        self.download(HF_TOKEN="hf_bob")

    def test_bad_token(self):
        text = self.download(status=4, HF_TOKEN="hf_old")
        self.assertIn("the token of HF_TOKEN is not valid", text)
        self.assertNotIn("hf_old", text)


class Missing(Download):
    def test_names_close_by(self):
        self.assertIn("there is 'alice/sample'", self.download("alice/sample-8B", status=4).replace('"', "'"))
        self.assertIn("has no such revision", self.download("alice/sample@v9", status=4))

    def test_renamed(self):
        self.hub.store.rename("alice/sample", "alice/renamed")
        done = self.mlxmill("download", "alice/sample", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("alice/sample is called", done.stderr)
        self.assert_sample(self.snapshot())

    def test_no_weights(self):
        self.make_repo("alice/none", {"config.json": b"{}", "a.h5": b"\0"})
        self.assertIn("has no weights that are read", self.download("alice/none", status=4))

    def test_hostile_tree(self):
        repo = self.hub.store.repos["alice/sample"]
        entry = repo.commits[self.commit]["config.json"]
        repo.commits[self.commit]["../../../evil.json"] = entry
        self.assertIn("leaves its folder", self.download(status=3))
        self.assertFalse(list(self.folder.rglob("evil.json")))

    def test_no_server(self):
        text = self.download(status=4, HF_ENDPOINT="http://127.0.0.1:9")
        self.assertIn("error: http://127.0.0.1:9/api/models/alice/sample/revision/main: ", text)


class Offline(Download):
    def test_theirs_read_by_us(self):
        self.python("from huggingface_hub import snapshot_download; snapshot_download('alice/sample')")
        self.hub.clear_log()
        model = self.download(HF_HUB_OFFLINE="1")
        self.assertEqual((Path(model["path"]), model["offline"]), (self.snapshot(), True))
        self.assertEqual(self.hub.requests(), [])
        # A server that is not there is as good as none.
        self.hub.faults.set([{"kind": "no_answer", "role": "info", "count": 100}])
        done = self.mlxmill("convert", "alice/sample", "--bits", "4", "-o", "out")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: the Hub cannot be reached", done.stderr)
        self.hub.faults.set([])
        self.assertEqual(self.download()["bytes_downloaded"], 0)

    def test_ours_read_by_them(self):
        self.download()
        code = """
from huggingface_hub import snapshot_download, hf_hub_download, try_to_load_from_cache
import json
allow = ["*.json", "model*.safetensors"]
print(snapshot_download("alice/sample", allow_patterns=allow))
print(hf_hub_download("alice/sample", "config.json"))
"""
        done = self.python(code, HF_HUB_OFFLINE="1")
        self.assertEqual(done.stdout.split(), [str(self.snapshot()), str(self.snapshot() / "config.json")])
        verify = self.hf("cache", "verify", "alice/sample")
        self.assertNotIn("mismatch", (verify.stdout + verify.stderr).lower().replace("no mismatch", ""))
        # Online, they fetch what we left out and nothing else.
        self.hub.clear_log()
        self.python("from huggingface_hub import snapshot_download; snapshot_download('alice/sample')")
        fetched = {r["path"] for r in self.hub.requests() if "/resolve/" in r["path"]}
        self.assertEqual({p.rsplit("/", 1)[1] for p in fetched}, {".gitattributes"})
        self.assertEqual(self.hf("cache", "verify", "alice/sample").returncode, 0)

    def test_mlx_lm_loads_it(self):
        self.download()
        code = """
from mlx_lm import load, generate
model, tokenizer = load("alice/sample")
print(len(generate(model, tokenizer, "Once upon a time", max_tokens=4)) > 0)
"""
        self.assertIn("True", self.python(code, HF_HUB_OFFLINE="1").stdout)

    def test_nothing_there(self):
        text = self.download(status=4, HF_HUB_OFFLINE="1")
        self.assertIn("alice/sample: revision", text)
        self.assertIn("HF_HUB_OFFLINE is set", text)


class Conversion(Download):
    def test_convert_by_name(self):
        done = self.mlxmill("convert", "alice/sample", "--bits", "4", "-o", "by-name")
        self.assertEqual(done.returncode, 0, done.stderr)
        by_path = self.mlxmill("convert", str(SAMPLE), "--bits", "4", "-o", "by-path", "--base-model", "alice/sample")
        self.assertEqual(by_path.returncode, 0, by_path.stderr)
        ours, theirs = tree_of(self.folder / "by-name"), tree_of(self.folder / "by-path")
        self.assertEqual(ours["model.safetensors"], theirs["model.safetensors"])
        self.assertEqual(ours["config.json"], theirs["config.json"])
        card = (self.folder / "by-name" / "README.md").read_text()
        self.assertIn("alice/sample", card)
        self.assertNotIn(str(self.home), card)


class Kills(Download):
    hub_settings = {"bytes_per_second": 6_000_000}

    def test_resumed_after_kill(self):
        process = subprocess.Popen(self.command("download", "alice/sample", "--connections", "1"),
                                   env=self.environment(), stderr=subprocess.DEVNULL)
        journal = next(iter(self.wait_for("*.mlxmill.journal", b"111")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertTrue(journal.exists())
        self.hub.bytes_per_second = 0
        self.hub.clear_log()
        model = self.download()
        self.assertGreaterEqual(model["bytes_resumed"], 3 << 20)
        self.assertEqual(model["bytes_resumed"] + model["bytes_downloaded"], 11_547_040)
        self.assert_sample(model["path"])
        self.assertEqual(self.leftovers(), [])

    @staticmethod
    def is_journal(path, content):
        """The weights' journal, with the content; false for one that a finished download has just removed."""
        try:
            data = path.read_bytes()
            return len(data) < 1000 and content in data and b"11547040" in data
        except FileNotFoundError:
            return False

    def wait_for(self, pattern, content):
        for _ in range(400):
            found = [p for p in self.cache.rglob(pattern) if self.is_journal(p, content)]
            if found:
                return found
            time.sleep(0.02)
        self.fail("nothing arrived")

    def test_interrupt(self):
        process = subprocess.Popen(self.command("download", "alice/sample"), env=self.environment(),
                                   stderr=subprocess.PIPE, text=True)
        self.wait_for("*.mlxmill.journal", b"")
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assertIn("run the same command again", text)

    def test_two_at_once(self):
        both = [subprocess.Popen(self.command("download", "alice/sample"), env=self.environment(), text=True,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        texts = [p.communicate(timeout=60)[1] for p in both]
        self.assertEqual([p.returncode for p in both], [0, 0], texts)
        sent = sum(r["bytes"] for r in self.hub.requests() if r["server"] == "cdn")
        self.assertEqual(sent, 11_547_040)
        self.assert_sample(self.snapshot())


if __name__ == "__main__":
    unittest.main(warnings="ignore")

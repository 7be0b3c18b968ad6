"""mlxmill login and upload against the test Hub, and what the real client then finds there."""
import json
import shutil
import stat
import subprocess
import sys
import unittest
from pathlib import Path

from hub_testing import SAMPLE, TOKEN, HubTest, random_bytes, tree_of

PROGRAM = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None


class Upload(HubTest):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        shutil.copytree(SAMPLE, self.model)
        (self.model / "model.safetensors").write_bytes(random_bytes(11_500_000, 2))
        (self.model / ".hidden").write_text("stays")

    def mlxmill(self, *arguments, status=0, stdin="", **changes):
        changes = {"HF_TOKEN": TOKEN} | changes
        done = subprocess.run([str(PROGRAM), *arguments], env=self.environment(**changes), text=True, input=stdin,
                              capture_output=True, timeout=120, check=False, cwd=self.folder)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn(TOKEN, done.stdout + done.stderr)
        return done

    def upload(self, name="alice/new", *flags, **changes):
        done = self.mlxmill("upload", "model", name, "--json", *flags, **changes)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def check_remote(self, name="alice/new"):
        repo = self.hub.store.repos[name]
        files = repo.commits[repo.refs["main"]]
        wanted = {k: v for k, v in tree_of(self.model).items() if k != ".hidden"}
        self.assertEqual(set(files) - {".gitattributes"}, set(wanted))
        for path in wanted:
            self.assertEqual(self.hub.store.blobs[files[path].etag], (self.model / path).read_bytes())

    def test_new_repository(self):
        self.assertIn("--create makes it", self.upload(status=4))
        report = self.upload("alice/new", "--private")
        self.assertTrue(self.hub.store.repos["alice/new"].private)
        self.assertEqual(report["commit"], self.hub.store.repos["alice/new"].refs["main"])
        self.check_remote()
        parts = [r for r in self.hub.requests() if r["path"].startswith("/upload/")]
        self.assertEqual((len(parts), any(r["authorization"] for r in parts)), (3, False))
        self.assertEqual(len(self.hub.store.repos["alice/new"].order), 2)  # One commit beside the first.
        # Again: nothing to do.
        again = self.upload()
        self.assertEqual((again["commit"], again["changed"], again["bytes_sent"]), ("", 0, 0))

    def test_the_real_client_gets_the_same(self):
        self.upload("alice/new", "--create")
        done = self.python("from huggingface_hub import snapshot_download; print(snapshot_download('alice/new'))",
                           HF_TOKEN=TOKEN)
        found = tree_of(done.stdout.strip())
        found.pop(".gitattributes")
        self.assertEqual(found, {k: v for k, v in tree_of(self.model).items() if k != ".hidden"})

    def test_no_overwriting_without_force(self):
        self.upload("alice/new", "--create")
        (self.model / "model.safetensors").rename(self.model / "model-00001-of-00001.safetensors")
        (self.model / "config.json").write_text("{}")
        text = self.upload(status=2)
        self.assertIn("alice/new: holds a model already", text)
        self.assertIn("config.json", text)
        self.upload("alice/new", "--force")
        self.check_remote()  # The former weights are gone.

    def test_faults(self):
        for n, (kind, role) in enumerate([("status", "part"), ("no_answer", "part"), ("status", "lfs_batch"),
                                          ("no_answer", "preupload"), ("status", "complete_multipart")]):
            (self.model / "model.safetensors").write_bytes(random_bytes(11_500_000, 10 + n))
            self.hub.faults.set([{"kind": kind, "role": role, "count": 2}])
            self.upload(f"alice/new{n}", "--create")
            self.assertTrue(self.hub.faults.hits)
            self.check_remote(f"alice/new{n}")

    def test_lost_commit_goes_on(self):
        # Twice: libcurl itself sends again where a connection that was kept open has died.
        self.hub.faults.set([{"kind": "no_answer", "role": "commit", "count": 2}])
        self.assertIn("run the same command again", self.upload("alice/new", "--create", status=4))
        self.hub.clear_log()
        report = self.upload()
        self.check_remote()
        self.assertEqual(report["bytes_sent"], 0)

    def test_rights(self):
        self.assertIn("takes a token", self.upload("alice/new", "--create", status=4, HF_TOKEN=None))
        self.hub.store.add_user("hf_read", "alice", write=False)
        self.assertIn("rights", self.upload("alice/new", "--create", status=4, HF_TOKEN="hf_read"))
        self.assertIn("rights", self.upload("bob/new", "--create", status=4))
        self.assertIn("no config.json", self.mlxmill("upload", ".", "alice/x", status=2).stderr)

    def test_upload_repo_of_convert(self):
        self.mlxmill("convert", str(SAMPLE), "--bits", "4", "-o", "out", "--upload-repo", "alice/converted")
        repo = self.hub.store.repos["alice/converted"]
        files = repo.commits[repo.refs["main"]]
        self.assertEqual(set(files) - {".gitattributes"}, set(tree_of(self.folder / "out")))
        # Asked before the work, not after it.
        text = self.mlxmill("convert", str(SAMPLE), "--bits", "4", "-o", "other", "--upload-repo", "bob/x", status=4,
                            HF_TOKEN=None).stderr
        self.assertIn("takes a token", text)
        self.assertFalse((self.folder / "other").exists())

    def test_login(self):
        done = self.mlxmill("login", "--json", stdin=TOKEN + "\n", HF_TOKEN=None)
        self.assertEqual(json.loads(done.stdout)["user"], "alice")
        path = self.home / "token"
        self.assertEqual(path.read_text(), TOKEN)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertIn("alice", self.hf("auth", "whoami").stdout)
        listed = self.python("from huggingface_hub.utils._auth import get_stored_tokens; print(get_stored_tokens())")
        self.assertEqual(listed.stdout.strip(), str({"test token": TOKEN}))
        self.mlxmill("login", stdin=TOKEN, HF_TOKEN=None)
        self.assertIn("is not valid", self.mlxmill("login", stdin="hf_wrong", status=4).stderr)
        self.assertEqual(path.read_text(), TOKEN)
        self.assertIn("that is no token", self.mlxmill("login", stdin="two words", status=2).stderr)


if __name__ == "__main__":
    unittest.main(warnings="ignore")

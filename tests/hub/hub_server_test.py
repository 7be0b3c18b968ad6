"""Proves the test Hub with the real huggingface_hub: what that client does against huggingface.co works here too."""
import json
import shutil
import unittest
from pathlib import Path

from hub_testing import SAMPLE, TOKEN, HubTest, random_bytes, tree_of

ERRORS = """
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
try:
    hf_hub_download({name!r}, {file!r}, revision={revision!r}, token={token!r})
    print("no error")
except HfHubHTTPError as error:
    print(type(error).__name__, error.response.status_code)
"""


class RealClient(HubTest):
    def test_snapshot_download(self):
        done = self.python("from huggingface_hub import snapshot_download; print(snapshot_download('alice/sample'))",
                           HF_TOKEN=TOKEN)
        folder = Path(done.stdout.strip())
        self.assertEqual(folder, self.snapshot())
        found = tree_of(folder)
        self.assertEqual({k: v for k, v in found.items() if k != ".gitattributes"}, tree_of(SAMPLE))
        requests = self.hub.requests()
        self.assertTrue(any(r["server"] == "cdn" and r["status"] == 200 for r in requests))
        self.assertFalse(any(r["server"] == "cdn" and r["authorization"] for r in requests))
        self.assertTrue(any(r["server"] == "hub" and r["authorization"] for r in requests))
        # Eight entries, five a page: the second page was asked for.
        self.assertEqual(sum("/tree/" in r["path"] for r in requests), 2)

    def test_cache_verify(self):
        self.python("from huggingface_hub import snapshot_download; snapshot_download('alice/sample')")
        good = self.hf("cache", "verify", "alice/sample")
        self.assertEqual(good.returncode, 0, good.stdout + good.stderr)
        target = (self.snapshot() / "model.safetensors").resolve()
        data = bytearray(target.read_bytes())
        data[1000] ^= 1
        target.write_bytes(data)
        bad = self.hf("cache", "verify", "alice/sample")
        self.assertNotEqual(bad.returncode, 0)

    def test_upload_folder_in_parts(self):
        folder = self.folder / "model"
        shutil.copytree(SAMPLE, folder)
        (folder / "model.safetensors").write_bytes(random_bytes(11_500_000, 2))
        (folder / "nested").mkdir()
        (folder / "nested" / "small.bin").write_bytes(random_bytes(1000, 1))
        done = self.python(f"""
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("alice/new", private=True)
print(api.upload_folder(repo_id="alice/new", folder_path={str(folder)!r}).oid)
""", HF_TOKEN=TOKEN)
        repo = self.hub.store.repos["alice/new"]
        self.assertTrue(repo.private)
        self.assertEqual(done.stdout.strip().splitlines()[-1], repo.refs["main"])
        files = repo.commits[repo.refs["main"]]
        for path, digest in tree_of(folder).items():
            data = self.hub.store.blobs[files[path].etag]
            self.assertEqual(tree_of(folder)[path], digest)
            self.assertEqual(data, (folder / path).read_bytes())
        parts = [r for r in self.hub.requests() if r["path"].startswith("/upload/") and not r["path"].endswith("/0")]
        self.assertEqual(len(parts), 3)  # 11.5 MB in parts of 5 MiB.
        self.assertFalse(any(r["authorization"] for r in parts))

    def error_of(self, name, file="config.json", revision=None, token=None):
        return self.python(ERRORS.format(name=name, file=file, revision=revision, token=token)).stdout.split()

    def test_errors_are_told_apart(self):
        self.hub.store.add_user("hf_bob", "bob")
        self.hub.store.add_folder("alice/gated", SAMPLE, gated="manual", only=lambda p: p == "config.json")
        self.hub.store.add_folder("alice/secret", SAMPLE, private=True, only=lambda p: p == "config.json")
        self.assertEqual(self.error_of("alice/gated"), ["GatedRepoError", "401"])
        self.assertEqual(self.error_of("alice/gated", token="hf_bob"), ["GatedRepoError", "403"])
        self.assertEqual(self.error_of("alice/secret"), ["RepositoryNotFoundError", "401"])
        self.assertEqual(self.error_of("alice/secret", token="hf_bob"), ["RepositoryNotFoundError", "404"])
        self.assertEqual(self.error_of("alice/nothing"), ["RepositoryNotFoundError", "401"])
        self.assertEqual(self.error_of("alice/sample", revision="v9"), ["RevisionNotFoundError", "404"])
        self.assertEqual(self.error_of("alice/sample", file="none.json"), ["RemoteEntryNotFoundError", "404"])
        self.assertEqual(self.error_of("alice/sample", token="hf_wrong"), ["HfHubHTTPError", "401"])
        self.assertEqual(self.error_of("alice/secret", token=TOKEN), ["no", "error"])
        # The real client notes what does not exist.
        self.assertTrue((self.cache / "models--alice--sample" / ".no_exist" / self.commit / "none.json").exists())

    def test_renamed_repository(self):
        self.hub.store.rename("alice/sample", "alice/renamed")
        done = self.python("from huggingface_hub import snapshot_download; print(snapshot_download('alice/sample'))")
        self.assertEqual({k for k in tree_of(done.stdout.strip())} - {".gitattributes"}, set(tree_of(SAMPLE)))

    def test_api_of_one_model(self):
        code = """
import json
from huggingface_hub import HfApi
api = HfApi()
info = api.model_info("alice/sample", files_metadata=True)
print(json.dumps({
    "sha": info.sha, "weights": next(s.lfs.sha256 for s in info.siblings if s.rfilename == "model.safetensors"),
    "paths": [p.path for p in api.get_paths_info("alice/sample", ["config.json", "none"])],
    "user": api.whoami()["name"],
    "search": [m.id for m in api.list_models(search="samp", author="alice", limit=3)],
}))
"""
        answer = json.loads(self.python(code, HF_TOKEN=TOKEN).stdout)
        self.assertEqual(answer, {"sha": self.commit, "weights": tree_of(SAMPLE)["model.safetensors"],
                                  "paths": ["config.json"], "user": "alice", "search": ["alice/sample"]})

    def test_search_by_filter_and_author(self):
        config = lambda p: p == "config.json"
        tags = ["mlx", "base_model:alice/sample", "base_model:quantized:alice/sample"]
        for name, downloads in [("mlx-community/sample-4bit", 5), ("bob/sample-8bit", 50)]:
            self.hub.store.add_folder(name, SAMPLE, only=config, tags=tags, downloads=downloads)
        self.hub.store.add_folder("mlx-community/other", SAMPLE, only=config, tags=["mlx"])
        code = """
import json
from huggingface_hub import HfApi
api = HfApi()
quantized = list(api.list_models(filter=["base_model:quantized:alice/sample", "mlx"], sort="downloads",
                                 expand=["downloads", "lastModified", "tags"]))
community = list(api.list_models(author="mlx-community", search="sample"))
print(json.dumps({"ids": [m.id for m in quantized], "downloads": [m.downloads for m in quantized],
                  "tags": quantized[0].tags, "dated": quantized[0].last_modified is not None,
                  "card": quantized[0].card_data is None, "community": [m.id for m in community]}))
"""
        answer = json.loads(self.python(code).stdout)
        self.assertEqual(answer, {"ids": ["bob/sample-8bit", "mlx-community/sample-4bit"], "downloads": [50, 5],
                                  "tags": tags, "dated": True, "card": True, "community": ["mlx-community/sample-4bit"]})

    def test_faults_reach_the_client(self):
        self.hub.faults.set([{"kind": "truncate", "after": 11_000_000}, {"kind": "status", "status": 429}])
        self.python("from huggingface_hub import snapshot_download; snapshot_download('alice/sample')")
        self.assertEqual(len(self.hub.faults.hits), 2)
        # It keeps what it has in blocks of 10 MiB.
        ranges = [r["range"] for r in self.hub.requests() if r["server"] == "cdn"]
        self.assertEqual(ranges, ["", "bytes=10485760-", "bytes=10485760-"])
        self.assertEqual(tree_of(self.snapshot())["model.safetensors"], tree_of(SAMPLE)["model.safetensors"])

    def test_expired_urls_are_refused(self):
        url = self.hub.sign(self.hub.store.repos["alice/sample"].commits[self.commit]["model.safetensors"].sha256, "x")
        get = f"import urllib.request; print(urllib.request.urlopen({url!r}).status)"
        self.assertEqual(self.python(get).stdout.strip(), "200")
        self.hub.expire_signed()
        self.assertIn("403", self.python(get, check=False).stderr)


if __name__ == "__main__":
    unittest.main(warnings="ignore")

"""What the tests against the test Hub share: its contents, clients in processes of their own, comparisons."""
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from hub_server import Hub

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "models" / "sample-llama"
TOKEN = "hf_alice0123456789"


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def tree_of(folder):
    """{relative path: SHA-256} of every file below `folder`, links followed."""
    folder = Path(folder)
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def random_bytes(count, seed):
    return random.Random(seed).randbytes(count)


class HubTest(unittest.TestCase):
    """A Hub of its own for each test, with the sample model as alice/sample, and an empty home folder."""
    hub_settings = {}

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mlxmill-hub-"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(self.folder)], check=False)
        self.home = self.folder / "home"
        self.home.mkdir()
        self.hub = Hub(**self.hub_settings).start()
        self.addCleanup(self.hub.stop)
        self.hub.store.add_user(TOKEN, "alice")
        self.commit = self.hub.store.add_folder("alice/sample", SAMPLE)
        self.hub.store.repos["alice/sample"].downloads = 10

    @property
    def cache(self):
        return self.home / "hub"

    def snapshot(self, name="alice/sample", commit=None):
        return self.cache / ("models--" + name.replace("/", "--")) / "snapshots" / (commit or self.commit)

    def environment(self, **changes):
        """Nothing of the caller's Hugging Face settings or proxies comes through."""
        kept = {k: v for k, v in os.environ.items()
                if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and not k.lower().endswith("_proxy")}
        kept |= {"HF_ENDPOINT": self.hub.endpoint, "HF_HOME": str(self.home), "HOME": str(self.home),
                 "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1",
                 "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
        kept |= changes
        return {k: v for k, v in kept.items() if v is not None}

    def python(self, code, check=True, **changes):
        """Runs `code` with the real client; returns the finished process, which tells what was printed."""
        done = subprocess.run([sys.executable, "-c", code], env=self.environment(**changes), text=True,
                              capture_output=True, timeout=120, check=False)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def hf(self, *arguments, **changes):
        program = Path(sys.executable).with_name("hf")
        return subprocess.run([str(program), *arguments], env=self.environment(**changes), text=True,
                              capture_output=True, timeout=120, check=False)

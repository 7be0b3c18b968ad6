"""Faults at random places: every run ends in the right bytes, or in a clear error that the next run recovers from.

    faults_test.py MLXMILL [--runs 200] [--table]     --table prints the rows of docs/HUB.md
"""
import argparse
import collections
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from hub_testing import SAMPLE, HubTest, sha256, tree_of

ARGUMENTS = argparse.Namespace(runs=14, table=False, program=None)

# What is injected, and whether a run may end in an error with so few of them: none may.
SINGLE = {
    "connection reset": [{"kind": "drop"}],
    "connection reset, three times": [{"kind": "drop", "count": 3}],
    "body cut short": [{"kind": "truncate"}],
    "stall": [{"kind": "stall"}],
    "one wrong byte": [{"kind": "corrupt"}],
    "signed URL expires in mid-file": [{"kind": "expire"}],
    "status 503": [{"kind": "status", "status": 503}],
    "status 500, on the Hub": [{"kind": "status", "status": 500, "role": "resolve"}],
    "status 429 with Retry-After": [{"kind": "status", "status": 429, "retry_after": 1, "role": "tree"}],
    "no answer": [{"kind": "no_answer"}],
    "range ignored": [{"kind": "ignore_range"}],
    "list of files cut short": [{"kind": "truncate", "role": "tree"}],
    "small file reset": [{"kind": "drop", "role": "file"}],
    "wrong bytes in a small file": [{"kind": "corrupt", "role": "file"}],
}
# So many that the run gives up; the next one goes on where it stopped.
LASTING = {
    "reset again and again": [{"kind": "drop", "count": 60, "after": 0}],
    "wrong bytes again and again": [{"kind": "corrupt", "count": 1000, "after": 5}],
}


class Faults(HubTest):
    def run_once(self, rules, seed):
        self.hub.faults.set(rules, seed)
        return subprocess.run([str(ARGUMENTS.program), "download", "alice/sample", "--quiet"], text=True, check=False,
                              env=self.environment(HF_HUB_DOWNLOAD_TIMEOUT="1"), capture_output=True, timeout=120)

    def check_cache(self):
        """Nothing in the cache has a name that its bytes do not bear out."""
        for blob in (self.cache / "models--alice--sample" / "blobs").glob("*"):
            if len(blob.name) == 64:
                self.assertEqual(sha256(blob), blob.name)
        found = tree_of(self.snapshot()) if self.snapshot().exists() else {}
        self.assertEqual({k: v for k, v in found.items() if tree_of(SAMPLE)[k] != v}, {})

    def one_run(self, name, rules, seed):
        done = self.run_once([dict(rule) for rule in rules], seed)
        self.assertIn(done.returncode, (0, 3, 4), f"{name}: {done.stderr}")
        self.assertEqual(bool(self.hub.faults.hits), True, f"{name} did not strike")
        self.check_cache()
        outcome = "right"
        if done.returncode:
            self.assertRegex(done.stderr, r"^(warning: .*\n)*error: ", name)
            outcome = "error"
            done = self.run_once([], 0)
            self.assertEqual(done.returncode, 0, f"{name}: {done.stderr}")
        found = tree_of(self.snapshot())
        self.assertEqual(found, tree_of(SAMPLE), name)
        self.assertEqual(list(self.cache.rglob("*.mlxmill.*")), [], name)
        shutil.rmtree(self.cache)
        return outcome

    def test_runs(self):
        names = list(SINGLE)
        outcomes = collections.Counter()
        for seed in range(ARGUMENTS.runs):
            name = names[seed % len(names)]
            outcomes[name, self.one_run(name, SINGLE[name], seed)] += 1
        self.assertEqual({outcome for _, outcome in outcomes}, {"right"}, outcomes)
        for name, rules in LASTING.items():
            for seed in range(max(1, ARGUMENTS.runs // 100)):
                outcomes[name, self.one_run(name, rules, seed)] += 1
            self.assertEqual(outcomes[name, "right"], 0)
        if ARGUMENTS.table:
            print("| fault | runs | right bytes | clear error, then right bytes |\n| --- | ---: | ---: | ---: |")
            for name in [*SINGLE, *LASTING]:
                right, error = outcomes[name, "right"], outcomes[name, "error"]
                print(f"| {name} | {right + error} | {right} | {error} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--runs", type=int, default=14)
    parser.add_argument("--table", action="store_true")
    parser.parse_args(namespace=ARGUMENTS)
    ARGUMENTS.program = ARGUMENTS.program.resolve()
    unittest.main(argv=sys.argv[:1], warnings="ignore")

"""mlxmill plan against the test Hub: exact sizes from headers alone, what others have published, and hostile answers."""
import json
import shutil
import struct
import subprocess
import sys
import unittest
from dataclasses import replace
from pathlib import Path

from hub_testing import SAMPLE, TOKEN, HubTest

PROGRAM = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None
TAGS = ["mlx", "base_model:alice/sample", "base_model:quantized:alice/sample"]
DAY = 86400


def output_bytes(folder):
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


class PlanTest(HubTest):
    def mlxmill(self, *arguments, **changes):
        changes = {"HF_HUB_DOWNLOAD_TIMEOUT": "2"} | changes
        return subprocess.run([str(PROGRAM), *arguments], env=self.environment(**changes), text=True,
                              capture_output=True, timeout=120, check=False, cwd=self.folder)

    def plan(self, model="alice/sample", *flags, **changes):
        done = self.mlxmill("plan", model, "--json", *flags, **changes)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def sent(self):
        return sum(r["bytes"] for r in self.hub.requests())

    def publish(self, name, flags, days=1, downloads=1, tags=TAGS, **settings):
        """A real conversion, `days` younger than the source."""
        folder = self.folder / name.replace("/", "--")
        if not folder.exists():
            done = self.mlxmill("convert", str(SAMPLE), *flags, "-o", str(folder))
            self.assertEqual(done.returncode, 0, done.stderr)
        self.hub.store.add_folder(name, folder, tags=tags, downloads=downloads, **settings)
        self.hub.store.repos[name].modified = self.hub.store.repos["alice/sample"].modified + days * DAY
        return folder


class Sizes(PlanTest):
    def test_every_row_is_what_convert_writes(self):
        plan = self.plan("alice/sample", "--group-size", "all", "--no-probe", "--no-search")
        rows = plan["rows"]
        self.assertEqual(len(rows), 1 + 6 * 3 + 3)
        for row in rows:
            self.assertEqual(row["problem"], "")
            done = self.mlxmill("convert", str(SAMPLE), *row["flags"].split(), "-o", "out", "--force")
            self.assertEqual(done.returncode, 0, done.stderr)
            size = output_bytes(self.folder / "out")
            self.assertEqual(size, row["output_bytes"], row["flags"])
            self.assertEqual(row["bits_per_weight"], size * 8 / plan["parameters"])
        self.assertEqual(self.plan(str(SAMPLE), "--group-size", "32,64,128", "--no-probe")["rows"], rows)

    def test_few_bytes_are_fetched(self):
        plan = self.plan("alice/sample", "--no-probe", "--no-search")
        self.assertEqual(self.sent(), plan["bytes_received"])
        self.assertEqual(plan["bytes_received"], plan["header_bytes"])
        self.assertLess(self.sent(), 100_000)
        weights = sum(r["bytes"] for r in self.hub.requests() if r["server"] == "cdn")
        self.assertLessEqual(weights, 32 << 10)
        # No tokenizer, no card: they say nothing about sizes.
        self.assertFalse([r for r in self.hub.requests() if "tokenizer" in r["path"] or "README" in r["path"]])

    def test_headers_of_many_shards(self):
        """Short ones take one request each, a longer one two; all are of the same model."""
        shards = self.folder / "shards"
        shutil.copytree(SAMPLE, shards)
        whole = (shards / "model.safetensors").read_bytes()
        (shards / "model.safetensors").unlink()
        size = struct.unpack("<Q", whole[:8])[0]
        header, data = json.loads(whole[8:8 + size]), whole[8 + size:]
        metadata = header.pop("__metadata__", {})
        names = sorted(header, key=lambda name: header[name]["data_offsets"])
        weight_map, parts = {}, 20
        for i in range(parts):
            file, body, entries = f"model-{i + 1:05d}-of-{parts:05d}.safetensors", b"", {}
            for name in names[i::parts]:
                first, last = header[name]["data_offsets"]
                entries[name] = header[name] | {"data_offsets": [len(body), len(body) + last - first]}
                body += data[first:last]
                weight_map[name] = file
            # The last one has a header longer than the first request.
            entries["__metadata__"] = metadata | ({"note": "x" * 40_000} if i == parts - 1 else {})
            text = json.dumps(entries).encode()
            (shards / file).write_bytes(struct.pack("<Q", len(text)) + text + body)
        (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        self.hub.store.add_folder("alice/shards", shards)
        plan = self.plan("alice/shards", "--no-probe", "--no-search")
        rows = lambda p: [(r["flags"], r["bits_per_weight"]) for r in p["rows"]]
        self.assertEqual(rows(plan), rows(self.plan(str(SAMPLE), "--no-probe")))
        asked = [r for r in self.hub.requests() if r["server"] == "cdn" and r["status"] == 206]
        self.assertEqual(len(asked), parts + 1)
        self.assertLess(plan["bytes_received"], 500_000)

    def test_probe_is_bounded(self):
        plan = self.plan("alice/sample", "--no-search")
        probe = plan["probe"]
        self.assertEqual(probe["bytes"], 4 << 20)
        self.assertGreater(probe["weights_per_second"], 0)
        self.assertAlmostEqual(probe["read_seconds"], plan["source_bytes"] / probe["bytes_per_second"], 6)
        self.assertEqual(self.sent(), plan["bytes_received"])
        self.assertLessEqual(plan["bytes_received"] - plan["header_bytes"], 5 << 20)

    def test_memory_and_machines(self):
        plan = self.plan(str(SAMPLE), "--ram", "16G", "--context", "2048", "--no-probe")
        config = json.loads((SAMPLE / "config.json").read_text())
        size = config["num_key_value_heads"] * config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
        self.assertEqual(plan["rows"][0]["cache_bytes"], config["num_hidden_layers"] * 2 * 2048 * size * 2)
        self.assertEqual(plan["machine"]["usable_bytes"], (16 << 30) // 3 * 2)
        self.assertTrue(all(r["fits"] for r in plan["rows"]))
        self.assertEqual(plan["rows"][plan["recommended"]]["flags"], "--bits 8 --group-size 64")
        small = self.plan(str(SAMPLE), "--ram", "300M", "--no-probe")
        self.assertFalse(any(r["fits"] for r in small["rows"]))
        self.assertIn("Nothing fits", small["recommendation"])
        half = self.plan(str(SAMPLE), "--ram", "16G", "--context", "2048", "--no-probe", "--kv-bits", "8")
        self.assertLess(half["rows"][0]["cache_bytes"], plan["rows"][0]["cache_bytes"])

    def test_a_quantized_source_is_not_blown_up(self):
        done = self.mlxmill("convert", str(SAMPLE), "--bits", "4", "-o", "four")
        self.assertEqual(done.returncode, 0, done.stderr)
        plan = self.plan("four", "--no-probe", "--ram", "16G")
        self.assertTrue(plan["quantized_source"])
        self.assertEqual(plan["rows"][0]["flags"], "--dequantize")
        self.assertEqual(plan["rows"][plan["recommended"]]["flags"], "--bits 4 --group-size 64")
        for row in plan["rows"]:
            self.assertEqual(self.mlxmill("convert", "four", *row["flags"].split(), "-o", "out", "--force").returncode, 0)
            self.assertEqual(output_bytes(self.folder / "out"), row["output_bytes"], row["flags"])

    def test_gguf_of_the_hub_is_refused(self):
        folder = self.folder / "gguf"
        folder.mkdir()
        (folder / "x-Q8_0.gguf").write_bytes(b"GGUF" + bytes(100))
        self.hub.store.add_folder("alice/gguf", folder)
        done = self.mlxmill("plan", "alice/gguf")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("mlxmill download fetches it", done.stderr)


class MakeOrTake(PlanTest):
    def test_same_settings_and_later_is_taken(self):
        self.publish("mlx-community/sample-8bit", ["--bits", "8"], downloads=500)
        self.publish("bob/sample-4bit", ["--bits", "4"], downloads=20)
        self.publish("bob/sample-mixed", ["--recipe", "mixed_3_6"], downloads=10)
        plan = self.plan("alice/sample", "--ram", "16G", "--no-probe")
        found = {m["name"]: m for m in plan["published"]}
        self.assertEqual([m["name"] for m in plan["published"]],
                         ["mlx-community/sample-8bit", "bob/sample-4bit", "bob/sample-mixed"])
        eight = found["mlx-community/sample-8bit"]
        self.assertEqual(eight["coding"], "affine 8-bit, groups of 64")
        self.assertEqual(eight["bits_per_weight"], plan["rows"][plan["recommended"]]["bits_per_weight"])
        self.assertEqual(eight["revision"], "newer than the source's last change")
        self.assertTrue(eight["take"])
        self.assertIn("mixed", found["bob/sample-mixed"]["coding"])
        self.assertFalse(found["bob/sample-mixed"]["take"])
        self.assertIn("Take mlx-community/sample-8bit", plan["make_or_take"])
        text = self.mlxmill("plan", "alice/sample", "--ram", "16G", "--no-probe").stdout
        self.assertIn("Take mlx-community/sample-8bit", text)
        self.assertRegex(text, r"bob/sample-4bit +affine 4-bit, groups of 64")

    def test_older_and_other_settings_are_made(self):
        self.publish("mlx-community/sample-8bit", ["--bits", "8"], days=-3)
        plan = self.plan("alice/sample", "--ram", "16G", "--no-probe")
        self.assertEqual(plan["published"][0]["revision"], "older than the source's last change")
        self.assertIn("Make it: mlx-community/sample-8bit", plan["make_or_take"])
        self.hub.store.repos.pop("mlx-community/sample-8bit")
        self.publish("mlx-community/sample-4bit", ["--bits", "4"])
        self.assertIn("nobody has published affine 8-bit",
                      self.plan("alice/sample", "--ram", "16G", "--no-probe")["make_or_take"])

    def test_the_card_may_name_the_revision(self):
        self.publish("bob/sample-8bit", ["--bits", "8"], days=-3, card_data={"base_model_revision": self.commit})
        plan = self.plan("alice/sample", "--ram", "16G", "--no-probe")
        self.assertEqual(plan["published"][0]["revision"], "this revision")
        self.assertTrue(plan["published"][0]["take"])

    def test_a_gated_source_says_so(self):
        self.publish("mlx-community/sample-8bit", ["--bits", "8"])
        self.hub.store.repos["alice/sample"].gated = "manual"
        plan = self.plan("alice/sample", "--ram", "16G", "--no-probe", HF_TOKEN=TOKEN)
        self.assertTrue(plan["gated"])
        self.assertIn("The source is gated", plan["make_or_take"])
        self.assertIn("is gated", self.mlxmill("plan", "alice/sample").stderr)

    def test_found_by_name_but_not_of_others(self):
        self.publish("mlx-community/sample-8bit", ["--bits", "8"], tags=["mlx"])
        self.publish("mlx-community/sample-chat-8bit", ["--bits", "8"], tags=["mlx", "base_model:alice/sample-chat"])
        self.publish("mlx-community/resample", ["--bits", "8"], tags=["mlx"])
        names = [m["name"] for m in self.plan("alice/sample", "--no-probe")["published"]]
        self.assertEqual(names, ["mlx-community/sample-8bit"])

    def test_none_and_offline(self):
        plan = self.plan("alice/sample", "--no-probe")
        self.assertIn("no MLX conversion of this model was found", plan["make_or_take"])
        self.mlxmill("download", "alice/sample")
        offline = self.plan("alice/sample", "--no-probe", HF_HUB_OFFLINE="1")
        self.assertEqual(offline["make_or_take"], "")
        self.assertTrue(any("nobody was asked" in n for n in offline["notes"]))
        self.assertEqual(offline["rows"], plan["rows"])


class Hostile(PlanTest):
    def test_search_that_fails_is_a_note(self):
        for rules in ([{"kind": "status", "role": "search", "status": 500, "count": 10}],
                      [{"kind": "truncate", "role": "search", "after": 1, "count": 10}],
                      [{"kind": "no_answer", "role": "search", "count": 10}]):
            self.hub.faults.set(rules)
            plan = self.plan("alice/sample", "--no-probe")
            self.assertTrue(any("search for published conversions failed" in n for n in plan["notes"]), rules)
            self.assertEqual(plan["make_or_take"], "")
            self.assertEqual(len(plan["rows"]), 10)

    def test_search_that_answers_garbage(self):
        search = self.hub.store.search
        self.addCleanup(setattr, self.hub.store, "search", search)
        handler = self.hub.hub_server.RequestHandlerClass
        original = handler.search
        self.addCleanup(setattr, handler, "search", original)
        for value in ({"error": 1}, [1, None, "x", {"id": 5}, {"id": "../../etc"}, {"id": "a/b\u001b[31m"},
                                     {"id": "mlx-community/none", "tags": TAGS, "downloads": -5}], 7):
            handler.search = lambda self, value=value: self.answer_json(value)
            plan = self.plan("alice/sample", "--no-probe")
            self.assertEqual(plan["published"], [])
            self.assertEqual(len(plan["rows"]), 10)
            self.assertTrue(plan["notes"])

    def test_published_models_that_lie(self):
        folder = self.folder / "bad"
        folder.mkdir()
        (folder / "config.json").write_text('{"quantization": {"bits": 77, "group_size": 64}}')
        (folder / "model.safetensors").write_bytes(bytes(100))
        self.hub.store.add_folder("bob/bad", folder, tags=TAGS)
        empty = self.folder / "empty"
        empty.mkdir()
        (empty / "config.json").write_text("{}")
        self.hub.store.add_folder("bob/empty", empty, tags=TAGS)
        plan = self.plan("alice/sample", "--no-probe")
        self.assertEqual(plan["published"], [])
        self.assertEqual(sum("could not be read" in n for n in plan["notes"]), 2)

    def broken(self, change):
        folder = self.folder / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SAMPLE, folder)
        change(folder)
        self.hub.store.repos.pop("alice/broken", None)
        self.hub.store.add_folder("alice/broken", folder)
        return self.mlxmill("plan", "alice/broken", "--no-probe", "--no-search")

    def test_headers_and_configs(self):
        def weights(data):
            return lambda folder: (folder / "model.safetensors").write_bytes(data)

        def config(**keys):
            def change(folder):
                value = json.loads((folder / "config.json").read_text())
                value.update(keys)
                (folder / "config.json").write_text(json.dumps(value))
            return change

        whole = (SAMPLE / "model.safetensors").read_bytes()
        huge = struct.pack("<Q", 1 << 60) + b"{}"
        for change in (weights(whole[:1000]), weights(whole[:5]), weights(huge), weights(whole[:-1]),
                       lambda f: (f / "config.json").write_text("{"), lambda f: (f / "config.json").write_text("[]"),
                       config(num_hidden_layers="many")):
            done = self.broken(change)
            self.assertIn(done.returncode, (3, 4, 5), done.stdout + done.stderr)
            self.assertIn("error: ", done.stderr)
        for keys in ({"num_hidden_layers": 0}, {"hidden_size": None}, {"num_key_value_heads": 1 << 62},
                     {"max_position_embeddings": -1}):
            done = self.broken(config(**keys))
            self.assertIn(done.returncode, (0, 3, 5), done.stderr)

    def test_lengths_that_lie(self):
        # The tree says another size than the file has.
        repo = self.hub.store.repos["alice/sample"]
        entry = repo.commits[self.commit]["model.safetensors"]
        repo.commits[self.commit]["model.safetensors"] = replace(entry, size=entry.size + 1000)
        done = self.mlxmill("plan", "alice/sample", "--no-probe", "--no-search")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("error: ", done.stderr)

    def test_faults_on_the_way_to_headers(self):
        for kind in ("drop", "truncate", "expire", "status", "ignore_range"):
            self.hub.faults.set([{"kind": kind, "count": 1}])
            self.assertEqual(len(self.plan("alice/sample", "--no-probe", "--no-search")["rows"]), 10)
            self.assertTrue(self.hub.faults.hits)

    def test_contexts(self):
        for context in ("0", "-5", "99999999999999999999", "many"):
            self.assertEqual(self.mlxmill("plan", str(SAMPLE), "--context", context).returncode, 2)
        plan = self.plan(str(SAMPLE), "--no-probe", "--ram", "16G", "--context", str(1 << 30))
        self.assertFalse(plan["rows"][-1]["fits"])
        self.assertTrue(any("was trained for" in n for n in plan["notes"]))
        self.assertEqual(self.mlxmill("plan", str(SAMPLE), "--group-size", "48").returncode, 2)


if __name__ == "__main__":
    unittest.main(warnings="ignore")

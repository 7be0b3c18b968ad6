"""mlxmill plan of a GGUF file that the gguf package wrote: each row against the bytes that convert writes."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx

from gguf_files import gguf_tensors, write_gguf

SAMPLE = Path(__file__).resolve().parents[2] / "models" / "sample-llama"


def main():
    mlxmill = sys.argv[1]
    config = json.loads((SAMPLE / "config.json").read_text())
    weights = mx.load(str(SAMPLE / "model.safetensors"))
    failed = 0
    with tempfile.TemporaryDirectory() as temp:
        file = Path(temp) / "model.gguf"
        write_gguf(file, "llama", "sample", config, gguf_tensors("llama", config, weights), weights)
        plan = json.loads(subprocess.run([mlxmill, "plan", file, "--json"], check=True, stdout=subprocess.PIPE).stdout)
        assert plan["source_method"] == "gguf" and plan["runs"] and len(plan["rows"]) == 10, plan
        for row in plan["rows"]:
            out = Path(temp) / "out"
            subprocess.run([mlxmill, "convert", file, *row["flags"].split(), "-o", out, "--force", "--quiet"], check=True,
                           stdout=subprocess.DEVNULL)
            size = sum(p.stat().st_size for p in out.glob("*.safetensors"))
            if size != row["output_bytes"]:
                print(f"{row['coding']}: {row['output_bytes']} bytes planned, {size} written")
                failed += 1
    print(f"{len(plan['rows'])} rows, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

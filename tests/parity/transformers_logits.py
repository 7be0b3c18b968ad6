"""Logits of tiny models of transformers' own classes, random weights, in float32: transformers beside `mlxmill logits`.

Needs torch, as transformers_sweep.py does. Names a family's model types, or takes those below.
"""
import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from logits_oracle import Program
from transformers_models import make, model_class

# Largest difference of a logit relative to the largest.
TOLERANCE = 2e-5

MODEL_TYPES = ("afmoe apertus ernie4_5_moe exaone_moe falcon_h1 falcon_mamba granitemoehybrid gptj hunyuan_v1_dense jamba "
               "lfm2_vl llama4_text mamba mamba2 nanochat nemotron_h phimoe solar_open").split()


def relative(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def expected(model_type, folder, ids):
    model = model_class(model_type).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor(ids[None].astype(np.int64)), use_cache=False).logits[0].float().numpy()


def compare(program, model_type, variant, base, folder):
    """A line, and whether all is well."""
    problem = make(model_type, variant, base, folder)
    if problem:
        return f"not made: {problem}", True
    ids = np.random.default_rng(7).integers(6, 500, 40).astype(np.int32)
    try:
        full = program.logits(folder, ids, "--dtype", "float32")
        steps = program.logits(folder, ids, "--dtype", "float32", "--steps", "20")
    except RuntimeError as failure:
        return str(failure), False
    figures = relative(full, expected(model_type, folder, ids)), relative(steps, full)
    return f"{figures[0]:.1e} from transformers, cached {figures[1]:.1e}", max(figures) <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("base", type=Path, help="a checkpoint whose tokenizer the models take")
    parser.add_argument("model_types", nargs="*", default=MODEL_TYPES)
    # Of those of transformers_models.py the ones in float32.
    parser.add_argument("--variant", default="sharded")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        program = Program(arguments.program, Path(work))
        for model_type in arguments.model_types:
            line, well = compare(program, model_type, arguments.variant, arguments.base, Path(work) / model_type)
            failed += not well
            print(f"{model_type}: {line}{'' if well else '  FAILED'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

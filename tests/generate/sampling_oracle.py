"""Writes logits and what mlx-lm's samplers and penalties make of them, as float32, for sampler_test.cc.

usage: sampling_oracle.py FOLDER; case N is FOLDER/N.in and FOLDER/N.out"""
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm import sample_utils

SIZE = 500


def log_probabilities(logits):
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def nucleus(p):
    return lambda x: sample_utils.apply_top_p(log_probabilities(x), p)


def least(p, kept):
    return lambda x: sample_utils.apply_min_p(log_probabilities(x), p, kept)


def both(x):
    return sample_utils.apply_min_p(sample_utils.apply_top_p(log_probabilities(x), 0.95), 0.05)


def penalties(**settings):
    def apply(x):
        tokens = mx.array([3, 3, 7, 7, 7, 9, 11] + list(range(40, 60)) + [7, 3])
        for processor in sample_utils.make_logits_processors(**settings):
            x = processor(tokens, x)
        return x

    return apply


# In the order of kCases in sampler_test.cc.
CASES = [
    nucleus(0.9),
    nucleus(0.3),
    nucleus(0.001),
    least(0.1, 1),
    least(0.5, 7),
    both,
    penalties(repetition_penalty=1.3),
    penalties(repetition_penalty=1.3, repetition_context_size=500),
    penalties(presence_penalty=0.7, presence_context_size=500),
    penalties(frequency_penalty=0.25, frequency_context_size=500),
    penalties(logit_bias={3: 5.0, 499: -2.5}, repetition_penalty=0.8, presence_penalty=0.5, frequency_penalty=0.5),
]


def main():
    mx.set_default_device(mx.cpu)
    folder = Path(sys.argv[1])
    for number, case in enumerate(CASES):
        generator = np.random.default_rng(number)
        logits = generator.normal(0, 3, SIZE).astype(np.float32)
        logits.tofile(folder / f"{number}.in")
        np.array(case(mx.array(logits)[None]), dtype=np.float32)[0].tofile(folder / f"{number}.out")


main()

"""mlxmill eval against an independent NumPy computation on the same logits, for every encoding.

    eval_parity.py MLXMILL
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import logits_files

PROGRAM = sys.argv[1]
checked = 0


def close(what, got, expected, relative=1e-9, absolute=1e-12):
    global checked
    checked += 1
    if not abs(got - expected) <= absolute + relative * abs(expected):
        sys.exit(f"FAILED: {what}: expected {expected!r}, got {got!r}")


def estimate(what, got, value, error, relative=1e-9):
    close(what, got["value"], value, relative)
    close(what + " error", got["error"], error, relative)


def run(*arguments, status=0):
    done = subprocess.run([PROGRAM, "eval", "--json", "--quiet", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != status:
        sys.exit(f"FAILED: {arguments}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout) if done.stdout else None


def log_softmax(logits):
    x = logits.astype(np.longdouble)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class Expected:
    """All statistics in long double, by their definitions."""

    def __init__(self, tokens, reference, candidate, first=0):
        rows = slice(first, tokens.shape[1] - 1)
        p, q = log_softmax(reference)[:, rows], log_softmax(candidate)[:, rows]
        right = tokens[:, first + 1:, None].astype(np.int64)
        take = lambda a: np.take_along_axis(a, right, -1)[..., 0].ravel().astype(np.float64)
        self.nll, self.reference_nll = -take(q), -take(p)
        self.kl = (np.exp(p) * (p - q)).sum(-1).ravel().astype(np.float64)
        top = lambda a: np.argsort(-a, axis=-1, kind="stable")[..., :5].reshape(-1, 5)
        tops = list(zip(top(p), top(q)))
        self.same = np.array([a[0] == b[0] for a, b in tops])
        self.common = np.array([len(set(a) & set(b)) / 5 for a, b in tops])
        self.change = np.exp(-self.nll) - np.exp(-self.reference_nll)

    @staticmethod
    def mean(values):
        return values.mean(), values.std(ddof=1) / np.sqrt(len(values))

    def check(self, scores, exact=True):
        n = len(self.nll)
        mean, error = self.mean(self.nll)
        estimate("nll", scores["nll"], mean, error)
        estimate("perplexity", scores["perplexity"], np.exp(mean), np.exp(mean) * error)
        base, base_error = self.mean(self.reference_nll)
        estimate("reference", scores["reference_perplexity"], np.exp(base), np.exp(base) * base_error)
        # llama.cpp: variances of both and their covariance.
        covariance = np.cov(self.nll, self.reference_nll, ddof=1)[0, 1] / n
        ratio_error = np.sqrt(error**2 + base_error**2 - 2 * covariance)
        estimate("log ratio", scores["log_perplexity_ratio"], mean - base, ratio_error, 1e-7)
        ratio = np.exp(mean - base)
        estimate("ratio", scores["perplexity_ratio"], ratio, ratio * ratio_error, 1e-7)
        share = self.same.mean()
        estimate("same top", scores["same_top"], share, np.sqrt(share * (1 - share) / (n - 1)))
        estimate("top 5", scores["top5_overlap"], *self.mean(self.common))
        estimate("change", scores["probability_change"], *self.mean(self.change), 1e-7)
        rms = np.sqrt((self.change**2).mean())
        estimate("rms", scores["probability_rms"], rms, self.mean(self.change**2)[1] / (2 * rms))
        for name, q in (("p0.1", 0.1), ("p1", 1), ("p25", 25), ("median", 50), ("p99", 99), ("p99.9", 99.9)):
            close("change " + name, scores["probability_quantiles"][name], np.percentile(self.change, q), 1e-7)
        if exact:
            estimate("kl", scores["kl"], *self.mean(self.kl), 1e-8)
            for name, q in (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("p99.9", 99.9), ("max", 100)):
                close("kl " + name, scores["kl_quantiles"][name], np.percentile(self.kl, q), 1e-8)
        low, high = scores["kl_low"], scores["kl_high"]
        if not low - 1e-12 <= self.kl.mean() <= high + 1e-12:
            sys.exit(f"FAILED: mean KL {self.kl.mean()} is not within [{low}, {high}]")


def check_encodings(work, files, tokens, reference, candidate):
    expected = Expected(tokens, reference, candidate)
    for encoding, exact in (("float32", True), ("float16", False), ("top", False)):
        extra = ["--cache", work / encoding, "--encoding", encoding]
        for arguments in ([], ["--threads", "1"], ["--threads", "3"]):
            report = run(files["candidate"], "--reference", files["reference"], *extra, *arguments)
            scores = report["models"][0]["scores"]
            expected.check(scores, exact)
            kl, error = scores["kl"]["value"], scores["kl_sampling_error"]
            if encoding == "top":
                # Six standard errors of the sample: once in a billion.
                if not (error > 0 and abs(kl - expected.kl.mean()) < 6 * error):
                    sys.exit(f"FAILED: sampled KL {kl} ± {error}, true {expected.kl.mean()}")
                print(f"top: kl {kl:.6g} ± {error:.1g}, true {expected.kl.mean():.6g}, "
                      f"bounds [{scores['kl_low']:.6g}, {scores['kl_high']:.6g}]")
            elif encoding == "float16":
                close("float16 kl", kl, expected.kl.mean(), 2e-3)
        # A model against itself.
        own = run(files["reference"], "--reference", files["reference"], *extra)["models"][0]["scores"]
        if own["same_top"]["value"] != 1 or own["top5_overlap"]["value"] != 1:
            sys.exit(f"FAILED: {encoding}: a model does not agree with itself")
        if encoding != "float16" and (own["kl"]["value"] != 0 or own["kl_quantiles"]["max"] != 0):
            sys.exit(f"FAILED: {encoding}: KL of a model against itself is {own['kl']}")
        close(encoding + " ratio", own["perplexity_ratio"]["value"], 1, 0)


def main():
    work = Path(tempfile.mkdtemp(prefix="mlxmill-eval-"))
    tokens, reference = logits_files.reference(1, 6, 40, 700)
    candidate = logits_files.noisy(reference, 2, 0.3)
    files = {"reference": work / "reference.safetensors", "candidate": work / "candidate.safetensors"}
    logits_files.save(files["reference"], {"tokens": tokens, "logits": reference})
    logits_files.save(files["candidate"], {"tokens": tokens.astype(np.int64), "logits": candidate})

    reports = []
    for threads in (1, 2, 5):
        report = run("--logits", files["candidate"], "--reference-logits", files["reference"], "--threads", threads)
        Expected(tokens, reference, candidate).check(report["models"][0]["scores"])
        report["seconds"] = report["models"][0]["seconds"] = 0
        reports.append(report)
    if any(report != reports[0] for report in reports):
        sys.exit("FAILED: results depend on the number of threads")

    half = run(files["candidate"], "--reference", files["reference"], "--protocol", "llama-perplexity")
    if half["models"][0]["scores"]["positions"] != 6 * 19:
        sys.exit("FAILED: llama-perplexity scores the second half, its last position excepted")
    Expected(tokens, reference, candidate, first=20).check(half["models"][0]["scores"])

    half_floats = candidate.astype(np.float16)
    logits_files.save(work / "half.safetensors", {"tokens": tokens.astype(np.uint32), "logits": half_floats})
    report = run(work / "half.safetensors", "--reference", files["reference"])
    Expected(tokens, reference, half_floats.astype(np.float32)).check(report["models"][0]["scores"])

    check_encodings(work, files, tokens, reference, candidate)
    print(f"test: {checked} numbers equal NumPy's")


main()

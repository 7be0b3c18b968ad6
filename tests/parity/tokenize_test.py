#!/usr/bin/env python3
"""Token ids, decoded text and streams beside transformers' AutoTokenizer, live.

    tokenize_test.py ORACLE SHARED [CASE...]
"""
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
import sentencepiece
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tokenize_support import INVALID, Oracle, hard_texts


def texts_of(shared, special):
    text = (shared / "data/wikitext-2-raw/wiki.test.raw").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip()]
    stories = (shared / "data/tinystories/stories.txt").read_text(encoding="utf-8")
    return [text[:200_000], stories] + lines[::12] + hard_texts(special)


def compare(oracle, theirs, texts):
    problems, ids_seen = [], 0
    for text in texts:
        for special in (True, False):
            expected = theirs.encode(text, add_special_tokens=special)
            got = oracle.encode(text, special)
            if got != expected:
                problems.append(f"{text[:60]!r} (special: {special}): {str(got)[:90]}; expected {str(expected)[:90]}")
        if len(expected) > 20_000:
            ids_seen += len(expected)
            expected = expected[:3000]
        for skip in (True, False):
            decoded, wanted = oracle.decode(expected, skip), theirs.decode(expected, skip_special_tokens=skip)
            if decoded != wanted:
                problems.append(f"{text[:60]!r} decodes to {str(decoded)[:90]!r}; expected {wanted[:90]!r}")
        pieces = oracle.stream(expected)
        if "".join(pieces) != theirs.decode(expected):
            problems.append(f"{text[:60]!r} streams as {pieces[:12]}; expected {theirs.decode(expected)[:90]!r}")
        ids_seen += len(expected)
    return problems, ids_seen


def compare_random(oracle, theirs, count):
    """Ids in no order: decoded and streamed texts agree, broken characters and all."""
    problems, rng = [], random.Random(5)
    for _ in range(count):
        ids = [rng.randrange(len(theirs)) for _ in range(rng.randrange(1, 30))]
        wanted = theirs.decode(ids)
        if oracle.decode(ids) != wanted:
            problems.append(f"{ids} decode to {oracle.decode(ids)!r}; expected {wanted!r}")
        # Whole characters that a later byte spoils are given before it comes.
        if "ByteFallback" not in str(theirs.backend_tokenizer.decoder) and "".join(oracle.stream(ids)) != wanted:
            problems.append(f"{ids} stream as {oracle.stream(ids)}; expected {wanted!r}")
    return problems


def check(program, folder, theirs, shared, few=False):
    oracle = Oracle(program, folder)
    texts = texts_of(shared, theirs.all_special_tokens)
    problems, n = compare(oracle, theirs, texts[1:40:3] + texts[-40:] if few else texts)
    problems += compare_random(oracle, theirs, 50 if few else 400)
    problems += [f"{data!r} is taken" for data in INVALID if not isinstance(oracle.ask("e", data), Exception)]
    facts = oracle.facts()
    if facts["size"] != len(theirs):
        problems.append(f"{facts['size']} tokens; expected {len(theirs)}")
    if theirs.eos_token_id is not None and theirs.eos_token_id not in facts["eos"]:
        problems.append(f"eos is {facts['eos']}; expected {theirs.eos_token_id}")
    if theirs.bos_token_id is not None and theirs.bos_token_id != facts["bos"]:
        problems.append(f"bos is {facts['bos']}; expected {theirs.bos_token_id}")
    oracle.close()
    return problems, n


def as_the_file_says(folder):
    """transformers has a class for "openai-gpt" that knows nothing of this model's byte-level tokenizer.json."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(folder / "tokenizer.json")))


def model_case(program, shared, temp, name):
    folder = shared / "models" / name
    theirs = as_the_file_says(folder) if name == "openai-gpt-790k" else AutoTokenizer.from_pretrained(folder)
    return check(program, folder, theirs, shared)


def checkpoints_case(program, shared, temp, _):
    """One tokenizer.json for all of them; classes of transformers that build another are named."""
    problems, n, other = [], 0, []
    for folder in sorted((shared / "checkpoints").iterdir()):
        theirs = AutoTokenizer.from_pretrained(folder)
        if type(theirs).__name__.startswith("Qwen"):
            # Built with the words of Qwen's own tokenizers, which these made-up files do not have.
            other.append(folder.name)
            theirs = as_the_file_says(folder)
        more, m = check(program, folder, theirs, shared, few=True)
        problems += [f"{folder.name}: {p}" for p in more]
        n += m
    print(f"    as the file says, unlike transformers: {', '.join(other)}")
    return problems, n


def copied(folder, temp, *names):
    out = temp / "model"
    out.mkdir()
    for name in names:
        shutil.copy(folder / name, out)
    return out


def sentencepiece_file_case(program, shared, temp, _):
    """A tokenizer.model alone, read by transformers' class LlamaTokenizer, and by no class."""
    folder = copied(shared / "models/stories260K", temp, "tokenizer.model", "tokenizer_config.json", "config.json")
    return check(program, folder, AutoTokenizer.from_pretrained(folder), shared)


def trained_case(program, shared, temp, name):
    """Models of SentencePiece trained here, in the settings that people use."""
    kind, *flags = name.split("-")[1:]
    folder = temp / "model"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        input=str(shared / "data/wikitext-2-raw/wiki.test.raw"), model_prefix=str(folder / "tokenizer"), vocab_size=1200,
        model_type=kind, byte_fallback="bytes" in flags, character_coverage=0.99, input_sentence_size=3000,
        add_dummy_prefix="noprefix" not in flags, remove_extra_whitespaces="keep" not in flags,
        normalization_rule_name="nmt_nfkc" if "nfkc" in flags else "identity", minloglevel=2, num_threads=1,
        user_defined_symbols=["<sep>", "[x]"] if "user" in flags else [], max_sentence_length=20_000)
    (folder / "tokenizer.vocab").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
              "add_bos_token": "bos" in flags, "add_eos_token": "eos" in flags, "legacy": "new" not in flags}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return check(program, folder, AutoTokenizer.from_pretrained(folder), shared)


def vocab_case(program, shared, temp, _):
    """vocab.json and merges.txt."""
    folder = temp / "model"
    folder.mkdir()
    source = shared / "models/tokenizer-gpt2"
    model = json.loads((source / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = (m if isinstance(m, str) else " ".join(m) for m in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    shutil.copy(source / "tokenizer_config.json", folder)
    return check(program, folder, AutoTokenizer.from_pretrained(folder), shared)


def added_case(program, shared, temp, _):
    """Tokens that only tokenizer_config.json or special_tokens_map.json name."""
    folder = copied(shared / "models/tokenizer-gpt2", temp, "tokenizer.json", "tokenizer_config.json")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    for i, (content, flags) in enumerate({"<a>": {}, "<b>": {"lstrip": True}, "<c>": {"rstrip": True, "special": True},
                                          "dog": {"single_word": True, "normalized": True}}.items()):
        config["added_tokens_decoder"][str(50257 + i)] = {
            "content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False, **flags}
    config["pad_token"] = "<pad>"
    config["extra_special_tokens"] = ["<x>"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = AutoTokenizer.from_pretrained(folder)
    oracle = Oracle(program, folder)
    problems, n = compare(oracle, theirs, ["x <a> <b> <c>  y", "dog dogs hotdog dog.", "<pad><x><b>", "<c> <c>"])
    oracle.close()
    more, m = check(program, folder, theirs, shared, few=True)
    return problems + more, n + m


CASES = {
    **{name: model_case for name in ("sample-llama", "stories260K", "TinyStories-656K", "tokenizer-gpt2", "openai-gpt-790k")},
    "checkpoints": checkpoints_case,
    "tokenizer.model": sentencepiece_file_case,
    **{name: trained_case for name in ("sp-bpe-bytes-bos", "sp-bpe-nfkc-user", "sp-bpe-noprefix-keep-bytes-eos", "sp-bpe-bytes-new-bos",
                                       "sp-unigram-nfkc-bos", "sp-unigram-bytes-keep-eos", "sp-unigram-user-noprefix")},
    "vocab.json": vocab_case,
    "added": added_case,
}


def main():
    program, shared = sys.argv[1], Path(sys.argv[2])
    if not (shared / "models/tokenizer-gpt2").exists():
        print(f"SKIPPED: {shared} has no tokenizers")
        return 77
    failed = 0
    for name, case in CASES.items():
        if sys.argv[3:] and name not in sys.argv[3:]:
            continue
        with tempfile.TemporaryDirectory() as temp:
            problems, n = case(program, shared, Path(temp), name)
        print(f"{name}: {'ok' if not problems else 'FAILED'}, {n} ids", flush=True)
        for problem in problems[:6]:
            print("    " + problem)
        if len(problems) > 6:
            print(f"    and {len(problems) - 6} more")
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

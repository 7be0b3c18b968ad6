"""Tokenizers rebuilt from GGUF files against the originals and against transformers' own GGUF reader.

    gguf_tokenizer_test.py ORACLE SHARED [CASE...]

Each case writes a vocabulary into a GGUF file as llama.cpp's converter does. The folder ORACLE makes is loaded by
AutoTokenizer and must give the ids of the original tokenizer, and those of transformers' reading of the same file, for
WikiText, TinyStories and hostile texts; decoding must agree too.
"""

import json
import re
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import gguf
import numpy as np
from mlx_lm.tokenizer_utils import load
from sentencepiece import SentencePieceProcessor
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import AutoTokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import (GGUF_PRE_TOKENIZER_SPLITS,
                                                                   GGUF_TOKENIZER_MAPPING, convert_gguf_tokenizer)
from transformers.tokenization_utils_base import generate_merges

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
DEEPSEEK3 = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
             r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
# As the comments of llama.cpp's src/llama-vocab.cpp and the published tokenizers spell them.
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPELLED = {
    "bailingmoe2": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    "seed-coder": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
    "exaone-moe": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
                  r"|\s*[\r\n]|\s+(?!\S)|\s+",
    "kimi-k2": "|".join([
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + CONTRACTIONS + "?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + CONTRACTIONS + "?",
        r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]),
}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}"


def texts(shared):
    wiki = (shared / "data/wikitext-2-raw/wiki.test.raw").read_text(encoding="utf-8").splitlines()
    stories = (shared / "data/tinystories/stories.txt").read_text(encoding="utf-8").splitlines()
    every_byte = bytes(range(256)).decode("utf-8", errors="replace")
    hostile = [
        "", " ", "  ", "\n", "\t\n \r\n", "a", " a", "  a", "a ", "a  ", "\u2581", "\u2581a\u2581", every_byte,
        "".join(map(chr, range(1, 0x250))), "\x00\x01\x7f", "\U0010ffff\ue000", "\u00a0\u2003\u3000 \ufeff",
        "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
        "a" * 3000, " " * 500, "\n" * 300, "ab " * 700, "foo  bar   baz    \n\n\n  qux",
        "<s>", "</s>", "<unk>", "x<s>y</s>z", "<|endoftext|>", "a<|endoftext|>b <|endoftext|>", "<0x0A>", "<0xFF>",
        "<|start_story|> one<|end_story|>", "e\u0301 \u00e9 \ufb01 \u1e9b\u0323",
        "C\u0327a va?  \u2026 \u2014 \u201cquoted\u201d",
        "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f",
        "\ud55c\uad6d\uc5b4", "\u0645\u0631\u062d\u0628\u0627",
        "don't I'LL we'Ve 1234567 3.14 1,000,000", "x=1;\r\n\tif (y) {\r\n}", "https://a.b/c?d=e&f#g",
    ]
    return wiki[:1500:3] + stories[:600:3] + hostile


def write(path, arch, model, pre, tokens, types, scores=None, merges=None, ids=(), template=None, flags=()):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for name, value in ids:
        getattr(writer, f"add_{name}_token_id")(value)
    for name, value in flags:
        getattr(writer, f"add_{name}")(value)
    if template:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), dtype=np.float32))
    writer.add_tensor("position_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def of_tokenizer_json(folder):
    """Tokens, types and merges as the converter takes them from tokenizer.json."""
    data = json.loads((folder / "tokenizer.json").read_text())
    vocab = dict(data["model"]["vocab"])
    added = {t["id"]: t for t in data["added_tokens"]}
    vocab.update({t["content"]: i for i, t in added.items()})
    tokens = [None] * (max(vocab.values()) + 1)
    for token, i in vocab.items():
        tokens[i] = token
    types = []
    for i, token in enumerate(tokens):
        if token is None:
            tokens[i] = f"[PAD{i}]"
            types.append(UNUSED)
        elif i in added:
            types.append(CONTROL if added[i]["special"] else USER)
        else:
            types.append(BYTE if re.fullmatch(r"<0x[0-9A-F]{2}>", token) else NORMAL)
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    return tokens, types, merges


def of_sentencepiece(file):
    sp = SentencePieceProcessor(str(file))
    tokens, scores, types = [], [], []
    for i in range(sp.vocab_size()):
        tokens.append(sp.id_to_piece(i))
        scores.append(sp.get_score(i))
        types.append(UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else UNUSED if sp.is_unused(i)
                     else BYTE if sp.is_byte(i) else NORMAL)
    return tokens, scores, types


def run(oracle, temp):
    result = subprocess.run([oracle, temp / "model.gguf", temp / "out", "files"], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    return AutoTokenizer.from_pretrained(temp / "out")


def check_streaming(folder, corpus, detokenizer):
    """mlx-lm must know how to decode token by token."""
    tokenizer = load(folder)
    got = type(tokenizer.detokenizer).__name__
    problems = [] if got == detokenizer else [f"mlx-lm takes {got}; expected {detokenizer}"]
    for text in [t for t in corpus if t.isascii() and t.strip()][:60]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        stream = tokenizer.detokenizer
        stream.reset()
        for i in ids:
            stream.add_token(i)
        stream.finalize()
        if stream.text.strip() != tokenizer.decode(ids).strip():
            problems.append(f"{text[:40]!r} is streamed as {stream.text[:40]!r}")
    return problems


def compare(ours, theirs, corpus, what, with_special=False):
    """ours: from AutoTokenizer; theirs: a Tokenizer of the tokenizers library."""
    problems = []
    theirs_ids = [theirs.encode(t, add_special_tokens=with_special).ids for t in corpus]
    for text, expected in zip(corpus, theirs_ids):
        got = ours.encode(text, add_special_tokens=with_special)
        if got != expected:
            problems.append(f"{what}: {text[:40]!r} is {got[:12]}; expected {expected[:12]}")
            continue
        decoded = [t.decode(got, skip_special_tokens=False) for t in (ours.backend_tokenizer, theirs)]
        if decoded[0] != decoded[1]:
            problems.append(f"{what}: {text[:40]!r} decodes to {decoded[0][:40]!r}")
    return problems, sum(map(len, theirs_ids))


def by_transformers(file):
    # Its own reader of the metadata needs torch; the gguf package reads the same.
    fields = gguf.GGUFReader(file).fields
    tokenizer = {name: fields[f"tokenizer.{key}"].contents()
                 for key, name in GGUF_TOKENIZER_MAPPING["tokenizer"].items() if f"tokenizer.{key}" in fields}
    return convert_gguf_tokenizer(fields["general.architecture"].contents(), tokenizer)[0]


def byte_level_case(oracle, shared, temp, name, corpus):
    """A published byte-level tokenizer comes back as it was."""
    folder = shared / "models" / name
    tokens, types, merges = of_tokenizer_json(folder)
    # Rows that only fill up the embedding.
    tokens += [f"[PAD{len(tokens) + k}]" for k in range(15)]
    types += [UNUSED] * 15
    end = tokens.index("<|endoftext|>") if "<|endoftext|>" in tokens else None
    ids = [("bos", end), ("eos", end)] if end is not None else []
    arch = "llama" if name == "sample-llama" else "gpt2"
    write(temp / "model.gguf", arch, "gpt2", "gpt-2", tokens, types, merges=merges, ids=ids)
    ours = run(oracle, temp)
    problems, n = compare(ours, Tokenizer.from_file(str(folder / "tokenizer.json")), corpus, "original")
    problems += check_streaming(temp / "out", corpus, "BPEStreamingDetokenizer")
    if len(ours) != len(tokens) - 15:
        problems.append(f"{len(ours)} tokens; expected {len(tokens) - 15}")
    # It adds <|endoftext|> to a vocabulary without it.
    plain = corpus if end is not None else [t for t in corpus if "<|endoftext|>" not in t]
    more, _ = compare(ours, by_transformers(temp / "model.gguf"), plain, "transformers")
    return problems + more, n


def pre_case(oracle, shared, temp, pre, corpus):
    """GPT-2's vocabulary split in another way: the expressions are those of transformers."""
    folder = shared / "models" / "tokenizer-gpt2"
    tokens, types, merges = of_tokenizer_json(folder)
    write(temp / "model.gguf", "llama", "gpt2", pre, tokens, types, merges=merges,
          ids=[("bos", 50256), ("eos", 50256)], flags=[("add_bos_token", True)])
    ours = run(oracle, temp)
    expected = Tokenizer.from_file(str(folder / "tokenizer.json"))
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                      pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if pre in GGUF_PRE_TOKENIZER_SPLITS:
        expected.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[pre]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    elif pre in SPELLED:
        expected.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(SPELLED[pre]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    elif pre == "starcoder":
        expected.pre_tokenizer = digits
    elif pre == "deepseek-v3":  # as llama.cpp's src/llama-vocab.cpp has them
        expected.pre_tokenizer = pre_tokenizers.Sequence([
            *(pre_tokenizers.Split(Regex(e), behavior="isolated") for e in DEEPSEEK3),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if pre in ("qwen2", "qwen35"):
        expected.normalizer = normalizers.NFC()
    problems, n = compare(ours, expected, corpus, "spelled out")
    if pre in GGUF_PRE_TOKENIZER_SPLITS:
        composed = [t for t in corpus if unicodedata.is_normalized("NFC", t)]
        more, _ = compare(ours, by_transformers(temp / "model.gguf"), composed, "transformers")
        problems += more
    if ours.encode("a") != [50256, *ours.encode("a", add_special_tokens=False)]:
        problems.append("no bos token in front")
    return problems, n


def sentencepiece_case(oracle, shared, temp, arch, corpus):
    tokens, scores, types = of_sentencepiece(shared / "models/stories260K/tokenizer.model")
    ids = [("bos", 1), ("eos", 2), ("unk", 0)]
    flags = [("add_space_prefix", False)] if arch == "gemma" else []
    write(temp / "model.gguf", arch, "llama", "default", tokens, types, scores=scores, ids=ids, flags=flags)
    ours = run(oracle, temp)
    problems, n = [], 0
    if arch != "gemma":
        original = Tokenizer.from_file(str(shared / "models/stories260K/tokenizer.json"))
        problems, n = compare(ours, original, corpus, "original")
        more, _ = compare(ours, original, corpus, "original with bos", with_special=True)
        problems += more
    problems += check_streaming(temp / "out", corpus, "SPMStreamingDetokenizer")
    # transformers reads a text that begins with a space in another way for "llama", and so after special tokens.
    plain = corpus if arch != "llama" else [
        t for t in corpus if not t.startswith((" ", "\u2581")) and not any(s in t for s in ("<s>", "</s>", "<unk>"))]
    theirs = by_transformers(temp / "model.gguf")
    more, n_theirs = compare(ours, theirs, [t for t in plain if t], "transformers")
    # Its decoders for "llama" keep the first space.
    more = [p for p in more if "decodes" not in p]
    return problems + more, n or n_theirs


def unscored_case(oracle, shared, temp, _, corpus):
    """A file made from tokenizer.json alone: one score for all tokens, the order of merges is a guess."""
    folder = shared / "models/TinyStories-656K"
    tokens, types, _ = of_tokenizer_json(folder)
    write(temp / "model.gguf", "llama", "llama", "default", tokens, types, scores=[-1000.0] * len(tokens),
          ids=[("bos", 1), ("eos", 2), ("unk", 0)])
    ours = run(oracle, temp)
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # Its added tokens are looked for after normalizing, which a GGUF file does not say.
    plain = [t for t in corpus if not re.search(r"<unk>|<\|(start|end)_story", t)]
    problems, n = compare(ours, original, plain, "original")
    # Nor is it known then that <unk> is decoded with a space before it.
    return [p for p in problems if "decodes" not in p], n


def merges_case(oracle, shared, temp, _, corpus):
    """Gemma 4's kind: SentencePiece's texts with a list of merges."""
    folder = shared / "models/TinyStories-656K"
    tokens, types, merges = of_tokenizer_json(folder)
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    write(temp / "model.gguf", "gemma", "gemma4", None, tokens, types, scores=[-1000.0] * len(tokens), merges=merges,
          ids=[("bos", 1), ("eos", 2), ("unk", 0)], flags=[("add_space_prefix", False), ("add_bos_token", True)])
    ours = run(oracle, temp)
    original.normalizer = normalizers.Replace(" ", "\u2581")
    original.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    plain = [t for t in corpus if not re.search(r"<unk>|<\|(start|end)_story", t)]
    problems, n = compare(ours, original, plain, "original with Gemma's steps")
    if ours.encode("a")[0] != 1:
        problems.append("no bos token in front")
    return [p for p in problems if "decodes" not in p], n


def added_case(oracle, shared, temp, _, corpus):
    """Added tokens of all kinds, chat templates, ends of turns."""
    tokens, types, merges = of_tokenizer_json(shared / "models/tokenizer-gpt2")
    more = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<think>", USER), ("    ", USER),
            ("<\uff5cend\u2581of\u2581sentence\uff5c>", CONTROL), ("[unused]", UNUSED), ("<|eot_id|>", CONTROL)]
    tokens += [t for t, _ in more]
    types += [k for _, k in more]
    write(temp / "model.gguf", "qwen2", "gpt2", "qwen2", tokens, types, merges=merges, template=TEMPLATE,
          ids=[("eos", 50256), ("pad", 50256)])
    ours = run(oracle, temp)
    problems = []
    text = "<|im_start|>a<think>b    c<\uff5cend\u2581of\u2581sentence\uff5c><|im_end|>"
    got = ours.encode(text)
    letter = {c: tokens.index(c) for c in "abc"}
    expected = [50257, letter["a"], 50259, letter["b"], 50260, letter["c"], 50261, 50258]
    if got != expected:
        problems.append(f"added tokens are {got}; expected {expected}")
    if ours.decode(expected) != text or ours.decode(expected, skip_special_tokens=True) != "a<think>b    c":
        problems.append(f"they decode to {ours.decode(expected)!r}")
    if ours.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) != "<|im_start|>hi<|im_end|>\n":
        problems.append("the template is another")
    generation = json.loads((temp / "out/generation_config.json").read_text())
    # <|eot_id|> is a token too, but not of this template.
    if generation["eos_token_id"] != [50256, 50258]:
        problems.append(f"eos_token_id is {generation['eos_token_id']}")
    if (temp / "out/chat_template.jinja").read_text() != TEMPLATE:
        problems.append("chat_template.jinja is another")
    return problems, len(expected)


def big_case(oracle, shared, temp, _, corpus):
    """A vocabulary of Gemma's size: every merge, and what it costs."""
    words = (shared / "data/wikitext-2-raw/wiki.test.raw").read_text(encoding="utf-8").split()
    tokens = {t: None for t in ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{b:02X}>" for b in range(256))]}
    for n in range(1, 14):
        for word in words:
            tokens["\u2581" + word[:n]] = None
            tokens[word[:n]] = None
            tokens[word[-n:]] = None
            tokens[word[n:2 * n]] = None
    tokens = [t for t in tokens if t]
    base = list(tokens)
    for k in range(1, 40):
        tokens += [t + base[(i * 7 + k) % len(base)] for i, t in enumerate(base)] if len(tokens) < 300_000 else []
    tokens = list(dict.fromkeys(tokens))[:262_144]
    types = [CONTROL] * 3 + [UNKNOWN] + [BYTE] * 256 + [NORMAL] * (len(tokens) - 260)
    write(temp / "model.gguf", "gemma", "llama", "default", tokens, types,
          scores=[-float(i) for i in range(len(tokens))], ids=[("bos", 2), ("eos", 1), ("unk", 3), ("pad", 0)],
          flags=[("add_space_prefix", False)])
    # Beside a small process: a child begins with the memory of its parent.
    measure = ("import resource, subprocess, sys, time; t = time.time(); subprocess.run(sys.argv[1:], check=True); "
               "print(time.time() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)")
    command = [sys.executable, "-S", "-c", measure, oracle, temp / "model.gguf", temp / "out", "files"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, memory = map(float, report.split())
    merges = [tuple(m) for m in json.loads((temp / "out/tokenizer.json").read_text())["model"]["merges"]]
    expected = generate_merges({t: i for i, t in enumerate(tokens)}, {t: -i for i, t in enumerate(tokens)},
                               skip_tokens=tokens[:260])
    print(f"    {len(tokens)} tokens, {len(merges)} merges: {seconds:.2f} s, {memory:.0f} MiB at most")
    problems = [] if merges == expected else [f"{len(merges)} merges; expected {len(expected)}, or other ones"]
    if seconds > 20 or memory > 512:
        problems.append("that is too much")
    return problems, len(merges)


CASES = {
    **{name: byte_level_case for name in ("tokenizer-gpt2", "sample-llama", "openai-gpt-790k")},
    **{pre: pre_case for pre in ("llama-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "starcoder", "dbrx", "deepseek-v3",
                                 "exaone4", *SPELLED)},
    **{arch: sentencepiece_case for arch in ("llama", "phi3", "gemma")},
    "unscored": unscored_case,
    "gemma4": merges_case,
    "added": added_case,
    "big": big_case,
}


def main():
    oracle, shared = sys.argv[1], Path(sys.argv[2])
    if not (shared / "models/tokenizer-gpt2").exists():
        print(f"SKIPPED: {shared} has no tokenizers")
        return 77
    corpus = texts(shared)
    failed = 0
    for name, case in CASES.items():
        if sys.argv[3:] and name not in sys.argv[3:]:
            continue
        with tempfile.TemporaryDirectory() as temp:
            (Path(temp) / "out").mkdir()
            problems, n = case(oracle, shared, Path(temp), name, corpus)
        print(f"{name}: {'ok' if not problems else 'FAILED'}, {n} ids")
        for problem in problems[:6]:
            print("    " + problem)
        if len(problems) > 6:
            print(f"    and {len(problems) - 6} more")
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

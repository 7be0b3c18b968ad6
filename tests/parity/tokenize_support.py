"""Speaks with tokenize_oracle; texts that tokenizers find hard."""
import json
import struct
import subprocess


class Oracle:
    def __init__(self, program, folder):
        self.process = subprocess.Popen([program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, letter, *texts):
        """The answer's bytes, or an Exception with its message."""
        request = letter.encode()
        for text in texts:
            data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
            request += struct.pack("<I", len(data)) + data
        self.process.stdin.write(request)
        self.process.stdin.flush()
        good = self.process.stdout.read(1)
        if not good:
            raise SystemExit(f"the oracle ended with {self.process.wait()}")
        size = struct.unpack("<I", self.process.stdout.read(4))[0]
        data = self.process.stdout.read(size)
        return data if good == b"+" else Exception(data.decode("utf-8", "replace"))

    def encode(self, text, special=True):
        answer = self.ask("e" if special else "n", text)
        return answer if isinstance(answer, Exception) else list(struct.unpack(f"<{len(answer) // 4}I", answer))

    def decode(self, ids, skip=False):
        answer = self.ask("s" if skip else "d", struct.pack(f"<{len(ids)}I", *ids))
        return answer if isinstance(answer, Exception) else answer.decode("utf-8")

    def stream(self, ids):
        """The pieces; decoding them fails where one is a part of a character."""
        answer = self.ask("t", struct.pack(f"<{len(ids)}I", *ids))
        if isinstance(answer, Exception):
            return answer
        pieces = []
        while answer:
            size = struct.unpack("<I", answer[:4])[0]
            pieces.append(answer[4:4 + size].decode("utf-8"))
            answer = answer[4 + size:]
        return pieces

    def token_bytes(self, token):
        return self.ask("b", struct.pack("<I", token))

    def facts(self):
        return json.loads(self.ask("f", ""))

    def chat(self, messages, template="", tools=None, variables=None, flags="g"):
        answer = self.ask("c", json.dumps(messages), template, "" if tools is None else json.dumps(tools),
                          "" if variables is None else json.dumps(variables), flags)
        return answer if isinstance(answer, Exception) else answer.decode("utf-8")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def hard_texts(special):
    """`special`: spellings of special tokens."""
    texts = ["", " ", "  ", "\n", "\r\n\t", "\0", "a\0b", " Hello", "  two  spaces ", "\u2581x", "x\u2581", "\ufffd", "\ufeffbom",
             "don't I'll WE'VE", "1234567890 3.14 1e-9", "e\u0301 \u00e9 \u1e9b\u0323", "\u200b\u200d\u00ad\u2028",
             "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f", "\u65e5\u672c\u8a9e\u3067\u3059", "\ud55c\uad6d\uc5b4",
             "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940", "\uff21\uff22\uff23 \ufb01",
             "<|endoftext|", "<0x41><0x0A>", "\\n \"quoted\" `code`", "if (x) {\n\treturn\t0;\n}\n", "\u0120\u010a\u00c4"]
    texts += ["a" * n for n in (2, 3, 7, 100, 3000)] + [" " * n for n in (3, 17, 1000)] + ["\n" * 50, "\U0001f600" * 300, "ab" * 1000]
    texts += [chr(code) for code in range(256)] + ["x" + chr(code) + " y" for code in range(0, 256, 3)]
    texts += ["".join(chr(code) for code in range(begin, begin + 64) if not 0xD800 <= code < 0xE000)
              for begin in range(0, 0x3400, 0x1C0)]
    for token in special:
        texts += [token, f"a{token}b", f" {token} ", f"{token}{token}x", token[:-1], f"\n{token}\n c"]
    return texts


# What is no UTF-8: every lone byte, cut-off, overlong, surrogates, past the end of Unicode.
INVALID = [bytes([b]) for b in range(128, 256)] + [b"a\xe2\x82", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80"]

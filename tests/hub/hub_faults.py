"""What can go wrong on the way: rules that the test Hub applies to its answers."""
import random
import threading
from dataclasses import dataclass

KINDS = ("drop", "stall", "truncate", "corrupt", "status", "expire", "ignore_range", "no_answer")


@dataclass
class Fault:
    """One rule. It hits requests whose role and path match, after the first `skip` of them, `count` times.

    drop      the connection is reset after `after` bytes of the body
    truncate  the connection is closed in good order after `after` bytes
    stall     nothing more is sent after `after` bytes until the client leaves, at most `seconds`
    corrupt   one byte at `after` is changed
    status    the answer is `status`, with Retry-After when `retry_after` is not None
    expire    every signed URL given out so far stops working, and the body ends after `after` bytes
    ignore_range  the whole file is sent with status 200 whatever range was asked for
    no_answer the connection is closed before an answer
    """
    kind: str
    role: str = "cdn"  # "cdn", "file" (files the Hub serves itself), "resolve", "tree", "info", "batch", "part", ...
    path: str = ""  # A part of the path that must occur.
    method: str = ""
    count: int = 1
    skip: int = 0
    after: int = -1  # -1: a random place in the body.
    status: int = 503
    retry_after: object = None
    seconds: float = 60


class Faults:
    def __init__(self, seed=0):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.rules = []
        self.hits = []

    def set(self, rules, seed=0):
        with self.lock:
            self.rules = [rule if isinstance(rule, Fault) else Fault(**rule) for rule in rules]
            assert all(rule.kind in KINDS for rule in self.rules)
            self.random = random.Random(seed)
            self.hits = []

    def pick(self, role, method, path):
        """The rule that hits this request, used up once, or None."""
        with self.lock:
            for rule in self.rules:
                if rule.role != role or rule.path not in path or (rule.method and rule.method != method):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                if rule.count == 0:
                    continue
                rule.count -= 1
                self.hits.append((rule.kind, role, path))
                return rule
        return None

    def place(self, rule, length):
        """Where in a body of `length` bytes the rule strikes."""
        if rule.after >= 0:
            return min(rule.after, max(length - 1, 0))
        with self.lock:
            return self.random.randrange(length) if length > 0 else 0

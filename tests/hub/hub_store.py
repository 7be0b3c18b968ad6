"""Repositories of the test Hub: commits of files, large ones kept by SHA-256 as Git LFS does."""
import fnmatch
import hashlib
import threading
import time
from dataclasses import dataclass, field

# What the Hub's default .gitattributes sends to LFS; other files go there for their size or for a zero byte.
LFS_PATTERNS = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth", "*.h5", "*.onnx", "*.msgpack", "*.model", "*.npz")
LFS_FROM_BYTES = 10 * 1024 * 1024


def git_blob_oid(data):
    """The name git gives a blob: SHA-1 over a header and the content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256, size):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def is_lfs(path, size, sample):
    name = path.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatch(name, p) for p in LFS_PATTERNS) or size >= LFS_FROM_BYTES or b"\0" in sample


@dataclass(frozen=True)
class Entry:
    """One file of a commit. `oid` is git's; `sha256` is set for LFS files."""
    oid: str
    size: int
    sha256: str = ""
    pointer_size: int = 0

    @property
    def etag(self):
        return self.sha256 or self.oid


@dataclass
class Repo:
    name: str
    private: bool = False
    gated: object = False  # False, "auto" or "manual", as the API says it.
    owner: str = ""
    commits: dict = field(default_factory=dict)  # Commit hash to {path: Entry}.
    order: list = field(default_factory=list)  # Commit hashes, oldest first.
    refs: dict = field(default_factory=dict)
    messages: dict = field(default_factory=dict)
    downloads: int = 0
    tags: list = field(default_factory=list)
    card_data: dict = field(default_factory=dict)
    modified: float = 0

    def resolve(self, revision):
        """The commit hash behind a branch, tag, or (abbreviated) hash; None when there is none."""
        if revision in self.refs:
            return self.refs[revision]
        if len(revision) >= 5 and all(c in "0123456789abcdef" for c in revision.lower()):
            found = [c for c in self.commits if c.startswith(revision.lower())]
            return found[0] if len(found) == 1 else None
        return None


class Store:
    """All repositories, users and blobs. `lock` guards everything but blob bytes, which never change."""

    def __init__(self):
        self.lock = threading.RLock()
        self.repos = {}
        self.renamed = {}  # Old name to new name.
        self.blobs = {}  # ETag to bytes.
        self.tokens = {}  # Token to user name.
        self.read_only_tokens = set()
        self.access = set()  # (user, repository) pairs let into gated repositories.
        self.uploads = {}  # Multipart uploads in progress: SHA-256 to {part number: bytes}.

    def add_user(self, token, name, write=True):
        self.tokens[token] = name
        if not write:
            self.read_only_tokens.add(token)

    def put_blob(self, data):
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        return sha256

    def make_entry(self, path, data):
        if is_lfs(path, len(data), data[:512]):
            return self.lfs_entry(self.put_blob(data), len(data))
        oid = git_blob_oid(data)
        self.blobs[oid] = data
        return Entry(oid, len(data))

    @staticmethod
    def lfs_entry(sha256, size):
        pointer = lfs_pointer(sha256, size)
        return Entry(git_blob_oid(pointer), size, sha256, len(pointer))

    def create(self, name, **settings):
        with self.lock:
            repo = Repo(name, owner=name.split("/")[0], **settings)
            self.repos[name] = repo
            self.commit(repo, {".gitattributes": self.make_entry(".gitattributes", b"*.safetensors filter=lfs\n")},
                        "initial commit")
            return repo

    def commit(self, repo, changes, message, branch="main", deletions=()):
        """Adds a commit with `changes` (path to Entry); returns its hash."""
        with self.lock:
            parent = repo.refs.get(branch, "")
            files = dict(repo.commits.get(parent, {}))
            for path in deletions:
                files.pop(path, None)
            files.update(changes)
            repo.modified = time.time()
            listing = "\n".join(f"{entry.oid} {path}" for path, entry in sorted(files.items()))
            text = f"{parent}\n{message}\n{len(repo.order)}\n{repo.name}\n{listing}"
            commit = hashlib.sha1(text.encode()).hexdigest()
            repo.commits[commit] = files
            repo.order.append(commit)
            repo.messages[commit] = message
            repo.refs[branch] = commit
            return commit

    def add_folder(self, name, folder, message="add files", only=None, **settings):
        """Makes a repository of a folder's files, or adds them to one; returns the commit hash."""
        repo = self.repos.get(name) or self.create(name, **settings)
        changes = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            relative = path.relative_to(folder).as_posix()
            if only is None or only(relative):
                changes[relative] = self.make_entry(relative, path.read_bytes())
        return self.commit(repo, changes, message)

    def rename(self, old, new):
        with self.lock:
            repo = self.repos.pop(old)
            repo.name = new
            self.repos[new] = repo
            self.renamed[old] = new

    def search(self, query, author, filters):
        """Repositories whose name holds every word of `query`, those with most downloads first."""
        words = query.lower().split()
        with self.lock:
            found = [r for r in self.repos.values()
                     if all(w in r.name.lower() for w in words) and (not author or r.owner == author)
                     and all(f in r.tags for f in filters) and not r.private]
        return sorted(found, key=lambda r: (-r.downloads, r.name))

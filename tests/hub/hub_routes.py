"""The Hub's read API: model info, trees, files, search, who is asking."""
import json
import re
import time
from urllib.parse import parse_qs, quote, unquote, urlencode

from hub_http import Handler
from hub_uploads import UploadRoutes

NAME = r"[\w.-]+/[\w.-]+|[\w.-]+"


def iso_time(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


class HubHandler(UploadRoutes, Handler):
    server_name = "hub"

    ROUTES = [
        (r"/api/whoami-v2", "whoami"),
        (r"/api/models", "search"),
        (r"/api/repos/create", "create_repo"),
        (r"/api/validate-yaml", "validate_yaml"),
        (rf"/api/models/(?P<name>{NAME})/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?", "tree"),
        (rf"/api/models/(?P<name>{NAME})/paths-info/(?P<revision>[^/]+)", "paths_info"),
        (rf"/api/models/(?P<name>{NAME})/preupload/(?P<revision>[^/]+)", "preupload"),
        (rf"/api/models/(?P<name>{NAME})/commit/(?P<revision>[^/]+)", "commit"),
        (rf"/api/models/(?P<name>{NAME})/revision/(?P<revision>[^/]+)", "info"),
        (rf"/api/resolve-cache/models/(?P<name>{NAME})/(?P<revision>[^/]+)/(?P<path>.+)", "cached_file"),
        (rf"/api/models/(?P<name>[\w.-]+/[\w.-]+|[\w.-]+)", "info"),
        (rf"/(?P<name>{NAME})\.git/info/lfs/objects/batch", "lfs_batch"),
        (rf"/(?P<name>{NAME})\.git/info/lfs/verify", "lfs_verify"),
        (r"/api/complete_multipart", "complete_multipart"),
        (rf"/(?P<name>{NAME})/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    ]

    def route(self):
        self.rule = None
        if self.url_path.startswith("/_test/"):
            return self.control()
        for pattern, method in self.ROUTES:
            # On the path as sent: a revision may hold an escaped slash.
            if match := re.fullmatch(pattern, self.raw_path):
                if self.fault(method):
                    return None
                if not self.check_token():
                    return None
                arguments = {k: self.unescape(v) for k, v in match.groupdict().items()}
                return getattr(self, method)(**arguments)
        return self.refuse(404, message=f"no route for {self.url_path}")

    @staticmethod
    def unescape(text):
        return unquote(text) if text else ""

    # --- Who may see what ---

    def check_token(self):
        header = self.headers.get("Authorization") or ""
        self.user = ""
        self.token = header.removeprefix("Bearer ")
        if not header:
            return True
        self.user = self.hub.store.tokens.get(self.token, "")
        if not self.user:
            self.refuse(401, message="Invalid credentials in Authorization header")
            return False
        return True

    def find(self, name):
        """The repository, or None after a refusal or redirect has been sent."""
        store = self.hub.store
        if name in store.renamed:
            target = self.raw_path.replace(name, store.renamed[name], 1)
            if self.query:
                target += "?" + urlencode(self.query)
            self.answer(307, b"", {"Location": target})
            return None
        repo = store.repos.get(name)
        if repo and not (repo.private and self.user != repo.owner):
            return repo
        # The Hub hides from strangers whether a repository exists.
        if self.user:
            self.refuse(404, "RepoNotFound", "Repository not found")
        else:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
        return None

    def find_commit(self, repo, revision):
        commit = repo.resolve(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def may_read(self, repo):
        if not repo.gated or self.user == repo.owner or (self.user, repo.name) in self.hub.store.access:
            return True
        message = (f"Access to model {repo.name} is restricted. You must have access to it and be authenticated to "
                   "access it. Please log in." if not self.user else
                   f"Access to model {repo.name} is restricted and you are not in the authorized list. Visit "
                   f"https://huggingface.co/{repo.name} to ask for access.")
        self.refuse(403 if self.user else 401, "GatedRepo", message)
        return False

    # --- Routes ---

    def whoami(self):
        if not self.user:
            return self.refuse(401, message="Invalid username or password.")
        role = "read" if self.token in self.hub.store.read_only_tokens else "write"
        return self.answer_json({"type": "user", "id": "1", "name": self.user, "fullname": self.user, "orgs": [],
                                 "auth": {"type": "access_token",
                                          "accessToken": {"displayName": "test token", "role": role}}})

    def describe(self, repo, commit):
        files = repo.commits[commit]
        return {"_id": "1", "id": repo.name, "modelId": repo.name, "author": repo.owner, "sha": commit,
                "private": repo.private, "gated": repo.gated, "disabled": False, "downloads": repo.downloads,
                "likes": 0, "tags": repo.tags, "lastModified": iso_time(repo.modified),
                "createdAt": iso_time(repo.modified), "cardData": repo.card_data,
                "siblings": [{"rfilename": path} for path in sorted(files)]}

    def info(self, name, revision="main"):
        if not (repo := self.find(name)) or not (commit := self.find_commit(repo, revision)):
            return None
        answer = self.describe(repo, commit)
        if self.param("blobs"):
            answer["siblings"] = [self.sibling(p, e) for p, e in sorted(repo.commits[commit].items())]
        return self.answer_json(answer)

    @staticmethod
    def sibling(path, entry):
        value = {"rfilename": path, "blobId": entry.oid, "size": entry.size}
        if entry.sha256:
            value["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
        return value

    @staticmethod
    def tree_entry(path, entry):
        value = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.sha256:
            value["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
        return value

    def tree(self, name, revision, folder=""):
        if not (repo := self.find(name)) or not (commit := self.find_commit(repo, revision)):
            return None
        prefix = folder + "/" if folder else ""
        recursive = self.param("recursive").lower() in ("true", "1")
        items = {}
        for path, entry in sorted(repo.commits[commit].items()):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix):].split("/")
            for depth in range(1, len(parts)):
                if recursive or depth == 1:
                    above = prefix + "/".join(parts[:depth])
                    items[above] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": above}
            if recursive or len(parts) == 1:
                items[path] = self.tree_entry(path, entry)
        if prefix and not items:
            return self.refuse(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        return self.answer_page(list(items.values()))

    def answer_page(self, items):
        start = int(self.param("cursor") or 0)
        limit = min(int(self.param("limit") or 1000), self.hub.page_size)
        headers = {}
        if start + limit < len(items):
            query = [(k, v) for k, v in self.query if k != "cursor"] + [("cursor", str(start + limit))]
            headers["Link"] = f'<{self.server.origin}{self.raw_path}?{urlencode(query)}>; rel="next"'
        return self.answer_json(items[start:start + limit], headers=headers)

    def paths_info(self, name, revision):
        if not (repo := self.find(name)) or not (commit := self.find_commit(repo, revision)):
            return None
        files = repo.commits[commit]
        # The real client sends a form here, unlike elsewhere.
        form = "form-urlencoded" in (self.headers.get("Content-Type") or "")
        paths = parse_qs(self.body.decode())["paths"] if form else json.loads(self.body)["paths"]
        return self.answer_json([self.tree_entry(p, files[p]) for p in paths if p in files])

    def search(self):
        # A filter may hold several, with commas between, as huggingface_hub 0.x sent them.
        filters = [f for text in self.params("filter") for f in text.split(",") if f]
        found = self.hub.store.search(self.param("search"), self.param("author"), filters)
        sort = {"lastModified": "modified", "last_modified": "modified", "downloads": "downloads"}
        if key := sort.get(self.param("sort")):
            found.sort(key=lambda r: getattr(r, key), reverse=True)
        fields = self.params("expand[]") + self.params("expand")
        return self.answer_page([self.found(r, fields) for r in found])

    def found(self, repo, fields):
        """One model of a search: with `expand` just those fields and its names."""
        whole = self.describe(repo, repo.refs["main"])
        if not fields:
            return {k: v for k, v in whole.items() if k not in ("siblings", "cardData")}
        return {k: whole[k] for k in ("_id", "id", "modelId", *fields) if k in whole}

    def validate_yaml(self):
        return self.answer_json({"errors": [], "warnings": []})

    def find_file(self, name, revision, path):
        """(repo, commit, entry), or None after an answer."""
        if not (repo := self.find(name)) or not (commit := self.find_commit(repo, revision)):
            return None
        if not self.may_read(repo):
            return None
        entry = repo.commits[commit].get(path)
        if entry is None:
            self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return None
        return repo, commit, entry

    def resolve(self, name, revision, path):
        if not (found := self.find_file(name, revision, path)):
            return None
        repo, commit, entry = found
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if entry.sha256:
            headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"', "ETag": f'"{entry.oid}"',
                        "Location": self.hub.sign(entry.sha256, path)}
            return self.answer(302, b"Found. Redirecting", headers)
        headers |= {"X-Linked-Size": str(entry.size), "ETag": f'"{entry.oid}"',
                    "Location": f"/api/resolve-cache/models/{repo.name}/{commit}/{quote(path)}?etag=%22{entry.oid}%22"}
        return self.answer(307, b"Temporary Redirect", headers)

    def cached_file(self, name, revision, path):
        if self.fault("file"):
            return None
        if not (found := self.find_file(name, revision, path)):
            return None
        _, commit, entry = found
        return self.send_content(self.hub.store.blobs[entry.oid],
                                 {"X-Repo-Commit": commit, "ETag": f'"{entry.oid}"', "Content-Type": "text/plain"})

    # --- What tests ask of the server itself ---

    def control(self):
        if self.url_path == "/_test/faults":
            command = json.loads(self.body)
            self.hub.faults.set(command["rules"], command.get("seed", 0))
            return self.answer_json({})
        if self.url_path == "/_test/log":
            with self.hub.log_lock:
                log = [r for r in self.hub.log if not r["path"].startswith("/_test/")]
                if self.command == "POST":
                    self.hub.log.clear()
            return self.answer_json({"requests": log, "hits": self.hub.faults.hits})
        return self.refuse(404, message="unknown control")

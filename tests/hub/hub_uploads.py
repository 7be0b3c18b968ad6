"""The Hub's write API: creating repositories, LFS uploads in one part or many, commits."""
import base64
import hashlib
import json
from math import ceil
from urllib.parse import quote

from hub_store import git_blob_oid, is_lfs


class UploadRoutes:
    def may_write(self, repo):
        if not self.user:
            self.refuse(401, message="Invalid username or password.")
        elif self.user != repo.owner or self.token in self.hub.store.read_only_tokens:
            self.refuse(403, message="You don't have the rights to write to this repository")
        else:
            return True
        return False

    def create_repo(self):
        wanted = json.loads(self.body)
        owner = wanted.get("organization") or self.user
        name = f"{owner}/{wanted['name']}"
        if not self.user:
            return self.refuse(401, message="Invalid username or password.")
        if owner != self.user or self.token in self.hub.store.read_only_tokens:
            return self.refuse(403, message=f"You don't have the rights to create a model under the namespace \"{owner}\"")
        url = f"{self.server.origin}/{name}"
        if name in self.hub.store.repos:
            return self.answer_json({"error": "You already created this model repo", "url": url}, 409)
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.hub.store.create(name, private=private)
        return self.answer_json({"url": url, "name": name, "id": "1"})

    def preupload(self, name, revision):
        if not (repo := self.find(name)) or not self.may_write(repo):
            return None
        files = repo.commits.get(repo.resolve(revision) or "", {})
        answers = []
        for file in json.loads(self.body)["files"]:
            lfs = is_lfs(file["path"], file["size"], base64.b64decode(file["sample"]))
            entry = files.get(file["path"])
            answers.append({"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False,
                            "oid": entry.oid if entry else None})
        return self.answer_json({"files": answers})

    def lfs_batch(self, name):
        if not (repo := self.find(name)) or not self.may_write(repo):
            return None
        request = json.loads(self.body)
        multipart = "multipart" in request.get("transfers", [])
        objects = [self.lfs_object(name, o["oid"], o["size"], multipart) for o in request["objects"]]
        return self.answer_json({"transfer": "multipart" if multipart else "basic", "objects": objects})

    def lfs_object(self, name, oid, size, multipart):
        answer = {"oid": oid, "size": size}
        if oid in self.hub.store.blobs:
            return answer  # Without actions: the Hub has it.
        verify = {"href": f"{self.server.origin}/{name}.git/info/lfs/verify", "header": {}}
        part = self.hub.part_bytes
        if not multipart or size <= part:
            upload = {"href": self.hub.sign_upload(oid, 0), "header": {}}
        else:
            header = {"chunk_size": str(part)}
            header |= {str(n): self.hub.sign_upload(oid, n) for n in range(1, ceil(size / part) + 1)}
            upload = {"href": f"{self.server.origin}/api/complete_multipart?oid={quote(oid)}", "header": header}
        return answer | {"actions": {"upload": upload, "verify": verify}}

    def complete_multipart(self):
        request = json.loads(self.body)
        with self.hub.store.lock:
            parts = self.hub.store.uploads.get(request["oid"], {})
        wanted = [(p["partNumber"], p["etag"].strip('"')) for p in request["parts"]]
        if [n for n, _ in wanted] != list(range(1, len(wanted) + 1)) or any(
                n not in parts or hashlib.md5(parts[n]).hexdigest() != etag for n, etag in wanted):
            return self.refuse(400, message="parts are missing or differ from what was uploaded")
        data = b"".join(parts[n] for n, _ in wanted)
        if hashlib.sha256(data).hexdigest() != request["oid"]:
            return self.refuse(400, message="the content does not have the SHA-256 that was announced")
        self.hub.store.put_blob(data)
        with self.hub.store.lock:
            self.hub.store.uploads.pop(request["oid"], None)
        return self.answer_json({"success": True})

    def lfs_verify(self, name):
        if not (repo := self.find(name)) or not self.may_write(repo):
            return None
        request = json.loads(self.body)
        data = self.hub.store.blobs.get(request["oid"])
        if data is None or len(data) != request["size"]:
            return self.refuse(404, message="the object has not been uploaded")
        return self.answer_json({})

    def commit(self, name, revision):
        if not (repo := self.find(name)) or not self.may_write(repo):
            return None
        header, changes, deletions = {}, {}, []
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                header = value
            elif item["key"] == "file":
                data = base64.b64decode(value["content"])
                oid = git_blob_oid(data)
                if is_lfs(value["path"], len(data), data[:512]) and data:
                    return self.refuse(400, message=f"{value['path']} must be uploaded with LFS")
                self.hub.store.blobs[oid] = data
                changes[value["path"]] = self.hub.store.make_entry(value["path"], data)
            elif item["key"] == "lfsFile":
                data = self.hub.store.blobs.get(value["oid"])
                if data is None:
                    return self.refuse(400, message=f"LFS object {value['oid']} of {value['path']} was not uploaded")
                changes[value["path"]] = self.hub.store.lfs_entry(value["oid"], len(data))
            elif item["key"] == "deletedFile":
                deletions.append(value["path"])
        if not header.get("summary"):
            return self.refuse(400, message="a commit needs a summary")
        parent = header.get("parentCommit")
        if parent and parent != repo.refs.get(revision):
            return self.refuse(412, message="A commit has happened since. Please refresh and try again.")
        commit = self.hub.store.commit(repo, changes, header["summary"], revision, deletions)
        return self.answer_json({"success": True, "commitOid": commit, "hookOutput": "", "pullRequestUrl": "",
                                 "commitUrl": f"{self.server.origin}/{name}/commit/{commit}"})

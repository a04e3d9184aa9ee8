"""A stand-in for the Hub on the loopback interface: what `huggingface_hub` 2 calls to publish and to download.

Repositories live in memory as commits of files; large files go through the LFS endpoints, as on the real Hub without
Xet (`HF_HUB_DISABLE_XET=1`). Tokens are checked on every request. Every request is logged without its headers; what is
not implemented is answered with 404 and shows up in `unknown`.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

_REPOSITORY = r"(?P<repo>[\w.-]+/[\w.-]+)"
_TYPED = rf"/api/(?P<type>model|dataset)s/{_REPOSITORY}"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
#: Asked for by some releases of the client, which go on without an answer.
_OPTIONAL = ("/api/agent-harnesses",)
_DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Repository:
    """Branches, and the files of every commit by path."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    large: set[str] = field(default_factory=set)
    gated: str | bool = False

    def add(self, branch: str, files: dict[str, bytes], message: str) -> str:
        state = json.dumps([len(self.commits), branch, sorted(files), message])
        oid = hashlib.sha1(state.encode()).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.messages.append(message)
        return oid

    def resolve(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class StandInHub:
    """The state of the stand-in, shared by its threads.

    Args:
        tokens: user by access token.
    """

    def __init__(self, tokens: dict[str, str]) -> None:
        self.tokens, self.lock = tokens, threading.RLock()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.log: list[tuple[str, str, int]] = []
        self.unknown: list[str] = []
        self.read_only: set[str] = set()

    def files(self, repo: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """The files of a repository by path."""
        repository = self.repositories[kind, repo]
        return repository.commits[repository.resolve(revision)]

    @property
    def stored(self) -> dict[str, bytes]:
        """Every file of every commit and every uploaded object, for searches."""
        found = dict(self.objects)
        for (kind, repo), repository in self.repositories.items():
            for oid, files in repository.commits.items():
                found.update({f"{kind}s/{repo}@{oid[:7]}/{path}": content for path, content in files.items()})
        return found


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandInHub
    routes = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", rf"{_TYPED}/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", rf"{_TYPED}/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", rf"{_TYPED}/branch/(?P<branch>[^/]+)", "branch"),
        ("POST", rf"{_TYPED}/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("GET", rf"{_TYPED}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
        ("GET", rf"{_TYPED}/refs", "refs"),
        ("PUT", rf"{_TYPED}/settings", "settings"),
        ("GET", rf"{_TYPED}(?:/revision/(?P<revision>[^/]+))?", "info"),
        ("POST", rf"/(?:(?P<type>dataset)s/)?{_REPOSITORY}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs-storage/(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("POST", r"/lfs-verify", "lfs_verify"),
        ("GET", rf"/(?:(?P<type>dataset)s/)?{_REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    )

    def log_message(self, *args: object) -> None:
        """Stay silent; `hub.log` is the log."""

    def do_GET(self) -> None:
        self.serve("GET")

    def do_HEAD(self) -> None:
        self.serve("GET")

    def do_POST(self) -> None:
        self.serve("POST")

    def do_PUT(self) -> None:
        self.serve("PUT")

    def serve(self, method: str) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.hub.lock:
            try:
                self.user = self.authenticate()
                name, values = self.route(method, url.path)
                getattr(self, name)(**values)
            except _Refusal as refusal:
                headers = {"X-Error-Message": str(refusal)}
                if refusal.code:
                    headers["X-Error-Code"] = refusal.code
                self.reply(refusal.status, {"error": str(refusal)}, headers)

    def route(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        for known, pattern, name in self.routes:
            match = re.fullmatch(pattern, path)
            if known == method and match:
                values = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                if "/resolve/" in pattern or "lfs/objects" in pattern:
                    values.setdefault("type", "model")
                return name, values
        if path not in _OPTIONAL:
            self.hub.unknown.append(f"{self.command} {path}")
        raise _Refusal(404, f"the stand-in has no {self.command} {path}")

    def authenticate(self) -> str | None:
        header = self.headers.get("Authorization", "")
        if not header:
            return None
        user = self.hub.tokens.get(header.removeprefix("Bearer "))
        if user is None:
            raise _Refusal(401, "Invalid credentials in Authorization header")
        return user

    def reply(self, status: int, content: object = b"", headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.hub.log.append((self.command, urlsplit(self.path).path, status))
        self.send_response(status)
        if not isinstance(content, bytes):
            self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self) -> dict:
        return json.loads(self.content)

    def repository(self, type: str, repo: str, *, write: bool = False) -> Repository:
        found = self.hub.repositories.get((type, repo))
        owner = repo.split("/")[0]
        if found is None or (found.private and self.user != owner):
            if self.user is None:
                raise _Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        if write and self.user is None:
            raise _Refusal(401, "Invalid username or password.")
        if write and (self.user != owner or self.user in self.hub.read_only):
            raise _Refusal(403, f"Forbidden: you must be a member of {owner} to write here.")
        return found

    def commit_of(self, repository: Repository, revision: str) -> str:
        oid = repository.resolve(revision)
        if oid is None:
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid

    # ------------------------------------------------------------------ endpoints

    def whoami(self) -> None:
        if self.user is None:
            raise _Refusal(401, "Invalid username or password.")
        self.reply(200, {"type": "user", "id": "1", "name": self.user, "orgs": [], "auth": {}})

    def create(self) -> None:
        if self.user is None:
            raise _Refusal(401, "Invalid username or password.")
        asked = self.json()
        owner = asked.get("organization") or self.user
        if owner != self.user or self.user in self.hub.read_only:
            raise _Refusal(403, f"You don't have the rights to create a {asked.get('type', 'model')} under {owner}.")
        key = asked.get("type") or "model", f"{owner}/{asked['name']}"
        prefix = "datasets/" if key[0] == "dataset" else ""
        answer = {"url": f"{self.endpoint}/{prefix}{key[1]}", "name": key[1], "id": key[1]}
        if key in self.hub.repositories:
            self.reply(409, {"error": f"You already created this {key[0]} repo", **answer})
            return
        repository = Repository(private=asked.get("visibility") == "private")
        repository.add("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.hub.repositories[key] = repository
        self.reply(200, answer)

    def validate_yaml(self) -> None:
        asked, errors = self.json(), []
        match = _FRONT_MATTER.match(asked["content"])
        warnings = [] if match else [{"message": "empty or missing yaml metadata in repo card"}]
        try:
            data = yaml.safe_load(match.group(1)) if match else {}
        except yaml.YAMLError as error:
            data = {}
            errors.append({"message": f"invalid YAML: {error}"})
        if data.get("license") == "other" and not data.get("license_name"):
            errors.append({"message": '"license_name" is required when "license" is "other"'})
        for entry in data.get("model-index") or []:
            for result in entry["results"]:
                if not (result.get("task", {}).get("type") and result.get("dataset", {}).get("type")):
                    errors.append({"message": '"model-index" needs task.type and dataset.type'})
                if not all("type" in metric and "value" in metric for metric in result.get("metrics", [])):
                    errors.append({"message": '"model-index" needs the type and value of every metric'})
        self.reply(400 if errors else 200, {"errors": errors, "warnings": warnings})

    def preupload(self, type: str, repo: str, revision: str) -> None:
        repository = self.repository(type, repo, write=True)
        files = repository.commits[self.commit_of(repository, revision)]
        answer = []
        for file in self.json()["files"]:
            sample = base64.b64decode(file["sample"])
            is_large = b"\0" in sample or file["path"].endswith((".safetensors", ".parquet", ".bin"))
            present = files.get(file["path"])
            oid = None if present is None else _large_id(present) if is_large else _blob_id(present)
            mode = "lfs" if is_large else "regular"
            answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.reply(200, {"files": answer})

    def lfs_batch(self, type: str, repo: str) -> None:
        self.repository(type, repo, write=True)
        answer = []
        for item in self.json()["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                entry["actions"] = {
                    "upload": {"href": f"{self.endpoint}/lfs-storage/{item['oid']}", "header": {}},
                    "verify": {"href": f"{self.endpoint}/lfs-verify", "header": {}},
                }
            answer.append(entry)
        self.reply(200, {"transfer": "basic", "objects": answer})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.content).hexdigest() != oid:
            raise _Refusal(400, "the content does not have the SHA-256 it was announced with")
        self.hub.objects[oid] = self.content
        self.reply(200)

    def lfs_verify(self) -> None:
        asked = self.json()
        stored = self.hub.objects.get(asked["oid"])
        if stored is None or len(stored) != asked["size"]:
            raise _Refusal(404, "object not found")
        self.reply(200)

    def commit(self, type: str, repo: str, revision: str) -> None:
        repository = self.repository(type, repo, write=True)
        head = self.commit_of(repository, revision)
        files, message = dict(repository.commits[head]), ""
        for line in self.content.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, head):
                    raise _Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
                repository.large.add(value["path"])
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise _Refusal(400, f"the stand-in has no operation {item['key']}")
        oid = repository.add(revision, files, message)
        self.reply(200, {"commitUrl": f"{self.endpoint}/{repo}/commit/{oid}", "commitOid": oid, "success": True})

    def branch(self, type: str, repo: str, branch: str) -> None:
        repository = self.repository(type, repo, write=True)
        if branch in repository.branches:
            raise _Refusal(409, "Reference already exists")
        start = json.loads(self.content or b"{}").get("startingPoint") or "main"
        repository.branches[branch] = self.commit_of(repository, start)
        self.reply(200)

    def refs(self, type: str, repo: str) -> None:
        branches = self.repository(type, repo).branches
        found = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid} for name, oid in branches.items()]
        self.reply(200, {"branches": found, "converts": [], "tags": []})

    def settings(self, type: str, repo: str) -> None:
        repository, asked = self.repository(type, repo, write=True), self.json()
        repository.gated = asked.get("gated", repository.gated)
        self.reply(200, asked)

    def info(self, type: str, repo: str, revision: str = "main") -> None:
        repository = self.repository(type, repo)
        oid = self.commit_of(repository, revision)
        files = repository.commits[oid]
        card = _FRONT_MATTER.match(files.get("README.md", b"").decode())
        data = yaml.safe_load(card.group(1)) if card else None
        answer = {"_id": "1", "id": repo, "modelId": repo, "sha": oid, "private": repository.private}
        answer |= {"gated": repository.gated, "disabled": False, "tags": (data or {}).get("tags", [])}
        answer |= {"downloads": 0, "likes": 0}
        answer |= {"createdAt": _DATE, "lastModified": _DATE, "cardData": data, "author": repo.split("/")[0]}
        self.reply(200, {**answer, "siblings": [{"rfilename": path} for path in sorted(files)]})

    def tree(self, type: str, repo: str, revision: str, path: str = "") -> None:
        repository = self.repository(type, repo)
        files = repository.commits[self.commit_of(repository, revision)]
        below = {name for name in files if not path or name.startswith(f"{path}/")}
        if path and not below:
            raise _Refusal(404, f"{path} does not exist on {revision}", "EntryNotFound")
        folders = {str(parent) for name in below for parent in PurePosixPath(name).parents} - {"."}
        entries = [self.entry(repository, files, name) for name in sorted(below | folders)]
        depth = len(PurePosixPath(path).parts) + 1
        if self.query.get("recursive", "false").lower() not in ("true", "1"):
            entries = [entry for entry in entries if len(PurePosixPath(entry["path"]).parts) == depth]
        self.reply(200, [entry for entry in entries if entry["path"] != path and entry["path"].startswith(path)])

    def paths_info(self, type: str, repo: str, revision: str) -> None:
        repository = self.repository(type, repo)
        files = repository.commits[self.commit_of(repository, revision)]
        asked = self.json()["paths"] if self.content.startswith(b"{") else self.form("paths")
        folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
        known = [path for path in asked if path in files or path in folders]
        self.reply(200, [self.entry(repository, files, path) for path in known])

    def form(self, key: str) -> list[str]:
        return parse_qs(self.content.decode()).get(key, [])

    def entry(self, repository: Repository, files: dict[str, bytes], path: str) -> dict:
        if path not in files:
            return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}
        content = files[path]
        entry = {"type": "file", "path": path, "size": len(content), "oid": _blob_id(content)}
        if path in repository.large:
            entry["lfs"] = {"oid": _large_id(content), "size": len(content), "pointerSize": 134}
        return entry

    def resolve(self, type: str, repo: str, revision: str, path: str) -> None:
        repository = self.repository(type, repo)
        oid = self.commit_of(repository, revision)
        content = repository.commits[oid].get(path)
        headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if content is None:
            raise _Refusal(404, f"Entry not found: {path}", "EntryNotFound")
        is_large = path in repository.large
        headers["ETag"] = f'"{_large_id(content) if is_large else _blob_id(content)}"'
        if is_large:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.command == "GET":
            start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
            self.reply(206, content[start : end + 1], headers)
            return
        self.reply(200, content, headers)

    @property
    def endpoint(self) -> str:
        return f"http://{self.headers['Host']}"


def _large_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def stand_in_hub(tokens: dict[str, str]) -> Iterator[tuple[str, StandInHub]]:
    """Run a stand-in on a free port of 127.0.0.1.

    Args:
        tokens: user by access token.

    Yields:
        The endpoint, such as `http://127.0.0.1:40123`, and the state.
    """
    hub = StandInHub(tokens)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A Hugging Face hub on loopback, as much of it as its own client needs: revisions, lists of files, files behind links
into a store of blobs, ranges, wrong names, downloads that are cut, and commits with the large files uploaded first."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"
LARGE = ("*.safetensors", "*.bin")  # what lies in the store of large files


@dataclass(frozen=True)
class Blob:
    data: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """git's name of it: of a large file, of the pointer that git has in its place."""
        seen = f"pointer {self.sha256}".encode() if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(seen) + seen).hexdigest()


@dataclass
class Repo:
    private: bool = False
    refs: dict[str, str] = field(default_factory=dict)  # branch -> commit
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)

    def commit(self, revision: str, files: dict[str, bytes | Blob | None]) -> str:
        """Put files on a branch, or take those away that are None."""
        before = self.commits.get(self.refs.get(revision, ""), {})
        new = {
            name: x if isinstance(x, Blob) else Blob(x, is_large(name)) for name, x in files.items() if x is not None
        }
        inside = {name: blob for name, blob in (before | new).items() if not (name in files and files[name] is None)}
        said = json.dumps([revision, len(self.commits), sorted((n, b.sha256) for n, b in inside.items())])
        sha = hashlib.sha1(said.encode()).hexdigest()
        self.commits[sha] = inside
        self.refs[revision] = sha
        return sha

    def at(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


def is_large(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in LARGE)


class HubServer:
    """`with HubServer() as hub`: hub.url; hub.repos['USER/NAME']."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.store: dict[str, bytes] = {}  # what was uploaded, by sha256
        self.asked: list[tuple[str, str, str | None]] = []  # (method, path, Range)
        self.cut_after: list[int] = []  # bytes after which the next downloads of large files are cut
        self.leaked: list[str] = []  # files for which the store was sent a token, which is the hub's alone
        self.full = False  # whether uploads are refused
        self.lies: dict[str, bytes] = {}  # sha256 -> what is sent in its place

    def repo(self, name: str, private: bool = False) -> Repo:
        return self.repos.setdefault(name, Repo(private))

    def downloads(self) -> list[str]:
        """sha256 of the large files that were sent, in order; one that was cut counts each time."""
        return [
            path.rsplit("/", 1)[1] for method, path, _ in self.asked if method == "GET" and path.startswith("/cdn/")
        ]

    def __enter__(self) -> HubServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cdn = f"http://localhost:{self._server.server_port}"  # another host to the client: no token may go there
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def _route(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((method, path, self.headers.get("Range")))
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, (methods, act) in _ROUTES.items():
            if method in methods.split() and (found := re.fullmatch(pattern, path)):
                return act(self, *found.groups())
        self._fail(404, "NotFound", f"no such address {method} {path}")

    # Answers.

    def _send(self, status: int, body: bytes = b"", **headers: object) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": len(body)} | headers).items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json")

    def _fail(self, status: int, code: str, message: str, **headers: str) -> None:
        self._send(status, b"", X_Error_Code=code, X_Error_Message=message, **headers)

    def _user(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._user()):
            self._fail(404 if self._user() else 401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def _commit(self, name: str, revision: str) -> tuple[str, dict[str, Blob]] | None:
        repo = self._repo(name)
        if repo is None:
            return None
        sha = repo.at(revision)
        if sha is None:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return sha, repo.commits[sha]

    # What the client reads.

    def refs(self, name: str) -> None:
        if repo := self._repo(name):
            listed = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in repo.refs.items()]
            self._json({"branches": listed, "converts": [], "tags": []})

    def info(self, name: str, revision: str | None = None) -> None:
        if found := self._commit(name, revision or "main"):
            self._json(
                {"id": name, "sha": found[0], "private": self.hub.repos[name].private, "tags": [], "downloads": 0}
                | {"siblings": [{"rfilename": path} for path in found[1]]}
            )

    def tree(self, name: str, revision: str) -> None:
        if found := self._commit(name, revision):
            self._json([_listed(path, blob) for path, blob in found[1].items()])

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self._commit(name, revision)
        if found is None:
            return
        sha, inside = found
        if path not in inside:
            return self._fail(404, "EntryNotFound", "Entry not found", X_Repo_Commit=sha)
        blob = inside[path]
        if not blob.large:
            return self._send(200, blob.data, X_Repo_Commit=sha, ETag=f'"{blob.oid}"')
        link = {"X_Linked_Size": len(blob.data), "X_Linked_ETag": f'"{blob.sha256}"'}
        self.hub.store[blob.sha256] = blob.data
        self._send(302, X_Repo_Commit=sha, Location=f"{self.hub.cdn}/cdn/{blob.sha256}", **link)

    def cdn(self, sha256: str) -> None:
        if "Authorization" in self.headers:
            self.hub.leaked.append(self.path)
        data = self.hub.lies.get(sha256) or self.hub.store[sha256]
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-")[1])
        status = 206 if "Range" in self.headers else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{sha256}"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        cut = self.hub.cut_after.pop(0) if self.hub.cut_after and self.command == "GET" else None
        if self.command == "GET":
            self.wfile.write(data[start:] if cut is None else data[start : start + cut])

    # What the client writes.

    def create(self) -> None:
        if not self._user():
            return self._fail(401, "", "Invalid username or password.")
        asked = json.loads(self._body)
        name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
        there = name in self.hub.repos
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repo(name, private).refs.get("main") or self.hub.repos[name].commit("main", {".gitattributes": b""})
        self._json({"url": f"{self.hub.url}/{name}"}, 409 if there else 200)

    def yaml(self) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if found := self._commit(name, revision):
            files = [
                {"path": x["path"], "uploadMode": "lfs" if is_large(x["path"]) else "regular", "shouldIgnore": False}
                | ({"oid": found[1][x["path"]].oid} if x["path"] in found[1] else {})
                for x in json.loads(self._body)["files"]
            ]
            self._json({"files": files})

    def batch(self, name: str) -> None:
        if self._repo(name):
            self._json({"transfer": "basic", "objects": [self._object(x) for x in json.loads(self._body)["objects"]]})

    def _object(self, asked: dict) -> dict:
        there = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.hub.store:
            return there
        return there | {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}", "header": {}}}}

    def upload(self, sha256: str) -> None:
        if self.hub.full:
            return self._fail(413, "", "no space left for this user")
        if hashlib.sha256(self._body).hexdigest() != sha256:
            return self._fail(400, "", "the bytes are not those of this sha256")
        self.hub.store[sha256] = self._body
        self._send(200)

    def commit(self, name: str, revision: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if not self._user():
            return self._fail(403, "", "you may not write here")
        sha = repo.commit(revision, dict(self._changes(map(json.loads, self._body.splitlines()))))
        self._json(
            {"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "hookOutput": "", "success": 1}
        )

    def _changes(self, lines: Iterable[dict]) -> Iterable[tuple[str, Blob | None]]:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                yield value["path"], Blob(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                yield value["path"], Blob(self.hub.store[value["oid"]], True)
            elif line["key"] == "deletedFile":
                yield value["path"], None


def _listed(path: str, blob: Blob) -> dict:
    large = {"lfs": {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}} if blob.large else {}
    return {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid} | large


_NAME, _REVISION = "([^/]+/[^/]+)", "([^/]+)"
_ROUTES = {
    f"/api/models/{_NAME}/refs": ("GET", _Handler.refs),
    f"/api/models/{_NAME}/tree/{_REVISION}": ("GET", _Handler.tree),
    f"/api/models/{_NAME}/revision/{_REVISION}": ("GET", _Handler.info),
    f"/api/models/{_NAME}": ("GET", _Handler.info),
    f"/{_NAME}/resolve/{_REVISION}/(.+)": ("GET HEAD", _Handler.resolve),
    "/cdn/([0-9a-f]{64})": ("GET HEAD", _Handler.cdn),
    "/api/repos/create": ("POST", _Handler.create),
    "/api/validate-yaml": ("POST", _Handler.yaml),
    f"/api/models/{_NAME}/preupload/{_REVISION}": ("POST", _Handler.preupload),
    f"/{_NAME}\\.git/info/lfs/objects/batch": ("POST", _Handler.batch),
    "/lfs/([0-9a-f]{64})": ("PUT", _Handler.upload),
    f"/api/models/{_NAME}/commit/{_REVISION}": ("POST", _Handler.commit),
}

"""A small local Hub server in memory, with the calls that huggingface_hub makes to push and to download.

It checks tokens, the hashes of large files, the parent of a commit and the files that a commit refers to. It fails on
demand: `hub.faults.append(Fault("PUT /lfs/", 403))`.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

from . import hub_xet

TOKEN = "hf_AToken0fNobodyAtAll"
USER_INFO = "joe:pa55word"  # of a user who needs no token
SIGNATURE = "X-Signature=5ecret"  # upload addresses for large files need no token
LARGE = (".bin", ".safetensors", ".png")
PART = 100_000  # bytes; larger files are uploaded in parts of this size
MODEL = r"/api/models/(?P<repo>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"


@dataclass
class Fault:
    """An error that the server injects into requests.

    Args:
        status: HTTP status of the response; 0 resets the connection, -1 closes it after the request was executed.
    """

    where: str
    status: int
    times: int = 1
    after: int = 0
    said: str = "told to fail"


@dataclass(frozen=True)
class File:
    data: bytes
    large: bool

    @property
    def sha256(self):
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self):
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
            self.sha256.encode(), len(self.data))

    @property
    def git(self):
        data = self.pointer if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def oid(self):
        return self.sha256 if self.large else self.git

    @property
    def listed(self):
        lfs = {"sha256": self.sha256, "oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return {"size": len(self.data), **({"lfs": lfs} if self.large else {})}


@dataclass
class Repo:
    private: bool
    branches: dict = field(default_factory=dict)
    commits: dict = field(default_factory=dict)  # (message, files) by commit hash, in order of time

    def commit(self, branch, message, files):
        sha = hashlib.sha1(repr((len(self.commits), branch, message)).encode()).hexdigest()
        self.commits[sha] = (message, files)
        self.branches[branch] = sha
        return sha

    def files(self, revision="main"):
        return self.commits[self.branches.get(revision, revision)][1]

    @property
    def messages(self):
        return [message for message, _ in self.commits.values()]


class Refused(Exception):
    """An error response."""

    def __init__(self, status, message, code=None):
        super().__init__(message)
        self.status, self.code = status, code


class Hub(ThreadingHTTPServer):
    """The server, which runs inside its context. Functions in `meanwhile` are called once before a request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.errors, self.lock, self.writable, self.xorbs = [], threading.RLock(), "org", {}
        self.forget()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        assert not self.errors, self.errors

    def shutdown_request(self, request):
        self.close_request(request)  # abruptly: an orderly shutdown would hide that the connection is reset

    def forget(self):
        """Forget pushes, requests and faults, but not chunks: clients remember which ones they have uploaded."""
        self.repos, self.large, self.parts = {}, {}, {}
        self.faults, self.requests, self.meanwhile = [], [], {}

    def fault(self, request):
        with self.lock:
            for begin in [begin for begin in self.meanwhile if request.startswith(begin)]:
                self.meanwhile.pop(begin)()
            fault = next((each for each in self.faults if request.startswith(each.where) and each.times > 0), None)
            if fault:
                fault.times -= 1
            return fault

    def count(self, begin):
        return sum(request.startswith(begin) for request in self.requests)

    def create(self, name, private=False):
        self.repos[name] = Repo(private)
        self.repos[name].commit("main", "initial commit", {".gitattributes": File(b"*.bin filter=lfs\n", False)})
        return self.repos[name]

    def edit(self, name, revision="main", **files):
        """Edit a file as on the website of the Hub; None deletes the file."""
        repo = self.repos[name]
        there = {**repo.files(revision), **{file: data and File(data, file.endswith(LARGE))
                                            for file, data in files.items()}}
        repo.commit(revision, "by hand", {file: data for file, data in there.items() if data})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # send the response immediately
    disable_nagle_algorithm = True
    mute = False

    def log_message(self, *_):
        pass

    def do_POST(self):
        request = f"{self.command} {self.path}"
        self.server.requests.append(request)
        fault = self.server.fault(request)
        size = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(size if fault is None or fault.status else min(size, fault.after))
        try:
            if fault:
                if fault.status > 0:
                    raise Refused(fault.status, fault.said)
                self.close_connection = True
                self.mute = True
                if not fault.status:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if not fault or fault.status < 0:
                with self.server.lock:
                    self.route()
        except Refused as exc:
            headers = {"X-Error-Message": str(exc), **({"X-Error-Code": exc.code} if exc.code else {})}
            self.answer({"error": str(exc)}, exc.status, headers)
        except Exception:  # an error of this server, which the test has to see without a timeout of the client
            self.server.errors.append(traceback.format_exc())
            self.answer({"error": "this server is wrong"}, 400)

    do_GET = do_HEAD = do_PUT = do_POST

    def route(self):
        url = urlsplit(self.path)
        for method, pattern, handler in ROUTES:
            found = re.fullmatch(pattern, url.path)
            if found and self.command in method:
                self.check_access(url)
                return handler(self, **{name: unquote(value) for name, value in found.groupdict().items() if value})
        raise Refused(404, f"this Hub has no {self.command} {self.path}")

    def check_access(self, url):
        given = self.headers.get("Authorization")
        if url.path.startswith("/lfs/"):
            if SIGNATURE not in url.query or given:
                raise Refused(403, "the store of large files wants the signature, and no token")
        elif given not in (f"Bearer {hub_xet.ACCESS if url.path.startswith('/xet/') else TOKEN}",
                           f"Basic {base64.b64encode(USER_INFO.encode()).decode()}"):
            raise Refused(401, f"Invalid {'credentials in Authorization header' if given else 'username or password'}")

    def answer(self, value, status=200, headers=None):
        if self.mute:
            return
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": len(data), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, str(text))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):
                self.wfile.write(data)

    def repo(self, name):
        if name not in self.server.repos:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return self.server.repos[name]

    def at(self, name, revision):
        """Return a repository, and the commit of a revision."""
        repo = self.repo(name)
        sha = repo.branches.get(revision, revision)
        if sha not in repo.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo, sha

    def create(self):
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != self.server.writable:
            raise Refused(403, "You don't have the rights to create a model under this namespace")
        if name in self.server.repos:
            return self.answer({"error": "You already created it", "url": f"{self.server.url}/{name}"}, 409)
        self.server.create(name, asked.get("private") or asked.get("visibility") == "private")
        return self.answer({"url": f"{self.server.url}/{name}"})

    def validate(self):
        front = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        try:
            yaml.safe_load(front[1] if front else "")
            self.answer({"errors": [], "warnings": []})
        except yaml.YAMLError as exc:
            self.answer({"errors": [{"message": str(exc)}], "warnings": []}, 400)

    def info(self, repo, revision="main"):
        found, sha = self.at(repo, revision)
        siblings = [{**file.listed, "rfilename": name, "blobId": file.git}
                    for name, file in found.files(sha).items()]
        self.answer({"id": repo, "modelId": repo, "sha": sha, "private": found.private, "tags": [],
                     "siblings": siblings})

    def tree(self, repo, revision):
        found, sha = self.at(repo, revision)
        self.answer([{**file.listed, "type": "file", "path": name, "oid": file.git}
                     for name, file in found.files(sha).items()])

    def branch(self, repo, revision):
        found = self.repo(repo)
        if revision in found.branches:
            raise Refused(409, "Reference already exists")
        found.branches[revision] = self.at(repo, json.loads(self.body).get("startingPoint", "main"))[1]
        self.answer({}, 201)

    def preupload(self, repo, revision):
        found, sha = self.at(repo, revision)
        there = found.files(sha)
        ignored = there[".gitignore"].data.decode().split() if ".gitignore" in there else []
        self.answer({"files": [{"path": file["path"], "shouldIgnore": file["path"] in ignored,
                                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                                "oid": there[file["path"]].oid if file["path"] in there else None}
                               for file in json.loads(self.body)["files"]]})

    def batch(self, repo):
        self.repo(repo)
        asked = json.loads(self.body)
        self.answer({"transfer": "xet" if "xet" in asked["transfers"] else "basic",
                     "objects": [self.action(**each) for each in asked["objects"]]})

    def action(self, oid, size):
        if oid in self.server.large:
            return {"oid": oid, "size": size}
        url, parts = f"{self.server.url}/lfs/{oid}", range(1, 1 + -(-size // PART))
        header = {"chunk_size": str(PART), **{str(number): f"{url}/{number}?{SIGNATURE}" for number in parts}}
        upload = {"href": f"{url}?{SIGNATURE}", **({"header": header} if len(parts) > 1 else {})}
        return {"oid": oid, "size": size, "actions": {
            "upload": upload, "verify": {"href": f"{self.server.url}/api/verify"}}}

    def put(self, oid, part=None):
        if part:
            self.server.parts[oid, int(part)] = self.body
            return self.answer({}, headers={"ETag": hashlib.md5(self.body).hexdigest()})
        data = self.body
        if self.command == "POST":  # completes an upload in parts
            data = b"".join(self.server.parts[oid, each["partNumber"]] for each in json.loads(self.body)["parts"])
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(400, "these are other bytes")
        self.server.large[oid] = data
        return self.answer({})

    def xet_token(self, repo, revision):
        self.at(repo, revision)
        url, end = f"{self.server.url}/xet", int(time.time()) + 3600
        self.answer({"accessToken": hub_xet.ACCESS, "exp": end, "casUrl": url}, headers={
            "X-Xet-Access-Token": hub_xet.ACCESS, "X-Xet-Token-Expiration": end, "X-Xet-Cas-Url": url})

    def xorb(self, name):
        self.server.xorbs[name] = self.body
        self.answer({"was_inserted": True})

    def shard(self):
        self.server.large.update(hub_xet.files(self.body, self.server.xorbs))
        self.answer({"result": 1})

    def verify(self):
        asked = json.loads(self.body)
        if len(self.server.large.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "no such object")
        self.answer({})

    def commit(self, repo, revision):
        found, sha = self.at(repo, revision)
        if revision not in found.branches:
            raise Refused(400, "this is no branch")
        header, *changes = [(each["key"], each["value"]) for each in map(json.loads, self.body.splitlines())]
        if header[1].get("parentCommit", sha) != sha:
            raise Refused(412, "A commit has happened since")
        files = dict(found.files(sha))
        for kind, change in changes:
            if kind == "file":
                files[change["path"]] = File(base64.b64decode(change["content"]), False)
            elif kind == "lfsFile" and change["oid"] in self.server.large:
                files[change["path"]] = File(self.server.large[change["oid"]], True)
            elif kind == "deletedFile" and change["path"] in files:
                del files[change["path"]]
            else:
                raise Refused(400, f"{kind} {change['path']} cannot be committed")
        sha = found.commit(revision, header[1]["summary"], files)
        self.answer({"commitUrl": f"{self.server.url}/{repo}/commit/{sha}", "commitOid": sha})

    def resolve(self, repo, revision, name):
        found, sha = self.at(repo, revision)
        if name not in found.files(sha):
            raise Refused(404, "Entry not found", "EntryNotFound")
        file = found.files(sha)[name]
        self.answer(file.data, headers={"ETag": f'"{file.oid}"', "X-Repo-Commit": sha, "Content-Type": "text/plain"})


ROUTES = [
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("GET", MODEL, Handler.info),
    ("GET", f"{MODEL}/revision/{REVISION}", Handler.info),
    ("GET", f"{MODEL}/tree/{REVISION}", Handler.tree),
    ("POST", f"{MODEL}/branch/{REVISION}", Handler.branch),
    ("POST", f"{MODEL}/preupload/{REVISION}", Handler.preupload),
    ("POST", f"{MODEL}/commit/{REVISION}", Handler.commit),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", Handler.batch),
    (("PUT", "POST"), r"/lfs/(?P<oid>\w{64})(?:/(?P<part>\d+))?", Handler.put),
    ("POST", "/api/verify", Handler.verify),
    ("GET", f"{MODEL}/xet-write-token/{REVISION}", Handler.xet_token),
    ("POST", r"/xet/v1/xorbs/default/(?P<name>\w+)", Handler.xorb),
    ("POST", "/xet/v1/shards", Handler.shard),
    (("GET", "HEAD"), rf"/(?P<repo>[^/]+/[^/]+)/resolve/{REVISION}/(?P<name>.+)", Handler.resolve),
]

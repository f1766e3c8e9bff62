"""A small hub on the loopback: what huggingface_hub asks of the real one, for repositories that are
folders."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`repositories` and `datasets`: id to folder. Every repository has one commit, on the branch
    main. Files of datasets but the README are large ones, of which the hub tells the sha256.

    `cut`: after so many bytes a file's connection ends, as often as `cuts` says. With a folder
    `writable` repositories of models may be made and written there, by who has the `token`; files
    of more than `large` bytes go the way of Git LFS.
    """

    def __init__(
        self,
        repositories: dict[str, Path],
        datasets: dict[str, Path] | None = None,
        *,
        writable: Path | None = None,
        token: str = "",
        large: int = 1000,
    ) -> None:
        self.repositories = repositories
        self.writable, self.token, self.large = writable, token, large
        self.lost = False  # whether large files are refused
        self.commits: list[dict[str, str]] = []
        self.kept: dict[str, bytes] = {}  # what came the way of LFS, by sha256
        self.asked: list[str] = []
        self.datasets = datasets or {}
        self.cut, self.cuts = 0, 0
        self.sha256 = _sha256
        self.away = " "  # what stands in addresses that are answered 503
        self.met: Callable[[str], None] = lambda line: None  # told of everything that is asked
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.asked.append(f"{self.command} {path}")
                hub.met(hub.asked[-1])
                if hub.away in path:
                    return self._answer(503, b"", {})
                kind, named = "models", repositories
                if path.startswith(("/api/datasets/", "/datasets/")):
                    kind, named = "datasets", datasets or {}
                api = re.fullmatch(rf"/api/{kind}/([^/]+/[^/]+)/(revision|tree)/(.+)", path)
                file = re.fullmatch(
                    r"(?:/datasets)?/([^/]+/[^/]+)/resolve/(refs/[^/]+/[^/]+|[^/]+)/(.+)", path
                )
                found = api or file
                folder = named.get(found.group(1)) if found else None
                if folder is None:
                    return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                assert found is not None
                revision = found.group(3) if api else found.group(2)
                if revision not in ("main", COMMIT):
                    return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                files = sorted(one for one in folder.rglob("*") if one.is_file())
                if api and api.group(2) == "tree":
                    tree = [
                        {"type": "file", "path": str(one.relative_to(folder)),
                         "size": one.stat().st_size, "oid": _etag(one)}
                        for one in files
                    ]  # fmt: skip
                    return self._answer(200, json.dumps(tree).encode(), {})
                if api:
                    siblings = [
                        {"rfilename": str(one.relative_to(folder)), "size": one.stat().st_size}
                        | ({"lfs": _large(one, hub.sha256(one))} if _is_large(kind, one) else {})
                        for one in files
                    ]
                    said = {"id": found.group(1), "sha": COMMIT, "siblings": siblings,
                            "private": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
                    return self._answer(200, json.dumps(said).encode(), {})
                path_ = folder / found.group(3)
                if not path_.is_file():
                    return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                headers = {"ETag": f'"{_etag(path_)}"', "X-Repo-Commit": COMMIT}
                content = path_.read_bytes()
                if begun := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                    begin, whole = int(begun.group(1)), len(content)
                    hub.asked[-1] += f" from {begin}"
                    headers["Content-Range"] = f"bytes {begin}-{whole - 1}/{whole}"
                    return self._answer(206, content[begin:], headers)
                return self._answer(200, content, headers)

            def do_POST(self) -> None:
                path = unquote(urlsplit(self.path).path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hub.asked.append(f"POST {path}")
                hub.met(hub.asked[-1])
                if hub.away in path:
                    return self._answer(503, b"", {})
                if self.headers.get("Authorization") != f"Bearer {hub.token}":
                    return self._answer(401, b'{"error": "Invalid token."}', {})
                status, said = hub.written(path, body)
                return self._answer(status, json.dumps(said).encode(), {})

            def do_PUT(self) -> None:
                path = unquote(urlsplit(self.path).path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hub.asked.append(f"PUT {path}")
                if self.headers.get("Authorization"):  # where large files go is another's place
                    return self._answer(400, b"", {})
                if hub.lost:
                    return self._answer(400, b"", {})
                hub.kept[path.rsplit("/", 1)[-1]] = body
                return self._answer(200, b"", {})

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                if hub.cuts and len(body) > hub.cut > 0 and status in (200, 206) and headers:
                    hub.cuts -= 1
                    self.close_connection = True
                    body = body[: hub.cut]
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def written(self, path: str, body: bytes) -> tuple[int, dict[str, object]]:
        """What a POST is answered: the calls of huggingface_hub's `create_repo`, `create_branch`
        and `create_commit`."""
        assert self.writable is not None
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] != "acme":
                return 403, {"error": f"You may not write to {asked['organization']}."}
            if name in self.repositories:
                return 409, {"error": "It is there already.", "url": f"{self.address}/{name}"}
            self.repositories[name] = self.writable / name
            self.repositories[name].mkdir(parents=True)
            self.commits.append({"made": name, "visibility": str(asked.get("visibility"))})
            return 200, {"url": f"{self.address}/{name}"}
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/(.+)", path)
        folder = self.repositories.get(found.group(1)) if found else None
        if found is None or folder is None:
            return 404, {"error": "Repository not found"}
        if found.group(2) == "branch":
            return 200, {}
        if found.group(2) == "preupload":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if self._goes_apart(one) else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        commit = {"branch": found.group(3)}
        for line in body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "header":
                commit["message"] = value["summary"]
                continue
            target = folder / value["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            if said["key"] == "lfsFile":
                if value["oid"] not in self.kept:
                    return 400, {"error": "An object is missing."}
                target.write_bytes(self.kept[value["oid"]])
            else:
                target.write_bytes(base64.b64decode(value["content"]))
        self.commits.append(commit)
        url = f"{self.address}/{found.group(1)}/commit/{COMMIT}"
        return 200, {"commitUrl": url, "commitOid": COMMIT, "success": True}

    def _goes_apart(self, file: dict[str, Any]) -> bool:
        return bool(file["size"] > self.large) and not file["path"].endswith(".md")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_large(kind: str, path: Path) -> bool:
    return kind == "datasets" and path.name != "README.md"


def _large(path: Path, sha256: str) -> dict[str, object]:
    return {"sha256": sha256, "size": path.stat().st_size, "pointerSize": 130}

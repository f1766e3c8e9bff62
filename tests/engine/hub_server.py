"""A small hub on the loopback: what huggingface_hub asks of the real one, for repositories that are
folders."""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`repositories` and `datasets`: id to folder. Every repository has one commit, on the branch
    main. Files of datasets but the README are large ones, of which the hub tells the sha256.

    `cut`: after so many bytes a file's connection ends, as often as `cuts` says.
    """

    def __init__(
        self, repositories: dict[str, Path], datasets: dict[str, Path] | None = None
    ) -> None:
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

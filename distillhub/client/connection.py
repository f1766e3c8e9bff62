"""One place that is asked, with one token: JSON, files both ways, and asking again."""

import base64
import hashlib
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

JSON = Any
#: Bytes moved so far, and of how many (None: nobody says).
Progress = Callable[[int, int | None], None]

PIECE = 8 << 20  # bytes of an upload that are sent at once
CHUNK = 1 << 16
TRIES = 6
LONGEST_WAIT = 30.0  # seconds between two tries
#: What may be better in a moment; a POST is made once however often it is sent (Idempotency-Key).
PASSING = frozenset({408, 429, 502, 503, 504})
TUS = "1.0.0"


class Refused(Exception):
    """The hub answered, and does not do it: `status`, `code`, `detail`, and `fields` with what is
    wrong at each."""

    def __init__(self, status: int, code: str, detail: str, fields: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.fields = status, code, detail, dict(fields)

    def __str__(self) -> str:
        lines = [
            f"{name}: {' '.join(map(str, said)) if isinstance(said, list) else said}"
            for name, said in self.fields.items()
        ]
        # Of one fault the sentence is that fault, as a rule, and is not said twice.
        if len(lines) == 1 and self.detail in (lines[0], lines[0].partition(": ")[2]):
            return lines[0]
        return "\n  ".join([self.detail, *lines])


class Unreachable(Exception):
    """Nobody answered, however often it was asked."""


class Connection:
    def __init__(self, address: str, token: str, *, seconds: float = 60.0) -> None:
        """`address` of the hub, as a browser opens it. Raises ValueError for one without http."""
        address = address.rstrip("/").removesuffix("/api/v1")
        if urllib.parse.urlsplit(address).scheme not in {"http", "https"}:
            raise ValueError(f"{address!r} is no address: it begins with http:// or https://.")
        self.address, self.seconds = address, seconds
        self.root = f"{address}/api/v1/"
        self._token = token
        self._opener = urllib.request.build_opener(_Stay)

    def get(self, path: str, **query: Any) -> JSON:
        return self._json("GET", self._url(path, query))

    def post(self, path: str, body: JSON = None) -> JSON:
        return self._json("POST", self._url(path), body if body is not None else {})

    def put(self, path: str, body: JSON) -> JSON:
        return self._json("PUT", self._url(path), body)

    def patch(self, path: str, body: JSON) -> JSON:
        return self._json("PATCH", self._url(path), body)

    def delete(self, path: str) -> JSON:
        return self._json("DELETE", self._url(path))

    def pages(self, path: str, **query: Any) -> Iterator[JSON]:
        """Every row of a list, page after page."""
        url: str | None = self._url(path, query)
        while url:
            answer = self._json("GET", url)
            yield from answer["results"]
            url = answer["next"]

    def upload(self, file: Path, *, moved: Progress | None = None) -> str:
        """Send a file by tus 1.0, going on where it was cut off; the id of the upload.

        The whole is verified by its sha256 at the other end.
        """
        size = file.stat().st_size
        told = {"filename": file.name, "sha256": _sha256(file)}
        metadata = ",".join(
            f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items()
        )
        headers = {"Tus-Resumable": TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
        with self._open("POST", self.root + "uploads/", b"", headers) as answer:
            place = urllib.parse.urljoin(self.root, answer.headers["Location"])
        identity: str = place.rstrip("/").rsplit("/", 1)[-1]
        place = f"{self.root}uploads/{identity}/"
        sent, failures = 0, 0
        with file.open("rb") as content:
            while sent < size:
                content.seek(sent)
                try:
                    sent = self._piece(place, sent, content.read(PIECE))
                    failures = 0
                except Unreachable:
                    failures += 1
                    if failures >= TRIES:
                        raise
                    _rest(failures)
                    sent = self._arrived(place)
                if moved is not None:
                    moved(sent, size)
        return identity

    def download(self, path: str, target: Path, *, moved: Progress | None = None) -> Path:
        """Write the answer to `target`, which appears only when it is whole."""
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with self._open("GET", self._url(path)) as answer, part.open("wb") as out:
                size = answer.headers.get("Content-Length")
                whole = int(size) if size else None
                done = 0
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    done += len(chunk)
                    if moved is not None:
                        moved(done, whole)
            if whole is not None and done != whole:
                raise Unreachable(f"The connection ended after {done} of {whole} bytes.")
            part.replace(target)
        except OSError as error:
            raise Unreachable(f"The download broke off: {error}") from None
        finally:
            part.unlink(missing_ok=True)
        return target

    # ---------------------------------------------------------------------------------------------

    def _piece(self, place: str, offset: int, piece: bytes) -> int:
        headers = {
            "Tus-Resumable": TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        # Sent once: what arrived of a piece that broke off is asked for, not guessed.
        with self._open("PATCH", place, piece, headers, tries=1) as answer:
            return int(answer.headers["Upload-Offset"])

    def _arrived(self, place: str) -> int:
        with self._open("HEAD", place, None, {"Tus-Resumable": TUS}) as answer:
            return int(answer.headers["Upload-Offset"])

    def _url(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        asked = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        ending = f"?{urllib.parse.urlencode(asked)}" if asked else ""
        return self.root + urllib.parse.quote(path.lstrip("/"), safe="/") + ending

    def _json(self, method: str, url: str, body: JSON = None) -> JSON:
        content, headers = None, {}
        if body is not None:
            content = json.dumps(body, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        with self._open(method, url, content, headers) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def _open(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        tries: int = TRIES,
    ) -> Any:
        """The answer, open. Raises Refused and Unreachable."""
        if not url.startswith(self.root):  # an answer that points elsewhere gets no token of ours
            raise Unreachable(f"{url} is not at {self.address}.")
        told = {"Authorization": f"Bearer {self._token}", "Accept": "application/json, */*"}
        for attempt in range(1, tries + 1):
            request = urllib.request.Request(  # noqa: S310 (http or https: __init__)
                url, data=content, method=method, headers=told | dict(headers or {})
            )
            try:
                return self._opener.open(request, timeout=self.seconds)
            except urllib.error.HTTPError as error:
                if error.code not in PASSING or attempt == tries:
                    _refuse(error)
                _rest(attempt, error.headers.get("Retry-After"))
            except OSError as error:
                if attempt == tries:
                    reason = getattr(error, "reason", error)
                    raise Unreachable(f"{self.address} does not answer: {reason}") from None
                _rest(attempt)
        raise AssertionError("unreachable")


class _Stay(urllib.request.HTTPRedirectHandler):
    """No redirect is followed: a token goes where it was sent, and nowhere else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _refuse(error: urllib.error.HTTPError) -> NoReturn:
    try:
        said = json.loads(error.read())
        detail, code, fields = said["detail"], said["code"], said.get("fields") or {}
    except (ValueError, KeyError, TypeError, OSError):
        detail, code, fields = f"It answered {error.code} {error.reason}.", "error", {}
    finally:
        error.close()
    raise Refused(error.code, code, detail, fields) from None


def _rest(attempt: int, asked: str | None = None) -> None:
    """Longer after each failure, by chance, so that many do not come back at once."""
    wait = min(LONGEST_WAIT, 0.25 * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
    if asked and asked.isdigit():
        wait = min(LONGEST_WAIT, float(asked))
    time.sleep(wait)


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()

"""A service on loopback that speaks as OpenAI's and Bedrock's do, and fails as they do.

It keeps an account: `charges` has what was charged for each request that it answered whole, so that
a test can say that nothing was paid for twice. A request with an `Idempotency-Key` that it has
answered before is answered again for nothing.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]

#: What may become of a request instead of an answer.
FAULTS = (
    "429", "429 later", "500", "503", "cut", "no json", "broken", "empty", "refused", "filtered",
    "quota", "slow", "huge", "redirect", "401", "404", "compressed", "unfinished", "200 error",
)  # fmt: skip


def shouts(body: Body) -> str:
    """The last words of the prompt in capitals."""
    return prompt_of(body).split("\n")[0].upper()


def prompt_of(body: Body) -> str:
    if "prompt" in body:
        return str(body["prompt"])
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


@dataclass
class Service:
    """What it says, when it fails, and what it saw."""

    answer: Callable[[Body], str | dict[str, Any]] = shouts
    #: The fault of the n-th request (from 0), or None.
    fault: Callable[[int, Body], str | None] = lambda number, body: None
    refuses: frozenset[str] = frozenset()  # fields of a body that it does not take
    key: str = ""  # that it wants to see
    tell_usage: bool = True
    remembers: bool = True  # charges once for each Idempotency-Key
    seconds: float = 0.0  # that an answer takes
    seen: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    charges: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    url: str = ""
    _at_once: int = 0
    _done: dict[str, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def at_once(self) -> int:
        return self._at_once

    def enter(self, body: Body, headers: dict[str, str]) -> int:
        with self._lock:
            self.seen.append(body)
            self.headers.append(headers)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return len(self.seen) - 1

    def leave(self) -> None:
        with self._lock:
            self._at_once -= 1

    def charged(self, body: Body, name: str, answer: bytes) -> bytes:
        with self._lock:
            if name in self._done:
                return self._done[name]
            if name and self.remembers:
                self._done[name] = answer
            self.charges[json.dumps(body, sort_keys=True)] += 1
            return answer


@contextmanager
def serving(service: Service | None = None) -> Iterator[Service]:
    service = service or Service()

    class Handler(_Handler):
        pass

    Handler.service = service
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Tests are quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        service = self.service
        number = service.enter(body, {name.lower(): value for name, value in self.headers.items()})
        try:
            if service.key and service.key not in str(self.headers.get("authorization")):
                said = self.headers.get("authorization")
                self._error(401, f"Incorrect API key provided: {said}", "invalid_api_key")
                return
            if wrong := sorted(service.refuses & set(body)):
                self._error(400, f"Unsupported parameter: {wrong[0]}", "unsupported_parameter")
                return
            time.sleep(service.seconds)
            fault = service.fault(number, body)
            if fault is None:
                self._answer(body)
            else:
                self._fail(fault, body)
        finally:
            service.leave()

    def _answer(self, body: Body) -> None:
        answer = json.dumps(self._said(body)).encode()
        name = self.headers.get("idempotency-key", "")
        self._send(200, self.service.charged(body, name, answer))

    def _said(self, body: Body, **message: Any) -> dict[str, Any]:
        said = self.service.answer(body)
        choice: dict[str, Any] = said if isinstance(said, dict) else {"text": said}
        text = choice["text"]
        counts = (len(json.dumps(body)) // 4, len(text) // 4 + 1)
        if self.path.endswith("/converse"):
            return {
                "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
                "stopReason": choice.get("finish_reason", "end_turn"),
                "usage": {
                    "inputTokens": counts[0],
                    "outputTokens": counts[1],
                    "totalTokens": sum(counts),
                },
                "metrics": {"latencyMs": 1},
            }
        usage = {
            "prompt_tokens": counts[0],
            "completion_tokens": counts[1],
            "total_tokens": sum(counts),
        }
        if self.path.endswith("/chat/completions"):
            one = {
                "index": 0,
                "message": {"role": "assistant", "content": text} | message,
                "finish_reason": choice.get("finish_reason", "stop"),
                "logprobs": choice.get("logprobs"),
            }
        else:
            one = {"index": 0, "finish_reason": "stop", "logprobs": None} | choice
        whole = {
            "id": "1",
            "object": "x",
            "created": 1,
            "model": body.get("model"),
            "choices": [one],
        }
        return whole | ({"usage": usage} if self.service.tell_usage else {})

    def _fail(self, fault: str, body: Body) -> None:
        if fault == "429":
            self._error(429, "Rate limit reached", "rate_limit_exceeded")
        elif fault == "429 later":
            self._error(429, "Slow down", "rate_limit_exceeded", {"Retry-After": "1"})
        elif fault == "quota":
            self._error(429, "You exceeded your current quota", "insufficient_quota")
        elif fault in {"500", "503", "401", "404"}:
            self._error(int(fault), "Something is wrong here", "server_error")
        elif fault == "filtered":
            self._error(400, "The prompt was filtered", "content_filter")
        elif fault == "redirect":
            self._send(307, b"", {"Location": f"{self.service.url}/elsewhere"})
        elif fault == "200 error":  # as some gateways say it
            busy = {"error": {"code": 429, "message": "Upstream is busy"}}
            self._send(200, json.dumps(busy).encode())
        elif fault in {"cut", "no json"}:
            whole = json.dumps(self._said(body)).encode()
            name = self.headers.get("idempotency-key", "")
            whole = self.service.charged(body, name, whole)
            self._send(200, whole[: len(whole) // 2] if fault == "cut" else b"<html>busy</html>")
        elif fault == "broken":  # in the middle of its body
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif fault == "slow":  # a byte now and then, so that no time-out of a socket ends it
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(200):
                try:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                except OSError:
                    break
                time.sleep(0.05)
            self.close_connection = True
        elif fault == "huge":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for _ in range(64):
                    self.wfile.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
            except OSError:
                pass
            self.close_connection = True
        elif fault == "compressed":
            self._send(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})
        else:
            outcomes: dict[str, dict[str, Any]] = {
                "empty": {"content": ""},
                "refused": {"content": None, "refusal": "I will not say that."},
                "unfinished": {"content": ""},
            }
            said = self._said(body, **outcomes[fault])
            if fault == "unfinished":
                said["choices"][0]["finish_reason"] = "length"
            answer = json.dumps(said).encode()
            self._send(200, self.service.charged(body, "", answer))

    def _error(
        self, status: int, message: str, code: str, headers: dict[str, str] | None = None
    ) -> None:
        error: dict[str, Any] = {"message": message, "type": code, "code": code, "param": None}
        if not self.path.endswith("/converse"):
            error = {"error": error}
        self._send(status, json.dumps(error).encode(), headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

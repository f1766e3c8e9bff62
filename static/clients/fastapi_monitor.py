"""Middleware for FastAPI, Starlette and every other ASGI application: tell a monitor what was
answered, after it was answered.

    from distillhub_monitor import Monitor
    from fastapi_monitor import MonitorMiddleware

    app.add_middleware(MonitorMiddleware, monitor=Monitor(ADDRESS, TOKEN), paths=["/predict"])

    @app.post("/predict")
    def predict(body: Question, request: Request):
        label, probabilities = model(body.text)
        request.state.inference = {
            "input": body.text, "prediction": label, "probabilities": probabilities
        }
        return {"label": label}

Where an endpoint should not know of it, `read` makes rows of what came and went:

    read=lambda asked, answered: {"input": asked["text"], "prediction": answered["label"]}

Both give one row, or a list of them. The time that the answer took is added. Nothing is held back
and nothing is changed; what cannot be told is logged, and the answer goes out as it was.
"""

import json
import logging
import time

log = logging.getLogger("distillhub.monitor")

MOST_BYTES = 1 << 20  # of a body that is read along


class MonitorMiddleware:
    def __init__(self, app, monitor, paths=None, read=None):
        self.app, self.monitor, self.read = app, monitor, read
        self.paths = None if paths is None else set(paths)

    async def __call__(self, scope, receive, send):
        told = scope["type"] == "http" and (self.paths is None or scope["path"] in self.paths)
        if not told:
            await self.app(scope, receive, send)
            return
        asked, answered, status = _Body(), _Body(), [0]
        scope.setdefault("state", {})

        async def receiving():
            message = await receive()
            if self.read is not None:
                asked.add(message.get("body", b""))
            return message

        async def sending(message):
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            elif self.read is not None:
                answered.add(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        await self.app(scope, receiving, sending)
        if 200 <= status[0] < 300:
            tell(
                self.monitor,
                scope["state"].get("inference"),
                self.read,
                asked.whole(),
                answered.whole(),
                1000.0 * (time.perf_counter() - began),
            )


class _Body:
    """What passed by, unless it is too large to be looked at."""

    def __init__(self):
        self.parts, self.size = [], 0

    def add(self, part):
        self.size += len(part)
        if self.size <= MOST_BYTES:
            self.parts.append(part)
        else:
            self.parts.clear()

    def whole(self):
        return b"".join(self.parts) if self.size <= MOST_BYTES else None


def tell(monitor, noted, read, asked, answered, milliseconds):
    """Record what an endpoint noted, else what `read` makes of the bodies. Never raises."""
    try:
        if noted is None and read is not None and asked is not None and answered is not None:
            noted = read(json.loads(asked), json.loads(answered))
        for row in noted if isinstance(noted, list) else [noted]:
            if row:
                monitor.record(**{"latency_ms": milliseconds, **row})
    except Exception:
        log.exception("What was answered is not told to the monitor.")

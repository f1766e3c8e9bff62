"""Send what your model answered to a DistillHub monitor; your program never waits or fails.

    monitor = Monitor("https://hub.example.org/api/v1/projects/me/monitors/live", token="...")
    monitor.record(input="where is my card", prediction="card_arrival", latency_ms=3.2)
    monitor.label("id that record() gave back", "card_arrival")

`record` puts the row into memory and returns; a thread sends batches. With the server away it tries
again, later and later, and drops the oldest rows when memory is full. A row that was sent twice
counts once, by its id. What waits is sent at exit, within a few seconds. Only the standard library
is needed; copy this file beside your program. Python 3.9 or later.
"""

import atexit
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from datetime import datetime, timezone

log = logging.getLogger("distillhub.monitor")

REFUSED = (400, 413)  # what is sent is at fault
OFTEN = 60.0  # seconds between two lines of the log


class Monitor:
    """address: of the monitor, as its page Connect shows it; batch: rows of a request, at most;
    every: seconds that a row waits for others; most_rows, most_bytes: that wait in memory."""

    def __init__(
        self,
        address,
        token,
        *,
        batch=500,
        every=2.0,
        most_rows=20_000,
        most_bytes=32 << 20,
        timeout=10.0,
    ):
        self.address, self.token = address.rstrip("/"), token
        self.batch, self.every, self.timeout = min(batch, 10_000), every, timeout
        self.most_rows, self.most_bytes = most_rows, most_bytes
        self.sent = self.dropped = 0
        self._waiting = deque()  # (kind, encoded)
        self._bytes = 0
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._closing = False
        self._thread = None
        self._told_at = 0.0
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):  # servers that fork their workers
            os.register_at_fork(after_in_child=self._forked)

    # -- for the caller: neither waits nor raises ------------------------------------------------

    def record(self, *, prediction=None, input=None, id=None, time=None, **more):
        """Note one answer; its id. `more`: probabilities, latency_ms, label, version, tags,
        teacher, and vector of models that make them. time: a datetime with its zone, or now."""
        identity = str(id) if id is not None else uuid.uuid4().hex
        row = {"id": identity, "time": _written(time), "prediction": prediction, **more}
        if input is not None:
            row["input"] = input
        self._put("inferences", row)
        return identity

    def label(self, id, label):
        """Say what was right, whenever that is known."""
        self._put("labels", {"id": str(id), "label": label})

    def _put(self, kind, row):
        try:
            encoded = json.dumps(row, allow_nan=False, default=_plain).encode()
        except (TypeError, ValueError) as error:
            self._drop(1, f"A row is no JSON: {error}")
            return
        with self._lock:
            self._waiting.append((kind, encoded))
            self._bytes += len(encoded)
            self._make_room()
            full = len(self._waiting) >= self.batch
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, daemon=True, name="monitor")
                self._thread.start()
        if full:
            self._came.set()

    def _make_room(self):
        """Under the lock: the oldest go."""
        gone = 0
        while len(self._waiting) > self.most_rows or self._bytes > self.most_bytes:
            _, encoded = self._waiting.popleft()
            self._bytes -= len(encoded)
            gone += 1
        if gone:
            self._drop(gone, "The server did not take rows for too long.")

    def close(self, timeout=5.0):
        """Send what waits, for so long at most. At exit it is called by itself."""
        self._closing = True
        self._came.set()
        if self._thread is not None:
            self._thread.join(timeout)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self):
        failures = 0
        while True:
            if not self._closing and not failures:
                self._came.wait(self.every)
            self._came.clear()
            kind, rows = self._take()
            if not rows:
                if self._closing:
                    return
                continue
            try:
                wait = self._send(kind, rows)
            except Exception as error:  # whatever it is: the program goes on
                log.exception("Rows were not sent: %s", error)
                wait = 60.0
            if wait is None:
                failures = 0
                continue
            self._put_back(kind, rows)
            failures += 1
            if self._closing and failures > 2:
                return
            again = max(wait, min(60.0, 2.0 ** min(failures, 6)) * random.uniform(0.5, 1.0))
            self._pause(1.0 if self._closing else again)

    def _pause(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._closing:
            time.sleep(min(0.2, max(0.0, until - time.monotonic())))

    def _take(self):
        """Rows of one kind, the oldest first."""
        rows, size = [], 0
        with self._lock:
            kind = self._waiting[0][0] if self._waiting else None
            while self._waiting and self._waiting[0][0] == kind and len(rows) < self.batch:
                size += len(self._waiting[0][1]) + 2
                if rows and size > 8 << 20:  # the server reads 10 MiB
                    break
                rows.append(self._waiting.popleft()[1])
                self._bytes -= len(rows[-1])
        return kind, rows

    def _put_back(self, kind, rows):
        with self._lock:
            self._waiting.extendleft((kind, one) for one in reversed(rows))
            self._bytes += sum(map(len, rows))
            self._make_room()

    def _send(self, kind, rows):
        """None when it is done with; else the seconds to wait before it is tried again."""
        body = b'{"%s":[%s]}' % (kind.encode(), b",".join(rows))
        request = urllib.request.Request(
            f"{self.address}/{kind}/",
            data=body,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout):
                self.sent += len(rows)
                return None
        except urllib.error.HTTPError as error:
            said = error.read(1 << 20)
            if error.code in REFUSED:
                return self._mend(kind, rows, said)
            self._tell(f"{error.code}: {said[:200]!r}")
            if error.code in (401, 403, 404):  # somebody has to set it right
                return 60.0
            after = error.headers.get("Retry-After", "")
            return float(after) if after.isdigit() else 1.0
        except OSError as error:
            self._tell(str(error))
            return 1.0

    def _mend(self, kind, rows, said):
        """Without the rows that the server named; of a batch that is too large, in two halves."""
        try:
            places = {int(name.split(".")[1]) for name in json.loads(said)["fields"]}
        except (ValueError, KeyError, IndexError, TypeError):
            places = set()
        if not places and len(rows) > 1:
            half = len(rows) // 2
            first = self._send(kind, rows[:half])
            return first if first is not None else self._send(kind, rows[half:])
        bad = places or {0}
        self._drop(len(bad), f"The server refused rows: {said[:300]!r}")
        rest = [one for place, one in enumerate(rows) if place not in bad]
        return self._send(kind, rest) if rest else None

    # -- inside ----------------------------------------------------------------------------------

    def _drop(self, many, sentence):
        self.dropped += many
        self._tell(sentence)

    def _tell(self, sentence):
        if time.monotonic() - self._told_at > OFTEN or not self._told_at:
            self._told_at = time.monotonic()
            log.warning("%s (%s sent, %s dropped)", sentence, self.sent, self.dropped)

    def _forked(self):
        """A child sends its own rows; what waited is its parent's."""
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._waiting.clear()
        self._bytes = 0
        self._thread = None


def _written(moment):
    moment = moment or datetime.now(timezone.utc)
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return moment.astimezone(timezone.utc).isoformat()


def _plain(value):
    """Numbers and arrays of other libraries."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)

"""The inference log: rows a second that are accepted through REST, how long until they stand in a
window, and what a look costs as days of history grow.

    python -m tests.bench.inferences accept      a whole installation, as `up` starts it
    python -m tests.bench.inferences history     looks in this process, storage in a folder

Rows are of a table of six columns with probabilities of two classes, about 300 bytes of JSON each.
Bodies are made before the clock starts. `accept` tells rows a second until the last 202, seconds
until the newest row stands in a window, and seconds until all do.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from tests.site.processes import ROOT, clean_environment, free_port

JSON = dict[str, Any]

BATCH = 1000
BATCHES = 40  # that all callers send together
LABELS = ["no", "yes"]
NAMES = ("age", "income", "debt", "visits", "place", "kind")
PAUSE = 0.05


def record(identity: str, chance: random.Random, at: datetime) -> JSON:
    yes = chance.random()
    return {
        "id": identity,
        "time": at.isoformat(),
        "input": cells(chance),
        "prediction": LABELS[yes > 0.5],
        "probabilities": [round(1 - yes, 6), round(yes, 6)],
        "latency_ms": round(chance.lognormvariate(1, 0.5), 3),
    }


def cells(chance: random.Random) -> JSON:
    numbers = {name: round(chance.gauss(40, 10), 4) for name in NAMES[:4]}
    return numbers | {name: chance.choice("abcdef") for name in NAMES[4:]}


# -- accepting ------------------------------------------------------------------------------------


def accept(callers: Iterable[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        home = Path(folder) / "home"
        here = clean_environment(home, SITE_URL=f"http://127.0.0.1:{port}", LOG_LEVEL="WARNING")
        command = [sys.executable, "-m", "distillhub.cli", "up", "--home", str(home)]
        up = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, env=here, stdout=subprocess.DEVNULL
        )
        try:
            _until_ready(port)
            os.environ.update(here)
            os.environ["DJANGO_SETTINGS_MODULE"] = "distillhub.settings"
            token = _fill()
            for many in callers:
                _accepted(port, token, many)
            _lag(port, token)
        finally:
            up.terminate()
            up.wait(60)


def _until_ready(port: int) -> None:
    while True:
        try:
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            asked.request("GET", "/readyz")
            if asked.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)


def _fill() -> str:
    """A monitor whose reference is fitted; a token that may write."""
    import django

    django.setup()
    import pyarrow as pa
    import pyarrow.parquet as pq

    from distillhub.lib import storage
    from projects.models import User
    from projects.services import accounts
    from tests import make
    from training.services import monitors

    owner = User.objects.create_user("bench", "bench@example.org")
    project = make.project("bench", owner=owner)
    chance = random.Random(0)
    rows: list[JSON] = []
    for number in range(5000):
        yes = chance.random()
        said = {"p_no": 1 - yes, "p_yes": yes, "label": LABELS[chance.random() < yes]}
        rows.append({"row_id": number, "split": "test", **said, **cells(chance)})
    path = storage.working_folder("making") / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    blob = storage.put(path)
    columns = [{"name": name, "type": "number", "role": "feature"} for name in NAMES[:4]]
    columns += [{"name": name, "type": "category", "role": "feature"} for name in NAMES[4:]]
    columns += [
        {"name": f"p_{label}", "type": "number", "role": "soft", "class": label} for label in LABELS
    ]
    make.dataset_version(
        project,
        "people",
        task="tabular-classification",
        labels=tuple(LABELS),
        splits={"test": {"rows": 5000, "labelled": 5000, "label_counts": {}}},
        columns=columns,
        rows=5000,
        file_sha256=blob.sha256,
        file_bytes=blob.bytes,
        fingerprint=blob.sha256,
    )
    monitor = monitors.create(
        project=project,
        asked={
            "name": "live",
            "model": {"external": "scorer", "task": "tabular-classification", "labels": LABELS},
            "reference": "people@1:test",
            "window": {"hours": 1},
        },
        by=owner,
    )
    _, token = accounts.create_token(user=owner, name="bench", scope="write")
    while not monitor.is_fitted:
        time.sleep(0.2)
        monitor.refresh_from_db()
    return str(token)


def _bodies(name: str, many: int, rows: int) -> list[bytes]:
    chance, now = random.Random(name), datetime.now(UTC)
    return [
        json.dumps(
            {
                "inferences": [
                    record(f"{name}-{batch}-{at}", chance, now - timedelta(milliseconds=at))
                    for at in range(rows)
                ]
            }
        ).encode()
        for batch in range(many)
    ]


def _accepted(port: int, token: str, callers: int) -> None:
    before = _counted()
    own = [_bodies(f"{callers}-{one}", BATCHES // callers, BATCH) for one in range(callers)]
    waits: list[float] = []

    def send(bodies: list[bytes]) -> None:
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for body in bodies:
            began = time.perf_counter()
            while not _post(server, token, body):  # more waits than is taken in
                time.sleep(1)
            waits.append(time.perf_counter() - began)

    threads = [threading.Thread(target=send, args=(bodies,)) for bodies in own]
    began = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    took = time.perf_counter() - began
    rows = sum(map(len, own)) * BATCH
    while _counted() < before + rows:
        time.sleep(PAUSE)
    whole = time.perf_counter() - began
    kilobytes = len(own[0][0]) / 1000
    print(
        f"{callers} callers, batches of {BATCH} ({kilobytes:.0f} kB): {rows / took:,.0f} rows/s "
        f"accepted, {1000 * median(waits):.0f} ms a post (median); all {rows:,} in their windows "
        f"after {whole:.1f} s, {rows / whole:,.0f} rows/s",
        flush=True,
    )


def _lag(port: int, token: str) -> None:
    """Of one row, and of a thousand, sent while nothing else is: until its window counts it."""
    server = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for rows in (1, 1000):
        found, posts = [], []
        for turn in range(5):
            time.sleep(6)  # looks rest for a while after one
            (body,) = _bodies(f"lag-{rows}-{turn}", 1, rows)
            before, began = _counted(), time.perf_counter()
            _post(server, token, body)
            posts.append(time.perf_counter() - began)
            while _counted() < before + rows:
                time.sleep(PAUSE)
            found.append(time.perf_counter() - began)
        print(
            f"{rows} row(s) alone: accepted after {1000 * median(posts):.0f} ms, in the window "
            f"after {median(found):.1f} s (median of five; longest {max(found):.1f} s)",
            flush=True,
        )


def _post(server: http.client.HTTPConnection, token: str, body: bytes) -> bool:
    head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    server.request("POST", "/api/v1/projects/bench/monitors/live/inferences/", body, head)
    answer = server.getresponse()
    said = answer.read()
    assert answer.status in (202, 429), said
    return answer.status == 202


def _counted() -> int:
    """Rows that windows have."""
    from django.db.models import Sum

    from training.models import MonitorWindow

    return int(MonitorWindow.objects.aggregate(rows=Sum("rows"))["rows"] or 0)


# -- history --------------------------------------------------------------------------------------


class Stored:
    """Parts in a folder, as storage has them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parts = folder, list[JSON]()

    def files(self, sha256s: Iterable[str]) -> dict[str, Path | None]:
        return {one: self.folder / one for one in sha256s}

    def keep(self, made: list[JSON], folder: Path) -> None:
        from hashlib import file_digest

        for one in made:
            path = folder / "output" / one["name"]
            with path.open("rb") as file:
                name = file_digest(file, "sha256").hexdigest()
            path.rename(self.folder / name)
            self.parts.append(one | {"sha256": name})


def history(days: Iterable[int], rows: int) -> None:
    """What a look costs that takes in a thousand rows and a hundred labels of rows of any day."""
    import numpy as np
    import pyarrow as pa

    from training.engine.watching import known, parts, taking

    now = time.time()
    monitor = {
        "task": "tabular-classification", "labels": LABELS, "window_rows": None,
        "window_hours": 1.0, "rows": 0, "salt": "salt", "privacy": "raw", "kept_share": 1.0,
        "input": "columns",
    }  # fmt: skip
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        stored, made = Stored(Path(name)), 0
        for many in days:
            for day in range(made, many):
                folder = Path(name) / f"day-{day}"
                folder.mkdir()
                at = int((now - 86_400 * (day + 1)) // 86_400 * 86_400_000_000)
                times = at + np.arange(rows, dtype=np.int64) * (86_400_000_000 // rows)
                ids = [f"{day}-{one}" for one in range(rows)]
                table = pa.table(
                    {
                        "id": ids,
                        "time": pa.array(times).cast(parts.TIME),
                        "hash": known.hashes(ids),
                        "window": times // 3_600_000_000,
                        "cells": [json.dumps(cells(chance)) for _ in ids],
                        "prediction": [chance.choice(LABELS) for _ in ids],
                    }
                )
                writer = parts.Writer(folder)
                writer.rows(table)
                stored.keep(writer.told, folder)
            made = many
            took: dict[str, list[float]] = {"rows": [], "labels": []}
            for turn in range(5):
                for kind in took:
                    folder = Path(name) / f"look-{many}-{turn}-{kind}"
                    folder.mkdir()
                    if kind == "rows":
                        at = int(now * 1e6)
                        lines = [
                            {"id": f"new-{many}-{turn}-{one}", "time": at, "prediction": "yes",
                             "cells": cells(chance)} for one in range(1000)
                        ]  # fmt: skip
                    else:
                        lines = [
                            {
                                "id": f"{chance.randrange(made)}-{chance.randrange(rows)}",
                                "label": "no",
                            }
                            for _ in range(100)
                        ]
                    raw = zlib.compress(b"\n".join(json.dumps(one).encode() for one in lines))
                    (folder / "0").write_bytes(raw)
                    batch = {
                        "id": 0, "path": "0", "rows": len(lines),
                        "kind": "inferences" if kind == "rows" else "labels",
                    }  # fmt: skip
                    config = {
                        "now": now, "monitor": monitor, "model": None, "batches": [batch],
                        "parts": stored.parts,
                    }  # fmt: skip
                    began = time.process_time()
                    taken = taking.take(config, folder, stored)
                    taking.keep(taken, taken.rows, config, folder)
                    took[kind].append(time.process_time() - began)
                    assert len(taken.rows) == 1000 if kind == "rows" else len(taken.said) > 90
            indexes = [one for one in stored.parts if one["kind"] == "index"]
            size = sum((stored.folder / one["sha256"]).stat().st_size for one in indexes)
            print(
                f"{many} days of {rows:,} rows ({size / 1e6:.1f} MB of indexes): a thousand rows "
                f"{1000 * median(took['rows']):.0f} ms, a hundred labels of any day "
                f"{1000 * median(took['labels']):.0f} ms of CPU",
                flush=True,
            )


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    asked.add_argument("what", choices=["accept", "history"])
    asked.add_argument("--callers", type=int, nargs="+", default=[1, 8])
    asked.add_argument("--days", type=int, nargs="+", default=[1, 30, 90, 365])
    asked.add_argument("--rows", type=int, default=10_000, help="of a day of history")
    said = asked.parse_args()
    if said.what == "accept":
        accept(said.callers)
    else:
        history(said.days, said.rows)


if __name__ == "__main__":
    main()

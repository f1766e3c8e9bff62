"""Inferences of a shipped model through REST: rows accepted in a second, how long until a window
tells of them, and what a look costs as days of history grow.

    python -m tests.bench.inferences --days 1 7 30

A product of its own (`distillhub up`, SQLite) in a temporary home; rows of twenty columns of a
model that is served elsewhere, in batches of 10 000; a monitor with windows of an hour, whose
reference is the first hours of its own traffic. What is printed is Markdown.
"""

import argparse
import json
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from tests.site.processes import Up, ask, ended, family, make_token, until

JSON = dict[str, Any]
COLUMNS, BATCH, AN_HOUR = 20, 10_000, 400
LABELS = ["no", "yes"]
API = "/api/v1/projects/bench"
MONITOR = f"{API}/monitors/elsewhere"


class Product:
    def __init__(self, up: Up) -> None:
        self.address, self.home, self.token = up.address, up.home, make_token(up.home)
        self.sent = 0

    def get(self, path: str) -> JSON:
        status, answer = ask(self.address, path, token=self.token)
        assert status == 200, answer
        found: JSON = answer
        return found

    def post(self, path: str, body: Any, expected: int = 201) -> JSON:
        status, answer = ask(self.address, path, token=self.token, body=body)
        assert status == expected, answer
        found: JSON = answer
        return found

    def body(self, times: list[datetime]) -> bytes:
        """A request with a row for each time."""
        drawn = np.random.default_rng(self.sent)
        cells = drawn.standard_normal((len(times), COLUMNS)).round(4)
        sure = drawn.uniform(0.5, 1.0, len(times)).round(4)
        rows = [
            {
                "id": f"row {self.sent + place}",
                "time": moment.isoformat(),
                "input": {f"c{one}": value for one, value in enumerate(row)},
                "prediction": LABELS[int(row[0] > 0)],
                "probabilities": dict(
                    zip(LABELS[:: 1 if row[0] > 0 else -1], (1 - top, top), strict=True)
                ),
                "latency_ms": 2.5,
            }
            for place, (moment, row, top) in enumerate(
                zip(times, cells.tolist(), sure.tolist(), strict=True)
            )
        ]
        self.sent += len(times)
        return json.dumps({"inferences": rows}).encode()

    def send(self, body: bytes) -> None:
        request = urllib.request.Request(
            f"{self.address}{MONITOR}/inferences/",
            data=body,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 202

    def rows(self) -> int:
        return int(self.get(f"{MONITOR}/")["rows"])

    def taken_in(self) -> float:
        """Seconds until all that was sent is in windows."""
        began = time.monotonic()
        until(lambda: self.rows() >= self.sent, seconds=600, what=lambda: str(self.rows()))
        return time.monotonic() - began

    def cpu(self) -> float:
        """Seconds of every process, ended children of living ones too."""
        total = 0.0
        for process in family(self.home):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total


def spread(start: datetime, hours: float, rows: int) -> list[datetime]:
    return [start + timedelta(hours=hours) * (place / rows) for place in range(rows)]


def begin(product: Product, now: datetime, days: int) -> None:
    """The monitor, with a reference."""
    product.post("/api/v1/projects/", {"name": "Bench"})
    first = now - timedelta(days=days, hours=26)
    asked = {
        "name": "elsewhere",
        "model": {"external": "scores", "task": "tabular-classification", "labels": LABELS},
        "reference": {
            "traffic": {
                "from": first.isoformat(),
                "until": (first + timedelta(hours=24)).isoformat(),
            }
        },
        "window": {"hours": 1},
    }
    product.post(f"{API}/monitors/", asked)
    product.send(product.body(spread(first, 24, BATCH)))
    product.taken_in()
    product.post(f"{MONITOR}/refit/", {}, 200)
    until(lambda: product.get(f"{MONITOR}/")["fitted_at"], seconds=120)


def accepted(product: Product, now: datetime, callers: int, each: int) -> tuple[float, float]:
    """(Rows a second that are answered 202, seconds until all are in windows.)"""
    bodies = [
        [product.body(spread(now - timedelta(hours=1), 0.9, BATCH)) for _ in range(each)]
        for _ in range(callers)
    ]

    def call(mine: list[bytes]) -> None:
        for one in mine:
            product.send(one)

    threads = [threading.Thread(target=call, args=(some,)) for some in bodies]
    began = time.monotonic()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    took = time.monotonic() - began
    return callers * each * BATCH / took, product.taken_in()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, nargs="+", default=[1, 7, 30])
    parser.add_argument("--batches", type=int, default=10)
    asked = parser.parse_args()
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        up = Up(Path(folder) / "home", "--no-demo")
        with ended(up):
            up.ready()
            product = Product(up)
            begin(product, now, max(asked.days))
            print("| days of history | rows kept | lag of 1 000 rows, s (median of 3) | CPU s |")
            print("|---|---|---|---|")
            there = 0
            for days in sorted(asked.days):
                while there < days:
                    there += 1
                    product.send(
                        product.body(spread(now - timedelta(days=there, hours=1), 24, 24 * AN_HOUR))
                    )
                product.taken_in()
                lags, spent = [], []
                for _ in range(3):
                    before = product.cpu()
                    product.send(product.body(spread(datetime.now(UTC), 0, 1000)))
                    lags.append(product.taken_in())
                    spent.append(product.cpu() - before)
                rows = product.rows()
                print(f"| {days} | {rows:,} | {median(lags):.1f} | {median(spent):.1f} |")
            print("\n| callers | rows a second accepted | s until all are in windows |")
            print("|---|---|---|")
            for callers in (1, 4):
                rate, lag = accepted(product, datetime.now(UTC), callers, asked.batches // callers)
                print(f"| {callers} | {rate:,.0f} | {lag:.1f} |")


if __name__ == "__main__":
    main()

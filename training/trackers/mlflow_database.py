"""MLflow's store in SQLite (`mlflow.db`), read only and without trusting what its schema says.

A file may hold views and triggers in place of tables, and numbers where texts are expected: the
schema is not trusted, nothing is written, each statement has a time, and every value is looked at.
"""

import math
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from training.trackers import limits, mlflow_words
from training.trackers.found import FoundRun, Unreadable, Writer
from training.trackers.trees import Tree

MAGIC = b"SQLite format 3\x00"
ENDINGS = (".db", ".sqlite", ".sqlite3")
TABLES = ("experiments", "runs", "metrics", "params", "tags")
SECONDS = 600.0  # that reading may take
EVERY = 100_000  # steps of its machine between two looks at the clock


def fits(tree: Tree) -> bool:
    return bool(_found(tree))


def _found(tree: Tree) -> list[str]:
    fitting = [name for name in tree.names if name.endswith(ENDINGS) or len(tree.names) == 1]
    return [name for name in fitting if tree.head(name, 16) == MAGIC]


def read(tree: Tree, out: Writer, scratch: Path) -> Iterator[FoundRun]:
    for count, name in enumerate(_found(tree)):
        path = tree.copy(name, scratch / f"database-{count}")
        for ending in ("-wal", "-journal"):
            if tree.sizes.get(name + ending):
                out.leave_out(f"{name}{ending}: what was not written into {name} yet.")
        try:
            yield from _runs(path, name, out)
        except sqlite3.Error as error:
            raise Unreadable("not_readable", f"{name} cannot be read: {error}.") from None
        finally:
            path.unlink()


def _runs(path: Path, name: str, out: Writer) -> Iterator[FoundRun]:
    address = f"file:{quote(str(path))}?mode=ro&immutable=1"
    base = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        _careful(base)
        tables = {
            row[0] for row in base.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
        if missing := [one for one in TABLES if one not in tables]:
            raise Unreadable(
                "not_mlflow", f"{name} is no store of MLflow: it has no table {missing[0]}."
            )
        experiments = dict(base.execute("SELECT experiment_id, name FROM experiments LIMIT 100000"))
        deleted = base.execute(
            "SELECT count(*) FROM runs WHERE lifecycle_stage = 'deleted'"
        ).fetchone()[0]
        if deleted:
            out.leave_out(f"Deleted runs ({deleted:,}).")
        rows = base.execute(
            "SELECT run_uuid, name, status, start_time, end_time, experiment_id, user_id FROM runs"
            " WHERE lifecycle_stage = 'active' ORDER BY start_time, run_uuid LIMIT ?",
            [limits.RUNS + 1],
        ).fetchall()
        for row in rows:
            yield _run(base, row, experiments)
    finally:
        base.close()


def _careful(base: sqlite3.Connection) -> None:
    base.text_factory = lambda raw: raw.decode("utf-8", "replace")
    base.enable_load_extension(False) if hasattr(base, "enable_load_extension") else None
    base.execute("PRAGMA trusted_schema = OFF")
    base.execute("PRAGMA query_only = ON")
    base.execute("PRAGMA cell_size_check = ON")
    base.execute("PRAGMA mmap_size = 0")
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.RECORD)
    base.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    until = time.monotonic() + SECONDS
    base.set_progress_handler(lambda: time.monotonic() > until, EVERY)


def _run(base: sqlite3.Connection, row: tuple[Any, ...], experiments: dict[Any, Any]) -> FoundRun:
    key = _text(row[0])
    run = mlflow_words.begin(
        key,
        name=_text(row[1]),
        status=_text(row[2]),
        started_ms=_number(row[3]),
        ended_ms=_number(row[4]),
        experiment=_text(experiments.get(row[5], row[5])),
        user=_text(row[6]),
    )
    params = base.execute(
        "SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key LIMIT ?",
        [row[0], limits.PARAMS + 1],
    )
    run.params = {_text(name): mlflow_words.typed(_text(value)) for name, value in params}
    tags = base.execute(
        "SELECT key, value FROM tags WHERE run_uuid = ? ORDER BY key LIMIT 10000", [row[0]]
    )
    mlflow_words.tag(run, {_text(name): _text(value) for name, value in tags})
    points = base.execute(
        "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?"
        " ORDER BY key, step, timestamp LIMIT ?",
        [row[0], limits.POINTS + 1],
    )
    wrong: dict[str, int] = defaultdict(int)
    for name, value, at, step, is_nan in points:
        number, when = _number(value), _number(at)
        if type(step) is not int or (number is None and not is_nan):
            wrong[_text(name)] += 1
            continue
        told = math.nan if is_nan or number is None else _finite(number)
        run.measure(_text(name), step, told, when / 1000 if when else math.nan)
    for name, count in wrong.items():
        run.leave_out(f"Points of {name} that are no numbers ({count:,}).")
    return run


def _finite(number: float) -> float:
    """Infinities are kept as the greatest number there."""
    return math.copysign(math.inf, number) if abs(number) >= 1.7976931348623157e308 else number


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None

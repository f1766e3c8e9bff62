"""A worker makes a dataset version: claims it, reads the upload row by row, writes its Parquet.

The row of the version owns the work; a queue's message is only a wake-up call and may come twice,
late or never. It is held like all that workers do (distillhub/lib/leases.py): whoever has the
current attempt may write, and who has lost it stops.
"""

import errno
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now

from distillhub.lib import database, leases, storage
from distillhub.lib.leases import Fenced, GivenBack, Held
from projects.ingest import compressed, hub, issues, making, reading, registry, splits, stored
from projects.ingest.formats import (
    BadFile,
    Format,
    LeftOut,
    Plan,
    Row,
)
from projects.models import DatasetVersion, Event

logger = logging.getLogger(__name__)

BEAT = 0.5  # seconds between two reports of progress
BESIDE = {"id": "key", "group": "group", "weight": "weight"}  # roles, and how they are stored
STEP = 64  # rows between two looks at how far reading is
MOST_LOSSES = 5  # workers that may die with one

SourceOf = Callable[[DatasetVersion, Path], making.Source]


class Turn:
    """A version that this process makes, and how far it is."""

    def __init__(self, held: Held[DatasetVersion]) -> None:
        self.held, self.version = held, held.row
        self._beaten_at = 0.0

    def beat(self, stage: str, fraction: float) -> None:
        """Report progress, at most every BEAT seconds; with the database away, the next time. It
        keeps the lease, too: no heartbeat may have begun yet. Raises Fenced, and GivenBack when
        this process has to leave."""
        now = time.monotonic()
        if now - self._beaten_at < BEAT and stage == self.version.stage:
            return
        if leases.stopping.is_set():
            raise GivenBack
        self._beaten_at, self.version.stage = now, stage
        try:
            until = leases.in_future(leases.lease())
            self.held.write(stage=stage, fraction=min(fraction, 0.99), lease_until=until)
        except DatabaseError as error:
            if not database.is_away(error):
                raise
            logger.warning("The database is away; reading goes on. %s", error)
            connection.close()

    def note(self, **columns: Any) -> None:
        """Write columns of the version, which is not ready yet. Raises Fenced."""
        self.held.write(**columns)


def claim(version_id: int) -> Turn | None:
    """Take the version; None when it is not to be had."""
    if not DatasetVersion.objects.filter(pk=version_id).claim():
        return None
    version = DatasetVersion.objects.select_related("dataset").get(pk=version_id)
    return Turn(Held(version, version.attempt))


def ingest(*, version_id: int, source_of: SourceOf | None = None) -> None:
    """Make the version ready, or failed with a reason. Calling it again is harmless. `source_of`
    says where the rows of a version come from, and may put files into the folder; unless it does,
    from its upload."""
    if not leases.takes_more():
        return
    turn = claim(version_id)
    if turn is None:
        return
    with leases.kept(turn.held):
        try:
            outcome = _outcome(turn, source_of or uploaded_rows)
            turn.held.settle(partial(_announce, turn.version.pk), stage="", **outcome)
        except Fenced:
            logger.info("It goes on elsewhere, or is gone.")


def _announce(version_id: int) -> None:
    """Let the project hear of a version that is ready or failed."""
    version = DatasetVersion.objects.select_related("dataset", "created_by").get(pk=version_id)
    if version.status == DatasetVersion.Status.INGESTING:
        return  # given back
    error = version.error or {}
    said = f"{version.rows:,} rows can be used." if not error else str(error.get("detail", ""))
    Event.objects.tell(
        project_id=version.dataset.project_id,
        kind=f"dataset_version.{version.status}",
        subject=version.reference,
        title=version.reference,
        sentence=said,
        data={
            "dataset": version.dataset.name,
            "version": version.number,
            "reference": version.reference,
            "task": version.dataset.task,
            "status": str(version.status),
            "rows": version.rows,
            "labels": len(version.labels or []),
            "operation": (version.operation or {}).get("operation"),
            "by": version.created_by.username,
            "error": {name: str(error.get(name, "")) for name in ("code", "detail")}
            if error
            else None,
        },
    )


def _outcome(turn: Turn, source_of: SourceOf) -> dict[str, Any]:
    """What the version says after this attempt. Raises Fenced, and what the database says: the
    lease then runs out, and the version is taken up again."""
    if turn.version.times_lost >= MOST_LOSSES:
        died = f"The worker died {MOST_LOSSES} times while reading this"
        return _failed("killed", f"{died}, probably out of memory.")
    try:
        with tempfile.TemporaryDirectory(dir=storage.working_folder("ingesting")) as folder:
            if hub.awaits(turn.version):
                hub.bring(turn)
            turn.beat(making.READING, 0.0)
            source = source_of(turn.version, Path(folder))
            made = making.made(source, Path(folder), turn.beat)
    except GivenBack:
        return {}
    except (Fenced, DatabaseError):
        raise
    except BadFile as error:
        return _failed(error.code, error.detail, error.line)
    except storage.Damaged:
        return _failed("upload_missing", "The uploaded file is damaged or gone. Upload it again.")
    except storage.Away as error:
        return _failed(error.code, f"{error.detail} Then try again.")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _failed("disk_full", "The worker's disk is full. Make room and try again.")
        return _crashed(turn)
    except Exception:
        return _crashed(turn)
    ready = {"status": DatasetVersion.Status.READY, "error": None, "fraction": 1.0}
    return made | ready | {"ready_at": Now()}


def _failed(code: str, detail: str, line: int | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "detail": detail}
    if line is not None:
        error["line"] = line
    return {"status": DatasetVersion.Status.FAILED, "error": error}


def _crashed(turn: Turn) -> dict[str, Any]:
    logger.exception("Ingestion of dataset version %s failed.", turn.version.pk)
    return _failed("crashed", "Something went wrong on our side while reading; it has been logged.")


def uploaded_rows(version: DatasetVersion, folder: Path) -> making.Source:
    """The rows of a version's upload. Raises storage.Damaged and Away."""
    return UploadedRows(version, _local_files(version, folder))


class UploadedRows(making.Source):
    """The rows of a version's uploaded files."""

    def __init__(self, version: DatasetVersion, files: list[tuple[dict[str, Any], Path]]) -> None:
        self.form = registry.get(version.format)
        self.files = files
        self.plan = reading.plan_of({"task": version.dataset.task} | version.reading)
        self.columns = columns_of(self.form, self.plan)
        self.measures = self.form.measures(self.plan)
        self.shares = version.reading.get("splits") or splits.DEFAULT
        self.seed = version.reading.get("seed", 0)
        self.is_one_text = self.form.is_one_text

    def rows(self, tally: issues.Tally) -> Iterator[tuple[Row, str, float]]:
        return _rows(self.form, self.files, self.plan, tally)

    def row_size(self, row: Row) -> int:
        return self.form.row_size(row)


def columns_of(form: Format, plan: Plan) -> list[dict[str, str]]:
    """The columns of the stored file: [{"name", "type", "role", "from"?}]."""
    inputs = form.inputs(plan)
    columns = [
        {"name": "row_id", "type": "integer", "role": "id"},
        {"name": "split", "type": "string", "role": "split"},
        {"name": "label", "type": "string", "role": "label"},
        *inputs,
        {"name": "source", "type": "string", "role": "source"},
    ]
    for column in columns:
        role = {"input": "text", "id": ""}.get(column["role"], column["role"])
        if isinstance(origin := plan.columns.get(role), str):
            column["from"] = origin
    names = stored.stored_names(plan.others, [one["name"] for one in inputs])
    roles = {plan.columns.get(role): kept for role, kept in BESIDE.items()}
    classes = {origin: label for label, origin in plan.soft_labels.items()}
    for name, origin in zip(names, plan.others, strict=True):
        column = {"name": name, "type": "string", "role": roles.get(origin, "extra")}
        if column["role"] == "weight":
            column["type"] = "number"
        if (label := classes.get(origin)) is not None:
            column |= {"type": "number", "role": "soft", "class": label}
        columns.append(column | {"from": origin})
    return columns


def _local_files(version: DatasetVersion, folder: Path) -> list[tuple[dict[str, Any], Path]]:
    """The uploaded files, verified, on this machine's disk."""
    return [
        (file, storage.local_copy(file["sha256"], folder / f"upload-{index}"))
        for index, file in enumerate(version.reading["files"])
    ]


def _rows(
    form: Format, files: list[tuple[dict[str, Any], Path]], plan: Plan, tally: issues.Tally
) -> Iterator[tuple[Row, str, float]]:
    """Every row with its source and the share of bytes read; what is left out goes to `tally`."""
    several = len(files) > 1
    size = sum(path.stat().st_size for _, path in files) or 1
    done = before = 0  # bytes of earlier files, and bytes read
    steps = count(1)
    for file, path in files:
        prefix = f"{file['name']}:" if several else ""
        with path.open("rb") as handle:
            try:
                here = replace(plan, file_split=file["split"])
                inside = compressed.opened(handle)
                for one in form.rows(inside, file["name"], file["dialect"], here):
                    if isinstance(one, LeftOut):
                        tally.place(one.code, prefix + one.source)
                        continue
                    one.split = one.split or file["split"]
                    yield one, prefix + one.source, before / size
                    if not next(steps) % STEP:
                        before = done + compressed.packed_position(inside)
            except BadFile as error:
                if several and file["name"] not in error.detail:
                    error.detail = f"{file['name']}: {error.detail}"
                raise
        before = done = done + path.stat().st_size

"""A worker makes a dataset version: claims it, reads the upload row by row, writes its Parquet.

The row of the version owns the work; a queue's message is only a wake-up call and may come twice,
late or never. Whoever holds the current attempt may write; who has lost it stops.
"""

import errno
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from django.db import Error as DatabaseError
from django.db.models import F, Q
from django.utils import timezone

from distillhub.lib import storage
from projects.ingest import issues, making, reading, registry, splits, stored
from projects.ingest.formats import (
    BadFile,
    Format,
    LeftOut,
    Plan,
    Row,
)
from projects.models import DatasetVersion

logger = logging.getLogger(__name__)

CLAIM = timedelta(seconds=90)  # a worker that is silent for longer has lost its turn
BEAT = 0.5  # seconds between two reports of progress
STEP = 64  # rows between two looks at how far reading is
MOST_ATTEMPTS = 5


class LostTurn(Exception):
    """Another worker has claimed the version, or it is settled."""


class Turn:
    """The right to write to one version, for as long as reports of progress keep coming."""

    def __init__(self, version: DatasetVersion) -> None:
        self.version = version
        self._mine = DatasetVersion.objects.ingesting().filter(
            pk=version.pk, attempt=version.attempt
        )
        self._beaten_at = 0.0

    def beat(self, stage: str, fraction: float) -> None:
        """Report progress and renew the claim, at most every BEAT seconds. Raises LostTurn."""
        now = time.monotonic()
        if now - self._beaten_at < BEAT and stage == self.version.stage:
            return
        self._beaten_at, self.version.stage = now, stage
        self._settle(
            stage=stage, fraction=min(fraction, 0.99), claimed_until=timezone.now() + CLAIM
        )

    def finish(self, **values: Any) -> None:
        self._settle(
            **values,
            status=DatasetVersion.Status.READY,
            stage="",
            fraction=1.0,
            claimed_until=None,
            error=None,
            ready_at=timezone.now(),
        )

    def fail(self, code: str, detail: str, line: int | None = None) -> None:
        error: dict[str, Any] = {"code": code, "detail": detail}
        if line is not None:
            error["line"] = line
        self._settle(status=DatasetVersion.Status.FAILED, stage="", claimed_until=None, error=error)

    def _settle(self, **values: Any) -> None:
        if not self._mine.all().update(**values):
            raise LostTurn


def claim(version_id: int) -> Turn | None:
    """Take the version if nobody has it. A version whose workers died MOST_ATTEMPTS times fails."""
    now = timezone.now()
    free = DatasetVersion.objects.ingesting().filter(
        Q(claimed_until=None) | Q(claimed_until__lt=now), pk=version_id
    )
    free.filter(attempt__gte=MOST_ATTEMPTS).update(
        status=DatasetVersion.Status.FAILED,
        error={
            "code": "killed",
            "detail": f"The worker died {MOST_ATTEMPTS} times while reading this, probably out of "
            "memory.",
        },
    )
    taken = free.update(attempt=F("attempt") + 1, claimed_until=now + CLAIM)
    if not taken:
        return None
    return Turn(DatasetVersion.objects.select_related("dataset").get(pk=version_id))


def ingest(*, version_id: int) -> None:
    """Make the version ready, or failed with a reason. Calling it again is harmless."""
    turn = claim(version_id)
    if turn is None:
        return
    try:
        with tempfile.TemporaryDirectory(dir=storage.working_folder("ingesting")) as folder:
            turn.finish(**_made(turn, Path(folder)))
    except LostTurn:
        logger.info("Dataset version %s is no longer ours to ingest.", version_id)
    except BadFile as error:
        _fail(turn, error.code, error.detail, error.line)
    except storage.Damaged:
        _fail(turn, "upload_missing", "The uploaded file is damaged or gone. Upload it again.")
    except storage.Away as error:
        _fail(turn, error.code, f"{error.detail} Then try again.")
    except DatabaseError:
        raise  # the claim runs out, and the version is taken up again
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(turn, "disk_full", "The worker's disk is full. Make room and try again.")
        else:
            _crash(turn)
    except Exception:
        _crash(turn)


def _fail(turn: Turn, code: str, detail: str, line: int | None = None) -> None:
    try:
        turn.fail(code, detail, line)
    except LostTurn:
        logger.info("Dataset version %s failed, but is no longer ours.", turn.version.pk)


def _crash(turn: Turn) -> None:
    logger.exception("Ingestion of dataset version %s failed.", turn.version.pk)
    _fail(turn, "crashed", "Something went wrong on our side while reading; it has been logged.")


def _made(turn: Turn, folder: Path) -> dict[str, Any]:
    """The fields that a ready version has."""
    version = turn.version
    turn.beat(making.READING, 0.0)
    return making.made(UploadedRows(version, _local_files(version, folder)), folder, turn.beat)


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
        empty = "The column of the labels is empty." if self.form.has_columns else "No labels."
        self.unlabelled = f"{empty} {making.Source.unlabelled}"

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
        role = {"input": "text"}.get(column["role"], column["role"])
        if isinstance(origin := plan.columns.get(role), str):
            column["from"] = origin
    names = stored.stored_names(plan.others, [one["name"] for one in inputs])
    for name, origin in zip(names, plan.others, strict=True):
        columns.append({"name": name, "type": "string", "role": "extra", "from": origin})
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
                for one in form.rows(handle, file["name"], file["dialect"], here):
                    if isinstance(one, LeftOut):
                        tally.place(one.code, prefix + one.source)
                        continue
                    one.split = one.split or file["split"]
                    yield one, prefix + one.source, before / size
                    if not next(steps) % STEP:
                        before = done + handle.tell()
            except BadFile as error:
                if several and file["name"] not in error.detail:
                    error.detail = f"{file['name']}: {error.detail}"
                raise
        before = done = done + path.stat().st_size

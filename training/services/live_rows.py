"""What is done with rows that a monitor was sent: pictures, sounds, and datasets of them."""

from __future__ import annotations

import logging
from datetime import timedelta

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Missing
from projects.ingest import audio_folder, image_folder
from projects.models import DatasetVersion, User
from projects.services import operations
from training.models import Monitor, MonitorWindow
from training.services import inferences

log = logging.getLogger(__name__)

OPERATION = "live"  # operations/live.py
MOST_PIXELS = 480
MOST_ROWS = 10_000


def content(*, monitor: Monitor, row_id: str) -> bytes:
    """A row's picture as a PNG, or its sound as a WAV, made anew from its pixels or samples. Raises
    Missing."""
    found = inferences.by_ids(monitor, [row_id])
    given = found[0]["input"] if found else None
    sha256 = given.get("sha256") if isinstance(given, dict) else None
    if not isinstance(sha256, str):
        raise Missing("No picture or sound of this row is kept.")
    try:
        with storage.open_blob(sha256) as file:
            encoded = file.read()
    except storage.Damaged as error:
        raise Missing(str(error)) from None
    try:
        if monitor.task.startswith("audio"):
            return audio_folder.playable(encoded)
        return image_folder.thumbnail(encoded, MOST_PIXELS)
    except Exception as error:  # a decoder meets anything in what people send
        log.info("What was sent of %s cannot be shown: %s", monitor, type(error).__name__)
        raise Missing("What was sent is too large to be shown, or cannot be read.") from None


def dataset_of(*, monitor: Monitor) -> DatasetVersion | None:
    """To which its rows can be added: what its reference is of, else what its model learnt from."""
    if monitor.dataset_version is not None:
        return monitor.dataset_version
    run = getattr(monitor.version, "produced_by", None) if monitor.version is not None else None
    return run.dataset_version if run is not None else None


def collect(*, monitor: Monitor, window: MonitorWindow, by: User) -> DatasetVersion:
    """Have a worker make the next version of its dataset, with the window's rows in it. Raises
    Conflict, and Invalid for rows that do not fit."""
    version = dataset_of(monitor=monitor)
    if version is None:
        raise Conflict(
            "There is no dataset that these rows belong to: the reference is traffic, and no run "
            "here made the model."
        )
    return operations.change(
        version=version,
        operation=OPERATION,
        options={
            "monitor": monitor.name,
            "since": window.starts_at.isoformat(),
            # The last row of a window of rows stands at its end.
            "until": (window.ends_at + timedelta(milliseconds=1)).isoformat(),
            "rows": MOST_ROWS,
        },
        by=by,
    )

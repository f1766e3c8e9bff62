"""A run's predictions as a table for a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from django.http import FileResponse

from distillhub.lib import downloads
from projects.ingest import written
from training.models import Run
from training.services import predicted_rows
from training.services.predicted_rows import Asked, PredictedRows

WHO = ("student", "teacher", "control")
OF_EACH = ("answer", "confidence", "loss", "right", "error")


def download(*, run: Run, asked: Asked) -> FileResponse:
    """All rows that are asked for, in their order. Raises what `predicted_rows.of` raises."""
    found = predicted_rows.of(run, asked)
    name = f"run-{run.number}-predictions.csv"
    return downloads.streamed(_pieces(found), name=name, media_type="text/csv; charset=utf-8")


def _pieces(found: PredictedRows) -> Iterator[bytes]:
    """UTF-8, commas, CRLF; no cell is one that a spreadsheet takes for a formula."""
    version = found.rows.run.dataset_version
    features = list(version.features) if version is not None else []
    size = found.rows.unit or "size"
    text = io.StringIO(newline="")
    out = csv.writer(text)
    heads = [f"{who}_{name}".removesuffix("_answer") for who in WHO for name in OF_EACH]
    names = map(written.escaped, features)
    out.writerow(["row_id", "label", *heads, "divergence", "gap", size, "input", *names])
    for row in found.every():
        values = [(row[who] or {}).get(name) for who in WHO for name in OF_EACH]
        own: list[Any] = [row["row_id"], row["label"], *values, row["divergence"], row["gap"]]
        own += [row["size"], row["input"], *((row["features"] or {}).get(one) for one in features)]
        out.writerow(map(written.escaped, own))
        if text.tell() > downloads.PIECE:
            yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    said = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return said

"""The audit log as a file: JSON lines, of which each digest can be computed anew, or a table."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse

from distillhub.lib import downloads
from projects.ingest import written
from projects.models import AuditEntry, Project
from projects.services import audit

TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


def download(*, form: str, asked: Mapping[str, Any], project: Project | None) -> FileResponse:
    """All that is asked for, of a project or of everything, written while it is sent."""
    entries = audit.found(project=project, **asked)
    pieces = table(entries) if form == "csv" else lines(entries)
    name = f"{project.slug if project is not None else 'distillhub'}-audit.{form}"
    return downloads.streamed(pieces, name=name, media_type=TYPES[form])


def told(entry: AuditEntry) -> dict[str, Any]:
    """All of it, as JSON has it: whoever keeps this can compute every digest anew."""
    row = {name: getattr(entry, name) for name in (*audit.COLUMNS, "digest")}
    return {**row, "at": audit.moment(entry.at)}


def lines(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """JSON Lines, oldest first, as the chain goes."""
    for entry in entries.order_by("number").iterator(chunk_size=audit.BATCH):
        yield json.dumps(told(entry), ensure_ascii=False).encode() + b"\n"


def table(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """CSV, oldest first, for a spreadsheet, which takes none of it for a formula."""
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow([*audit.COLUMNS, "digest"])
    for entry in entries.order_by("number").iterator(chunk_size=audit.BATCH):
        row = told(entry)
        row["detail"] = json.dumps(row["detail"], ensure_ascii=False) if row["detail"] else ""
        out.writerow([written.escaped("" if cell is None else str(cell)) for cell in row.values()])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()

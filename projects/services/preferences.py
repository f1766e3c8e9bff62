"""Pairs of answers of which one is better, as TRL reads them: `prompt`, `chosen`, `rejected`.

Texts become texts, chats lists of messages of which the last ones are the answers
(https://huggingface.co/docs/trl/dataset_formats#preference).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import FileResponse

from distillhub.lib import downloads
from distillhub.lib.errors import Conflict
from distillhub.lib.later import Later, np
from projects.ingest import page
from projects.models import DatasetVersion, Review, ReviewQueue
from projects.services import datasets, reviews

pq = Later("pyarrow.parquet")

BATCH = 1000  # rows
REJECTED = "rejected"  # the column that holds an answer which is worse than the text
PROMPT = "prompt"


class NoPairs(Conflict):
    """Nothing here says which of two answers is better."""

    code = "no_pairs"


def has_pairs(version: DatasetVersion) -> bool:
    return version.input_column == "text" and any(
        one["name"] == REJECTED and one["type"] == "string" for one in version.columns
    )


def of_version(*, version: DatasetVersion) -> FileResponse:
    """JSON Lines of the rows that have a rejected answer. Raises NoPairs, NotReady and Missing."""
    datasets.require_ready(version)
    if not has_pairs(version):
        raise NoPairs(f"{version.reference} has no column {REJECTED} beside its texts.")
    stream = datasets.open_file(version=version)

    def lines() -> Iterator[bytes]:
        with stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    if row["text"] and row[REJECTED]:
                        yield _line(pair(row.get(PROMPT), row["text"], row[REJECTED]))

    name = f"{version.dataset.name}-{version.number}-preferences.jsonl"
    return downloads.streamed(lines(), name=name, media_type="application/jsonl")


def of_queue(*, queue: ReviewQueue) -> FileResponse:
    """JSON Lines of the rows of which more people chose the one answer than the other. Ties and
    skipped rows are left out. Raises NoPairs, NotReady and Missing."""
    if queue.kind != ReviewQueue.Kind.COMPARE:
        raise NoPairs("Nothing is compared in this review.")
    votes: dict[int, int] = {}
    for one in reviews.given(queue):
        if one.chosen in (Review.Chosen.FIRST, Review.Chosen.SECOND):
            vote = 1 if one.chosen == Review.Chosen.FIRST else -1
            votes[one.item.row_id] = votes.get(one.item.row_id, 0) + vote
    better = {row_id: vote > 0 for row_id, vote in sorted(votes.items()) if vote}
    stream = datasets.open_file(version=queue.version)

    def lines() -> Iterator[bytes]:
        with stream:
            ids = np.array(list(better), dtype=np.int64)
            for start in range(0, len(ids), BATCH):
                for row in page.these(stream, ids[start : start + BATCH]):
                    yield _line(_chosen(queue, row, is_first=better[row["row_id"]]))

    name = f"{queue.version.dataset.name}-{queue.version.number}-review-{queue.pk}.jsonl"
    return downloads.streamed(lines(), name=name, media_type="application/jsonl")


def _chosen(queue: ReviewQueue, row: Mapping[str, Any], *, is_first: bool) -> dict[str, Any]:
    first, second = (str(row[name] or "") for name in queue.pair)
    return (
        pair(row.get(PROMPT), first, second) if is_first else pair(row.get(PROMPT), second, first)
    )


def pair(prompt: str | None, chosen: str, rejected: str) -> dict[str, Any]:
    """Of two chats, what both begin with is the prompt."""
    better, worse = chat(chosen), chat(rejected)
    if better is None or worse is None:
        return {"prompt": prompt or "", "chosen": chosen, "rejected": rejected}
    most = min(len(better), len(worse)) - 1  # an answer each is left
    shared = 0
    while shared < most and better[shared] == worse[shared]:
        shared += 1
    return {"prompt": better[:shared], "chosen": better[shared:], "rejected": worse[shared:]}


def chat(text: str) -> list[dict[str, str]] | None:
    """The messages of a stored chat; None of other texts."""
    if not text.startswith("[{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if all(isinstance(one, dict) and {"role", "content"} <= one.keys() for one in found):
        messages: list[dict[str, str]] = found
        return messages
    return None


def _line(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False).encode() + b"\n"

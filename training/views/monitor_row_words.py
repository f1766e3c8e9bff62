"""Rows whose words have tags, as pages show them: the spans of an answer, and word by word."""

from collections.abc import Mapping
from typing import Any

from projects.ingest import words
from training.models import Monitor

JSON = dict[str, Any]

MOST_WORDS = 500  # that are listed one by one
SPANS = 12  # of an answer that are shown


def spans(monitor: Monitor, text: str, tags: list[str] | None) -> JSON | None:
    """The spans of an answer with their words, as far as these were kept; what stands outside of
    all is left out. None of no answer."""
    if not tags:
        return None
    kept = text.split()
    label = " ".join(tags)
    shown = text if len(kept) == len(tags) else label
    kinds = words.types(monitor.labels)
    kinds += [one for one in words.types(tags) if one not in kinds]  # in colours of their own
    pieces = words.pieces(shown, label, kinds)
    found = [one for one in pieces if one["kind"]]
    return {"shown": found[:SPANS], "more": max(0, len(found) - SPANS)}


def each(text: str, row: Mapping[str, Any]) -> list[JSON]:
    """Each word with what was said of it."""
    said = row["prediction"] or []
    kept = text.split()
    teacher = (row["teacher"] or {}).get("prediction")
    label, chances = row["label"], row["probabilities"]
    found = []
    for at, tag in enumerate(said[:MOST_WORDS]):
        true, taught = (
            side[at] if side and len(side) == len(said) else None for side in (label, teacher)
        )
        found.append({
            "word": kept[at] if len(kept) == len(said) else "",
            "tag": tag,
            "label": true,
            "teacher": taught,
            "is_wrong": true is not None and true != tag,
            "differs": taught is not None and taught != tag,
            "sure": chances[at].get(tag) if chances and at < len(chances) else None,
        })  # fmt: skip
    return found

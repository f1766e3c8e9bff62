"""A row of the inference log, as pages and REST tell it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from training.models import Monitor

JSON = dict[str, Any]

#: What is known of a written answer, besides `answered.*` (engine/watching/written.py).
OF_ANSWERS = (
    "tokens", "log_probability", "label_same", "label_alike", "teacher_same", "teacher_alike",
)  # fmt: skip


def told(monitor: Monitor, row: Mapping[str, Any]) -> JSON:
    chances = _by_label(monitor, row.get("probabilities"))
    teacher = None
    if row.get("teacher_prediction") is not None:
        teacher = {
            "prediction": row["teacher_prediction"],
            "probabilities": _by_label(monitor, row.get("teacher_probabilities")),
            "share": _known(row.get("teacher_share")),
        }
    number, said = row.get("number"), row.get("prediction")
    return {
        "id": row["id"],
        "time": row["time"].astimezone(UTC),
        "window": row["window"],
        "input": _input(row),
        "prediction": said if said is not None or number is None else number,
        "probabilities": chances,
        "latency_ms": _known(row.get("latency_ms")),
        "label": row.get("label"),
        "teacher": teacher,
        "version": row.get("version"),
        "tags": json.loads(row["tags"]) if row.get("tags") else {},
        "described": {
            name.removeprefix("described."): value
            for name, value in row.items()
            if name.startswith("described.") and value is not None
        },
        "answered": {
            name.removeprefix("answered."): value
            for name, value in row.items()
            if (name.startswith("answered.") or name in OF_ANSWERS) and value is not None
        },
    }


def _input(row: Mapping[str, Any]) -> Any:
    """As it was sent; null where it was not kept."""
    if row.get("cells") is not None:
        return json.loads(row["cells"])
    if row.get("blob") is not None:
        return {"sha256": row["blob"]}
    return row.get("text")


def _by_label(monitor: Monitor, values: Sequence[float] | None) -> JSON | None:
    if values is None or len(values) != len(monitor.labels):
        return None
    pairs = zip(monitor.labels, values, strict=True)
    return {label: float(f"{value:.6g}") for label, value in sorted(pairs, key=lambda p: -p[1])}


def _known(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")

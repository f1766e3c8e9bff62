"""A row of the inference log, as pages and REST tell it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from training.models import Monitor
from training.services.inference_records import BY_WORD

JSON = dict[str, Any]

#: What is known of a written answer, besides `answered.*` (engine/watching/written.py).
OF_ANSWERS = (
    "tokens", "log_probability", "label_same", "label_alike", "teacher_same", "teacher_alike",
)  # fmt: skip


def told(monitor: Monitor, row: Mapping[str, Any]) -> JSON:
    chances_of: Any = _by_word if monitor.task == BY_WORD else _by_label
    chances = chances_of(monitor, row.get("probabilities"))
    teacher = None
    if row.get("teacher_prediction") is not None:
        teacher = {
            "prediction": _answer(monitor, row["teacher_prediction"]),
            "probabilities": chances_of(monitor, row.get("teacher_probabilities")),
            "share": _known(row.get("teacher_share")),
        }
    number, said = row.get("number"), _answer(monitor, row.get("prediction"))
    return {
        "id": row["id"],
        "time": row["time"].astimezone(UTC),
        "window": row["window"],
        "input": _input(row),
        "prediction": said if said is not None or number is None else number,
        "probabilities": chances,
        "latency_ms": _known(row.get("latency_ms")),
        "label": _answer(monitor, row.get("label")),
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


def _answer(monitor: Monitor, said: str | None) -> Any:
    """Tags of words as a list."""
    return said.split(" ") if said and monitor.task == BY_WORD else said


def _by_word(monitor: Monitor, values: Sequence[float] | None) -> list[JSON] | None:
    """Of each word."""
    many = len(monitor.labels)
    if values is None or not many or len(values) % many:
        return None
    found = [_by_label(monitor, values[at : at + many]) for at in range(0, len(values), many)]
    return [one for one in found if one is not None]


def _by_label(monitor: Monitor, values: Sequence[float] | None) -> JSON | None:
    if values is None or len(values) != len(monitor.labels):
        return None
    pairs = zip(monitor.labels, values, strict=True)
    return {label: float(f"{value:.6g}") for label, value in sorted(pairs, key=lambda p: -p[1])}


def _known(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")

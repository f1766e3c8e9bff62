"""Rows that a monitor was sent, as a dataset can learn from them: read, told apart, chosen.

Which of them are for validation and test, a hash of their id decides, so that these stand for all
that came and not for what looked odd. Of the rest a share is drawn in the same way, and the other
comes first where teacher or label contradict the model, where a slice drifted, where a row is
foreign, or the model was unsure.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from projects.ingest.formats import GENERATION_TASK, TEST, TRAIN, UNLABELLED, VALIDATION
from training.models import Monitor, MonitorWindow
from training.operations import live_parts

MOST_CANDIDATES = 50_000  # that are held at once; of more, some are drawn by chance
TRUE, TEACHER = "true", "teacher"  # where a label comes from


@dataclass(slots=True)
class Live:
    """One row, and why it would be chosen."""

    id: str
    window: int
    time: str
    answer: str  # of the model, when it came
    place: float  # from 0 to 1, by the hash of its id
    text: str | None = None
    cells: dict[str, Any] | None = None
    sha256: str = ""  # of a picture or sound
    label: str | None = None
    label_from: str = ""
    weight: float = 0.0

    @property
    def key(self) -> bytes:
        """Of what stands in it: two rows with the same are one."""
        if self.sha256:
            content = self.sha256
        elif self.cells is not None:
            content = json.dumps(self.cells, sort_keys=True, ensure_ascii=False)
        else:
            content = (self.text or "").strip()
        return hashlib.blake2b(content.encode(), digest_size=8).digest()


@dataclass(slots=True)
class Read:
    """What there is to choose from."""

    rows: list[Live] = field(default_factory=list)
    seen: int = 0
    empty: int = 0  # without an input that is kept


def read(
    monitor: Monitor,
    *,
    since: datetime | None,
    until: datetime,
    seed: int,
    labels: bool,
    slices: Sequence[str] = (),
) -> Read:
    """The rows of a time; `labels` says whether what the stored teacher said becomes a label, and
    `slices` which come first."""
    found = Read()
    foreign = _foreign(monitor, since)
    # Rows of models of vectors hold neighbours, which answer nothing.
    answers = monitor.task not in UNLABELLED or monitor.task == GENERATION_TASK
    for row in live_parts.rows(monitor, since=since, until=until, slices=slices):
        found.seen += 1
        one = _live(row, seed)
        if one is None:
            found.empty += 1
            continue
        if not answers:
            one.answer = ""
        elif row.get("label") is not None:
            one.label, one.label_from = str(row["label"]), TRUE
        elif labels and row.get("teacher_prediction") is not None:
            one.label, one.label_from = str(row["teacher_prediction"]), TEACHER
        one.weight = _weight(row, one, foreign)
        found.rows.append(one)
        if len(found.rows) >= 2 * MOST_CANDIDATES:
            found.rows = _fewer(found.rows)
    found.rows = _fewer(found.rows)
    return found


def chosen(
    rows: list[Live],
    *,
    many: int,
    test: float,
    validation: float,
    chance: float,
    known: dict[bytes, set[str | None]] | None,
) -> tuple[list[tuple[str, Live]], Counter[str]]:
    """At most `many` rows with their splits, and how many were left out and why. `known` holds the
    keys of rows that the dataset has, and their labels: what is known comes again only where a
    label that came says otherwise. None where equal rows are natural."""
    left: Counter[str] = Counter()
    fresh: list[Live] = []
    for one in sorted(rows, key=lambda one: (not one.label_from, one.time, one.id)):
        if known is not None:
            labels = known.get(one.key)
            if labels is not None and (one.label_from != TRUE or one.label in labels):
                left["known"] += 1
                continue
            known.setdefault(one.key, set()).add(one.label)
        fresh.append(one)
    parts: dict[str, list[Live]] = {TEST: [], VALIDATION: [], TRAIN: []}
    for one in fresh:
        if one.place < test:
            parts[TEST].append(one)
        elif one.place < test + validation:
            parts[VALIDATION].append(one)
        else:
            parts[TRAIN].append(one)
    shares = {TEST: test, VALIDATION: validation, TRAIN: 1 - test - validation}
    picked: list[tuple[str, Live]] = []
    for split, own in parts.items():
        quota = round(many * shares[split])
        drawn = sorted(own, key=lambda one: one.place)
        if split == TRAIN and len(own) > quota:
            first = sorted(own, key=lambda one: (-one.weight, one.place))
            first = first[: quota - round(quota * chance)]
            names = {one.id for one in first}
            drawn = first + [one for one in drawn if one.id not in names]
        picked += [(split, one) for one in drawn[:quota]]
        left["beyond"] += len(own) - len(drawn[:quota])
    return sorted(picked, key=lambda pair: (pair[1].time, pair[1].id)), left


def _live(row: Mapping[str, Any], seed: int) -> Live | None:
    """None of a row whose input was not kept."""
    one = Live(
        id=str(row["id"]),
        window=int(row.get("window") or 0),
        time=_iso(row.get("time")),
        answer=_answer(row),
        place=_place(str(row["id"]), seed),
    )
    if row.get("blob"):
        one.sha256 = str(row["blob"])
    elif row.get("cells"):
        cells = row["cells"]
        one.cells = json.loads(cells) if isinstance(cells, str) else dict(cells)
    elif str(row.get("text") or "").strip():
        one.text = str(row["text"])
    else:
        return None
    return one


def _answer(row: Mapping[str, Any]) -> str:
    if row.get("prediction") is not None:
        return str(row["prediction"])
    return "" if row.get("number") is None else f"{row['number']:.6g}"


def _iso(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value or "")


def _place(name: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _weight(row: Mapping[str, Any], one: Live, foreign: Mapping[str, float]) -> float:
    """How much there is to learn from it: 4 in a slice that drifted, 2 where somebody contradicts
    the model, up to 1 for how foreign it is, up to 1 for how unsure the model was."""
    said = row.get("teacher_prediction") if one.label is None else one.label
    contradicted = said is not None and bool(one.answer) and str(said) != one.answer
    chances = row.get("probabilities")
    unsure = 1.0 - max(chances) if chances is not None and len(chances) else 0.0
    first = 4.0 * bool(row.get(live_parts.IN_SLICE))
    return first + 2.0 * contradicted + foreign.get(one.id, 0.0) + float(unsure)


def _foreign(monitor: Monitor, since: datetime | None) -> dict[str, float]:
    """{id: from 0 to 1} of the rows that windows name as farthest from the reference."""
    windows = MonitorWindow.objects.filter(monitor=monitor)
    if since is not None:
        windows = windows.filter(ends_at__gte=since)
    found: dict[str, float] = {}
    for named in windows.values_list("facts__most_foreign", flat=True).iterator():
        ids = named or []
        found |= {str(one): 1.0 - at / (2 * len(ids)) for at, one in enumerate(ids)}
    return found


def _fewer(rows: list[Live]) -> list[Live]:
    """As many as are held, by chance."""
    if len(rows) <= MOST_CANDIDATES:
        return rows
    return sorted(rows, key=lambda one: one.place)[:MOST_CANDIDATES]

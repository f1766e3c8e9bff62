"""What the points of a map are told apart by: labels, splits, columns, and what runs and their
teachers said of the rows. And which rows are drawn, where there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from distillhub.lib.errors import Invalid
from distillhub.lib.later import Later, np
from projects.ingest import restored
from projects.ingest.formats import SPLITS, TOKENS_TASK, UNLABELLED
from projects.models import DatasetVersion
from projects.services import datasets
from training.models import Artifact, Run
from training.services import artifacts

pq = Later("pyarrow.parquet")

MOST_DRAWN = 2000  # points: each is an element of the page
MOST_GROUPS = 10  # beside one for all others
MOST_RUNS = 20  # offered, the newest first
FIFTHS = 5  # groups that numbers are cut into
COMPARED = {"string", "category", "number", "integer"}

RIGHT, WRONG, UNJUDGED = "right", "wrong", "not judged"
ORDERED = ((WRONG, RIGHT, UNJUDGED), SPLITS)  # so that each looks the same, whatever is shown


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that points can be told apart by."""

    key: str
    words: str


@dataclass(slots=True)
class Group:
    name: str
    places: list[int] = field(default_factory=list)  # within the rows that are drawn
    quiet: bool = False  # all others, and what nobody knows


def choices(*, version: DatasetVersion) -> list[Choice]:
    """What this version's points can be told apart by."""
    found = []
    task = version.dataset.task
    if version.labels or (task not in UNLABELLED and version.problem == "regression"):
        found.append(Choice("label", "label"))
    found.append(Choice("split", "split"))
    found += [
        Choice(f"column:{one['name']}", f"column {one['name']}")
        for one in version.columns
        if one["role"] in restored.KEPT and one["type"] in COMPARED
    ]
    for run in _judged(version):
        found.append(Choice(f"error:{run.number}", f"errors of run {run.number}, {run.name}"))
        if run.config.get("teachers"):
            found.append(Choice(f"teacher:{run.number}", f"answers of run {run.number}'s teacher"))
    return [one for one in found if not (task == TOKENS_TASK and one.key == "label")]


def drawn(*, version: DatasetVersion, row_ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """At most MOST_DRAWN of these rows, increasing, always the same: of each label its share, and
    at least one, evenly spread over the file."""
    if len(row_ids) <= MOST_DRAWN:
        return row_ids
    with datasets.open_file(version=version) as stream:
        labels = pq.read_table(stream, columns=["label"])["label"].combine_chunks()
    codes = labels.dictionary_encode().indices.fill_null(-1).to_numpy()[row_ids]
    kinds, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(kinds) > MOST_DRAWN // 2:
        spread: np.ndarray[Any, Any] = row_ids[_spread(len(row_ids), MOST_DRAWN)]
        return spread
    shares = np.maximum(1, np.floor(MOST_DRAWN * counts / len(row_ids))).astype(np.int64)
    while shares.sum() > MOST_DRAWN:
        shares[shares.argmax()] -= 1
    found = [
        row_ids[which == one][_spread(int(counts[one]), int(shares[one]))]
        for one in range(len(kinds))
    ]
    return np.sort(np.concatenate(found))


def values(
    *, version: DatasetVersion, by: str, rows: Sequence[Mapping[str, Any]]
) -> list[str | float | None]:
    """Of each row, what points are told apart by. Raises Invalid for what there is not."""
    kind, _, name = by.partition(":")
    if by not in {one.key for one in choices(version=version)}:
        sentence = "Points cannot be told apart by that."
        raise Invalid(sentence, fields={"by": [sentence]})
    if kind in ("label", "split"):
        found = [row[kind] for row in rows]
        return [_number(one) for one in found] if _is_number(version, kind) else found
    if kind == "column":
        return [row.get(name) for row in rows]
    run = next(one for one in _judged(version) if one.number == int(name))
    told = _predictions(run)
    said = [told.get(row["row_id"]) for row in rows]
    if kind == "teacher":
        return [None if one is None else one["teacher"] for one in said]
    if version.problem == "regression":
        return [None if one is None else _root(one["student_value"]) for one in said]
    return [_verdict(one) for one in said]


def grouped(values: Sequence[str | float | None], *, first: str = "") -> list[Group]:
    """Rows by their value: the commonest ones with a group each, all others together; numbers by
    fifths. `first` has one whatever its size."""
    numbers = [one for one in values if isinstance(one, int | float)]
    known = [one for one in values if one is not None]
    if numbers and len(numbers) == len(known) and len(set(numbers)) > MOST_GROUPS:
        return _fifths(values)
    texts = [None if one is None else _spelt(one) for one in values]
    counts = Counter(one for one in texts if one is not None)
    order = sorted(counts, key=lambda one: (one != first, -counts[one], one))
    ordered = next((one for one in ORDERED if set(counts) <= set(one)), None)
    if ordered is not None:
        order = [one for one in ordered if one in counts]
    elif len(order) <= MOST_GROUPS:
        order = sorted(order)  # so that each keeps its colour, whichever rows are shown
    own = order[:MOST_GROUPS]
    groups = {name: Group(name, quiet=name == UNJUDGED) for name in own}
    others = Group(f"{len(order) - len(own)} others", quiet=True)
    unknown = Group("none", quiet=True)
    for place, text in enumerate(texts):
        home = unknown if text is None else groups.get(text, others)
        home.places.append(place)
    return [one for one in (*groups.values(), others, unknown) if one.places]


def _fifths(values: Sequence[str | float | None]) -> list[Group]:
    known = np.array([np.nan if one is None else float(one) for one in values])
    edges = np.unique(np.nanquantile(known, np.linspace(0, 1, FIFTHS + 1)))
    groups = [Group(f"{low:.4g} to {high:.4g}") for low, high in pairwise(edges.tolist())]
    unknown = Group("none", quiet=True)
    for place, value in enumerate(known.tolist()):
        if value != value:
            unknown.places.append(place)
            continue
        at = int(np.searchsorted(edges, value, side="right")) - 1
        groups[min(max(at, 0), len(groups) - 1)].places.append(place)
    return [one for one in (*groups, unknown) if one.places]


def _judged(version: DatasetVersion) -> list[Run]:
    """Finished runs that left what they said of these rows."""
    return list(
        Run.objects.filter(
            dataset_version=version,
            status=Run.Status.FINISHED,
            artifacts__kind="predictions",
        )
        .distinct()
        .order_by("-pk")[:MOST_RUNS]
    )


def _predictions(run: Run) -> dict[int, dict[str, Any]]:
    """{row: what the student and the teacher said of it}."""
    file: Artifact = run.artifacts.filter(kind="predictions").latest("pk")
    columns = ["row_id", "teacher", "student_value"]
    with artifacts.open_file(artifact=file) as stream:
        table = pq.read_table(stream, columns=columns)
    return {row["row_id"]: row for row in table.to_pylist()}


def _verdict(said: Mapping[str, Any] | None) -> str:
    if said is None or said["student_value"] is None:
        return UNJUDGED
    return RIGHT if said["student_value"] >= 1 else WRONG


def _root(value: float | None) -> float | None:
    return None if value is None else value**0.5


def _is_number(version: DatasetVersion, kind: str) -> bool:
    return kind == "label" and version.problem == "regression"


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _spelt(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _spread(count: int, some: int) -> np.ndarray[Any, Any]:
    return np.unique(np.linspace(0, count - 1, some).astype(np.int64))

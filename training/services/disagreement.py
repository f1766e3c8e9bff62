"""Two students on the same rows: where both are right, where one of them is, and how sure it is
that one is better. Told from the files of predictions; nothing is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Unavailable
from distillhub.lib.later import Later, np
from projects.models import DatasetVersion, ReviewQueue, User
from projects.services import datasets, review_rows, reviews, version_rows
from training.models import Run
from training.worker import comparison, predictions

row_scores = Later("training.engine.row_scores")  # brings numpy

#: Kinds of rows that are right or wrong, and of rows that are worth a number. A is the first run.
BINARY = ("both_right", "only_a", "only_b", "both_wrong")
GRADED = ("a_better", "b_better", "alike")
EVERY = (*BINARY, *GRADED, "differ")  # of the last, the two answered otherwise
MOST_ROWS = 500  # in one answer
LONGEST = 500  # characters of an answer that is shown beside a row


@dataclass(frozen=True, slots=True)
class Disagreement:
    """counts are of all rows that both answered and whose label is known; `rows` those asked for,
    from `offset` on; `found` how many these are in all."""

    a: Run
    b: Run
    version: DatasetVersion
    split: str
    metric: str  # that a row is worth; `accuracy` is 1 or 0
    values: tuple[float, float]  # their means
    counts: dict[str, int]
    differ: int  # rows that the two answered otherwise
    difference: dict[str, Any]  # of A to B, with interval, level, mcnemar_p, answer
    sentence: str
    found: int
    offset: int
    rows: list[dict[str, Any]]

    @property
    def is_binary(self) -> bool:
        return "only_a" in self.counts


def of(
    *, a: Run, b: Run, kind: str = "", label: str = "", offset: int = 0, limit: int = 50
) -> Disagreement:
    """Of two runs that were evaluated on the same split of the same dataset version.

    Raises Conflict where they were not, Unavailable when storage has lost a file, and Invalid.
    """
    both = _Both(a, b)
    places = both.chosen(kind, label)
    shown = places[offset : offset + max(0, min(limit, MOST_ROWS))]
    values = (float(both.ours.value.mean()), float(both.theirs.value.mean()))
    return Disagreement(
        a=a,
        b=b,
        version=both.version,
        split=both.split,
        metric=both.measure.metric,
        values=values,
        counts={name: int(where.sum()) for name, where in both.kinds.items() if name != "differ"},
        differ=int(both.kinds["differ"].sum()),
        difference=both.difference,
        sentence=_sentence(both),
        found=len(places),
        offset=offset,
        rows=_with_inputs(both.version, [both.row(int(at)) for at in shown]),
    )


def review(
    *,
    a: Run,
    b: Run,
    by: User,
    kind: str = "differ",
    label: str = "",
    many: int = 100,
    assignees: Sequence[str] = (),
    only_assignees: bool = False,
) -> ReviewQueue:
    """A review of these rows, each with what both answered. Raises what `of` does, and Invalid
    where no row is like that."""
    both = _Both(a, b)
    datasets.require_ready(both.version)
    reviews.check_kind(both.version, ReviewQueue.Kind.LABELS, [])
    places = both.chosen(kind, label)[:many]
    if not len(places):
        raise Invalid("No row is like that.", fields={"kind": ["No row is like that."]})
    chosen = []
    for at in map(int, places):
        row = both.row(at)
        said: dict[str, Any] = {}
        for run, who in ((a, "a"), (b, "b")):
            name = f"run {run.number}"
            said[name] = (row[who] or "")[:LONGEST]
            said[f"{name}_confidence"] = row[f"{who}_confidence"]
        order = float(both.order[at])
        chosen.append(review_rows.Chosen(row["row_id"], order, row["label"], said))
    return reviews.make(
        version=both.version,
        chosen=chosen,
        told={"how": "two_runs", "run": a.number, "other": b.number, "seed": 0, "many": many},
        name=f"{review_rows.OF_TWO_RUNS['two_runs']}, runs {a.number} and {b.number}",
        kind=ReviewQueue.Kind.LABELS,
        by=by,
        assignees=assignees,
        only_assignees=only_assignees,
    )


class _Both:
    """The rows that both answered and whose label is known, in one order."""

    def __init__(self, a: Run, b: Run) -> None:
        if a.pk == b.pk:
            raise Invalid("Name two different runs.", fields={"runs": ["Name two runs."]})
        if a.dataset_version_id is None or a.dataset_version_id != b.dataset_version_id:
            raise Conflict(
                f"Runs {a.number} and {b.number} were not trained on the same dataset version, so "
                "their answers are to other rows.",
                code="other_data",
            )
        assert a.dataset_version is not None
        self.a, self.b, self.version = a, b, a.dataset_version
        self.measure = comparison.measure_of(a)
        form = row_scores.form_of(a.task, a.summary.get("problem") or self.version.problem)
        if form == "vectors":
            raise Conflict("Vectors are neither right nor wrong.", code="not_judged")
        first, second = _table(a), _table(b)
        self.split = _split(first)
        if _split(second) != self.split:
            raise Conflict(
                f"Run {a.number} was evaluated on {self.split} rows and run {b.number} on "
                f"{_split(second)} rows.",
                code="other_data",
            )
        ours = row_scores.Answers.of(first, "student", form)
        theirs = row_scores.Answers.of(second, "student", form)
        if ours is None or theirs is None:
            raise Conflict("One of them has said nothing.", code="not_evaluated")
        ids = [table.column("row_id").to_numpy() for table in (first, second)]
        shared, mine, others = np.intersect1d(
            ids[0][ours.known], ids[1][theirs.known], return_indices=True
        )
        if not len(shared):
            raise Conflict("There is no row with a label that both answered.", code="other_data")
        self.ids = shared
        self.ours = ours.at(np.flatnonzero(ours.known)[mine])
        self.theirs = theirs.at(np.flatnonzero(theirs.known)[others])
        falls = self.measure.falls
        self.difference = dict(
            row_scores.difference(
                self.ours.value, self.theirs.value, "rmse" if falls else "accuracy"
            )
        )
        self.kinds = self._kinds()
        sure = np.nan_to_num(self.ours.confidence) + np.nan_to_num(self.theirs.confidence)
        apart = np.abs(self.ours.value - self.theirs.value)
        self.order = sure if "only_a" in self.kinds else apart

    def _kinds(self) -> dict[str, Any]:
        ours, theirs = self.ours.value, self.theirs.value
        pairs = zip(self.ours.said, self.theirs.said, strict=True)
        differ = np.array([one != other for one, other in pairs], dtype=bool)
        if np.isin(ours, (0.0, 1.0)).all() and np.isin(theirs, (0.0, 1.0)).all():
            a, b = ours > 0.5, theirs > 0.5
            found = zip(BINARY, (a & b, a & ~b, ~a & b, ~a & ~b), strict=True)
            return dict(found) | {"differ": differ}
        better = ours < theirs if self.measure.falls else ours > theirs
        alike = ours == theirs
        found = zip(GRADED, (better, ~better & ~alike, alike), strict=True)
        return dict(found) | {"differ": differ if differ.any() else ~alike}

    def chosen(self, kind: str, label: str) -> Any:
        """Places of the rows that are asked for, the surest first, or those furthest apart."""
        if kind and kind not in self.kinds:
            known = ", ".join(self.kinds)
            sentence = f"There are no rows of the kind {kind}; there are {known}."
            raise Invalid(sentence, fields={"kind": [sentence]})
        where = self.kinds[kind] if kind else np.ones(len(self.ids), dtype=bool)
        if label:
            where = where & (self.ours.truths == label)
        places = np.flatnonzero(where)
        return places[np.argsort(-self.order[places], kind="stable")]

    def row(self, at: int) -> dict[str, Any]:
        kind = next(name for name, where in self.kinds.items() if where[at])
        return {
            "row_id": int(self.ids[at]),
            "kind": kind,
            "label": self.ours.truths[at],
            "a": self.ours.said[at],
            "a_confidence": _known(self.ours.confidence[at]),
            "a_value": float(self.ours.value[at]),
            "b": self.theirs.said[at],
            "b_confidence": _known(self.theirs.confidence[at]),
            "b_value": float(self.theirs.value[at]),
        }


def _table(run: Run) -> Any:
    file = predictions.file_of(run)
    if file is None:
        sentence = f"Run {run.number} has left no predictions ({run.status})."
        raise Conflict(sentence, code="not_evaluated")
    try:
        return predictions.read(file)
    except storage.Damaged:
        raise Unavailable("A file of predictions is missing from storage.") from None


def _split(table: Any) -> str:
    return str(table.column("split")[0]) if table.num_rows else ""


def _known(value: Any) -> float | None:
    return float(value) if value == value else None


def _with_inputs(version: DatasetVersion, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with its text; None where it is no text, or the file is away."""
    ids = [row["row_id"] for row in rows]
    texts: Mapping[int, Any] = {}
    if ids and version.input_column == "text":
        try:
            found, _ = version_rows.rows_and_total(version=version, row_ids=ids, limit=len(ids))
        except (storage.Damaged, storage.Away):
            found = []
        texts = {one["row_id"]: one.get("text") for one in found}
    return [row | {"input": texts.get(row["row_id"])} for row in rows]


def _sentence(both: _Both) -> str:
    found, measure = both.difference, both.measure
    low, high = (measure.difference(edge) for edge in found["interval"])
    unit = f" {measure.unit}" if measure.unit else ""
    rows = f"{len(both.ids):,} rows".replace(",", " ")
    size = f"{abs(found['difference']) * measure.factor:.{measure.places}f}{unit}"
    told = f"{low} to {high}{unit}, 95 % interval, on {rows}"
    if found.get("mcnemar_p") is not None:
        told += f"; McNemar's p is {_p(found['mcnemar_p'])}"
    a, b = both.a.number, both.b.number
    match found["answer"]:
        case "helped":
            return f"Run {a} is better than run {b}: {size} {measure.better} ({told})."
        case "hurt":
            return f"Run {a} is worse than run {b}: {size} {measure.worse} ({told})."
        case _:
            return f"No evidence that runs {a} and {b} differ ({told})."


def _p(value: float) -> str:
    return "under 0.0001" if value < 0.0001 else f"{value:.2g}"

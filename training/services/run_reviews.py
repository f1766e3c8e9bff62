"""Rows for people to review, chosen by what a finished run answered on its evaluated split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Unavailable
from distillhub.lib.later import Later, np
from projects.ingest import page
from projects.models import ReviewQueue, User
from projects.operations import conditions as row_conditions
from projects.services import datasets, review_rows, reviews
from training.models import Run
from training.worker import predictions

row_scores = Later("training.engine.row_scores")  # brings numpy

LONGEST = 500  # characters of an answer that is shown beside a row


def create(
    *,
    run: Run,
    how: str,
    by: User,
    name: str = "",
    kind: str = ReviewQueue.Kind.LABELS,
    many: int = 100,
    conditions: Mapping[str, Any] | None = None,
    blind: bool = False,
    reviews_per_row: int = 1,
    row_ids: Sequence[int] = (),
    assignees: Sequence[str] = (),
    only_assignees: bool = False,
) -> ReviewQueue:
    """A review of rows of the run's dataset version, each with what student and teacher answered.
    With `how` "named" they are `row_ids`, in their order.

    Raises Conflict before the run has been evaluated, Unavailable when storage has lost its
    answers, and Invalid with `fields`.
    """
    version, file = run.dataset_version, predictions.file_of(run)
    if version is None or file is None:
        sentence = f"Run {run.number} has left no predictions to choose rows by ({run.status})."
        raise Conflict(sentence, code="not_evaluated")
    datasets.require_ready(version)
    reviews.check_kind(version, kind, [])
    try:
        table = predictions.read(file)
    except storage.Damaged:
        raise Unavailable("The file of predictions is missing from storage.") from None
    wanted = row_conditions.filter_of(version, conditions or {})
    if not wanted.is_empty:
        with datasets.open_file(version=version) as stream:
            ids = page.matching(stream, wanted, key=version.file_sha256)
        table = table.filter(np.isin(table.column("row_id").to_numpy(), ids))
    form = row_scores.form_of(run.task, run.summary.get("problem") or version.problem)
    if how == "named":
        priorities, many = _of_named(table, row_ids), len(row_ids)
    else:
        priorities = _priorities(table, how, form)
    ranked = np.argsort(-priorities, kind="stable")
    places = [int(one) for one in ranked if np.isfinite(priorities[one])][:many]
    if not places:
        raise Invalid("No row is like that.", fields={"how": ["No row is like that."]})
    asked = dict(conditions or {})
    told = {"how": how, "run": run.number, "seed": 0, "many": many, "conditions": asked}
    return reviews.make(
        version=version,
        chosen=[
            review_rows.Chosen(
                row_id=row["row_id"],
                priority=float(priorities[place]),
                label=row["label"],
                said=_said(row),
            )
            for place, row in zip(places, table.take(places).to_pylist(), strict=True)
        ],
        told=told,
        name=name.strip() or f"{review_rows.EVERY[how]}, run {run.number}",
        kind=kind,
        by=by,
        blind=blind,
        reviews_per_row=reviews_per_row,
        assignees=assignees,
        only_assignees=only_assignees,
    )


def _of_named(table: Any, row_ids: Sequence[int]) -> Any:
    """float [rows]: the first that is named has most, and -inf what is not. Raises Invalid."""
    ranks = {row_id: len(row_ids) - place for place, row_id in enumerate(row_ids)}
    there = table.column("row_id").to_pylist()
    if strange := set(ranks).difference(there):
        sentence = f"Row {min(strange)} is none that this run was judged by."
        raise Invalid(sentence, fields={"row_ids": [sentence]})
    if not 0 < len(ranks) <= reviews.MOST_ROWS:
        sentence = f"Name between one and {reviews.MOST_ROWS} rows."
        raise Invalid(sentence, fields={"row_ids": [sentence]})
    return np.array([float(ranks.get(one, -np.inf)) for one in there])


def _priorities(table: Any, how: str, form: str) -> Any:
    """float [rows]: more is earlier; -inf leaves the row out. Raises Invalid."""
    if form in ("writing", "vectors"):
        what = "Texts that are written are" if form == "writing" else "Vectors are"
        raise _refused(f"{what} neither right nor wrong. Review rows of the dataset instead.")
    student = row_scores.Answers.of(table, "student", form)
    teacher = row_scores.Answers.of(table, "teacher", form)
    nobody = np.full(table.num_rows, -np.inf)
    if student is None:
        return nobody
    if how == "student_wrong":
        if form == "numbers":  # the largest errors first
            return np.where(student.value > 0, student.value, -np.inf)
        sure = np.nan_to_num(student.confidence)
        share = np.nan_to_num(student.value, nan=1.0)
        return np.where(share < 1, 1 - share + sure, -np.inf)
    if how == "student_unsure":
        if form == "numbers":
            raise _refused("Nobody says how sure it is of numbers.")
        return np.where(np.isnan(student.confidence), -np.inf, 1 - student.confidence)
    if teacher is None:
        raise _refused("This run had no teacher.")
    if form == "numbers":
        apart = np.abs(_numbers(student) - _numbers(teacher))
        return np.where(apart > 0, apart, -np.inf)
    pairs = zip(student.said, teacher.said, strict=True)
    differ = np.array([theirs not in (None, ours) for ours, theirs in pairs], dtype=bool)
    sure = np.nan_to_num(student.confidence) + np.nan_to_num(teacher.confidence)
    return np.where(differ, sure, -np.inf)


def _numbers(answers: Any) -> Any:
    return np.array([float(one) for one in answers.said])


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside a row."""
    found: dict[str, Any] = {}
    for who in ("student", "teacher"):
        if row.get(who) is not None:
            found |= {who: row[who][:LONGEST], f"{who}_confidence": row.get(f"{who}_confidence")}
    return found


def _refused(sentence: str) -> Invalid:
    return Invalid(sentence, fields={"how": [sentence]})

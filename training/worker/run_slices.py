"""What a run, its teacher and its control are worth on each slice that is kept with the run.

Made from the files of predictions once they are there, so that a slice which is saved after the
training is told as well. Which rows a slice has says the dataset version, which never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import DomainError
from distillhub.lib.later import Later, np
from projects.ingest import page
from projects.models import DatasetVersion
from training.engine import events
from training.models import Run, RunSlice
from training.worker import predictions

row_scores = Later("training.engine.row_scores")  # brings numpy
row_conditions = Later("projects.operations.conditions")  # brings REST's serializers

JSON = dict[str, Any]


def score(run: Run, slices: Iterable[RunSlice] | None = None) -> int:
    """Score these slices, or all of a finished run; how many were. What is not known of a run that
    left no predictions stays unknown.

    Raises storage.Damaged and storage.Away.
    """
    waiting = list(run.slices.all() if slices is None else slices)
    version = run.dataset_version
    file = predictions.file_of(run)
    if not waiting or file is None or version is None:
        return 0
    control = run.controls.filter(status=Run.Status.FINISHED).order_by("number").first()
    beside = predictions.file_of(control) if control is not None else None
    theirs = predictions.read(beside) if beside is not None else None
    judged = _Judged(run, version, predictions.read(file), theirs)
    for one in waiting:
        one.scores = events.finite(judged.on(one.conditions))
    RunSlice.objects.bulk_update(waiting, ["scores"], batch_size=50)
    return len(waiting)


class _Judged:
    """A run's predictions, and its control's, ready for one slice after the other."""

    def __init__(self, run: Run, version: DatasetVersion, table: Any, beside: Any) -> None:
        self.version = version
        problem = run.summary.get("problem") or version.problem
        self.form = row_scores.form_of(run.task, problem)
        self.names = list(version.labels)
        self.split = str(table.column("split")[0]) if table.num_rows else ""
        self.ids = table.column("row_id").to_numpy()
        self.student = row_scores.Answers.of(table, "student", self.form)
        self.teacher = row_scores.Answers.of(table, "teacher", self.form)
        self.control = None
        if beside is not None:
            self.control_ids = beside.column("row_id").to_numpy()
            self.control = row_scores.Answers.of(beside, "student", self.form)

    def on(self, conditions: JSON) -> JSON:
        """`{"split", "rows", "labelled", "metric", "student", "teacher", "control", "agreement",
        "difference"}`; a network's metrics hold the `interval` of `metric`."""
        try:
            wanted = row_conditions.filter_of(self.version, conditions)
        except DomainError as error:  # a slice of other columns than this version has
            return {"split": self.split, "rows": 0, "labelled": 0, "refused": error.detail}
        with storage.open_blob(self.version.file_sha256) as stream:
            ids = page.matching(stream, wanted, key=self.version.file_sha256)
        where = np.isin(self.ids, ids)
        found: JSON = {"split": self.split, "rows": int(where.sum()), "labelled": 0}
        if self.student is None:
            return found
        ours = self.student.at(where)
        found |= {
            "labelled": int(ours.known.sum()),
            "metric": row_scores.metric_of(ours, self.form),
            "student": self._told(ours),
            "teacher": None,
            "control": None,
            "difference": None,
        }
        if self.teacher is not None:
            theirs = self.teacher.at(where)
            found["teacher"] = self._told(theirs)
            found |= row_scores.closeness(ours, theirs, self.form, self.names)
        if self.control is not None:
            there = np.isin(self.control_ids, ids)
            alone = self.control.at(there)
            found["control"] = self._told(alone)
            found["difference"] = self._apart(where, there, found["metric"])
        return found

    def _told(self, answers: Any) -> JSON | None:
        scores = row_scores.score(answers, self.form, self.names)
        return None if scores is None else dict(scores.as_dict())

    def _apart(self, where: Any, there: Any, metric: str) -> JSON | None:
        """The student against its control, on the rows of the slice that both answered."""
        assert self.student is not None
        assert self.control is not None
        known = [where & self.student.known, there & self.control.known]
        shared, ours, theirs = np.intersect1d(
            self.ids[known[0]], self.control_ids[known[1]], return_indices=True
        )
        if not len(shared):
            return None
        pair = self.student.value[known[0]][ours], self.control.value[known[1]][theirs]
        return dict(row_scores.difference(*pair, metric))

"""What student, teacher and control answered to each row that a finished run was judged by."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Unavailable
from distillhub.lib.later import Later, np
from projects.ingest import page
from training.models import Artifact, Run
from training.worker import predictions

row_scores = Later("training.engine.row_scores")  # brings numpy

JSON = dict[str, Any]
FAR = 0.75  # of numbers, the share that is nearer to what is true than one that is far off
TOLD = 5  # labels of a row that the page draws, and what is true
LEAST = 0.005  # that one of the networks must hold likely of a label
LISTS = ("classes", "student_probabilities", "teacher_probabilities")


class JudgedRows:
    """All of them, in the order of the file; numbers are `[rows]`, NaN where nothing is known.

    divergence: KL(teacher ‖ student) in nats; of numbers how far their answers lie apart; of
    vectors 1 - cosine. gap: how much more of its probability the teacher gave to what is true than
    the student; of numbers how much nearer to it it was; of what is written how many nats a token
    less it lost. size: in `unit`.
    """

    def __init__(self, run: Run) -> None:
        """Raises Conflict before the run has been evaluated, and Unavailable when storage has lost
        its answers."""
        self.run = run
        table, beside = _tables(run)
        problem = run.summary.get("problem") or run.problem
        self.form = str(row_scores.form_of(run.task, problem))
        self.table, self.ids = table, table.column("row_id").to_numpy()
        self.labels = list(run.dataset_version.labels) if run.dataset_version else []
        self.student = row_scores.Answers.of(table, "student", self.form)
        self.teacher = row_scores.Answers.of(table, "teacher", self.form)
        self.control, self.control_at = None, np.full(len(self.ids), -1)
        if beside is not None:
            self.control = row_scores.Answers.of(beside, "student", self.form)
            places = {int(one): at for at, one in enumerate(beside.column("row_id").to_numpy())}
            self.control_at = np.array([places.get(int(one), -1) for one in self.ids], dtype=int)
        self.unit = next((one for one in row_scores.UNITS if one in table.column_names), "")
        self.size = self._column(self.unit)
        self.divergence, self.gap = self._divergence(), self._gap()
        self.edge = self._edge() if self.form == "numbers" else 0.0

    def __len__(self) -> int:
        return len(self.ids)

    def wrong(self, answers: Any) -> Any:
        """1 where it is wrong, 0 where it is right, NaN where that is not known. A number is wrong
        where it is further off than three in four of all that student and teacher answered."""
        wrong = answers.value > self.edge if self.form == "numbers" else answers.value < 1
        return np.where(answers.known, wrong.astype(float), np.nan)

    def _edge(self) -> float:
        both = [one.value for one in (self.student, self.teacher) if one is not None]
        known = np.concatenate(both) if both else np.empty(0)
        known = known[~np.isnan(known)]
        return float(np.quantile(known, FAR)) if len(known) else float("inf")

    def _column(self, name: str) -> Any:
        if not name or name not in self.table.column_names:
            return np.full(len(self.ids), np.nan)
        return np.asarray(self.table.column(name).to_numpy(), dtype=np.float64)

    def _divergence(self) -> Any:
        if self.form == "numbers" and self.teacher is not None:
            pairs = zip(self.student.said, self.teacher.said, strict=True)
            return np.array(
                [np.nan if None in both else abs(float(both[0]) - float(both[1])) for both in pairs]
            )
        if self.form == "vectors":
            return 1 - self._column("cosine")
        return self._column("kl")

    def _gap(self) -> Any:
        if self.teacher is None or self.student is None or self.form == "vectors":
            return np.full(len(self.ids), np.nan)
        if self.form == "numbers":
            return np.sqrt(self.student.value) - np.sqrt(self.teacher.value)
        if self.form == "writing":
            return self.student.nll - self.teacher.nll
        return np.exp(-self.teacher.nll) - np.exp(-self.student.nll)

    def told(self, places: Any) -> list[JSON]:
        """The rows at these places, as docs/fidelity.md tells them, with their inputs: texts and
        features, where the dataset is still there."""
        features = self.run.dataset_version.features if self.run.dataset_version else {}
        return [
            row
            | {
                "input": given.get("text"),
                "features": {name: given.get(name) for name in features} or None,
            }
            for row, given in zip(self._told(places), self._inputs(places), strict=True)
        ]

    def _told(self, places: Any) -> list[JSON]:
        kept = [name for name in LISTS if name in self.table.column_names]
        chances: list[JSON] = [{} for _ in places]
        if len(kept) == len(LISTS) and len(places):
            chances = self.table.select(kept).take(places.tolist()).to_pylist()
        return [
            {
                "row_id": int(self.ids[at]),
                "label": None if self.student is None else self.student.truths[at],
                "student": self._answer(self.student, at),
                "teacher": self._answer(self.teacher, at),
                "control": self._answer(self.control, int(self.control_at[at])),
                "divergence": _known(self.divergence[at]),
                "gap": _known(self.gap[at]),
                "size": _known(self.size[at]),
                "probabilities": self._probabilities(own, at),
            }
            for at, own in zip(places.tolist(), chances, strict=True)
        ]

    def _answer(self, answers: Any, at: int) -> JSON | None:
        if answers is None or at < 0:
            return None
        said = answers.said[at]
        if said is None and np.isnan(answers.nll[at]):
            return None
        numbers = self.form == "numbers"
        value = _known(answers.value[at])
        return {
            "answer": said,
            "confidence": _known(answers.confidence[at]),
            "loss": _known(answers.nll[at]),
            "right": None
            if value is None or self.form in ("numbers", "writing", "vectors")
            else value >= 1,
            "error": None if value is None or not numbers else value**0.5,
        }

    def _probabilities(self, own: JSON, at: int) -> list[JSON] | None:
        if not own or own["classes"] is None:
            return None
        names, theirs = self.labels, own["teacher_probabilities"]
        label = self.student.truths[at] if self.student is not None else None
        true = {label}
        if self.form == "several":
            true = set((label or "").split(row_scores.SEPARATOR))
        return [
            {
                "label": name,
                "student": own["student_probabilities"][place],
                "teacher": None if theirs is None else theirs[place],
                "is_true": name in true,
            }
            for place, name in enumerate(
                names[one] if one < len(names) else str(one) for one in own["classes"]
            )
        ]

    def _inputs(self, places: Any) -> list[JSON]:
        """The rows of the dataset, without pictures and sounds; nothing where it is gone."""
        version = self.run.dataset_version
        if version is None or not version.file_sha256 or not len(places):
            return [{} for _ in places]
        try:
            with storage.open_blob(version.file_sha256) as stream:
                return page.these(stream, self.ids[places], without=("image", "audio"))
        except storage.Damaged:
            return [{} for _ in places]


def drawn(row: JSON) -> list[JSON]:
    """The labels of a row that bars are drawn of: the likeliest of both, and what is true."""
    chances: list[JSON] = row["probabilities"] or []

    def largest(one: JSON) -> float:
        return float(max(one["student"], one["teacher"] or 0.0))

    first = sorted(chances, key=largest, reverse=True)
    kept = [one for one in first if largest(one) >= LEAST][:TOLD]
    return kept + [one for one in first if one["is_true"] and one not in kept]


def _tables(run: Run) -> tuple[Any, Any]:
    """The run's predictions, and those of its control where that is over."""
    over = Q(run__control_of=run, run__status=Run.Status.FINISHED)
    files = Artifact.objects.filter(Q(run=run) | over, kind="predictions").select_related("run")
    found = list(files.order_by("run__number", "-pk"))
    own = next((one for one in found if one.run_id == run.pk), None)
    beside = next((one for one in found if one.run_id != run.pk), None)
    if own is None:
        sentence = f"Run {run.number} has left no predictions ({run.status})."
        raise Conflict(sentence, code="not_evaluated")
    try:
        return predictions.read(own), predictions.read(beside) if beside is not None else None
    except storage.Damaged:
        raise Unavailable("The file of predictions is missing from storage.") from None


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)

"""Asking a teacher first: how good a trained version is on a dataset, before it teaches there."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from distillhub.lib.errors import DomainError, Invalid, Missing
from distillhub.templatetags import ui
from projects.models import DatasetVersion, ModelVersion, User
from projects.services import datasets
from training.engine.export_config import FALLING
from training.models import Run, TeacherGate
from training.services import recorded_teachers
from training.worker import gates as working

UNSCORED = "feature-extraction"
LOOKED_AT = 200  # finished runs, the newest first


@dataclass(frozen=True, slots=True)
class Known:
    """A value of the task's metric on validation rows, and where it is known from."""

    metric: str
    value: float
    run: int | None = None  # the number; None where a gate found it

    @property
    def falls(self) -> bool:
        return self.metric in FALLING

    def beats(self, other: "Known") -> bool:
        return self.value < other.value if self.falls else self.value > other.value


def ask(*, version: ModelVersion, dataset: Any, by: User) -> TeacherGate:
    """Queue a gate of a version on a dataset (`banking77@1`); one that is under way is returned.

    Raises Invalid with the fault at its field.
    """
    if version.is_ensemble:
        members = ", ".join(version.source["members"])
        raise Invalid(f"{version.reference} stands for {members}: ask those.")
    if not version.can_teach or version.status != ModelVersion.Status.READY:
        raise Invalid(f"{version.reference} has not been trained, so there is nothing to ask it.")
    if version.model.task == UNSCORED:
        raise Invalid("Vectors are neither right nor wrong, so there is nothing to score.")
    found = _dataset(version, dataset)
    with transaction.atomic():
        under_way = (
            TeacherGate.objects.filter(version=version, dataset_version=found)
            .exclude(status__in=[TeacherGate.Status.READY, TeacherGate.Status.FAILED])
            .first()
        )
        if under_way is not None:
            return under_way
        gate = TeacherGate.objects.create(version=version, dataset_version=found, created_by=by)
        working.WORK.wake(gate)
    return gate


def listed(*, version: ModelVersion) -> QuerySet[TeacherGate]:
    """Of a version, newest first, with what their rows show."""
    return TeacherGate.objects.filter(version=version).select_related(
        "version__model__project", "dataset_version__dataset", "created_by"
    )


def find(*, version: ModelVersion, gate_id: int) -> TeacherGate:
    """Raises Missing."""
    found = listed(version=version).filter(pk=gate_id).first()
    if found is None:
        raise Missing(f"{version.reference} has no gate {gate_id}.")
    return found


def suggested(*, version: ModelVersion) -> DatasetVersion | None:
    """The dataset of the run that made a version, or the newest that fits it."""
    fitting = choices(version=version)
    made_by = Run.objects.filter(output=version).first()
    if made_by is not None:
        return next((one for one in fitting if one.pk == made_by.dataset_version_id), None)
    return fitting[0] if fitting else None


def choices(*, version: ModelVersion) -> list[DatasetVersion]:
    """Datasets it can be asked about, the newest first."""
    model = version.model
    found = list(
        DatasetVersion.objects.ready()
        .filter(dataset__project=model.project_id, dataset__task=model.task)
        .select_related("dataset")
        .order_by("-pk")[:100]
    )
    if version.is_recorded:
        found = recorded_teachers.likely(version, found)
    return [one for one in found if not _unlike(version, one)]


def teacher_score(*, version: ModelVersion, dataset: DatasetVersion) -> Known | None:
    """How good a teacher is on a dataset's validation rows, by a gate or an earlier run with it."""
    gate = (
        TeacherGate.objects.filter(
            version=version, dataset_version=dataset, status=TeacherGate.Status.READY
        )
        .order_by("-pk")
        .first()
    )
    if gate is not None and gate.report is not None:
        metric = gate.report["metric"]
        value = gate.report["metrics"].get(metric)
        if isinstance(value, float | int):
            return Known(metric, float(value))
    runs = Run.objects.filter(dataset_version=dataset, teachers=version).order_by("-pk")
    for run in runs[:20]:
        metric = _metric(run)
        value = run.metrics.get(f"teacher/val/{metric}")
        if len(run.config.get("teachers", [])) == 1 and isinstance(value, float | int):
            return Known(metric, float(value), run.number)
    return None


def best_alone(
    *, dataset: DatasetVersion, metric: str, student: str = "", besides: str = ""
) -> Known | None:
    """The best validation score of a student without a teacher on a dataset: of runs that learned
    from labels alone, controls included. `student` is the name of a model, of which alone it is
    then asked; `besides` one that does not count, being the teacher itself."""
    best: Known | None = None
    finished = Run.objects.filter(
        dataset_version=dataset, status=Run.Status.FINISHED, student__isnull=False
    ).select_related("student__model")
    for run in finished.order_by("-pk")[:LOOKED_AT]:
        assert run.student is not None
        name = run.student.model.name
        if run.is_distillation or name == besides or (student and name != student):
            continue
        if run.student.model.role != "student" and not student:
            continue
        value = _value(run, metric)
        found = None if value is None else Known(metric, value, run.number)
        if found is not None and (best is None or found.beats(best)):
            best = found
    return best


def alone_beside(*, gate: TeacherGate) -> Known | None:
    """What a gate's teacher is held against: the best student alone on the same dataset."""
    if gate.report is None:
        return None
    return best_alone(
        dataset=gate.dataset_version,
        metric=gate.report["metric"],
        besides=gate.version.model.name,
    )


def warnings(
    *, teachers: list[ModelVersion], student: ModelVersion | None, dataset: DatasetVersion
) -> list[str]:
    """Sentences about teachers that are known to be no better than what they shall teach."""
    said = []
    for teacher in teachers:
        known = teacher_score(version=teacher, dataset=dataset)
        if known is None:
            continue
        alone = best_alone(
            dataset=dataset,
            metric=known.metric,
            student=student.model.name if student is not None else "",
            besides=teacher.model.name,
        )
        if alone is not None and not known.beats(alone):
            said.append(
                f"{teacher.reference} scores {spelt(known)} on validation rows; the student alone "
                f"reached {spelt(alone)} in run {alone.run}. A teacher that knows no more can "
                "still smooth labels, but seldom helps."
            )
        elif (gate := _newest(teacher, dataset)) is not None and not gate["recommended"]:
            said.append(f"{teacher.reference}: {gate['sentence']}")
    return said


def spelt(known: Known) -> str:
    """`88.0 % accuracy`."""
    return f"{ui.metric(known.value, known.metric)} {ui.measure(known.metric)}"


def _newest(version: ModelVersion, dataset: DatasetVersion) -> dict[str, Any] | None:
    found = TeacherGate.objects.filter(
        version=version, dataset_version=dataset, status=TeacherGate.Status.READY
    )
    gate = found.order_by("-pk").first()
    return None if gate is None else gate.report


def _metric(run: Run) -> str:
    asked = str(run.config["training"].get("selection_metric", ""))
    metric = asked.removeprefix("val/")
    return "accuracy" if metric in ("", "auto", "loss", "agreement", "kl") else metric


def _value(run: Run, metric: str) -> float | None:
    """What its best checkpoint had on validation rows."""
    summary = run.summary
    if summary.get("selection_metric") == f"val/{metric}":
        value = summary.get("best_value")
    else:
        value = run.metrics.get(f"val/{metric}")
    return float(value) if isinstance(value, float | int) else None


def _dataset(version: ModelVersion, reference: Any) -> DatasetVersion:
    if not isinstance(reference, str) or not reference.strip():
        fault = "Name the dataset it is asked about, such as tickets@1."
        raise Invalid(fault, fields={"dataset": [fault]})
    try:
        found = datasets.resolve(project=version.model.project, reference=reference.strip())
    except DomainError as error:
        raise Invalid(error.detail, fields={"dataset": [error.detail]}) from None
    fault = _misfit(version, found)
    if fault:
        raise Invalid(fault, fields={"dataset": [fault]})
    return found


def _misfit(version: ModelVersion, dataset: DatasetVersion) -> str:
    """Why this version cannot be asked about this dataset; empty when it can."""
    fault = _unlike(version, dataset)
    if not fault and version.is_recorded:
        fault = recorded_teachers.misfit(version, dataset)
    return fault


def _unlike(version: ModelVersion, dataset: DatasetVersion) -> str:
    """The same, as far as is known without reading the dataset."""
    if not dataset.is_ready:
        return f"{dataset.reference} is not ready."
    if dataset.dataset.task != version.model.task:
        return f"{dataset.reference} is for {dataset.dataset.task}, not {version.model.task}."
    if dataset.problem != version.problem and version.model.task != "text-generation":
        return f"{dataset.reference} has answers of another kind than the model."
    if not set(dataset.labels) <= set(version.labels):
        unknown = sorted(set(dataset.labels) - set(version.labels))
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        return (
            f"{version.reference} does not know {', '.join(unknown[:3])}{more}, which "
            f"{dataset.reference} has."
        )
    if not dataset.splits.get("validation", {}).get("rows"):
        return f"{dataset.reference} has no validation rows."
    return ""

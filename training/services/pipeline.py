"""Where a project stands on its way from data to a small model, and what to do next."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse

from projects.models import DatasetVersion, ModelVersion, Project, RegisteredModel
from training.models import Incident, Monitor, Run
from training.services import scores

LOOKED_AT = 500  # finished distillations


@dataclass(frozen=True, slots=True)
class Step:
    """One station of the pipeline. `tone` is its health: good, live, warn, bad or wait."""

    key: str
    label: str
    icon: str
    count: int
    tone: str
    detail: str
    url: str


@dataclass(frozen=True, slots=True)
class Advice:
    title: str
    text: str
    url: str
    action: str


@dataclass(frozen=True, slots=True)
class Best:
    """A result, and how it was chosen."""

    run: Run
    metric: str
    validation: float | None  # that it was chosen by
    among: int  # distillations of the same dataset version
    answer: str  # of the comparison with its control; empty where there is none


@dataclass(frozen=True, slots=True)
class Standing:
    steps: list[Step]
    advice: Advice
    best: Best | None

    @property
    def is_new(self) -> bool:
        return not any(step.count for step in self.steps)


def standing(*, project: Project) -> Standing:
    """Counts and health of each station, advice, and the best distilled result. Eight queries."""
    data = _by_status(DatasetVersion.objects.filter(dataset__project=project))
    models: dict[str, dict[str, Any]] = {
        row["model__role"]: dict(row)
        for row in ModelVersion.objects.filter(model__project=project)
        .values("model__role")
        .annotate(
            models=Count("model", distinct=True),
            ready=Count("pk", filter=Q(status=ModelVersion.Status.READY)),
            failed=Count("pk", filter=Q(status=ModelVersion.Status.FAILED)),
            trained=Count("pk", filter=~Q(files=[])),
            columns=Count("pk", filter=Q(source__kind__in=["column", "ensemble"])),
            asked=Count("pk", filter=Q(source__kind="api", status=ModelVersion.Status.READY)),
        )
    }
    runs = _by_status(Run.objects.filter(project=project))
    made = Run.objects.filter(project=project, output__isnull=False).count()
    best = best_result(project=project)
    teachers = models.get(RegisteredModel.ModelRole.TEACHER, {})
    students = models.get(RegisteredModel.ModelRole.STUDENT, {})
    steps = [
        _data_step(project, data),
        _model_step(project, "teacher", "Teachers", "school", teachers),
        _model_step(project, "student", "Students", "droplet", students),
        _run_step(project, runs),
        Step(
            key="versions",
            label="Versions",
            icon="versions",
            count=made,
            tone="good" if made else "wait",
            detail="trained and kept" if made else "none trained yet",
            url=_to("training:student_list", project),
        ),
        _monitor_step(project),
    ]
    advice = _advice(project, data, teachers, students, runs, best)
    return Standing(steps=steps, advice=advice, best=best)


def best_result(*, project: Project) -> Best | None:
    """The finished distillation whose student scored best on validation rows, of those on the
    dataset version that was used last: other scores do not compare."""
    runs = (
        project.runs.filter(status=Run.Status.FINISHED, control_of=None, archived_at=None)
        .filter(summary__teacher__isnull=False)
        .exclude(summary__teacher=None)
        .select_related("student__model", "output__model", "dataset_version__dataset")
        .order_by("-number")
    )
    newest = runs.first()
    if newest is None:
        return None
    alike = list(runs.filter(dataset_version=newest.dataset_version)[:LOOKED_AT])
    found = scores.best(alike) or newest
    name = scores.headline(found)
    answer = str((found.comparison or {}).get("answer") or "")
    return Best(found, name, scores.of_validation(found, name), len(alike), answer)


def _by_status(rows: Any) -> dict[str, int]:
    counted = rows.order_by().values_list("status").annotate(Count("pk"))
    return dict(counted)


def _to(name: str, project: Project) -> str:
    return reverse(name, args=[project.slug])


def _data_step(project: Project, data: dict[str, int]) -> Step:
    ready, failed = data.get("ready", 0), data.get("failed", 0)
    ingesting = data.get("ingesting", 0)
    if ingesting:
        tone, detail = "live", f"{ingesting} being read"
    elif ready:
        tone, detail = "good", f"{_plural(ready, 'version')} ready"
    elif failed:
        tone, detail = "bad", "could not be read"
    else:
        tone, detail = "wait", "nothing uploaded yet"
    return Step(
        key="data",
        label="Data",
        icon="database",
        count=ready + ingesting,
        tone=tone,
        detail=detail,
        url=_to("projects:dataset_list", project),
    )


def _model_step(
    project: Project, role: str, label: str, icon: str, counted: dict[str, Any]
) -> Step:
    count, trained = counted.get("models", 0), counted.get("trained", 0)
    if not count:
        tone, detail = "wait", "none registered yet"
    elif counted["failed"] and not counted["ready"]:
        tone, detail = "bad", "could not be inspected"
    elif trained or counted["asked"] or counted["columns"]:
        parts = {
            f"{_plural(trained, 'version')} with weights": trained,
            f"{counted['columns']} of columns": counted["columns"],
            f"{counted['asked']} through an API": counted["asked"],
        }
        tone, detail = "good", ", ".join(words for words, many in parts.items() if many)
    else:
        tone, detail = ("warn" if role == "teacher" else "good"), "not trained yet"
    return Step(
        key=f"{role}s",
        label=label,
        icon=icon,
        count=count,
        tone=tone,
        detail=detail,
        url=_to(f"training:{role}_list", project),
    )


def _run_step(project: Project, runs: dict[str, int]) -> Step:
    live = sum(runs.get(status, 0) for status in Run.LEASED)
    waiting = sum(runs.get(status, 0) for status in ("queued", "waiting", "paused"))
    finished, failed = runs.get("finished", 0), runs.get("failed", 0)
    if live:
        tone, detail = "live", f"{live} running" + (f", {waiting} waiting" if waiting else "")
    elif waiting:
        tone, detail = "wait", f"{waiting} waiting for a worker"
    elif finished:
        tone, detail = "good", f"{finished} finished" + (f", {failed} failed" if failed else "")
    elif failed:
        tone, detail = "bad", f"{failed} failed"
    else:
        tone, detail = "wait", "none yet"
    return Step(
        key="runs",
        label="Runs",
        icon="activity",
        count=sum(runs.values()),
        tone=tone,
        detail=detail,
        url=_to("training:run_list", project),
    )


def _monitor_step(project: Project) -> Step:
    monitors = Monitor.objects.filter(project=project).order_by()
    counted = monitors.aggregate(
        all=Count("pk"),
        paused=Count("pk", filter=Q(is_paused=True)),
        fitting=Count("pk", filter=Q(is_paused=False, fitted_at=None)),
    )
    count, paused, fitting = counted["all"], counted["paused"], counted["fitting"]
    found = Incident.objects.filter(project=project, monitor__is_paused=False).open()
    counts = found.order_by().values_list("severity").annotate(Count("pk"))
    worst = dict(counts) if count else {}
    ringing = sum(worst.values())
    if ringing:
        tone = "bad" if "critical" in worst else "warn"
        detail = f"{_plural(ringing, 'incident')} open"
    elif not count:
        tone, detail = "wait", "nothing is watched yet"
    elif paused == count:
        tone, detail = "wait", "paused"
    elif paused + fitting == count:
        tone, detail = "live", "getting to know what is usual"
    else:
        tone, detail = "good", f"{count - paused - fitting} healthy"
        detail += f", {paused} paused" if paused else ""
    return Step(
        key="monitors",
        label="In service",
        icon="heart-rate-monitor",
        count=count,
        tone=tone,
        detail=detail,
        url=_to("training:monitor_list", project),
    )


def _advice(
    project: Project,
    data: dict[str, int],
    teachers: dict[str, Any],
    students: dict[str, Any],
    runs: dict[str, int],
    best: Best | None,
) -> Advice:
    if not data.get("ready"):
        if data.get("ingesting"):
            return Advice(
                title="Your data is being read",
                text="Meanwhile, register the big model that will teach.",
                url=_to("training:model_new", project) + "?role=teacher",
                action="Register a teacher",
            )
        return Advice(
            title="Bring your data",
            text="A CSV or TSV of texts, or a zip of images in folders named by class. "
            "You will see what was understood before anything is stored.",
            url=_to("projects:dataset_new", project),
            action="Upload a dataset",
        )
    if not teachers.get("models"):
        return Advice(
            title="Register a teacher",
            text="The big model that knows the answers: an architecture to train here, a "
            "checkpoint, or a model of the hub.",
            url=_to("training:model_new", project) + "?role=teacher",
            action="Register a teacher",
        )
    if not students.get("models"):
        return Advice(
            title="Register a student",
            text="The small model you want to ship. A hundred times smaller is not too bold.",
            url=_to("training:model_new", project) + "?role=student",
            action="Register a student",
        )
    if live := sum(runs.get(status, 0) for status in [*Run.LEASED, "queued", "waiting"]):
        return Advice(
            title=f"{_plural(live, 'run')} on the way",
            text="Watch the curves as they come; you can leave and come back.",
            url=_to("training:run_list", project),
            action="Watch",
        )
    if not teachers["trained"] and not teachers["columns"] and teachers["asked"]:
        return Advice(
            title="Have your teacher answer",
            text="Your teacher answers through an API. On a dataset, Change has it label rows or "
            "write them; then a student learns from what it said.",
            url=_to("projects:dataset_list", project),
            action="Choose a dataset",
        )
    if not teachers["trained"] and not teachers["columns"]:
        return Advice(
            title="Teach the teacher",
            text="Your teacher has no weights yet. Fine-tune it on your data first; the run's "
            "result becomes its next version.",
            url=_to("training:run_new", project),
            action="Fine-tune the teacher",
        )
    if best is None:
        return Advice(
            title="Distil",
            text="Everything is here: data, a trained teacher and a student. The run carries its "
            "own control, so you will know whether the teacher helped.",
            url=_to("training:run_new", project),
            action="Start a distillation",
        )
    return Advice(
        title="Try to beat your best",
        text="Change one thing at a time: the temperature, the weight of the soft targets, or a "
        "smaller student.",
        url=_to("training:run_new", project) + f"?clone={best.run.number}",
        action=f"Clone run {best.run.number}",
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

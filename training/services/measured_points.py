"""What was measured of models on one split of one dataset: of teachers, students, their controls
and the forms they are shipped in; how good, how fast, how large, and on which machine.

Nothing is estimated here: what nobody measured is None, and two machines are never mixed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db.models import Count, QuerySet, Sum

from projects.models import DatasetVersion, ModelVersion, Project
from training.models import Export, Run, TeacherAnswer, TeacherGate
from training.services import scores

MOST_RUNS = 300  # the newest finished ones
BATCHES = ("1", "32")
TEACHER, STUDENT, CONTROL = "teacher", "student", "control"


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware: two machines of the same kind are one, as they are equally fast."""

    key: str
    label: str


UNKNOWN = Machine("unknown", "a machine that was not written down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a model answered on a machine."""

    machine: Machine
    latency_ms: Mapping[str, float]  # median, by batch size
    p95_ms: Mapping[str, float]
    energy_wh: float | None = None  # of a million rows, at batch 32
    energy_source: str = ""
    run: int | None = None  # that measured it, making each batch included
    export: int | None = None  # or that, its inputs being there


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    key: str  # unique among the points
    name: str
    role: str
    form: str = ""  # of an export: onnx, onnx-int8, …
    reference: str = ""  # of the version, where it is one
    run: int | None = None  # in which it was measured
    export: int | None = None
    teacher: str = ""  # key of the point that taught it
    score: float | None = None
    rows: int | None = None  # that it was judged on
    parameters: int | None = None
    size_bytes: int | None = None
    speeds: tuple[Speed, ...] = ()  # at most one a machine
    price_per_call: float | None = None  # of a service that is paid by token

    def on(self, machine: str) -> Speed | None:
        return next((one for one in self.speeds if one.machine.key == machine), None)


def runs_of(project: Project) -> QuerySet[Run]:
    """Finished trainings, the newest first, with what their points need."""
    return (
        project.runs.launched()
        .filter(status=Run.Status.FINISHED, archived_at=None)
        .select_related("output__model", "worker", "control_of", "dataset_version")
        .prefetch_related("teachers")
        .order_by("-number")
    )


def points(
    *, project: Project, dataset: DatasetVersion, split: str, metric: str, runs: Sequence[Run]
) -> list[Point]:
    """Of the runs on a dataset version, all of one metric. Four queries at most."""
    found: dict[str, Point] = {}
    taught: dict[int, str] = {}
    for run in runs:
        teacher = _teacher(run, dataset, split, metric)
        if teacher is not None:
            taught[run.pk] = teacher.key
            _keep(found, teacher)
    for run in runs:
        of = run.control_of_id if run.control_of_id is not None else run.pk
        _keep(found, _student(run, dataset, split, metric, taught.get(of, "")))
    own = [one.reference for one in found.values() if one.reference]
    if split == "validation":
        for point in _gated(project, dataset, metric, own):
            _keep(found, point)
        for point in _shipped(project, dataset, metric, found):
            _keep(found, point)
    teachers = {one.teacher for one in found.values()} - {""}
    for key in teachers & set(found):
        found[key] = replace(found[key], role=TEACHER)
    return list(_priced(project, found).values())


def _keep(found: dict[str, Point], new: Point) -> None:
    """Of two measurements of one model the first stays, completed by the second."""
    old = found.get(new.key)
    if old is None:
        found[new.key] = new
        return
    changes: dict[str, Any] = {}
    if old.score is None and new.score is not None:
        changes |= {"score": new.score, "rows": new.rows}
    more = [one for one in new.speeds if old.on(one.machine.key) is None]
    if more:
        changes["speeds"] = (*old.speeds, *more)
    for name in ("parameters", "size_bytes"):
        if getattr(old, name) is None:
            changes[name] = getattr(new, name)
    if new.role == STUDENT and not old.teacher and new.teacher:
        changes["teacher"] = new.teacher
    found[new.key] = replace(old, **changes)


def _student(run: Run, dataset: DatasetVersion, split: str, metric: str, teacher: str) -> Point:
    said: Mapping[str, Any] = run.summary.get("student") or {}
    version = run.output
    reference = version.reference if version is not None else ""
    is_control = run.control_of_id is not None
    if split == "validation":
        selected = run.summary.get("selection_metric") == f"val/{metric}"
        score = scores.number(run.summary.get("best_value")) if selected else None
    else:
        score = scores.number(said.get(metric)) if run.summary.get("split") == split else None
    return Point(
        key=reference or f"run/{run.number}",
        name=reference or run.name,
        role=CONTROL if is_control else STUDENT,
        reference=reference,
        run=run.number,
        teacher=teacher,
        score=score,
        rows=_rows(dataset, split),
        **_facts(said, run),
    )


def _teacher(run: Run, dataset: DatasetVersion, split: str, metric: str) -> Point | None:
    """Of a run's teachers together, under their names."""
    if not run.config.get("teachers"):
        return None
    said: Mapping[str, Any] = run.summary.get("teacher") or {}
    versions = list(run.teachers.all())
    name = str(said.get("name") or "")
    if not name:
        return None
    if split == "validation":
        score = scores.number(run.metrics.get(f"teacher/val/{metric}"))
    else:
        score = scores.number(said.get(metric)) if run.summary.get("split") == split else None
    return Point(
        key=name,
        name=name,
        role=TEACHER,
        reference=name if len(versions) == 1 else "",
        run=run.number,
        score=score,
        rows=_rows(dataset, split),
        **_facts(said, run),
    )


def _facts(said: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Sizes, and what a run measured of a network while nothing else ran."""
    speed = _speed(
        said.get("latency_ms"),
        machine_of(run),
        energy_wh=scores.number(said.get("energy_per_million_wh")),
        energy_source=str(said.get("energy_source") or ""),
        run=run.number,
    )
    return {
        "parameters": said.get("parameters"),
        "size_bytes": said.get("size_bytes"),
        "speeds": speed,
    }


def _speed(times: Any, machine: Machine, **more: Any) -> tuple[Speed, ...]:
    known = {size: times[size] for size in BATCHES if size in (times or {})}
    if not known:
        return ()
    median, p95 = (
        {size: float(one[name]) for size, one in known.items()} for name in ("median", "p95")
    )
    return (Speed(machine=machine, latency_ms=median, p95_ms=p95, **more),)


def _gated(
    project: Project, dataset: DatasetVersion, metric: str, known: Sequence[str]
) -> Iterable[Point]:
    """Teachers that were asked about the dataset; a gate measures no speed."""
    gates = (
        TeacherGate.objects.filter(
            version__model__project=project,
            dataset_version=dataset,
            status=TeacherGate.Status.READY,
        )
        .select_related("version__model")
        .order_by("-pk")[:MOST_RUNS]
    )
    for gate in gates:
        report = gate.report or {}
        value = scores.number((report.get("metrics") or {}).get(metric))
        if value is None:
            continue
        yield Point(
            key=gate.version.reference,
            name=gate.version.reference,
            role=STUDENT if gate.version.reference in known else TEACHER,
            reference=gate.version.reference,
            score=value,
            rows=report.get("rows"),
            parameters=gate.version.parameters,
            size_bytes=gate.version.size_bytes,
        )


def _shipped(
    project: Project, dataset: DatasetVersion, metric: str, found: Mapping[str, Point]
) -> Iterable[Point]:
    """Exports of these models, judged on the dataset's validation rows; of one form the newest."""
    exports = (
        Export.objects.filter(
            version__model__project=project, dataset_version=dataset, status=Export.Status.READY
        )
        .select_related("version__model")
        .order_by("-pk")[:MOST_RUNS]
    )
    seen: set[str] = set()
    for export in exports:
        report, source = export.report or {}, found.get(export.version.reference)
        judged = report.get("metric") or {}
        how = f" {export.compress['kind']}" if export.compress else ""
        form = f"{export.format}{how}".replace("_", "-")
        key = f"{export.version.reference}:{form.replace(' ', '-')}"
        if source is None or key in seen or judged.get("name") != metric:
            continue
        seen.add(key)
        times = (report.get("latency_ms") or {}).get("after")
        yield Point(
            key=key,
            name=f"{export.version.reference} {form}",
            role=source.role,
            form=form,
            reference=export.version.reference,
            run=source.run,
            export=export.pk,
            teacher=source.teacher,
            score=scores.number(judged.get("after")),
            rows=report.get("rows"),
            parameters=(report.get("parameters") or {}).get("after"),
            size_bytes=(report.get("size") or {}).get("after"),
            speeds=_speed(
                times,
                _hardware(report.get("machine")),
                energy_wh=scores.number((report.get("energy_per_million_wh") or {}).get("after")),
                energy_source=str(report.get("energy_source") or ""),
                export=export.pk,
            ),
        )


def _priced(project: Project, found: dict[str, Point]) -> dict[str, Point]:
    """Teachers that are services, or the recorded answers of one, with what an answer of theirs
    cost on average."""
    names = [one.reference for one in found.values() if one.reference and not one.speeds]
    if not names:
        return found
    unmeasured = ModelVersion.objects.filter(
        model__project=project, model__name__in=[name.partition("@")[0] for name in names]
    ).select_related("model")
    services: dict[str, dict[str, Any]] = {}
    for version in unmeasured:
        if version.reference not in names:
            continue
        if version.is_asked:
            services[version.reference] = {"version": version.pk}
        elif version.is_recorded and (purpose := _purpose(project, version)):
            services[version.reference] = {"purpose": purpose}
    for reference, answers in services.items():
        told = TeacherAnswer.objects.filter(
            project=project, status=TeacherAnswer.Status.ANSWERED, **answers
        ).aggregate(cost=Sum("cost"), count=Count("pk"))
        if told["count"] and told["cost"] > Decimal(0):
            price = float(told["cost"]) / told["count"]
            found[reference] = replace(found[reference], price_per_call=price)
    return found


def _purpose(project: Project, version: ModelVersion) -> str:
    """For which dataset version a recorded teacher's answers were asked of a service."""
    name, _, number = str(version.source.get("dataset") or "").partition("@")
    made = DatasetVersion.objects.filter(
        dataset__project=project, dataset__name=name, number=number or 0
    ).first()
    asked = (made.operation or {}).get("operation") if made is not None else None
    return f"dataset version {made.pk}" if made is not None and asked == "annotate" else ""


def machine_of(run: Run) -> Machine:
    """What a run was measured on: its card where it had one, else its worker's processor."""
    worker = run.worker
    if worker is None:
        return UNKNOWN
    cards = {card.get("index"): card for card in worker.machine.get("gpus", [])}
    mine = [cards[number] for number in run.cards if number in cards]
    if mine:
        return _named(str(mine[0].get("name") or "GPU"))
    return _hardware(worker.machine)


def _hardware(told: Mapping[str, Any] | None) -> Machine:
    if not told or not told.get("cpu"):
        return UNKNOWN
    cpus = told.get("cpus") or 1
    return _named(f"{told['cpu']}, {cpus} core{'s' * (cpus != 1)}")


def _named(label: str) -> Machine:
    key = "-".join("".join(one if one.isalnum() else " " for one in label.lower()).split())
    return Machine(key[:80], label)


def _rows(dataset: DatasetVersion, split: str) -> int | None:
    return (dataset.splits.get(split) or {}).get("rows")

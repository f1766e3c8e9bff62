"""What a run may be made of: datasets, students and teachers, as the form offers them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models.fields.json import KeyTextTransform

from projects.models import DatasetVersion, ModelVersion, Project, RegisteredModel
from training import catalog
from training.models import Run
from training.services import sizes

HEAVY = ("statistics", "issues", "reading", "columns")


@dataclass(slots=True)
class DatasetChoice:
    reference: str
    task: str
    rows: int
    labels: list[str]
    splits: dict[str, int]
    problem: str = "single_label"

    @property
    def training_rows(self) -> int:
        return self.splits.get("train", self.rows)


@dataclass(slots=True)
class ModelChoice:
    """A version on offer, or what an unfinished run will leave (`run/12`)."""

    reference: str
    role: str
    architecture: str
    parameters: int | None = None
    size_word: str = ""  # "at most" or "about", before it is trained
    score: float | None = None
    metric: str = "accuracy"  # that the score is of
    is_trained: bool = False
    can_teach: bool = False
    has_network: bool = True  # else it only teaches
    has_weights: bool = False  # trained ones, or others to begin with
    is_altered: bool = False  # layers that its configuration cannot say, as after low rank
    labels: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def id(self) -> str:
        return self.reference.replace("@", "-at-").replace("/", "-").replace(".", "-")


def datasets(project: Project, selected: str) -> list[DatasetChoice]:
    """The newest ready version of each dataset, and the selected one whatever its age."""
    versions = (
        DatasetVersion.objects.ready()
        .filter(dataset__project=project)
        .select_related("dataset")
        .defer(*HEAVY)
        .annotate(kind_of_labels=KeyTextTransform("problem", "reading"))
        .order_by("dataset__name", "-number")
    )
    chosen: list[DatasetChoice] = []
    seen: set[int] = set()
    for version in versions:
        if version.dataset_id in seen and version.reference != selected:
            continue
        seen.add(version.dataset_id)
        chosen.append(
            DatasetChoice(
                reference=version.reference,
                task=version.dataset.task,
                rows=version.rows,
                labels=version.labels,
                splits={name: split["rows"] for name, split in version.splits.items()},
                problem=catalog.problem_of(
                    version.dataset.task,
                    version.kind_of_labels or "single_label",  # type: ignore[attr-defined]
                ),
            )
        )
    return chosen


def tasks(project: Project, references: Iterable[str]) -> set[str]:
    """Of these models, or runs' outputs; where none is named, the tasks that have any model."""
    models = RegisteredModel.objects.filter(project=project)
    named = {one.partition("@")[0] for one in references if one}
    found = set(models.filter(name__in=named).values_list("task", flat=True))
    numbers = [int(one[4:]) for one in named if one.startswith("run/") and one[4:].isdigit()]
    found |= set(
        Run.objects.filter(project=project, number__in=numbers).values_list("task", flat=True)
    )
    return found or set(models.values_list("task", flat=True).distinct())


def models(
    project: Project, task: str, selected: Iterable[str], labels: Sequence[str] = ()
) -> list[ModelChoice]:
    """Of each model its newest fresh version and its newest trained one, teachers first, and every
    selected version; then what unfinished runs will leave."""
    wanted = set(selected)
    versions = (
        ModelVersion.objects.ready()
        .filter(model__project=project, model__task=task)
        .exclude(source__kind="api")  # asked when data are made, not while a student is trained
        .select_related("model")
        .order_by("-model__role", "model__name", "-number")
    )
    chosen: list[ModelChoice] = []
    seen: set[tuple[int, bool]] = set()
    for version in versions:
        kind = (version.model_id, version.is_trained)
        if kind in seen and version.reference not in wanted:
            continue
        seen.add(kind)
        chosen.append(of(version, versions, labels))
    return chosen + _coming(project, task)


def of(
    version: ModelVersion, others: Iterable[ModelVersion] = (), labels: Sequence[str] = ()
) -> ModelChoice:
    """`others` are versions among which trained ones of the same model may be, `labels` those that
    it will learn."""
    size = sizes.of(version, others=others, labels=labels)
    note = "pretrained, without classes yet" if version.files else "fresh weights"
    if version.is_recorded:
        note = f"recorded in {version.source['dataset']}"
    if version.is_ensemble:
        note = f"stands for {', '.join(version.source['members'])}"
    if version.source.get("kind") == "derived":
        note = f"made of {version.source.get('from')}, not trained yet"
    return ModelChoice(
        reference=version.reference,
        role=version.model.role,
        architecture=version.architecture,
        parameters=size.parameters,
        size_word=size.word,
        score=score(version),
        metric=metric(version),
        is_trained=version.is_trained,
        can_teach=version.can_teach,
        has_network=version.has_network,
        has_weights=bool(version.files),
        is_altered=bool(version.config.get("altered")),
        labels=version.labels,
        note="trained" if version.is_trained else note,
    )


def metric(version: ModelVersion) -> str:
    """What it is judged by."""
    return catalog.metrics_of(version.model.task, version.problem)[0]


def score(version: ModelVersion) -> float | None:
    """How good it was on test rows, else on validation rows."""
    name = metric(version)
    for place in (f"test/{name}", name, f"val/{name}"):
        if isinstance(version.metrics.get(place), int | float):
            return float(version.metrics[place])
    return None


def _coming(project: Project, task: str) -> list[ModelChoice]:
    runs = (
        Run.objects.launched()
        .unfinished()
        .filter(project=project, task=task, control_of=None)
        .select_related("student__model", "dataset_version")
        .order_by("-number")[:10]
    )
    return [
        ModelChoice(
            reference=f"run/{run.number}",
            role=run.student.model.role if run.student else "student",
            architecture=run.student.architecture if run.student else "",
            parameters=run.student.parameters if run.student else None,
            is_trained=True,
            can_teach=True,
            has_weights=True,
            labels=run.data.labels,
            note=f"when {run.name or 'it'} is finished",
        )
        for run in runs
    ]

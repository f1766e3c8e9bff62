"""Runs side by side: what they measured, and on which settings they differ.

Tracked runs and ours stand in one table, by the names of run_fields. All of a hundred runs is read
in two queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from distillhub.lib.errors import Invalid, Missing
from projects.models import Project
from training.models import Run
from training.services import run_fields, scores

MOST_RUNS = 200
SPLITS = ("val/", "test/", "train/", "teacher/")  # of which all series are told, before others
MOST_METRICS = 300  # that are told side by side

#: What is read of a run.
COLUMNS = (
    "project", "number", "name", "status", "origin", "tags", "config", "summary", "metrics",
    "comparison", "task", "dataset_version", "control_of", "step", "steps", "started_at",
    "finished_at", "created_at", "colour", "created_by__username", "created_by__first_name",
    "created_by__last_name",
)  # fmt: skip
JOINED = {
    "dataset_name": F("dataset_version__dataset__name"),
    "dataset_number": F("dataset_version__number"),
    "student_name": F("student__model__name"),
    "student_number": F("student__number"),
    "controlled": F("control_of__number"),
    "study_number": F("study__number"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A series in every run, in the order of the runs."""

    name: str
    values: list[Any]  # a number, "NaN" and the like, or None
    differences: list[float | None]  # to the baseline
    best: list[int]  # places of the runs
    falls: bool | None


@dataclass(frozen=True, slots=True)
class Setting:
    """A path of the configurations in every run; `changes` are against the baseline: `same`,
    `changed`, `added` (it has none), `removed` (only it has one), or `none` (neither has)."""

    path: str
    values: list[Any]
    changes: list[str]


@dataclass(frozen=True, slots=True)
class Compared:
    runs: list[Any]  # Runs with what JOINED adds
    base: int  # the baseline's place
    metrics: list[Metric]
    settings: list[Setting]  # that differ
    same: dict[str, Any]  # the others

    @property
    def baseline(self) -> Any:
        return self.runs[self.base]


def numbers_in(asked: Sequence[str]) -> list[int]:
    """The run numbers of `1,2,3`, or of several such; each once. Raises Invalid."""
    words = [word.strip() for text in asked for word in text.split(",") if word.strip()]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise _wrong("runs", "Give the numbers of runs, such as 1,2,3.")
    found = list(dict.fromkeys(map(int, words)))
    if len(found) > MOST_RUNS:
        raise _wrong("runs", f"At most {MOST_RUNS} runs are compared at once.")
    return found


def read(*, project: Project, numbers: Sequence[int]) -> list[Any]:
    """Those runs, in this order. Raises Missing, naming the first that is not there. One query."""
    rows = (
        Run.objects.filter(project=project, number__in=numbers)
        .annotate(**JOINED)
        .select_related("created_by", "dataset_version")
        .only(*COLUMNS, "dataset_version__number", "dataset_version__reading")
    )
    found = {run.number: run for run in rows}
    for number in numbers:
        if number not in found:
            raise Missing(f"There is no run {number} in this project.")
    return [found[number] for number in numbers]


def side_by_side(*, project: Project, runs: Sequence[int], base: int | None = None) -> Compared:
    """Raises Invalid where none is named or the baseline is not among them, and Missing."""
    if not runs:
        raise _wrong("runs", "Name the runs to compare: ?runs=1,2,3.")
    if base is not None and base not in runs:
        raise _wrong("base", f"Run {base} is not among the runs that are compared.")
    return of(read(project=project, numbers=runs), base=base)


def of(runs: list[Any], *, base: int | None = None) -> Compared:
    """Of runs that are read; without a `base` the first is the baseline."""
    at = next((place for place, run in enumerate(runs) if run.number == base), 0)
    found = [run_fields.settings(run.config) for run in runs]
    differing = run_fields.differing(found)
    apart = set(differing)
    return Compared(
        runs=runs,
        base=at,
        metrics=_metrics(runs, at),
        settings=[_setting(path, found, at) for path in sorted(differing)],
        same={path: value for path, value in sorted(found[at].items()) if path not in apart},
    )


def _metrics(runs: Sequence[Any], at: int) -> list[Metric]:
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    ranked = sorted(names, key=lambda name: (not name.startswith(SPLITS), name))[:MOST_METRICS]
    is_fair = len({run.dataset_version_id for run in runs} - {None}) < 2
    return [metric(name, runs, at, is_fair=is_fair) for name in sorted(ranked)]


def metric(name: str, runs: Sequence[Any], at: int, *, is_fair: bool) -> Metric:
    """A series side by side. Best is marked among runs of one dataset version only; of test rows it
    is the score of the run that validation rows choose."""
    values = [run.metrics.get(name) for run in runs]
    numbers = [run_fields.number(value) for value in values]
    mine = numbers[at]
    falls = run_fields.falls(name)
    judged = numbers
    if name.startswith("test/"):
        validation = f"val/{name.removeprefix('test/')}"
        judged = [validated(run, validation) for run in runs]
    is_judged = is_fair and falls is not None and not name.startswith(("teacher/", "train/"))
    return Metric(
        name=name,
        values=values,
        differences=[
            None if one is None or mine is None or place == at else one - mine
            for place, one in enumerate(numbers)
        ],
        best=best_of(judged, falls=bool(falls)) if is_judged else [],
        falls=falls,
    )


def validated(run: Run, name: str) -> float | None:
    """A metric of validation rows: the best where the run was selected by it, else the latest."""
    return scores.of_validation(run, name.removeprefix("val/"))


def best_of(values: Sequence[float | None], *, falls: bool) -> list[int]:
    """Places of the best; none where there is nothing to choose."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return []
    wanted = min(known) if falls else max(known)
    return [place for place, value in enumerate(values) if value == wanted]


def _setting(path: str, found: Sequence[Mapping[str, Any]], at: int) -> Setting:
    there = [path in one for one in found]
    comparable = run_fields.comparable
    base = comparable(found[at][path]) if there[at] else None
    changes = []
    for place, one in enumerate(found):
        if there[place] and there[at]:
            changes.append("same" if comparable(one[path]) == base else "changed")
        elif there[place]:
            changes.append("added")
        else:
            changes.append("removed" if there[at] else "none")
    return Setting(path, [one.get(path) for one in found], changes)


def reference(name: str | None, number: int | None) -> str | None:
    return f"{name}@{number}" if name and number else None


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})

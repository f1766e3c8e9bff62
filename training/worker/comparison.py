"""Did the teacher help? A distilled student against its control, row by row.

Both answered the same rows; the arithmetic is engine/paired.py's. It says nothing about other
seeds, and the sentence admits it.
"""

from dataclasses import dataclass
from typing import Any

from distillhub.lib.later import np
from training.models import Run
from training.worker import predictions

PREFERENCES = "preferences"  # the scheme in which people teach


@dataclass(frozen=True, slots=True)
class Measure:
    """What a row is worth, and how a difference of it is said."""

    metric: str
    unit: str
    better: str  # "5.0 points more accuracy"
    worse: str
    falls: bool = False
    factor: float = 1.0  # from a value to its unit
    places: int = 3

    def difference(self, value: float) -> str:
        """With its sign, in its unit."""
        return f"{value * self.factor:+.{self.places}f}".replace("-", "−")


ACCURACY = Measure("accuracy", "points", "more accuracy", "less accuracy", factor=100.0, places=1)
ERROR = Measure("squared error", "", "lower squared error", "higher squared error", falls=True)
BITS = Measure("bits per character", "bits", "fewer a character", "more a character", falls=True)
MEASURES = {"accuracy": ACCURACY, "squared error": ERROR, "bits per character": BITS}


def measure_of(run: Run) -> Measure:
    """What this run's rows are judged by."""
    if run.task == "text-generation":
        return BITS
    return ERROR if run.summary.get("problem") == "regression" else ACCURACY


def compare(run: Run) -> dict[str, Any] | None:
    """The comparison of a finished run with its finished control, for `Run.comparison`; None when
    either has left no predictions. Raises storage.Damaged."""
    control = run.controls.filter(status=Run.Status.FINISHED).order_by("number").first()
    if control is None or run.status != Run.Status.FINISHED:
        return None
    ours, theirs = worth_of(run), worth_of(control)
    if ours is None or theirs is None:
        return None
    shared = sorted(ours.rows.keys() & theirs.rows.keys())
    if not shared:
        return None
    measure = measure_of(run)
    student, baseline = (np.array([one.rows[row] for row in shared]) for one in (ours, theirs))
    from training.engine import paired  # noqa: PLC0415 - brings numpy

    found = paired.differences(student, baseline, falls=measure.falls)
    return {
        "control": control.number,
        "metric": measure.metric,
        "unit": measure.unit,
        "split": ours.split,
        **found,
        "sentence": sentence(found, control.number, measure, by=_teaching(run)),
    }


@dataclass(frozen=True, slots=True)
class Worth:
    """What each row's answer of a run is worth, by row id."""

    rows: dict[int, float]
    split: str


def worth_of(run: Run) -> Worth | None:
    """None where it has left no predictions. Raises storage.Damaged."""
    file = predictions.file_of(run)
    if file is None:
        return None
    table = predictions.read(file)
    return Worth(_worth(table), str(table.column("split")[0]) if table.num_rows else "")


def _teaching(run: Run) -> str:
    """What may have helped. Those who teach each other, or their own later selves, are no teacher
    that anybody chose."""
    scheme = run.config.get("scheme")
    if (scheme.get("kind") if isinstance(scheme, dict) else scheme) == PREFERENCES:
        return "preference pairs"
    teachers = len(run.config.get("teachers", []))
    return "the teachers" if teachers > 1 else "the teacher" if teachers else "distillation"


def over_seeds(found: dict[str, Any], measure: Measure, *, ours: str, theirs: str) -> str:
    """The same of several seeds: `ours` and `theirs` are two ways of training."""
    size = f"{abs(found['difference']) * measure.factor:.{measure.places}f} {measure.unit}".strip()
    low, high = (measure.difference(edge) for edge in found["interval"])
    unit = f" {measure.unit}" if measure.unit else ""
    seeds = found.get("seeds", 1)
    rows = f"{found['rows']:,} rows".replace(",", " ")
    told = f"{low} to {high}{unit}, {100 * found['level']:.0f} % interval, on {rows}"
    match found["answer"]:
        case "helped":
            verdict = f"{ours.capitalize()} is better than {theirs}: {size} {measure.better}"
        case "hurt":
            verdict = f"{ours.capitalize()} is worse than {theirs}: {size} {measure.worse}"
        case _:
            verdict = f"No evidence that {ours} and {theirs} differ"
    if seeds == 1:
        return f"{verdict} ({told}). One seed was trained; another could differ."
    return f"{verdict} ({told} and {seeds} seeds)."


def sentence(
    found: dict[str, Any], control: int, measure: Measure = ACCURACY, by: str = "the teacher"
) -> str:
    """The verdict as a person would say it; `by` is what may have helped."""
    size = f"{abs(found['difference']) * measure.factor:.{measure.places}f} {measure.unit}".strip()
    low, high = (measure.difference(edge) for edge in found["interval"])
    unit = f" {measure.unit}" if measure.unit else ""
    span = f"{low} to {high}{unit}, {100 * found['level']:.0f} % interval"
    rows = f"{found['rows']:,} rows".replace(",", " ")
    match found["answer"]:
        case "helped":
            verdict = f"{by.capitalize()} helped: {size} {measure.better} than run {control}"
        case "hurt":
            verdict = f"{by.capitalize()} hurt: {size} {measure.worse} than run {control}"
        case _:
            verdict = f"No evidence that {by} helped, compared with run {control}"
    return (
        f"{verdict}, the same student on labels alone ({span}, on {rows}). "
        "One seed was trained; another could differ."
    )


def _worth(table: Any) -> dict[int, float]:
    """What each row's answer is worth; rows without a label are not counted. Files of older runs
    say only what was answered."""
    rows = table.column("row_id").to_pylist()
    if "student_value" in table.column_names:
        values = table.column("student_value").to_pylist()
        return {row: value for row, value in zip(rows, values, strict=True) if value is not None}
    labels, answers = table.column("label").to_pylist(), table.column("student").to_pylist()
    return {
        row: float(label == answer)
        for row, label, answer in zip(rows, labels, answers, strict=True)
        if label is not None
    }

"""What a monitor does unless somebody says otherwise: detectors, thresholds, who is asked.

Everything is filled in when a monitor is made and stands in its row, so that a later version of the
program, with other defaults, judges an old monitor as before.
"""

import math
from statistics import NormalDist
from typing import Any

from projects.models import ModelVersion
from training import catalog
from training.engine.watching import defaults

JSON = dict[str, Any]

WINDOW: JSON = {"rows": 500}
MINIMUM_ROWS = 50
GRACE_MINUTES = 5
TEACHER_DAILY = 500
RETENTION_DAYS = 90
ASKED_A_WINDOW = 100  # rows of a window that the teacher is asked about, where rows are counted
ASKED_SHARE = 0.1  # where windows are hours and nobody knows what will come
BEFORE, AFTER = 0.95, 0.9  # the fall of agreement that sentences tell of

#: Detectors by what they watch. Those of one signal stand under its name.
DETECTORS = defaults.DETECTORS

#: What of a catalog's `watches` may stand under a key of DETECTORS, in words for people.
WATCHES: dict[str, tuple[set[str], str]] = {
    "numbers": ({"numbers"}, "Columns of numbers, and what describes texts, pictures and sounds"),
    "categories": ({"categories"}, "Columns of names, and the predicted classes"),
    "embeddings": ({"embeddings"}, "The student's own vectors of the inputs"),
    "confidence": ({"confidence"}, "How sure the student is"),
    "agreement": ({"agreement"}, "Agreement with the teacher, on the rows it was asked about"),
    "accuracy": ({"accuracy"}, "Accuracy, once labels come"),
    "span_f1": ({"accuracy"}, "F1 of spans of words, once labels come"),
    "calibration": ({"accuracy"}, "Whether confidence is right as often as it says"),
    "estimated_accuracy": ({"accuracy"}, "Accuracy that confidence promises, before labels come"),
    "error_stream": ({"errors"}, "Errors, one row after another"),
    "disagreement_stream": ({"agreement"}, "Disagreement with the teacher, one row after another"),
    "whose_fault": ({"accuracy", "agreement"}, "Who errs more than before: student, teacher, both"),
    "quality": ({"quality"}, "Missing, unseen, out of range and repeated values"),
    "volume": ({"traffic"}, "How many rows come"),
    "latency": ({"traffic"}, "How long answers take"),
}

#: Kinds that need probabilities, and so say nothing of numbers that are predicted.
OF_CLASSES = ("confidence", "calibration", "estimated_accuracy", "whose_fault")
#: Kinds that need somebody to say what is right, which nobody can of a vector.
OF_TRUTH = (*OF_CLASSES, "accuracy", "error_stream")


def detectors(
    *,
    has_labels: bool,
    several: bool = False,
    vectors: bool = False,
    by_word: bool = False,
    writes: bool = False,
) -> JSON:
    """`{kind: [{"kind": detector, ...its options}]}` of a task. How likely a whole set of labels is
    right, no calibration of one class tells."""
    return {
        key: [with_options(one) for one in found]
        for key, found in DETECTORS.items()
        if (has_labels or key not in OF_CLASSES or (writes and key == "confidence"))
        and not (several and key == "estimated_accuracy")
        and not (vectors and key in OF_TRUTH)
        and (key != "span_f1" or by_word)
        and all(map(_is_there, found))
    }


def _is_there(detector: str) -> bool:
    return catalog.find("detectors", detector) is not None


def with_options(detector: str) -> JSON:
    options, _ = catalog.resolve_options("detectors", detector, {}, "")
    return {"kind": detector, **options}


def teacher_of(version: ModelVersion) -> ModelVersion | None:
    """Who taught this version in the run that made it, where it can be asked on this machine and
    answers in the same words."""
    run = getattr(version, "produced_by", None)
    if run is None:
        return None
    teachers: list[ModelVersion] = list(run.teachers.select_related("model").order_by("pk"))
    for one in teachers:
        if one.is_trained and one.has_network and answers_alike(one, version):
            return one
    return None


def answers_alike(teacher: ModelVersion, student: ModelVersion) -> bool:
    """A service answers in the labels that it is asked for."""
    if teacher.is_asked:
        return student.problem == "single_label"
    return (
        teacher.model.task == student.model.task
        and teacher.problem == student.problem
        and set(teacher.labels) == set(student.labels)
    )


def teacher_share(*, window_rows: int | None) -> float:
    """So that a window of rows has about a hundred that the teacher was asked about."""
    if window_rows is None:
        return ASKED_SHARE
    return round(min(1.0, max(0.01, ASKED_A_WINDOW / window_rows)), 4)


def rows_needed(
    before: float = BEFORE, after: float = AFTER, *, level: float = 0.001, power: float = 0.9
) -> int:
    """Teacher answers by which such a fall of agreement is seen: the number of
    `engine/detectors/tallies.py`, which this process would have to load SciPy for."""
    normal = NormalDist()
    reach = normal.inv_cdf(1 - level) * math.sqrt(before * (1 - before))
    reach += normal.inv_cdf(power) * math.sqrt(after * (1 - after))
    return max(1, math.ceil((reach / (before - after)) ** 2))

"""A monitor with windows as engine/watching/windows.py tells of them, made by hand: four quiet
ones, then one in which texts got longer and the student began to differ from its teacher."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from projects.models import Project
from tests import make
from training.models import Incident, Monitor, MonitorWindow

HOUR = timedelta(hours=1)
REFERENCE: dict[str, Any] = {
    "rows": 1000,
    "agreement": {"value": 0.96, "rows": 1000},
    "accuracy": {"value": 0.93, "rows": 1000},
    "confidence": {"mean": 0.91},
    "predicted": {"no": 0.6, "yes": 0.4},
    "believed": {"rows": [0, 400, 600], "sure": [0.0, 260.0, 570.0], "right": [0, 250, 565]},
    "faults": {"both_right": 900, "student_wrong": 40, "teacher_wrong": 20, "both_wrong": 40},
}


def score(detector: str, effect: float | None, **said: Any) -> dict[str, Any]:
    p = None if effect is None else (1e-6 if effect > 0.02 else 0.4)
    told = {"value": effect, "limit": 0.05, "p": p, "corrected": p, "effect": effect}
    return {"detector": detector, "said": "", "facts": {}, **told, **said}


def scores(moved: bool) -> dict[str, Any]:
    agreement = {"agreement": 0.84, "reference": 0.96}
    return {
        "described.length": [score("psi", 0.31 if moved else 0.004)],
        "prediction": [score("chi_square", 0.01)],
        "vector": [score("pca_ks", 0.01), score("mmd_features", 0.14 if moved else 0.001)],
        "confidence": [score("confidence", 0.01)],
        "agreement": [score("agreement", 0.11 if moved else 0.0, facts=agreement)],
        "accuracy": [score("accuracy", None, said="No row of this window has a label yet.")],
        "quality.missing": [score("quality", 0.0)],
    }


def facts(moved: bool) -> dict[str, Any]:
    share = 0.84 if moved else 0.95
    return {
        "volume": 500,
        "rows_with_label": 100,
        "rows_with_answer": 60,
        "latency": {"p50": 3.0, "p95": 9.0, "p99": 20.0, "mean": 4.0, "rows": 500},
        "agreement": {"value": share, "low": share - 0.05, "high": share + 0.04, "rows": 60},
        "accuracy": {"value": share, "low": share - 0.05, "high": share + 0.04, "rows": 100},
        "estimated_accuracy": {"value": 0.92, "rows": 500, "reference": 0.93},
        "calibration_error": 0.04,
        "believed": {"rows": [0, 40, 60], "sure": [0.0, 26.0, 57.0], "right": [0, 20, 50]},
        "confidence": {"mean": 0.9, "entropy": 0.3},
        "predicted": {"no": 0.5, "yes": 0.5},
        "missing": {"described.length": 0.01},
        "unseen_names": {"input.city": {"<b>Oz</b>": 3}},
        "versions": {"tiny@2" if moved else "tiny@1": 500},
        "faults": {"both_right": 80, "student_wrong": 12, "teacher_wrong": 3, "both_wrong": 5},
        "foreign": [["a1", 9.0], ["a2", 8.0]],
        "most_foreign": ["a1", "a2"],
        "sample": ["a1", "a2", "a3"],
    }


def window(monitor: Monitor, number: int, *, moved: bool = False, **fields: Any) -> MonitorWindow:
    start: datetime = fields.pop("starts_at", None) or timezone.now() - HOUR * (6 - number % 6)
    slices = {"<b>short</b>": {"rows": 80, "facts": {}, "scores": scores(moved)}}
    defaults: dict[str, Any] = {
        "starts_at": start,
        "ends_at": start + HOUR,
        "rows": 500,
        "sums": b"",
        "scores": scores(moved),
        "facts": facts(moved),
        "slices": slices,
        "judged_at": start + HOUR,
    }
    return MonitorWindow.objects.create(monitor=monitor, number=number, **defaults | fields)


def fitted(project: Project, **fields: Any) -> Monitor:
    """A monitor whose reference is known and that nothing was sent to."""
    known = {"reference": REFERENCE, "fitted_at": timezone.now()}
    labels = make.model_version(project, labels=["no", "yes"])
    return make.monitor(labels, **known | fields)


def moved(project: Project, **fields: Any) -> Monitor:
    """Four quiet windows and one that moved."""
    monitor = fitted(project, rows=2500, last_row_at=timezone.now(), **fields)
    for number in range(4):
        window(monitor, number)
    window(monitor, 4, moved=True)
    return monitor


def incident(monitor: Monitor, **fields: Any) -> Incident:
    newest = monitor.windows.latest("number")
    defaults: dict[str, Any] = {
        "number": 1,
        "severity": "serious",
        "signals": [{"signal": "described.length", "since": newest.starts_at.isoformat()}],
        "sentence": "Texts got longer, and the student agrees less with its teacher.",
        "since": newest.starts_at,
        "opened_at": newest.ends_at,
        "window": newest,
    }
    return Incident.objects.create(project=monitor.project, monitor=monitor, **defaults | fields)

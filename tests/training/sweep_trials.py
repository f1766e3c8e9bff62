"""A sweep, and what becomes of its trials, as a worker would have left it."""

from typing import Any

from projects.models import Project
from training.models import Run, Study, Trial
from training.services import studies
from training.worker import studies as telling

STUDIES = "/api/v1/projects/intents/studies/"
SPACE: dict[str, Any] = {
    "losses.0.temperature": {"low": 1, "high": 8},
    "training.learning_rate": {"low": 0.0001, "high": 0.1, "log": True},
}


def launch(project: Project, base: dict[str, Any], **how: Any) -> Study:
    body = {"kind": "sweep", "base": base, "space": SPACE, "trials": 6, "name": "S"}
    body |= {"control": False} | how
    study = studies.launch(project=project, asked=body, by=project.created_by)
    telling.tell(study.pk)
    study.refresh_from_db()
    return study


def end(trial: Trial, value: float | None = None, status: str = "finished", **more: Any) -> None:
    """Its run is over, as a worker would have left it."""
    summary = {"best_value": value, "selection_metric": "val/accuracy", "headline": "accuracy"}
    assert trial.run is not None
    Run.objects.filter(pk=trial.run.pk).update(status=status, summary=summary, **more)
    telling.tell(trial.study.pk)


def carry_out(study: Study, score: Any = lambda parameters: 0.5) -> None:
    """Every trial that is asked for, as if it had been trained."""
    while trial := study.trials.filter(state="running").select_related("run", "study").first():
        end(trial, score(trial.parameters))


def numbers(study: Study, **wanted: Any) -> list[int]:
    return list(study.trials.filter(**wanted).values_list("number", flat=True))

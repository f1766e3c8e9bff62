"""Retrainings of a project, as pages and REST read them."""

from django.db.models import QuerySet

from distillhub.lib.errors import Missing
from projects.models import Project
from training.models import Incident, Monitor, Retraining

RELATED = (
    *("project", "monitor__model", "monitor__version__model", "incident", "created_by"),
    *("decided_by", "champion__model", "challenger__model", "collected__dataset"),
    *("dataset_version__dataset", "run", "review", "promotion"),
)


def listed(*, project: Project, monitor: Monitor | None = None) -> QuerySet[Retraining]:
    """The newest first."""
    found = Retraining.objects.filter(project=project).select_related(*RELATED)
    return found if monitor is None else found.filter(monitor=monitor)


def of_incident(*, incident: Incident) -> QuerySet[Retraining]:
    return listed(project=incident.project).filter(incident=incident)


def incident(*, project: Project, number: int) -> Incident:
    """That a retraining is to answer. Raises Missing."""
    found = Incident.objects.filter(project=project, number=number).first()
    if found is None:
        raise Missing(f"There is no incident {number} in this project.")
    return found


def find(*, project: Project, number: int) -> Retraining:
    """Raises Missing."""
    found = listed(project=project).filter(number=number).first()
    if found is None:
        raise Missing(f"There is no retraining {number} in this project.")
    found.project = project  # which knows the role of whoever asks
    return found

"""Whether there is anything to look at, told without what looking takes: an idle worker loads none
of it."""

from django.db.models import Exists, OuterRef

from projects.models import DatasetVersion, ReviewQueue
from training.models import Incident, Monitor, Retraining

RESTING = (Retraining.Status.PROPOSED, *Retraining.FINAL)


def anything() -> bool:
    """One is under way, an incident is unanswered, or some monitor has a schedule."""
    if Retraining.objects.exclude(status__in=RESTING).exists():
        return True
    answered = Retraining.objects.filter(incident=OuterRef("pk"))
    if Incident.objects.open().exclude(Exists(answered)).exists():
        return True
    policies = Monitor.objects.watching().values_list("retraining", flat=True)
    return any(isinstance(one, dict) and one.get("every_days") for one in policies)


def live_reviews() -> list[int]:
    """Reviews of live rows that are empty, and whose version is there or failed
    (services/live_reviews.py)."""
    empty = ReviewQueue.objects.filter(closed_at=None, items=None, choice__how="live")
    over = empty.exclude(version__status=DatasetVersion.Status.INGESTING)
    return list(over.values_list("pk", flat=True))

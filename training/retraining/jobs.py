"""Celery jobs: ids in, one call, no logic."""

from typing import Any

from celery import shared_task

from training.retraining import advancing


@shared_task(name="training.advance_retraining")  # type: ignore[untyped-decorator]
def advance_retraining(*, retraining_id: int, **later: Any) -> None:
    advancing.look_at(retraining_id)


@shared_task(name="training.look_at_retrainings")  # type: ignore[untyped-decorator]
def look_at_retrainings(**later: Any) -> None:
    advancing.look()

"""Celery jobs: ids in, one call, no logic."""

from typing import Any

from celery import shared_task

from training.retraining import due


@shared_task(name="training.advance_retraining")  # type: ignore[untyped-decorator]
def advance_retraining(*, retraining_id: int, **later: Any) -> None:
    from training.retraining import advancing  # noqa: PLC0415 - brings REST's serializers, 11 MB

    advancing.look_at(retraining_id)


@shared_task(name="training.look_at_retrainings")  # type: ignore[untyped-decorator]
def look_at_retrainings(**later: Any) -> None:
    if due.anything():
        from training.retraining import advancing  # noqa: PLC0415

        advancing.look()
    if queues := due.live_reviews():
        from training.services import live_reviews  # noqa: PLC0415 - REST's serializers, too

        live_reviews.fill_all(queues)

"""What a worker takes from the queue. Anybody who reaches the broker can put something there."""

from collections.abc import Callable
from typing import Any

from celery.exceptions import InvalidTaskError
from celery.worker import strategy
from kombu.exceptions import ContentDisallowed, DecodeError


def careful(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., None]:
    """Celery's own way of taking a message, which ends the worker by one whose body is no job's,
    and puts that back for the next worker to end by. Here such a message is thrown away."""
    take = strategy.default(task, app, consumer, **options)

    def take_with_care(*message: Any, **more: Any) -> None:
        try:
            take(*message, **more)
        except (InvalidTaskError, ContentDisallowed, DecodeError):
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidTaskError(f"This is no job of ours: {error}") from error

    return take_with_care

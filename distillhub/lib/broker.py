"""Celery's filesystem transport, for a worker that stops at once when it is asked to, and that no
half-written or foreign file in the queue can end."""

import logging
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu import transport
from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps

log = logging.getLogger(__name__)

LONGEST_WAIT = 0.3  # seconds; Celery looks for the wish to stop only between two waits of 2 s


def is_message(channel: Any, payload: Any) -> bool:
    """Whether kombu and Celery can take it apart. Its body is not read."""
    try:
        message = channel.Message(payload, channel=channel)
        where = message.delivery_info
        found = (message.delivery_tag, where["exchange"], where["routing_key"])
        named = message.headers.get("task", "")
    except Exception:  # whatever taking it apart raises: it is none
        return False
    return all(isinstance(one, str) for one in (*found, named))


class Channel(filesystem.Channel):  # type: ignore[misc]
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        """Written beside and renamed: kombu's own writes in place, and a worker that looks between
        the two finds an empty message, which ends it ("Unrecoverable error")."""
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        part = Path(self.data_folder_out) / f".{name}"
        try:
            part.write_text(dumps(payload))
            part.replace(part.with_name(name))
        except OSError as error:
            raise ChannelError(f"The broker's folder cannot be written: {error}") from error

    def _get(self, queue: str) -> Any:
        try:
            found = super()._get(queue)
        except ValueError as error:
            log.warning("A message in the queue %s is not JSON; it is dropped: %s", queue, error)
            raise Empty from None
        if not is_message(self, found):
            log.warning("A message in the queue %s is dropped: Celery has not written it.", queue)
            raise Empty
        return found


class Transport(filesystem.Transport):  # type: ignore[misc]
    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        if timeout is not None:
            timeout = min(timeout, LONGEST_WAIT)
        return super().drain_events(connection, timeout=timeout, **kwargs)


def register() -> str:
    """The address of a broker that keeps its messages in local folders."""
    transport.TRANSPORT_ALIASES["folders"] = f"{__name__}:Transport"
    return "folders://localhost"


def register_redis() -> None:
    """Have `redis://` and `rediss://` mean our own transport."""
    for name in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[name] = "distillhub.lib.redis_queue:Transport"

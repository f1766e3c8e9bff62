"""Celery's Redis transport, for a worker that nothing in the queue can end. Whoever reaches Redis
can put something there, and what is no message raises inside kombu, outside of all that Celery
catches: the worker ends ("Unrecoverable error"), and the next one by the next such message.
"""

import logging
from typing import Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from distillhub.lib import broker

log = logging.getLogger(__name__)

REPLIES = "pidbox"  # how queues of questions and answers end that workers exchange


class Channel(redis.Channel):  # type: ignore[misc]
    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous=asynchronous)
        client.set_response_callback("BRPOP", self._popped)
        return client

    def _popped(self, answer: Any, **options: Any) -> Any:
        """What Redis has handed out: the queue's key and a message; or None, as when there is
        none."""
        if not answer:
            return None
        key, item = answer
        queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
        try:
            payload = loads(item)
        except Exception as error:  # whatever reading it raises: it is none
            self._drop(queue, item, f"It is not JSON ({type(error).__name__})")
            return None
        if not broker.is_message(self, payload):
            self._drop(queue, item, "Celery has not written it")
            return None
        if not queue.endswith(REPLIES) and "task" not in (payload.get("headers") or {}):
            self._drop(queue, item, "It names no job")
            return None
        return key, item

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)
        except RecursionError:  # kombu catches what else reading it raises
            log.warning("A message to all workers is dropped: it is none.")
            return False

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        if not broker.is_message(self, message):
            log.warning("A message to all workers (%s) is dropped: it is none.", exchange)
            return False
        return super()._deliver_fanout_message(message, exchange)

    def _drop(self, queue: str, item: Any, why: str) -> None:
        log.warning("A message of %s bytes in the queue %s is dropped. %s.", len(item), queue, why)


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel

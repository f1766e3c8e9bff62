"""Threads that requests borrow, one each, and give back with their database connection.

Django answers each request in a new thread, whose connection is closed behind it: half of the work
of a short answer is to open SQLite, or to start a process of PostgreSQL. Here a thread that is
given back waits for the next request, and its connection with it.
"""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from asgiref.sync import ThreadSensitiveContext
from django.db import connections

KEPT = 4  # threads that wait; of more requests at once each has a thread of its own
LONGEST = 60  # seconds that a connection is used; PostgreSQL's processes only grow

_waiting: list[ThreadPoolExecutor] = []


def keep_connections() -> None:
    """Of this process; each is looked at before it is used again (CONN_HEALTH_CHECKS)."""
    for one in connections.settings.values():
        one["CONN_MAX_AGE"] = LONGEST


@asynccontextmanager
async def lent() -> AsyncIterator[None]:
    """Everything synchronous in here runs in one thread. Only the event loop's thread calls it."""
    thread = _waiting.pop() if _waiting else ThreadPoolExecutor(1, thread_name_prefix="request")
    try:
        async with ThreadSensitiveContext(executor=thread):
            yield
    finally:
        if len(_waiting) < KEPT:
            _waiting.append(thread)
        else:
            thread.submit(connections.close_all)
            thread.shutdown(wait=False)

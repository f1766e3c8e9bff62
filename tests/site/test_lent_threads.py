"""Requests share threads and database connections, and never at the same moment."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections

from distillhub.lib import lent_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    kept = lent_threads._waiting[:]
    lent_threads._waiting.clear()
    yield
    for thread in lent_threads._waiting:
        thread.submit(connections.close_all)
        thread.shutdown()
    lent_threads._waiting[:] = kept


T = TypeVar("T")


def run(asked: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """In a thread apart: browser tests of this process may have a loop of their own here."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(lambda: asyncio.run(asked())).result()


def _seen() -> tuple[int, int]:
    """The thread, and the connection that it has open."""
    connection.ensure_connection()
    return threading.get_ident(), id(connection.connection)


async def _request(gate: asyncio.Event | None = None) -> tuple[int, int]:
    async with lent_threads.lent():
        before = await sync_to_async(_seen)()
        if gate is not None:
            await gate.wait()
        assert await sync_to_async(_seen)() == before
        return before


def test_one_after_the_other_has_the_same_thread_and_connection() -> None:
    async def both() -> list[tuple[int, int]]:
        return [await _request(), await _request()]

    first, second = run(both)
    assert first == second
    assert first[0] != threading.get_ident()


def test_those_at_once_have_each_their_own_and_few_are_kept() -> None:
    async def many() -> list[tuple[int, int]]:
        gate = asyncio.Event()
        asked = [asyncio.create_task(_request(gate)) for _ in range(lent_threads.KEPT + 3)]
        await asyncio.sleep(0.2)
        gate.set()
        return list(await asyncio.gather(*asked))

    found = run(many)
    assert len(set(found)) == lent_threads.KEPT + 3
    assert len(lent_threads._waiting) == lent_threads.KEPT


def test_a_request_that_fails_or_is_given_up_gives_its_thread_back() -> None:
    async def failing() -> None:
        with pytest.raises(ZeroDivisionError):
            async with lent_threads.lent():
                await sync_to_async(lambda: 1 / 0)()
        given_up = asyncio.create_task(_request(asyncio.Event()))
        await asyncio.sleep(0.1)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await _request()

    run(failing)
    assert len(lent_threads._waiting) == 1

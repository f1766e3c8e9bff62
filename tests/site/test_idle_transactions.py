"""What a session holds of PostgreSQL is given up when it does nothing with it."""

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from distillhub.lib import database, idle_transactions
from distillhub.settings import database as database_settings
from tests.site import servers
from tests.site.processes import until

Begun = Callable[[str], BaseDatabaseWrapper]


@pytest.fixture(scope="module")
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres_server() as server:
        with psycopg.connect(server.address) as direct:
            direct.execute("CREATE TABLE runs (attempt int)")
            direct.execute("INSERT INTO runs VALUES (1)")
        yield server


@pytest.fixture
def begun(django_db_blocker: DjangoDbBlocker) -> Iterator[Begun]:
    """Connections as the product opens them, by their `DATABASE_URL`."""
    with django_db_blocker.unblock(), contextlib.ExitStack() as stack:

        def connect(address: str) -> BaseDatabaseWrapper:
            found = ConnectionHandler({"default": database_settings.connection(address)})["default"]
            stack.callback(found.close)
            return found

        yield connect


def holds_the_row(connection: BaseDatabaseWrapper) -> None:
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT attempt FROM runs FOR UPDATE")


def taken(postgres: servers.Postgres) -> bool:
    with psycopg.connect(postgres.address) as other:
        other.execute("SET lock_timeout = '50ms'")
        try:
            other.execute("UPDATE runs SET attempt = attempt + 1")
        except psycopg.errors.LockNotAvailable:
            return False
    return True


@override_settings(DISTILLHUB_IDLE_TRANSACTION_SECONDS=1)
def test_who_freezes_within_a_transaction_loses_the_row_to_another(
    postgres: servers.Postgres, begun: Begun
) -> None:
    frozen = begun(postgres.address)
    holds_the_row(frozen)
    assert not taken(postgres)
    until(lambda: taken(postgres), seconds=20)
    with pytest.raises(DatabaseError) as met, frozen.cursor() as cursor:
        cursor.execute("UPDATE runs SET attempt = 0")
    assert database.is_away(met.value)


@override_settings(DISTILLHUB_IDLE_TRANSACTION_SECONDS=1)
def test_who_is_at_work_or_between_transactions_keeps_the_session(
    postgres: servers.Postgres, begun: Begun
) -> None:
    connection = begun(postgres.address)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        before = cursor.fetchone()
        cursor.execute("BEGIN")
        cursor.execute("SELECT pg_sleep(1.2)")
        cursor.execute("COMMIT")
        time.sleep(1.2)
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() == before


@override_settings(DISTILLHUB_IDLE_TRANSACTION_SECONDS=1)
def test_who_only_holds_a_lock_may_hold_it_for_long(
    postgres: servers.Postgres, begun: Begun
) -> None:
    guard = begun(postgres.address)
    guard.set_autocommit(False)
    idle_transactions.unbound(guard)
    with guard.cursor() as cursor:
        cursor.execute("SELECT attempt FROM runs FOR UPDATE")
    time.sleep(1.3)
    assert not taken(postgres)


@override_settings(DISTILLHUB_IDLE_TRANSACTION_SECONDS=0)
def test_with_0_it_is_as_the_server_has_it(postgres: servers.Postgres, begun: Begun) -> None:
    with begun(postgres.address).cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("0",)


@override_settings(DISTILLHUB_IDLE_TRANSACTION_SECONDS=1)
def test_of_a_lent_connection_nothing_is_set_and_the_servers_own_setting_holds(
    postgres: servers.Postgres, begun: Begun
) -> None:
    with servers.pgbouncer_server(postgres, connections=1) as pool:
        with begun(pool.address).cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("0",)
        with psycopg.connect(postgres.address) as direct:
            # As docs/operations.md says, and as a role may for itself.
            direct.execute("ALTER ROLE distillhub SET idle_in_transaction_session_timeout = '1s'")
    try:
        with servers.pgbouncer_server(postgres, connections=1) as pool:
            holds_the_row(begun(pool.address))
            assert not taken(postgres)
            until(lambda: taken(postgres), seconds=20)
    finally:
        with psycopg.connect(postgres.address) as direct:
            direct.execute("ALTER ROLE distillhub RESET idle_in_transaction_session_timeout")

"""A write that is not worth waiting for."""

import contextlib
import sqlite3

import pytest
from django.db import OperationalError, connection

from distillhub.lib.locks import at_once
from projects.models import User


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite alone")
@pytest.mark.django_db(transaction=True)
def test_a_write_that_may_fail_does_not_wait_for_another_writer(alice: User) -> None:
    name = connection.settings_dict["NAME"]
    with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"), at_once(connection):
            User.objects.filter(pk=alice.pk).update(first_name="A")
        other.execute("ROLLBACK")
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA busy_timeout").fetchone() == (20_000,)
    User.objects.filter(pk=alice.pk).update(first_name="A")

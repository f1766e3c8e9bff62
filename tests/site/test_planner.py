"""SQLite's statistics: there after a refresh, used by searches, and never a reason to fail."""

import pytest
from django.db import connection

from distillhub.lib import planner
from projects.models import Project
from tests import make

pytestmark = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="PostgreSQL gathers its statistics by itself"
)


@pytest.mark.django_db(transaction=True)
def test_a_refresh_tells_the_planner_of_the_rows_that_are_there(project: Project) -> None:
    make.run(project)
    planner.refresh()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'training_run'")
        assert cursor.fetchone()[0] > 0


@pytest.mark.django_db(transaction=True)
def test_a_refresh_of_a_locked_database_gives_up_quietly(project: Project) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout=0")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
        planner.refresh()
    finally:
        other.close()
        connection.close()

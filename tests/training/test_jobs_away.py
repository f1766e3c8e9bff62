"""What Celery says of a job whose database is away."""

import logging
from typing import NoReturn

import pytest
from celery.app.trace import build_tracer
from django.db import OperationalError

from distillhub.celery import app


@app.task(name="tests.without_a_database")
def without_a_database() -> NoReturn:
    raise OperationalError("the server closed the connection")


def test_a_job_without_a_database_is_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    trace = build_tracer(without_a_database.name, without_a_database, app=app)
    with caplog.at_level(logging.INFO, logger="celery.app.trace"):
        trace("an id", (), {}, {})
    [line] = [one for one in caplog.records if without_a_database.name in one.getMessage()]
    assert line.levelno == logging.INFO
    assert "the server closed the connection" in line.getMessage()
    assert not line.exc_info

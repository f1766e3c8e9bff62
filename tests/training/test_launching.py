"""Launches at the same moment, and of runs that wait for another's output."""

import threading
from typing import Any

import pytest
from django.db import connection

from projects.models import Project, User
from tests import make
from training.models import Run
from training.services import launching

pytestmark = pytest.mark.django_db(transaction=True)


def test_numbers_are_given_once_under_parallel_launches(project: Project, alice: User) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    asked = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    failures: list[BaseException] = []

    def launch() -> None:
        try:
            for _ in range(3):
                launching.launch(project=project, configuration=asked, by=alice)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(Run.objects.values_list("number", flat=True)) == list(range(1, 16))


def test_a_reference_to_a_run_waits_for_it(project: Project, alice: User) -> None:
    make.dataset_version(project, "tickets")
    make.model_version(project, "tiny")
    asked: dict[str, Any] = {"task": "text-classification", "dataset": "tickets", "student": "tiny"}
    first = launching.launch(project=project, configuration=asked, by=alice)
    second = launching.launch(
        project=project, configuration=asked | {"teachers": ["run/1"]}, by=alice
    )
    assert (first.status, second.status) == ("queued", "waiting")
    assert second.config["teachers"] == ["run/1"]
    assert list(second.waits_for.all()) == [first]
    control = second.controls.get()
    assert (control.status, control.number) == ("queued", 3)

"""The pages of a monitor: how it is in one sentence, what moved, and the rows behind it."""


import pytest
from django.test import Client

from projects.models import Project, User
from tests.conftest import signed_in
from tests.training import monitor_rows as rows
from training.models import Monitor

pytestmark = pytest.mark.django_db

CAVEAT = "far too high where rows are of a kind that the student never learned"
CEILING = 15  # queries of a page


@pytest.fixture
def moved(project: Project) -> Monitor:
    return rows.moved(project)


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in(alice)


def here(monitor: Monitor, rest: str = "") -> str:
    return f"/p/{monitor.project.slug}/monitors/{monitor.name}/{rest}"


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def test_health_says_in_one_sentence_what_moved_and_what_to_do(
    client: Client, moved: Monitor
) -> None:
    page = read(client, here(moved))
    assert "3 signals are beyond the limits in the newest window." in page
    assert "Length moved: " in page
    assert "Agreement with the teacher fell from 96.0 % to 84.0 %." in page
    assert "The student does worse than it did: read the rows, then retrain it on them." in page


def test_an_open_incident_stands_on_top_in_its_own_words(client: Client, moved: Monitor) -> None:
    incident = rows.incident(moved)
    page = read(client, here(moved))
    assert page.index(incident.sentence) < page.index("What moves")
    assert "incident 1, serious" in page
    assert "nobody has it" in page


def test_a_quiet_monitor_says_that_all_is_as_it_was(client: Client, project: Project) -> None:
    monitor = rows.fitted(project, rows=500)
    rows.window(monitor, 1)
    page = read(client, here(monitor))
    assert "All is as it was on the reference." in page
    assert "What to do" not in page

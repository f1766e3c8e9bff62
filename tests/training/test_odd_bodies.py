"""What is sent to models, feedback and reports in odd shapes: refused with a sentence, before much
of it is read."""

import time
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from projects.models import Feedback, ModelVersion, Project, User
from projects.services import feedback
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Report
from training.services import serving
from training.views import report_parts

pytestmark = pytest.mark.django_db
BASE = "/api/v1/projects/intents"
DEEP = "[" * 100_000
TASK = "image-classification"


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


@pytest.fixture
def shapes(project: Project) -> ModelVersion:
    return make.model_version(project, "shapes", task=TASK)


def files(sizes: list[int]) -> list[SimpleUploadedFile]:
    return [SimpleUploadedFile(f"{at}.png", bytes(size)) for at, size in enumerate(sizes)]


@pytest.mark.parametrize("sizes", [[serving.MOST_BYTES + 1], [9 << 20] * 15])
def test_more_than_a_request_may_hold_is_refused(
    client: APIClient, shapes: ModelVersion, sizes: list[int]
) -> None:
    sent = {"inputs": files(sizes)}
    answer = client.post(f"{BASE}/models/shapes/versions/1/predict/", sent, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), answer.content


@pytest.mark.parametrize("written", ["{", DEEP, "NaN"])
def test_options_of_a_form_are_json_or_refused(
    client: APIClient, shapes: ModelVersion, written: str
) -> None:
    sent = {"inputs": files([5]), "written": written}
    answer = client.post(f"{BASE}/models/shapes/versions/1/predict/", sent, format="multipart")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["written"])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"task": TASK, "input": files([feedback.MOST_BYTES + 1])[0], "label": "a"}, 413),
        ({"task": TASK, "input": files([5])[0], "label": "a", "said": DEEP}, 400),
        ({"task": "text-classification", "input": "a\0b", "label": "a"}, 400),
        ({"task": "text-classification", "input": "ab", "label": "a\0"}, 400),
    ],
    ids=["large", "deep", "nul", "nul label"],
)
def test_feedback_in_odd_shapes_is_refused(
    client: APIClient, sent: dict[str, Any], status: int
) -> None:
    answer = client.post(f"{BASE}/feedback/", sent, format="multipart")
    assert answer.status_code == status, answer.content
    assert not Feedback.objects.exists()


# Reports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "{{ chart:" + " " * 90_000,
        ("{{ chart: run 1 " + " " * 380 + "\n") * 200,
        "{{" + " " * 45_000 + "chart" + " " * 45_000,
        " " * 90_000 + "{{ chart: run 1 }}",
    ],
    ids=["blanks", "many lines", "around a name", "before"],
)
def test_reading_a_report_takes_time_in_proportion_to_its_length(
    project: Project, line: str
) -> None:
    began = time.process_time()
    report_parts.parts(project, line)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", report_parts.KINDS)
@pytest.mark.parametrize(
    "words", [" ", "\u00a0", ",", "run 0", "study 999999999", "x y=1", "a\x7fb"]
)
def test_a_live_line_is_drawn_or_explained_and_breaks_no_page(
    project: Project, name: str, words: str
) -> None:
    assert report_parts.parts(project, f"{{{{ {name}: {words} }}}}")


def test_no_form_brings_a_nul_character_to_the_database(project: Project, erin: User) -> None:
    visitor: Client = signed_in(erin)
    for path, sent in (
        ("reports/new/", {"title": "a\0", "body": "b"}),
        ("reports/preview/", {"body": "{{ pareto: a\0b }}"}),
    ):
        answer = visitor.post(f"/p/intents/{path}", sent)
        assert answer.status_code == 400, answer.content
    assert not Report.objects.exists()

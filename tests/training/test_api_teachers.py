"""Teachers behind APIs are registered, tested and shown, and their keys stay with one address."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from rest_framework.test import APIClient

from distillhub.lib import secrets
from projects.models import ApiKey, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.site.processes import ROOT
from tests.training.api_server import Service, serving
from training.answering.asker import key_of
from training.worker import networks as inspection

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("worker")]

KEY = "sk-canary-0123456789abcdef-TAIL"


@pytest.fixture(autouse=True)
def reaches_loopback(settings: LazySettings) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]


@pytest.fixture
def alices_api(alice: User) -> APIClient:
    return api_of(alice)


@pytest.fixture
def alices(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service(answer=lambda body: "yes", key=KEY)) as one:
        yield one


def source(service: Service, **more: Any) -> dict[str, Any]:
    said = {"kind": "api", "base_url": service.base_url, "model": "big", "key": KEY}
    return said | more


def registered(client: APIClient, project: Project, **more: Any) -> Any:
    body = {"name": "big", "role": "teacher", "task": "text-classification"} | more
    return client.post(f"/api/v1/projects/{project.slug}/models/", body, format="json")


def inspected(number: int = 1) -> ModelVersion:
    version = ModelVersion.objects.get(number=number)
    inspection.WORK.carry_out(version.pk)
    version.refresh_from_db()
    return version


def test_a_teacher_is_registered_through_rest_and_its_key_is_never_shown(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    answer = registered(alices_api, project, source=source(service, input_price="0.25"))

    assert answer.status_code == 201, answer.json()
    said = answer.json()
    assert said["status"] == "inspecting"
    assert said["key"]["ending"] == "TAIL"
    assert said["source"]["input_price"] == "0.25"
    assert KEY not in answer.content.decode()
    kept = ApiKey.objects.get()
    assert kept.sealed != KEY
    assert secrets.unseal(kept.sealed) == KEY


def test_a_worker_tests_the_connection_and_finds_out_what_the_service_takes(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    service.refuses = frozenset({"response_format", "logprobs"})
    registered(alices_api, project, source=source(service))
    version = inspected()

    assert (version.status, version.error) == ("ready", None)
    assert version.source["offers"] == {"structured": False, "logprobs": False}
    assert version.source["answers"] == "big"
    assert service.headers[0]["authorization"] == f"Bearer {KEY}"


def test_newer_names_of_limits_are_found_out(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    service.refuses = frozenset({"max_tokens", "temperature", "logprobs"})
    service.answer = lambda body: '{"answer": "yes"}'
    registered(alices_api, project, source=source(service))
    version = inspected()

    assert version.source["offers"] == {
        "max_completion_tokens": True,
        "no_temperature": True,
        "structured": True,
        "logprobs": False,
    }


def test_a_wrong_key_fails_with_the_services_words_but_without_the_key(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    wrong = "sk-wrong-abcdefghijklmnop"
    registered(alices_api, project, source=source(service, key=wrong))
    version = inspected()

    assert version.status == "failed"
    assert version.error is not None
    assert version.error["code"] == "not_allowed"
    assert "Incorrect API key" in version.error["detail"]
    assert wrong not in version.error["detail"]


def test_the_connection_is_tested_again_at_any_time(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    registered(alices_api, project, source=source(service))
    inspected()
    answer = alices_api.post(f"/api/v1/projects/{project.slug}/models/big/versions/1/inspect/")

    assert (answer.status_code, answer.json()["status"]) == (202, "inspecting")
    assert inspected().status == "ready"


def test_a_stored_key_is_not_sent_to_another_address(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    registered(alices_api, project, source=source(service))
    versions = f"/api/v1/projects/{project.slug}/models/big/versions/"
    said = {name: value for name, value in source(service).items() if name != "key"}

    same = alices_api.post(versions, {"source": said | {"model": "bigger"}}, format="json")
    elsewhere = alices_api.post(
        versions, {"source": said | {"base_url": "http://127.0.0.1:9/v1"}}, format="json"
    )
    again = alices_api.post(
        versions,
        {"source": said | {"base_url": "http://127.0.0.1:9/v1", "key": "another-key-1234"}},
        format="json",
    )

    assert same.status_code == 201
    assert key_of(ModelVersion.objects.get(number=2)) == KEY
    assert elsewhere.status_code == 400
    assert "Give the key again" in elsewhere.json()["fields"]["source.key"][0]
    assert again.status_code == 201
    assert key_of(ModelVersion.objects.get(number=3)) == "another-key-1234"
    assert key_of(ModelVersion.objects.get(number=1)) == KEY


def test_a_key_is_replaced_for_all_versions_with_its_address(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    registered(alices_api, project, source=source(service))
    to = f"/api/v1/projects/{project.slug}/models/big/key/"
    answer = alices_api.put(to, {"key": "sk-second-0123456789-LAST"}, format="json")

    assert answer.json()["ending"] == "LAST"
    assert "sk-second" not in answer.content.decode()
    assert key_of(ModelVersion.objects.get()) == "sk-second-0123456789-LAST"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"base_url": "http://169.254.169.254/latest"}, "base_url"),
        ({"base_url": "https://user:pass@example.com/v1"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"api": "smoke-signals"}, "api"),
        ({"api": "bedrock"}, "region"),
        ({"model": ""}, "model"),
        ({"headers": {"Authorization": "Bearer x"}}, "headers"),
        ({"headers": {"X-Api-Key": "x"}}, "headers"),
        ({"headers": {"X-Note": "a\r\nX-Other: b"}}, "headers"),
        ({"key_header": "Host"}, "key_header"),
        ({"key": "two words"}, "key"),
        ({"concurrency": 1000}, "concurrency"),
        ({"input_price": "-1"}, "input_price"),
        ({"timeout": 0}, "timeout"),
        ({"tempratur": 1}, "tempratur"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_its_field(
    alices_api: APIClient, project: Project, service: Service, more: dict[str, Any], field: str
) -> None:
    answer = registered(alices_api, project, source=source(service, **more))

    assert answer.status_code == 400
    assert f"source.{field}" in answer.json()["fields"], answer.json()
    assert KEY not in answer.content.decode()


def test_a_student_and_a_task_of_pictures_have_no_api(
    alices_api: APIClient, project: Project, service: Service
) -> None:
    student = registered(alices_api, project, role="student", source=source(service))
    pictures = registered(alices_api, project, task="image-classification", source=source(service))

    assert "source.kind" in student.json()["fields"]
    assert "task" in pictures.json()["fields"]


def test_the_page_registers_and_shows_one_without_its_key(
    alices: Client, project: Project, service: Service
) -> None:
    to = f"/p/{project.slug}/models/new/"
    form = alices.get(f"{to}?role=teacher&task=text-classification&source=api")
    assert 'name="api.base_url"' in form.content.decode()

    posted = {
        "role": "teacher",
        "task": "text-classification",
        "source": "api",
        "name": "big",
        "api.api": "openai-chat",
        "api.base_url": service.base_url,
        "api.model": "big",
        "api.key": KEY,
        "api.input_price": "0.5",
        "action": "register",
    }
    refused = alices.post(to, posted | {"api.base_url": "http://10.0.0.1/v1"})
    assert "no public address" in refused.content.decode()
    assert "Enter it again" in refused.content.decode()
    assert KEY not in refused.content.decode()

    page = alices.post(to, posted, follow=True)
    assert page.redirect_chain
    inspected()
    page = alices.get(page.redirect_chain[-1][0])
    shown = page.content.decode()
    assert "Test the connection" in shown
    assert "OpenAI-compatible chat" in shown
    assert "…TAIL" in shown
    assert KEY not in shown


def test_the_next_version_begins_as_the_one_before(
    alices: Client, alices_api: APIClient, project: Project, service: Service
) -> None:
    said = source(service, input_price="0.25", timeout=90, requests_per_minute=30)
    registered(alices_api, project, source=said)
    form = f"/p/{project.slug}/models/new/?model=big"
    page = alices.get(form).content.decode()
    for value in (service.base_url, "0.25", "90", "30"):
        assert f'value="{value}"' in page
    assert "Leave it empty to use the one that is kept" in page
    assert KEY not in page

    posted = {"source": "api", "api.base_url": service.base_url, "api.model": "bigger"}
    assert alices.post(form, posted | {"action": "register"}).status_code == 302
    assert key_of(ModelVersion.objects.get(number=2)) == KEY


def test_the_page_replaces_a_key(alices: Client, project: Project, service: Service) -> None:
    version = make.model_version(
        project,
        "big",
        role="teacher",
        source={"kind": "api", "api": "openai-chat", "base_url": service.base_url, "model": "m"},
    )
    to = f"/p/{project.slug}/models/big/1/key/"
    assert alices.post(to, {"key": KEY}).status_code == 302
    assert key_of(version) == KEY
    assert "Give a key." in alices.post(to, {"key": ""}).content.decode()


def test_a_run_cannot_have_it_as_a_teacher(
    alices_api: APIClient, project: Project, service: Service, alice: User
) -> None:
    registered(alices_api, project, source=source(service))
    ModelVersion.objects.update(status="ready")
    make.dataset_version(project, "data")
    make.model_version(project, "small")
    answer = alices_api.post(
        f"/api/v1/projects/{project.slug}/runs/",
        {
            "task": "text-classification",
            "dataset": "data@1",
            "student": "small@1",
            "teachers": ["big@1"],
            "losses": [{"kind": "soft_targets", "weight": 1.0}],
        },
        format="json",
    )

    assert "annotate the dataset first" in str(answer.json()), answer.json()


def test_nobody_who_only_looks_holds_the_libraries_that_ask() -> None:
    """Web processes estimate and show; they stay small."""
    held = (
        "import django, sys; django.setup(); import distillhub.urls, training.jobs;"
        "import training.answering.estimating;"
        "print([one for one in ('openai', 'boto3', 'httpx2') if one in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", held], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert told.stdout.strip() == "[]"

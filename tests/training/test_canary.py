"""A key that is told to us is found nowhere afterwards: a canary is looked for in all that anybody
could read."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.core import serializers
from django.urls import reverse

from projects.models import ModelVersion, Project, User
from tests.conftest import api_of, signed_in
from tests.training.api_server import Service, serving
from training.answering.asker import Asker
from training.answering.faults import Stopped
from training.answering.questions import Prompt, Text
from training.worker import networks as inspection

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("worker")]

CANARY = "sk-canary-8c1f5a7e29d04b63-0000"
AWS = "AKIACANARY0000000000:canarySecret8c1f5a7e29d04b63"


@pytest.fixture
def service(settings: LazySettings) -> Iterator[Service]:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with serving() as one:
        yield one


def answers_of(user: User, project: Project) -> Iterator[str]:
    api, pages = api_of(user), signed_in(user)
    at = f"/api/v1/projects/{project.slug}"
    for where in ("models/", "models/big/", "models/big/versions/", "models/big/versions/1/"):
        yield api.get(f"{at}/{where}").content.decode()
    addresses: dict[str, list[str | int]] = {
        "teacher_list": [project.slug],
        "model_detail": [project.slug, "big"],
        "model_version": [project.slug, "big", 1],
        "project_overview": [project.slug],
    }
    for name, arguments in addresses.items():
        yield pages.get(reverse(f"training:{name}", args=arguments)).content.decode()
    form = f"{reverse('training:model_new', args=[project.slug])}?model=big"
    yield pages.get(form).content.decode()


def rows() -> Iterator[str]:
    """All that the database holds."""
    for model in apps.get_models():
        yield serializers.serialize("json", model._default_manager.all())


def files(*folders: Path) -> Iterator[str]:
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and file.name != "secret_keys":
                yield file.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("key", "more"),
    [(CANARY, {"api": "openai-chat"}), (AWS, {"api": "bedrock", "region": "eu-central-1"})],
)
def test_a_key_is_nowhere_to_be_read(
    project: Project,
    alice: User,
    service: Service,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Any,
    key: str,
    more: dict[str, str],
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    api = api_of(alice)
    models = f"/api/v1/projects/{project.slug}/models/"
    source = {"kind": "api", "base_url": service.url, "model": "big", "key": key} | more
    body = {"name": "big", "role": "teacher", "task": "text-classification", "source": source}

    # Registered, refused, sent twice, tested, asked, and answered by a service that repeats it.
    with django_capture_on_commit_callbacks(execute=True):
        made = api.post(models, body, format="json", headers={"Idempotency-Key": "one"})
    assert made.status_code == 201, made.json()
    twice = api.post(models, body, format="json", headers={"Idempotency-Key": "one"})
    refused = api.post(models, body | {"name": "other"} | {"task": "none"}, format="json")
    said += [one.content.decode() for one in (made, twice, refused)]
    version = ModelVersion.objects.get()
    inspection.WORK.carry_out(version.pk)
    version.refresh_from_db()
    assert version.status == "ready"
    assert list(Asker(version, Text(), purpose="test").answers([Prompt(1, "hello")]))
    service.key = "another"
    with pytest.raises(Stopped) as stopped:
        list(Asker(version, Text(), purpose="test").answers([Prompt(1, "bye")]))
    said.append(stopped.value.sentence)
    ModelVersion.objects.update(status="inspecting")
    inspection.WORK.carry_out(version.pk)
    said += answers_of(alice, project)

    # A mistake of our own in the middle of it.
    settings.DISTILLHUB_SECRET_KEYS = ["no key"]
    api.raise_request_exception = False
    broken = api.put(f"{models}big/key/", {"key": key}, format="json")
    page = signed_in(alice)
    page.raise_request_exception = False
    to = reverse("training:model_key", args=[project.slug, "big", 1])
    failed = page.post(to, {"key": key})
    assert (broken.status_code, failed.status_code) == (500, 500)
    said += [broken.content.decode(), failed.content.decode()]

    homes = {Path(os.environ["DISTILLHUB_HOME"]), Path(settings.DISTILLHUB_HOME)}
    said += [json.dumps(service.seen), *rows(), *files(*homes, Path(settings.MEDIA_ROOT))]
    said += [record.getMessage() + str(record.exc_text or "") for record in caplog.records]
    secret = key.split(":")[-1]
    assert not [text for text in said if secret in text]
    assert any(secret in str(one) for one in service.headers) or key == AWS

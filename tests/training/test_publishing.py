"""Versions that are sent to a hub: one on the loopback, spoken to by huggingface_hub itself."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.core import serializers
from huggingface_hub import ModelCard

from distillhub.lib import leases, storage
from projects.models import ApiKey, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.engine.hub_server import COMMIT, Hub
from training import jobs
from training.engine.teachers import hub as pulling
from training.models import Publication
from training.services import publishing
from training.worker import dispatch

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("worker"),
    # huggingface_hub 2.4 sends large files by a name of httpx2's that is old.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

TOKEN = "hf_canary_0123456789abcdef"
SENT = "/api/v1/projects/intents/models/small/versions/1/publications/"
ASKED: dict[str, Any] = {"repository": "acme/intents", "token": TOKEN}


@pytest.fixture
def hub(tmp_path: Path, settings: LazySettings) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    with Hub({}, writable=tmp_path / "hub", token=TOKEN) as served:
        settings.HF_ENDPOINT = served.address
        settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
        yield served


@pytest.fixture
def version(project: Project, tmp_path: Path) -> ModelVersion:
    """A version with a large file and small ones, and an export."""
    header = b"{}      "
    weights = len(header).to_bytes(8, "little") + header + bytes(range(256)) * 20
    files = stored(tmp_path, {"config.json": b"{}", "model.safetensors": weights})
    return make.model_version(
        project, "small", files=files, labels=["no", "yes"], source={"kind": "upload"}
    )


def stored(folder: Path, contents: dict[str, bytes]) -> list[dict[str, Any]]:
    found = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        blob = storage.put(folder / name)
        found.append({"name": name, "sha256": blob.sha256, "bytes": blob.bytes})
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any) -> Any:
    """Publications are carried out in this process, when it is said."""
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)

    def carry_out(publication: int) -> Publication:
        jobs.publish(publication_id=publication)
        return Publication.objects.get(pk=publication)

    return carry_out


def test_a_version_its_exports_and_its_card_become_one_commit(
    version: ModelVersion, hub: Hub, erin: User, told: Any, tmp_path: Path
) -> None:
    data = make.dataset_version(version.model.project)
    graph = stored(tmp_path, {"model.onnx": b"graph" * 500, "export.json": b"{}"})
    export = make.export(version, data, format="onnx", files=graph)
    client = api_of(erin)
    client.put("/api/v1/projects/intents/models/small/versions/1/card/", {"text": "For *tickets*."})
    answer = client.post(SENT, ASKED | {"exports": [export.pk], "message": "First"})
    assert answer.status_code == 202, answer.json()
    made = told(answer.json()["id"])
    assert (made.status, made.error) == ("ready", None)
    shown = client.get(f"{SENT}{made.pk}/").json()
    assert shown["report"]["commit"] == COMMIT
    assert shown["report"]["files"] == [
        *("README.md", "config.json", "model.safetensors"),
        *("onnx/export.json", "onnx/model.onnx"),
    ]
    folder = hub.repositories["acme/intents"]
    for file in (*version.files, *({**one, "name": f"onnx/{one['name']}"} for one in graph)):
        content = (folder / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["name"]
    card = ModelCard((folder / "README.md").read_text())
    assert getattr(card.data, "pipeline_tag", "") == "text-classification"
    assert "For *tickets*." in card.text
    assert hub.commits == [
        {"made": "acme/intents", "visibility": "private"},
        {"branch": "main", "message": "First"},
    ]
    large = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert f"PUT /lfs/{large}" in hub.asked  # the way of large files
    again = client.post(SENT, {"repository": "acme/intents"})  # the token is kept
    assert told(again.json()["id"]).status == "ready"


def test_what_was_sent_can_be_taken_back(
    version: ModelVersion, hub: Hub, erin: User, told: Any, tmp_path: Path
) -> None:
    made = publishing.publish(version=version, asked=ASKED, by=erin)
    assert told(made.pk).status == "ready"
    fetched = pulling.fetch("acme/intents", "main", tmp_path / "back", endpoint=hub.address)
    assert fetched.commit == COMMIT
    for file in version.files:
        content = (tmp_path / "back" / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]


def test_the_token_is_nowhere_to_be_read(
    version: ModelVersion, hub: Hub, erin: User, alice: User, told: Any
) -> None:
    answer = api_of(erin).post(SENT, ASKED)
    told(answer.json()["id"])
    page = signed_in(erin).get("/p/intents/models/small/1/publish/").content.decode()
    assert "cdef" in page  # its last characters
    rows = "".join(
        serializers.serialize("json", model._default_manager.all()) for model in apps.get_models()
    )
    for text in (rows, page, json.dumps(api_of(alice).get(SENT).json())):
        assert TOKEN not in text
    kept = ApiKey.objects.get()
    assert kept.origin == hub.address
    gone = "/api/v1/projects/intents/models/small/hub-token/"
    assert api_of(erin).delete(gone).status_code == 204
    assert api_of(erin).delete(gone).status_code == 404
    assert api_of(erin).post(SENT, {"repository": "acme/intents"}).json()["fields"]["token"]


def test_a_token_is_not_sent_to_a_hub_elsewhere(
    version: ModelVersion, hub: Hub, erin: User, told: Any, settings: LazySettings
) -> None:
    made = publishing.publish(version=version, asked=ASKED, by=erin)
    Publication.objects.filter(pk=made.pk).update(endpoint="http://127.0.0.1:9")
    failed = told(made.pk)
    assert (failed.status, failed.error["code"]) == ("failed", "no_token")
    assert hub.asked == []
    settings.HF_ENDPOINT = "http://127.0.0.1:9"
    answer = api_of(erin).post(SENT, {"repository": "acme/intents"})
    assert "token" in answer.json()["fields"]


@pytest.mark.parametrize("allowed", [[], ["10.0.0.0/8"]])
def test_nothing_is_sent_to_a_private_address_unless_it_is_allowed(
    version: ModelVersion,
    hub: Hub,
    erin: User,
    told: Any,
    settings: LazySettings,
    allowed: list[str],
) -> None:
    made = publishing.publish(version=version, asked=ASKED, by=erin)
    settings.DISTILLHUB_OUTGOING_ALLOW = allowed
    answer = api_of(erin).post(SENT, ASKED)
    assert answer.status_code == 400
    assert "no public address" in answer.json()["fields"]["repository"][0]
    assert told(made.pk).error["code"] == "address_refused"  # and again when it is sent
    assert hub.asked == []


def test_what_the_hub_refuses_is_told_in_a_sentence(
    version: ModelVersion, hub: Hub, erin: User, told: Any
) -> None:
    for asked, code, words in (
        ({"repository": "others/intents"}, "refused", "may not write to others/intents"),
        ({"token": "hf_wrong"}, "refused", "may not write"),
    ):
        made = publishing.publish(version=version, asked=ASKED | asked, by=erin)
        failed = told(made.pk)
        assert (failed.status, failed.error["code"]) == ("failed", code)
        assert words in failed.error["detail"]
        assert "hf_wrong" not in failed.error["detail"]
    hub.lost = True
    failed = told(publishing.publish(version=version, asked=ASKED, by=erin).pk)
    assert failed.error["code"] == "hub"  # of one large file
    hub.lost, hub.away = False, "/api/repos"
    made = publishing.publish(version=version, asked=ASKED, by=erin)
    assert told(made.pk).error["code"] in ("hub", "hub_away")
    page = signed_in(erin).get("/p/intents/models/small/1/publish/").content.decode()
    assert "may not write to others/intents" in page


def test_a_worker_that_leaves_sends_no_further(
    version: ModelVersion, hub: Hub, erin: User, told: Any
) -> None:
    def leave(line: str) -> None:
        if "/preupload/" in line:
            leases.stopping.set()

    hub.met = leave
    made = publishing.publish(version=version, asked=ASKED, by=erin)
    left = told(made.pk)
    leases.stopping.clear()
    assert (left.status, left.error, left.times_lost) == ("queued", None, 0)
    assert not any("branch" in one for one in hub.commits)
    hub.met = lambda line: None
    assert told(made.pk).status == "ready"  # by another, or by this one again


def test_every_fault_is_named_at_its_field(
    version: ModelVersion, hub: Hub, erin: User, vera: User, project: Project
) -> None:
    client = api_of(erin)
    for asked, field in (
        ({}, "repository"),
        ({"repository": "intents"}, "repository"),
        ({"repository": "../etc"}, "repository"),
        ({"repository": "a/b/c"}, "repository"),
        (ASKED | {"revision": "a b"}, "revision"),
        (ASKED | {"weights": False}, "weights"),
        (ASKED | {"private": "yes"}, "private"),
        (ASKED | {"exports": [99]}, "exports"),
        (ASKED | {"exports": "all"}, "exports"),
        (ASKED | {"exports": [2**70]}, "exports"),
        (ASKED | {"token": "two words"}, "token"),
        (ASKED | {"message": "x" * 501}, "message"),
        (ASKED | {"endpoint": "http://elsewhere"}, "endpoint"),
        ({"repository": "acme/intents"}, "token"),
    ):
        answer = client.post(SENT, asked)
        assert answer.status_code == 400, asked
        assert field in answer.json()["fields"], (asked, answer.json())
    assert not Publication.objects.exists()
    assert api_of(vera).post(SENT, ASKED).status_code == 403
    make.model_version(project, "empty")
    nothing = client.post("/api/v1/projects/intents/models/empty/versions/1/publications/", ASKED)
    assert "no files" in nothing.json()["detail"]


def test_the_page_sends_and_shows_what_came_of_it(
    version: ModelVersion, hub: Hub, erin: User, vera: User, told: Any
) -> None:
    client, here = signed_in(erin), "/p/intents/models/small/1/publish/"
    page = client.get(here).content.decode()
    for shown in ("Make a bundle", "Nowhere yet", hub.address):
        assert shown in page
    wrong = client.post(here, {"repository": "nothing", "weights": "yes"})
    assert "owner/name, such as acme/intents" in wrong.content.decode()
    assert 'value="nothing"' in wrong.content.decode()
    sent = client.post(here, {**ASKED, "weights": "yes", "private": "yes"})
    assert sent.status_code == 302
    told(Publication.objects.get().pk)
    part = client.get(here, headers={"HX-Target": "publications"}).content.decode()
    assert "3 files" in part
    assert COMMIT[:12] in part
    assert "<html" not in part
    assert "Send it</button>" not in signed_in(vera).get(here).content.decode()


def test_a_bundle_is_asked_for_on_the_page(
    version: ModelVersion, erin: User, project: Project, told: Any
) -> None:
    client = signed_in(erin)
    refused = client.post("/p/intents/models/small/1/bundle/", {}, follow=True).content.decode()
    assert "name the dataset" in refused  # it was uploaded: nobody knows its rows
    data = make.dataset_version(project, labels=("no", "yes"))
    make.run(project, status="finished", output=version, dataset_version=data)
    client.post("/p/intents/models/small/1/bundle/", {"int8": "yes", "without_rows": "yes"})
    (export,) = version.exports.all()
    assert (export.format, export.options["int8"], export.options["examples"]) == (
        "bundle",
        True,
        0,
    )
    page = client.get("/p/intents/models/small/1/publish/").content.decode()
    assert "waits for a worker" in page
    export.status, export.report = "ready", make.export(version, data).report
    export.save()
    page = client.get("/p/intents/models/small/1/publish/").content.decode()
    assert f"/exports/{export.pk}/download/" in page
    made = make.model_version(project, "writer", task="text-generation")
    page = client.get(f"/p/intents/models/writer/{made.number}/publish/").content.decode()
    assert "There is no bundle of text-generation" in page

"""Predictions through REST, by the process that keeps models warm: real models, a real process."""

import base64
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from distillhub.lib import storage
from distillhub.lib.places import place
from projects.models import ApiToken, ModelVersion, Project, User
from projects.services import accounts
from tests import make
from tests.conftest import api_of
from tests.engine import jobs
from training.services import serving
from training.worker import predictor

pytestmark = pytest.mark.django_db
JSON = dict[str, Any]
BASE = "/api/v1/projects/intents/models"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders of tasks, and the files of the rows they learned from beside them."""
    found = {}
    for task, make_rows, architecture, asked in (
        ("text-classification", jobs.texts, "bag_of_embeddings", jobs.SMALL_BAG),
        ("image-classification", jobs.images, "small_convnet", jobs.SMALL_CONVNET),
    ):
        folder = tmp_path_factory.mktemp("trained")
        job = jobs.write(
            folder, make_rows(folder / "dataset.parquet"), task=task, architecture=architecture,
            options=asked, evaluate=False, training={"epochs": 8},
        )  # fmt: skip
        jobs.run(job)
        found[task] = folder / "output" / "model"
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One process answers all tests of this module."""
    folder = tmp_path_factory.mktemp("serving")
    yield folder
    predictor.hang_up()


@pytest.fixture(autouse=True)
def one_home(own_files: None, home: Path, settings: LazySettings) -> None:
    settings.DISTILLHUB_HOME = home
    settings.DISTILLHUB_WARM_MODELS = 3


def stored(
    project: Project, folder: Path, name: str, task: str = "text-classification", **more: Any
) -> ModelVersion:
    """A version of these files."""
    files = []
    for path in sorted(folder.iterdir()):
        blob = storage.put(path)
        files.append({"name": path.name, "sha256": blob.sha256, "bytes": blob.bytes})
    said = json.loads((folder / "distillhub.json").read_text())
    return make.model_version(
        project, name, task=task, files=files, labels=said["labels"], source={"kind": "run"}, **more
    )


@pytest.fixture
def intents(project: Project, trained: dict[str, Path]) -> ModelVersion:
    return stored(project, trained["text-classification"], "tiny")


@pytest.fixture
def shapes(project: Project, trained: dict[str, Path]) -> ModelVersion:
    task = "image-classification"
    return stored(project, trained[task], "shapes", task=task)


def ask(client: APIClient, path: str, status: int = 200, **body: Any) -> JSON:
    answer = client.post(f"{BASE}/{path}/predict/", body, format="json")
    assert answer.status_code == status, answer.content
    found: JSON = answer.json()
    return found


def test_a_version_answers_with_labels_and_probabilities(intents: ModelVersion, vera: User) -> None:
    said = ask(api_of(vera), "tiny/versions/1", inputs=["please refund my card", "pay now"], top=2)
    assert said["model"] == "tiny@1"
    assert [one["label"] for one in said["predictions"]] == ["refund", "pay"]
    assert [len(one["probabilities"]) for one in said["predictions"]] == [2, 2]
    assert said["problem"] == "single_label"
    assert said["latency"] is None


def test_an_alias_or_the_newest_answers_too(
    project: Project, intents: ModelVersion, trained: dict[str, Path], erin: User
) -> None:
    stored(project, trained["text-classification"], "tiny")
    intents.aliases.create(model=intents.model, name="production")
    client, inputs = api_of(erin), ["cancel my order"]
    assert ask(client, "tiny", inputs=inputs)["model"] == "tiny@2"
    assert ask(client, "tiny", inputs=inputs, version="production")["model"] == "tiny@1"
    assert ask(client, "tiny", inputs=inputs, version="1")["model"] == "tiny@1"
    ask(client, "tiny", 404, inputs=inputs, version="staging")


def test_pictures_come_in_base64_or_as_files(
    shapes: ModelVersion, vera: User, trained: dict[str, Path]
) -> None:
    rows = pq.read_table(trained["image-classification"].parent.parent / "dataset.parquet")
    pictures = rows["image"].to_pylist()[:3]
    encoded = [base64.b64encode(one).decode() for one in pictures]
    client = api_of(vera)
    said = ask(
        client, "shapes/versions/1",
        inputs=[encoded[0], f"data:image/png;base64,{encoded[1]}", {"base64": encoded[2]}],
    )  # fmt: skip
    files = [SimpleUploadedFile(f"{at}.png", one) for at, one in enumerate(pictures)]
    sent = client.post(f"{BASE}/shapes/versions/1/predict/", {"inputs": files}, format="multipart")
    assert sent.status_code == 200, sent.content
    assert sent.json()["predictions"] == said["predictions"]


def test_a_damaged_picture_is_told_beside_the_answers_to_others(
    shapes: ModelVersion, vera: User, trained: dict[str, Path]
) -> None:
    rows = pq.read_table(trained["image-classification"].parent.parent / "dataset.parquet")
    good = base64.b64encode(rows["image"][0].as_py()).decode()
    bad = base64.b64encode(b"no picture").decode()
    client = api_of(vera)
    said = ask(client, "shapes/versions/1", inputs=[bad, good])["predictions"]
    assert said[0]["label"] is None
    assert "no picture" in said[0]["error"]
    assert said[1]["label"] in jobs.LABELS
    refused = ask(client, "shapes/versions/1", 400, inputs=[bad])
    assert "no picture" in refused["fields"]["inputs.0"][0]


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 400, "inputs"),
        ({"inputs": "hello"}, 400, "inputs"),
        ({"inputs": []}, 400, "inputs"),
        ({"inputs": ["fine", 3, {"x": 1}]}, 400, "inputs.1"),
        ({"inputs": ["fine"], "top": 0}, 400, "top"),
        ({"inputs": ["fine"], "temperature": 1}, 400, "temperature"),
        ({"inputs": ["x"] * 257}, 413, None),
        ({"inputs": ["x" * 200_001]}, 413, None),
        ({"inputs": ["x"], "export": 99}, 404, None),
    ],
)
def test_what_is_no_request_is_refused_by_name(
    body: JSON, status: int, where: str | None, intents: ModelVersion, vera: User
) -> None:
    refused = ask(api_of(vera), "tiny/versions/1", status, **body)
    assert where is None or where in refused["fields"]


def test_what_has_no_answers_says_what_to_do_instead(project: Project, vera: User) -> None:
    make.model_version(project, "untrained")
    make.model_version(project, "api", role="teacher", source={"kind": "api"})
    column = {"kind": "column", "dataset": "tickets@1"}
    make.model_version(project, "column", role="teacher", source=column)
    make.model_version(project, "young", status="inspecting")
    client = api_of(vera)
    for name, words in (
        ("untrained", "train it first"),
        ("api", "say the budget"),
        ("column", "Distil it"),
        ("young", "being inspected"),
    ):
        refused = ask(client, f"{name}/versions/1", 409, inputs=["x"])
        assert (refused["code"], words in refused["detail"]) == ("no_answers", True)


def test_a_token_that_may_only_read_may_ask(
    intents: ModelVersion, vera: User, charlie: User
) -> None:
    client = APIClient()
    _, secret = accounts.create_token(user=vera, name="app", scope=ApiToken.Scope.READ)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert ask(client, "tiny/versions/1", inputs=["refund"])["predictions"]
    ask(api_of(charlie), "tiny/versions/1", 404, inputs=["refund"])


def test_the_next_request_is_answered_when_the_process_was_killed(
    intents: ModelVersion, vera: User
) -> None:
    client = api_of(vera)
    before = ask(client, "tiny/versions/1", inputs=["refund"])
    status = predictor.status()
    assert status is not None
    os.kill(status["pid"], signal.SIGKILL)
    assert ask(client, "tiny/versions/1", inputs=["refund"])["predictions"] == before["predictions"]
    after = predictor.status()
    assert after is not None
    assert after["pid"] != status["pid"]


def test_one_killed_in_the_middle_is_asked_again(intents: ModelVersion) -> None:
    """Stopped, so that what is sent stays unanswered; then killed."""
    serving.predict(version=intents, inputs=["refund"])
    status = predictor.status()
    assert status is not None
    os.kill(status["pid"], signal.SIGSTOP)
    killing = threading.Timer(0.3, os.kill, [status["pid"], signal.SIGKILL])
    killing.start()
    said = serving.predict(version=intents, inputs=["refund"])
    killing.join()
    assert said.answers[0]["label"] == "refund"


def test_many_at_once_are_all_answered_by_one_process(intents: ModelVersion) -> None:
    model, said = serving.model_of(intents), {}

    def one(place: int) -> None:
        word = jobs.LABELS[place % 3]
        answers = predictor.predict(model, [{"text": f"please {word} my order"}])["answers"]
        said[place] = answers[0]["label"] == word

    threads = [threading.Thread(target=one, args=(place,)) for place in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert list(said.values()) == [True] * 24
    status = predictor.status()
    assert status is not None
    assert [one["name"] for one in status["models"]].count("tiny@1") == 1


def test_the_least_recently_used_model_makes_room(
    project: Project, trained: dict[str, Path], tmp_path: Path
) -> None:
    folder = trained["text-classification"]
    for number in range(4):
        other = tmp_path / f"other-{number}"
        shutil.copytree(folder, other)
        (other / "README.md").write_text(str(number))  # another content, another place
        serving.predict(version=stored(project, other, f"copy-{number}"), inputs=["refund"])
    status = predictor.status()
    assert status is not None
    assert [one["name"] for one in status["models"]] == ["copy-1@1", "copy-2@1", "copy-3@1"]
    assert not list((predictor.folder() / "models").iterdir())


def test_stored_files_that_changed_are_not_answered_from(
    project: Project, trained: dict[str, Path], tmp_path: Path, vera: User
) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained["text-classification"], other)
    (other / "README.md").write_text("damaged later")
    stored(project, other, "damaged")
    digest = sha256(b"damaged later").hexdigest()
    lying = place().local(storage.key(digest))
    assert lying is not None
    lying.unlink()
    lying.write_text("x")
    refused = ask(api_of(vera), "damaged/versions/1", 409, inputs=["x"])
    assert refused["code"] == "damaged"


def test_an_answer_that_takes_too_long_is_given_up(
    intents: ModelVersion, vera: User, settings: LazySettings
) -> None:
    serving.predict(version=intents, inputs=["refund"])
    settings.DISTILLHUB_PREDICT_SECONDS = 0.2
    status = predictor.status()
    assert status is not None
    os.kill(status["pid"], signal.SIGSTOP)
    try:
        refused = ask(api_of(vera), "tiny/versions/1", 504, inputs=["refund"])
    finally:
        os.kill(status["pid"], signal.SIGCONT)
    assert refused["code"] == "timed_out"


def test_an_ensemble_answers_with_the_mean_of_its_members(
    project: Project, intents: ModelVersion, vera: User
) -> None:
    make.model_version(
        project, "both", role="teacher",
        source={"kind": "ensemble", "members": ["tiny@1", "tiny@1"], "weights": [1.0, 3.0]},
    )  # fmt: skip
    client, inputs = api_of(vera), ["please refund my card"]
    alone = ask(client, "tiny/versions/1", inputs=inputs)["predictions"][0]
    both = ask(client, "both/versions/1", inputs=inputs, measure=2)
    assert both["predictions"][0]["label"] == alone["label"]
    assert both["predictions"][0]["probabilities"] == pytest.approx(alone["probabilities"])
    assert both["latency"]["calls"] >= 1


def test_it_ends_when_nobody_is_connected_any_more(
    intents: ModelVersion, tmp_path: Path, settings: LazySettings
) -> None:
    """Whatever ended those who asked: it never outlives them. A long home folder is no matter."""
    settings.DISTILLHUB_HOME = tmp_path / ("long" * 20)
    settings.DISTILLHUB_HOME.mkdir()
    serving.predict(version=intents, inputs=["refund"])
    status = predictor.status()
    assert status is not None
    predictor.hang_up()
    until = time.monotonic() + 20
    while Path(f"/proc/{status['pid']}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{status['pid']}").exists()
    assert predictor.status() is None

"""The playground: models side by side, with real models in the process that answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from distillhub.lib import storage
from projects.models import ApiToken, Feedback, ModelVersion, Project, User
from projects.services import accounts
from tests import make
from tests.conftest import api_of, signed_in
from tests.engine import jobs, shipping, writings
from tests.training.api_server import serving
from tests.training.test_serving import stored
from training.models import Artifact, Run
from training.services import playground
from training.worker import predictor

pytestmark = pytest.mark.django_db
JSON = dict[str, Any]
HERE = "/p/intents/playground/"
LARGER, SMALLER = {"dim": 16, "vocabulary": 60}, {"dim": 4, "vocabulary": 16}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher and a student of texts, of pictures, of tables; and one that writes."""
    found = {}
    for name, make_rows, task, architecture, asked in (
        ("big", jobs.texts, "text-classification", "bag_of_embeddings", LARGER),
        ("tiny", jobs.texts, "text-classification", "bag_of_embeddings", SMALLER),
        ("eyes", jobs.images, "image-classification", "small_convnet", jobs.SMALL_CONVNET),
        ("clerk", jobs.tables, "tabular-classification", "tabular_mlp", {}),
    ):  # fmt: skip
        folder = tmp_path_factory.mktemp(name)
        job = jobs.write(
            folder, make_rows(folder / "dataset.parquet"), task=task, architecture=architecture,
            options=asked, evaluate=False, training={"epochs": 6},
        )  # fmt: skip
        jobs.run(job)
        found[name] = folder / "output" / "model"
    folder = tmp_path_factory.mktemp("writer")
    jobs.run(writings.write(folder, writings.texts(folder / "dataset.parquet"), evaluate=False))
    found["writer"] = folder / "output" / "model"
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("serving")
    yield folder
    predictor.hang_up()


@pytest.fixture(autouse=True)
def one_home(own_files: None, home: Path, settings: LazySettings) -> None:
    settings.DISTILLHUB_HOME = home


@pytest.fixture
def visitor(erin: User) -> Client:
    return signed_in(erin)


@pytest.fixture
def pair(project: Project, trained: dict[str, Path]) -> tuple[ModelVersion, ModelVersion]:
    return stored(project, trained["big"], "big", role="teacher"), stored(
        project, trained["tiny"], "tiny"
    )


@pytest.fixture
def run(project: Project, pair: tuple[ModelVersion, ModelVersion], trained: dict[str, Path]) -> Run:
    """A run with teacher, student and a control, which made no version."""
    big, tiny = pair
    made = make.run(project, status="finished", output=tiny, dataset_version=None)
    made.teachers.add(big)
    control = make.run(project, status="finished", control_of=made)
    for path in trained["tiny"].iterdir():
        blob = storage.put(path)
        Artifact.objects.create(
            run=control, kind="model", name=f"model/{path.name}", sha256=blob.sha256,
            bytes=blob.bytes,
        )  # fmt: skip
    return made


def asked(visitor: Client, query: str, **sent: Any) -> str:
    answer = visitor.post(
        f"{HERE}?{query}", sent, headers={"HX-Target": "answers", "HX-Request": "true"}
    )
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_run_brings_its_teacher_its_student_and_its_control(visitor: Client, run: Run) -> None:
    page = visitor.get(f"{HERE}?run={run.number}").content.decode()
    for words in ("big@1", "tiny@1", f"control, run {run.number + 1}"):
        assert words in page
    query = f"ask=big@1&ask=tiny@1&ask=run/{run.number + 1}"
    said = asked(visitor, query, text="please refund my card")
    assert said.count("a panel") == 0
    assert said.count('aria-label="big@1"') == 1
    assert said.count("ms an input") == 3
    assert "refund" in said
    assert "What is right?" in said
    path = f"/api/v1/projects/intents/runs/{run.number + 1}/predict/"
    body = {"inputs": ["please refund my card"], "top": 1}
    control = visitor.post(path, body, content_type="application/json")
    assert control.json()["model"] == f"run/{run.number + 1}"
    assert len(control.json()["predictions"][0]["probabilities"]) == 1
    none = make.run(run.project, status="failed")
    path = f"/api/v1/projects/intents/runs/{none.number}/predict/"
    refused = visitor.post(path, body, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_answers")


def test_differences_are_marked_and_told_in_words(
    visitor: Client, pair: tuple[ModelVersion, ModelVersion]
) -> None:
    found: dict[int, str] = {}
    for text in ("please refund my order", "cancel now", "pay", "soon help card", "with a pay"):
        said = playground.ask(
            players=[playground.Player("teacher", pair[0]), playground.Player("student", pair[1])],
            inputs=[text],
        )
        labels = {one.answers[0]["label"] for one in said}
        found.setdefault(len(labels), text)
    for many, text in found.items():
        page = asked(visitor, "ask=big@1&ask=tiny@1", text=text)
        assert ("They differ" in page) == ("differs</span>" in page) == (many == 2)
        assert ("All say" in page) == (many == 1)


def test_models_are_put_beside_and_taken_away_by_the_address(
    visitor: Client, pair: tuple[ModelVersion, ModelVersion]
) -> None:
    empty = visitor.get(HERE).content.decode()
    assert "Which model?" in empty
    assert "tiny@1 · student · text-classification" in empty
    page = visitor.get(f"{HERE}?ask=tiny@1").content.decode()
    assert "Put another beside" in page
    assert '<option value="big@1">' in page
    both = visitor.get(f"{HERE}?ask=tiny@1&ask=big@1").content.decode()
    assert f'href="{HERE}?ask=tiny%401"' in both
    assert visitor.get(f"{HERE}?ask=none@1").status_code == 404


def test_an_export_answers_beside_the_model_it_came_from(
    visitor: Client, project: Project, trained: dict[str, Path], tmp_path: Path
) -> None:
    version = stored(project, trained["big"], "big")
    rows = jobs.texts(tmp_path / "dataset.parquet")
    shipping.ship(tmp_path / "ship", trained["big"], rows, {"format": "onnx"})
    files = []
    for path in sorted((tmp_path / "ship/output").iterdir()):
        blob = storage.put(path)
        files.append({"name": path.name, "sha256": blob.sha256, "bytes": blob.bytes})
    data = make.dataset_version(project)
    export = make.export(version, data, format="onnx", files=files)
    page = visitor.get(f"{HERE}?ask=big@1").content.decode()
    assert f'<option value="big@1:{export.pk}">big@1 as onnx' in page
    said = asked(visitor, f"ask=big@1&ask=big@1:{export.pk}", text="please refund my card")
    assert "All say <b>refund</b>" in said
    assert "differs" not in said
    answer = visitor.post(
        "/api/v1/projects/intents/models/big/versions/1/predict/",
        {"inputs": ["please refund my card"], "export": export.pk},
        content_type="application/json",
    )
    assert answer.json()["predictions"][0]["label"] == "refund"


def test_a_picture_is_dropped_and_saved_as_feedback(
    visitor: Client, project: Project, trained: dict[str, Path]
) -> None:
    stored(project, trained["eyes"], "eyes", task="image-classification")
    rows = pq.read_table(trained["eyes"].parent.parent / "dataset.parquet")
    png = rows["image"][0].as_py()
    said = asked(visitor, "ask=eyes@1", file=SimpleUploadedFile("x.png", png))
    assert "ms an input" in said
    assert "no picture" in asked(visitor, "ask=eyes@1", file=SimpleUploadedFile("x.png", b"x"))
    assert "Choose a file" in asked(visitor, "ask=eyes@1")
    saved = visitor.post(
        f"{HERE}feedback/?ask=eyes@1",
        {"file": SimpleUploadedFile("x.png", png), "right": "pay", "note": "plain",
         "said": '[{"model": "eyes@1", "label": "refund", "probability": 0.4}]'},
        headers={"HX-Request": "true"},
    )  # fmt: skip
    assert "Saved." in saved.content.decode()
    kept = Feedback.objects.get()
    assert (kept.label, kept.note, kept.task) == ("pay", "plain", "image-classification")
    assert kept.said == [{"model": "eyes@1", "label": "refund", "probability": 0.4}]
    assert len(kept.sha256) == 64


def test_a_table_is_a_form_of_its_columns(
    visitor: Client, project: Project, trained: dict[str, Path]
) -> None:
    stored(project, trained["clerk"], "clerk", task="tabular-classification")
    page = visitor.get(f"{HERE}?ask=clerk@1").content.decode()
    for name in ("cell:size", "cell:age", "cell:place"):
        assert f'name="{name}"' in page
    assert "<option>south</option>" in page
    said = asked(visitor, "ask=clerk@1", **{"cell:size": "2.1", "cell:place": "south"})
    assert "ms an input" in said
    refused = asked(visitor, "ask=clerk@1", **{"cell:size": "far"})
    assert "size is a number" in refused


def test_a_text_is_written_on_token_by_token(
    visitor: Client, project: Project, trained: dict[str, Path]
) -> None:
    stored(project, trained["writer"], "writer", task="text-generation")
    sent = {"text": "the cat ", "most": "5", "temperature": "0", "seed": "1"}
    said = asked(visitor, "ask=writer@1", **sent)
    assert "5 tokens, not ended" in said
    assert said.count("<tr>") == 6
    assert "ms a token" in said
    assert "are numbers" in asked(visitor, "ask=writer@1", text="x", most="many")


def test_rows_of_the_dataset_are_one_click_away(
    visitor: Client, project: Project, run: Run, tmp_path: Path
) -> None:
    rows = [
        {"row_id": at, "split": "test" if at % 2 else "train", "label": f"label {at // 10}",
         "text": f"text {at}", "source": str(at)}
        for at in range(60)
    ]  # fmt: skip
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    run.dataset_version = make.dataset_version(
        project, "spread", rows=60, file_sha256=storage.put(path).sha256,
        columns=[{"name": "text", "type": "string", "role": "input"}],
    )  # fmt: skip
    run.save()
    page = visitor.get(f"{HERE}?run={run.number}&examples=0").content.decode()
    assert page.count("data-example-text") == playground.EXAMPLES
    assert len({label for label in range(6) if f"label {label}" in page}) > 3  # not one class alone
    assert 'data-example-text="text 0"' not in page  # of train


def test_it_may_listen_and_nothing_else_may(visitor: Client, project: Project) -> None:
    here, other = visitor.get(HERE).headers, visitor.get("/p/intents/runs/").headers
    assert "microphone=(self)" in here["Permissions-Policy"]
    assert "microphone=()" in other["Permissions-Policy"]
    assert "media-src 'self' blob:" in here["Content-Security-Policy"]
    assert "blob:" not in other["Content-Security-Policy"].split("media-src")[1].split(";")[0]
    said = [one.strip() for one in here["Content-Security-Policy"].split(";")]  # in any order
    assert "script-src 'self'" in said


def test_models_of_two_tasks_are_not_asked_the_same(
    visitor: Client, project: Project, trained: dict[str, Path], vera: User
) -> None:
    stored(project, trained["writer"], "writer", task="text-generation")
    stored(project, trained["big"], "big")
    page = visitor.get(f"{HERE}?ask=writer@1&ask=big@1").content.decode()
    assert "different tasks" in page
    make.model_version(project, "column", role="teacher",
                       source={"kind": "column", "dataset": "tickets@1"})  # fmt: skip
    said = asked(signed_in(vera), "ask=big@1&ask=column@1", text="please refund")
    assert "no answer to anything new" in said  # in its own panel, beside the other's answer
    assert "ms an input" in said
    assert "What is right?" not in said  # which editors say


def test_a_service_is_asked_within_what_a_question_may_cost(
    visitor: Client,
    project: Project,
    trained: dict[str, Path],
    erin: User,
    vera: User,
    settings: LazySettings,
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    stored(project, trained["big"], "big")
    with serving() as service:
        service.answer = lambda body: "refund"
        source = {
            "kind": "api", "api": "openai-chat", "base_url": service.base_url, "model": "gpt",
            "timeout": 5.0, "input_price": "1.0", "output_price": "2.0",
        }  # fmt: skip
        make.model_version(project, "gpt", role="teacher", source=source)
        page = visitor.get(f"{HERE}?ask=big@1&ask=gpt@1").content.decode()
        assert "What a question may cost" in page
        sent = {"text": "please refund my card"}
        assert "say the budget" in asked(visitor, "ask=big@1&ask=gpt@1", **sent)
        assert "may cost" in asked(signed_in(vera), "ask=gpt@1", budget="1", **sent)
        assert service.seen == []
        said = asked(visitor, "ask=big@1&ask=gpt@1", budget="0.5", **sent)
        assert "All say <b>refund</b>" in said
        assert "It tells no probabilities" in said
        once = len(service.seen)
        asked(visitor, "ask=big@1&ask=gpt@1", budget="0.5", **sent)
        assert len(service.seen) == once  # what was paid for is kept
        refused = asked(visitor, "ask=big@1&ask=gpt@1", budget="0", text="another")
        assert "The budget of 0 is spent" in refused
        assert len(service.seen) == once

        path = "/api/v1/projects/intents/models/gpt/versions/1/predict/"
        body = {"inputs": ["refund please"], "budget": "0.5", "labels": ["cancel", "refund"]}
        client = api_of(vera)
        assert client.post(path, body, format="json").status_code == 403
        _, secret = accounts.create_token(user=erin, name="app", scope=ApiToken.Scope.READ)
        reader = APIClient()
        reader.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        refused_too = reader.post(path, body, format="json")  # of an editor, who may spend
        assert (refused_too.status_code, len(service.seen)) == (403, once)
        without = client.post(path, {"inputs": ["x"]}, format="json")
        assert (without.status_code, without.json()["code"]) == (409, "no_answers")
        answer = visitor.post(path, body, content_type="application/json")
        assert answer.json()["predictions"][0]["label"] == "refund", answer.content

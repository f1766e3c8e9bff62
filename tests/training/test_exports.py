"""Exports through the pages and through REST: one service behind both."""

import io
import re
import zipfile
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from distillhub.lib import storage
from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Export
from training.services import exports
from training.worker import exports as making

EXPORTS = "/api/v1/projects/intents/models/tiny/versions/1/exports/"
LABELS = ["no", "yes"]
PRUNED = {"kind": "magnitude-pruning"}


@pytest.fixture
def dataset(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "tickets")


@pytest.fixture
def version(project: Project, dataset: DatasetVersion) -> ModelVersion:
    """What run 1 has made: trained on tickets@1, taught by big@1."""
    file = {"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4000}
    made = make.model_version(
        project, "tiny", labels=LABELS, files=[file], source={"kind": "run", "run": 1}
    )
    run = make.run(project, number=1, dataset_version=dataset, output=made, status="finished")
    big = make.model_version(project, "big", role="teacher", labels=LABELS, files=[file])
    run.teachers.add(big)
    return made


@pytest.fixture
def erins(erin: User, version: ModelVersion) -> APIClient:
    return api_of(erin)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exports that workers were told of: no broker is needed to see that."""
    told: list[int] = []

    def note(job: str, **ids: Any) -> bool:
        assert job == making.WORK.job
        told.append(ids["export_id"])
        return True

    monkeypatch.setattr("training.worker.dispatch.call", note)
    return told


def test_an_export_is_queued_with_every_default(
    erins: APIClient, sent: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = erins.post(EXPORTS, {"format": "onnx-int8"}, format="json")
    assert answer.status_code == 202, answer.content
    told = answer.json()
    assert told["status"] == "queued"
    assert told["model"] == "tiny@1"
    assert told["options"] == {"opset": 20, "per_channel": True}
    assert told["dataset"] == "tickets@1"  # of the run that made it
    assert told["teacher"] is None  # nothing is trained
    assert told["download"] is None
    assert told["created_by"] == "erin"
    assert sent == [told["id"]]
    assert erins.get(f"{EXPORTS}{told['id']}/").json() == told
    assert [one["id"] for one in erins.get(EXPORTS).json()["results"]] == [told["id"]]


def test_a_compressor_that_trains_has_the_teacher_of_the_run(erins: APIClient) -> None:
    compress = {"kind": "structured-pruning", "options": {"parts": "width"}}
    asked = {"format": "safetensors", "compress": compress}
    told = erins.post(EXPORTS, asked, format="json").json()
    assert told["teacher"] == "big@1"
    assert told["compress"]["options"]["share"] == 0.5
    assert told["compress"]["options"]["parts"] == "width"


@pytest.mark.usefixtures("sent")
def test_the_same_key_makes_one_export(erins: APIClient) -> None:
    first, second = (
        erins.post(EXPORTS, {"format": "onnx"}, format="json", headers={"Idempotency-Key": "a"})
        for _ in range(2)
    )
    assert first.json() == second.json()
    assert Export.objects.count() == 1


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "format"),
        ({"format": "tflite"}, "format"),
        ({"format": "onnx", "size": 1}, "size"),
        ({"format": "onnx", "options": {"opset": 1}}, "options.opset"),
        ({"format": "onnx", "compress": {"kind": "zip"}}, "compress.kind"),
        ({"format": "onnx", "dataset": "nothing@1"}, "dataset"),
        ({"format": "onnx", "dataset": 7}, "dataset"),
        ({"format": "onnx", "dataset": "pictures@1"}, "dataset"),
        ({"format": "onnx", "teacher": "big@1"}, "teacher"),
        ({"format": "onnx", "compress": PRUNED, "teacher": "none@1"}, "teacher"),
        ({"format": "onnx", "compress": PRUNED, "teacher": "other@1"}, "teacher"),
    ],
)
def test_what_cannot_be_made_is_refused_at_its_field(
    erins: APIClient, project: Project, asked: dict[str, Any], field: str
) -> None:
    make.dataset_version(project, "pictures", task="image-classification")
    file = {"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4000}
    make.model_version(project, "other", role="teacher", labels=["a", "b"], files=[file])
    answer = erins.post(EXPORTS, asked, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [field]
    assert not Export.objects.exists()


@pytest.fixture
def writer(project: Project) -> ModelVersion:
    """A network that writes, that run 2 has made of nobody's answers."""
    plays = make.dataset_version(project, "plays", task="text-generation", labels=())
    made = make.model_version(
        project, "writer", task="text-generation", architecture="gru_language_model",
        files=[{"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4000}],
        tokenizer={"kind": "bpe", "vocabulary": 99, "sha256": "a" * 64},
        source={"kind": "run", "run": 2},
    )  # fmt: skip
    make.run(
        project, number=2, task="text-generation", dataset_version=plays, output=made,
        status="finished",
    )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"format": "torch-export"}, "format", "Export it as onnx"),
        ({"format": "onnx", "compress": {"kind": "low-rank"}}, "compress.kind", "recurrent"),
    ],
)
def test_what_an_architecture_cannot_be_is_refused_before_it_is_tried(
    erins: APIClient, writer: ModelVersion, asked: dict[str, Any], field: str, words: str
) -> None:
    address = EXPORTS.replace("tiny", "writer")
    answer = erins.post(address, asked, format="json")
    assert answer.status_code == 400
    assert words in answer.json()["fields"][field][0]
    assert erins.post(address, {"format": "onnx-int8"}, format="json").status_code == 202


def test_a_teacher_of_other_tokens_does_not_teach_what_is_made_smaller(
    erins: APIClient, project: Project, writer: ModelVersion
) -> None:
    make.model_version(
        project, "wordy", task="text-generation", role="teacher", source={"kind": "run", "run": 9},
        files=writer.files, tokenizer={"kind": "bpe", "vocabulary": 99, "sha256": "b" * 64},
    )  # fmt: skip
    asked = {"format": "onnx", "compress": {"kind": "magnitude-pruning"}, "teacher": "wordy@1"}
    answer = erins.post(EXPORTS.replace("tiny", "writer"), asked, format="json")
    assert "other tokens" in answer.json()["fields"]["teacher"][0]


def test_tokens_are_told_with_all_they_are_judged_by(erin: User, writer: ModelVersion) -> None:
    dataset = DatasetVersion.objects.get(dataset__name="plays")
    export = make.export(writer, dataset)
    assert export.report is not None
    names = ("bits_per_character", "perplexity", "token_accuracy")
    metrics = [{"name": one, "before": 0.5, "after": 0.5, "change": 0.0} for one in names]
    export.report |= {"tokens": 2048, "metric": metrics[0], "metrics": metrics}
    export.save()
    address = reverse("training:model_version", args=["intents", "writer", 1])
    page = signed_in(erin).get(address).content.decode()
    assert re.search(r"of 2\s048 tokens", page)
    assert "perplexity" in page
    assert "token accuracy" in page


def test_a_version_without_weights_is_not_shipped(erins: APIClient, project: Project) -> None:
    make.model_version(project, "empty")
    address = EXPORTS.replace("tiny", "empty")
    answer = erins.post(address, {"format": "onnx"}, format="json")
    assert answer.status_code == 400
    assert "no trained weights" in answer.json()["detail"]


def test_a_model_that_no_run_made_needs_a_dataset(erins: APIClient, project: Project) -> None:
    file = {"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4000}
    make.model_version(
        project, "brought", labels=LABELS, files=[file], source={"kind": "upload", "file": "a.zip"}
    )
    address = EXPORTS.replace("tiny", "brought")
    answer = erins.post(address, {"format": "onnx"}, format="json")
    assert answer.json()["fields"]["dataset"] == [
        "No run here made this version: name the dataset whose rows it is judged on."
    ]
    told = erins.post(address, {"format": "onnx", "dataset": "tickets"}, format="json")
    assert told.json()["dataset"] == "tickets@1"


def test_a_ready_export_is_one_zip(
    erins: APIClient, version: ModelVersion, dataset: DatasetVersion
) -> None:
    folder = storage.working_folder("making")
    files = []
    for name, content in (("model.onnx", b"graph"), ("README.txt", b"words")):
        (folder / name).write_bytes(content)
        blob = storage.put(folder / name)
        files.append({"name": name, "sha256": blob.sha256, "bytes": blob.bytes})
    made = make.export(version, dataset, files=files)
    told = erins.get(f"{EXPORTS}{made.pk}/").json()
    assert told["size_bytes"] == 10
    answer = erins.get(told["download"])
    assert answer["Content-Disposition"] == 'attachment; filename="tiny-1-onnx-int8.zip"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        assert archive.read("model.onnx") == b"graph"
        assert archive.namelist() == ["README.md", "model.onnx", "README.txt"]


@pytest.mark.parametrize("status", ["queued", "working", "failed"])
def test_what_is_not_ready_cannot_be_downloaded(
    erins: APIClient, version: ModelVersion, dataset: DatasetVersion, status: str
) -> None:
    made = make.export(version, dataset, status=status, report=None)
    answer = erins.get(f"{EXPORTS}{made.pk}/download/")
    assert answer.status_code == 409
    assert answer.json()["code"] == "not_ready"


def test_an_export_belongs_to_its_version(
    erins: APIClient, project: Project, version: ModelVersion, dataset: DatasetVersion
) -> None:
    other = make.export(make.model_version(project, "other"), dataset)
    for address in (f"{EXPORTS}{other.pk}/", f"{EXPORTS}{other.pk}/download/", f"{EXPORTS}77/"):
        assert erins.get(address).status_code == 404


@pytest.fixture
def page() -> str:
    return reverse("training:model_version", args=["intents", "tiny", 1])


@pytest.fixture
def parts() -> str:
    return reverse("training:model_exports", args=["intents", "tiny", 1])


def shown(client: Client, address: str, **how: Any) -> str:
    answer = client.get(address, **how)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode()).strip()


def test_the_page_holds_an_export_against_the_model(
    erin: User, version: ModelVersion, dataset: DatasetVersion, page: str
) -> None:
    make.export(version, dataset, compress={"kind": "low-rank", "options": {}})
    seen = shown(signed_in(erin), page)
    assert "The model itself" in seen
    assert 'ONNX int8<span class="faint"> after </span>low rank' in seen
    assert "1.1 kB" in seen
    assert "28 %" in seen
    assert "0.15 ms" in seen
    assert "2.0×" in seen
    assert "99.0 %" in seen
    assert "−1.0 points" in seen
    assert "hx-trigger" not in seen.split('id="exports"')[1].split(">")[0]


def test_a_warning_stands_beside_what_is_not_recommended(
    erin: User, version: ModelVersion, dataset: DatasetVersion, page: str
) -> None:
    made = make.export(version, dataset)
    assert made.report is not None
    made.report |= {"recommended": False, "sentence": "Slower: one row takes 3.0 times as long."}
    made.report["speed_up"]["1"] = 0.33
    made.save()
    seen = shown(signed_in(erin), page)
    assert "Not recommended" in seen
    assert "Slower: one row takes 3.0 times as long." in seen
    assert 'tone-bad">0.3×' in seen


def test_the_table_renews_itself_while_something_is_made(
    erin: User, version: ModelVersion, dataset: DatasetVersion, parts: str
) -> None:
    making_it = make.export(
        version, dataset, status="working", stage="compressing: Epoch 2 of 3", report=None
    )
    client = signed_in(erin)
    asked = {"headers": {"HX-Request": "true", "HX-Target": "exports"}}
    seen = shown(client, parts, **asked)
    assert seen.startswith('<div id="exports" hx-get=')
    assert "compressing: Epoch 2 of 3" in seen
    making_it.status, making_it.error = "failed", {"code": "bad_model", "detail": "Too large."}
    making_it.save()
    seen = shown(client, parts, **asked)
    assert "hx-get" not in seen.split(">")[0]
    assert "Too large." in seen


@pytest.mark.usefixtures("sent")
def test_an_export_is_made_from_the_page(
    erin: User, version: ModelVersion, page: str, parts: str
) -> None:
    client = signed_in(erin)
    answer = client.post(
        parts,
        {
            "format": "safetensors",
            "compress": "magnitude-pruning",
            "dataset": "tickets@1",
            "teacher": "",
            "compress.options.share": "0.8",
        },
    )
    assert answer.status_code == 302
    assert answer["Location"] == f"{page}#exports-section"
    made = Export.objects.get()
    assert made.compress is not None
    assert made.compress["options"]["share"] == 0.8
    assert made.created_by == erin
    assert "waits for a worker" in shown(client, page)


def test_a_refused_export_stays_in_its_form(erin: User, version: ModelVersion, parts: str) -> None:
    client = signed_in(erin)
    typed = {"format": "onnx", "dataset": "tickets@1", "options.opset": "4"}
    for headers in ({}, {"HX-Request": "true", "HX-Target": "exports-section"}):
        answer = client.post(parts, typed, headers=headers)
        seen = answer.content.decode()
        assert answer.status_code == 200
        assert "It must be between 18 and 23." in seen
        assert 'value="4"' in seen
    assert not Export.objects.exists()


def test_the_form_shows_what_belongs_to_a_choice(
    erin: User, version: ModelVersion, parts: str
) -> None:
    client = signed_in(erin)
    asked = {"headers": {"HX-Request": "true", "HX-Target": "export-form"}}
    plain = shown(client, f"{parts}?format=onnx", **asked)
    assert "Taught by" not in plain
    assert 'value="int8-static"' in plain
    trained = shown(client, f"{parts}?format=onnx-int8&compress=quantisation-aware", **asked)
    assert "Taught by" in trained
    assert 'name="compress.options.epochs"' in trained
    assert 'value="int8-static"' not in trained  # that form is one itself


@pytest.fixture
def folder(version: ModelVersion, dataset: DatasetVersion) -> Export:
    """The version, made smaller, as a model folder."""
    return make.export(
        version, dataset, format="safetensors", compress={"kind": "low-rank", "options": {}},
        files=version.files,
    )  # fmt: skip


def test_what_was_made_smaller_is_kept_as_a_version(
    erin: User, version: ModelVersion, folder: Export, dataset: DatasetVersion, page: str
) -> None:
    client = signed_in(erin)
    assert "Keep safetensors as a version" in shown(client, page)
    keep = reverse("training:export_keep", args=["intents", "tiny", 1, folder.pk])
    answer = client.post(keep)
    assert answer["Location"] == page.replace("/1/", "/2/")
    made = version.model.versions.get(number=2)
    assert made.status == "inspecting"
    assert made.files == folder.files
    assert made.metrics == {"val/accuracy": 0.89}
    assert made.source["from"] == "tiny@1"
    seen = shown(client, answer["Location"])
    assert "tiny@1, by low rank." in seen
    assert exports.suggested(version=made) == (dataset, None)


def test_only_a_model_folder_can_be_kept(
    erin: User, erins: APIClient, version: ModelVersion, dataset: DatasetVersion
) -> None:
    graph = make.export(version, dataset)
    versions = "/api/v1/projects/intents/models/tiny/versions/"
    for source in (
        {"kind": "export", "export": graph.pk},
        {"kind": "export", "export": 99},
        {"kind": "export", "export": True},
        {"kind": "export"},
    ):
        answer = erins.post(versions, {"source": source}, format="json")
        assert answer.status_code == 400
        assert list(answer.json()["fields"]) == ["source.export"]
    keep = reverse("training:export_keep", args=["intents", "tiny", 1, graph.pk])
    assert "is a model folder" in signed_in(erin).post(keep).content.decode()
    assert version.model.versions.count() == 1


def test_weights_of_few_bits_are_no_student(
    erins: APIClient, project: Project, dataset: DatasetVersion, version: ModelVersion
) -> None:
    version.config = {"altered": {"head": {"bits": 8}}}
    version.save()
    asked = {"task": "text-classification", "dataset": "tickets@1", "student": "tiny@1"}
    answer = erins.post("/api/v1/projects/intents/runs/", asked, format="json")
    assert answer.status_code == 400
    assert "few bits" in answer.json()["fields"]["student"][0]


def test_viewers_look_and_strangers_see_nothing(
    vera: User, charlie: User, version: ModelVersion, dataset: DatasetVersion, page: str, parts: str
) -> None:
    make.export(version, dataset)
    seen = shown(signed_in(vera), page)
    assert "The model itself" in seen
    assert "export-form" not in seen
    assert signed_in(vera).post(parts, {"format": "onnx"}).status_code == 403
    assert signed_in(charlie).get(parts).status_code == 404
    assert api_of(charlie).get(EXPORTS).status_code == 404
    assert api_of(vera).post(EXPORTS, {"format": "onnx"}, format="json").status_code == 403
    assert api_of(vera).get(EXPORTS).status_code == 200

"""A text is uploaded, a teacher learns to write, a student is distilled from it with a control, and
every page about them opens: through REST and the real job code."""

import csv
import gzip
import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils.html import escape

from projects.ingest import ingestion
from projects.models import DatasetVersion, Project, User
from tests.conftest import api_of, signed_in
from training.models import Run
from training.worker import networks
from training.worker import runs as working

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]
BASE = "/api/v1/projects/intents/"
GRU: dict[str, Any] = {"tokenizer": "character", "vocabulary": 128, "max_length": 32}
TABS = ["overview", "curves", "evaluation", "logs", "configuration", "artifacts"]


def made(response: Any) -> Any:
    assert response.status_code in (200, 201), response.data
    return response.json()


def test_shakespeare_is_learned_distilled_and_compared(
    project: Project, erin: User, shared_data: Path
) -> None:
    client = api_of(erin)
    text = (shared_data / "tinyshakespeare" / "input.txt").read_bytes()[:40_000]
    file = SimpleUploadedFile("shakespeare.txt", text)
    made(client.post(f"{BASE}datasets/", {"name": "plays", "file": file}, format="multipart"))
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    for name, role, config in (
        ("playwright", "teacher", {**GRU, "dim": 32, "hidden": 64}),
        ("apprentice", "student", {**GRU, "dim": 8, "hidden": 16}),
    ):
        asked = {"name": name, "role": role, "task": "text-generation"}
        source = {"kind": "architecture", "architecture": "gru_language_model", "config": config}
        made(client.post(f"{BASE}models/", {**asked, "source": source}, format="json"))
    for version in project.models.get(name="playwright").versions.all():
        networks.WORK.carry_out(version.pk)
    networks.WORK.carry_out(project.models.get(name="apprentice").versions.get().pk)

    training = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01}
    common = {"task": "text-generation", "dataset": "plays@1", "training": training}
    first = made(client.post(f"{BASE}runs/", {**common, "student": "playwright@1"}, format="json"))
    soft = [{"kind": "soft_targets", "weight": 1.0, "temperature": 1.0}]
    second = made(
        client.post(
            f"{BASE}runs/",
            {**common, "student": "apprentice@1", "teachers": ["run/1"], "losses": soft},
            format="json",
        )
    )
    control = Run.objects.get(control_of__number=second["number"])
    assert control.status == "waiting"  # for the teacher's tokens
    working.execute(Run.objects.get(number=first["number"]).pk)
    for run in Run.objects.all():
        assert (run.status, run.error) == ("finished", None), run.name
    student = Run.objects.get(number=second["number"])
    control.refresh_from_db()
    assert student.summary["kl"] > 0
    assert control.summary["student"]["parameters"] == student.summary["student"]["parameters"]
    comparison = student.comparison
    assert comparison is not None
    assert comparison["metric"] == "bits per character"
    assert comparison["answer"] in ("helped", "hurt", "no_evidence")
    assert "bits" in comparison["sentence"]
    report = made(client.get(f"{BASE}runs/{student.number}/evaluation/"))
    assert report["samples"][0]["student"] != report["samples"][0]["teacher"]
    pages = signed_in(erin)
    for run in Run.objects.all():
        address = reverse("training:run_detail", args=["intents", run.number])
        for tab in TABS:
            assert pages.get(address, {"tab": tab}).status_code == 200, (run.number, tab)
    evaluation = pages.get(
        reverse("training:run_detail", args=["intents", student.number]), {"tab": "evaluation"}
    ).content.decode()
    assert "Bits per character" in evaluation
    assert escape(report["samples"][0]["reference"].split()[0]) in evaluation
    for name in ("run_list", "teacher_list", "student_list", "project_overview", "run_new"):
        assert pages.get(reverse(f"training:{name}", args=["intents"])).status_code == 200, name
    dataset = reverse("projects:dataset_version", args=["intents", "plays", 1])
    assert pages.get(dataset).status_code == 200


def explained(home: Path, rows: int) -> bytes:
    """Questions with their choices, the right one, and why people chose it."""
    asked = map(json.loads, (home / "train_rand_split.jsonl").read_text().splitlines())
    why = {
        one["id"]: one["explanation"]["open-ended"]
        for one in map(
            json.loads, (home / "cose_train_v1.0_processed.jsonl").read_text().splitlines()
        )
    }
    lines: list[tuple[str, str, str]] = []
    for one in asked:
        if len(lines) == rows:
            break
        choices = {choice["label"]: choice["text"] for choice in one["question"]["choices"]}
        if one["id"] in why and one["answerKey"] in choices:
            prompt = f"{one['question']['stem']} {', '.join(choices.values())}?"
            answer = choices[one["answerKey"]]
            lines.append((prompt, answer, why[one["id"]]))
    written = io.StringIO()
    csv.writer(written).writerows([("prompt", "completion", "explanation"), *lines])
    return written.getvalue().encode()


def test_reasons_are_learned_beside_answers_and_compared_with_answers_alone(
    project: Project, erin: User, shared_data: Path
) -> None:
    client = api_of(erin)
    file = SimpleUploadedFile(
        "explained.csv", explained(shared_data / "cos_e_rationales", rows=200)
    )
    made(client.post(f"{BASE}datasets/", {"name": "quiz", "file": file}, format="multipart"))
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    config = {**GRU, "max_length": 64, "dim": 8, "hidden": 16}
    asked = {"name": "pupil", "role": "student", "task": "text-generation"}
    source = {"kind": "architecture", "architecture": "gru_language_model", "config": config}
    made(client.post(f"{BASE}models/", {**asked, "source": source}, format="json"))
    networks.WORK.carry_out(project.models.get(name="pupil").versions.get().pk)
    presets = client.get("/api/v1/methods/").json()["presets"]
    preset = next(one for one in presets if one["key"] == "step_by_step")
    assert preset["needs_teacher"] is False

    run = made(
        client.post(
            f"{BASE}runs/",
            {
                "task": "text-generation",
                "dataset": "quiz@1",
                "student": "pupil@1",
                "losses": preset["losses"],
                "training": {"epochs": 1, "batch_size": 16, "learning_rate": 0.01},
            },
            format="json",
        )
    )
    control = Run.objects.get(control_of__number=run["number"])
    assert [loss["kind"] for loss in control.config["losses"]] == ["hard_labels"]
    assert control.config["training"]["epochs"] == 2  # as many steps
    for number in (run["number"], control.number):
        working.execute(Run.objects.get(number=number).pk)
    for one in Run.objects.all():
        assert (one.status, one.error) == ("finished", None), one.name
    told = Run.objects.get(number=run["number"])
    assert told.comparison is not None
    assert told.comparison["answer"] in ("helped", "hurt", "no_evidence")
    pages = signed_in(erin)
    address = reverse("training:run_detail", args=["intents", told.number])
    for tab in TABS:
        assert pages.get(address, {"tab": tab}).status_code == 200, tab
    form = pages.get(
        reverse("training:run_new", args=["intents"]), {"preset": "step_by_step"}
    ).content.decode()
    assert "Step by step" in form


def test_pairs_that_people_chose_between_are_learned_from(
    project: Project, erin: User, shared_data: Path
) -> None:
    """Real dialogues with a better and a worse answer: a student learns to write the better ones,
    and then, held to that, to prefer them."""
    client = api_of(erin)
    with gzip.open(shared_data / "hh_rlhf" / "test.jsonl.gz") as file:
        lines = b"".join(itertools.islice(file, 120))
    sent = SimpleUploadedFile("dialogues.jsonl", lines)
    made(client.post(f"{BASE}datasets/", {"name": "dialogues", "file": sent}, format="multipart"))
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    asked = {"name": "pupil", "role": "student", "task": "text-generation"}
    config = {"tokenizer": "bpe", "vocabulary": 400, "max_length": 64, "dim": 8, "hidden": 16}
    source = {"kind": "architecture", "architecture": "gru_language_model", "config": config}
    made(client.post(f"{BASE}models/", {**asked, "source": source}, format="json"))
    networks.WORK.carry_out(project.models.get(name="pupil").versions.get().pk)
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 0.01}
    common: dict[str, Any] = {"task": "text-generation", "dataset": "dialogues@1"}
    common["training"] = training
    first = made(client.post(f"{BASE}runs/", {**common, "student": "pupil@1"}, format="json"))
    working.execute(Run.objects.get(number=first["number"]).pk)
    presets = client.get("/api/v1/methods/").json()["presets"]
    preset = next(one for one in presets if one["key"] == "preferences")
    assert (preset["needs_teacher"], preset["teachers"]) == (False, 0)

    pairs = {**common, "student": "pupil@2", "scheme": "preferences", "losses": preset["losses"]}
    second = made(client.post(f"{BASE}runs/", pairs, format="json"))
    assert second["config"]["training"]["selection_metric"] == "val/loss"
    control = Run.objects.get(control_of__number=second["number"])
    assert (control.config["scheme"], control.config["losses"][0]["kind"]) == (
        "offline", "hard_labels",
    )  # fmt: skip
    for number in (second["number"], control.number):
        working.execute(Run.objects.get(number=number).pk)
    for one in Run.objects.all():
        assert (one.status, one.error) == ("finished", None), one.name
    told = Run.objects.get(number=second["number"])
    assert 0.0 <= told.summary["preferred"] <= 1.0
    assert told.metrics["val/preferred"] >= 0.0
    assert told.output is not None
    assert told.output.reference == "pupil@3"
    pages = signed_in(erin)
    address = reverse("training:run_detail", args=["intents", told.number])
    for tab in TABS:
        assert pages.get(address, {"tab": tab}).status_code == 200, tab
    shown = pages.get(address).content.decode()
    assert "Pairs preferred" in shown
    assert "direct preference optimization" in shown
    assert told.comparison is not None
    assert "reference pairs" in told.comparison["sentence"]
    assert "Validation pairs preferred" in pages.get(
        address, {"tab": "curves"}
    ).content.decode() or (
        "Further scores" in pages.get(address, {"tab": "curves"}).content.decode()
    )
    form = pages.get(reverse("training:run_new", args=["intents"]), {"preset": "preferences"})
    assert "Preferences (DPO)" in form.content.decode()


def test_reasons_that_a_dataset_lacks_are_missed_before_a_run_is_queued(
    project: Project, erin: User
) -> None:
    client = api_of(erin)
    lines = ["prompt,completion", *(f"say {n},{n}" for n in range(40))]
    file = SimpleUploadedFile("pairs.csv", "\n".join(lines).encode())
    made(client.post(f"{BASE}datasets/", {"name": "pairs", "file": file}, format="multipart"))
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    asked = {"name": "pupil", "role": "student", "task": "text-generation"}
    source = {"kind": "architecture", "architecture": "gru_language_model", "config": GRU}
    made(client.post(f"{BASE}models/", {**asked, "source": source}, format="json"))
    networks.WORK.carry_out(project.models.get(name="pupil").versions.get().pk)
    refused = client.post(
        f"{BASE}runs/",
        {
            "task": "text-generation",
            "dataset": "pairs@1",
            "student": "pupil@1",
            "losses": [{"kind": "hard_labels"}, {"kind": "rationale"}],
        },
        format="json",
    )
    assert refused.status_code == 400
    assert "no column of the role rationale" in refused.content.decode()
    chosen = {"task": "text-generation", "dataset": "pairs@1", "student": "pupil@1"}
    dpo: dict[str, Any] = {"scheme": "preferences", "losses": [{"kind": "preference"}]}
    refused = client.post(f"{BASE}runs/", chosen | dpo, format="json")
    assert refused.status_code == 400
    assert "has no column rejected" in refused.content.decode()

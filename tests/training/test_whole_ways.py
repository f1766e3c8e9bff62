"""The whole way of every kind of task a page leads to: a file is uploaded and confirmed, a teacher
and a student are chosen on the run form, a worker trains, and every tab of the run opens."""

import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from distillhub.templatetags import ui
from projects.ingest import ingestion
from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in
from tests.training.run_form.filled import inputs
from training.models import Run
from training.services import networks
from training.worker import networks as inspecting
from training.worker import runs as working

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
    pytest.mark.slow,
]
TABS = ["overview", "curves", "evaluation", "logs", "configuration", "artifacts"]
FAST = {
    "training.epochs": "8", "training.batch_size": "16", "training.learning_rate": "0.02",
    "training.patience": "",
}  # fmt: skip
PEOPLE, CITIES = ["Ada King", "Alan", "Grace Hopper"], ["Oslo", "Lima", "New Delhi"]
FILLER = ["went", "to", "from", "and", "saw", "the", "sea", "with"]
GENRES = {"war": "battle tank", "love": "kiss heart", "music": "song band"}


@dataclass
class Way:
    """One kind: what is uploaded, what learns, and what its pages must say."""

    task: str
    file: str
    rows: str
    problem: str = "single_label"
    teacher: dict[str, Any] = field(default_factory=dict)
    student: dict[str, Any] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)
    least: tuple[str, float] = ("accuracy", 0.8)  # of the teacher
    said: list[str] = field(default_factory=list)


def tagged(rows: int = 150) -> str:
    """CoNLL's layout."""
    chance = np.random.default_rng(0)
    lines = []
    for _ in range(rows):
        parts = [(str(one), "") for one in chance.choice(FILLER, int(chance.integers(2, 6)))]
        parts += [(str(chance.choice(PEOPLE)), "PER"), (str(chance.choice(CITIES)), "LOC")]
        for place in chance.permutation(len(parts)):
            words, kind = parts[place]
            for number, word in enumerate(words.split()):
                tag = f"{'I' if number else 'B'}-{kind}" if kind else "O"
                lines.append(f"{word} {tag}")
        lines.append("")
    return "\n".join(lines)


def films(rows: int = 160) -> str:
    chance = np.random.default_rng(0)
    lines = ["text,genres"]
    for row in range(rows):
        chosen = sorted(chance.choice(list(GENRES), int(chance.integers(1, 3)), replace=False))
        words = [*(GENRES[one].split()[row % 2] for one in chosen), str(chance.choice(FILLER))]
        lines.append(f"a film of {' '.join(chance.permutation(words))} {row},{' | '.join(chosen)}")
    return "\n".join(lines)


def reviews(rows: int = 160) -> str:
    """The more that is praised, the better the mark."""
    chance = np.random.default_rng(0)
    lines = ["text,mark"]
    for row in range(rows):
        praise = int(chance.integers(0, 5))
        words = ["good"] * praise + ["bad"] * (4 - praise) + [str(chance.choice(FILLER))]
        mark = 10 + 2.5 * praise + chance.normal() / 10
        lines.append(f"{' '.join(chance.permutation(words))} {row},{mark:.2f}")
    return "\n".join(lines)


BAG = {"dropout": 0.0, "word_dropout": 0.0, "vocabulary": 200}
WAYS = {
    "words": Way(
        task="token-classification",
        file="people.conll",
        rows=tagged(),
        teacher={"architecture": "bilstm", "config": {"dim": 16, "hidden": 16, "vocabulary": 100}},
        student={"architecture": "bilstm", "config": {"dim": 4, "hidden": 4, "vocabulary": 100}},
        least=("span_f1", 0.8),
        said=["Span F1", "Spans", "entity-kind", "PER", "LOC"],
    ),
    "several labels": Way(
        task="text-classification",
        file="films.csv",
        rows=films(),
        problem="multi_label",
        teacher={"architecture": "bag_of_embeddings", "config": {**BAG, "dim": 16}},
        student={"architecture": "bag_of_embeddings", "config": {**BAG, "dim": 4}},
        mapped={"problem": "multi_label", "separator": "|"},
        least=("macro_f1", 0.8),
        said=["Macro F1", "F1 per class", "Validation macro F1"],
    ),
    "a number": Way(
        task="text-classification",
        file="reviews.csv",
        rows=reviews(),
        problem="regression",
        teacher={"architecture": "bag_of_embeddings", "config": {**BAG, "dim": 16}},
        student={"architecture": "bag_of_embeddings", "config": {**BAG, "dim": 4}},
        least=("r2", 0.7),
        said=["Answered and true", "RMSE", "the largest errors first"],
    ),
}


def uploaded(client: Client, way: Way) -> DatasetVersion:
    """The version after the file went through both pages and a worker."""
    new = reverse("projects:dataset_new", args=["intents"])
    answer = client.post(new, {"file": SimpleUploadedFile(way.file, way.rows.encode())})
    assert answer.status_code == 302, answer.content.decode()
    mapping = answer["Location"]
    page = client.get(mapping)
    sent = inputs(page) | mapped(page) | {"name": "data"} | way.mapped
    answer = client.post(mapping, sent)
    assert answer.status_code == 302, faults(answer)
    version = DatasetVersion.objects.get()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.dataset.task) == ("ready", way.task)
    return version


def faults(page: Any) -> list[str]:
    html = re.sub(r"<svg.*?</svg>", "", page.content.decode(), flags=re.DOTALL)
    return re.findall(r"(?:field-error|alert)[^>]*>(?:\s*<div>)?([^<]+)", html)


def mapped(page: Any) -> dict[str, Any]:
    """What a browser sends of the mapping page beside `inputs`: empty choices, and what stands
    there more than once."""
    html = page.content.decode()
    selects = re.findall(r'<select[^>]*name="([^"]+)">(.*?)</select>', html, re.DOTALL)
    empty = [
        name
        for name, options in selects
        if '<option value="" selected>' in options
        or (options.startswith('<option value="">') and " selected" not in options)
    ]
    known = re.findall(r'name="known" value="([^"]*)"', html)
    return {"known": [unescape(one) for one in known]} | dict.fromkeys(empty, "")


def carried_out(client: Client, **chosen: Any) -> Run:
    """The run that the form launches as it stands after these choices, when it is finished."""
    address = reverse("training:run_new", args=["intents"])
    sent = inputs(client.get(address, {"dataset": "data@1", **chosen.pop("asked", {})}))
    sent |= FAST | chosen
    sent.pop("control", None)
    answer = client.post(address, sent | {"action": "launch"})
    assert answer.status_code == 302, faults(answer)
    run = Run.objects.order_by("-number").first()
    assert run is not None
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("finished", None)
    return run


def pages(client: Client, run: Run) -> str:
    """Every tab, one after the other."""
    address = reverse("training:run_detail", args=["intents", run.number])
    answers = [client.get(address, {"tab": tab}) for tab in TABS]
    assert {one.status_code for one in answers} == {200}
    for name in ("run_list", "student_list", "teacher_list", "project_overview", "run_new"):
        assert client.get(reverse(f"training:{name}", args=["intents"])).status_code == 200, name
    return "".join(one.content.decode() for one in answers)


@pytest.mark.parametrize("kind", WAYS)
def test_from_a_file_to_a_distilled_student_on_its_page(
    kind: str, project: Project, alice: User
) -> None:
    way, client = WAYS[kind], signed_in(alice)
    version = uploaded(client, way)
    assert version.problem == way.problem
    make.model_version(project, "big", role="teacher", task=way.task, **way.teacher)
    make.model_version(project, "small", task=way.task, **way.student)
    first = carried_out(client, student="big@1", preset="fine_tune", asked={"student": "big@1"})
    assert first.output is not None
    assert (first.output.problem, first.output.labels) == (way.problem, version.labels)
    name, least = way.least
    assert first.summary["student"][name] > least
    second = carried_out(
        client, student="small@1", asked={"student": "small@1", "teacher": "big@2"}
    )
    assert [one.reference for one in second.teachers.all()] == ["big@2"]
    assert second.summary["compression"] > 2
    assert np.isfinite(second.summary["student"][name])
    shown = pages(client, second)
    for said in way.said:
        assert said in shown, said
    assert pages(client, first)


def bert(folder: Path) -> bytes:
    """A zip of a small encoder with its tokenizer, as people bring them for embeddings."""
    import torch
    from transformers import BertConfig, BertModel

    from training.engine import tokenization

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    wish = tokenization.Wish(kind="wordpiece", vocabulary=100, framed=True)
    tokenization.learn(lambda: [films()], wish).save(folder)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return out.getvalue()


def test_embeddings_go_from_texts_and_an_uploaded_encoder_to_a_student_on_its_page(
    project: Project, alice: User, tmp_path: Path
) -> None:
    client = signed_in(alice)
    texts = "text\n" + "\n".join(line.rpartition(",")[0] for line in films().splitlines()[1:])
    task = "feature-extraction"
    uploaded(client, Way(task=task, file="texts.csv", rows=texts, mapped={"task": task}))
    teacher = networks.register(
        project=project, name="encoder", role="teacher", task=task, source={"kind": "upload"},
        files=io.BytesIO(bert(tmp_path / "bert")), by=alice,
    )  # fmt: skip
    inspecting.WORK.carry_out(teacher.pk)
    teacher.refresh_from_db()
    assert (teacher.status, teacher.problem, teacher.is_trained) == ("ready", "embedding", True)
    make.model_version(
        project, "small", task=task, architecture="bag_of_embeddings", config={**BAG, "dim": 8}
    )
    run = carried_out(client, student="small@1", asked={"teacher": "encoder@1"})
    assert run.summary["neighbours"] > 0.2
    assert run.output is not None
    assert ModelVersion.objects.get(pk=run.output.pk).problem == "embedding"
    shown = pages(client, run)
    assert "hared neighbours" in shown
    evaluation = client.get(
        reverse("training:run_detail", args=["intents", run.number]), {"tab": "evaluation"}
    ).content.decode()
    assert ui.metric(run.summary["neighbours"], "neighbours") in evaluation
    assert "val/loss" not in run.metrics
    for never in ("Confusion", "Reliability", "F1 per class", "Both wrong", "True label"):
        assert never not in evaluation, never
    assert json.dumps(run.summary)

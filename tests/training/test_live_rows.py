"""Live rows as rows of a dataset: texts, tables, pictures; what does not fit is counted."""

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from PIL import Image

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, Project, ReviewQueue, User
from projects.services import datasets, operations
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.test_retraining import make_versions, part_of
from training.models import Monitor, MonitorWindow
from training.operations import live
from training.retraining.jobs import look_at_retrainings
from training.services import live_reviews

pytestmark = pytest.mark.django_db


def upload(project: Project, name: str, task: str, content: bytes, **more: Any) -> DatasetVersion:
    made = datasets.upload(
        project=project,
        name=name.partition(".")[0],
        task=task,
        file=SimpleUploadedFile(name, content),
        by=project.created_by,
        **more,
    )
    make_versions()
    found = DatasetVersion.objects.get(pk=made.pk)
    assert found.is_ready, found.error
    return found


def watched(version: DatasetVersion, folder: Path, rows: list[dict[str, Any]]) -> Monitor:
    project, task = version.dataset.project, version.dataset.task
    student = make.model_version(project, "small", task=task, labels=version.labels)
    monitor = make.monitor(student, task=task)
    now = timezone.now()
    for at, row in enumerate(rows):
        row |= {"id": f"r{at}", "time": now - timedelta(minutes=1), "window": 3}
    part_of(monitor, folder, rows)
    return monitor


def added(version: DatasetVersion, **options: Any) -> tuple[DatasetVersion, list[dict[str, Any]]]:
    """The next version, and its live rows."""
    asked = {"monitor": "live", "until": timezone.now(), "retraining": 4, **options}
    made = operations.change(
        version=version, operation=live.KEY, options=asked, by=version.created_by
    )
    make_versions()
    made = DatasetVersion.objects.get(pk=made.pk)
    if not made.is_ready:
        return made, []
    with storage.open_blob(made.file_sha256) as stream:
        rows = parquet.read_table(stream).to_pylist()
    return made, [row for row in rows if row[live.FROM]]


def test_rows_of_a_table_keep_the_types_of_its_columns(project: Project, tmp_path: Path) -> None:
    odd = ("blue,no", "red,yes")
    lines = [f"{at / 7:.2f},{odd[at % 2]}" for at in range(60)]
    table = "\n".join(["size,colour,label", *lines]).encode()
    version = upload(
        project, "things.csv", "tabular-classification", table, columns={"label": "label"}
    )
    cells = [
        {"size": 7.5, "colour": "red"},
        {"size": "8", "colour": None},
        {"size": 1, "colour": "red"},  # the dataset has it
        {"size": "large", "colour": "red"},
        {"size": 9, "colour": "red"},
        {"size": 3, "colour": "red"},  # and this, under another label
    ]
    rows = [{"cells": json.dumps(one), "prediction": "no", "label": "yes"} for one in cells]
    rows[4]["label"], rows[5]["label"] = "perhaps", "no"
    watched(version, tmp_path, rows)
    made, fresh = added(version, test=0, validation=0)
    assert [(row["size"], row["colour"]) for row in fresh] == [
        (7.5, "red"),
        (8.0, None),
        (3.0, "red"),
    ]
    assert [(row["label"], row[live.LABEL], row[live.ANSWER]) for row in fresh] == [
        ("yes", "true", "no"),
        ("yes", "true", "no"),
        ("no", "true", "no"),
    ]
    report = made.statistics["operation"]
    assert report["left_out"] == {"known": 1, "unlike": 1, "unknown_label": 1}
    assert (report["seen"], report["rows"], report["kept"]) == (6, 3, 60)
    assert made.told == "Added live rows of live for retraining 4"


def test_tags_of_words_become_labels_of_as_many_words(project: Project, tmp_path: Path) -> None:
    lines = [f"Ada B-PER\nwent O\nto O\nroom{at} O\n" for at in range(40)]
    version = upload(project, "people.conll", "token-classification", "\n".join(lines).encode())
    assert version.labels == ["B-PER", "O"]
    said = {"text": "Ada saw Ada", "prediction": "B-PER O O", "label": None}
    said["teacher_prediction"] = None
    rows: list[dict[str, Any]] = [
        said | {"label": "B-PER O B-PER"},
        said | {"text": "Ada saw Grace", "teacher_prediction": "B-PER O B-PER"},
        said | {"text": "Ada saw Alan", "label": "B-PER O"},
        said | {"text": "Ada saw Oslo", "label": "B-PER O B-LOC"},
        said | {"text": "Ada went to room7", "label": "B-PER O O O"},
        said | {"text": "Ada saw Linus"},
    ]
    watched(version, tmp_path, rows)
    made, fresh = added(version, test=0, validation=0, unlabelled=False)
    assert {(row["text"], row["label"], row[live.LABEL]) for row in fresh} == {
        ("Ada saw Ada", "B-PER O B-PER", "true"),
        ("Ada saw Grace", "B-PER O B-PER", "teacher"),
    }
    left = {"known": 1, "misfit": 1, "unknown_label": 1, "unlabelled": 1}
    assert made.statistics["operation"]["left_out"] == left
    assert made.labels == version.labels


def test_that_no_label_is_right_is_a_label_where_rows_have_any_number(
    project: Project, tmp_path: Path
) -> None:
    lines = [f"film {at},{('sad', 'old', 'old|sad')[at % 3]}" for at in range(60)]
    table = "\n".join(["text,label", *lines]).encode()
    problem: dict[str, Any] = {"problem": "multi_label", "reading": {"separator": "|"}}
    version = upload(project, "films.csv", "text-classification", table, **problem)
    assert (version.problem, version.labels) == ("multi_label", ["old", "sad"])
    rows: list[dict[str, Any]] = [
        {"text": "a new one", "prediction": "old", "label": "", "teacher_prediction": None},
        {"text": "another", "prediction": "", "label": None, "teacher_prediction": ""},
        {"text": "both", "prediction": "", "label": "old|sad", "teacher_prediction": None},
        {"text": "strange", "prediction": "", "label": "new|sad", "teacher_prediction": None},
    ]
    watched(version, tmp_path, rows)
    made, fresh = added(version, test=0, validation=0)
    assert {(row["text"], row["label"], row[live.LABEL]) for row in fresh} == {
        ("a new one", "", "true"),
        ("another", "", "teacher"),
        ("both", "old|sad", "true"),
    }
    assert made.statistics["operation"]["left_out"] == {"unknown_label": 1}
    assert made.labels == version.labels
    assert sum(one["labelled"] for one in made.splits.values()) == 63


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def stored(folder: Path, content: bytes) -> str:
    path = folder / "picture.png"
    path.write_bytes(content)
    return storage.put(path).sha256


def test_pictures_come_from_storage(project: Project, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for at in range(40):
            out.writestr(f"{'cat' if at % 2 else 'dog'}/{at}.png", picture(at))
    version = upload(project, "pets.zip", "image-classification", packed.getvalue())
    rows = [
        {"blob": stored(tmp_path, picture(100 + at)), "prediction": "cat", "label": "dog"}
        for at in range(4)
    ]
    watched(version, tmp_path, rows)
    _, fresh = added(version)
    assert [row["image"] for row in fresh] == [picture(100 + at) for at in range(4)]
    assert {row[live.WINDOW] for row in fresh} == {3.0}


def test_without_anybody_to_ask_only_labelled_rows_come(project: Project, tmp_path: Path) -> None:
    lines = [f"row {at},{'yes' if at % 2 else 'no'}" for at in range(60)]
    table = "\n".join(["text,label", *lines]).encode()
    version = upload(project, "words.csv", "text-classification", table)
    rows: list[dict[str, Any]] = [
        {"text": f"new {at}", "prediction": "no", "label": "yes" if at < 3 else None}
        for at in range(10)
    ]
    rows[5]["text"] = None  # not kept
    watched(version, tmp_path, rows)
    _, fresh = added(version, unlabelled=False)
    assert len(fresh) == 3
    made, _ = added(version, unlabelled=False, least=20)
    assert made.status == "failed"
    assert made.error is not None
    assert made.error["detail"] == (
        "Only 3 of 10 live rows can be used (1 hold no input; 6 have no label, and there is no "
        "teacher to ask); at least 20 are wanted. Wait until more came."
    )
    half, _ = added(version, keep=0.5)
    assert 10 < half.statistics["operation"]["dropped"] < 40
    assert half.splits["test"]["rows"] >= version.splits["test"]["rows"]
    with pytest.raises(Invalid, match="There is no monitor 'elsewhere'"):
        added(version, monitor="elsewhere")


@pytest.mark.parametrize("form", ["completions", "chats", "plain"])
def test_prompts_come_with_their_right_answers(form: str, project: Project, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "say a"}, {"role": "assistant", "content": "a"}]
    name, lines = {
        "completions": ("asked.csv", ["prompt,completion", *["say a,a"] * 30]),
        "chats": ("asked.jsonl", [json.dumps({"messages": chat})] * 30),
        "plain": ("asked.jsonl", [json.dumps({"text": f"once {at}"}) for at in range(30)]),
    }[form]
    version = upload(project, name, "text-generation", "\n".join(lines).encode())
    asked = json.dumps(chat[:1]) if form == "chats" else "say a"
    rows: list[dict[str, Any]] = [
        {"text": asked, "prediction": "b", "label": None, "teacher_prediction": None},
        {"text": "say c", "prediction": "c", "teacher_prediction": "C"},
        {"text": "say d", "prediction": "e", "label": "d", "teacher_prediction": "e"},
        {"text": asked, "prediction": "b", "label": "A"},
    ]
    watched(version, tmp_path, rows)
    made, fresh = added(version)
    if form == "plain":
        assert made.status == "failed"
        assert made.error is not None
        assert "plain texts" in made.error["detail"]
        return
    assert made.error is None, made.error
    assert made.statistics["operation"]["left_out"] == {"unlabelled": 1}
    told = {row[live.ID]: (row.get("prompt"), row["text"], row[live.LABEL]) for row in fresh}
    if form == "completions":
        assert told == {
            "r1": ("say c", "C", "teacher"), "r2": ("say d", "d", "true"),
            "r3": ("say a", "A", "true"),
        }  # fmt: skip
    else:
        assert json.loads(told["r3"][1]) == [chat[0], {"role": "assistant", "content": "A"}]
        assert [one["content"] for one in json.loads(told["r2"][1])] == ["say d", "d"]


def test_rows_of_a_window_are_sent_to_review_in_one_post(
    project: Project, tmp_path: Path, alice: User
) -> None:
    lines = [f"row {at},{'yes' if at % 2 else 'no'}" for at in range(60)]
    table = "\n".join(["text,label", *lines]).encode()
    version = upload(project, "words.csv", "text-classification", table)
    rows: list[dict[str, Any]] = [
        {"text": f"new {at}", "prediction": "no", "label": ("no", "yes", None)[at % 3]}
        for at in range(9)
    ]
    monitor = watched(version, tmp_path, rows)
    monitor.dataset_version = version
    monitor.save()
    now = timezone.now()
    MonitorWindow.objects.create(
        monitor=monitor,
        number=3,
        starts_at=now - timedelta(hours=1),
        ends_at=now,
        rows=9,
        sums=b"",
    )
    address = f"/api/v1/projects/{project.slug}/monitors/live/rows/review/"
    assert api_of(alice).post(address, {"window": 4}, format="json").status_code == 404
    sent = api_of(alice).post(address, {"window": 3, "many": 7}, format="json")
    queue = ReviewQueue.objects.get()
    assert (sent.status_code, sent.json()) == (
        202,
        {"review": queue.pk, "version": f"{version.dataset.name}@2"},
    )
    page = f"/p/{project.slug}/reviews/{queue.pk}/"
    assert "Its rows come once" in signed_in(alice).get(page).content.decode()
    assert signed_in(alice).get(f"{page}rows/").status_code == 409
    look_at_retrainings()
    assert not queue.items.exists(), "a worker makes the version first"
    make_versions()
    for _ in range(2):
        look_at_retrainings()
    items = list(queue.items.order_by("order"))
    assert [one.label for one in items] == ["yes"] * 3 + [None] * 3 + ["no"]
    assert items[0].said == {"student": "no"}
    assert "somebody contradicts the student" in signed_in(alice).get(page).content.decode()


def test_a_review_of_live_rows_that_did_not_come_goes(
    project: Project, tmp_path: Path, alice: User
) -> None:
    table = "\n".join(["text,label", *(f"row {at},{'ab'[at % 2]}" for at in range(40))]).encode()
    version = upload(project, "words.csv", "text-classification", table)
    monitor = watched(version, tmp_path, [{"text": "new", "prediction": "a", "label": "a"}])
    Monitor.objects.update(dataset_version=version)
    monitor.refresh_from_db()
    long_ago = timezone.now() - timedelta(days=30)
    window = MonitorWindow(monitor=monitor, number=1, starts_at=long_ago, ends_at=long_ago)
    live_reviews.send(monitor=monitor, window=window, by=alice)
    make_versions()
    look_at_retrainings()
    assert not ReviewQueue.objects.exists()

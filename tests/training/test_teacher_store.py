"""Stored teacher answers are told by their machine, seen by who may see the dataset, and freed."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from distillhub.cli import doctor
from distillhub.lib.errors import Forbidden, Missing
from projects.models import DatasetVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.engine import stored
from training.models import TeacherOutputs
from training.services import teacher_outputs
from training.worker import machine, teacher_store

pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/workers/teacher-outputs/"


@pytest.fixture
def dataset(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "tickets", fingerprint="d" * 64)


def entry(key: str, *, size: int = 1000, age: float = 0.0, **said: Any) -> Path:
    """A whole entry in this machine's store, used so many seconds ago."""
    folder = teacher_store.folder() / key[:2] / key
    folder.mkdir(parents=True)
    (folder / "logits.npy").write_bytes(b"x" * size)
    manifest = {
        "kind": "logits", "split": "train", "fingerprint": "d" * 64, "teacher": "t" * 64,
        "teacher_name": "big@1", "rows": 80, "made_at": time.time() - age, **said,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_machine_tells_what_it_has(dataset: DatasetVersion) -> None:
    folder = entry("ab1")
    entry("cd2", kind="top_k", covered_mass=0.97)
    stored.note(folder, reused=True)
    teacher_store.tend()
    told = {one.key: one for one in TeacherOutputs.objects.all()}
    assert (told["ab1"].reused, told["ab1"].rows, told["ab1"].teacher_name) == (1, 80, "big@1")
    assert told["ab1"].bytes >= 1000
    assert told["cd2"].covered_mass == 0.97
    assert told["ab1"].home == machine.home_id()
    make.teacher_outputs(dataset, key="ef3")  # of another machine
    stored.note(folder, reused=True)
    assert stored.free(teacher_store.folder(), "cd2")
    teacher_store.tend()
    told = {one.key: one for one in TeacherOutputs.objects.all()}
    assert set(told) == {"ab1", "ef3"}
    assert told["ab1"].reused == 2


def test_the_policy_frees_what_was_used_longest_ago(settings: LazySettings) -> None:
    settings.DISTILLHUB_TEACHER_OUTPUTS_DAYS = 10
    old, new = entry("ab1", age=11 * 86_400), entry("cd2", age=9 * 86_400)
    teacher_store.tend()
    assert not old.exists()
    assert new.exists()
    settings.DISTILLHUB_TEACHER_OUTPUTS_MIB = 1
    large = entry("ef3", size=1 << 20)
    teacher_store.tend()
    assert not new.exists()
    assert not large.exists()  # alone it is more than a machine may keep
    settings.DISTILLHUB_TEACHER_OUTPUTS_MIB = settings.DISTILLHUB_TEACHER_OUTPUTS_DAYS = 0
    kept = entry("ab9", size=1 << 20, age=1e9)
    teacher_store.tend()
    assert kept.exists()


def test_what_is_in_use_goes_later(project: Project, dataset: DatasetVersion, alice: User) -> None:
    folder = entry("ab1")
    held = stored.Hold(folder)
    teacher_store.tend()
    one = TeacherOutputs.objects.get()
    teacher_outputs.free(entry_id=one.pk, by=alice)
    teacher_store.tend()
    assert folder.exists()
    one.refresh_from_db()
    assert one.unwanted
    del held
    teacher_store.tend()
    assert not folder.exists()
    assert not TeacherOutputs.objects.exists()


def test_who_sees_a_dataset_sees_what_was_said_of_it(
    dataset: DatasetVersion, alice: User, vera: User, charlie: User
) -> None:
    make.teacher_outputs(dataset, reused=2)
    seen = api_of(vera).get(ADDRESS).json()
    assert [one["datasets"] for one in seen["results"]] == [["tickets@1"]]
    assert (seen["bytes"], seen["others_bytes"], seen["saved_rows"]) == (4000, 0, 160)
    hidden = api_of(charlie).get(ADDRESS).json()
    assert (hidden["results"], hidden["bytes"], hidden["others_bytes"]) == ([], 0, 4000)
    charlie.is_superuser = True
    charlie.save()
    assert len(api_of(charlie).get(ADDRESS).json()["results"]) == 1


def test_layers_and_views_are_listed_in_words(dataset: DatasetVersion, alice: User) -> None:
    words = {"layers", "attention", "queries, keys and values", "vectors before the last layer"}
    for place, kind in enumerate(("layers", "attention", "relations", "embeddings")):
        folder = entry(f"ab{place}", kind=kind, split="train, view 1")
        stored.note(folder, reused=True)
    teacher_store.tend()
    assert {one.kind for one in teacher_outputs.listed(by=alice)} == words
    page = signed_in(alice).get("/workers/").content.decode()
    for word in words:
        assert f"<td>{word}" in page
    assert "train, view 1" in page
    seen = api_of(alice).get(ADDRESS).json()
    assert seen["saved_rows"] == 4 * 80
    assert {one["split"] for one in seen["results"]} == {"train, view 1"}


def test_owners_free(dataset: DatasetVersion, alice: User, erin: User, charlie: User) -> None:
    one = make.teacher_outputs(dataset)
    with pytest.raises(Forbidden):
        teacher_outputs.free(entry_id=one.pk, by=erin)
    with pytest.raises(Missing):
        teacher_outputs.free(entry_id=one.pk, by=charlie)
    assert api_of(alice).delete(f"{ADDRESS}{one.pk}/").status_code == 204
    assert api_of(alice).get(ADDRESS).json()["results"][0]["leaving"]


def test_the_page_of_workers_lists_and_frees(
    dataset: DatasetVersion, alice: User, erin: User
) -> None:
    one = make.teacher_outputs(dataset, kind="top_k", covered_mass=0.97)
    text = signed_in(erin).get("/workers/").content.decode()
    assert "tickets@1" in text
    assert "97.0 % of the probability" in text
    assert "Delete what big@1" not in text
    owner = signed_in(alice)
    assert "Delete what big@1" in owner.get("/workers/").content.decode()
    owner.post(f"/workers/teacher-outputs/{one.pk}/free/")
    assert "goes when unused" in owner.get("/workers/").content.decode()


def test_doctor_tells_the_size(settings: LazySettings) -> None:
    entry("ab1", size=2 << 20)
    (said,) = [one for one in doctor._machine() if "teacher answers" in one.what]
    assert said.verdict == "ok"
    settings.DISTILLHUB_TEACHER_OUTPUTS_MIB = 1
    (said,) = [one for one in doctor._machine() if "teacher answers" in one.what]
    assert said.verdict == "warn"
    assert "DISTILLHUB_TEACHER_OUTPUTS_MIB" in said.todo

"""What takes how much room: the page Storage and its REST."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.errors import Forbidden
from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Artifact, Checkpoint, StorageUse
from training.services import storage_use

pytestmark = pytest.mark.django_db

PAGE = "/storage/"
REST = "/api/v1/storage/"


@pytest.fixture
def shown(project: Project, alice: User, charlie: User) -> Project:
    """Alice's project with one of everything, beside Charlie's."""
    weights = {"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4_000_000}
    data = make.dataset_version(
        project, "tickets", file_sha256="b" * 64, file_bytes=3_000_000,
        source_sha256="c" * 64, source_bytes=1_000_000,
    )  # fmt: skip
    version = make.model_version(project, "tiny", files=[weights])
    make.export(version, data, files=[{"name": "x.onnx", "sha256": "d" * 64, "bytes": 500_000}])
    run = make.run(project, status="failed", finished_at=timezone.now())
    for name, sha256, size in (("model/w", "a" * 64, 4_000_000), ("eval.json", "e" * 64, 20_000)):
        Artifact.objects.create(run=run, kind="model", name=name, sha256=sha256, bytes=size)
    Checkpoint.objects.create(run=run, attempt=1, step=10, files=[], bytes=7_000_000)
    going = make.run(project, status="training")
    Checkpoint.objects.create(run=going, attempt=1, step=20, files=[], bytes=2_000_000)
    other = make.project("secret", owner=charlie)
    for of, kind, size in (
        (project, "ended", 9_000_000),
        (project, "running", 5_000_000),
        (other, "ended", 8_000_000),
        (None, "cache", 6_000_000),
    ):
        told(kind, size, project=of, home="h1", host="box")
    told("named", 40_000_000)
    told("orphans", 1_500_000)
    make.worker(machine={"home": "h1", "disk_bytes": 10**12}, load={"disk_free_bytes": 3 * 10**11})
    return project


def told(kind: str, size: int, **more: Any) -> StorageUse:
    return StorageUse.objects.create(
        kind=kind, bytes=size, files=2, told_at=timezone.now() - timedelta(minutes=3), **more
    )


def test_every_file_of_a_project_is_counted_once(shown: Project, vera: User) -> None:
    found = storage_use.of_project(project=shown, by=vera)
    assert found.parts == {
        "datasets": 4_000_000, "models": 4_000_000, "exports": 500_000, "artifacts": 20_000,
        "maps": 0,
        "monitors": 0,
    }  # fmt: skip
    assert (found.checkpoints, found.freeable_checkpoints) == (9_000_000, 7_000_000)
    assert found.machines == 14_000_000
    assert found.bytes == 31_520_000


def test_members_see_their_projects_by_name_and_the_sum_of_others(
    shown: Project, vera: User
) -> None:
    page = signed_in(vera).get(PAGE).content.decode()
    assert "31.5 MB" in page
    assert "8 MB" in page
    assert "secret" not in page
    assert '<button class="btn btn-sm' not in page  # a viewer frees nothing
    assert "300 GB free" in page


def test_owners_free_what_is_their_projects_and_administrators_the_rest(
    shown: Project, alice: User, vera: User, charlie: User
) -> None:
    mine = StorageUse.objects.get(kind="ended", project=shown)
    cache, orphans = StorageUse.objects.get(kind="cache"), StorageUse.objects.get(kind="orphans")
    running = StorageUse.objects.get(kind="running")
    client = api_of(alice)
    assert api_of(vera).post(f"{REST}{mine.pk}/free/").status_code == 403
    assert api_of(charlie).post(f"{REST}{mine.pk}/free/").status_code == 404
    assert client.post(f"{REST}{running.pk}/free/").status_code == 400
    assert client.post(f"{REST}{cache.pk}/free/").status_code == 403
    assert signed_in(alice).post(f"/storage/{mine.pk}/free/").status_code == 302
    mine.refresh_from_db()
    assert mine.unwanted
    assert "is being freed" in signed_in(alice).get(PAGE).content.decode()
    with pytest.raises(Forbidden, match="administrator"):
        storage_use.free(use_id=orphans.pk, by=alice)
    alice.is_superuser = True
    alice.save()
    assert client.post(f"{REST}{orphans.pk}/free/").status_code == 202
    assert client.post(f"{REST}{cache.pk}/free/").status_code == 202


def test_freeing_is_asked_about_first_and_says_what_goes(shown: Project, alice: User) -> None:
    alice.is_superuser = True
    alice.save()
    page = " ".join(signed_in(alice).get(PAGE).content.decode().split())
    for said in (
        "Free 9 MB?", "Checkpoints and inputs of failed and cancelled runs of intents on box. "
        "These runs can then only begin again.", "Free 6 MB?",
        "Copies of what lies in the bucket on box. What is needed again is fetched again.",
        "Files that nothing names any more. No page needs them.",
        "Of intents, in storage: 7 MB. Its failed and cancelled runs can then only begin again.",
    ):  # fmt: skip
        assert said in page, said
    assert page.count("/free/") == page.count('data-shows="free-') - 1  # one is of a project


def test_rest_tells_the_same(shown: Project, alice: User) -> None:
    body = api_of(alice).get(REST).json()
    assert body["projects"][0]["bytes"] == 31_520_000
    assert [one["kind"] for one in body["storage"]] == ["named", "orphans"]
    (machine,) = body["machines"]
    assert (machine["host"], machine["others_bytes"]) == ("box", 8_000_000)
    assert {one["kind"]: one["may_free"] for one in machine["uses"]} == {
        "cache": False, "ended": True, "running": False,
    }  # fmt: skip


def test_checkpoints_of_ended_runs_are_freed_and_those_of_others_not(
    shown: Project, alice: User, erin: User, tmp_path: Any
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    for kept in Checkpoint.objects.all():
        storage.put(path, kept.room)
    address = f"/api/v1/projects/{shown.slug}/checkpoints/"
    assert api_of(erin).delete(address).status_code == 403
    assert api_of(alice).delete(address).json() == {"freed_bytes": 7_000_000}
    (left,) = Checkpoint.objects.all()
    assert left.run.status == "training"
    assert [one.name.rpartition("/")[0] for one in storage.listing("checkpoints")] == [left.room]
    answer = signed_in(alice).post(f"/p/{shown.slug}/storage/", {"free": "1"}, follow=True)
    assert "Freed 0 B of checkpoints" in answer.content.decode()


@pytest.mark.parametrize(
    ("typed", "kept", "told"),
    [("30", 30, "Saved."), ("0", 0, "Saved."), ("", None, "Saved."), ("-1", 5, "whole number"),
     ("9999", 5, "from 0"), ("²", 5, "whole number")],
)  # fmt: skip
def test_an_owner_says_how_long_ended_runs_keep_their_checkpoints(
    shown: Project, alice: User, typed: str, kept: int | None, told: str
) -> None:
    Project.objects.update(ended_run_days=5)
    answer = signed_in(alice).post(f"/p/{shown.slug}/storage/", {"days": typed}, follow=True)
    assert told in answer.content.decode()
    shown.refresh_from_db()
    assert shown.ended_run_days == kept


def test_rest_says_how_long_too(shown: Project, alice: User, vera: User) -> None:
    address = f"/api/v1/projects/{shown.slug}/storage/"
    assert api_of(vera).get(address).json()["ended_run_days"] is None
    assert api_of(vera).patch(address, {"ended_run_days": 3}).status_code == 403
    assert api_of(alice).patch(address, {"ended_run_days": 3}).json()["ended_run_days"] == 3
    assert api_of(alice).patch(address, {"ended_run_days": -3}).status_code == 400


def test_the_page_asks_as_much_of_many_projects_as_of_one(
    shown: Project, alice: User, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        more = make.project(f"more-{number}", owner=alice)
        make.model_version(more, "tiny")
        told("ended", 10, project=more, home=f"h{number}", host=f"box-{number}")
    client = signed_in(alice)
    with django_assert_max_num_queries(16):
        assert client.get(PAGE).status_code == 200


def test_before_anything_was_counted_the_page_says_so(alice: User) -> None:
    page = signed_in(alice).get(PAGE).content.decode()
    assert "Not counted yet" in page
    assert "You belong to no project yet" in page

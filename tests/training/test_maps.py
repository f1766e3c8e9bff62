"""Rows have a map, made by a worker, and are sought on it by meaning."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from distillhub.lib import leases, storage
from distillhub.lib.errors import Invalid, Missing
from distillhub.lib.leases import Fenced, Held
from projects.ingest import page as stored_rows
from projects.ingest.found import recent
from projects.models import DatasetVersion, ModelVersion, Project, User
from projects.services import pending
from projects.services.likeness import Like
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import launch, sentences
from training.models import Artifact, RowMap, Run
from training.services import likeness, map_groups, maps, storage_use
from training.worker import maps as making
from training.worker import retention
from training.worker import runs as executing

TEXT = [{"name": "text", "type": "string", "role": "input"}]


def stored(project: Project, rows: list[dict[str, Any]], name: str = "tickets") -> DatasetVersion:
    """A version of these rows with their file."""
    path = storage.working_folder("making") / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    blob = storage.put(path)
    splits: dict[str, dict[str, Any]] = {}
    for row in rows:
        split = splits.setdefault(row["split"], {"rows": 0, "labelled": 0, "label_counts": {}})
        split["rows"] += 1
        split["labelled"] += 1
    return make.dataset_version(
        project,
        name,
        splits=splits,
        labels=tuple(sorted({row["label"] for row in rows})),
        columns=TEXT,
        rows=len(rows),
        file_sha256=blob.sha256,
        file_bytes=blob.bytes,
        fingerprint=blob.sha256,
    )


@pytest.fixture
def version(project: Project) -> DatasetVersion:
    recent.forget()
    return stored(project, sentences(120))


def placed(
    version: DatasetVersion, vectors: np.ndarray[Any, Any] | None = None, **fields: Any
) -> RowMap:
    """A ready map whose vectors are given: by default each label's rows on a line of its own."""
    if vectors is None:
        with storage.open_blob(version.file_sha256) as stream:
            labels = parquet.read_table(stream, columns=["label"])["label"].to_pylist()
        known = sorted(set(labels))
        vectors = np.zeros((version.rows, 4), dtype=np.float16)
        for row, label in enumerate(labels):
            vectors[row, known.index(label)] = 1
            vectors[row, 3] = row / 1000
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float16)
    folder = storage.working_folder("making")
    files = []
    for name, array in (("vectors.npy", vectors), ("points.npy", vectors[:, :2].astype("f4"))):
        np.save(folder / name, array)
        blob = storage.put(folder / name)
        files.append({"name": name, "sha256": blob.sha256, "bytes": blob.bytes})
    report = {"rows": version.rows, "width": vectors.shape[1], "made_by": "words", "shares": [1, 0]}
    defaults = {"status": "ready", "files": files, "report": report, "finished_at": timezone.now()}
    return make.row_map(version, **defaults | fields)


@pytest.fixture
def client(erin: User) -> APIClient:
    return api_of(erin)


def at(version: DatasetVersion, rest: str = "") -> str:
    project = version.dataset.project.slug
    return f"/api/v1/projects/{project}/datasets/{version.dataset.name}/versions/1/{rest}"


def page(version: DatasetVersion, rest: str = "map/") -> str:
    return f"/p/{version.dataset.project.slug}/datasets/{version.dataset.name}/1/{rest}"


# -- making ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_map_is_made_by_a_worker_and_rows_are_sought_by_meaning(
    version: DatasetVersion, client: APIClient, project: Project
) -> None:
    refused = client.get(at(version, "rows/?like=3"))
    assert (refused.status_code, refused.json()["code"]) == (409, "no_map")
    assert "tab Map" in refused.json()["detail"]

    asked = client.post(at(version, "maps/"), {}, format="json")
    assert asked.status_code == 202
    assert asked.json()["status"] == "queued"
    again = client.post(at(version, "maps/"), {"model": "built-in"}, format="json")
    assert again.json()["id"] == asked.json()["id"]
    making.WORK.carry_out(asked.json()["id"])
    shown = client.get(at(version, f"maps/{asked.json()['id']}/")).json()
    assert (shown["status"], shown["error"]) == ("ready", None)
    assert (shown["made_by"], shown["reads_words"]) == ("built-in", True)
    assert shown["report"]["rows"] == 120

    points = client.get(at(version, f"maps/{shown['id']}/points/?limit=50&offset=100")).json()
    assert points["row_ids"] == list(range(100, 120))
    assert len(points["x"]) == len(points["y"]) == 20
    assert (points["count"], points["next"]) == (120, None)

    typed = client.get(at(version, "rows/?meaning=my invoice and the payment&limit=10")).json()
    assert typed["count"] == 120
    assert [row["label"] for row in typed["results"]].count("billing") >= 9
    scores = [row["similarity"] for row in typed["results"]]
    assert scores == sorted(scores, reverse=True)
    like = client.get(at(version, "rows/?like=3&split=train&limit=5")).json()["results"]
    assert like[0]["row_id"] == 3
    assert like[0]["similarity"] == pytest.approx(1, abs=2e-3)
    assert {row["split"] for row in like} == {"train"}

    twin = stored(project, sentences(120), "copies")
    made = maps.make(version=twin, by=project.created_by)
    assert made.status == "ready"  # the same rows were placed before
    assert likeness.nearest(version=twin, row_id=3, count=4) == likeness.nearest(
        version=version, row_id=3, count=4
    )


@pytest.mark.django_db
def test_what_cannot_be_is_refused_at_its_field(
    version: DatasetVersion, project: Project, client: APIClient
) -> None:
    by = project.created_by
    file = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}]
    make.model_version(project, "fresh")
    pictures = "image-classification"
    make.model_version(project, "seeing", task=pictures, files=file, labels=["a", "b"])
    make.model_version(project, "writing", task="text-generation", files=file)
    for model, words in (
        ("nobody", "no model nobody"),
        ("fresh", "not been trained"),
        ("seeing", "does not read the text"),
        ("writing", "does not make one vector"),
        (3, "Name a model"),
    ):
        with pytest.raises(Invalid, match=words):
            maps.make(version=version, model=model, by=by)
    with pytest.raises(Invalid, match="principal, neighbours"):
        maps.make(version=version, plane="globe", by=by)
    bodies: list[Any] = [{"plane": "globe"}, {"model": ["a"]}, []]
    for body in bodies:
        assert client.post(at(version, "maps/"), body, format="json").status_code == 400
    both = client.get(at(version, "rows/?like=1&meaning=word"))
    assert (both.status_code, list(both.json()["fields"])) == (400, ["meaning"])
    assert RowMap.objects.count() == 0


@pytest.mark.django_db
def test_trained_models_that_read_the_rows_are_offered(
    version: DatasetVersion, project: Project
) -> None:
    file = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}]
    make.model_version(project, "fresh")
    make.model_version(
        project, "seeing", task="image-classification", files=file, labels=["a", "b"]
    )
    knowing = make.model_version(project, "knowing", files=file, labels=["a", "b"])
    assert maps.choices(version=version) == [knowing]
    assert maps.make(version=version, model="knowing@1", by=project.created_by).version == knowing


@pytest.mark.django_db
def test_one_that_failed_is_tried_again_and_one_that_is_removed_is_fenced(
    version: DatasetVersion, project: Project, client: APIClient
) -> None:
    made = maps.make(version=version, by=project.created_by)
    RowMap.objects.filter(pk=made.pk).update(status="failed", error={"code": "x", "detail": "y"})
    again = maps.make(version=version, by=project.created_by)
    assert (again.pk, again.status, again.error) == (made.pk, "queued", None)
    held = making.WORK.claim(made.pk)
    assert isinstance(held, Held)
    held.write(stage="making vectors")
    assert client.delete(at(version, f"maps/{made.pk}/")).status_code == 204
    with pytest.raises(Fenced):  # its worker ends the child and lets go
        held.write(stage="drawing the map")
    leases.holding.discard(held)


@pytest.mark.django_db
def test_maps_are_counted_go_with_their_version_and_when_nobody_looks(
    version: DatasetVersion, project: Project, alice: User, settings: LazySettings
) -> None:
    row_map = placed(version)
    counted = storage_use.of_project(project=project, by=alice).parts
    assert counted["maps"] == row_map.size_bytes > 1000
    RowMap.objects.update(last_used=timezone.now() - timedelta(days=61))
    settings.DISTILLHUB_MAP_DAYS = 0
    retention._remove_maps()
    assert RowMap.objects.exists()
    maps.points(row_map=RowMap.objects.get())
    settings.DISTILLHUB_MAP_DAYS = 60
    retention._remove_maps()
    assert RowMap.objects.exists()  # it was looked at
    RowMap.objects.update(last_used=timezone.now() - timedelta(days=61))
    retention._remove_maps()
    assert not RowMap.objects.exists()
    placed(version)
    version.delete()
    assert not RowMap.objects.exists()


# -- seeking --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_scores_are_cosines_however_many_pieces_they_are_read_in(
    version: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(120, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    placed(version, vectors.astype(np.float16))
    monkeypatch.setattr(likeness, "AT_ONCE", 7)
    found = likeness.scores(version=version, like=Like(row_id=5))
    assert found == pytest.approx(vectors @ vectors[5], abs=3e-3)
    nearest = likeness.nearest(version=version, row_id=5, count=3)
    exact = [int(one) for one in np.argsort(-found, kind="stable")[1:4]]
    assert [row for row, _ in nearest] == exact
    with pytest.raises(Missing, match="no row 120"):
        likeness.scores(version=version, like=Like(row_id=120))
    with pytest.raises(maps.NoMap, match="built-in map only"):
        likeness.scores(version=version, like=Like(words="hello"))
    with pytest.raises(maps.NoMap, match="no map by minilm@2"):
        likeness.scores(version=version, like=Like(row_id=1, map="minilm@2"))


@pytest.mark.parametrize("first", [1, 2, 3, 49, 50, 51, None])
def test_the_first_of_an_order_are_those_of_the_whole_order(first: int | None) -> None:
    chance = np.random.default_rng(0)
    scores = chance.integers(0, 9, 100).astype(np.float32)  # many are equal
    ids = np.flatnonzero(chance.random(100) < 0.5)
    whole = sorted(ids.tolist(), key=lambda row: (-scores[row], row))
    assert stored_rows.by_score(ids, scores, first=first)[:first].tolist() == whole[:first]


@pytest.mark.django_db
def test_the_table_of_rows_and_its_steps_go_by_likeness(
    version: DatasetVersion, project: Project, erin: User
) -> None:
    placed(version)
    site = signed_in(erin)
    with storage.open_blob(version.file_sha256) as stream:
        labels = parquet.read_table(stream, columns=["label"])["label"].to_pylist()
    answer = site.get(page(version, "?tab=rows&like=7"))
    found = [row["row_id"] for row in answer.context["rows"]]
    assert {labels[row] for row in found[:20]} == {labels[7]}
    assert b"Likeness" in answer.content
    assert "like row 7" in answer.content.decode()
    step = site.get(page(version, f"rows/{found[1]}/?like=7"))
    assert f"rows/{found[2]}/?like=7" in step.context["after"]
    assert f"rows/{found[0]}/?like=7" in step.context["before"]
    refused = site.get(page(version, "?tab=rows&meaning=hello"))
    assert "built-in map only" in refused.content.decode()


@pytest.mark.django_db
def test_a_row_shows_the_rows_like_it_or_says_why_not(version: DatasetVersion, vera: User) -> None:
    site = signed_in(vera)
    address = page(version, "rows/7/neighbours/")
    assert site.get(address).status_code == 302  # a part of a page
    absent = site.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "has no map yet" in absent
    placed(version)
    there = site.get(address, headers={"HX-Request": "true"})
    assert len(there.context["neighbours"]) == 6
    assert 7 not in [row["row_id"] for row in there.context["neighbours"]]


# -- the picture ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_page_leads_from_nothing_to_a_picture(
    version: DatasetVersion, erin: User, vera: User
) -> None:
    site = signed_in(erin)
    assert "Make the map" in site.get(page(version)).content.decode()
    assert "Make the map" not in signed_in(vera).get(page(version)).content.decode()
    made = site.post(page(version), {"model": "", "plane": "principal"})
    row_map = RowMap.objects.get()
    assert made.headers["Location"] == f"{page(version)}?map={row_map.pk}"
    assert "Waits for a worker" in site.get(page(version)).content.decode()
    polled = {"HX-Request": "true", "HX-Target": "map-making"}
    assert "Waits for a worker" in site.get(page(version), headers=polled).content.decode()
    RowMap.objects.update(status="failed", error={"code": "bad_data", "detail": "No row is left."})
    assert site.get(page(version), headers=polled).headers["HX-Refresh"] == "true"
    assert "No row is left." in site.get(page(version)).content.decode()
    site.post(page(version, f"map/{row_map.pk}/remove/"))
    placed(version)
    drawn = site.get(page(version))
    traces = drawn.context["figure"]["data"]
    assert [trace["name"] for trace in reversed(traces)] == version.labels
    assert sum(len(trace["x"]) for trace in drawn.context["figure"]["data"]) == 120
    assert "120 rows" in drawn.content.decode()
    narrowed = site.get(f"{page(version)}?split=test&by=split")
    assert [line["name"] for line in narrowed.context["lines"]] == ["test"]
    assert site.get(f"{page(version)}?by=nothing").context["by"] == "label"
    assert "no split" in site.get(f"{page(version)}?split=none").content.decode()


@pytest.mark.django_db
def test_rows_that_are_chosen_on_it_become_one_pending_change(
    version: DatasetVersion, erin: User
) -> None:
    site = signed_in(erin)
    chosen = ",".join(str(row) for row in range(120)) + ",x,-1,²"
    asked = {"row_id": chosen, "what": "tag", "value": "odd", "among": ""}
    assert site.post(page(version, "edits/"), asked).status_code == 302
    (change,) = pending.of(version=version, by=erin).changes
    assert change["row_ids"] == list(range(120))
    assert change["tags"] == ["odd"]


@pytest.mark.django_db
def test_points_are_told_apart_by_what_a_run_and_its_teacher_said(
    version: DatasetVersion, project: Project, erin: User
) -> None:
    run = make.run(project, dataset_version=version, status=Run.Status.FINISHED)
    Run.objects.filter(pk=run.pk).update(config=run.config | {"teachers": ["big@1"]})
    said = pa.table(
        {
            "row_id": [9, 19, 29],
            "teacher": ["billing", "account", "billing"],
            "student_value": [1.0, 0.0, None],
        }
    )
    path = storage.working_folder("making") / "predictions.parquet"
    parquet.write_table(said, path)
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="predictions", name="p.parquet", sha256=blob.sha256, bytes=blob.bytes
    )
    keys = [one.key for one in map_groups.choices(version=version)]
    assert keys == ["label", "split", "error:1", "teacher:1"]
    rows = [{"row_id": row} for row in (8, 9, 19, 29)]
    values = map_groups.values(version=version, by="error:1", rows=rows)
    assert values == ["not judged", "right", "wrong", "not judged"]
    groups = map_groups.grouped(values)
    assert [(one.name, one.quiet) for one in groups] == [
        ("wrong", False), ("right", False), ("not judged", True)
    ]  # fmt: skip
    told = map_groups.values(version=version, by="teacher:1", rows=rows)
    assert told == [None, "billing", "account", "billing"]
    placed(version)
    shown = signed_in(erin).get(f"{page(version)}?by=error:1")
    assert shown.context["by"] == "error:1"
    assert [line["rows"] for line in shown.context["lines"]] == [1, 1, 118]


def test_many_values_have_groups_for_the_commonest_and_numbers_for_fifths() -> None:
    texts = [f"kind {row % 20}" for row in range(200)] + ["kind 3", None]
    groups = map_groups.grouped(texts, first="kind 19")
    assert [one.name for one in groups[:2]] == ["kind 19", "kind 3"]
    assert [one.name for one in groups[-2:]] == ["10 others", "none"]
    assert sum(len(one.places) for one in groups) == len(texts)
    fifths = map_groups.grouped([*map(float, range(100)), None])
    assert [len(one.places) for one in fifths] == [20, 20, 20, 20, 20, 1]
    assert fifths[0].name == "0 to 19.8"


@pytest.mark.django_db
def test_too_many_rows_are_drawn_by_their_labels_shares_always_the_same(
    version: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_groups, "MOST_DRAWN", 30)
    every = np.arange(120)
    some = map_groups.drawn(version=version, row_ids=every)
    assert np.array_equal(some, map_groups.drawn(version=version, row_ids=every))
    assert len(some) <= 30
    assert np.array_equal(some, np.unique(some))
    with storage.open_blob(version.file_sha256) as stream:
        labels = np.array(parquet.read_table(stream, columns=["label"])["label"].to_pylist())
    for label in version.labels:
        assert (labels[some] == label).sum() == int(30 * (labels == label).sum() / 120)


@pytest.mark.django_db
def test_pages_and_rest_ask_few_questions(
    version: DatasetVersion,
    project: Project,
    erin: User,
    client: APIClient,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    placed(version)
    for number in range(5):
        make.row_map(version, version=make.model_version(project, f"model-{number}"))
    site: Client = signed_in(erin)
    with django_assert_max_num_queries(20):
        assert site.get(page(version)).status_code == 200
    with django_assert_max_num_queries(8):
        site.get(page(version, "rows/7/neighbours/"), headers={"HX-Request": "true"})
    with django_assert_max_num_queries(8):
        assert len(client.get(at(version, "maps/")).json()["results"]) == 6
    with django_assert_max_num_queries(8):
        assert client.get(at(version, "rows/?like=1")).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_trained_model_places_rows_too(
    version: DatasetVersion, project: Project, tmp_path: Path
) -> None:
    make.model_version(project, "tiny", config={"dim": 8, "vocabulary": 300})
    run = launch(project, training={"epochs": 8})
    executing.execute(run.pk)
    run.refresh_from_db()
    assert isinstance(run.output, ModelVersion), run.error
    made = maps.make(version=version, model=run.output.reference, by=project.created_by)
    making.WORK.carry_out(made.pk)
    made.refresh_from_db()
    assert (made.status, made.error) == ("ready", None)
    assert made.report is not None
    assert made.report["made_by"] == run.output.reference
    assert not made.reads_words
    assert [one.key for one in map_groups.choices(version=version)][2:] == ["error:1"]
    every = [{"row_id": row} for row in range(version.rows)]
    told = map_groups.values(version=version, by="error:1", rows=every)
    judged = [row for row, one in enumerate(told) if one != "not judged"]
    assert [row % 10 for row in judged] == [9] * 12  # the rows of the test split

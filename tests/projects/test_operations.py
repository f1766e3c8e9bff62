"""Operations: the next version of a dataset, made of an earlier one."""

import json
from typing import Any

import pytest
from rest_framework.response import Response
from rest_framework.test import APIClient

from projects import jobs
from projects.models import DatasetVersion, Project, User
from projects.operations import registry
from tests.conftest import api_of
from tests.projects.test_dataset_versions import file_of
from tests.projects.test_ingest_images import archive, picture

BASE = "/api/v1/projects/intents/datasets/"
LINES = [(f"refund please {n}", "refund") for n in range(60)]
LINES += [(f"where is my card {n}", "card") for n in range(40)]
LINES += [("refund please 1", "card"), ("refund please 2 ", "refund")]
TABLE = "text,label,channel\n" + "".join(f"{a},{b},app\n" for a, b in LINES)


def upload(client: APIClient, content: bytes | str = TABLE, name: str = "words") -> None:
    given = content if isinstance(content, bytes) else content.encode()
    body = {"file": file_of(given), "name": name}
    made = client.post(BASE, body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()


def make_all() -> None:
    for pk in DatasetVersion.objects.ingesting().order_by("pk").values_list("pk", flat=True):
        jobs.ingest_dataset_version(version_id=pk)


def change(client: APIClient, name: str = "words", **asked: Any) -> Response:
    made: Response = client.post(f"{BASE}{name}/versions/", asked, format="json")
    make_all()
    return made


def latest(name: str = "words") -> DatasetVersion:
    version = DatasetVersion.objects.filter(dataset__name=name).order_by("-number").first()
    assert version is not None
    assert version.is_ready, version.error
    return version


def rows(client: APIClient, version: DatasetVersion) -> list[dict[str, Any]]:
    url = f"{BASE}{version.dataset.name}/versions/{version.number}/rows/?limit=1000"
    return list(client.get(url).json()["results"])


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    upload(client)
    return client


def test_a_change_is_a_version_with_a_parent_and_says_what_was_done(client: APIClient) -> None:
    made = change(client, operation="filter", label="refund")
    assert made.status_code == 201, made.data
    assert (made.data["version"], made.data["parent"]) == (2, 1)
    assert made.data["operation"]["told"] == "Kept rows with label refund"
    assert {row["label"] for row in rows(client, latest())} == {"refund"}
    assert latest().rows == 61
    assert latest().columns == latest().parent.columns  # type: ignore[union-attr]
    assert [row["row_id"] for row in rows(client, latest())] == list(range(61))
    assert {row["channel"] for row in rows(client, latest())} == {"app"}


def test_the_version_it_starts_from_stays_as_it_was(client: APIClient) -> None:
    first = latest()
    change(client, operation="filter", q="card", leave_out=True)
    change(client, operation="filter", label="card", version=1)
    assert latest().parent == first
    again = DatasetVersion.objects.get(pk=first.pk)
    assert (again.fingerprint, again.rows) == (first.fingerprint, first.rows)


def test_of_duplicates_the_first_stays_and_of_leaks_the_row_that_is_not_trained_on(
    client: APIClient,
) -> None:
    before = {one["code"] for one in latest().issues}
    assert {"conflicting_labels", "near_duplicate"} <= before
    change(client, operation="deduplicate")
    assert latest().rows == 100
    after = {one["code"] for one in latest().issues}
    assert not after & {"duplicate", "near_duplicate", "conflicting_labels", "leak"}


def test_a_leak_is_mended_by_leaving_out_the_row_of_train(client: APIClient) -> None:
    leaking = "text,label,split\n" + "".join(
        f"text {n % 50},{'a' if n % 2 else 'b'},{'test' if n >= 50 else 'train'}\n"
        for n in range(60)
    )
    upload(client, leaking, "leaks")
    assert latest("leaks").issues[0]["code"] == "leak"
    change(client, "leaks", operation="deduplicate", within="leaks")
    assert "leak" not in {one["code"] for one in latest("leaks").issues}
    splits = [row["split"] for row in rows(client, latest("leaks"))]
    assert splits.count("test") == 10
    assert len(splits) == 50


@pytest.mark.parametrize(
    ("asked", "many"), [({"rows": 20}, 20), ({"share": 0.5}, None), ({"per_label": 3}, 6)]
)
def test_a_sample_thins_one_split_by_chance_and_the_same_seed_draws_the_same(
    client: APIClient, asked: dict[str, Any], many: int | None
) -> None:
    splits = latest().splits
    change(client, operation="sample", **asked)
    first = latest()
    assert first.splits["train"]["rows"] == (many or round(splits["train"]["rows"] / 2))
    for name in ("validation", "test"):
        assert first.splits[name] == splits[name]
    change(client, operation="sample", version=1, **asked)
    assert latest().fingerprint == first.fingerprint
    change(client, operation="sample", version=1, seed=1, **asked)
    assert latest().fingerprint != first.fingerprint


def test_rows_are_divided_anew_and_the_test_stays(client: APIClient) -> None:
    test = [row["text"] for row in rows(client, latest()) if row["split"] == "test"]
    change(client, operation="split", train=0.5, validation=0.5, test=0.0)
    found = rows(client, latest())
    assert [row["text"] for row in found if row["split"] == "test"] == test
    sizes = {name: one["rows"] for name, one in latest().splits.items()}
    assert abs(sizes["train"] - sizes["validation"]) <= 2
    assert "leak" not in {one["code"] for one in latest().issues}
    change(client, operation="split", train=0.8, validation=0.2, test=0.0, keep_test=False)
    assert set(latest().splits) == {"train", "validation"}


def test_labels_are_renamed_joined_and_taken_away(client: APIClient) -> None:
    change(client, operation="relabel", labels={"refund": "money", "card": ""})
    assert latest().labels == ["money"]
    assert sum(row["label"] is None for row in rows(client, latest())) == 41


def test_single_rows_are_changed(client: APIClient) -> None:
    changes = [
        {"row_id": 0, "label": "card"},
        {"row_id": 1, "split": "test", "text": "money back, please"},
        {"row_id": 2, "leave_out": True},
        {"row_id": 3, "label": None},
    ]
    made = change(client, operation="edit", changes=changes)
    assert made.data["operation"]["told"] == (
        "Changed 4 rows: 1 left out, 2 relabelled, 1 moved, 1 rewritten"
    )
    first = latest()
    once = change(client, operation="edit", changes=[{"row_ids": [5], "leave_out": True}])
    assert "1 rows" not in once.data["operation"]["told"]
    found = rows(client, first)
    assert found[0]["label"] == "card"
    assert (found[1]["split"], found[1]["text"]) == ("test", "money back, please")
    assert found[2]["text"] == "refund please 3"
    assert found[2]["label"] is None


def test_versions_are_merged_and_kept_columns_of_either_stay(client: APIClient) -> None:
    upload(client, "text,label,place\n" + "a b,card,x\n" * 3 + "c,refund,y\n", "more")
    change(client, operation="merge", versions=["more@1"])
    version = latest()
    assert version.rows == 106
    found = rows(client, version)
    assert (found[0]["channel"], found[0]["place"]) == ("app", None)
    assert (found[-1]["channel"], found[-1]["place"]) == (None, "y")
    assert (version.operation or {})["others"]  # pinned, whatever `more` means later


def test_pictures_are_filtered_and_deduplicated_by_what_they_show(client: APIClient) -> None:
    pictures = [(f"{'ab'[n % 2]}/{n}.png", picture(color=n % 10)) for n in range(20)]
    upload(client, archive(*pictures).getvalue(), "shapes")
    change(client, "shapes", operation="deduplicate")
    version = latest("shapes")
    assert version.rows == 10
    assert version.statistics["measures"]["width"]["minimum"] > 0
    assert version.columns == version.parent.columns  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"operation": "vanish"}, "operation"),
        ({}, "operation"),
        ({"operation": "filter"}, "split"),
        ({"operation": "filter", "label": "refund", "color": 1}, "color"),
        ({"operation": "filter", "split": "later"}, "split"),
        ({"operation": "sample"}, "rows"),
        ({"operation": "sample", "rows": 3, "share": 0.1}, "rows"),
        ({"operation": "split", "train": 0.5}, "train"),
        ({"operation": "relabel", "labels": {"nothing": "x"}}, "labels"),
        ({"operation": "edit", "changes": [{"row_id": 5000, "label": "x"}]}, "changes"),
        ({"operation": "edit", "changes": [{"row_id": 1}, {"row_id": 1}]}, "changes"),
        ({"operation": "merge", "versions": ["words@9"]}, None),
        ({"operation": "sample", "rows": 3, "version": "one"}, "version"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once_by_name(
    client: APIClient, asked: dict[str, Any], field: str | None
) -> None:
    answer = client.post(f"{BASE}words/versions/", asked, format="json")
    assert answer.status_code in (400, 404), answer.data
    assert field is None or field in answer.json()["fields"], answer.data
    assert DatasetVersion.objects.count() == 1


def test_a_change_that_leaves_nothing_fails_with_a_sentence(client: APIClient) -> None:
    change(client, operation="filter", q="refund", leave_out=True)
    change(client, operation="filter", q="where is", leave_out=True)
    version = DatasetVersion.objects.order_by("-number").first()
    assert version is not None
    assert version.status == "failed"
    assert (version.error or {})["detail"] == "Not a single row is left."


@pytest.mark.parametrize("key", list(registry.operations()))
def test_every_operation_tells_what_it_is_and_refuses_what_it_does_not_know(key: str) -> None:
    operation = registry.get(key)
    assert operation.key == key
    assert operation.summary.endswith(".")
    shape = operation.Options(data={"nobody-knows": 1})
    assert not shape.is_valid()
    assert "nobody-knows" in shape.errors
    assert json.dumps(sorted(operation.Options().fields))

"""What columns are for, said at upload: weights, probabilities of classes, and no label at all."""

import io
from typing import Any

import pytest
from django.urls import reverse

from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, Project, StagedUpload, User
from projects.services import datasets, operations
from tests.conftest import signed_in
from tests.projects.test_dataset_versions import error_of, file_of, issues_of, table_of, uploaded
from tests.projects.test_ingest_images import archive, picture

ROWS = 40
SOFT = "text,label,sure,p_spam,p_ham\n" + "".join(
    f"words number {n},{('spam', 'ham')[n % 2]},{n % 4},{(0.9, 0.2)[n % 2]},{(0.1, 0.8)[n % 2]}\n"
    for n in range(ROWS)
)
BARE = "text,more\n" + "".join(f"these are the words number {n},note {n}\n" for n in range(ROWS))


def roles_of(version: DatasetVersion) -> dict[str, str]:
    return {one["name"]: one["role"] for one in version.columns}


def made(project: Project, table: str, **asked: Any) -> DatasetVersion:
    return uploaded(project, table.encode(), **asked)


def test_weights_and_probabilities_are_chosen_at_upload(project: Project) -> None:
    asked = {"weight": "sure", "soft_labels": {"spam": "p_spam", "ham": "p_ham"}}
    version = made(project, SOFT, columns={"text": "text", "label": "label", **asked})
    assert version.status == "ready", version.error
    assert (version.column_of("weight"), version.soft_labels) == ("sure", asked["soft_labels"])
    table = table_of(version)
    assert table["sure"].to_pylist()[:5] == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert table["p_ham"].to_pylist()[:2] == [0.1, 0.8]
    same = operations.change(
        version=made(project, SOFT, name="later", columns={"text": "text", "label": "label"}),
        operation="columns",
        options={"roles": {"weight": "sure"}, "soft_labels": asked["soft_labels"]},
        by=project.created_by,
    )
    from projects import jobs

    jobs.ingest_dataset_version(version_id=same.pk)
    same.refresh_from_db()
    assert {one: roles_of(version)[one] for one in roles_of(same)} == roles_of(same)


def test_probabilities_are_told_by_what_their_names_begin_with(project: Project) -> None:
    version = made(project, SOFT, columns={"soft_labels": "p_"})
    assert version.soft_labels == {"spam": "p_spam", "ham": "p_ham"}
    table = made(
        project, SOFT, name="table", task="tabular-classification", columns={"soft_labels": "p_"}
    )
    assert (table.status, table.error) == ("ready", None)
    assert "p_spam" not in table.features


@pytest.mark.parametrize(
    ("columns", "cell", "sentence"),
    [
        ({"weight": "sure"}, "x", "Line 2 says 'x', no weight from 0 to 1000000."),
        ({"weight": "sure"}, "-1", "Line 2 says '-1', no weight from 0 to 1000000."),
        ({"weight": "sure"}, "", None),
        ({"soft_labels": "p_"}, "0.9;1.5", "Line 2 says '1.5', no probability."),
        ({"soft_labels": "p_"}, "0.9;0.3", "Line 2 has probabilities that make 1.200, not 1."),
        ({"soft_labels": "p_"}, "0.9;", "has no probability in 'p_ham', and some in others."),
        ({"soft_labels": "p_"}, ";", None),
        ({"soft_labels": "p_", "label": "text"}, "0.9;0.1", "which has no probabilities."),
    ],
)
def test_what_is_no_weight_or_probability_is_refused_with_its_line(
    project: Project, columns: dict[str, Any], cell: str, sentence: str | None
) -> None:
    if "weight" in columns:
        first = f"words number 0,spam,{cell},0.9,0.1"
    else:
        first = "words number 0,spam,0,{},{}".format(*cell.split(";"))
    if columns.get("label") == "text":
        columns = columns | {"text": "sure"}
    table = SOFT.replace("words number 0,spam,0,0.9,0.1", first)
    version = made(project, table, task="text-classification", columns=columns)
    if sentence is None:
        assert (version.status, version.error) == ("ready", None)
    else:
        assert sentence in error_of(version)["detail"]


@pytest.mark.parametrize(
    ("columns", "more", "field"),
    [
        ({"soft_labels": {"spam": "p_spam"}}, {}, "reading.columns.soft_labels"),
        ({"soft_labels": {"a": "p_spam", "b": "p_spam"}}, {}, "reading.columns.soft_labels"),
        ({"soft_labels": {"a": "p_spam", "b": "none"}}, {}, "reading.columns.soft_labels"),
        ({"soft_labels": "q_"}, {}, "reading.columns.soft_labels"),
        ({"soft_labels": ["p_spam"]}, {}, "reading.columns.soft_labels"),
        ({"soft_labels": "p_", "weight": "p_ham"}, {}, "reading.columns.soft_labels"),
        ({"soft_labels": "p_"}, {"problem": "multi_label"}, "reading.columns.soft_labels"),
        ({"weight": "none"}, {}, "reading.columns.weight"),
        ({"label": None}, {"reading": {"labels": [3]}}, "reading.labels"),
        ({"label": None}, {"reading": {"labels": ["x" * 201]}}, "reading.labels"),
    ],
)
def test_roles_that_cannot_be_are_refused_by_field(
    project: Project, columns: dict[str, Any], more: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        made(project, SOFT, columns=columns, **more)
    assert list(caught.value.fields) == [field]


def test_rows_without_any_label_become_a_version(project: Project) -> None:
    version = made(project, BARE, columns={"text": "text", "label": None})
    assert (version.status, version.error) == ("ready", None)
    assert (version.labels, version.labelled, version.rows) == ([], 0, ROWS)
    assert issues_of(version)["missing_label"] == ROWS
    assert sum(split["rows"] for split in version.splits.values()) == ROWS
    assert table_of(version)["label"].null_count == ROWS


def test_a_file_with_texts_alone_needs_no_word_about_labels(project: Project) -> None:
    table = "text\n" + "".join(f"these are words number {n}\n" for n in range(ROWS))
    version = made(project, table, task="text-classification")
    assert (version.status, version.labels) == ("ready", [])
    shown = datasets.preview(
        upload=datasets.stage(
            project=project, file=file_of(table.encode()), name="a.csv", by=project.created_by
        )
    )
    assert any("No column is the label" in one["detail"] for one in shown["problems"])


@pytest.mark.parametrize(
    ("task", "problem", "table"),
    [
        ("text-classification", "multi_label", BARE),
        ("text-classification", "regression", BARE),
        ("tabular-classification", "single_label", SOFT),
        ("tabular-classification", "regression", SOFT),
        ("token-classification", "single_label", BARE),
    ],
)
def test_so_do_rows_of_any_kind(project: Project, task: str, problem: str, table: str) -> None:
    columns: dict[str, Any] = {"label": None}
    asked = {} if task == "token-classification" else {"problem": problem}
    version = made(project, table, task=task, columns=columns, **asked)
    assert (version.status, version.error) == ("ready", None)
    assert (version.labels, version.labelled) == ([], 0)


def test_pictures_in_no_folder_become_a_version(project: Project) -> None:
    file = archive(*((f"{n}.png", picture(color=n)) for n in range(20)))
    assert isinstance(file, io.BytesIO)
    upload = file_of(file.getvalue(), "pictures.zip")
    version = datasets.upload(
        project=project, file=upload, name="pictures", task="", by=project.created_by
    )
    from projects import jobs

    jobs.ingest_dataset_version(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.labels, version.rows) == ("ready", [], 20)


def test_labels_may_be_told_before_any_row_has_one(project: Project) -> None:
    asked = {"columns": {"text": "text", "label": None}, "reading": {"labels": ["yes", "no"]}}
    version = made(project, BARE, **asked)
    assert (version.labels, version.labelled) == (["no", "yes"], 0)
    changed = operations.change(
        version=version,
        operation="edit",
        options={"changes": [{"row_id": 0, "label": "yes"}]},
        by=project.created_by,
    )
    from projects import jobs

    jobs.ingest_dataset_version(version_id=changed.pk)
    changed.refresh_from_db()
    assert (changed.status, changed.labels, changed.labelled) == ("ready", ["no", "yes"], 1)


def test_the_mapping_page_offers_no_label_weights_and_probabilities(
    project: Project, erin: User
) -> None:
    client = signed_in(erin)
    client.post("/p/intents/datasets/new/", {"file": file_of(SOFT.encode(), "soft.csv")})
    upload = StagedUpload.objects.get()
    address = reverse("projects:dataset_mapping", args=["intents", upload.pk])
    page = client.get(address).content.decode()
    assert 'name="role-weight"' in page
    assert "p_… (2 columns)" in page
    known = ["text", "label", "sure", "p_spam", "p_ham"]
    posted = {
        "name": "soft", "task": "text-classification", "task-was": "text-classification",
        "known": known, "role-text": "text", "role-label": "", "role-weight": "sure",
        "soft-labels": "", "label-names": "spam\nham", "label-was": "label",
    }  # fmt: skip
    seen = client.post(address, posted | {"look": "yes"}).content.decode()
    assert "No column is the label" in seen
    assert "spam\nham</textarea>" in seen
    client.post(address, posted | {"role-label": "label", "soft-labels": "p_"})
    version = DatasetVersion.objects.get()
    assert version.reading["columns"]["weight"] == "sure"
    assert version.reading["columns"]["soft_labels"] == {"spam": "p_spam", "ham": "p_ham"}


def test_pages_of_a_version_without_labels_say_what_to_do(project: Project, erin: User) -> None:
    made(project, BARE, columns={"text": "text", "label": None})
    client = signed_in(erin)
    for tab in ("rows", "labels", "statistics", "issues", "details"):
        page = client.get("/p/intents/datasets/words/1/", {"tab": tab})
        assert page.status_code == 200
        assert "No row has a label yet." in page.content.decode()

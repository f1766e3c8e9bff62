"""From an upload to an immutable version: splits, issues, fingerprint, and failures."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError as DatabaseAway
from django.db import connection
from django.utils import timezone
from kombu.exceptions import OperationalError
from pytest_django import DjangoCaptureOnCommitCallbacks

from distillhub.lib import leases, storage
from distillhub.lib.errors import Conflict, Invalid, Missing, TooLarge
from projects import jobs
from projects.ingest import ingestion, labels, splits
from projects.ingest.formats import BadFile
from projects.models import Dataset, DatasetVersion, Project, StagedUpload, User
from projects.models.dataset import Fixed
from projects.services import datasets, version_rows
from tests.projects.test_ingest_images import archive, picture

TABLE = b"text,label\n" + b"".join(
    b"words number %d,%s\n" % (n, [b"spam", b"ham"][n % 2]) for n in range(100)
)


def file_of(content: bytes | Path, name: str = "words.csv") -> SimpleUploadedFile:
    if isinstance(content, Path):
        return SimpleUploadedFile(content.name, content.read_bytes())
    return SimpleUploadedFile(name, content)


def uploaded(project: Project, content: bytes | Path = TABLE, **more: Any) -> DatasetVersion:
    """The version after a worker has been at it."""
    asked: dict[str, Any] = {"name": "words", "task": "", "by": project.created_by} | more
    version = datasets.upload(project=project, file=file_of(content), **asked)
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    return version


def late(version: DatasetVersion) -> None:
    """The lease of a version has run out."""
    past = timezone.now() - timedelta(seconds=1)
    DatasetVersion.objects.filter(pk=version.pk).update(lease_until=past)


def table_of(version: DatasetVersion) -> Any:
    with datasets.open_file(version=version) as file:
        return pq.read_table(file)


def error_of(version: DatasetVersion) -> dict[str, Any]:
    assert version.error is not None
    error: dict[str, Any] = version.error
    return error


def issues_of(version: DatasetVersion) -> dict[str, int]:
    return {issue["code"]: issue["count"] for issue in version.issues}


def test_an_upload_becomes_a_ready_version(project: Project) -> None:
    version = uploaded(project)
    assert (version.status, version.number, version.rows) == ("ready", 1, 100)
    assert version.labels == ["ham", "spam"]
    assert {name: split["rows"] for name, split in version.splits.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    table = table_of(version)
    assert table.schema.names == ["row_id", "split", "label", "text", "source"]
    assert table["row_id"].to_pylist() == list(range(100))
    assert table["source"][0].as_py() == "2"
    assert len(version.fingerprint) == 64
    assert version.file_sha256 == storage.key(version.file_sha256)[-64:]


def test_splits_are_stratified_and_depend_on_nothing_but_rows_and_seed(project: Project) -> None:
    one, same = uploaded(project), uploaded(project, name="same")
    other = uploaded(project, name="other", splits={"seed": 1})
    for split in ("validation", "test"):
        assert one.splits[split]["label_counts"] == {"ham": 5, "spam": 5}
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_the_fingerprint_is_of_the_rows_and_not_of_how_they_were_written(project: Project) -> None:
    again = TABLE.decode().replace(",", ";").replace("\n", "\r\n").encode("utf-16")
    one = uploaded(project).fingerprint
    assert uploaded(project, again, name="again").fingerprint == one
    changed = TABLE.replace(b"number 7,", b"number 700,")
    assert uploaded(project, changed, name="changed").fingerprint != one


def test_a_test_file_stays_the_test_split(project: Project) -> None:
    test = b"text,label\nunseen words,ham\nmore unseen words,spam\n"
    version = uploaded(project, test_file=file_of(test, "test.csv"))
    assert {name: split["rows"] for name, split in version.splits.items()} == {
        "train": 90,
        "validation": 10,
        "test": 2,
    }
    assert table_of(version)["source"].to_pylist()[-1] == "test.csv:3"


def test_a_split_column_is_kept_as_given(project: Project) -> None:
    content = b"text,label,fold\na,x,train\nb,y,dev\nc,x,test\nd,y,Training\n"
    version = uploaded(
        project, content, columns={"text": "text", "label": "label", "split": "fold"}
    )
    assert table_of(version)["split"].to_pylist() == ["train", "validation", "test", "train"]


def test_many_labels_of_one_row_each_are_divided_too() -> None:
    """Train gets each of them, and once owed other splits more than it had."""
    keys = np.arange(100)
    assigned, _ = splits.assign(np.full(100, splits.NONE), keys, keys, splits.DEFAULT, 0)
    assert (assigned == 0).all()


def test_equal_inputs_never_come_into_different_splits(project: Project) -> None:
    rows = b"".join(b"words %d,%s\n" % (n % 40, b"ab"[n % 2 : n % 2 + 1]) for n in range(400))
    version = uploaded(project, b"text,label\n" + rows)
    assert issues_of(version)["duplicate"] == 360
    assert "leak" not in issues_of(version)


def test_shares_hold_to_a_row_over_many_small_labels() -> None:
    labels = np.arange(1000) % 77
    given = np.full(1000, splits.NONE, dtype=np.int8)
    keys = np.arange(1000)
    assigned, _ = splits.assign(given, labels, keys, splits.DEFAULT, 0)
    counts = Counter(assigned.tolist())
    assert [counts[index] for index in range(3)] == [800, 100, 100]
    for label in range(77):
        assert (assigned[labels == label] == 0).any()


def test_issues_are_counted_and_name_their_rows(project: Project) -> None:
    content = (
        b"text,label,split,note\n"
        b"one,x,train,\n"
        b"one,x,train,k\n"  # duplicate of row 0
        b" one,y,test,\n"  # leak, contradiction, near duplicate
        b"two,,train,\n"  # no label
        b" ,x,train,\n"  # no input: left out
        b"three,z,test,\n"  # a label that train never has
        b"\n"
        b"four, y ,train,\n"
    )
    columns = {"text": "text", "label": "label", "split": "split", "ignored": ["note"]}
    version = uploaded(project, content, columns=columns)
    found = {issue["code"]: issue for issue in version.issues}
    assert found["duplicate"]["rows"] == [1]
    assert found["near_duplicate"]["rows"] == [2]
    assert found["leak"]["rows"] == [2]
    assert found["conflicting_labels"]["rows"] == [0, 1, 2]
    assert found["missing_label"]["rows"] == [3]
    assert found["unseen_label"]["rows"] == [4]
    assert found["empty_input"]["places"] == ["6"]
    assert found["blank_line"]["places"] == ["8"]
    assert found["label_trimmed"]["rows"] == [5]
    assert found["ignored_column"]["places"] == ["note"]
    assert version.issues[0]["severity"] == "error"
    assert version.rows == 6


def test_kept_columns_stand_under_their_own_names_unless_taken(project: Project) -> None:
    content = b"query,category,source,lang\nhello,x,web,en\nbye,y,,de\n"
    version = uploaded(project, content, columns={"text": "query", "label": "category"})
    names = table_of(version).schema.names
    assert names == ["row_id", "split", "label", "text", "source", "original_source", "lang"]
    assert version.statistics["missing"] == {"source": 1, "lang": 0}
    origins = {column["name"]: column.get("from") for column in version.columns}
    assert (origins["text"], origins["original_source"]) == ("query", "source")


def test_statistics_are_exact(project: Project) -> None:
    content = b"text,label\n" + b"".join(b"%s,x%d\n" % (b"w " * n, n % 2) for n in range(1, 101))
    words = uploaded(project, content).statistics["measures"]["words"]
    assert (words["minimum"], words["mean"], words["maximum"]) == (1, 50.5, 100)
    assert words["quantiles"]["50"] == 50
    assert sum(words["histogram"]["counts"]) == 100


def test_pictures_become_a_version(project: Project) -> None:
    colours = [picture(mode="RGB", color=(n, 0, 0)) for n in range(20)]
    content = archive(*((f"{'cd'[n % 2]}/{n}.png", one) for n, one in enumerate(colours)))
    version = uploaded(project, content.getvalue())
    table = table_of(version)
    assert table.schema.names == ["row_id", "split", "label", "image", "source"]
    assert table["image"][3].as_py() == colours[3]
    assert version.statistics["kinds"] == {"RGB": 20}
    assert version.dataset.task == "image-classification"


def test_a_bad_line_fails_the_version_and_leaves_nothing_else(project: Project) -> None:
    content = TABLE + b"x" * (1 << 20) + b",ham\nnow,three,values\n"
    version = uploaded(project, content)
    assert version.status == "failed"
    assert version.error == {
        "code": "bad_file",
        "detail": "Line 103 has 3 values where the header has 2.",
        "line": 103,
    }
    assert (version.file_sha256, version.fingerprint, version.rows) == ("", "", 0)
    assert not list(storage.working_folder("ingesting").iterdir())
    with pytest.raises(Conflict):
        datasets.resolve(project=project, reference="words")


def test_a_bad_line_in_the_beginning_is_refused_at_once(project: Project) -> None:
    with pytest.raises(BadFile, match=r"Line 3 has 1 value where 2|Line 3 has 1 values"):
        uploaded(project, b"text,label\na,x\nb\nc,y\n")
    assert not Dataset.objects.exists()
    assert not StagedUpload.objects.exists()


def test_a_failed_version_can_be_read_differently(project: Project) -> None:
    version = uploaded(project, TABLE + b"x" * (1 << 20) + b",ham\nnow,three,values\n")
    upload = datasets.try_again(version=version, by=project.created_by)
    second = datasets.confirm(
        upload=upload,
        name="words",
        task="text-classification",
        reading={"ragged": "skip"},
        by=project.created_by,
    )
    ingestion.ingest(version_id=second.pk)
    second.refresh_from_db()
    assert (second.number, second.status, second.rows) == (2, "ready", 101)
    assert issues_of(second)["ragged_line"] == 1


def test_a_name_is_free_again_when_all_its_uploads_failed(project: Project) -> None:
    uploaded(project, TABLE + b"x" * (1 << 20) + b",ham\nnow,three,values\n")
    assert uploaded(project).number == 2
    with pytest.raises(Conflict, match="already a dataset"):
        uploaded(project)


def test_too_many_labels_are_not_labels(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_LABELS", 50)
    content = b"text,label\n" + b"".join(b"words,%d\n" % n for n in range(60))
    assert "different labels" in error_of(uploaded(project, content))["detail"]


def test_a_ready_version_refuses_to_become_another(project: Project) -> None:
    version = uploaded(project)
    version.rows = 5
    with pytest.raises(Fixed):
        version.save()
    version.refresh_from_db()
    version.labels = []
    with pytest.raises(Fixed):
        version.save(update_fields=["labels"])
    with pytest.raises(Fixed):
        DatasetVersion.objects.filter(pk=version.pk).update(fingerprint="0" * 64)
    version.refresh_from_db()
    version.save()
    assert version.rows == 100


def test_a_message_that_comes_twice_changes_nothing(project: Project) -> None:
    version = uploaded(project)
    before = DatasetVersion.objects.values().get(pk=version.pk)
    jobs.ingest_dataset_version(version_id=version.pk, added_later=1)
    assert DatasetVersion.objects.values().get(pk=version.pk) == before


def test_only_one_worker_has_the_turn_and_a_silent_one_loses_it(project: Project) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    first = ingestion.claim(version.pk)
    assert first is not None
    assert ingestion.claim(version.pk) is None
    late(version)
    ingestion.ingest(version_id=version.pk)
    with pytest.raises(leases.Fenced):
        first.held.settle(rows=7)
    with pytest.raises(leases.Fenced):
        first.beat("Reading rows", 0.5)
    version.refresh_from_db()
    assert (version.status, version.rows) == ("ready", 100)
    assert (version.attempt, version.times_lost, version.lease_until) == (2, 1, None)


def test_a_report_of_progress_keeps_the_lease(project: Project) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    turn = ingestion.claim(version.pk)
    assert turn is not None
    late(version)
    turn.beat("Reading rows", 0.5)
    assert not DatasetVersion.objects.lost().exists()


def test_a_version_that_kills_its_workers_fails_in_the_end(project: Project) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    for _ in range(ingestion.MOST_LOSSES):
        assert ingestion.claim(version.pk) is not None
        late(version)
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, error_of(version)["code"]) == ("failed", "killed")
    assert "died 5 times" in error_of(version)["detail"]


def test_a_worker_that_leaves_or_is_drained_makes_no_versions(project: Project) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    leases.drained_when(lambda: True)
    try:
        jobs.ingest_dataset_version(version_id=version.pk)
    finally:
        leases.drained_when(None)
    leases.stopping.set()
    try:
        jobs.ingest_dataset_version(version_id=version.pk)
        version.refresh_from_db()
        assert (version.status, version.attempt) == ("ingesting", 0)
        turn = ingestion.claim(version.pk)
        assert turn is not None
        with pytest.raises(leases.GivenBack):
            turn.beat("Reading rows", 0.5)
    finally:
        leases.stopping.clear()


def test_a_version_is_given_back_when_its_worker_has_to_leave(
    project: Project,
) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    read = ingestion.uploaded_rows

    def read_and_be_asked_to_leave(*asked: Any) -> Any:
        leases.stopping.set()
        return read(*asked)

    try:
        ingestion.ingest(version_id=version.pk, source_of=read_and_be_asked_to_leave)
    finally:
        leases.stopping.clear()
    version.refresh_from_db()
    assert (version.status, version.stage, version.times_lost) == ("ingesting", "", 0)
    assert version in DatasetVersion.objects.unclaimed()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.attempt) == ("ready", 2)


@pytest.mark.django_db(transaction=True)
def test_a_version_is_made_once_though_the_database_is_away_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "AGAIN", 0.01)
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    refused: list[str] = []

    def away(execute: Any, sql: str, *rest: Any) -> Any:
        """Three times, from the first report of progress on."""
        if "stage" not in sql or not sql.startswith("UPDATE") or len(refused) == 3:
            return execute(sql, *rest)
        refused.append(sql)
        raise DatabaseAway("the connection is closed")

    with connection.execute_wrapper(away):
        ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert len(refused) == 3
    assert (version.status, version.attempt, version.times_lost) == ("ready", 1, 0)


def test_versions_nobody_works_on_are_sent_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    sent: list[int] = []
    monkeypatch.setattr(jobs, "send_ingestion", sent.append)
    jobs.requeue_ingestions()
    assert sent == []
    long_ago = timezone.now() - timedelta(minutes=5)
    DatasetVersion.objects.filter(pk=version.pk).update(created_at=long_ago)
    jobs.requeue_ingestions()
    ingestion.claim(version.pk)
    jobs.requeue_ingestions()
    late(version)
    jobs.requeue_ingestions()
    assert sent == [version.pk, version.pk]


def test_the_message_is_sent_on_commit_and_a_missing_broker_is_no_error(
    project: Project,
    settings: Any,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(**_: Any) -> None:
        raise OperationalError("no broker")

    monkeypatch.setattr(jobs.ingest_dataset_version, "delay", away)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        version = datasets.upload(
            project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
        )
    assert len(callbacks) == 2  # the version's, and that of the event that tells of the dataset
    assert version.status == "ingesting"


def test_a_damaged_upload_says_so(project: Project) -> None:
    version = datasets.upload(
        project=project, name="words", task="", file=file_of(TABLE), by=project.created_by
    )
    Path(default_storage.path(storage.key(version.source_sha256))).unlink()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert error_of(version)["code"] == "upload_missing"


def test_confirming_twice_is_one_version(project: Project) -> None:
    by = project.created_by
    upload = datasets.stage(project=project, file=file_of(TABLE), name="words.csv", by=by)
    made = [
        datasets.confirm(
            upload=upload, name="words", task="text-classification", reading={}, by=by
        ).pk
        for _ in range(2)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("name", ["a b", "a/b", "a@1", "", "new", "-x", "x" * 101, "a\0b"])
def test_a_name_that_cannot_stand_in_a_reference_is_refused(project: Project, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        uploaded(project, name=name)
    assert "name" in caught.value.fields


def test_a_correction_is_previewed_and_stores_nothing(project: Project) -> None:
    upload = datasets.stage(
        project=project, file=file_of(TABLE), name="words.csv", by=project.created_by
    )
    shown = datasets.read_again(upload=upload, reading={"header": False})
    assert [column["name"] for column in shown["files"][0]["columns"]] == ["column_1", "column_2"]
    assert shown["files"][0]["seen"] == 101
    upload.refresh_from_db()
    assert upload.understood["reading"]["files"][0]["dialect"]["header"] is True
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(
    ("reading", "field"),
    [
        ({"delimitor": ";"}, "reading.delimitor"),
        ({"encoding": "rot13"}, "encoding"),
        ({"splits": {"train": 0.5, "test": 0.6}}, "reading.splits"),
        ({"splits": {"train": float("nan"), "test": 0.5}}, "reading.splits"),
        ({"splits": {"train": "1"}}, "reading.splits"),
        ({"splits": {"train": 0, "test": 1}}, "reading.splits"),
        ({"seed": -1}, "reading.seed"),
        ({"columns": {"text": "nope"}}, "reading.columns.text"),
        ({"columns": {"text": "label", "label": "label"}}, "reading.columns.label"),
        ({"columns": {"colour": "label"}}, "reading.columns"),
        ({"columns": {"text": ["a"]}}, "reading.columns.text"),
        ({"columns": []}, "reading.columns"),
        ({"files": [{"split": "later"}]}, "reading.files"),
        ({"files": 7}, "reading.files"),
        ({"ragged": "ignore"}, "reading.ragged"),
    ],
)
def test_a_wrong_correction_is_refused_at_its_field(
    project: Project, reading: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        uploaded(project, reading=reading)
    assert field in caught.value.fields
    assert not Dataset.objects.exists()


def test_the_largest_upload_is_bounded(project: Project, settings: Any) -> None:
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 0
    with pytest.raises(TooLarge):
        uploaded(project)


def test_rows_are_filtered_and_paged(project: Project) -> None:
    version = uploaded(project, TABLE + b"Needle in hay,ham\n")
    rows, total = version_rows.rows_and_total(version=version, label="spam", offset=10, limit=5)
    assert (total, [row["label"] for row in rows]) == (50, ["spam"] * 5)
    assert rows[0]["row_id"] == 20
    assert version_rows.rows(version=version, q="nEEdle")[0]["row_id"] == 100
    assert version_rows.rows_and_total(version=version, split="test")[1] == 10
    assert version_rows.rows_and_total(version=version, label="nope") == ([], 0)
    assert version_rows.rows(version=version, offset=10**9) == []
    with pytest.raises(Invalid):
        version_rows.rows(version=version, split="later")


def test_a_reference_means_one_ready_version(project: Project, charlie: User) -> None:
    version = uploaded(project)
    newer = uploaded(project, TABLE[:-1], dataset=version.dataset)
    for reference in ("words", "words@latest", "words@2", " words "):
        assert datasets.resolve(project=project, reference=reference) == newer
    assert datasets.resolve(project=project, reference="words@1") == version
    for reference in ("nope", "nope@1", "words@3", "words@999999999"):
        with pytest.raises(Missing):
            datasets.resolve(project=project, reference=reference)
    for reference in ("", "words@one", "words@1@2", "words@٣"):
        with pytest.raises(Invalid):
            datasets.resolve(project=project, reference=reference)


def test_other_projects_datasets_do_not_exist(project: Project, charlie: User) -> None:
    uploaded(project)
    other = Project.objects.create(name="other", slug="other", created_by=charlie)
    with pytest.raises(Missing):
        datasets.resolve(project=other, reference="words@1")


def test_banking77_is_read_whole(project: Project, shared_data: Path) -> None:
    folder = shared_data / "banking77"
    version = uploaded(project, folder / "train.csv", test_file=file_of(folder / "test.csv"))
    assert (version.rows, len(version.labels)) == (13_083, 77)
    assert version.splits["test"]["rows"] == 3_080
    found = issues_of(version)
    assert (found["leak"], found["near_duplicate"], "duplicate" in found) == (6, 11, False)


def test_sms_spam_is_read_whole(project: Project, shared_data: Path) -> None:
    version = uploaded(project, shared_data / "sms_spam" / "spam.csv")
    assert (version.rows, version.labels) == (5_572, ["ham", "spam"])
    assert issues_of(version)["duplicate"] == 403


def test_fashion_mnist_is_read_whole(project: Project, shared_data: Path) -> None:
    version = uploaded(project, shared_data / "fashion_mnist" / "fashion_png_classfolders.zip")
    assert (version.rows, len(version.labels), version.issue_count) == (1500, 10, 0)
    assert version.splits["test"]["rows"] == 500

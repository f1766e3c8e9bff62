"""Datasets of the Hugging Face hub, taken from a small hub on the loopback."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import LazySettings

from distillhub.lib import leases, storage
from distillhub.lib.errors import Conflict, Invalid
from projects.ingest import hub, hub_files, ingestion
from projects.ingest.formats import BadFile
from projects.ingest.hub_files import Listed
from projects.models import DatasetVersion, Project, User
from projects.services import datasets, hub_datasets
from tests.conftest import api_of, signed_in
from tests.engine.hub_server import COMMIT, Hub
from tests.projects.test_dataset_versions import error_of, table_of

BASE = "/api/v1/projects/intents/datasets/"
TEXT = "text-classification"
CARD = """---
license: mit
configs:
- config_name: plain
  default: true
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
- config_name: odd
  data_files: odd/*.jsonl
dataset_info:
- config_name: plain
  features:
  - name: text
    dtype: string
  - name: intent
    dtype:
      class_label:
        names:
          '0': lost card
          '1': top up
  - name: number
    dtype: int64
---
# Words
"""


def parquet(path: Path, begin: int, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = list(range(begin, begin + rows))
    table = pa.table(
        {
            "text": [f"words number {n}" for n in numbers],
            "intent": [n % 2 for n in numbers],
            "number": numbers,
        }
    )
    pq.write_table(table, path)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A repository with a card, two shards for training and one for a test."""
    folder = tmp_path / "words"
    parquet(folder / "data/train-00000-of-00002.parquet", 0, 60)
    parquet(folder / "data/train-00001-of-00002.parquet", 60, 40)
    parquet(folder / "data/test-00000-of-00001.parquet", 100, 20)
    (folder / "README.md").write_text(CARD)
    (folder / "words.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def served(words: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(hub, "PAUSE", 0.01)
    with Hub({}, {"some/words": words}) as server:
        settings.HF_ENDPOINT = server.address
        yield server


def taken(project: Project, asked: dict[str, Any] | None = None, **more: Any) -> DatasetVersion:
    """The version after a worker has been at it."""
    said: dict[str, Any] = {"name": "words", "task": TEXT, "by": project.created_by} | more
    version = hub_datasets.take(project=project, hub={"id": "some/words"} | (asked or {}), **said)
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    return version


def fetched(server: Hub) -> list[str]:
    return [one for one in server.asked if one.startswith("GET") and "/resolve/" in one]


def test_parquet_shards_of_two_splits_become_a_version(project: Project, served: Hub) -> None:
    version = taken(project)
    assert (version.status, version.error) == ("ready", None)
    assert {name: split["rows"] for name, split in version.splits.items()} == {
        "train": 90,
        "validation": 10,
        "test": 20,
    }
    assert version.labels == ["lost card", "top up"]
    table = table_of(version)
    assert table["label"].to_pylist()[:2] == ["lost card", "top up"]
    assert table["source"][0].as_py() == "data/train-00000-of-00002.parquet:1"
    said = version.reading["hub"]
    assert (said["commit"], said["config"], said["left"]) == (COMMIT, "plain", [])
    assert version.told == f"From the hub: some/words at {COMMIT[:12]}"
    assert version.source_bytes == sum(one["bytes"] for one in version.reading["files"])
    assert not any(".py" in one for one in fetched(served))
    assert all(COMMIT in one for one in fetched(served))
    assert list(storage.working_folder(hub.ROOM).iterdir()) == []


def test_rest_takes_it_in_place_of_a_file(project: Project, erin: User, served: Hub) -> None:
    client = api_of(erin)
    body = {"name": "words", "task": TEXT, "hub": {"id": "some/words", "splits": ["test"]}}
    made = client.post(BASE, body, format="json")
    assert made.status_code == 201
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    answer = client.get(f"{BASE}words/versions/1/").json()
    assert (answer["status"], answer["rows"]) == ("ready", 20)
    assert answer["reading"]["hub"]["left"] == ["train"]
    again = client.post(
        f"{BASE}words/versions/", {"hub": json.dumps({"id": "some/words"})}, format="multipart"
    )
    assert (again.status_code, again.data["version"]) == (201, 2)


def test_columns_are_chosen_as_of_a_file(project: Project, served: Hub) -> None:
    version = taken(project, columns={"text": "text", "label": "number", "ignored": ["intent"]})
    assert version.status == "ready"
    assert len(version.labels) == 120


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"hub": {"id": "../etc"}}, "hub.id"),
        ({"hub": {"id": "some/words", "revision": "../x"}}, "hub.revision"),
        ({"hub": {"id": "some/words"}, "task": ""}, "task"),
        ({"hub": {"id": "some/words"}, "task": "juggling"}, "task"),
        ({"hub": {}}, "hub"),
        ({"hub": {"id": "some/words"}, "upload": "0" * 32}, "file"),
    ],
)
def test_what_names_no_dataset_is_refused_by_field(
    project: Project, erin: User, body: dict[str, Any], field: str
) -> None:
    answer = api_of(erin).post(BASE, {"name": "words", "task": TEXT} | body, format="json")
    assert answer.status_code == 400
    assert any(name == field or name.startswith(f"{field}.") for name in answer.data["fields"])
    assert not DatasetVersion.objects.exists()


def test_what_the_hub_does_not_have_is_said_plainly(project: Project, served: Hub) -> None:
    for asked, sentence in (
        ({"id": "some/none"}, "The hub has no public dataset called some/none."),
        ({"revision": "v9"}, "some/words has no revision v9."),
        ({"config": "big"}, "some/words has no configuration called big; there are plain, odd."),
        ({"splits": ["dev"]}, "some/words has no split dev; there are train, test."),
    ):
        version = taken(project, asked)
        assert (version.status, error_of(version)["detail"]) == ("failed", sentence)
        assert fetched(served)[2:] == []  # but for READMEs


def test_a_loading_script_is_never_run(project: Project, served: Hub, words: Path) -> None:
    for path in (*words.glob("data/*"), words / "README.md"):
        path.unlink()
    version = taken(project)
    detail = error_of(version)["detail"]
    assert detail.startswith(
        "some/words holds only a loading script (words.py), which is never run."
    )
    assert "refs/convert/parquet" in detail
    assert fetched(served) == []


def test_what_is_too_large_is_refused_before_a_byte_is_fetched(
    project: Project, served: Hub, words: Path, settings: LazySettings
) -> None:
    (words / "data/test-00000-of-00001.parquet").write_bytes(b"\0" * (1 << 20))
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 1
    version = taken(project)
    assert "at most 1 MiB are taken (DISTILLHUB_MAX_UPLOAD_MIB)" in error_of(version)["detail"]
    assert len(fetched(served)) == 1


def test_too_many_files_are_refused(
    project: Project, served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_FILES", 2)
    assert "its rows in 3 files; at most 2" in error_of(taken(project))["detail"]


def test_a_server_that_cuts_in_the_middle_is_gone_on_with(project: Project, served: Hub) -> None:
    served.cut, served.cuts = 1000, 2
    version = taken(project)
    assert version.status == "ready"
    assert [one for one in fetched(served) if "from 1000" in one]


def test_what_came_before_a_hub_went_away_is_not_fetched_again(
    project: Project, served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ATTEMPTS", 1)
    served.away = "train-00001"
    version = taken(project)
    assert (version.status, error_of(version)["code"]) == ("failed", "hub_away")
    assert [bool(one.get("blob")) for one in version.reading["hub"]["files"]] == [
        *(True, False, False)
    ]
    served.away = " "
    served.asked.clear()
    made = hub_datasets.again(version=version, by=project.created_by)
    ingestion.ingest(version_id=made.pk)
    made.refresh_from_db()
    assert (made.status, made.number) == ("ready", 2)
    assert not any("train-00000" in one or "README" in one for one in served.asked)
    with pytest.raises(Conflict):
        hub_datasets.again(version=made, by=project.created_by)


def test_a_worker_that_leaves_gives_the_version_back_and_the_next_goes_on(
    project: Project, served: Hub
) -> None:
    served.met = lambda line: leases.stopping.set() if "train-00001" in line else None
    try:
        version = taken(project)
    finally:
        leases.stopping.clear()
    assert version.status == "ingesting"
    served.met = lambda line: None
    served.asked.clear()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert version.status == "ready"
    assert not any("train-00000" in one for one in served.asked)


def test_a_file_that_is_not_what_the_hub_says_is_refused(project: Project, served: Hub) -> None:
    served.sha256 = lambda path: "0" * 64
    version = taken(project)
    assert error_of(version)["code"] == "hub_away"
    assert "its sha256 is not what the hub says" in error_of(version)["detail"]


def test_a_task_that_the_files_are_not_for_is_said(project: Project, served: Hub) -> None:
    detail = error_of(taken(project, task="image-classification"))["detail"]
    assert detail.endswith("train-00000-of-00002.parquet holds pictures that can be read.")
    words = served.datasets["some/words"]
    for path in words.glob("data/*.parquet"):
        path.unlink()
    (words / "README.md").unlink()
    (words / "rows.csv").write_text("text,label\na,b\n")
    detail = error_of(taken(project, task="image-classification", name="other"))["detail"]
    assert detail.startswith("Table (CSV, TSV) is for text-classification or")
    assert detail.endswith("not for image-classification.")


def test_it_can_be_read_differently_without_fetching_it_again(
    project: Project, served: Hub
) -> None:
    version = taken(project)
    served.asked.clear()
    upload = datasets.try_again(version=version, by=project.created_by)
    shown = datasets.preview(upload=upload)
    assert list(shown["labels"]) == ["lost card", "top up"]
    made = datasets.confirm(
        upload=upload,
        name="",
        task=TEXT,
        reading={"columns": {"text": "text", "label": "number"}},
        by=project.created_by,
    )
    ingestion.ingest(version_id=made.pk)
    made.refresh_from_db()
    assert (made.status, made.number, len(made.labels)) == ("ready", 2, 120)
    assert made.reading["hub"]["commit"] == COMMIT
    assert served.asked == []


def test_what_came_in_part_is_dropped_after_days(
    project: Project, served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = storage.working_folder(hub.ROOM)
    (room / "half").mkdir()
    (room / "half" / "file.part").write_bytes(b"some")
    hub.forget_old()
    assert (room / "half").exists()
    monkeypatch.setattr(hub, "FORGOTTEN", -60)
    hub.forget_old()
    assert not (room / "half").exists()


def test_real_questions_of_a_hub_are_the_same_rows_as_their_files(
    project: Project, shared_data: Path, tmp_path: Path, settings: LazySettings
) -> None:
    """banking77 as the hub has it: Parquet with numbered classes, whose names the card tells."""
    rows: dict[str, list[list[str]]] = {}
    for split in ("train", "test"):
        with (shared_data / "banking77" / f"{split}.csv").open(newline="") as file:
            rows[split] = list(csv.reader(file))[1::40]
    names = sorted({label for some in rows.values() for _, label in some})
    folder = tmp_path / "banking77"
    (folder / "data").mkdir(parents=True)
    for split, some in rows.items():
        told = {"text": [one[0] for one in some], "label": [names.index(one[1]) for one in some]}
        pq.write_table(pa.table(told), folder / f"data/{split}-00000-of-00001.parquet")
    classes = "".join(f"      '{number}': {name}\n" for number, name in enumerate(names))
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n     class_label:\n"
        f"      names:\n{classes}---\n".replace("      '", "       '")
    )
    with Hub({}, {"PolyAI/banking77": folder}) as server:
        settings.HF_ENDPOINT = server.address
        version = taken(project, {"id": "PolyAI/banking77"}, name="banking77")
    assert (version.status, version.labels) == ("ready", names)
    table = table_of(version)
    assert table["text"].to_pylist() == [one[0] for some in rows.values() for one in some]
    assert table["label"].to_pylist() == [one[1] for some in rows.values() for one in some]


# On pages -------------------------------------------------------------------------------------

NEW = "/p/intents/datasets/new/"


def test_the_page_takes_a_dataset_by_its_id(project: Project, erin: User, served: Hub) -> None:
    client = signed_in(erin)
    page = client.get(NEW).content.decode()
    assert served.address.removeprefix("http://") in page
    asked = {"hub_id": "some/words", "task": TEXT, "hub_splits": "train, test"}
    answer = client.post(NEW, asked)
    version = DatasetVersion.objects.get()
    assert answer.headers["Location"] == "/p/intents/datasets/words/1/"
    assert version.reading["hub"]["splits"] == ["train", "test"]
    assert "From the hub: some/words at main" in client.get("/p/intents/datasets/words/1/").text
    ingestion.ingest(version_id=version.pk)
    page = client.get("/p/intents/datasets/words/1/?tab=details").content.decode()
    assert COMMIT in page
    answer = client.post("/p/intents/datasets/words/new-version/", {"hub_id": "some/words"})
    assert answer.headers["Location"] == "/p/intents/datasets/words/2/"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"hub_id": ""}, "This field is required."),
        ({"hub_id": "a/b/c"}, "Give the id of a dataset, such as PolyAI/banking77."),
        ({"hub_id": "a/b", "task": "juggling"}, "juggling is not one of the available choices."),
        ({"hub_id": "a/b", "hub_revision": "a b"}, "Give a branch, a tag or a commit"),
        ({"hub_id": "a/b", "name": "a@b"}, "Use letters, digits, dots"),
    ],
)
def test_what_the_page_cannot_take_is_said_at_its_field(
    project: Project, erin: User, asked: dict[str, str], sentence: str
) -> None:
    answer = signed_in(erin).post(NEW, {"task": TEXT} | asked)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert not DatasetVersion.objects.exists()


def test_what_could_not_be_fetched_is_asked_for_again(
    project: Project, erin: User, served: Hub
) -> None:
    client = signed_in(erin)
    taken(project, {"id": "some/none"})
    page = client.get("/p/intents/datasets/words/1/").content.decode()
    assert "The hub has no public dataset called some/none." in page
    answer = client.post("/p/intents/datasets/words/1/try-again/")
    assert answer.headers["Location"] == "/p/intents/datasets/words/2/"


# Which files hold the rows --------------------------------------------------------------------


def chosen(paths: list[str], card: str = "", **asked: Any) -> dict[str, str | None]:
    found = hub_files.choose(
        "some/words", [Listed(one, 1) for one in paths], hub_files.card_of(card), **asked
    )
    return {one.file.path: one.split for one in found.files}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["train.csv", "test.csv", "notes.txt"], {"train.csv": "train", "test.csv": "test"}),
        (["data/rows.parquet", "rows.csv"], {"data/rows.parquet": None}),
        (["dev/a.jsonl", "train/a.jsonl"], {"dev/a.jsonl": "validation", "train/a.jsonl": "train"}),
        (["my-eval.json.gz", "my-train.json.gz", "x.json.gz"],
         {"my-eval.json.gz": "test", "my-train.json.gz": "train"}),
        (["data/train_sft-00000-of-00001.parquet", "data/extra-00000-of-00001.parquet"],
         {"data/train_sft-00000-of-00001.parquet": "train"}),
        (["README.md", "LICENSE.txt", "dataset_infos.json", ".x/a.csv", "images.zip"],
         {"images.zip": None}),
    ],
)  # fmt: skip
def test_names_say_which_files_hold_rows_and_of_which_split(
    paths: list[str], expected: dict[str, str | None]
) -> None:
    assert chosen(paths) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("data_files: 'x/*.csv'", {"x/train.csv": "train"}),
        ("data_files: ['x/*.csv', 'y.csv']", {"x/train.csv": "train"}),
        ("data_dir: x", {"x/train.csv": "train"}),
        ("data_files: {train: y.csv, test: '**/b.csv'}",
         {"y.csv": "train", "x/z/b.csv": "test"}),
        ("data_files: [{split: unheard, path: 'y.c[rst]v'}]", {"y.csv": None}),
    ],
)  # fmt: skip
def test_the_card_says_it_where_it_does(told: str, expected: dict[str, str | None]) -> None:
    card = f"---\nconfigs:\n- config_name: default\n  {told}\n---\n"
    assert chosen(["x/train.csv", "x/z/b.csv", "y.csv", "rest.parquet"], card) == expected


def test_converted_rows_have_configurations_as_folders() -> None:
    paths = ["a/train/0000.parquet", "a/test/0000.parquet", "b/train/0000.parquet"]
    at = {"revision": "refs/convert/parquet"}
    assert chosen(paths, config="b", **at) == {"b/train/0000.parquet": "train"}
    with pytest.raises(BadFile, match=r"several configurations: choose one of a, b\."):
        chosen(paths, **at)


@pytest.mark.parametrize(
    ("paths", "card", "asked", "sentence"),
    [
        (["a.bin"], "", {}, "holds no file with rows"),
        (["train/cat/1.png"], "", {}, "holds 1 single pictures or sounds"),
        (["a.csv"], "", {"config": "b"}, "has no configurations"),
        (["a.csv"], "", {"splits": ["b"]}, "has no splits"),
        (["a.csv"], "---\nconfigs: [{config_name: a, data_files: 'b.csv'}]\n---\n", {},
         "has no file like b.csv"),
        (["a.csv"], "---\nconfigs: [{data_files: 'https://x.org/b.csv'}]\n---\n", {},
         "names files outside of it"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_said(
    paths: list[str], card: str, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadFile, match=sentence):
        chosen(paths, card, **asked)


@pytest.mark.parametrize(
    "card", ["", "# Words", "---\na: [\n---\n", "---\n- 1\n---\n", "---\na: &x 1\nb: *x\n---\n"]
)
def test_a_card_that_cannot_be_read_says_nothing(card: str) -> None:
    assert hub_files.card_of(card) == {}


def test_an_id_is_also_understood_as_an_address() -> None:
    said = hub_datasets.asked_for({"id": "https://huggingface.co/datasets/PolyAI/banking77"})
    assert said["id"] == "PolyAI/banking77"
    with pytest.raises(Invalid):
        hub_datasets.asked_for({"id": "a/b/c"})

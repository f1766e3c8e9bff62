"""Running text, prompts with completions, and chats: what networks that write learn from."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from projects.ingest import ingestion, plain_text, registry
from projects.ingest.formats import BadFile, Plan, Row
from projects.models import DatasetVersion, Project, User
from tests.conftest import api_of, signed_in

TEXT = registry.get("plain_text")
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
SPEECH = "".join(
    f"Speaker {number}:\nWords that are said, and a word more.\n\n" for number in range(2000)
)
BASE = "/api/v1/projects/intents/datasets/"


def read(text: str, encoding: str = "utf-8", **plan: Any) -> list[Row]:
    content = io.BytesIO(text.encode(encoding))
    asked = Plan(shares=SHARES, task="text-generation", **plan)
    rows = list(TEXT.rows(content, "x.txt", {"encoding": encoding}, asked))
    return [one for one in rows if isinstance(one, Row)]


def test_pieces_are_the_text_again_and_end_behind_paragraphs() -> None:
    rows = read(SPEECH)
    assert "".join(str(row.input) for row in rows) == SPEECH
    assert all(len(row.input) <= 2 * plain_text.PIECE for row in rows)
    assert all(str(row.input).endswith("\n\n") for row in rows)
    assert rows[0].source == f"0-{len(rows[0].input)}"
    assert rows[1].source.startswith(f"{len(rows[0].input)}-")


@pytest.mark.parametrize("text", ["word " * 3000, "x" * 9000, "line\n" * 3000])
def test_a_text_without_paragraphs_is_cut_at_lines_words_or_anywhere(text: str) -> None:
    pieces = [str(row.input) for row in read(text)]
    assert "".join(pieces) == text
    assert len(pieces) > 3
    if " " in text:
        assert all(piece.endswith(" ") for piece in pieces)


def test_splits_stand_one_after_the_other() -> None:
    splits = [str(row.split) for row in read(SPEECH)]
    assert splits == sorted(splits, key=["train", "validation", "test"].index)
    shares = {one: splits.count(one) / len(splits) for one in SHARES}
    assert shares == pytest.approx(SHARES, abs=0.03)


def test_a_file_beside_a_test_file_keeps_its_end_for_validation() -> None:
    splits = [row.split for row in read(SPEECH, file_split="train", has_test=True)]
    assert set(splits) == {"train", "validation"}
    assert splits.count("validation") == pytest.approx(len(splits) / 9, abs=2)
    assert {row.split for row in read(SPEECH, file_split="test")} == {None}  # the file's own


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_letters_are_letters_in_any_encoding(encoding: str) -> None:
    text = "naïve façade\n\n" * 400
    content = text.encode(encoding)
    dialect = TEXT.sniff(io.BytesIO(content), "x.txt")
    rows = TEXT.rows(io.BytesIO(content), "x.txt", dialect, Plan(shares=SHARES))
    assert "".join(str(row.input) for row in rows if isinstance(row, Row)) == text


def test_a_byte_that_does_not_fit_is_named_by_its_line() -> None:
    content = io.BytesIO(b"good\n" * 3 + b"caf\xe9\n")
    with pytest.raises(BadFile, match="Line 4 is not valid UTF-8"):
        list(TEXT.rows(content, "x.txt", {"encoding": "utf-8"}, Plan(shares=SHARES)))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("speech.txt", SPEECH, "plain_text"),
        ("notes.md", "# Notes\n\nSome words, and more.\n", "plain_text"),
        ("table.txt", "text\tlabel\n" + "good day\ta\n" * 30, "table"),
        ("table.csv", SPEECH, "table"),
    ],
)
def test_a_text_and_a_table_that_is_called_txt_are_told_apart(
    name: str, content: str, found: str
) -> None:
    assert registry.recognise(io.BytesIO(content.encode()), name).key == found


def test_shakespeare_is_running_text(shared_data: Path) -> None:
    path = shared_data / "tinyshakespeare" / "input.txt"
    with path.open("rb") as file:
        assert registry.recognise(file, path.name).key == "plain_text"
        look = TEXT.look(file, path.name, {"encoding": "utf-8"})
        assert look.rows[0][0].startswith("First Citizen:")
        plan = Plan(shares=SHARES, task="text-generation")
        rows = list(TEXT.rows(file, path.name, {"encoding": "utf-8"}, plan))
    assert "".join(str(row.input) for row in rows if isinstance(row, Row)) == path.read_text()


def uploaded(project: Project, erin: User, name: str, content: bytes, **body: Any) -> Any:
    client = api_of(erin)
    file = SimpleUploadedFile(name, content)
    made = client.post(BASE, {"name": "words", "file": file, **body}, format="multipart")
    assert made.status_code == 201, made.data
    for pk in DatasetVersion.objects.ingesting().values_list("pk", flat=True):
        ingestion.ingest(version_id=pk)
    version = client.get(f"{BASE}words/versions/1/").json()
    assert version["status"] == "ready", version["error"]
    return client, version


def test_a_text_becomes_a_dataset_without_labels_whose_pages_open(
    project: Project, erin: User
) -> None:
    client, version = uploaded(project, erin, "speech.txt", SPEECH.encode())
    assert version["labels"] == []
    assert set(version["splits"]) == {"train", "validation", "test"}
    assert version["issues"] == []
    rows = client.get(f"{BASE}words/versions/1/rows/?limit=2").json()["results"]
    assert rows[0]["text"] + rows[1]["text"] == SPEECH[: len(rows[0]["text"] + rows[1]["text"])]
    dataset = DatasetVersion.objects.get().dataset
    assert dataset.task == "text-generation"

    page = signed_in(erin).get("/intents/datasets/words/1/")
    assert page.status_code in (200, 404)


def test_prompts_and_completions_are_found_by_their_names(project: Project, erin: User) -> None:
    lines = ["instruction,output,source"]
    lines += [f"say {number},{number} it is,web" for number in range(40)]
    client, version = uploaded(project, erin, "pairs.csv", "\n".join(lines).encode())
    assert DatasetVersion.objects.get().dataset.task == "text-generation"
    row = client.get(f"{BASE}words/versions/1/rows/?limit=1").json()["results"][0]
    assert (row["prompt"], row["text"]) == ("say 0", "0 it is")
    roles = {column["name"]: column["role"] for column in version["columns"]}
    assert roles["prompt"] == "prompt"
    assert roles["text"] == "input"


def test_reasons_beside_completions_are_kept_by_their_own_name(
    project: Project, erin: User
) -> None:
    lines = ["question,answer,explanation"]
    lines += [f"say {number},{number} it is,because {number}" for number in range(40)]
    client, version = uploaded(project, erin, "pairs.csv", "\n".join(lines).encode())
    row = client.get(f"{BASE}words/versions/1/rows/?limit=1").json()["results"][0]
    assert (row["prompt"], row["text"]) == ("say 0", "0 it is")
    assert row["rationale"] == "because 0"
    roles = {column["name"]: column["role"] for column in version["columns"]}
    assert roles["rationale"] == "rationale"


def test_chats_are_a_column_of_messages(project: Project, erin: User) -> None:
    chat = json.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}])
    cell = '"' + chat.replace('"', '""') + '"'
    content = "id,messages\n" + "\n".join(f"{row},{cell}" for row in range(30))
    client, _ = uploaded(project, erin, "chats.csv", content.encode())
    row = client.get(f"{BASE}words/versions/1/rows/?limit=1").json()["results"][0]
    assert json.loads(row["text"])[1]["content"] == "ho"


def test_the_same_prompt_in_two_splits_is_a_leak_whatever_follows(
    project: Project, erin: User
) -> None:
    lines = ["prompt,completion,split"]
    lines += [f"say {number},x,train" for number in range(20)]
    lines += [f"say {number},y,validation" for number in (3, 50)]
    _, version = uploaded(project, erin, "pairs.csv", "\n".join(lines).encode())
    leaks = [one for one in version["issues"] if one["code"] == "leak"]
    assert [one["count"] for one in leaks] == [1]

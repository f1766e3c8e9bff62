"""Formats on the page that shows how an upload was understood, and through REST."""

import io
import json
import tarfile
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from projects.dataset_forms import suggested_name
from projects.ingest import ingestion, registry
from projects.models import DatasetVersion, Project, User
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_pages import mapping, staged
from tests.projects.test_ingest_audio import sound

JSON = dict[str, Any]
LOOKS = {"HX-Request": "true"}
CHATS = [
    {"messages": [{"role": "user", "content": f"Add {n} and 1."},
                  {"role": "assistant", "content": str(n + 1)}], "source": "a"}
    for n in range(30)
]  # fmt: skip


def lines(rows: list[JSON]) -> SimpleUploadedFile:
    return SimpleUploadedFile(
        "rows.jsonl", "".join(json.dumps(one) + "\n" for one in rows).encode()
    )


def workbook() -> SimpleUploadedFile:
    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.title = "Notes & more"
    book.active.append(["These rows were collected in spring."])
    sheet = book.create_sheet("Data")
    sheet.append(["Questions of customers"])
    sheet.append([])
    sheet.append(["question", "intent", "asked"])
    for n in range(30):
        sheet.append([f"Where is my card number {n}?", ["lost", "late"][n % 2], n])
    book.save(out)
    return SimpleUploadedFile("rows.xlsx", out.getvalue())


def test_a_sheet_is_chosen_and_its_columns_are_guessed_anew(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, file=workbook())
    page = client.get(mapping(upload)).content.decode()
    assert '<option value="Notes &amp; more" selected' in page
    assert 'name="delimiter-0"' not in page
    assert 'name="header-0"' in page
    body = {"known": ["column_1"], "role-text": "column_1", "sheet-0": "Data",
            "sheet-was-0": "Notes & more", "header-0": "yes"}  # fmt: skip
    page = client.post(mapping(upload), body, headers=LOOKS).content.decode()
    assert '<option value="question" selected' in page
    assert '<option value="intent" selected' in page
    assert "about" not in page.partition("</h2>")[2].partition("</div>")[0]
    assert ">Row</th>" in page
    body = {"name": "cards", "task": "text-classification", "known": ["question", "intent"],
            "role-text": "question", "role-label": "intent", "sheet-0": "Data",
            "sheet-was-0": "Data", "header-0": "yes"}  # fmt: skip
    assert client.post(mapping(upload), body).status_code == 302
    version = DatasetVersion.objects.get()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.rows, version.labels) == ("ready", 30, ["late", "lost"])
    above = next(one for one in version.issues if one["code"] == "above_table")
    assert (above["count"], above["places"]) == (1, ["1"])


def test_chats_are_shown_as_such_and_may_be_read_as_plain_rows(
    project: Project, erin: User
) -> None:
    client = signed_in(erin)
    upload = staged(client, file=lines(CHATS))
    page = client.get(mapping(upload)).content.decode()
    assert '<option value="chats" selected>chats</option>' in page
    assert 'name="header-0"' not in page
    assert "Leave out rows that cannot be read" in page
    body = {"known": ["messages", "source"], "role-text": "messages", "task": "text-generation",
            "layout-0": "questions", "layout-was-0": "chats"}  # fmt: skip
    page = client.post(mapping(upload), body, headers=LOOKS).content.decode()
    assert "Line 1 is no chat of a single question." in page
    body["layout-0"] = "plain"
    page = client.post(mapping(upload), body, headers=LOOKS).content.decode()
    assert '<option value="plain" selected' in page


def test_another_list_of_a_document_is_chosen(project: Project, erin: User) -> None:
    client = signed_in(erin)
    rows = [{"text": f"words {n}", "label": "xy"[n % 2]} for n in range(20)]
    content = json.dumps({"old": [{"note": "none"}], "rows": rows}).encode()
    upload = staged(client, file=SimpleUploadedFile("all.json", content))
    body = {"known": ["note"], "at-0": "rows", "at-was-0": "old"}
    page = client.post(mapping(upload), body, headers=LOOKS).content.decode()
    assert '<option value="label" selected' in page
    assert "20 rows" in page


@pytest.mark.parametrize("key", sorted(registry.formats()))
def test_the_upload_page_lets_files_of_every_format_be_chosen(
    key: str, project: Project, erin: User
) -> None:
    page = signed_in(erin).get("/p/intents/datasets/new/").content.decode()
    accepted = page.partition('accept="')[2].partition('"')[0].split(",")
    assert set(registry.get(key).suffixes) <= set(accepted)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Card questions.jsonl.gz", "card-questions"),
        ("answers.parquet", "answers"),
        ("Mappe1.xlsx", "mappe1"),
        ("train.arrow", "fallback"),
    ],
)
def test_a_name_is_suggested_without_the_endings(file: str, name: str) -> None:
    assert suggested_name(file, "fallback") == name


def test_rest_takes_a_sheet_and_a_layout(project: Project, erin: User) -> None:
    api = api_of(erin)
    body = {"name": "cards", "task": "text-classification", "file": workbook(),
            "reading": json.dumps({"sheet": "Data", "header": True})}  # fmt: skip
    answer = api.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert answer.status_code == 201, answer.json()
    reading = DatasetVersion.objects.get().reading
    assert (reading["columns"]["text"], reading["columns"]["label"]) == ("question", "intent")
    body = {"name": "other", "task": "text-classification", "file": workbook(),
            "reading": json.dumps({"sheet": "Nope"})}  # fmt: skip
    answer = api.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert answer.status_code == 400
    assert "There is no sheet 'Nope'" in answer.json()["detail"]


def test_chats_become_a_version_that_networks_learn_to_write_from(
    project: Project, erin: User
) -> None:
    body = {"name": "sums", "task": "text-generation", "file": lines(CHATS)}
    answer = api_of(erin).post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert answer.status_code == 201
    version = DatasetVersion.objects.get()
    ingestion.ingest(version_id=version.pk)
    rows = api_of(erin).get("/api/v1/projects/intents/datasets/sums/versions/1/rows/").json()
    first = rows["results"][0]
    assert json.loads(first["text"]) == CHATS[0]["messages"]
    assert first["source"] == "1"


def test_sounds_of_a_compressed_tar_are_heard_before_it_is_confirmed(
    project: Project, erin: User
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name in ("a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"):
            content = sound(hertz=400 + 10 * len(packed.getnames()))
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    client = signed_in(erin)
    upload = staged(client, file=SimpleUploadedFile("sounds.tar.gz", out.getvalue()))
    address = f"/p/intents/datasets/uploads/{upload.pk}/sounds/0/1/"
    heard = client.get(address)
    assert heard.status_code == 200
    assert heard.headers["Content-Type"].startswith("audio/")


def test_a_version_says_which_sheet_it_was_read_from(project: Project, erin: User) -> None:
    body = {"name": "cards", "task": "text-classification", "file": workbook(),
            "reading": json.dumps({"sheet": "Data", "header": True})}  # fmt: skip
    api_of(erin).post("/api/v1/projects/intents/datasets/", body, format="multipart")
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    page = signed_in(erin).get("/p/intents/datasets/cards/1/?tab=details").content.decode()
    assert "<dt>Sheet</dt><dd>Data</dd>" in page

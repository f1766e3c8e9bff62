"""Pages and REST of sounds, tables, several labels and numbers."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from projects.ingest import ingestion
from projects.models import DatasetVersion, Project, StagedUpload, User
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of, uploaded
from tests.projects.test_ingest_audio import sound
from tests.projects.test_ingest_features import FILMS, PEOPLE, SCORES
from tests.projects.test_ingest_images import archive

NEW = "/p/intents/datasets/new/"
DIGITS = archive(*((f"{'ab'[n % 2]}/{n}.wav", sound(0.1, hertz=300 + n)) for n in range(20)))
TAGGED = b"".join(
    b'{"tokens": ["Ada", "King", "saw", "Rome", "%d"], "ner_tags": [1, 2, 0, 3, 0]}\n' % n
    for n in range(40)
)
TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
KINDS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "digits": (DIGITS.getvalue(), {}),
    "people": (PEOPLE, {}),
    "films": (FILMS, {"problem": "multi_label"}),
    "scores": (SCORES, {"problem": "regression"}),
    "tagged": (TAGGED, {"reading": {"tag_names": TAGS}}),
    "meanings": (FILMS, {"task": "feature-extraction"}),
}


def staged(client: Client, content: bytes, name: str) -> StagedUpload:
    response = client.post(NEW, {"file": file_of(content, name)})
    assert response.status_code == 302
    return StagedUpload.objects.get(pk=response.headers["Location"].rstrip("/").rsplit("/", 1)[1])


def mapping(upload: StagedUpload) -> str:
    return reverse("projects:dataset_mapping", args=["intents", upload.pk])


@pytest.mark.parametrize("kind", KINDS)
def test_every_tab_shows_every_kind_of_data(project: Project, vera: User, kind: str) -> None:
    content, more = KINDS[kind]
    uploaded(project, content, name=kind, **more)
    client = signed_in(vera)
    for tab in ("rows", "labels", "statistics", "issues", "details"):
        response = client.get(f"/p/intents/datasets/{kind}/1/?tab={tab}")
        assert response.status_code == 200, tab
    assert client.get("/p/intents/datasets/").status_code == 200
    assert client.get(f"/p/intents/datasets/{kind}/1/?q=a&split=train").status_code == 200


def test_rows_of_sounds_have_players(project: Project, vera: User) -> None:
    uploaded(project, DIGITS.getvalue(), name="digits")
    client = signed_in(vera)
    page = client.get("/p/intents/datasets/digits/1/").content.decode()
    address = "/p/intents/datasets/digits/1/rows/3/sound/"
    assert f'src="{address}"' in page
    assert "0.10 s" in page
    whole = client.get(address)
    assert whole.headers["Content-Type"] == "audio/wav"
    assert whole.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert whole.content[:4] == b"RIFF"
    assert "media-src 'self'" in client.get("/account/").headers["Content-Security-Policy"]
    drawing = client.get("/p/intents/datasets/digits/1/rows/3/waveform/")
    assert f'src="{drawing.request["PATH_INFO"]}"' in page
    assert drawing.headers["Content-Type"] == "image/svg+xml"
    assert drawing.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert drawing.content.startswith(b"<svg ")
    assert client.get("/p/intents/datasets/digits/1/rows/99/waveform/").status_code == 404


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-50", slice(-50, None)),
        ("bytes=10-999999", slice(10, None)),
        ("bytes=5-2", None),
        ("bytes=9999999-", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("lines=1-2", None),
    ],
)
def test_players_may_ask_for_a_part(
    project: Project, vera: User, asked: str, part: slice | None
) -> None:
    uploaded(project, DIGITS.getvalue(), name="digits")
    client = signed_in(vera)
    address = "/p/intents/datasets/digits/1/rows/0/sound/"
    whole = client.get(address).content
    response = client.get(address, headers={"Range": asked})
    assert response.status_code == (200 if part is None else 206)
    assert response.content == (whole if part is None else whole[part])
    if part is not None:
        first = range(len(whole))[part][0]
        said = f"bytes {first}-{first + len(response.content) - 1}/{len(whole)}"
        assert response.headers["Content-Range"] == said


def test_an_upload_of_sounds_is_heard_before_it_is_confirmed(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, DIGITS.getvalue(), "digits.zip")
    page = client.get(mapping(upload)).content.decode()
    address = f"/p/intents/datasets/uploads/{upload.pk}/sounds/0/1/"
    assert f'src="{address}"' in page
    assert client.get(address).content[:4] == b"RIFF"
    assert f'src="{address}waveform/"' in page
    assert client.get(f"{address}waveform/").content.startswith(b"<svg ")
    for wrong in ("0/99", "1/0"):
        gone = f"/p/intents/datasets/uploads/{upload.pk}/sounds/{wrong}/"
        assert client.get(gone).status_code == 404
        assert client.get(f"{gone}waveform/").status_code == 404
    text = staged(client, FILMS, "films.csv")
    assert client.get(f"/p/intents/datasets/uploads/{text.pk}/sounds/0/0/").status_code == 404


def posted(upload: StagedUpload, **changes: str) -> dict[str, Any]:
    """What the mapping page of PEOPLE posts."""
    body: dict[str, Any] = {
        "name": "people", "task": "tabular-classification", "task-was": "tabular-classification",
        "known": ["id", "age", "work", "city", "income"], "role-label": "income",
        "label-was": "income", "problem": "single_label", "use-0": "kept", "use-1": "numeric",
        "use-2": "categorical", "use-3": "categorical",
    }  # fmt: skip
    return body | changes


def test_columns_of_a_table_are_given_uses(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, PEOPLE, "people.csv")
    page = client.get(mapping(upload)).content.decode()
    assert 'id="use-1"' in page
    assert "learn from, as a number" in page
    body = posted(upload, **{"use-1": "categorical", "use-3": "ignored"})
    assert client.post(mapping(upload), body).status_code == 302
    version = DatasetVersion.objects.get()
    assert version.reading["columns"]["features"] == {"age": "categorical", "work": "categorical"}
    assert version.reading["columns"]["ignored"] == ["city"]
    assert version.reading["others"] == ["id"]
    assert version.dataset.task == "tabular-classification"


def test_another_label_has_its_kind_guessed_and_frees_the_one_before(
    project: Project, erin: User
) -> None:
    client = signed_in(erin)
    content = b"a,size,y\n" + b"".join(b"%d,%.2f,%d\n" % (n % 4, n / 7, n % 2) for n in range(80))
    upload = staged(client, content, "sizes.csv")
    body = {
        "name": "sizes", "task": "tabular-classification", "task-was": "tabular-classification",
        "known": ["a", "size", "y"], "role-label": "size", "label-was": "y",
        "problem": "single_label", "use-0": "numeric", "use-1": "numeric",
    }  # fmt: skip
    page = client.post(mapping(upload), body, headers={"HX-Request": "true"}).content.decode()
    assert '<option value="regression" selected>' in page
    assert 'id="use-2"' in page
    assert client.post(mapping(upload), body).status_code == 302
    version = DatasetVersion.objects.get()
    assert version.problem == "regression"
    assert version.reading["columns"]["features"] == {"a": "numeric", "y": "numeric"}


def test_a_table_is_looked_at_as_texts_and_back(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, PEOPLE, "people.csv")
    looks = {"HX-Request": "true"}
    body = posted(upload, task="text-classification")
    page = client.post(mapping(upload), body, headers=looks).content.decode()
    assert 'id="role-text"' in page
    assert 'id="use-1"' not in page
    back = {
        "task": "tabular-classification", "task-was": "text-classification", "role-text": "work",
        "known": ["id", "age", "work", "city", "income"], "role-label": "income",
        "label-was": "income", "keep": ["id", "age", "city"],
    }  # fmt: skip
    page = client.post(mapping(upload), back, headers=looks).content.decode()
    assert 'id="use-2"' in page


def test_several_labels_are_chosen_and_shown(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, FILMS, "films.csv")
    body = {
        "name": "films", "task": "text-classification", "task-was": "text-classification",
        "known": ["text", "genres"], "role-text": "text", "role-label": "genres",
        "label-was": "genres", "problem": "multi_label", "separator": "|",
    }  # fmt: skip
    page = client.post(mapping(upload), body, headers={"HX-Request": "true"}).content.decode()
    assert 'id="separator"' in page
    assert '<span class="cut" title="comedy">comedy</span>' in page
    assert client.post(mapping(upload), body).status_code == 302
    assert DatasetVersion.objects.get().separator == "|"


def test_rest_says_what_labels_are_and_takes_it(project: Project, erin: User) -> None:
    client = api_of(erin)
    address = "/api/v1/projects/intents/datasets/"
    made = client.post(
        address,
        {"name": "people", "file": file_of(PEOPLE), "task": "tabular-classification",
         "columns": '{"label": "age", "features": {"work": "categorical", "city": null}}',
         "problem": "regression"},
        format="multipart",
    )  # fmt: skip
    assert made.status_code == 201, made.json()
    assert made.json()["problem"] == "regression"
    ingestion.ingest(version_id=DatasetVersion.objects.get().pk)
    version = client.get(f"{address}people/versions/1/").json()
    assert version["features"] == {"work": "categorical", "city": "categorical"}
    assert version["labels"] == []
    assert version["statistics"]["label"]["minimum"] == 20.0
    row = client.get(f"{address}people/versions/1/rows/?limit=1").json()["results"][0]
    assert (row["work"], row["label"]) == ("office", "20")
    wrong = client.post(
        address, {"name": "x", "file": file_of(PEOPLE), "problem": "ranking"}, format="multipart"
    )
    assert wrong.status_code == 400
    assert "problem" in wrong.json()["fields"]


def test_rest_serves_sounds(project: Project, vera: User) -> None:
    uploaded(project, DIGITS.getvalue(), name="digits")
    client = api_of(vera)
    address = "/api/v1/projects/intents/datasets/digits/versions/1/rows/"
    rows = client.get(f"{address}?limit=2").json()
    assert rows["results"][0]["seconds"] == 0.1
    assert client.get(rows["results"][0]["audio"]).headers["Content-Type"] == "audio/wav"
    assert client.get(f"{address}99/sound/").status_code == 404


def test_a_next_version_must_be_of_the_same_task(project: Project, erin: User) -> None:
    uploaded(project, DIGITS.getvalue(), name="digits")
    response = api_of(erin).post(
        "/api/v1/projects/intents/datasets/digits/versions/",
        {"file": file_of(PEOPLE)},
        format="multipart",
    )
    assert response.status_code == 400
    assert "is for audio-classification" in response.json()["detail"]


def test_words_are_shown_in_the_colours_of_their_tags(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, TAGGED, "people.jsonl")
    page = client.get(mapping(upload)).content.decode()
    assert "The tags are numbers." in page
    assert 'id="tag-names"' in page
    body = {
        "name": "people", "task": "token-classification", "task-was": "token-classification",
        "known": ["tokens", "ner_tags"], "role-text": "tokens", "role-label": "ner_tags",
        "label-was": "ner_tags", "tag-names": " ".join(TAGS),
    }  # fmt: skip
    page = client.post(mapping(upload), body, headers={"HX-Request": "true"}).content.decode()
    assert "The tags are numbers." not in page
    person = '<span class="entity entity-1">Ada King<span class="entity-kind">PER</span></span>'
    assert person in page
    assert client.post(mapping(upload), body).status_code == 302
    version = DatasetVersion.objects.get()
    ingestion.ingest(version_id=version.pk)
    page = client.get("/p/intents/datasets/people/1/").content.decode()
    assert person in page
    assert '<span class="entity entity-0">Rome<span class="entity-kind">LOC</span></span>' in page
    assert client.get("/p/intents/datasets/people/1/?label=I-PER").content.decode().count(person)
    labels = client.get("/p/intents/datasets/people/1/?tab=labels").content.decode()
    assert "Words" in labels
    assert '<td class="num">80</td>' in labels  # of O: two in each of forty rows


def test_texts_alone_are_enough_for_embeddings(project: Project, erin: User) -> None:
    client = signed_in(erin)
    content = b"text\n" + b"".join(b"a sentence about %d\n" % n for n in range(40))
    upload = staged(client, content, "sentences.csv")
    body = {
        "name": "sentences", "task": "feature-extraction", "task-was": "text-classification",
        "known": ["text"], "role-text": "text", "role-label": "", "label-was": "",
    }  # fmt: skip
    page = client.post(mapping(upload), body, headers={"HX-Request": "true"}).content.decode()
    assert 'id="role-label"' not in page
    assert client.post(mapping(upload), body).status_code == 302
    version = DatasetVersion.objects.get()
    ingestion.ingest(version_id=version.pk)
    version.refresh_from_db()
    assert (version.status, version.dataset.task) == ("ready", "feature-extraction")
    assert [one["code"] for one in version.issues] == []
    page = client.get("/p/intents/datasets/sentences/1/").content.decode()
    assert "with a label" not in page


def test_another_task_forgets_roles_it_has_no_use_for(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, FILMS, "films.csv")
    looks = {"HX-Request": "true"}
    body = {
        "name": "films", "task": "text-generation", "task-was": "text-classification",
        "known": ["text", "genres"], "role-text": "text", "role-label": "genres",
        "label-was": "genres",
    }  # fmt: skip
    page = client.post(mapping(upload), body, headers=looks).content.decode()
    assert 'id="role-prompt"' in page
    assert "is no role" not in page
    prompted = body | {"task-was": "text-generation", "role-prompt": "genres"}
    page = client.post(mapping(upload), prompted, headers=looks).content.decode()
    assert '<option value="genres" selected>' in page

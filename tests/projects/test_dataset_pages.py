"""The pages of datasets, without a browser."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from projects.dataset_forms import suggested_name
from projects.ingest import ingestion
from projects.models import DatasetVersion, Project, StagedUpload, User
from projects.views import dataset_charts
from tests.conftest import signed_in
from tests.projects.test_dataset_versions import TABLE, file_of, uploaded
from tests.projects.test_ingest_images import archive, picture

NEW = "/p/intents/datasets/new/"


def staged(client: Client, **files: Any) -> StagedUpload:
    response = client.post(NEW, {"file": file_of(TABLE)} | files)
    assert response.status_code == 302
    return StagedUpload.objects.get(pk=response.headers["Location"].rstrip("/").rsplit("/", 1)[1])


def mapping(upload: StagedUpload) -> str:
    return reverse("projects:dataset_mapping", args=["intents", upload.pk])


def test_a_plain_form_leads_to_the_mapping_and_to_a_version(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, test_file=file_of(b"text,label\nx,ham\ny,spam\n", "test.csv"))
    page = client.get(mapping(upload)).content.decode()
    assert "words number 1" in page
    assert "test.csv" in page
    body = {"name": "words", "task": "text-classification", "known": ["text", "label"],
            "role-text": "text", "role-label": "label",
            "split-0": "train", "split-1": "test"}  # fmt: skip
    response = client.post(mapping(upload), body)
    version = DatasetVersion.objects.get()
    assert response.headers["Location"] == "/p/intents/datasets/words/1/"
    polled = client.get(response.headers["Location"], headers={"HX-Target": "ingestion"})
    assert b"Waiting for a worker" in polled.content
    ingestion.ingest(version_id=version.pk)
    done = client.get(response.headers["Location"], headers={"HX-Target": "ingestion"})
    assert done.headers["HX-Refresh"] == "true"
    version.refresh_from_db()
    assert version.splits["test"]["rows"] == 2


def test_the_script_gets_an_address_or_a_sentence(project: Project, erin: User) -> None:
    client = signed_in(erin)
    headers = {"X-Requested-With": "XMLHttpRequest"}
    good = client.post(NEW, {"file": file_of(TABLE)}, headers=headers)
    assert good.json()["location"].startswith("/p/intents/datasets/uploads/")
    bad = client.post(NEW, {"file": file_of(b"\x1f\x8b\x08", "x.csv")}, headers=headers)
    assert bad.status_code == 400
    assert "gzip" in bad.json()["detail"]


def test_a_change_is_shown_and_stores_nothing(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client)
    body = {"known": ["text", "label"], "header-0": "no", "role-text": "text"}
    page = client.post(mapping(upload), body, headers={"HX-Request": "true"}).content.decode()
    assert "column_1" in page
    assert "<html" not in page
    assert not DatasetVersion.objects.exists()


def test_broken_lines_stop_until_they_are_to_be_left_out(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, file=file_of(TABLE + b"now,three,values\n"))
    body = {"known": ["text", "label"], "role-text": "text", "role-label": "label"}
    button = '<button class="btn btn-primary w-100" type="submit"{}>'
    looks = {"HX-Request": "true"}
    stopped = client.post(mapping(upload), body, headers=looks).content.decode()
    assert button.format(" disabled") in stopped
    assert "Line 102 has 3 values" in stopped
    free = client.post(mapping(upload), body | {"ragged": "skip"}, headers=looks).content.decode()
    assert button.format("") in free


def test_a_wrong_name_stands_at_its_field(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client)
    body = {"name": "a b", "task": "text-classification"}
    page = client.post(mapping(upload), body).content.decode()
    assert "Use letters, digits" in page
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"encoding-0": "rot13"},
        {"share-train": "nan", "share-validation": "x", "share-test": "1e999", "seed": "1.5e300"},
        {"known": ["x"] * 300, "role-text": "a\tb", "keep": ["?"]},
        {"split-0": "later"},
    ],
)
def test_nonsense_in_the_mapping_is_a_sentence(
    project: Project, erin: User, body: dict[str, Any]
) -> None:
    client = signed_in(erin)
    upload = staged(client)
    for headers in ({}, {"HX-Request": "true"}):
        body = {"name": "words", "task": "text-classification"} | body
        assert client.post(mapping(upload), body, headers=headers).status_code in {200, 302}


@pytest.mark.parametrize("name", ["delimiter-0", "role-text"])
def test_a_nul_in_the_mapping_is_refused(project: Project, erin: User, name: str) -> None:
    client = signed_in(erin)
    body = {"name": "words", "task": "text-classification", name: "a\0b"}
    refused = client.post(mapping(staged(client)), body)
    assert (refused.status_code, b"NUL character" in refused.content) == (400, True)


@pytest.mark.parametrize("tab", ["rows", "labels", "statistics", "issues", "details", "nonsense"])
def test_every_tab_shows_texts_and_pictures(
    project: Project, vera: User, tab: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    evil = TABLE + b"<script>alert(1)</script>,<b>bold</b>\n ,ham\nwords number 1,ham\n"
    uploaded(project, evil)
    pictures = archive(*((f"{'ab'[n % 2]}/{n}.png", picture(color=n)) for n in range(20)))
    uploaded(project, pictures.getvalue(), name="pictures")
    client = signed_in(vera)
    for name in ("words", "pictures"):
        with django_assert_max_num_queries(15):
            response = client.get(f"/p/intents/datasets/{name}/1/?tab={tab}")
        assert response.status_code == 200
        assert b"<script>alert" not in response.content
        assert b"<b>bold" not in response.content


@pytest.mark.parametrize(
    "query",
    ["q=NUMBER+7", "split=test", "label=spam", "page=99", "page=x", "split=later", "issue=nope",
     "label=%F0%9F%98%80", "page=-1", "issue=duplicate"],
)  # fmt: skip
def test_any_filter_gives_a_page(project: Project, vera: User, query: str) -> None:
    uploaded(project, TABLE + b"words number 1,ham\n")
    response = signed_in(vera).get(f"/p/intents/datasets/words/1/?{query}")
    assert response.status_code == 200


def test_a_failed_version_says_why_and_offers_a_way_on(project: Project, erin: User) -> None:
    uploaded(project, TABLE + b"x" * (1 << 20) + b",ham\nnow,three,values\n")
    client = signed_in(erin)
    page = client.get("/p/intents/datasets/words/1/").content.decode()
    assert "Line 103 has 3 values" in page
    response = client.post("/p/intents/datasets/words/1/try-again/")
    upload = StagedUpload.objects.filter(dataset__name="words").get()
    assert response.headers["Location"] == mapping(upload)
    assert "Next version of words" in client.get(mapping(upload)).content.decode()


def test_the_list_costs_the_same_however_long(
    project: Project, vera: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = signed_in(vera)
    assert b"No datasets yet" in client.get("/p/intents/datasets/").content
    for number in range(12):
        uploaded(project, name=f"words-{number}")
    with django_assert_max_num_queries(12):
        page = client.get("/p/intents/datasets/").content.decode()
    assert page.count("row-name") >= 12


def test_the_newest_version_has_a_lasting_address(project: Project, vera: User) -> None:
    version = uploaded(project)
    uploaded(project, dataset=version.dataset)
    response = signed_in(vera).get("/p/intents/datasets/words/")
    assert response.headers["Location"] == "/p/intents/datasets/words/2/"


def test_a_foreign_upload_does_not_exist(project: Project, erin: User, charlie: User) -> None:
    upload = staged(signed_in(erin))
    other = Project.objects.create(name="o", slug="other", created_by=charlie)
    other.memberships.create(user=charlie, role="owner")
    address = reverse("projects:dataset_mapping", args=["other", upload.pk])
    assert signed_in(charlie).get(address).status_code == 404
    assert signed_in(charlie).get(mapping(upload)).status_code == 404


def test_discarding_forgets_the_upload(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client)
    client.post(reverse("projects:dataset_discard", args=["intents", upload.pk]))
    assert not StagedUpload.objects.exists()
    assert client.get(mapping(upload)).status_code == 404


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Customer Questions.csv", "customer-questions"),
        ("train.csv", "intents"),
        ("data.zip", "intents"),
        ("../../etc/passwd", "etc-passwd"),
        ("…", "intents"),
        ("x.csv.zip", "x"),
    ],
)
def test_a_name_is_suggested(file: str, name: str) -> None:
    assert suggested_name(file, "intents") == name


def test_charts_are_what_plotly_understands(project: Project) -> None:
    from plotly import graph_objects

    version = uploaded(project, TABLE + b"other,<b>x</b>\n")
    figure, height = dataset_charts.labels(version)
    assert height >= 160
    assert "&lt;b&gt;x&lt;/b&gt;" in figure["data"][0]["y"]
    facts = version.statistics["measures"]["words"]["histogram"]
    for one in (figure, dataset_charts.histogram(facts["edges"], facts["counts"], "words")):
        graph_objects.Figure(one).to_plotly_json()

"""The pages of reviews: the same without scripts, and what each kind of row looks like."""

import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from projects.models import Project, Review, ReviewQueue, User
from projects.services import reviews
from tests.conftest import api_of, signed_in
from tests.projects.test_ingest_images import archive, picture
from tests.projects.test_operations import latest, make_all, upload
from tests.projects.test_reviews import SURE

PAGE = "/p/intents/reviews/"
NEW = "/p/intents/datasets/words/1/review/"


@pytest.fixture
def client(project: Project, erin: User) -> Client:
    upload(api_of(erin), SURE)
    return signed_in(erin)


def begin(client: Client, **asked: Any) -> str:
    """The address of the page on which its rows are looked at."""
    sent = {"kind": "labels", "how": "first", "many": 3, "reviews_per_row": 1, "seed": 0} | asked
    answer = client.post(NEW, sent)
    assert answer.status_code == 302, answer.content.decode()
    return str(answer.headers["Location"])


def rows_on(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'data-row="(\d+)"', page)]


def test_labels_are_reviewed_with_buttons_alone(client: Client, erin: User) -> None:
    address = begin(client)
    first, second, third = rows_on(client.get(address).content.decode())
    queue = ReviewQueue.objects.get()
    label = queue.items.get(row_id=second).label
    other = "no" if label == "yes" else "yes"
    for row, said in (
        (first, {"verdict": "accept", "note": "sure", "seconds": "1.5"}),
        (second, {"label": other}),
        (third, {"verdict": "label", "label": str(queue.items.get(row_id=third).label)}),
    ):
        assert client.post(address, {"row_id": row} | said).status_code == 302
    told = {one.item.row_id: (one.verdict, one.label) for one in reviews.given(queue)}
    assert told == {first: ("accept", None), second: ("correct", other), third: ("accept", None)}
    assert Review.objects.get(item__row_id=first).seconds == 1.5
    assert "Nothing is left for you" in client.get(address).content.decode()
    assert client.post(address, {"verdict": "undo"}).status_code == 302
    assert rows_on(client.get(address).content.decode()) == [third]

    detail = f"{PAGE}{queue.pk}/"
    assert "sure" in client.get(detail).content.decode()
    closed = client.post(f"{detail}close/", {"winner": "majority"})
    assert closed.headers["Location"] == "/p/intents/datasets/words/2/"
    make_all()
    assert latest().told == "1 row corrected by 1 reviewer"
    assert client.get(address).headers["Location"] == detail


def test_the_script_gets_rows_and_sentences_instead_of_pages(client: Client) -> None:
    address = begin(client, many=5)
    first, *_ = rows_on(client.get(address).content.decode())
    script = {"HX-Target": "review"}
    answer = client.post(address, {"row_id": first, "verdict": "skip"}, headers=script)
    page = answer.content.decode()
    assert "<html" not in page
    assert first not in rows_on(page)
    assert "1 of 5 reviews" in page
    wrong = client.post(address, {"row_id": first, "label": "maybe"}, headers=script)
    assert (wrong.status_code, wrong.content.decode()) == (
        400,
        "There is no label 'maybe' in this dataset.",
    )
    assert client.post(address, {"row_id": "x"}, headers=script).status_code == 400


def test_a_blind_page_shows_no_label(client: Client) -> None:
    page = client.get(begin(client, blind="on")).content.decode()
    assert "It is right" not in page
    assert 'class="btn at"' not in page


def test_sides_are_columns_whichever_stood_left(client: Client) -> None:
    address = begin(client, kind="compare", first="text", second="other", many=20, seed=3)
    seen = set()
    for _ in range(8):
        row, *_ = rows_on(client.get(address).content.decode())
        client.post(address, {"row_id": row, "side": "left"})
        review = Review.objects.select_related("item").get(item__row_id=row)
        assert review.chosen == ("b" if review.item.is_swapped else "a")
        seen.add(review.chosen)
    assert seen == {"a", "b"}


def test_what_cannot_be_chosen_is_said_at_its_field(client: Client) -> None:
    sent = {"kind": "labels", "how": "disagreement", "many": 3, "reviews_per_row": 1, "seed": 0}
    answer = client.post(NEW, sent)
    assert answer.status_code == 400
    assert "Name the two columns" in answer.content.decode()
    nowhere = client.post(NEW, sent | {"how": "first", "label": "maybe"})
    assert nowhere.status_code == 400
    assert "No row is like that" in nowhere.content.decode()


def test_pictures_and_words_with_tags_and_tables_are_shown_large(
    project: Project, erin: User
) -> None:
    api, client = api_of(erin), signed_in(erin)
    base = "/api/v1/projects/intents/datasets/"
    pictures = archive(*((f"{n % 2}/{n}.png", picture(color=n)) for n in range(12)))
    tags = "".join(f"Ada B-PER\nwrote {n} O\n\n".replace(f" {n}", f"{n}") for n in range(12))
    for name, task, content, file in (
        ("shots", "image-classification", pictures.getvalue(), "shots.zip"),
        ("tags", "token-classification", tags.encode(), "tags.conll"),
        (
            "cells",
            "tabular-classification",
            ("size,weight,label\n" + "".join(f"{n},{n * 2},{n % 2}\n" for n in range(12))).encode(),
            "cells.csv",
        ),
    ):
        body = {"file": SimpleUploadedFile(file, content), "name": name, "task": task}
        if name == "cells":
            body["columns"] = json.dumps({"label": "label", "features": ["size", "weight"]})
        made = api.post(base, body, format="multipart")
        assert made.status_code == 201, made.content
        make_all()
        queue = reviews.create(version=latest(name), name="", kind="labels", how="first", by=erin)
        page = client.get(f"{PAGE}{queue.pk}/rows/").content.decode()
        shown = {"shots": "review-picture", "tags": 'class="tagged"', "cells": "<dt>size</dt>"}
        assert shown[name] in page, name


def test_pages_of_reviews_ask_the_database_little(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(4):
        address = begin(client, many=20)
    for _ in range(3):
        row, *_ = rows_on(client.get(address).content.decode())
        client.post(address, {"row_id": row, "verdict": "accept"})
    with django_assert_max_num_queries(10):
        client.get(PAGE)
    with django_assert_max_num_queries(16):
        client.get(f"{PAGE}{ReviewQueue.objects.latest('pk').pk}/")
    with django_assert_max_num_queries(32):
        client.get(address)


def test_a_version_and_its_issues_lead_to_a_review(client: Client) -> None:
    version = "/p/intents/datasets/words/1/"
    assert f'href="{NEW}"' in client.get(version).content.decode()
    upload(api_of(User.objects.get(username="erin")), SURE + SURE.split("\n", 1)[1], "twice")
    issues = client.get("/p/intents/datasets/twice/1/?tab=issues").content.decode()
    found = re.findall(r'href="([^"]+review/\?issue=[a-z_]+)"', issues)
    assert found
    page = client.get(found[0]).content.decode()
    code = found[0].rpartition("=")[2]
    assert re.search(rf'<option value="{code}" selected>', page)


def test_an_owner_deletes_a_review(client: Client, alice: User) -> None:
    begin(client)
    queue = ReviewQueue.objects.get()
    assert client.post(f"{PAGE}{queue.pk}/delete/").status_code == 403
    assert signed_in(alice).post(f"{PAGE}{queue.pk}/delete/").status_code == 302
    assert not ReviewQueue.objects.exists()


def test_an_answer_is_said_anew_on_a_page_of_its_own(client: Client, erin: User) -> None:
    address = begin(client, how="first", many="2")
    (first, _) = rows_on(client.get(address).content.decode())
    client.post(address, {"row_id": first, "verdict": "accept"})
    detail = address.removesuffix("rows/")
    shown = client.get(detail).content.decode()
    assert "What you said" in shown
    again = f"{address}{first}/"
    assert again in shown
    page = client.get(again).content.decode()
    assert "you said <b>right: " in page
    assert "Undo" not in page
    label = Review.objects.get(item__row_id=first).item.label
    other = "no" if label == "yes" else "yes"
    answer = client.post(again, {"row_id": first, "label": other, "note": "looked twice"})
    assert answer.status_code == 302
    review = Review.objects.get(item__row_id=first, person=erin)
    assert (review.verdict, review.label, review.note) == ("correct", other, "looked twice")
    assert [one.verdict for one in review.earlier.all()] == ["accept"]
    assert f"right: {label}" in client.get(detail).content.decode()
    refused = client.post(again, {"row_id": first, "verdict": "rate", "rating": "2"})
    assert refused.status_code == 400
    assert client.get(f"{address}999/").status_code == 404


def test_two_sets_of_probabilities_are_offered_to_be_compared(client: Client, erin: User) -> None:
    table = "text,label,big_no,big_yes,other_no,other_yes\n" + "".join(
        f"t{n},no,{n / 10},{1 - n / 10},{1 - n / 10},{n / 10}\n" for n in range(10)
    )
    upload(api_of(erin), table, "two")
    new = "/p/intents/datasets/two/1/review/"
    shown = client.get(new).content.decode()
    assert "big_*: probabilities of 2 labels" in shown
    sent = {"kind": "labels", "how": "disagreement", "many": 9, "reviews_per_row": 1, "seed": 0}
    answer = client.post(new, sent | {"first": "big_*", "second": "other_*"})
    assert answer.status_code == 302, answer.content.decode()
    assert ReviewQueue.objects.get().items.count() == 9  # of equal probabilities nobody knows

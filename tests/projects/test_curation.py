"""Curating the rows of a version: conditions, order, single rows, changes that are pending."""

import re
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from projects.ingest.found import Recent
from projects.models import PendingEdits, Project, User
from tests.conftest import api_of, signed_in
from tests.projects.test_operations import BASE, change, latest, make_all, rows, upload

LINES = [
    ("Café au lait, please", "drink", "app", "1"),
    ("caféteria is closed", "place", "web", "2.5"),
    ("a rose", "flower", "web", ""),
    ("rosé wine, a.b", "drink", "app", "10"),
    ("40 roses", "flower", "", "4"),
    ("axb", "place", "web", "3"),
]
TABLE = "text,label,channel,price\n" + "".join(
    ",".join(f'"{value}"' for value in line) + "\n" for line in LINES
)
PAGE = "/p/intents/datasets/shop/1/"
ROWS = f"{BASE}shop/versions/1/rows/"


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    upload(client, TABLE, "shop")
    return client


@pytest.fixture
def site(client: APIClient, erin: User) -> Client:
    return signed_in(erin)


def texts(client: APIClient, query: str) -> list[str]:
    answer = client.get(f"{ROWS}?{query}")
    assert answer.status_code == 200, answer.data
    return [one["text"] for one in answer.json()["results"]]


def at(*places: int) -> list[str]:
    return [LINES[place][0] for place in places]


def shown(page: bytes) -> list[int]:
    found = re.findall(rf'href="{PAGE}rows/(\d+)/', page.decode())
    return [int(one) for one in dict.fromkeys(found)]


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("q=CAFÉ", (0, 1)),
        ("q=CAFÉ&match_case=true", ()),
        ("q=café&whole_word=true", (0,)),
        ("q=a.b", (3,)),
        ("q=a.b&regex=true", (3, 5)),
        ("q=ros.&regex=true&whole_word=true", (2, 3)),
        (f"q={quote('^[0-9]+')}&regex=true", (4,)),
        ("length_from=7&length_to=8", (4,)),
        ("length_to=3", (5,)),
        ("where=channel:is:web", (1, 2, 5)),
        ("where=channel:not:web", (0, 3, 4)),
        ("where=channel:missing", (4,)),
        ("where=channel:contains:E&where=label:is:place", (1, 5)),
        ("where=channel:is:web&label=flower&split=train", None),
        ("sort=text", (3, 5)),
        ("sort=-length", (0, 1)),
    ],
)
def test_rows_are_found_by_words_lengths_and_columns(
    client: APIClient, query: str, places: tuple[int, ...] | None
) -> None:
    found = texts(client, query)
    if query.startswith("sort"):
        by = len if "length" in query else str
        assert found == sorted(at(*range(6)), key=by, reverse="-" in query)
    elif places is None:
        assert set(found) <= set(at(2))
    else:
        assert sorted(found) == sorted(at(*places))


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("q=(&regex=true", "q", "This is no regular expression: missing )"),
        (f"q={quote('(?=a)')}&regex=true", "q", "invalid perl operator"),
        ("where=colour:is:red", "where", "There is no column 'colour'"),
        ("where=channel", "where", "is not column:test:value"),
        ("where=channel:is:", "where", "Say what channel is compared with"),
        ("where=row_id:from:many", "where", "row_id holds numbers"),
        ("sort=colour", "sort", "no column 'colour'"),
        ("split=later", "split", "There is no split"),
    ],
)
def test_conditions_that_cannot_be_are_refused_with_a_sentence(
    client: APIClient, site: Client, query: str, field: str, sentence: str
) -> None:
    answer = client.get(f"{ROWS}?{query}")
    assert answer.status_code == 400
    assert sentence in answer.json()["fields"][field][0]
    page = site.get(f"{PAGE}?{query}")
    assert page.status_code == 200
    assert sentence in page.content.decode().replace("&#x27;", "'")


def test_a_regular_expression_takes_no_time_that_grows_with_its_tricks(client: APIClient) -> None:
    upload(client, "text,label\n" + f"{'a' * 5000}!,x\n" + "b,y\n", "long")
    url = f"{BASE}long/versions/1/rows/?regex=true&q={quote('(a+)+$')}"
    assert client.get(url).json()["count"] == 0


def test_operations_take_the_same_conditions(client: APIClient) -> None:
    where = ["channel:is:web", "price:contains:2"]
    change(client, "shop", operation="filter", where=where, leave_out=True)
    version = latest("shop")
    assert version.told == "Left out rows with channel = web, with price holding 2"
    assert sorted(one["text"] for one in rows(client, version)) == sorted(at(0, 2, 3, 4, 5))
    answer = client.post(
        f"{BASE}shop/versions/",
        {"operation": "filter", "q": "(", "regex": True},
        format="json",
    )
    assert answer.status_code == 400
    assert "no regular expression" in answer.json()["fields"]["q"][0]


def test_the_address_tells_what_the_table_shows_and_is_as_short_as_can_be(site: Client) -> None:
    draft = "tab=rows&q=&split=&label=&column=channel&test=is&value=web&sort=-text&show=split"
    page = site.get(f"{PAGE}?{draft}", headers={"HX-Target": "rows"})
    assert page.headers["HX-Push-Url"] == (
        f"{PAGE}?where=channel%3Ais%3Aweb&sort=-text&show=split&tab=rows"
    )
    assert len(shown(page.content)) == 3
    again = site.get(page.headers["HX-Push-Url"])
    assert shown(again.content) == shown(page.content)
    assert "with channel = web" in again.content.decode()
    every = site.get(f"{PAGE}?tab=rows", headers={"HX-Target": "rows"})
    assert every.headers["HX-Push-Url"] == f"{PAGE}?tab=rows"


def test_a_row_has_a_page_with_the_rows_beside_it_among_those_that_match(site: Client) -> None:
    among = "where=channel%3Ais%3Aweb&sort=text"
    ids = shown(site.get(f"{PAGE}?{among}").content)
    page = " ".join(site.get(f"{PAGE}rows/{ids[1]}/?{among}").content.decode().split())
    assert "2 of 3 that match" in page
    assert f'rel="prev" href="{PAGE}rows/{ids[0]}/?{among.replace("&", "&amp;")}"' in page
    assert f'rel="next" href="{PAGE}rows/{ids[2]}/?{among.replace("&", "&amp;")}"' in page
    first = site.get(f"{PAGE}rows/0/").content.decode()
    assert 'rel="prev"' not in first
    assert "1 of 6" in first
    assert site.get(f"{PAGE}rows/6/").status_code == 404


def test_changes_are_kept_until_they_become_one_version(client: APIClient, site: Client) -> None:
    body = {"label": "place", "split": "train", "text": "A rose!", "tags": "odd, look"}
    by_text = {one["text"]: one for one in rows(client, latest("shop"))}
    rose = by_text["a rose"]
    answer = site.post(f"{PAGE}rows/{rose['row_id']}/", body | {"next": "true"})
    assert answer.status_code == 302
    bulk = {"what": "tag", "value": "web", "among": "where=channel:is:web", "every": "true"}
    site.post(f"{PAGE}edits/", bulk)
    chosen = [by_text["axb"]["row_id"], by_text["40 roses"]["row_id"]]
    site.post(f"{PAGE}edits/", {"what": "leave_out", "row_id": chosen})
    page = site.get(PAGE).content.decode()
    assert "3 changes, not yet a version" in page
    review = site.get(f"{PAGE}edits/").content.decode()
    assert "Rows with channel = web" in review
    assert "given the label place" in review
    assert "Make shop@2" in review
    made = site.post(f"{PAGE}edits/apply/")
    assert made.headers["Location"] == "/p/intents/datasets/shop/2/"
    make_all()
    assert not PendingEdits.objects.exists()
    now = {one["text"]: one for one in rows(client, latest("shop"))}
    assert sorted(now) == sorted([*at(0, 1, 3), "A rose!"])
    assert now["A rose!"]["label"] == "place"
    assert now["A rose!"]["tags"] == "odd, look, web"
    assert now["caféteria is closed"]["tags"] == "web"
    assert now["rosé wine, a.b"]["tags"] is None
    assert latest("shop").parent == latest("shop").dataset.versions.get(number=1)


def test_a_row_that_is_said_to_be_as_it_was_is_no_longer_changed(
    client: APIClient, site: Client
) -> None:
    row = rows(client, latest("shop"))[2]
    same = {"label": row["label"], "split": row["split"], "text": row["text"], "tags": ""}
    url = f"{PAGE}rows/2/"
    site.post(url, same | {"label": "other", "tags": "x"})
    site.post(url, same | {"label": "another"})
    assert PendingEdits.objects.get().changes == [{"row_id": 2, "label": "another"}]
    assert 'value="another"' in site.get(url).content.decode()
    site.post(url, same)
    assert PendingEdits.objects.get().changes == []
    refused = site.post(url, same | {"text": " "})
    assert refused.status_code == 400
    assert "would be empty" in refused.content.decode()


def test_pending_changes_are_of_one_person_and_can_be_discarded(
    site: Client, project: Project, alice: User
) -> None:
    for row_id in (0, 1):
        site.post(f"{PAGE}edits/", {"what": "label", "value": "x", "row_id": row_id})
    assert "not yet a version" not in signed_in(alice).get(PAGE).content.decode()
    site.post(f"{PAGE}edits/discard/", {"place": "0"})
    (kept,) = PendingEdits.objects.get().changes
    assert kept == {"row_ids": [1], "label": "x"}
    site.post(f"{PAGE}edits/discard/")
    assert not PendingEdits.objects.exists()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"what": "label", "value": "x"}, "Choose rows first"),
        ({"what": "nothing", "row_id": 1}, "Say what is to be done"),
        ({"what": "tag", "value": " , ", "row_id": 1}, "Write a tag"),
        ({"what": "split", "value": "later", "row_id": 1}, "is not a valid choice"),
        ({"what": "leave_out", "row_id": 99}, "has no row 99"),
        ({"what": "leave_out", "every": "1", "among": "regex=1&q=("}, "no regular expression"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_keeps_nothing(
    site: Client, body: dict[str, Any], sentence: str
) -> None:
    page = site.post(f"{PAGE}edits/", body, follow=True)
    assert sentence in page.content.decode()
    assert not any(one.changes for one in PendingEdits.objects.all())


def test_edit_says_of_each_change_which_rows(client: APIClient) -> None:
    for changes in (
        [{"label": "x"}],
        [{"row_id": 1, "row_ids": [2], "label": "x"}],
        [{"where": {"colour": "red"}, "label": "x"}],
        [{"where": {}, "tags": ["a,b"]}],
    ):
        body = {"operation": "edit", "changes": changes}
        answer = client.post(f"{BASE}shop/versions/", body, format="json")
        assert answer.status_code == 400, changes
    change(
        client,
        "shop",
        operation="edit",
        changes=[
            {"where": {"q": "rose"}, "label": "plant"},
            {"row_ids": [0, 1], "split": "test"},
            {"row_id": 0, "split": "train"},
        ],
    )
    version = latest("shop")
    found = {one["text"]: one for one in rows(client, version)}
    assert found["a rose"]["label"] == found["40 roses"]["label"] == "plant"
    assert found["rosé wine, a.b"]["label"] == "drink"
    assert version.told.startswith("Changed rows whose text holds “rose” given the label plant")


def test_the_table_asks_the_database_as_often_for_many_rows_as_for_few(
    site: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    site.post(f"{PAGE}edits/", {"what": "leave_out", "row_id": [0, 1, 2]})
    with django_assert_max_num_queries(14):
        site.get(f"{PAGE}?where=channel:is:web&sort=-length")
    with django_assert_max_num_queries(14):
        site.get(f"{PAGE}rows/1/?where=channel:is:web&sort=-length")


def test_slices_are_conditions_by_name_with_their_rows_in_every_version(
    client: APIClient, site: Client
) -> None:
    url = f"{BASE}shop/slices/"
    site.post(f"{PAGE}slices/", {"name": "web", "among": "tab=rows&where=channel:is:web&sort=text"})
    body = {"name": "roses", "conditions": {"q": "rose", "length_to": 7}}
    made = client.post(url, body, format="json")
    assert made.status_code == 201
    assert made.json()["conditions"] == {"q": "rose", "length_to": 7}
    assert [one["name"] for one in client.get(url).json()] == ["roses", "web"]
    change(client, "shop", operation="edit", changes=[{"where": {"q": "axb"}, "leave_out": True}])
    for number, web in ((1, 3), (2, 2)):
        counted = client.get(f"{BASE}shop/versions/{number}/slices/").json()
        assert [one["rows"] for one in counted] == [1, web]
        assert counted[1]["told"] == "with channel = web"
    listed = site.get(f"{PAGE}slices/").content.decode()
    assert "?where=channel%3Ais%3Aweb&amp;tab=rows" in listed
    assert client.delete(f"{url}roses/").status_code == 204
    site.post(f"{PAGE}slices/delete/", {"name": "web"})
    assert client.get(url).json() == []


def test_a_slice_whose_column_is_gone_has_no_rows_to_tell(client: APIClient) -> None:
    body = {"name": "web", "conditions": {"where": ["channel:is:web"]}}
    client.post(f"{BASE}shop/slices/", body, format="json")
    change(client, "shop", operation="columns", drop=["channel"])
    (counted,) = client.get(f"{BASE}shop/versions/2/slices/").json()
    assert counted["rows"] is None


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"name": "a b", "conditions": {"q": "x"}}, 400, "name"),
        ({"name": "x", "conditions": {}}, 400, "conditions"),
        ({"name": "x", "conditions": {"row_ids": [1]}}, 400, "row_ids"),
        ({"name": "x", "conditions": {"q": "(", "regex": True}}, 400, "q"),
        ({"name": "web", "conditions": {"q": "x"}}, 409, None),
    ],
)
def test_what_is_no_slice_is_refused(
    client: APIClient, body: dict[str, Any], status: int, field: str | None
) -> None:
    url = f"{BASE}shop/slices/"
    client.post(url, {"name": "web", "conditions": {"q": "y"}}, format="json")
    answer = client.post(url, body, format="json")
    assert answer.status_code == status, answer.data
    assert field is None or field in answer.json()["fields"]
    assert len(client.get(url).json()) == 1


def test_what_was_found_is_known_until_there_is_no_room_for_it() -> None:
    looks: list[str] = []

    def find(key: str, recent: Recent) -> int:
        def look() -> np.ndarray[Any, Any]:
            looks.append(key)
            return np.arange(100)

        return len(recent.find(key, look))

    few = Recent(most_finds=2)
    assert [find(key, few) for key in "abacab"] == [100] * 6
    assert looks == ["a", "b", "c", "b"]
    looks.clear()
    small = Recent(most_bytes=2 * 800)
    assert [find(key, small) for key in "abca"] == [100] * 4
    assert looks == ["a", "b", "c", "a"]


def test_the_page_of_an_operation_takes_conditions_from_its_address(site: Client) -> None:
    url = f"{PAGE}change/filter/"
    page = site.get(f"{url}?where=channel:is:web&where=label:is:place").content.decode()
    assert "channel:is:web\nlabel:is:place" in page
    assert "<b>2</b>" in page
    body = {"where": "channel:is:web\r\nlabel:is:place\r\n", "row_ids": ""}
    looked = site.post(url, body, headers={"HX-Request": "true"}).content.decode()
    assert "<b>2</b>" in looked
    refused = site.post(url, {"where": "colour:is:red"}, headers={"HX-Request": "true"})
    assert "There is no column" in refused.content.decode()


def test_the_rows_of_an_issue_are_one_condition_among_others(site: Client) -> None:
    upload(api_of(User.objects.get(username="erin")), TABLE + '"axb","drink","app","1"\n', "twice")
    url = "/p/intents/datasets/twice/1/?issue=conflicting_labels"
    page = site.get(url).content.decode()
    assert '<option value="conflicting_labels" selected>' in page
    assert "2 rows" in page
    assert "1 row" in site.get(f"{url}&label=drink").content.decode()


def test_pending_changes_are_added_taken_away_and_made_a_version_by_rest(
    client: APIClient, site: Client, alice: User, vera: User
) -> None:
    """One list for the page and for REST; everybody has their own, and editors alone have any."""
    address = f"{BASE}shop/versions/1/pending/"
    assert client.get(address).json() == {"count": 0, "changes": []}
    changes = [
        {"row_id": 0, "label": "place"},
        {"row_ids": [1, 2], "tags": ["looked at"]},
        {"where": {"label": "drink"}, "split": "test"},
    ]
    kept = client.post(address, {"changes": changes}, format="json").json()
    assert [one["place"] for one in kept["changes"]] == [0, 1, 2]
    assert kept["changes"][0]["change"] == {"row_id": 0, "label": "place"}
    assert (kept["changes"][2]["rows"], kept["changes"][2]["told"]) == (
        "rows with label drink", "moved to test",
    )  # fmt: skip
    again = client.post(address, {"changes": [{"row_id": 0, "label": "flower"}]}, format="json")
    assert [one["told"] for one in again.json()["changes"]][-1] == "given the label flower"
    assert again.json()["count"] == 3
    assert "3 changes" in site.get(PAGE, {"tab": "rows"}).content.decode()
    assert client.delete(f"{address}1/").json()["count"] == 2
    assert client.delete(f"{address}9/").status_code == 404

    wrong = [{"row_id": 1, "label": "drink"}, {"row_id": 99, "leave_out": True}]
    refused = client.post(address, {"changes": wrong}, format="json")
    assert refused.status_code == 400
    assert "has no row 99" in refused.json()["fields"]["changes"][0]
    assert client.get(address).json()["count"] == 2
    assert api_of(alice).get(address).json()["count"] == 0
    assert api_of(vera).get(address).status_code == 403

    made = client.post(f"{address}apply/", format="json", headers={"Idempotency-Key": "once"})
    assert made.status_code == 201
    assert made.json()["version"] == 2
    same = client.post(f"{address}apply/", format="json", headers={"Idempotency-Key": "once"})
    assert same.headers["Idempotent-Replayed"] == "true"
    assert client.get(address).json()["count"] == 0
    assert client.post(f"{address}apply/", format="json").status_code == 400
    make_all()
    assert {row["label"] for row in rows(client, latest("shop")) if row["row_id"] == 0} == {
        "flower"
    }

    client.post(address, {"changes": [{"row_id": 1, "leave_out": True}]}, format="json")
    assert client.delete(address).status_code == 204
    assert client.get(address).json()["count"] == 0

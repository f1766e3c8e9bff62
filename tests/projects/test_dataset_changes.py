"""The pages on which a dataset is changed, compared, downloaded and deleted."""

import csv
import io
import json
import re
import zipfile
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from distillhub.lib.errors import Missing
from projects.models import Dataset, DatasetVersion, Project, User
from projects.operations import registry
from projects.services import operations
from tests import make
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of
from tests.projects.test_ingest_images import archive, picture
from tests.projects.test_operations import (
    BASE,
    TABLE,
    change,
    latest,
    make_all,
    rows,
    upload,
)

PAGE = "/p/intents/datasets/words/"


@pytest.fixture
def client(project: Project, erin: User) -> Client:
    upload(api_of(erin))
    return signed_in(erin)


def post(client: Client, operation: str, **sent: Any) -> HttpResponseBase:
    number = sent.pop("number", 1)
    answer: HttpResponseBase = client.post(f"{PAGE}{number}/change/{operation}/", sent)
    make_all()
    return answer


def look(client: Client, operation: str, **sent: Any) -> str:
    answer = client.post(f"{PAGE}1/change/{operation}/", sent, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return " ".join(answer.content.decode().replace("\u202f", " ").split())


# Forms ------------------------------------------------------------------------------------------


def test_a_version_offers_what_can_be_done_with_it(client: Client) -> None:
    page = client.get(f"{PAGE}1/").content.decode()
    for key in ("filter", "relabel", "columns", "template"):
        assert f"/words/1/change/{key}/" in page
    assert "/words/1/change/edit/" not in page  # rows are changed where they are looked at


@pytest.mark.parametrize("key", [key for key, one in registry.operations().items() if one.has_form])
def test_every_operation_has_a_page_made_of_its_options(client: Client, key: str) -> None:
    answer = client.get(f"{PAGE}1/change/{key}/")
    assert answer.status_code == 200
    page = answer.content.decode()
    operation = registry.get(key)
    assert operation.label in page
    assert "Make words@2" in page
    for name in answer.context["form"].fields:
        assert f'name="{name}' in page or f'data-field="{name}"' in page, name


def test_a_form_says_what_it_would_do_and_then_does_it(client: Client) -> None:
    said = look(client, "filter", label="refund")
    assert "102 → <b>61</b>" in said
    assert "First rows that go" in said
    assert DatasetVersion.objects.count() == 1
    answer = post(client, "filter", label="refund")
    assert answer.headers["Location"] == f"{PAGE}2/"
    assert latest().rows == 61
    listed = client.get(f"{BASE}words/versions/").json()["results"]
    told = [one["told"] for one in listed]
    assert told == ["Kept rows with label refund", "Uploaded words.csv"]
    page = client.get(f"{PAGE}2/?tab=details").content.decode()
    assert "Kept rows with label refund" in page
    assert "How it was read" not in page
    assert "How it came about" in page


def test_what_cannot_be_is_said_at_its_field_and_makes_nothing(client: Client) -> None:
    assert "Give at least one condition." in look(client, "filter")
    answer = client.post(f"{PAGE}1/change/sample/", {"rows": "many"})
    assert answer.status_code == 400
    # At the field, and beside the button, where it says what would come of it.
    assert answer.content.count(b"A valid integer is required.") == 2
    assert b"It is seen when the worker" not in answer.content
    assert DatasetVersion.objects.count() == 1


def test_labels_are_renamed_in_a_table(client: Client) -> None:
    sent = {
        "labels-key": ["refund", "card"],
        "labels-was": ["refund", "card"],
        "labels-now": ["money", "card"],
    }
    said = look(client, "relabel", **sent)
    assert "money</ins>" in said
    post(client, "relabel", **sent)
    assert latest().labels == ["card", "money"]
    assert latest().told == "Renamed labels: refund → money"


def test_roles_are_chosen_in_a_table(client: Client) -> None:
    sent = {"roles-key": ["text", "group"], "roles-was": ["text", ""],
            "roles-now": ["text", "channel"]}  # fmt: skip
    post(client, "columns", **sent)
    assert latest().column_of("group") == "channel"


def test_versions_are_merged_and_boxes_ticked(client: Client, erin: User) -> None:
    upload(api_of(erin), "text,label,channel\nhello,card,web\nbye,refund,web\n", "more")
    page = client.get(f"{PAGE}1/change/merge/").content.decode()
    assert "more@1" in page
    post(client, "merge", versions=["more@1"])
    assert latest().rows == 104


def test_an_address_fills_the_form(client: Client) -> None:
    page = client.get(f"{PAGE}1/change/filter/?label=card&leave_out=true")
    assert page.context["form"].initial["leave_out"] is True
    assert "61</b>" in page.content.decode()


def folds(page: str) -> dict[str, tuple[bool, str]]:
    """{the words of what is folded: (whether it is open, its fields)}"""
    fold = r'<details class="op-fold"( open)?>\s*<summary>(.*?)</summary>(.*?)</details>'
    found = re.findall(fold, page, re.DOTALL)
    return {words: (bool(opened), fields) for opened, words, fields in found}


def test_conditions_that_few_need_are_folded_until_one_is_told(client: Client) -> None:
    page = client.get(f"{PAGE}1/change/filter/").content.decode()
    opened, fields = folds(page)["More conditions"]
    assert not opened
    for name in ("match_case", "regex", "length_from", "where", "row_ids"):
        assert f'name="{name}"' in fields
    for name in ("split", "label", "q", "issue", "leave_out"):
        assert f'name="{name}"' not in fields
        assert f'name="{name}"' in page or name == "issue"  # this version has none
    filled = client.get(f"{PAGE}1/change/filter/?length_from=20").content.decode()
    assert folds(filled)["More conditions"][0]
    refused = post(client, "filter", where="nonsense").content.decode()  # type: ignore[attr-defined]
    assert folds(refused)["More conditions"][0]
    asking = folds(client.get(f"{PAGE}1/change/annotate/").content.decode())
    assert {"Which rows", "How a service is asked", "Where labels go"} == set(asking)
    assert not any(opened for opened, _ in asking.values())
    columns = folds(client.get(f"{PAGE}1/change/columns/?drop=channel").content.decode())
    opened, fields = columns["Leave columns out"]
    assert opened
    assert 'name="drop"' in fields


def test_issues_are_mended_with_one_click(client: Client) -> None:
    page = client.get(f"{PAGE}1/?tab=issues").content.decode()
    assert "Make words@2?" in page
    assert "/words/1/change/reconcile/" in page
    post(client, "reconcile")
    assert "conflicting_labels" not in {one["code"] for one in latest().issues}
    assert latest().rows == 100


def test_a_majority_settles_what_conflicts(client: Client, erin: User) -> None:
    table = "text,label\n" + "same,a\nsame,a\nsame,b\nalike,a\nalike,b\n" + "x,b\ny,a\n"
    upload(api_of(erin), table, "words2")
    change(api_of(erin), "words2", operation="reconcile", how="majority")
    version = latest("words2")
    found = [(row["text"], row["label"]) for row in rows(api_of(erin), version)]
    assert found.count(("same", "a")) == 3
    assert "alike" not in dict(found)


def test_rare_labels_go_or_become_one(client: Client, erin: User) -> None:
    table = TABLE + "".join(f"odd {n},odd,app\nvery odd {n},very odd,app\n" for n in range(3))
    api = api_of(erin)
    upload(api, table, "rare")
    change(api, "rare", operation="rare_labels", fewest=5, join="other")
    assert latest("rare").labels == ["card", "other", "refund"]
    change(api, "rare", operation="rare_labels", fewest=5, version=1)
    assert latest("rare").labels == ["card", "refund"]
    refused = api.post(f"{BASE}rare/versions/", {"operation": "rare_labels"}, format="json")
    assert list(refused.json()["fields"]) == ["fewest"]


def test_a_failed_change_can_be_made_differently_or_again(client: Client) -> None:
    post(client, "filter", q="nothing like it")
    page = client.get(f"{PAGE}2/").content.decode()
    assert "This change could not be made" in page
    assert "/words/1/change/filter/?again=2" in page
    form = client.get(f"{PAGE}1/change/filter/?again=2").context["form"]
    assert form.initial["q"] == "nothing like it"
    again = client.post(f"{PAGE}2/try-again/")
    assert again.headers["Location"] == f"{PAGE}3/"
    assert DatasetVersion.objects.get(number=3).operation == (
        DatasetVersion.objects.get(number=2).operation
    )


def test_pages_ask_the_database_little(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        post(client, "filter", label="refund")
    pages = ("1/", "1/?tab=details", "1/?tab=issues", "1/change/merge/", "diff/?from=1&to=2")
    for address in pages:
        with django_assert_max_num_queries(15):
            assert client.get(PAGE + address).status_code == 200


def test_viewers_see_no_way_to_change(client: Client, vera: User) -> None:
    viewer = signed_in(vera)
    assert "/change/" not in viewer.get(f"{PAGE}1/?tab=issues").content.decode()
    assert viewer.get(f"{PAGE}1/change/filter/").status_code == 403


# Differences ------------------------------------------------------------------------------------


def diff(client: Client, **asked: Any) -> dict[str, Any]:
    number = asked.pop("number", 2)
    answer = client.get(f"{BASE}words/versions/{number}/diff/", asked)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def test_rows_are_found_again_by_what_they_say(client: Client) -> None:
    changes = [
        {"row_id": 0, "label": "card"},
        {"row_id": 1, "split": "test"},
        {"row_id": 2, "leave_out": True},
        {"row_id": 3, "text": "other words"},
    ]
    api = api_of(User.objects.get(username="erin"))
    change(api, operation="edit", changes=changes)
    told = diff(api, **{"from": 1, "kind": "changed"})
    assert (told["same"], told["added"], told["removed"], told["changed"]) == (98, 1, 2, 2)
    assert told["by"] == ""
    assert told["columns"] == {"label": 1, "split": 1}
    assert told["relabelled"] == [["refund", "card", 1]]
    first = told["results"][0]
    assert first["changes"] == {"label": ["refund", "card"]}
    added = diff(api, **{"from": 1, "kind": "added"})["results"]
    assert [row["text"] for row in added] == ["other words"]
    page = client.get(f"{PAGE}diff/?from=1&to=2&kind=removed")
    assert "other words" not in page.content.decode()
    assert "other words" in client.get(f"{PAGE}diff/?from=1&to=2&kind=added").content.decode()
    # what was found is kept, and true however often it is asked
    assert diff(api, **{"from": 1}) == {
        key: value for key, value in told.items() if key != "results"
    }


def test_rows_are_found_again_by_their_ids(project: Project, erin: User) -> None:
    api = api_of(erin)
    lines = [f"q{n},text {n},{'ab'[n % 2]}" for n in range(30)]
    upload(api, "code,text,label\n" + "\n".join(lines), "words")
    change(api, operation="columns", roles={"id": "code"})
    lines[4] = "q4,other words,a"
    upload_next = "code,text,label\n" + "\n".join(lines[1:]) + "\nq99,new,b"
    body = {"file": file_of(upload_next.encode()),
            "columns": json.dumps({"text": "text", "label": "label", "id": "code"})}  # fmt: skip
    assert api.post(f"{BASE}words/versions/", body, format="multipart").status_code == 201
    make_all()
    told = diff(api, number=3, **{"from": 2})
    assert told["by"] == "code"
    assert (told["added"], told["removed"]) == (1, 1)
    assert told["columns"]["text"] == 1


def test_equal_rows_are_counted(project: Project, erin: User) -> None:
    api = api_of(erin)
    upload(api, "text,label\n" + "same,a\n" * 5 + "else,b\n" * 5, "words")
    change(api, operation="deduplicate")
    told = diff(api, **{"from": 1})
    assert (told["removed"], told["added"], told["same"] + told["changed"]) == (8, 0, 2)


def test_pictures_and_tables_are_compared_too(project: Project, erin: User) -> None:
    api = api_of(erin)
    pictures = [(f"{'ab'[n % 2]}/{n}.png", picture(color=n * 9)) for n in range(20)]
    upload(api, archive(*pictures).getvalue(), "words")
    change(api, operation="filter", label="a")
    told = diff(api, **{"from": 1})
    assert (told["same"], told["removed"], told["added"], told["changed"]) == (10, 10, 0, 0)
    upload(api, "age,size,label\n" + "".join(f"{n},{n * 3 % 7},{n % 2}\n" for n in range(60)), "t")
    change(api, "t", operation="sample", share=0.5, split="all")
    answer = api.get(f"{BASE}t/versions/2/diff/?from=1").json()
    assert (answer["same"], answer["removed"]) == (30, 30)
    unlike = api.get(f"{BASE}t/versions/2/diff/?from=words@1")
    assert (unlike.status_code, unlike.json()["code"]) == (409, "unlike")


@pytest.mark.parametrize("asked", ["", "?from=9", "?from=x@y", "?from=1&kind=blue", "?from="])
def test_a_comparison_that_cannot_be_is_refused(client: Client, asked: str) -> None:
    assert client.get(f"{BASE}words/versions/1/diff/{asked}").status_code in (400, 404)
    assert client.get(f"{PAGE}diff/{asked}").status_code == 200


# Downloads --------------------------------------------------------------------------------------


def content(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Disposition"].startswith("attachment")
    return b"".join(answer.streaming_content)


HARMFUL = ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\tx", "plain", "-4.5", '"quoted", a\nline']


def test_csv_runs_no_formula_and_json_lines_are_exact(project: Project, erin: User) -> None:
    api = api_of(erin)
    text = io.StringIO()
    csv.writer(text).writerows([("text", "label"), *((one, "a") for one in HARMFUL), ("z", "b")])
    body = text.getvalue().encode()
    upload(api, body, "words")
    client = signed_in(erin)
    said = content(client.get(f"{PAGE}1/download/?as=csv")).decode()
    cells = [row["text"] for row in csv.DictReader(io.StringIO(said))]
    assert cells == ["'=1+1", "'+SUM(A1)", "'-2+3", "'@cmd", "'\tx", *HARMFUL[5:], "z"]
    lines = content(api.get(f"{BASE}words/versions/1/download/?as=jsonl")).decode()
    found = [json.loads(line) for line in lines.splitlines()]
    assert [row["text"] for row in found] == [*HARMFUL, "z"]
    assert found[0] | {"split": ""} == {
        "row_id": 0, "split": "", "label": "a", "text": "=1+1", "source": "2",
    }  # fmt: skip


def test_pictures_come_as_folders_that_can_be_uploaded_again(project: Project, erin: User) -> None:
    api = api_of(erin)
    pictures = [(f"{['cat', 'dog.'][n % 2]}/{n}.png", picture(color=n * 9)) for n in range(20)]
    upload(api, archive(*pictures).getvalue(), "words")
    zipped = content(api.get(f"{BASE}words/versions/1/download/?as=zip"))
    names = zipfile.ZipFile(io.BytesIO(zipped)).namelist()
    assert all(name.split("/")[1] in {"cat", "dog"} for name in names)
    upload(api, zipped, "again")
    first, second = latest("words"), latest("again")
    assert {name: one["rows"] for name, one in first.splits.items()} == {
        name: one["rows"] for name, one in second.splits.items()
    }
    assert b"row_id,split,label,source" in content(
        api.get(f"{BASE}words/versions/1/download/?as=csv")
    )


@pytest.mark.parametrize("form", ["zip", "exe"])
def test_a_form_that_there_is_none_of_is_refused(client: Client, form: str) -> None:
    assert client.get(f"{BASE}words/versions/1/download/?as={form}").status_code == 400
    assert client.get(f"{PAGE}1/download/?as={form}").status_code == 400


# Deleting ---------------------------------------------------------------------------------------


def test_a_version_that_nobody_uses_is_deleted_and_its_number_not_used_again(
    client: Client, alice: User
) -> None:
    post(client, "filter", label="refund")
    owner = api_of(alice)
    refused = owner.delete(f"{BASE}words/versions/1/")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "words@2" in refused.json()["detail"]
    removed = owner.delete(f"{BASE}words/versions/2/")
    assert removed.status_code == 200
    assert removed.json()["bytes"] > 0
    post(client, "filter", label="card")
    assert latest().number == 3


def test_what_runs_learned_from_stays(client: Client, alice: User, project: Project) -> None:
    run = make.run(project, number=7)
    run.dataset_version = DatasetVersion.objects.get(dataset__name="words")
    run.save()
    for address in ("words/versions/1/", "words/"):
        refused = api_of(alice).delete(BASE + address)
        assert refused.status_code == 409
        assert "run 7" in refused.json()["detail"]
    page = signed_in(alice).post(f"{PAGE}1/delete/", follow=True).content.decode()
    assert "words@1 stays: run 7 uses it." in page
    assert Dataset.objects.filter(name="words").exists()


def test_nothing_is_made_of_a_version_that_was_deleted_meanwhile(
    client: Client, erin: User, alice: User
) -> None:
    upload(api_of(erin), TABLE, "other")
    version = latest()
    api_of(alice).delete(f"{BASE}words/")
    with pytest.raises(Missing, match="deleted meanwhile"):
        operations.change(version=version, operation="deduplicate", options={}, by=erin)


def test_a_dataset_goes_with_all_its_versions(client: Client, alice: User) -> None:
    post(client, "filter", label="refund")
    post(client, "filter", number=2, q="1")
    assert client.post(f"{PAGE}delete/").status_code == 403  # an editor
    answer = signed_in(alice).post(f"{PAGE}delete/", follow=True)
    assert b"words is deleted." in answer.content
    assert not DatasetVersion.objects.exists()


def test_with_its_last_version_a_dataset_goes(client: Client, alice: User) -> None:
    answer = signed_in(alice).post(f"{PAGE}1/delete/")
    assert answer.headers["Location"] == "/p/intents/datasets/"
    assert not Dataset.objects.exists()


def test_files_that_others_name_are_not_freed(client: Client, alice: User, erin: User) -> None:
    upload(api_of(erin), TABLE, "twin")  # the very same file and rows
    removed = api_of(alice).delete(f"{BASE}twin/")
    assert removed.json() == {"versions": 1, "bytes": 0}


# Templates --------------------------------------------------------------------------------------

PROMPTS = "/api/v1/projects/intents/templates/"


def test_a_template_has_versions_and_a_dataset_says_which_made_it(
    client: Client, erin: User
) -> None:
    api = api_of(erin)
    body = {"name": "asking", "text": "{channel}: {text}"}
    made = api.post(PROMPTS, body, format="json")
    assert made.status_code == 201, made.data
    assert (made.data["reference"], made.data["columns"]) == ("asking@1", ["channel", "text"])
    second = api.post(f"{PROMPTS}asking/versions/", {"text": "{text}!"}, format="json")
    assert second.data["version"] == 2
    same = api.post(f"{PROMPTS}asking/versions/", {"text": "{text}!"}, format="json")
    assert same.data["version"] == 2
    assert api.get(PROMPTS).data["results"][0]["latest"] == 2
    change(api, operation="template", template="asking@1")
    assert latest().told == "Made the text by asking@1"
    assert rows(api, latest())[0]["text"] == "app: refund please 0"
    said = look(client, "template", template="asking")
    assert "refund please 0!</ins>" in said
    post(client, "template", template="asking@2")
    assert (latest().operation or {})["options"]["template"] == "asking@2"
    page = client.get("/p/intents/templates/asking/").content.decode()
    assert "asking@1" in page
    assert "asking@2" in page


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a b", "text": "{x}"}, "name"),
        ({"name": "new", "text": "{x}"}, "name"),
        ({"name": "asking", "text": "nothing"}, "text"),
        ({"name": "asking", "text": "{x!r"}, "text"),
        ({"name": "asking"}, "text"),
    ],
)
def test_a_template_that_cannot_be_is_refused(
    client: Client, erin: User, body: dict[str, str], field: str
) -> None:
    answer = api_of(erin).post(PROMPTS, body, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["fields"]
    page = client.post("/p/intents/templates/new/", body)
    assert page.status_code == 400


def test_a_template_is_written_on_its_page(client: Client) -> None:
    made = client.post("/p/intents/templates/new/", {"name": "asking", "text": "{a}\r\n{b}"})
    assert made.headers["Location"] == "/p/intents/templates/asking/"
    again = client.post("/p/intents/templates/new/", {"name": "asking", "text": "{c}"})
    assert again.status_code == 400
    client.post("/p/intents/templates/asking/", {"text": "{c}"})
    page = client.get("/p/intents/templates/asking/")
    assert [one.text for one in page.context["versions"]] == ["{c}", "{a}\n{b}"]
    assert "asking" in client.get("/p/intents/templates/").content.decode()

"""People in the loop: rows chosen, handed out, decided; agreement; what closing makes of it."""

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import cohen_kappa_score

from projects.models import DatasetVersion, Project, Review, User
from projects.services import agreement, preferences, review_rows
from tests import make
from tests.conftest import api_of
from tests.projects.test_operations import change, latest, make_all, rows, upload

BASE = "/api/v1/projects/intents/reviews/"
SURE = "text,label,sure,other\n" + "".join(
    f"row number {n},{'yes' if n % 2 else 'no'},{n / 100},{'yes' if n % 3 else 'no'}\n"
    for n in range(100)
)


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    upload(client, SURE)
    return client


def begin(client: APIClient, **asked: Any) -> dict[str, Any]:
    made = client.post(BASE, {"dataset": "words"} | asked, format="json")
    assert made.status_code == 201, made.data
    return dict(made.json())


def take(client: APIClient, queue: int, many: int = 1) -> list[dict[str, Any]]:
    answer = client.post(f"{BASE}{queue}/take/", {"many": many}, format="json")
    assert answer.status_code == 200, answer.data
    return list(answer.json()["results"])


def say(client: APIClient, queue: int, row_id: int, verdict: str, **said: Any) -> Any:
    body = {"row_id": row_id, "verdict": verdict} | said
    return client.post(f"{BASE}{queue}/verdicts/", body, format="json")


def ids(taken: list[dict[str, Any]]) -> list[int]:
    return [one["row_id"] for one in taken]


# Which rows ------------------------------------------------------------------------------------


def test_rows_at_random_are_the_same_for_a_seed_and_others_for_another(client: APIClient) -> None:
    drawn = [ids(take(client, begin(client, many=20, seed=seed)["id"], 20)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert len(set(drawn[0])) == 20


def test_the_least_sure_rows_come_first(client: APIClient) -> None:
    queue = begin(client, how="uncertain", columns=["sure"], many=3)
    found = sorted(float(one["row"]["sure"]) for one in take(client, queue["id"], 3))
    assert found == [0.0, 0.01, 0.02]


def test_the_columns_of_probabilities_are_found_by_themselves(client: APIClient) -> None:
    refused = client.post(BASE, {"dataset": "words", "how": "uncertain"}, format="json")
    assert refused.status_code == 400
    assert "how sure a teacher is" in refused.json()["fields"]["columns"][0]
    table = "text,label,p_no,p_yes\n" + "".join(
        f"t{n},{'yes' if n % 2 else 'no'},{n / 100},{1 - n / 100}\n" for n in range(100)
    )
    upload(client, table, "soft")
    change(client, "soft", operation="columns", soft_labels={"no": "p_no", "yes": "p_yes"})
    queue = begin(client, dataset="soft@2", how="uncertain", many=2)
    assert [one["row"]["p_no"] for one in take(client, queue["id"], 2)] == [0.5, 0.49]


def test_disagreement_is_where_two_columns_differ(client: APIClient) -> None:
    queue = begin(client, how="disagreement", columns=["label", "other"], many=1000)
    expected = sum((n % 2 == 0) != (n % 3 == 0) for n in range(100))
    assert queue["rows"] == expected
    assert all(one["row"]["label"] != one["row"]["other"] for one in take(client, queue["id"], 20))


def test_two_teachers_disagree_where_their_likeliest_labels_differ(client: APIClient) -> None:
    """Two sets of probabilities, told by how their columns begin; the furthest apart first."""
    said = [(0.9, 0.1, 0.8, 0.2), (0.9, 0.1, 0.1, 0.9), (0.6, 0.4, 0.4, 0.6), (0.2, 0.8, 0.5, 0.5),
            (0.3, 0.7, "", 0.3)]  # fmt: skip
    table = "text,label,big_no,big_yes,other_no,other_yes\n" + "".join(
        f"t{n},no,{','.join(map(str, one))}\n" for n, one in enumerate(said)
    )
    upload(client, table, "two")
    asked = {"dataset": "two", "how": "disagreement"}
    queue = begin(client, **asked, columns=["big_*", "other_*"])
    taken = take(client, queue["id"], 20)
    assert [one["row"]["text"] for one in taken] == ["t1", "t3", "t2"]
    first, second = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    assert taken[0]["priority"] == pytest.approx(jensenshannon(first, second) ** 2)
    refused = client.post(BASE, asked | {"columns": ["big_*", "text"]}, format="json")
    assert "Only one of them has a column for" in refused.json()["fields"]["columns"][0]
    refused = client.post(BASE, asked | {"columns": ["small_*", "text"]}, format="json")
    assert refused.status_code == 400
    version = DatasetVersion.objects.get(dataset__name="two")
    assert list(review_rows.sets(version)) == ["big_*", "other_*"]


def test_conditions_and_rows_by_number_narrow_every_choice(client: APIClient) -> None:
    queue = begin(client, how="first", conditions={"label": "yes", "row_ids": [1, 2, 3]})
    labels = {one["label"] for one in take(client, queue["id"], 20)}
    assert queue["rows"] in (1, 2, 3)
    assert labels == {"yes"}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"how": "disagreement"}, "columns"),
        ({"how": "disagreement", "columns": ["label"]}, "columns"),
        ({"how": "uncertain", "columns": ["label"]}, "columns"),
        ({"how": "random", "columns": ["sure"]}, "columns"),
        ({"how": "uncertain", "columns": ["nothing"]}, "columns"),
        ({"conditions": {"label": "maybe"}}, "conditions"),
        ({"conditions": {"colour": "red"}}, "conditions"),
        ({"kind": "compare"}, "pair"),
        ({"kind": "compare", "pair": ["text", "text"]}, "pair"),
        ({"pair": ["text", "other"]}, "pair"),
        ({"many": 0}, "many"),
        ({"many": 10_001}, "many"),
        ({"reviews_per_row": 11}, "reviews_per_row"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    client: APIClient, asked: dict[str, Any], field: str
) -> None:
    refused = client.post(BASE, {"dataset": "words"} | asked, format="json")
    assert refused.status_code == 400
    assert any(name.split(".")[0] == field for name in refused.json()["fields"])


# Handing out -----------------------------------------------------------------------------------


def test_two_people_never_get_the_same_row(client: APIClient, alice: User) -> None:
    queue = begin(client, many=10)["id"]
    first, second = take(client, queue, 5), take(api_of(alice), queue, 5)
    assert not set(ids(first)) & set(ids(second))
    assert ids(take(client, queue, 5)) == ids(first)  # they are still held
    assert take(api_of(alice), queue, 20) != []
    assert len(take(api_of(alice), queue, 20)) == 5


def test_a_row_gets_as_many_reviews_as_are_wanted(client: APIClient, alice: User) -> None:
    queue = begin(client, many=1, reviews_per_row=2)["id"]
    (row,) = ids(take(client, queue))
    assert ids(take(api_of(alice), queue)) == [row]
    assert say(client, queue, row, "accept").status_code == 200
    assert say(api_of(alice), queue, row, "skip").status_code == 200
    assert take(client, queue) == []


def test_a_row_that_nobody_decided_in_time_goes_to_somebody_else(
    client: APIClient, alice: User
) -> None:
    queue = begin(client, many=1)["id"]
    (row,) = ids(take(client, queue))
    assert take(api_of(alice), queue) == []
    Review.objects.update(taken_until=timezone.now() - timedelta(seconds=1))
    assert ids(take(api_of(alice), queue)) == [row]
    assert say(api_of(alice), queue, row, "accept").status_code == 200
    late = say(client, queue, row, "accept")
    assert late.status_code == 409
    assert "by others" in late.json()["detail"]


def test_a_verdict_is_changed_and_taken_back_until_the_review_is_closed(client: APIClient) -> None:
    queue = begin(client, many=2, how="first")["id"]
    first, _ = ids(take(client, queue, 2))
    say(client, queue, first, "accept")
    changed = say(client, queue, first, "correct", label="yes", note="clearly", seconds=2.5)
    assert changed.json()["label"] == "yes"
    said = client.get(f"{BASE}{queue}/verdicts/").json()["results"]
    assert [(one["verdict"], one["note"], one["person"]) for one in said] == [
        ("correct", "clearly", "erin")
    ]
    back = client.post(f"{BASE}{queue}/undo/")
    assert (back.json()["row_id"], back.json()["verdict"]) == (first, "")
    assert client.get(f"{BASE}{queue}/verdicts/").json()["results"] == []
    assert ids(take(client, queue, 2))[0] == first
    assert client.post(f"{BASE}{queue}/undo/").status_code == 404
    client.post(f"{BASE}{queue}/close/")
    for path, body in (
        ("take", {}),
        ("undo", {}),
        ("close", {}),
        ("verdicts", {"row_id": first, "verdict": "accept"}),
    ):
        answer = client.post(f"{BASE}{queue}/{path}/", body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (409, "review_closed"), path


@pytest.mark.parametrize(
    ("kind", "said", "field"),
    [
        ("labels", {"verdict": "correct"}, "label"),
        ("labels", {"verdict": "correct", "label": "maybe"}, "label"),
        ("labels", {"verdict": "rate", "rating": 3}, "verdict"),
        ("ratings", {"verdict": "rate"}, "rating"),
        ("ratings", {"verdict": "rate", "rating": 6}, "rating"),
        ("ratings", {"verdict": "accept"}, "verdict"),
        ("compare", {"verdict": "choose"}, "chosen"),
        ("compare", {"verdict": "choose", "chosen": "left"}, "chosen"),
    ],
)
def test_a_verdict_fits_what_was_asked(
    client: APIClient, kind: str, said: dict[str, Any], field: str
) -> None:
    pair = {"pair": ["text", "other"]} if kind == "compare" else {}
    queue = begin(client, many=1, kind=kind, **pair)["id"]
    (row,) = ids(take(client, queue))
    refused = say(client, queue, row, **said)
    assert refused.status_code == 400
    assert field in refused.json()["fields"]


def test_what_was_said_before_is_kept_and_the_latest_counts(client: APIClient, alice: User) -> None:
    queue = begin(client, how="first", many=1, reviews_per_row=2)["id"]
    (one,) = take(client, queue)
    row, label = one["row_id"], one["label"]
    other = "no" if label == "yes" else "yes"
    say(client, queue, row, "correct", label=other)
    say(client, queue, row, "correct", label=other)  # the same again is no change
    say(client, queue, row, "accept", note="looked twice")
    seen = api_of(alice)
    take(seen, queue)
    say(seen, queue, row, "accept")
    mine, _ = client.get(f"{BASE}{queue}/verdicts/").json()["results"]
    assert (mine["verdict"], mine["label"]) == ("accept", None)
    assert [(b["verdict"], b["label"]) for b in mine["earlier"]] == [("correct", other)]
    assert client.get(f"{BASE}{queue}/agreement/").json()["exact"] == 1.0
    client.post(f"{BASE}{queue}/undo/")
    assert client.get(f"{BASE}{queue}/verdicts/").json()["results"][0]["person"] == "alice"
    say(client, queue, row, "skip")
    mine = next(
        one for one in client.get(f"{BASE}{queue}/verdicts/").json()["results"]
        if one["person"] == "erin"
    )  # fmt: skip
    assert [b["verdict"] for b in mine["earlier"]] == ["correct", "accept"]
    assert mine["earlier"][1]["note"] == "looked twice"


def test_words_get_a_tag_each(client: APIClient) -> None:
    tagged = "".join(f"Ada{n} B-PER\nwrote O\n\n" for n in range(12))
    body = {
        "file": SimpleUploadedFile("tags.conll", tagged.encode()),
        "name": "tags",
        "task": "token-classification",
    }
    made = client.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()
    queue = begin(client, dataset="tags", many=1)["id"]
    (row,) = ids(take(client, queue))
    short = say(client, queue, row, "correct", label="O")
    assert short.json()["fields"]["label"] == ["The row has 2 words, and these are 1 tags."]
    unknown = say(client, queue, row, "correct", label="B-DOG O")
    assert "no label 'B-DOG'" in unknown.json()["fields"]["label"][0]
    assert say(client, queue, row, "correct", label="O  B-PER").json()["label"] == "O B-PER"
    assert client.post(f"{BASE}{queue}/close/").json()["made"] == "tags@2"
    make_all()
    assert rows(client, latest("tags"))[row]["label"] == "O B-PER"


def test_a_blind_review_tells_no_label(client: APIClient) -> None:
    queue = begin(client, many=1, blind=True)["id"]
    (item,) = take(client, queue)
    assert item["label"] is None
    assert item["row"]["label"] is None


def test_a_viewer_reads_reviews_and_reviews_nothing(client: APIClient, vera: User) -> None:
    queue = begin(client, many=1)["id"]
    assert api_of(vera).get(f"{BASE}{queue}/agreement/").status_code == 200
    assert api_of(vera).post(f"{BASE}{queue}/take/").status_code == 403
    assert say(api_of(vera), queue, 0, "accept").status_code == 403


def test_long_lists_of_reviews_ask_the_database_little(
    client: APIClient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        queue = begin(client, many=20)["id"]
    taken = take(client, queue, 20)
    for row in ids(taken):
        say(client, queue, row, "accept")
    with django_assert_max_num_queries(6):
        assert client.get(BASE).json()["results"][0]["given"] == 20
    with django_assert_max_num_queries(6):
        assert len(client.get(f"{BASE}{queue}/verdicts/").json()["results"]) == 20
    with django_assert_max_num_queries(6):
        client.get(f"{BASE}{queue}/agreement/")


# Closing ---------------------------------------------------------------------------------------


def test_corrections_become_one_version_that_says_so(client: APIClient, alice: User) -> None:
    queue = begin(client, many=4, how="first")["id"]
    for person in (client, api_of(alice)):
        for one in take(person, queue, 2):
            other = "no" if one["label"] == "yes" else "yes"
            say(person, queue, one["row_id"], "correct", label=other)
    before = {row["row_id"]: row["label"] for row in rows(client, latest())}
    closed = client.post(f"{BASE}{queue}/close/").json()
    make_all()
    assert closed["made"] == "words@2"
    assert latest().told == "4 rows corrected by 2 reviewers"
    assert latest().parent is not None
    after = {row["row_id"]: row["label"] for row in rows(client, latest())}
    assert sum(before[row] != after[row] for row in before) == 4


def test_a_review_that_changes_nothing_makes_no_version(client: APIClient) -> None:
    queue = begin(client, many=2)["id"]
    first, second = take(client, queue, 2)
    say(client, queue, first["row_id"], "accept")
    say(client, queue, second["row_id"], "skip")
    assert client.post(f"{BASE}{queue}/close/").json()["made"] is None
    assert DatasetVersion.objects.count() == 1


def test_the_majority_wins_a_tie_changes_nothing_and_one_person_may_win(
    client: APIClient, project: Project, alice: User
) -> None:
    alice_too, third = api_of(alice), make.user("tom")
    make.project("elsewhere", owner=third)
    for winner, expected in (("majority", []), ("alice", [0])):
        queue = begin(client, conditions={"row_ids": [0]}, how="first", reviews_per_row=2)["id"]
        label = take(client, queue)[0]["label"]
        take(alice_too, queue)
        other = "no" if label == "yes" else "yes"
        say(client, queue, 0, "accept")
        say(alice_too, queue, 0, "correct", label=other)
        unknown = client.post(f"{BASE}{queue}/close/", {"winner": "tom"}, format="json")
        assert unknown.status_code == 400
        closed = client.post(f"{BASE}{queue}/close/", {"winner": winner}, format="json").json()
        make_all()
        assert (closed["made"] is not None) == bool(expected)


def test_a_version_that_is_reviewed_is_kept_until_the_review_is_deleted(
    client: APIClient, alice: User
) -> None:
    queue = begin(client, many=2, name="First look")["id"]
    version = "/api/v1/projects/intents/datasets/words/versions/1/"
    refused = api_of(alice).delete(version)
    assert refused.status_code == 409
    assert "First look" in refused.json()["detail"]
    assert client.delete(f"{BASE}{queue}/").status_code == 403
    assert api_of(alice).delete(f"{BASE}{queue}/").status_code == 204
    assert api_of(alice).delete(version).status_code == 200


# Agreement -------------------------------------------------------------------------------------


def test_cohen_is_as_scikit_learn_has_it() -> None:
    first = list("aabbccabcabcccab")
    second = list("aabbcaabcbbcacab")
    assert agreement.cohen(first, second) == pytest.approx(cohen_kappa_score(first, second))
    assert agreement.cohen(["a"], ["a"]) is None
    assert agreement.cohen([], []) is None


def test_fleiss_is_as_in_his_worked_example() -> None:
    """14 people, 10 rows, 5 words: 0.210 (en.wikipedia.org/wiki/Fleiss'_kappa)."""
    counts = [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
    told = [[float(word) for word, many in enumerate(row) for _ in range(many)] for row in counts]
    assert agreement.fleiss(told) == pytest.approx(0.210, abs=5e-4)
    assert agreement.fleiss([["a", "b"], ["a"]]) is None


def test_krippendorff_is_as_in_his_worked_example() -> None:
    """Four observers, twelve units, some missing: 0.743 for names and 0.849 for intervals
    (Krippendorff 2011, section C and D)."""
    people = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    units = zip(*(line.split() for line in people), strict=True)
    told = [[float(one) for one in unit if one != "."] for unit in units]
    assert agreement.krippendorff(told) == pytest.approx(0.743, abs=5e-4)
    assert agreement.krippendorff(told, numbers=True) == pytest.approx(0.849, abs=5e-4)
    assert agreement.krippendorff([["a", "a"]]) is None


def test_people_are_compared_with_each_other_and_with_the_labels(
    client: APIClient, alice: User
) -> None:
    queue = begin(client, many=4, how="first", reviews_per_row=2)["id"]
    taken = take(client, queue, 4)
    take(api_of(alice), queue, 4)
    for place, one in enumerate(taken):
        say(client, queue, one["row_id"], "accept")
        other = "no" if one["label"] == "yes" else "yes"
        said = {"verdict": "correct", "label": other} if place == 0 else {"verdict": "accept"}
        say(api_of(alice), queue, one["row_id"], **said)
    told = client.get(f"{BASE}{queue}/agreement/").json()
    assert (told["rows"], told["exact"]) == (4, 0.75)
    assert told["pairs"][0]["people"] == ["alice", "erin"]
    assert told["confusion"] == [{"labels": ["no", "yes"], "count": 1}]
    assert told["teacher"]["reviews"] == 8
    assert told["teacher"]["agreed"] == 7 / 8
    assert sum(one["count"] for one in told["teacher"]["confusion"]) == 1


# Preferences -----------------------------------------------------------------------------------


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content)
    return [json.loads(line) for line in content.decode().splitlines()]


def test_compared_answers_are_pairs_whichever_stood_left(client: APIClient, alice: User) -> None:
    queue = begin(client, kind="compare", pair=["text", "other"], many=20, seed=3)["id"]
    taken = take(client, queue, 20)
    assert 3 < sum(one["is_swapped"] for one in taken) < 17
    first, second, third = taken[:3]
    say(client, queue, first["row_id"], "choose", chosen="a")
    say(client, queue, second["row_id"], "choose", chosen="b")
    say(client, queue, third["row_id"], "choose", chosen="tie")
    found = lines(client.get(f"{BASE}{queue}/preferences/"))
    expected = [
        {"prompt": "", "chosen": one["row"][better], "rejected": one["row"][worse]}
        for one, better, worse in ((first, "text", "other"), (second, "other", "text"))
    ]
    key = lambda one: str(one["chosen"])  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)


def test_a_dataset_with_rejected_chats_comes_as_pairs(client: APIClient) -> None:
    asked = {"role": "user", "content": "What is it?"}
    given = [
        {
            "chosen": [asked, {"role": "assistant", "content": f"It is {n}."}],
            "rejected": [asked, {"role": "assistant", "content": "No idea."}],
        }
        for n in range(12)
    ]
    content = "\n".join(json.dumps(one) for one in given)
    body = {
        "file": SimpleUploadedFile("better.jsonl", content.encode()),
        "name": "better",
        "task": "text-generation",
    }
    base = "/api/v1/projects/intents/datasets/"
    made = client.post(base, body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()
    assert latest("better").rows == 12
    found = lines(client.get(f"{base}better/versions/1/preferences/"))
    assert len(found) == 12
    assert found[0]["prompt"] == [asked]
    assert found[0]["rejected"] == [{"role": "assistant", "content": "No idea."}]
    refused = client.get(f"{base}words/versions/1/preferences/")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_pairs")


def test_texts_that_are_no_chats_stay_texts() -> None:
    assert preferences.pair("Why?", "Because.", "[{no") == {
        "prompt": "Why?", "chosen": "Because.", "rejected": "[{no"
    }  # fmt: skip


def test_a_rating_is_counted_by_how_far_it_is(client: APIClient, alice: User) -> None:
    queue = begin(client, kind="ratings", many=2, reviews_per_row=2)["id"]
    rows_of = ids(take(client, queue, 2))
    take(api_of(alice), queue, 2)
    for row, (mine, hers) in zip(rows_of, ((5, 4), (1, 1)), strict=True):
        say(client, queue, row, "rate", rating=mine)
        say(api_of(alice), queue, row, "rate", rating=hers)
    told = client.get(f"{BASE}{queue}/agreement/").json()
    assert told["alpha"] > 0.9
    assert told["teacher"] is None

"""What a model answered is posted, kept once, labelled later, shown and forgotten."""

import base64
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from distillhub.lib import storage, sweeping
from distillhub.lib.errors import Invalid, TooLarge
from projects.models import AuditEntry, Project, User
from projects.services import accounts
from tests import make
from tests.conftest import api_of
from tests.training.log_parts import take_in
from training.models import InferenceBatch, Monitor
from training.services import inference_records, inferences
from training.worker import inference_parts, retention

JSON = dict[str, Any]
BASE = "/api/v1/projects/intents/monitors/live"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def monitor(project: Project) -> Monitor:
    version = make.model_version(project, "small", labels=["no", "yes"])
    slices = [{"name": "greetings", "query": {"q": "hello"}}]
    return make.monitor(version, window_rows=None, window_hours=1.0, slices=slices)


@pytest.fixture
def tables(project: Project) -> Monitor:
    version = make.model_version(project, "cells", labels=["no", "yes"])
    return make.monitor(version, task="tabular-classification")


@pytest.fixture
def api(erin: User, monitor: Monitor) -> APIClient:
    return api_of(erin)


def record(identity: str = "a", **more: Any) -> JSON:
    return {"id": identity, "time": NOW.isoformat(), "input": "hello", "prediction": "yes"} | more


def send(monitor: Monitor, *records: JSON) -> int:
    return inferences.receive(monitor=monitor, records_sent=list(records), by=monitor.created_by)


def post(api: APIClient, name: str, body: Any, **headers: str) -> Any:
    return api.post(f"{BASE}/{name}/", body, format="json", headers=headers or None)


# -- what is taken ----------------------------------------------------------------------------


def test_a_batch_is_accepted_before_anything_is_done(api: APIClient, monitor: Monitor) -> None:
    answer = post(api, "inferences", {"inferences": [record("a"), record("b", label="no")]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    batch = monitor.inbox.get()
    assert (batch.kind, batch.rows) == ("inferences", 2)
    assert inferences.count_waiting(monitor) == 2
    for name, body in (
        ("labels", {"labels": [{"id": "a", "label": "no"}]}),
        ("teacher-answers", {"answers": [{"id": "a", "prediction": "no", "share": 0.1}]}),
    ):
        assert post(api, name, body).json() == {"accepted": 1}
    gone = api.delete(f"{BASE}/inferences/", {"ids": ["a"]}, format="json")
    assert (gone.status_code, gone.json()) == (202, {"accepted": 1})
    kinds = monitor.inbox.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["inferences", "labels", "teacher", "forget"]
    assert inferences.count_waiting(monitor) == 2, "what is said of rows is no row"


def test_viewers_and_tokens_that_read_send_nothing(
    monitor: Monitor, vera: User, erin: User
) -> None:
    assert post(api_of(vera), "inferences", {"inferences": [record()]}).status_code == 403
    assert api_of(vera).get(f"{BASE}/rows/").status_code == 200
    _, secret = accounts.create_token(user=erin, name="reads", scope="read")
    client = APIClient()
    answer = client.post(
        f"{BASE}/inferences/",
        {"inferences": [record()]},
        format="json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.status_code == 403


FAULTS: list[tuple[Any, str, str]] = [
    ("text", "inferences.1", "is an object"),
    (record("b") | {"id": 7}, "inferences.1.id", "is a text"),
    (record(""), "inferences.1.id", "1 to 200"),
    (record("x" * 201), "inferences.1.id", "1 to 200"),
    ({"id": "b", "prediction": "yes"}, "inferences.1.time", "needed"),
    (record(time=1_700_000_000), "inferences.1.time", "is a text such as"),
    (record(time="yesterday"), "inferences.1.time", "is written like"),
    (record(time="9999-12-31T23:59:59Z"), "inferences.1.time", "ahead of this server"),
    (
        record(time=(NOW + timedelta(minutes=42)).isoformat()),
        "inferences.1.time",
        "minutes ahead",
    ),
    (record(time="2020-01-01T00:00:00Z"), "inferences.1.time", "older than the 90 days"),
    (record(input=7), "inferences.1.input", "is a text"),
    (record(input="x" * 100_001), "inferences.1.input", "at most 100,000"),
    (record(input={"vector": []}), "inferences.1.input.vector", "1 to 4,096"),
    (record(input={"vector": [1, True]}), "inferences.1.input.vector", "is a number"),
    (record(prediction=True), "inferences.1.prediction", "name of a class"),
    (record(prediction=3), "inferences.1.prediction", "name of a class"),
    (record(prediction=""), "inferences.1.prediction", "empty"),
    (record(probabilities=[0.5]), "inferences.1.probabilities", "are 1; the monitor has 2"),
    (record(probabilities=[0.9, 0.9]), "inferences.1.probabilities", "add up to 1.8"),
    (record(probabilities=[math.nan, 1.0]), "inferences.1.probabilities", "from 0 to 1"),
    (record(probabilities=[True, 0]), "inferences.1.probabilities", "are numbers"),
    (record(probabilities={"maybe": 1.0}), "inferences.1.probabilities", "no class"),
    (record(latency_ms=-1), "inferences.1.latency_ms", "from 0"),
    (record(latency_ms=math.inf), "inferences.1.latency_ms", "from 0"),
    (record(latency_ms="3"), "inferences.1.latency_ms", "is a number"),
    (record(tags=["a"]), "inferences.1.tags", "an object"),
    (record(tags={"a": []}), "inferences.1.tags.a", "text or a number"),
    (record(tags={str(one): 1 for one in range(21)}), "inferences.1.tags", "at most 20"),
    (record(teacher="yes"), "inferences.1.teacher", "says"),
    (record(teacher={"prediction": "no", "model": 1}), "inferences.1.teacher.model", "no such"),
    (record(teacher={"prediction": "no", "share": 0}), "inferences.1.teacher.share", "from 1e-06"),
    (record(lable="yes"), "inferences.1.lable", "no such key"),
    (record(input="a\x00b"), "inferences.1", "NUL"),
    (record("a\ud800"), "inferences.1", "surrogate"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "place", "sentence"), FAULTS)
def test_what_cannot_be_used_is_refused_by_its_place(
    monitor: Monitor, bad: Any, place: str, sentence: str
) -> None:
    with pytest.raises(Invalid) as refused:
        send(monitor, record(), bad)
    assert list(refused.value.fields) == [place]
    assert sentence in refused.value.fields[place][0]
    assert refused.value.detail.startswith(f"{place}: ")
    assert not monitor.inbox.exists()


CELLS: list[tuple[Any, str, str]] = [
    ("text", "input", "a value by column"),
    ({}, "input", "1 to 1,000 columns"),
    ({"age": [1]}, "input.age", "number, a text or null"),
    ({"age": 10**400}, "input.age", "counted with"),
    ({"age": math.nan}, "input.age", "counted with"),
    ({"age": "x" * 10_001}, "input.age", "at most 10,000"),
    ({"": 1}, "input", "name has 1 to"),
]


@pytest.mark.parametrize(("given", "place", "sentence"), CELLS)
def test_cells_that_cannot_be_counted_are_refused(
    tables: Monitor, given: Any, place: str, sentence: str
) -> None:
    with pytest.raises(Invalid) as refused:
        send(tables, record(input=given))
    assert sentence in refused.value.fields[f"inferences.0.{place}"][0]


def test_pictures_come_as_base64_or_by_the_name_of_one_that_came(project: Project) -> None:
    version = make.model_version(project, "digits", labels=["no", "yes"])
    pictures = make.monitor(version, task="image-classification")
    for good in ("aGVsbG8=", {"base64": "aGVsbG8="}, {"sha256": "ab" * 32}):
        assert send(pictures, record(input=good)) == 1
    for bad in ("no base64!", {"sha256": "AB" * 32}, {"sha256": 1}, {"url": "http://x"}, ""):
        with pytest.raises(Invalid):
            send(pictures, record(input=bad))
    with pytest.raises(Invalid, match="at most 5 MiB"):
        send(pictures, record(input="A" * (8 << 20)))


def test_numbers_are_answers_where_there_are_no_classes(project: Project) -> None:
    version = make.model_version(project, "prices", labels=[])
    prices = make.monitor(version, task="tabular-classification", labels=[])
    assert send(prices, record(input={"age": 1}, prediction=12.5, label=13)) == 1
    with pytest.raises(Invalid, match="no classes"):
        send(prices, record(input={"age": 1}, prediction=1, probabilities=[1.0]))
    with pytest.raises(Invalid, match="from -1e"):
        send(prices, record(input={"age": 1}, prediction=10**400))


def test_ten_thousand_records_are_taken_at_once_and_no_more(monitor: Monitor) -> None:
    many = [record(str(one)) for one in range(10_001)]
    assert send(monitor, *many[:-1]) == 10_000
    with pytest.raises(TooLarge, match="At most 10,000"):
        send(monitor, *many)
    with pytest.raises(Invalid) as refused:
        send(monitor, *({} for _ in range(500)))
    assert len(refused.value.fields) == inference_records.MOST_FAULTS


@pytest.mark.parametrize("body", [[], {}, {"inferences": 7}, {"inferences": []}, "text"])
def test_a_body_of_another_shape_is_refused(api: APIClient, body: Any) -> None:
    assert post(api, "inferences", body).status_code == 400


def test_an_unknown_key_beside_the_records_is_refused(api: APIClient) -> None:
    answer = post(api, "inferences", {"inferences": [record()], "monitor": 1})
    assert list(answer.json()["fields"]) == ["monitor"]


def test_a_full_inbox_says_when_to_come_back(
    api: APIClient, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inferences, "MOST_WAITING_ROWS", 3)
    send(monitor, record("a"), record("b"))
    answer = post(api, "inferences", {"inferences": [record("c"), record("d")]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "15")
    assert answer.json()["code"] == "busy"
    assert inferences.forget(monitor=monitor, ids=["a", "b"], by=monitor.created_by) == 2


def test_what_is_to_be_forgotten_has_a_bounded_inbox_of_its_own(
    api: APIClient, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inferences, "MOST_WAITING_ROWS", 3)
    path = f"{BASE}/inferences/"
    assert api.delete(path, {"ids": ["a", "b"]}, format="json").status_code == 202
    answer = api.delete(path, {"ids": ["c", "d"]}, format="json")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "15")
    assert "2 ids wait to be forgotten" in answer.json()["detail"]
    # Neither takes the other's room.
    assert send(monitor, record("a"), record("b"), record("c")) == 3
    assert post(api, "inferences", {"inferences": [record("e")]}).status_code == 429
    assert api.delete(path, {"ids": ["e"]}, format="json").status_code == 202


def test_the_same_key_is_one_batch(api: APIClient, monitor: Monitor) -> None:
    body = {"inferences": [record()]}
    for _ in range(2):
        assert post(api, "inferences", body, **{"Idempotency-Key": "once"}).status_code == 202
    assert monitor.inbox.count() == 1


def test_a_post_asks_the_database_little_however_much_it_holds(
    api: APIClient, monitor: Monitor, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    body = {"inferences": [record(str(one)) for one in range(2000)]}
    with django_assert_max_num_queries(9):
        post(api, "inferences", body)


# -- what is shown ----------------------------------------------------------------------------


@pytest.fixture
def filled(monitor: Monitor, tmp_path: Path) -> Monitor:
    """Sixty rows of three days, an hour apart; every third has a label, some a teacher's answer."""
    rows = [
        record(
            f"row-{at:02}",
            time=(NOW - timedelta(hours=at)).isoformat(),
            input="hello there" if at % 2 else "good bye",
            prediction="yes" if at % 4 else "no",
            probabilities=[0.2, 0.8] if at % 4 else [0.7, 0.3],
        )
        for at in range(60)
    ]
    for begin in range(0, 60, 20):
        send(monitor, *rows[begin : begin + 20])
        take_in(monitor, tmp_path)
    by = monitor.created_by
    labels = [{"id": f"row-{at:02}", "label": "yes"} for at in range(0, 60, 3)]
    inferences.receive_labels(monitor=monitor, labels=labels, by=by)
    answers = [
        {"id": "row-01", "prediction": "no", "share": 0.5},
        {"id": "row-02", "prediction": "yes"},
    ]
    inferences.receive_teacher(monitor=monitor, answers=answers, by=by)
    take_in(monitor, tmp_path)
    return monitor


def ids(found: list[JSON]) -> list[str]:
    return [one["id"] for one in found]


def test_rows_are_shown_newest_first_with_what_was_said_later(
    filled: Monitor, api: APIClient
) -> None:
    answer = api.get(f"{BASE}/rows/", {"limit": 3}).json()
    assert ids(answer["results"]) == ["row-00", "row-01", "row-02"]
    first, second, _ = answer["results"]
    assert first["label"] == "yes"
    assert first["probabilities"] == {"no": 0.7, "yes": 0.3}
    assert second["teacher"] == {"prediction": "no", "probabilities": None, "share": 0.5}
    assert (second["input"], second["label"], second["tags"]) == ("hello there", None, {})
    assert second["described"]["length"] == 11
    assert first["window"] == int(NOW.timestamp()) // 3600


@pytest.mark.parametrize("limit", [1, 7, 20, 100])
def test_pages_show_every_row_once_in_order(filled: Monitor, limit: int) -> None:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = inferences.rows(filled, limit=limit, cursor=cursor)
        assert len(page.rows) <= limit
        found += ids(page.rows)
        cursor = page.next
    assert found == [f"row-{at:02}" for at in range(60)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"prediction": "no"}, [at for at in range(60) if at % 4 == 0]),
        ({"wrong": True}, [at for at in range(60) if at % 12 == 0]),
        ({"disagreeing": True}, [1]),
        ({"slice": "greetings"}, [at for at in range(60) if at % 2]),
        ({"q": "GOOD"}, [at for at in range(60) if at % 2 == 0]),
        ({"q": "hello", "prediction": "no"}, []),
        ({"since": NOW - timedelta(hours=3)}, [0, 1, 2, 3]),
        ({"until": NOW - timedelta(hours=57)}, [58, 59]),
        ({"window": int((NOW - timedelta(hours=31)).timestamp()) // 3600}, [31]),
    ],
)
def test_rows_are_found_by_what_is_asked_of_them(
    filled: Monitor, asked: JSON, expected: list[int]
) -> None:
    page = inferences.rows(filled, inferences.Asked(**asked), limit=100)
    assert ids(page.rows) == [f"row-{at:02}" for at in expected]
    assert page.next is None


def test_rows_are_found_by_id_in_the_order_asked_for(filled: Monitor, api: APIClient) -> None:
    answer = api.get(f"{BASE}/rows/", {"id": ["row-33", "nobody", "row-03"]}).json()
    assert ids(answer["results"]) == ["row-33", "row-03"]
    assert answer["results"][0]["label"] == "yes"


def test_what_cannot_be_asked_of_rows_is_refused(filled: Monitor, api: APIClient) -> None:
    for query, status in (
        ({"colour": "red"}, 400), ({"since": "soon"}, 400), ({"slice": "nobody"}, 404),
        ({"cursor": "x"}, 404), ({"cursor": "9" * 30 + ".1"}, 404), ({"window": -1}, 400),
        ({"limit": 0}, 400), ({"window": 2**53}, 404),
    ):  # fmt: skip
        assert api.get(f"{BASE}/rows/", query).status_code == status, query


def test_a_lost_part_is_told_in_a_sentence(filled: Monitor, api: APIClient) -> None:
    storage.delete(filled.parts.values_list("sha256", flat=True))
    answer = api.get(f"{BASE}/rows/")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_a_page_of_rows_asks_the_database_little(
    filled: Monitor, api: APIClient, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    with django_assert_max_num_queries(8):
        assert len(api.get(f"{BASE}/rows/", {"limit": 60}).json()["results"]) == 60


# -- what goes --------------------------------------------------------------------------------


def test_what_is_forgotten_is_shown_no_more(filled: Monitor, tmp_path: Path) -> None:
    inferences.forget(monitor=filled, ids=["row-00", "row-30"], by=filled.created_by)
    assert take_in(filled, tmp_path).removed == 2
    left = inferences.rows(filled, limit=100).rows
    assert len(left) == 58
    assert not {"row-00", "row-30"} & set(ids(left))


def test_days_that_are_past_what_is_kept_go_and_their_files_with_them(filled: Monitor) -> None:
    Monitor.objects.update(retention_days=1)
    kept = (timezone.now() - timedelta(days=1)).date()
    assert inference_parts.remove_old() > 0
    assert inference_parts.remove_old() == 0
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.via, entry.subject) == ("inferences.forget", "worker", filled.name)
    assert entry.detail["why"] == "Rows are kept for so many days: 1."
    assert not filled.parts.filter(day__lt=kept).exists()
    assert filled.parts.filter(kind="rows").exists()
    names = sweeping.named(skipping=retention.NAMELESS)
    swept = sweeping.look(storage.BLOBS, names, grace=-1)
    assert swept.orphans.files > 0
    assert ids(inferences.rows(filled, limit=3).rows) == ["row-00", "row-01", "row-02"]


def test_a_batch_that_was_set_aside_goes_after_a_week(monitor: Monitor) -> None:
    send(monitor, record())
    batches = InferenceBatch.every.all()
    batches.update(error="It cannot be read.", received_at=timezone.now() - timedelta(days=8))
    send(monitor, record("b"))
    InferenceBatch.objects.update(received_at=timezone.now() - timedelta(days=8))
    inference_parts.remove_old()
    assert [one.error for one in batches.all()] == [""]  # what waits is taken in, however late


def test_a_picture_that_a_row_names_is_not_swept(project: Project, tmp_path: Path) -> None:
    version = make.model_version(project, "digits", labels=["no", "yes"])
    pictures = make.monitor(version, task="image-classification")
    content = base64.b64encode(make.picture()).decode()
    send(pictures, record(input={"base64": content}))
    take_in(pictures, tmp_path)
    row = inferences.rows(pictures).rows[0]
    assert bytes.fromhex(row["input"]["sha256"]) in inference_parts.named_files()
    pictures.parts.all().delete()
    assert inference_parts.named_files() == set()

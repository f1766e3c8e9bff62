"""Teachers behind APIs are asked patiently, within their budget, and never twice."""

import itertools
import math
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from distillhub.lib.leases import GivenBack
from projects.models import ModelVersion, Project
from tests import make
from tests.site.processes import until
from tests.training.api_server import Service, prompt_of, serving
from training.answering import asker, estimating, openai_api
from training.answering.asker import Asker
from training.answering.faults import Stopped
from training.answering.pacing import Pace
from training.answering.questions import Answer, Choice, Prompt, Structured, Text
from training.models import TeacherAnswer
from training.services import api_teachers

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def in_a_hurry(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr(asker, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asker, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(asker, "ELSEWHERE", 0.05)
    monkeypatch.setattr(asker, "GLANCE", 0.02)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as one:
        yield one


def teacher(project: Project, service: Service, **source: Any) -> ModelVersion:
    said = {
        "kind": "api",
        "api": "openai-chat",
        "base_url": service.base_url,
        "model": "big",
        "timeout": 5.0,
        "input_price": "1.0",
        "output_price": "2.0",
    }
    return make.model_version(project, role="teacher", source=said | source)


def bedrock(project: Project, service: Service, **more: Any) -> ModelVersion:
    said = {"api": "bedrock", "base_url": service.url, "region": "eu-central-1", "model": "a.b:0"}
    return teacher(project, service, **said | more)


def keyed(version: ModelVersion, key: str) -> ModelVersion:
    api_teachers.replace_key(version=version, key=key, by=version.created_by)
    return version


def asked(version: ModelVersion, texts: list[str], question: Any = None, **more: Any) -> Any:
    asking = Asker(version, question or Text(), purpose="test", **more)
    found: dict[Any, Answer] = {}
    stopped = None
    try:
        for answer in asking.answers(Prompt(at, text) for at, text in enumerate(texts)):
            found[answer.key] = answer
    except Stopped as end:
        stopped = end
    return found, asking.report, stopped


def test_each_prompt_gets_its_answer_and_what_it_cost(project: Project, service: Service) -> None:
    found, report, stopped = asked(teacher(project, service), ["one", "two", "three"])

    assert {at: one.text for at, one in found.items()} == {0: "ONE", 1: "TWO", 2: "THREE"}
    assert (report.answered, report.cached, report.requests, stopped) == (3, 0, 3, None)
    rows = TeacherAnswer.objects.all()
    paid = sum(Decimal(one.input_tokens + 2 * one.output_tokens) for one in rows) / 1_000_000
    assert report.cost == paid > 0


def test_what_was_answered_is_never_asked_again(project: Project, service: Service) -> None:
    version = teacher(project, service)
    asked(version, ["one", "two"])
    found, report, _ = asked(version, ["one", "two", "three", "three"])

    assert len(service.seen) == 3
    assert (report.answered, report.cached, report.requests) == (4, 3, 1)
    assert [found[at].text for at in range(4)] == ["ONE", "TWO", "THREE", "THREE"]


def test_five_hundred_rows_are_labelled_through_a_server_that_fails_a_third_of_the_time(
    project: Project, service: Service
) -> None:
    """Every second row at its first try, and so every third request."""
    faults = ["429", "500", "cut", "broken", "503", "no json"]

    def fails(number: int, body: dict[str, Any]) -> str | None:
        row = int(prompt_of(body).split()[1])
        again = service.seen[:number].count(body)
        return faults[row // 2 % 6] if row % 2 and not again else None

    service.fault = fails
    service.answer = lambda body: "even" if len(str(body)) % 2 else "odd"
    version = teacher(project, service, concurrency=8)

    found, report, stopped = asked(
        version, [f"row {number}" for number in range(500)], Choice(labels=("even", "odd"))
    )

    assert stopped is None
    assert report.answered == 500, report.reasons
    assert {one.label for one in found.values()} == {"even", "odd"}
    assert set(service.charges.values()) == {1}
    assert len(service.charges) == 500
    assert report.requests == len(service.seen) == 750
    assert service.most_at_once <= 8


SAID = {
    "empty": "empty",
    "refused": "refused",
    "unfinished": "unfinished",
    "filtered": "filtered",
    "huge": "too_long",
}


@pytest.mark.parametrize("fault", SAID)
def test_what_is_no_answer_is_kept_apart_with_its_reason(
    project: Project, service: Service, fault: str
) -> None:
    service.fault = lambda number, body: fault if "bad" in prompt_of(body) else None
    found, report, stopped = asked(teacher(project, service), ["good", "bad"])

    assert stopped is None
    assert found[0].text == "GOOD"
    assert (found[1].reason, report.reasons) == (SAID[fault], {SAID[fault]: 1})
    assert found[1].detail
    assert len(service.seen) == 2


@pytest.mark.parametrize(
    ("question", "said", "reason"),
    [
        (Text(), "It was a dark and", "unfinished"),
        (Structured(properties={"why": {"type": "string"}}), '{"why": "because', "unfinished"),
        (Choice(labels=("card", "cash")), "cash, because", ""),
        (Choice(labels=("card", "cash")), "Let me think about", "unfinished"),
    ],
)
def test_an_answer_that_its_limit_ended_counts_where_it_is_whole_nevertheless(
    project: Project, service: Service, question: Any, said: str, reason: str
) -> None:
    service.answer = lambda body: {"text": said, "finish_reason": "length"}
    found, _, _ = asked(teacher(project, service), ["one"], question)

    assert found[0].reason == reason
    assert found[0].text == said


def test_a_failure_in_an_answer_that_looks_well_is_a_failure(
    project: Project, service: Service
) -> None:
    service.fault = lambda number, body: "200 error" if number == 0 else None
    found, report, _ = asked(teacher(project, service), ["one"])
    assert (found[0].text, report.requests) == ("ONE", 2)


def test_a_key_goes_where_a_gateway_wants_it(project: Project, service: Service) -> None:
    version = teacher(project, service, key_header="api-key", headers={"X-Team": "intents"})
    asked(keyed(version, "key-0123456789"), ["one"])

    headers = service.headers[0]
    assert (headers["api-key"], headers["x-team"]) == ("key-0123456789", "intents")
    assert "authorization" not in headers


ENDS = {
    "quota": "quota",
    "401": "not_allowed",
    "404": "no_model",
    "redirect": "redirected",
}


@pytest.mark.parametrize("fault", ENDS)
def test_what_no_other_request_would_escape_ends_the_asking(
    project: Project, service: Service, fault: str
) -> None:
    service.fault = lambda number, body: fault if number >= 2 else None
    version = teacher(project, service, concurrency=1)
    found, report, stopped = asked(version, [f"row {number}" for number in range(20)])

    assert stopped is not None
    assert stopped.reason == report.stopped == ENDS[fault]
    assert (len(service.seen), len(found)) == (3, 2)

    service.fault = lambda number, body: None
    found, report, _ = asked(version, [f"row {number}" for number in range(20)])
    assert (report.answered, report.cached, len(service.seen)) == (20, 2, 21)


def test_a_service_that_is_away_is_given_up(project: Project, service: Service) -> None:
    service.fault = lambda number, body: "503"
    version = teacher(project, service, concurrency=2)
    _, report, stopped = asked(version, [f"row {number}" for number in range(100)])

    assert stopped.reason == "away"
    assert asker.GIVING_UP <= report.reasons["server_error"] < asker.GIVING_UP + 3


def test_a_key_that_is_refused_an_address_is_never_sent(
    project: Project, service: Service, settings: LazySettings
) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = []
    _, _, stopped = asked(teacher(project, service), ["one"])

    assert stopped.reason == "address_refused"
    assert service.seen == []


def test_all_wait_as_long_as_the_service_asks(project: Project, service: Service) -> None:
    """The clock of the pace says that nothing began meanwhile, whatever this machine's speed."""
    service.fault = lambda number, body: "429 later" if number == 0 else None
    begun: list[float] = []

    class Watched(Pace):
        def close(self, seconds: float) -> None:
            super().close(seconds)
            begun.append(seconds)

    asking = Asker(teacher(project, service, concurrency=4), Text(), purpose="test")
    asking._pace = Watched(0)
    found = list(asking.answers(Prompt(number, f"row {number}") for number in range(8)))

    assert begun == [1.0]
    assert all(one.is_answered for one in found)


def test_a_budget_is_never_passed_and_what_was_answered_stays(
    project: Project, service: Service
) -> None:
    version = teacher(project, service, max_tokens=50, output_price="1000", concurrency=3)
    texts = [f"row {number}" for number in range(200)]
    cap = Decimal("0.2")
    found, report, stopped = asked(version, texts, budget=cap)

    assert stopped.reason == report.stopped == "budget"
    assert 0 < report.cost <= cap
    assert cap - report.cost < Decimal("0.06"), "one worst case"
    answered = len(found)
    assert 0 < answered < 200

    again, report, stopped = asked(version, texts, budget=cap)
    assert (len(again), report.cost, stopped.reason) == (answered, 0, "budget")
    assert len(service.seen) == answered, "what the job spent before counts"

    asked(version, texts, budget=2 * cap)
    assert answered < len(service.seen) < 200


def test_requests_whose_answer_was_lost_count_against_the_budget(
    project: Project, service: Service
) -> None:
    service.fault = lambda number, body: "cut"
    service.remembers = False
    version = teacher(project, service, max_tokens=50, output_price="1000", concurrency=1)
    _, report, stopped = asked(version, ["a", "b", "c", "d"], budget=Decimal("0.3"))

    assert stopped.reason == "budget"
    assert len(service.seen) <= 5
    assert report.cost == sum(one.risked for one in TeacherAnswer.objects.all()) <= Decimal("0.3")


@pytest.mark.parametrize("api", ["openai-chat", "bedrock"])
def test_what_no_database_keeps_is_left_out_of_answers(
    project: Project, service: Service, api: str
) -> None:
    service.answer = lambda body: "a\0b\ud800c"
    version = bedrock(project, service) if api == "bedrock" else teacher(project, service)
    found, _, _ = asked(version, ["one"])

    assert found[0].text == "ab?c"
    assert TeacherAnswer.objects.get().reply["text"] == "ab?c"  # type: ignore[index]


def test_numbers_that_are_none_are_taken_for_impossible(project: Project, service: Service) -> None:
    top = [{"token": "card", "logprob": 0.0}, {"token": "cash", "logprob": -math.inf}]
    content = [{"token": "card", "logprob": 0.0, "top_logprobs": top}]
    service.answer = lambda body: {"text": "card", "logprobs": {"content": content}}
    version = teacher(project, service, offers={"logprobs": True})
    found, _, _ = asked(version, ["one"], Choice(labels=("card", "cash")))

    assert found[0].probabilities == (1.0, 0.0)


def test_a_service_that_tells_no_tokens_is_taken_at_its_dearest(
    project: Project, service: Service
) -> None:
    service.tell_usage = False
    _, report, _ = asked(teacher(project, service, max_tokens=100), ["one"])
    assert report.cost > Decimal(200) / 1_000_000


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_ask_the_same_thing_at_the_same_time_ask_once(service: Service) -> None:
    project = make.project(owner=make.user())
    version = teacher(project, service, concurrency=4)
    service.seconds = 0.2
    reports: list[Any] = []

    def work(name: str) -> None:
        try:
            asking = Asker(version, Text(), purpose=name)
            answers = list(asking.answers(Prompt(at, f"row {at % 6}") for at in range(12)))
            assert all(one.is_answered for one in answers)
            reports.append(asking.report)
        finally:
            connection.close()

    workers = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for one in workers:
        one.start()
    for one in workers:
        one.join()

    assert [report.answered for report in reports] == [12, 12]
    assert len(service.seen) == sum(report.requests for report in reports) == 6
    assert set(service.charges.values()) == {1}


def test_what_a_dead_worker_was_asking_is_asked_when_its_lease_is_over(
    project: Project, service: Service
) -> None:
    version = teacher(project, service)
    asked(version, ["one"])
    row = TeacherAnswer.objects.get()
    TeacherAnswer.objects.update(
        status="asking", reply=None, lease_until=row.created_at - timedelta(hours=1)
    )
    found, _, _ = asked(version, ["one"])

    assert found[0].text == "ONE"
    row.refresh_from_db()
    assert (row.status, row.times_lost, row.requests) == ("answered", 1, 2)


def test_whoever_has_to_leave_keeps_what_was_under_way(project: Project, service: Service) -> None:
    service.seconds = 0.1
    leaving = threading.Event()
    version = teacher(project, service, concurrency=4)
    asking = Asker(version, Text(), purpose="test", stopping=leaving.is_set)
    answers = asking.answers(Prompt(number, f"row {number}") for number in range(40))
    next(answers)
    leaving.set()
    with pytest.raises(GivenBack):
        list(answers)

    sent = len(service.seen)
    assert sent < 12
    assert TeacherAnswer.objects.filter(status="answered").count() == sent
    assert not TeacherAnswer.objects.filter(status="asking").exists()
    _, report, _ = asked(version, [f"row {number}" for number in range(40)])
    assert (report.answered, len(service.seen)) == (40, 40)


def test_two_answers_to_one_prompt_are_asked_once_each(project: Project, service: Service) -> None:
    version = teacher(project, service)
    for _ in range(2):
        asking = Asker(version, Text(temperature=1.0), purpose="test")
        prompts = [Prompt(sample, "one", sample=sample) for sample in range(3)]
        assert len(list(asking.answers(prompts))) == 3
    assert len(service.seen) == 3


def test_another_price_or_limit_asks_nothing_again_and_another_model_does(
    project: Project, service: Service
) -> None:
    asked(teacher(project, service), ["one"])
    asked(teacher(project, service, input_price="7", concurrency=1), ["one"])
    assert len(service.seen) == 1
    asked(teacher(project, service, model="bigger"), ["one"])
    assert len(service.seen) == 2


def test_what_it_costs_is_estimated_before(project: Project, service: Service) -> None:
    version = teacher(project, service, max_tokens=50, requests_per_minute=6000)
    asked(version, ["row 0", "row 1"])
    texts = [f"row {number}" for number in range(10)]
    prompts = [Prompt(number, text) for number, text in enumerate(texts)]
    told = estimating.estimate(version, Text(), prompts, count=10)

    assert (told.prompts, told.cached, told.seconds) == (10, 2, 0.08)
    assert 0 < told.cost <= told.most
    sent = len(service.seen)
    _, report, _ = asked(version, texts)
    assert report.cost <= told.most
    assert len(service.seen) == sent + 8


# What ends suddenly -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_in_the_middle_has_nothing_asked_twice_but_what_was_under_way(
    service: Service,
) -> None:
    """With SIGKILL, and by a process of its own, that holds no lease afterwards but in the rows."""
    project = make.project(owner=make.user())
    version = teacher(project, service, concurrency=4)
    service.seconds, service.remembers = 0.05, False
    texts = [f"row {number}" for number in range(60)]
    connection.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside the server's thread
        worker = os.fork()
    if worker == 0:
        try:
            asked(version, texts)
        finally:
            os._exit(0)
    until(lambda: len(service.seen) >= 20)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    until(lambda: service.at_once == 0)

    before = len(service.seen)
    kept = TeacherAnswer.objects.filter(status="answered").count()
    assert before - 4 <= kept < 60
    TeacherAnswer.objects.filter(status="asking").update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )
    found, report, _ = asked(version, texts)

    assert report.answered == len(found) == 60
    assert report.cached == kept
    assert 60 <= len(service.seen) <= 64
    twice = [body for body, times in service.charges.items() if times > 1]
    assert len(twice) == before - kept <= 4


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "999999999"}, openai_api.LONGEST_WAIT),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({}, None),
    ],
)
def test_how_long_a_service_asks_to_wait_is_read_in_all_its_ways(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert openai_api.retry_after(headers) == seconds


def test_turns_are_given_by_the_minute() -> None:
    pace = Pace(600)
    turns = [pace.turn() for _ in range(5)]
    assert turns[0] == 0.0
    assert all(later - earlier > 0.05 for earlier, later in itertools.pairwise(turns))
    pace.close(100.0)
    assert pace.turn() > 99

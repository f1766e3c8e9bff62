"""Teachers behind APIs are asked patiently, within their budget, and never twice."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings

from projects.models import ModelVersion, Project
from tests import make
from tests.training.api_server import Service, prompt_of, serving
from training.answering import asker
from training.answering.asker import Asker
from training.answering.faults import Stopped
from training.answering.questions import Answer, Choice, Prompt, Structured, Text
from training.models import TeacherAnswer

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

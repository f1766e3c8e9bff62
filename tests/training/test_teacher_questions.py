"""A service is asked about a sample of what a monitor was sent, and daily about its canaries:
within a day's rows, never twice, and never by a child process."""

import json
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from distillhub.lib import leases
from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, ModelVersion, Project
from tests.conftest import api_of
from tests.training.api_server import Service, prompt_of
from tests.training.test_asking_apis import in_a_hurry, keyed, service, teacher
from tests.training.test_monitor_looks import BEGAN, LABELS, look, rows, send, sent
from training.models import InferenceBatch, Monitor, TeacherQuestion
from training.services import canaries, monitor_rules, monitors
from training.worker import dispatch, monitor_teacher, teacher_questions
from training.worker import monitors as looking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]
__all__ = ["in_a_hurry", "rows", "service"]

KEY = "sk-secret-of-this-test"


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)


@pytest.fixture
def asked(project: Project, service: Service) -> ModelVersion:
    """Says yes of everybody above forty."""
    service.answer = by_age
    version = teacher(project, service)
    version.model.task = "tabular-classification"
    version.model.save()
    return keyed(version, KEY)


def by_age(body: dict[str, Any]) -> str:
    age = float(prompt_of(body).split("age: ")[1].split("\n")[0])
    return "yes" if age > 40 else "no"


def backwards(body: dict[str, Any]) -> str:
    return "no" if by_age(body) == "yes" else "yes"


@pytest.fixture
def bare(project: Project, rows: DatasetVersion, asked: ModelVersion) -> Monitor:
    """Whose reference is not fitted."""
    return monitors.create(
        project=project,
        asked={
            "name": "live",
            "model": {"external": "scorer", "task": "tabular-classification", "labels": LABELS},
            "reference": "people@1:test",
            "window": {"hours": 1},
            "teacher": asked.reference,
            "teacher_sample_rate": 0.25,
            "teacher_daily": 5000,
        },
        by=project.created_by,
    )


@pytest.fixture
def monitor(bare: Monitor) -> Monitor:
    return look(bare, fits=True)


def carried_out(monitor: Monitor, kind: str, status: str = "ready") -> TeacherQuestion:
    one = monitor.questions.get(kind=kind, status="queued")
    teacher_questions.WORK.carry_out(one.pk)
    one.refresh_from_db()
    assert (one.status, one.error if status == "ready" else None) == (status, None)
    monitor.refresh_from_db()
    return one


def next_look(monitor: Monitor) -> None:
    if not monitor.looks.filter(status="queued").exists():
        looking._begin(monitor)
    look(monitor)


def test_a_sample_of_rows_is_asked_about_and_its_answers_are_joined_to_them(
    monitor: Monitor, service: Service
) -> None:
    send(monitor, sent(400, 0))
    look(monitor)
    assert not service.seen
    waiting = monitor.questions.get()
    assert 60 < waiting.rows < 140
    assert monitor.asked == waiting.rows
    done = carried_out(monitor, "rows")
    assert len(service.seen) == waiting.rows
    assert bytes(done.body) == b""
    assert done.report is not None
    assert done.report["answered"] == waiting.rows
    assert "place: " in prompt_of(service.seen[0])
    assert KEY in str(service.headers[0])
    next_look(monitor)
    window = monitor.windows.order_by("number").first()
    assert window is not None
    assert window.facts["rows_with_answer"] == waiting.rows
    assert 0.3 < window.facts["agreement"]["value"] < 0.7
    assert monitor.questions.count() == 1  # nobody asks about an answered row again


def test_a_child_is_told_neither_key_nor_address(bare: Monitor, tmp_path: Path) -> None:
    looking._begin(bare)
    held = looking.WORK.claim(bare.looks.get(fits=False).pk)
    assert held is not None
    config = looking.WORK.prepare(held.row, tmp_path)
    assert (config["asks"], config["teacher"], config["asked_today"]) == (True, None, 0)
    said = json.dumps(config) + "".join(
        one.read_text(errors="replace") for one in tmp_path.rglob("*") if one.is_file()
    )
    assert KEY not in said
    assert "127.0.0.1" not in said
    bare.privacy = Monitor.Privacy.HASHED
    assert monitor_teacher.told(bare)["asks"] is False


def test_a_day_has_as_many_rows_as_it_may_have(bare: Monitor) -> None:
    Monitor.objects.update(teacher_daily=30, asked=29, asked_on=timezone.now().date())
    send(bare, sent(400, 0))
    bare.refresh_from_db()
    look(bare)
    assert bare.asked <= 30
    assert sum(bare.questions.values_list("rows", flat=True)) <= 1
    assert monitor_teacher.asked_today(bare) == bare.asked
    bare.asked_on = timezone.now().date() - timedelta(days=1)
    assert monitor_teacher.asked_today(bare) == 0


def test_a_worker_that_leaves_gives_back_what_another_goes_on_with(
    bare: Monitor, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(bare, sent(200, 0))
    look(bare)
    one = bare.questions.get()

    def leaving(body: dict[str, Any]) -> str:
        if len(service.seen) == 10:
            leases.stopping.set()
        return by_age(body)

    service.answer = leaving
    try:
        teacher_questions.WORK.carry_out(one.pk)
    finally:
        leases.stopping.clear()
    one.refresh_from_db()
    assert one.status == "queued"
    assert not InferenceBatch.objects.exists()
    service.answer = by_age
    carried_out(bare, "rows")
    assert max(service.charges.values()) == 1
    assert InferenceBatch.objects.get().rows == one.rows


def test_canaries_tell_how_teacher_and_student_agreed_and_when_the_service_changed(
    monitor: Monitor, service: Service
) -> None:
    assert len(monitor.reference["canaries"]) == 200
    assert "agreement" not in monitor.reference
    monitor_teacher.ask_canaries()
    monitor_teacher.ask_canaries()
    done = carried_out(monitor, "canaries")
    assert (done.rows, len(done.answers["first"]), len(done.answers["again"])) == (250, 200, 50)
    assert monitor.asked == 250
    assert 0.3 < monitor.reference["agreement"]["value"] < 0.7
    assert monitor.reference["agreement"]["rows"] == 200
    assert monitor.reference["answers_needed"] > 100
    assert not any("agreement" in one for one in monitor.reference["notes"])
    assert said_of(monitor).startswith("Asked twice in a row, the teacher said the same of 50 ")
    [first] = monitor_teacher.told(monitor)["canaries"]
    assert (first["rows"], first["same"]) == (50, 50)

    monitor_teacher.ask_canaries()
    assert monitor.questions.count() == 1  # once a day
    a_day_later(monitor)
    service.answer = backwards
    monitor_teacher.ask_canaries()
    again = carried_out(monitor, "canaries")
    assert (again.rows, again.answers["first"]) == (50, {})
    assert [one["same"] for one in monitor_teacher.told(monitor)["canaries"]] == [50, 0]
    assert "the teacher said of 0 of 50 rows" in said_of(monitor)
    address = f"/api/v1/projects/{monitor.project.slug}/monitors/live/"
    told = api_of(monitor.created_by).get(address).json()
    assert [one["same"] for one in told["canaries"]["checks"]] == [50, 0]
    assert told["canaries"]["sentence"] == said_of(monitor)
    assert told["asked_today"] == 300
    assert sum(service.charges.values()) == 300

    # Rows of this hour, whichever it was when the tests were read: what canaries said came before.
    send(monitor, sent(200, (timezone.now() - BEGAN) // timedelta(hours=1)))
    next_look(monitor)
    carried_out(monitor, "rows")
    next_look(monitor)
    window = monitor.windows.get(rows=200)
    [drift] = window.scores["teacher_drift"]
    assert drift["p"] < 1e-6
    assert "changed its model" in drift["facts"]["advice"][0]
    [agreement] = window.scores["agreement"]
    assert agreement["facts"]["reference"] == monitor.reference["agreement"]["value"]


def test_what_was_asked_long_ago_goes_but_for_what_canaries_said_at_first(bare: Monitor) -> None:
    def asked(kind: str, status: str, **answers: Any) -> int:
        made = monitor_teacher.begin(bare, kind, rows=1, body=b"x")
        TeacherQuestion.objects.filter(pk=made.pk).update(
            status=status, answers=answers, created_at=timezone.now() - timedelta(days=100)
        )
        return made.pk

    first = asked("canaries", "ready", first={"1": "no"}, again={"1": "no"})
    waits = asked("rows", "queued")
    asked("canaries", "ready", first={}, again={"1": "no"})
    asked("canaries", "failed")
    asked("rows", "ready")
    recent = monitor_teacher.begin(bare, "rows", rows=1)
    monitor_teacher.forget_old()
    assert set(bare.questions.values_list("pk", flat=True)) == {first, waits, recent.pk}


def test_a_slice_may_have_a_share_of_its_own() -> None:
    old = {"name": "old", "query": "age:from:60"}
    assert monitor_rules.slices([old, old | {"name": "x", "share": 1}]) == [
        old, {"name": "x", "query": "age:from:60", "share": 1.0},
    ]  # fmt: skip
    for wrong in (0, 1.5, True, "half"):
        with pytest.raises(Invalid) as refused:
            monitor_rules.slices([old | {"share": wrong}])
        assert list(refused.value.fields) == ["slices.0.share"]


def said_of(monitor: Monitor) -> str:
    found = canaries.of(monitor)
    assert found is not None
    return found.sentence


def a_day_later(monitor: Monitor) -> None:
    past = timezone.now() - timedelta(hours=25)
    monitor.questions.update(created_at=past, finished_at=past)
    Monitor.objects.update(fitted_at=past - timedelta(hours=1))
    monitor.refresh_from_db()


def test_a_service_that_takes_no_key_fails_in_a_sentence_and_is_tried_an_hour_later(
    monitor: Monitor, service: Service
) -> None:
    service.key = "another"
    monitor_teacher.ask_canaries()
    failed = carried_out(monitor, "canaries", "failed")
    assert failed.error is not None
    assert failed.error["code"] == "not_allowed"
    assert said_of(monitor).startswith("The teacher could not be asked about rows of the reference")
    monitor_teacher.ask_canaries()
    assert monitor.questions.count() == 1
    monitor.questions.update(created_at=timezone.now() - timedelta(minutes=61))
    Monitor.objects.update(fitted_at=timezone.now() - timedelta(hours=2))
    monitor_teacher.ask_canaries()
    assert monitor.questions.count() == 2


def test_a_teacher_that_was_changed_is_not_asked_for_the_one_before(
    bare: Monitor, service: Service
) -> None:
    send(bare, sent(200, 0))
    look(bare)
    lines = zlib.decompress(bytes(bare.questions.get().body)).splitlines()
    assert set(json.loads(lines[0])) == {"id", "share", "cells"}
    Monitor.objects.update(teacher=None)
    failed = carried_out(bare, "rows", "failed")
    assert failed.error is not None
    assert failed.error["code"] == "gone"
    assert bytes(failed.body) == b""
    assert not service.seen


def test_a_service_writes_what_it_would_have_answered(project: Project, service: Service) -> None:
    service.answer = lambda body: f"Well: {prompt_of(body)[-3:]}"
    version = teacher(project, service)
    version.model.task = "text-generation"
    version.model.save()
    monitor = monitors.create(
        project=project,
        asked={
            "name": "live",
            "model": {"external": "writer", "task": "text-generation", "labels": []},
            "reference": {"traffic": {"hours": 1}},
            "window": {"rows": 20},
            "teacher": keyed(version, KEY).reference,
            "teacher_sample_rate": 1,
            "teacher_daily": 5000,
        },
        by=project.created_by,
    )
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "say 7"}]
    told: list[Any] = [
        {"id": f"r{at}", "time": BEGAN.isoformat(), "prediction": f"well: y {at}", **given}
        for at, given in enumerate([{"input": f"say {at}"} for at in range(7)] + [{"input": chat}])
    ]
    send(monitor, told)
    look(monitor)
    carried_out(monitor, "rows")
    assert sorted(prompt_of(one)[:5] for one in service.seen) == ["say 0", *(
        f"say {at}" for at in range(1, 8)
    )]  # fmt: skip
    assert any("be brief" in str(one["messages"]) for one in service.seen)
    next_look(monitor)
    (window,) = monitor.windows.all()
    assert window.facts["agreement"] == window.facts["agreement"] | {"value": 1, "rows": 8}
    assert window.facts["overlap"]["agreement"]["value"] == 1

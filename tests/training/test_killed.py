"""What a process leaves that SIGKILL ends in the middle: another carries on, and nothing is lost or
there twice. Each is a process of its own, killed at a place of the code that the test names."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from distillhub.lib import calls, leases
from projects.models import Event, Project, User, Webhook, WebhookDelivery
from projects.services import events, notifications, registry, webhooks
from tests import make
from tests.training.receiver import Receiver, listening
from tests.training.test_retraining_rules import judged
from tests.training.test_run_imports import CSV, looked, points
from training import jobs
from training.models import MetricSeries, Promotion, Retraining, Run, RunImport
from training.retraining import advancing, deciding, steps
from training.services import run_imports
from training.worker import child as children
from training.worker import fanning, imported, importing, webhook_delivery

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "before", "after"


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What workers are woken for. No broker carries it."""
    made: list[tuple[str, Any]] = []

    def call(job: str, **ids: Any) -> bool:
        made.append((job, ids))
        return True

    for place in ("distillhub.lib.calls.call", "training.worker.dispatch.call"):
        monkeypatch.setattr(place, call)
    return made


def killed(
    work: Callable[[], object], owner: Any, name: str, moment: str = BEFORE, times: int = 1
) -> None:
    """A process that does this work, and is killed when it comes to a function: before or after it,
    at the so-manieth time."""
    connection.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a receiver's thread
        process = os.fork()
    if process == 0:
        try:
            whole, left = getattr(owner, name), times

            def strikes(*args: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0 and moment == BEFORE:
                    os.kill(os.getpid(), signal.SIGKILL)
                found = whole(*args, **more)
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            setattr(owner, name, strikes)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), f"it never came to {name}"


# Events, and what is sent of them ----------------------------------------------------------------


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with listening() as found:
        yield found


@pytest.fixture
def hook(project: Project, alice: User, receiver: Receiver) -> Webhook:
    asked = {"name": "ci", "url": receiver.url}
    return webhooks.create(project=project, asked=asked, by=alice)[0]


def tell(project: Project, by: User) -> Event:
    return events.tell(
        project=project, kind="report.published", subject_kind="report", subject="3",
        title="Under the hood", sentence="A link was made.", by=by,
        data={"number": 3, "title": "Under the hood"},
    )  # fmt: skip


def carry_on(called: list[tuple[str, Any]]) -> None:
    """What a worker does every quarter of a minute, and what it is woken for by that."""
    called.clear()
    jobs.fan_out_events()
    for job, ids in list(called):
        if job == webhooks.DELIVER:
            webhook_delivery.deliver(**ids)


@pytest.mark.parametrize(
    ("owner", "name", "moment"),
    [
        (fanning, "tell", BEFORE),  # the event is committed, and nothing made of it
        (notifications, "make", AFTER),  # within the transaction
        (fanning, "_messages", AFTER),
        (fanning, "tell", AFTER),  # all is committed
        (calls, "call", BEFORE),  # and nobody woken
    ],
)
def test_an_event_is_told_once_whenever_who_tells_it_is_killed(
    project: Project, alice: User, erin: User, hook: Webhook, receiver: Receiver,
    called: list[tuple[str, Any]], owner: Any, name: str, moment: str,
) -> None:  # fmt: skip
    event = tell(project, alice)
    killed(fanning.fan_out, owner, name, moment)
    for _ in range(2):
        carry_on(called)
    assert fanning.tell(event.pk) is False
    [(headers, _)] = receiver.seen
    [delivery] = hook.deliveries.all()
    assert headers["webhook-id"] == delivery.message_id == f"msg_{event.pk}_{hook.pk}"
    assert delivery.status == WebhookDelivery.Status.DELIVERED
    assert list(erin.notifications.values_list("event", flat=True)) == [event.pk]


@pytest.mark.parametrize(
    ("name", "moment", "arrived"),
    [("send", BEFORE, 1), ("settle", BEFORE, 2), ("settle", AFTER, 1)],
)
def test_a_delivery_is_sent_again_under_its_id_and_the_log_says_that_it_may_have_arrived(
    project: Project, alice: User, hook: Webhook, receiver: Receiver,
    name: str, moment: str, arrived: int,
) -> None:  # fmt: skip
    tell(project, alice)
    fanning.fan_out()
    killed(lambda: webhook_delivery.deliver(hook.pk), webhook_delivery, name, moment)
    now = timezone.now()
    assert webhook_delivery.deliver(hook.pk) == 0  # it may still be on its way
    webhook_delivery.deliver(hook.pk, now=now + webhook_delivery.LEASE)
    [delivery] = hook.deliveries.all()
    ids = [headers["webhook-id"] for headers, _ in receiver.seen]
    assert ids == [delivery.message_id] * arrived
    assert len({body for _, body in receiver.seen}) == 1
    assert delivery.status == WebhookDelivery.Status.DELIVERED
    tries = [(one["status"], one["error"]) for one in delivery.answered]
    lost = [] if moment == AFTER else [(None, webhook_delivery.LOST)]
    assert tries == [(204, ""), *lost]


# Runs of other trackers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "moment", "times"),
    [
        (children, "spawn", AFTER, 1),  # its child reads on by itself
        (imported, "begin", AFTER, 1),
        (imported, "begin", BEFORE, 2),  # the first is there, and its points
        (imported, "measure", AFTER, 2),
        (leases.Held, "settle", BEFORE, 1),  # all are there, and the import does not say so
    ],
)
@pytest.mark.usefixtures("worker")
def test_an_import_ends_and_holds_each_run_once_whenever_its_worker_is_killed(
    project: Project, erin: User, owner: Any, name: str, moment: str, times: int
) -> None:
    row = run_imports.take(run_import=looked(project, erin, "metrics.csv", CSV), by=erin)
    killed(lambda: importing.WORK.carry_out(row.pk), owner, name, moment, times)
    row.refresh_from_db()
    assert row.status == "working"
    past = timezone.now() - timedelta(seconds=1)
    assert RunImport.objects.filter(lease_until__gt=past).update(lease_until=past)
    importing.WORK.carry_out(row.pk)
    row.refresh_from_db()
    assert (row.status, row.times_lost) == ("ready", 1), row.error
    outcome: Any = row.outcome
    assert outcome | {"new": 2, "grown": 0, "same": 0, "points": 5, "runs": [1, 2]} == outcome
    assert list(Run.objects.order_by("name").values_list("name", flat=True)) == ["a", "b"]
    assert MetricSeries.objects.count() == 4
    assert points(Run.objects.get(name="a"), "train/loss") == [(0, 1.0), (1, 0.5)]
    assert project.events.filter(kind="import.ready").count() == 1


# The promotion of a challenger -------------------------------------------------------------------


@pytest.fixture
def deciding_one(project: Project) -> Retraining:
    champion = make.model_version(
        project, "small", labels=["no", "yes"], source={"kind": "run", "run": 1}
    )
    champion.aliases.create(model=champion.model, name="production")
    challenger = make.model_version(project, "small", labels=["no", "yes"])
    monitor = make.monitor(champion, alias="production")
    found = make.retraining(monitor, status="deciding", challenger=challenger)
    judged(found, passed=True)
    return found


@pytest.mark.parametrize("by_person", [True, False])
@pytest.mark.parametrize(
    ("owner", "name", "moment"),
    [(registry, "set_alias", AFTER), (steps, "_announce", AFTER), (deciding, "_promote", AFTER)],
)
def test_a_challenger_is_promoted_once_whenever_who_promotes_it_is_killed(
    project: Project, erin: User, deciding_one: Retraining, by_person: bool,
    owner: Any, name: str, moment: str,
) -> None:  # fmt: skip
    found = deciding_one
    Retraining.objects.update(policy=found.policy | {"asks": by_person})

    def decide() -> None:
        now = Retraining.objects.get(pk=found.pk)
        if by_person:
            now.project = Project.objects.visible_to(erin).get()
            deciding.decide(retraining=now, promote=True, by=erin)
        else:
            advancing.advance(now)

    killed(decide, owner, name, moment)
    found.refresh_from_db()
    assert (found.status, Promotion.objects.count()) == ("deciding", 0)
    assert registry.resolve(project=project, reference="small@production").number == 1
    decide()
    advancing.look()
    found.refresh_from_db()
    assert (found.status, Promotion.objects.count()) == ("promoted", 1)
    assert registry.resolve(project=project, reference="small@production") == found.challenger
    assert project.events.filter(kind="retraining.promoted").count() == 1
    assert project.events.filter(kind="alias.moved").count() == 1

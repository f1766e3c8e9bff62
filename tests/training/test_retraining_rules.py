"""What opens a retraining and what does not, its policy, its pages, and the gate."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid
from projects.models import AuditEntry, ModelVersion, Project, RegisteredModel, User
from projects.services import registry
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.test_retraining import part_of
from training.engine.alerting import Alert
from training.models import IncidentEvent, Monitor, Retraining, SignalAlert
from training.operations import live_rows
from training.operations.live_rows import Live
from training.retraining import advancing, beginning, collecting, deciding, due, jobs, judging
from training.services import promotion, retraining_policy
from training.worker import comparison

pytestmark = pytest.mark.django_db

Status = Retraining.Status
BASE = "/api/v1/projects/intents"
NAMED = ModelVersion(model=RegisteredModel(name="small"), number=1)
ERRS = [{"signal": "agreement", "effect": 0.2, "detector": "agreement", "closed_at": None}]


@pytest.fixture
def champion(project: Project) -> ModelVersion:
    """Trained by a run here, and what production means."""
    version = make.model_version(
        project, "small", labels=["no", "yes"], source={"kind": "run", "run": 1}
    )
    make.run(project, student=version, output=version, status="finished")
    version.aliases.create(model=version.model, name="production")
    return version


@pytest.fixture
def monitor(champion: ModelVersion) -> Monitor:
    return make.monitor(champion, alias="production")


def test_an_incident_about_more_than_inputs_proposes_one_and_a_person_begins_it(
    monitor: Monitor, erin: User
) -> None:
    make.incident(monitor, signals=ERRS, sentence="They agree less.")
    for _ in range(2):
        advancing.look()
    found = Retraining.objects.get()
    assert found.incident is not None
    assert (found.status, found.incident.number) == (Status.PROPOSED, 1)
    assert "They agree less" in found.sentence
    again = beginning.begin(monitor=monitor, by=erin)
    assert (again.pk, again.status) == (found.pk, Status.COLLECTING)
    assert [one["by"] for one in again.steps] == [None, erin.display_name]
    with pytest.raises(Conflict, match="under way"):
        beginning.begin(monitor=monitor, by=erin)
    with pytest.raises(Conflict, match="has begun already"):
        beginning.start(retraining=found, by=erin)


def test_an_incident_is_answered_once(monitor: Monitor, erin: User) -> None:
    make.incident(monitor, signals=ERRS)
    beginning.look()
    deciding.cancel(retraining=Retraining.objects.get(), by=erin)
    assert beginning.look() == 0
    told = [one.sentence for one in IncidentEvent.objects.filter(kind="retraining")]
    assert told == [
        "Retraining 1 is proposed as the answer.",
        f"Retraining 1 is cancelled. Ended by {erin.display_name}.",
    ]


def test_inputs_alone_open_none(monitor: Monitor, erin: User) -> None:
    incident = make.incident(monitor)
    assert beginning.look() == 0
    with pytest.raises(beginning.Refused, match=r"about described\.length, prediction alone"):
        beginning.begin(monitor=monitor, by=erin, incident=incident)
    assert beginning.begin(monitor=monitor, by=erin).incident is None  # a person may all the same


def test_vectors_that_moved_are_no_evidence_that_the_model_errs(monitor: Monitor) -> None:
    foreign = {"signal": "vector", "effect": 0.4, "detector": "mmd", "closed_at": None}
    incident = make.incident(monitor, signals=[foreign])
    assert beginning.look() == 0  # inputs, as the model sees them
    incident.signals = [foreign, *ERRS]
    incident.save()
    assert beginning.look() == 1


def test_none_begins_while_the_data_are_broken(monitor: Monitor, erin: User) -> None:
    SignalAlert.objects.create(monitor=monitor, signal="quality.missing", state="firing")
    make.incident(monitor, signals=ERRS)
    assert beginning.look() == 0
    with pytest.raises(beginning.Refused, match=r"data-quality alert is open \(missing\)"):
        beginning.begin(monitor=monitor, by=erin)
    SignalAlert.objects.update(state="ok")
    assert beginning.look() == 1


def test_a_quality_alert_that_was_never_open_refuses_nothing(monitor: Monitor) -> None:
    kept = Alert(state="ok").as_dict()
    alert = SignalAlert.objects.create(monitor=monitor, signal="quality.missing", kept=kept)
    assert beginning.quality_alerts(monitor) == []
    alert.kept = {**kept, "opened": 7.0}
    alert.state = "no_data"
    alert.save()
    assert beginning.quality_alerts(monitor) == [alert]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"privacy": "hashed"}, "keeps no inputs"),
        ({"privacy": "described"}, "keeps no inputs"),
        ({"model": None, "alias": "", "version": None, "external": "gpt"}, "served elsewhere"),
    ],
)
def test_what_cannot_be_retrained_says_why(
    monitor: Monitor, erin: User, changes: dict[str, Any], sentence: str
) -> None:
    Monitor.objects.filter(pk=monitor.pk).update(**changes)
    asked = api_of(erin).post(f"{BASE}/retrainings/", {"monitor": "live"}, format="json")
    assert asked.status_code == 409
    assert sentence in asked.json()["detail"]
    assert sentence in api_of(erin).get(f"{BASE}/monitors/live/retraining/").json()["refusal"]


def test_a_version_that_no_run_here_trained_has_no_configuration(
    project: Project, erin: User
) -> None:
    monitor = make.monitor(make.model_version(project, "alien"))
    with pytest.raises(beginning.Refused, match="No run here trained alien@1"):
        beginning.begin(monitor=monitor, by=erin)


def test_a_schedule_proposes_and_may_start_by_itself(monitor: Monitor) -> None:
    monitor.retraining = {"every_days": 7, "starts_itself": True, "on_incident": False}
    monitor.save()
    make.incident(monitor, signals=ERRS)
    assert beginning.look() == 0
    old = timezone.now() - timedelta(days=8)
    Monitor.objects.update(created_at=old)
    assert beginning.look() == 1
    found = Retraining.objects.get()
    assert (found.status, found.incident) == (Status.COLLECTING, None)
    assert "7 days have passed" in found.steps[0]["sentence"]
    started, proposed = AuditEntry.objects.all()
    assert (proposed.action, started.action) == ("retraining.create", "retraining.start")
    assert {one.via for one in (proposed, started)} == {"worker"}
    assert {one.actor for one in (proposed, started)} == {""}
    assert (proposed.project, proposed.subject) == (monitor.project.slug, str(found.number))
    assert proposed.detail == {"monitor": "live", "why": "7 days have passed since the last."}


def test_a_policy_says_every_fault_and_keeps_every_default(monitor: Monitor, erin: User) -> None:
    client = api_of(erin)
    here = f"{BASE}/monitors/live/retraining/"
    asked = {"rows": 5, "keep_old": 2, "wish": True, "test_share": 0.8, "validation_share": 0.4}
    refused = client.put(here, asked, format="json")
    assert refused.status_code == 400
    assert {"rows", "keep_old", "wish"} <= set(refused.json()["fields"])
    kept = client.put(here, {"rows": 200, "budget": "2.5"}, format="json").json()
    assert (kept["policy"]["rows"], kept["policy"]["asks"]) == (200, True)
    assert "Up to 200 live rows" in " ".join(kept["sentences"])
    with pytest.raises(Invalid):
        retraining_policy.complete({"least_rows": 300, "rows": 200})
    page = signed_in(erin).post("/p/intents/monitors/live/retraining/", {"rows": "many"})
    assert "A valid integer is required" in page.content.decode()
    signed_in(erin).post("/p/intents/monitors/live/retraining/", {"rows": "300", "asks": "true"})
    monitor.refresh_from_db()
    policy = retraining_policy.of(monitor)
    assert (policy["rows"], policy["on_incident"], policy["asks"]) == (300, False, True)


# -- which rows -----------------------------------------------------------------------------------


def lives(many: int, **columns: Any) -> list[Live]:
    return [
        Live(
            id=str(at), window=0, time=f"{at:05}", answer="no",
            place=live_rows._place(str(at), 0), text=f"row {at}", **columns,
        )
        for at in range(many)
    ]  # fmt: skip


def test_a_margin_is_said_in_points_of_what_is_a_share_and_as_a_share_of_an_error(
    monitor: Monitor,
) -> None:
    monitor.retraining = {"max_old_loss": 0.04, "min_new_gain": 0.01}
    gate = retraining_policy.told(monitor, retraining_policy.of(monitor))[-1]
    assert "worse by at most 4 points of accuracy on the old test rows" in gate
    assert "must be better by more than 1 point of accuracy on the live ones" in gate
    monitor.labels = []
    gate = retraining_policy.told(monitor, retraining_policy.of(monitor))[-1]
    assert "worse by at most 4.0 % of the champion's error" in gate


def test_test_rows_are_drawn_by_chance_and_the_rest_where_there_is_most_to_learn() -> None:
    rows = lives(1000)
    for one in rows[::10]:
        one.weight = 2.0
    asked: dict[str, Any] = {"many": 200, "test": 0.3, "validation": 0.1, "chance": 0.5}
    picked, left = live_rows.chosen(rows, known={}, **asked)
    by = {name: [one for split, one in picked if split == name] for name in ("train", "test")}
    assert (len(picked), len(by["test"]), len(by["train"])) == (200, 60, 120)
    odd = {name: sum(one.weight > 0 for one in some) for name, some in by.items()}
    assert odd["train"] > 50  # nearly all that are odd
    assert odd["test"] < 15  # a tenth of what came is odd
    assert left["beyond"] == 800
    again, _ = live_rows.chosen(rows, known={}, **asked)
    assert [one.id for _, one in again] == [one.id for _, one in picked]


def test_rows_that_are_known_or_came_twice_are_left_out() -> None:
    rows = lives(10)
    rows[1].text = "row 0 "
    rows[1].label, rows[1].label_from = "yes", live_rows.TRUE
    picked, left = live_rows.chosen(
        rows, many=100, test=0, validation=0, chance=1, known={rows[5].key: {None}}
    )
    assert left["known"] == 2
    assert "1" in {one.id for _, one in picked}  # of two alike, the one that somebody labelled
    assert "0" not in {one.id for _, one in picked}


# -- the gate -------------------------------------------------------------------------------------


def told(difference: float, low: float, high: float, rows: int = 100) -> dict[str, Any]:
    found = {
        "rows": rows, "student": 0.9, "control_value": 0.9 - difference, "difference": difference,
        "interval": [low, high], "mcnemar_p": 0.01,
        "answer": "helped" if low > 0 else "hurt" if high < 0 else "no_evidence",
    }  # fmt: skip
    return judging._told(found, comparison.ACCURACY, NAMED, "rows")


def judged(retraining: Retraining, *, passed: bool) -> None:
    old, new = told(0.0, -0.01, 0.01), told(0.2, 0.1 if passed else -0.1, 0.3)
    new |= {"true_labels": 40, "teacher_labels": 60}
    gate = [
        {"rule": "old", "label": "Not worse on old rows", "passed": True, "sentence": "As good."},
        {"rule": "new", "label": "Better on live rows", "passed": passed, "sentence": "Told."},
    ]
    retraining.judgement = {
        "champion": "small@1", "challenger": "small@2", "metric": "accuracy", "unit": "points",
        "falls": False, "run": 1, "old": old, "new": new, "gate": gate,
        "alias": {"name": "production", "sentence": "", "checks": []}, "passed": passed,
        "sentence": "small@2 is better." if passed else "Not shown: better on live rows.",
    }  # fmt: skip
    retraining.save()


@pytest.fixture
def deciding_one(project: Project, monitor: Monitor) -> Retraining:
    challenger = make.model_version(project, "small", labels=["no", "yes"])
    found = make.retraining(monitor, status="deciding", challenger=challenger)
    judged(found, passed=True)
    return found


@pytest.mark.parametrize(
    ("difference", "low", "high", "passed"),
    [(0.0, -0.019, 0.02, True), (0.01, -0.03, 0.05, False), (-0.01, -0.015, 0.0, True)],
)
def test_old_rows_may_be_worse_by_the_margin_alone(
    difference: float, low: float, high: float, passed: bool
) -> None:
    policy = retraining_policy.complete({})
    found = judging._kept(told(difference, low, high), comparison.ACCURACY, NAMED, policy)
    assert found["passed"] is passed
    # What is allowed, and not what may have happened.
    end = "Asked: at most 2 points worse, at the worse end of the interval."
    assert found["sentence"].endswith(end)


def test_better_on_live_rows_is_shown_by_the_interval_and_by_enough_rows() -> None:
    policy = retraining_policy.complete({})
    more = {"teacher_labels": 3}
    sure = judging._gained(told(0.2, 0.1, 0.3) | more, comparison.ACCURACY, NAMED, policy)
    assert sure["passed"]
    assert "3 of these labels are the teacher's" in sure["sentence"]
    unsure = judging._gained(told(0.2, -0.1, 0.3) | more, comparison.ACCURACY, NAMED, policy)
    few = judging._gained(told(0.9, 0.5, 1, rows=8) | more, comparison.ACCURACY, NAMED, policy)
    assert not unsure["passed"]
    assert not few["passed"]


@pytest.mark.parametrize(("unknown", "passed"), [(0, None), (5, True), (6, False), (207, False)])
def test_rows_of_classes_that_nobody_taught_shut_the_gate(
    project: Project, deciding_one: Retraining, unknown: int, passed: bool | None
) -> None:
    retraining = deciding_one
    told = {"labels": {"true": 95, "teacher": 40}, "left_out": {"unknown_label": unknown}}
    retraining.collected = make.dataset_version(project, statistics={"operation": told})
    found = judging._classes(retraining)
    assert [one["passed"] for one in found] == ([] if passed is None else [passed])
    words = collecting.collected_words(retraining.collected)
    assert ("does not know" in words) == bool(unknown)
    assert all(f"{unknown} of {unknown + 95} live rows" in one["sentence"] for one in found)


def test_the_gate_alone_decides_where_nobody_is_asked(
    project: Project, deciding_one: Retraining
) -> None:
    found = deciding_one
    found.policy |= {"asks": False}
    judged(found, passed=False)
    assert advancing.advance(found).status == Status.KEPT
    assert "The gate keeps small@1" in Retraining.objects.get().sentence
    Retraining.objects.update(status="deciding")
    found.status = Status.DECIDING
    judged(found, passed=True)
    assert advancing.advance(found).status == Status.PROMOTED
    assert registry.resolve(project=project, reference="small@production") == found.challenger
    promoted, kept = AuditEntry.objects.all()
    assert kept.action == promoted.action == "retraining.decide"
    assert (kept.detail["promote"], promoted.detail["promote"]) == (False, True)
    assert "The gate promoted" in promoted.detail["why"]


def test_a_shut_gate_opens_for_an_owners_reason_alone(
    project: Project, deciding_one: Retraining, erin: User, alice: User
) -> None:
    judged(deciding_one, passed=False)
    here = f"{BASE}/retrainings/1/decide/"
    refused = api_of(erin).post(here, {"promote": True}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "gate")
    reason = {"promote": True, "override": "The old world is gone."}
    assert api_of(erin).post(here, reason, format="json").status_code == 403
    kept = api_of(alice).post(here, reason, format="json")
    assert kept.status_code == 200, kept.json()
    assert (kept.json()["status"], kept.json()["can_roll_back"]) == ("promoted", False)
    assert registry.resolve(project=project, reference="small@production").number == 2
    assert "Against the gate: The old world is gone." in kept.json()["sentence"]


def test_rules_of_the_alias_hold_for_it_too(
    deciding_one: Retraining, alice: User, erin: User
) -> None:
    assert deciding_one.challenger is not None
    model = deciding_one.challenger.model
    promotion.set_rules(model=model, alias="production", rules={"min_score": 0.9}, by=alice)
    with pytest.raises(Conflict, match="A rule of production does not hold"):
        deciding.decide(retraining=deciding_one, promote=True, by=erin)
    deciding_one.refresh_from_db()
    assert deciding_one.status == Status.DECIDING


def test_a_champion_that_was_replaced_meanwhile_is_not_replaced_again(
    project: Project, deciding_one: Retraining, erin: User
) -> None:
    assert deciding_one.champion is not None
    other = make.model_version(project, "small", labels=["no", "yes"])
    registry.set_alias(model=other.model, name="production", version=other, by=erin)
    with pytest.raises(Conflict, match="production means small@3 by now"):
        deciding.decide(retraining=deciding_one, promote=True, by=erin)
    deciding.decide(retraining=deciding_one, promote=False, by=erin)
    assert deciding_one.status == Status.KEPT


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [one.value for one in Status])
def test_every_state_has_a_page(
    project: Project, monitor: Monitor, alice: User, vera: User, status: str
) -> None:
    found = make.retraining(monitor, status=status, error={"code": "rows", "detail": "Too few."})
    if status in ("deciding", "promoted", "kept"):
        found.challenger = make.model_version(project, "small")
        judged(found, passed=True)
    for person in (alice, vera):
        page = signed_in(person).get("/p/intents/retrainings/1/")
        assert page.status_code == 200
        assert ("Promote to production" in page.content.decode()) == (
            status == "deciding" and person == alice
        )


def test_pages_and_lists_take_few_queries(
    project: Project, monitor: Monitor, deciding_one: Retraining, erin: User
) -> None:
    client = signed_in(erin)
    for number in range(2, 8):
        make.retraining(monitor, number=number, status="kept", challenger=deciding_one.challenger)
    for address, most in (
        ("/p/intents/retrainings/1/", 7),
        ("/p/intents/monitors/live/retraining/", 17),
    ):
        client.get(address)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        assert len(asked) <= most, [one["sql"][:90] for one in asked]
    rest = api_of(erin)
    with CaptureQueriesContext(connection) as asked:
        listed = rest.get(f"{BASE}/retrainings/?monitor=live").json()
    assert len(listed["results"]) == 7
    assert len(asked) <= 12


def test_ending_one_ends_its_run(project: Project, monitor: Monitor, erin: User) -> None:
    run = make.run(project)
    make.retraining(monitor, status="training", run=run)
    ended = api_of(erin).post(f"{BASE}/retrainings/1/cancel/")
    assert ended.json()["status"] == "cancelled"
    run.refresh_from_db()
    assert run.status == "cancelled"
    assert api_of(erin).post(f"{BASE}/retrainings/1/cancel/").status_code == 409


def test_a_surprise_ends_one_alone(monitor: Monitor, champion: ModelVersion) -> None:
    make.retraining(monitor, status="labelling")
    advancing.look()
    found = Retraining.objects.get()
    assert (found.status, found.error["code"]) == (Status.FAILED, "gone")


def test_one_that_goes_with_its_monitor_ends_no_other(
    monitor: Monitor, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make.retraining(monitor, status="collecting")
    other = make.monitor(champion, name="other")
    make.retraining(other, number=2, status="labelling")
    collect = advancing.STEPS[Status.COLLECTING]

    def deleted(retraining: Retraining) -> None:
        Monitor.objects.filter(pk=monitor.pk).delete()
        collect(retraining)

    monkeypatch.setitem(advancing.STEPS, Status.COLLECTING, deleted)
    advancing.look()
    assert not Retraining.objects.filter(pk=gone.pk).exists()
    assert Retraining.objects.get().status == Status.FAILED


def test_where_the_teacher_errs_too_nothing_begins_by_itself(monitor: Monitor) -> None:
    monitor.retraining = {"starts_itself": True}
    monitor.save()
    now = timezone.now()
    fault = {"detector": "whose_fault", "facts": {"kind": "both_wrong"}}
    window = monitor.windows.create(
        number=1, starts_at=now, ends_at=now, rows=50, sums=b"", scores={"whose_fault": [fault]}
    )
    make.incident(monitor, signals=ERRS, window=window)
    advancing.look()
    found = Retraining.objects.get()
    assert found.status == Status.PROPOSED
    assert "the teacher errs there, too" in found.sentence


def test_rows_of_drifted_slices_come_first(monitor: Monitor, tmp_path: Path) -> None:
    now = timezone.now()
    table = [
        {
            "id": str(at),
            "time": now - timedelta(hours=1),
            "window": 0,
            "text": f"row {at} {'night' if at % 10 == 0 else 'day'}",
            "prediction": "no",
        }
        for at in range(100)
    ]
    part_of(monitor, tmp_path, table)
    monitor.slices = [{"name": "at night", "query": {"q": "night"}}]
    found = live_rows.read(
        monitor, since=None, until=now, seed=0, labels=True, slices=["at night", "gone"]
    )
    assert found.seen == 100
    assert [one.id for one in found.rows if one.weight >= 4] == [
        str(at) for at in range(0, 100, 10)
    ]


def test_workers_look_where_there_is_something_to_look_at(monitor: Monitor) -> None:
    assert not due.anything()
    Monitor.objects.update(retraining={"every_days": 7})
    assert due.anything()
    Monitor.objects.update(retraining={})
    make.incident(monitor, signals=ERRS)
    jobs.look_at_retrainings()
    assert Retraining.objects.get().status == Status.PROPOSED
    assert not due.anything()
    Retraining.objects.update(status="collecting")
    assert due.anything()

"""From judged windows to incidents: opened by two of three, told in words, closed after three clean
ones; each window once, whoever is killed and however many judge."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from projects.models import Project
from tests.training import alert_rows as rows
from tests.training.alert_rows import CLEAN, FAR, MOVED, score
from training.models import (
    AlertMessage,
    Incident,
    IncidentEvent,
    Monitor,
    MonitorWindow,
    SignalAlert,
)
from training.worker import alert_messages, alert_rules, alerts, incidents, silence

JSON = dict[str, Any]

pytestmark = pytest.mark.django_db


@pytest.fixture
def monitor(project: Project) -> Monitor:
    return rows.monitor(project)


def states(monitor: Monitor) -> dict[str, str]:
    return dict(SignalAlert.objects.filter(monitor=monitor).values_list("signal", "state"))


# Opening and closing -----------------------------------------------------------------------------


def test_two_windows_of_three_open_an_incident_and_three_clean_ones_close_it(
    monitor: Monitor,
) -> None:
    rows.hours(monitor, {"input.age": CLEAN}, {"input.age": MOVED})
    assert states(monitor) == {"input.age": "pending"}
    assert not Incident.objects.exists()
    rows.hours(monitor, {"input.age": CLEAN}, {"input.age": MOVED}, since=2)
    incident = Incident.objects.get()
    assert (incident.number, incident.severity) == (1, "serious")
    assert incident.since == rows.BEGAN + timedelta(hours=2)  # the end of the first that spoke
    assert incident.sentence.startswith("Since 2 Mar 02:00 UTC the column age moved.")
    assert incident.facts["rows"] == ["row-7", "row-9"]
    [signal] = incident.signals
    assert (signal["signal"], signal["effect"], signal["detector"]) == ("input.age", 0.12, "psi")
    assert incident.window is not None
    assert incident.window.severity == "serious"
    rows.hours(monitor, *[{"input.age": CLEAN}] * 2, since=4)
    assert states(monitor) == {"input.age": "recovering"}
    assert Incident.objects.open().exists()
    rows.hours(monitor, {"input.age": CLEAN}, since=6)
    incident.refresh_from_db()
    assert incident.closed_at is not None
    assert incident.signals[0]["closed_at"] is not None
    told = list(incident.events.values_list("kind", "sentence"))
    assert [kind for kind, _ in told] == ["opened", "closed"]
    assert "As before again: the column age." in told[1][1]
    rows.hours(monitor, *rows.shifted(), since=7)
    assert list(Incident.objects.values_list("number", flat=True)) == [2, 1]


def test_a_signal_that_flaps_opens_one_incident_and_no_more(monitor: Monitor) -> None:
    flapping = [{"input.age": MOVED if hour % 2 else CLEAN} for hour in range(24)]
    rows.hours(monitor, *flapping)
    assert Incident.objects.count() == 1
    assert IncidentEvent.objects.count() == 1


def test_fifty_signals_at_once_are_one_incident_and_one_message(
    project: Project, monitor: Monitor
) -> None:
    rows.channel(project)
    rows.hours(monitor, *[{f"input.c{one}": MOVED for one in range(50)}] * 2)
    incident = Incident.objects.get()
    assert len(incident.signals) == 50
    assert "and 47 more signals moved" in incident.sentence
    assert IncidentEvent.objects.count() == AlertMessage.objects.count() == 1


def test_what_joins_worsens_and_recovers_is_told_once_each_window(
    project: Project, monitor: Monitor
) -> None:
    rows.channel(project)
    rows.hours(monitor, *[{"input.age": MOVED, "prediction": CLEAN}] * 2)
    rows.hours(
        monitor,
        {"input.age": FAR, "prediction": score(0.3, detector="chi_square")},
        {"input.age": MOVED, "prediction": score(0.3, detector="chi_square")},
        since=2,
    )
    rows.hours(monitor, *[{"input.age": CLEAN, "prediction": MOVED}] * 3, since=4)
    incident = Incident.objects.get()
    assert incident.severity == "critical"
    told = list(incident.events.values_list("sentence", flat=True))[1:]
    assert told == [
        "The column age got worse: critical.",
        "Moved too: the predictions (Chi-square with Cramér's V 0.3, critical).",
        "As before again: the column age.",
    ]
    assert incident.closed_at is None
    closed = {one["signal"]: one["closed_at"] is not None for one in incident.signals}
    assert closed == {"input.age": True, "prediction": False}
    # What makes it no worse as a whole, and shows no harm, is no message.
    sent = [one.body["sentence"] for one in AlertMessage.objects.order_by("pk")]
    assert len(sent) == 2
    assert sent[1].startswith(f"{told[0]} Since 2 Mar")


def test_first_harm_is_a_message_though_it_is_no_more_severe(
    project: Project, monitor: Monitor
) -> None:
    rows.channel(project)
    rows.hours(monitor, *[{"input.age": FAR}] * 2)
    fell = score(0.06, 1e-7, "agreement")
    rows.hours(monitor, *[{"input.age": FAR, "agreement": fell}] * 3, since=2)
    assert [one.body["kind"] for one in AlertMessage.objects.order_by("pk")] == [
        "opened",
        "worsened",
    ]


@pytest.mark.parametrize(
    ("scores", "opens"),
    [
        (score(0.5, 0.01), False),  # a large effect that chance may have made
        (score(0.01, 1e-9), False),  # sure, and too small to be acted on
        (score(0.06, 1e-6, "chi_square"), False),  # in a unit of its own
        (score(0.08, 1e-6, "chi_square"), True),
        (score(0.06, 1e-6, "kolmogorov_smirnov"), True),
    ],
)
def test_both_p_and_effect_must_speak_in_the_detectors_own_unit(
    monitor: Monitor, scores: JSON, opens: bool
) -> None:
    rows.hours(monitor, *[{"input.age": scores}] * 3)
    assert Incident.objects.exists() == opens


def test_of_several_detectors_the_worst_that_speaks_counts(monitor: Monitor) -> None:
    both = [score(0.9, 0.5, "pca_ks"), score(0.1, 1e-5, "mmd_features")]
    for hour in range(2):
        rows.window(monitor, hour, {}, scores={"vector": both})
    alerts.judge(monitor)
    [entry] = Incident.objects.get().signals
    assert (entry["detector"], entry["severity"]) == ("mmd_features", "serious")


def test_rules_of_a_signal_stand_before_those_of_its_kind_and_of_all(monitor: Monitor) -> None:
    monitor.rules = {"*": {"opens": 1}, "input": {"worth": 0.3}, "input.age": {"worth": 0.5}}
    monitor.save()
    rows.hours(monitor, {"input.age": FAR, "input.income": FAR, "described.length": MOVED})
    assert {one["signal"] for one in Incident.objects.get().signals} == {
        "input.income",
        "described.length",
    }
    assert alert_rules.rules_of(monitor, "input.age").opens == 1


# What is said ------------------------------------------------------------------------------------


AGAIN = ["Distil again, on these rows."]


def measured(value: float, rows_: int = 200) -> JSON:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "rows": rows_}


def opened(monitor: Monitor, scores: JSON, **fields: Any) -> Incident:
    for hour in range(2):
        rows.window(monitor, hour, scores, **fields)
    alerts.judge(monitor)
    return Incident.objects.get()


def test_inputs_that_move_without_harm_are_told_so(monitor: Monitor) -> None:
    agreement = score(0.0, 0.6, "agreement", facts={"reference": 0.95})
    incident = opened(
        monitor,
        {"input.age": MOVED, "agreement": agreement},
        facts={"agreement": measured(0.94), "estimated_accuracy": {"value": 0.8, "rows": 500}},
    )
    assert incident.facts["harm"] == "none seen"
    assert "agrees with its teacher on 94 % of 200 rows" in incident.sentence
    assert "95 % on the reference" in incident.sentence
    assert "knows nothing of rows of a new kind" in incident.sentence
    assert incident.sentence.endswith("So far no harm is seen.")


@pytest.mark.parametrize(
    ("accuracy", "harm", "says"),
    [
        ({"value": 0.7, "low": 0.4, "high": 0.89, "rows": 10}, "likely", "harm is likely"),
        ({"value": 0.8, "low": 0.49, "high": 0.94, "rows": 10}, "too few rows", "Too few rows"),
        ({"value": 0.9, "low": 0.86, "high": 0.93, "rows": 200}, "none seen", "no harm is seen"),
    ],
)
def test_no_harm_is_told_only_where_it_would_have_been_seen(
    monitor: Monitor, accuracy: JSON, harm: str, says: str
) -> None:
    quiet = {"grew": [], "advice": ["What drifts does no harm so far."]}
    scores = {
        "input.age": MOVED,
        "accuracy": score(0.0, 0.02, "accuracy", facts={"reference": 0.92}),
        "whose_fault": score(0.0, 0.5, "whose_fault", facts=quiet),
    }
    incident = opened(monitor, scores, facts={"accuracy": accuracy})
    assert incident.facts["harm"] == harm
    assert says in incident.sentence
    assert incident.facts["advice"] == []  # that faults of few rows did not grow proves nothing


def test_that_the_student_alone_errs_more_is_no_good_health(monitor: Monitor) -> None:
    fault = score(0.001, 1e-4, "whose_fault", facts={"grew": ["student_wrong"], "advice": AGAIN})
    facts = {"accuracy": measured(0.92)}
    incident = opened(monitor, {"input.age": MOVED, "whose_fault": fault}, facts=facts)
    assert incident.facts["harm"] == "likely"
    assert incident.sentence.endswith(AGAIN[0])


def test_harm_is_told_with_whose_fault_it_is(monitor: Monitor) -> None:
    fault = score(0.2, 1e-7, "whose_fault", facts={"grew": ["student_wrong"], "advice": AGAIN})
    fell = score(0.2, 1e-7, "agreement", facts={"reference": 0.95})
    incident = opened(
        monitor,
        {"agreement": fell, "whose_fault": fault},
        facts={"agreement": measured(0.71), "accuracy": measured(0.74)},
    )
    assert incident.severity == "critical"
    assert incident.facts["harm"] == "seen"
    assert "74 % of 200 labelled rows are right." in incident.sentence
    assert incident.sentence.endswith("Distil again, on these rows.")


def test_what_nobody_can_know_is_told_as_unknown(monitor: Monitor) -> None:
    incident = opened(monitor, {"input.age": MOVED}, facts={})
    assert incident.facts["harm"] == "unknown"
    assert "not known" in incident.sentence


def test_no_harm_is_told_where_nothing_is_known_to_compare_with(monitor: Monitor) -> None:
    facts = {"accuracy": measured(0.31)}
    incident = opened(monitor, {"input.age": MOVED}, facts=facts)
    assert incident.facts["harm"] == "no reference"
    assert "31 % of 200 labelled rows are right." in incident.sentence
    assert "no harm" not in incident.sentence


def test_labels_that_come_after_windows_were_judged_tell_whether_it_does_harm(
    monitor: Monitor,
) -> None:
    incident = opened(monitor, {"input.age": MOVED}, facts={})
    assert not alerts.tell_harm(monitor)
    monitor.reference = {"accuracy": {"value": 0.9}}
    monitor.save()
    MonitorWindow.objects.update(facts={"accuracy": measured(0.6)})
    assert alerts.tell_harm(monitor)
    incident.refresh_from_db()
    assert incident.facts["harm"] == "likely"
    assert "no labels came" not in incident.sentence
    assert incident.events.last().kind == "measured"  # type: ignore[union-attr]
    assert not alerts.tell_harm(monitor)


def test_the_slice_in_which_it_is_worst_is_named(monitor: Monitor) -> None:
    slices = {
        "night": {"rows": 80, "scores": {"input.age": [score(0.6) | {"corrected": None}]}},
        "day": {"rows": 420, "scores": {"input.age": [score(0.05) | {"corrected": None}]}},
    }
    incident = opened(monitor, {"input.age": MOVED}, slices=slices)
    assert [one["slice"] for one in incident.facts["slices"]] == ["night"]
    assert "the column age moved, most in “night”." in incident.sentence


# When a window is judged -------------------------------------------------------------------------


def test_a_window_with_too_few_rows_says_nothing(monitor: Monitor) -> None:
    for hour in range(4):
        rows.window(monitor, hour, {"input.age": FAR}, rows=10)
    assert alerts.judge(monitor) == 4
    assert states(monitor) == {"input.age": "no_data"}
    assert not Incident.objects.exists()


def test_a_window_waits_for_its_end_the_grace_and_what_came_meanwhile(monitor: Monitor) -> None:
    one = rows.window(monitor, 0, {"input.age": CLEAN})
    grace = one.ends_at + timedelta(minutes=5)
    assert alerts.judge(monitor, now=grace - timedelta(seconds=1)) == 0
    batch = monitor.inbox.create(kind="inferences", rows=1, body=b"")
    monitor.inbox.update(received_at=one.ends_at)
    assert alerts.judge(monitor, now=grace) == 0
    batch.delete()
    assert alerts.judge(monitor, now=grace) == 1


def test_windows_of_rows_are_judged_when_they_are_full_in_the_order_they_came(
    project: Project,
) -> None:
    monitor = rows.monitor(project, window_hours=None, window_rows=100)
    for number, filled in ((2, 100), (1, 100), (3, 99)):
        # Their rows tell of times that do not grow.
        rows.window(monitor, number, {"input.age": MOVED}, rows=filled, ends_at=rows.BEGAN)
    assert alerts.judge(monitor) == 2
    assert list(monitor.windows.filter(judged_at=None).values_list("number", flat=True)) == [3]
    assert Incident.objects.count() == 1


def test_nothing_is_judged_before_there_is_a_reference(project: Project) -> None:
    monitor = rows.monitor(project, reference=None)
    rows.window(monitor, 0, {})
    assert alerts.judge(monitor) == 0
    Monitor.objects.update(reference={"rows": 5})
    monitor.refresh_from_db()
    assert alerts.judge(monitor) == 1


def test_a_window_that_appears_after_a_later_one_is_marked_and_steps_nothing(
    monitor: Monitor,
) -> None:
    rows.window(monitor, 5, {"input.age": MOVED})
    alerts.judge(monitor)
    late = rows.window(monitor, 2, {"input.age": MOVED})
    assert alerts.judge(monitor) == 1
    late.refresh_from_db()
    assert late.is_judged
    assert not Incident.objects.exists()


# Exactly once ------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["keep", "_begin", "messages"])
def test_a_judge_who_is_killed_in_between_leaves_a_window_whole(
    project: Project, monitor: Monitor, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.channel(project)
    rows.hours(monitor, {"input.age": MOVED})
    rows.window(monitor, 1, {"input.age": MOVED})

    def die(*args: Any, **named: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if at == "messages":
            patched.setattr(alert_messages, "wake", die)
        else:
            patched.setattr(alerts, at, die)
        with pytest.raises(Killed):
            alerts.judge(monitor)
    assert not Incident.objects.exists()
    assert not AlertMessage.objects.exists()
    assert states(monitor) == {"input.age": "pending"}
    assert alerts.judge(monitor) == 1
    assert Incident.objects.count() == AlertMessage.objects.count() == 1
    assert IncidentEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_judges_at_once_judge_each_window_once(project: Project) -> None:
    monitor = rows.monitor(project)
    rows.channel(project)
    for hour in range(12):
        rows.window(monitor, hour, {"input.age": MOVED})
    together = threading.Barrier(3)
    faults: list[BaseException] = []

    def judge() -> None:
        try:
            together.wait(20)
            alerts.judge(Monitor.objects.get(pk=monitor.pk))
        except BaseException as error:
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=judge) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert not MonitorWindow.objects.filter(judged_at=None).exists()
    assert Incident.objects.count() == IncidentEvent.objects.count() == 1
    assert AlertMessage.objects.count() == 1
    kept = SignalAlert.objects.get().kept
    assert kept["at"] == (rows.BEGAN + timedelta(hours=12)).timestamp()


# Silence -----------------------------------------------------------------------------------------


def test_traffic_that_stops_is_told_and_closed_when_it_comes_again(
    project: Project, monitor: Monitor
) -> None:
    rows.channel(project)
    now = timezone.now()
    Monitor.objects.update(last_row_at=now - timedelta(hours=23))
    alerts.look_again()
    assert not Incident.objects.exists()
    Monitor.objects.update(last_row_at=now - timedelta(hours=25))
    alerts.look_again()
    alerts.look_again()
    incident = Incident.objects.get()
    assert (incident.severity, incident.signals[0]["signal"]) == ("notice", "silence")
    assert "the traffic stopped" in incident.sentence
    assert AlertMessage.objects.count() == 1
    Monitor.objects.update(last_row_at=now)
    alerts.look_again()
    incident.refresh_from_db()
    assert incident.closed_at is not None
    assert [one.kind for one in incident.events.all()] == ["opened", "closed"]
    assert AlertMessage.objects.count() == 2


def test_silence_is_told_after_the_hours_that_were_asked_for_or_never(monitor: Monitor) -> None:
    Monitor.objects.update(
        last_row_at=timezone.now() - timedelta(hours=30), alerting={"silence_hours": 0}
    )
    alerts.look_again()
    assert not Incident.objects.exists()
    Monitor.objects.update(alerting={"silence_hours": 29})
    alerts.look_again()
    assert Incident.objects.count() == 1
    assert silence.hours_of(Monitor(window_hours=24.0, alerting={})) == 72


def test_of_as_bad_signals_those_that_say_it_errs_are_named_first() -> None:
    told = [
        {"signal": "described.brightness", "severity": "critical", "grade": 40.0},
        {"signal": "accuracy", "severity": "critical", "grade": 3.0},
        {"signal": "agreement", "severity": "serious", "grade": 2.5},
        {"signal": "described.length", "severity": "serious", "grade": 2.9},
        {"signal": "vector", "severity": "critical", "grade": 3.0, "closed_at": "2026-03-02"},
    ]
    named = ["accuracy", "described.brightness", "agreement", "described.length"]
    assert incidents.open_signals(told) == named

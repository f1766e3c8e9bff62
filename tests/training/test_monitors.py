"""Monitors: made from what is asked, with every default filled in and every fault at its field."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import DatasetVersion, ModelVersion, Project, User
from projects.services import registry, removal
from tests import make
from training.engine.detectors.tallies import rows_needed
from training.engine.watching.defaults import DETECTORS
from training.forms.monitor import MonitorDraft
from training.models import Monitor, MonitorLook, MonitorWindow
from training.services import (
    monitor_defaults,
    monitor_health,
    monitor_marks,
    monitor_meaning,
    monitor_rules,
    monitor_told,
    monitors,
    promotion,
    storage_use,
)
from training.worker import following, reaper

pytestmark = pytest.mark.django_db

LABELS = ["account", "billing", "delivery"]
FILES = [{"name": "model.safetensors", "sha256": "a" * 64, "bytes": 10}]


@pytest.fixture
def rows(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "tickets", labels=tuple(LABELS))


@pytest.fixture
def student(project: Project, rows: DatasetVersion) -> ModelVersion:
    return trained(project)


def trained(project: Project, name: str = "small", **fields: Any) -> ModelVersion:
    given: dict[str, Any] = {"labels": LABELS, "files": FILES, "source": {"kind": "run", "run": 1}}
    return make.model_version(project, name, **given | fields)


def asked(**more: Any) -> dict[str, Any]:
    return {
        "name": "live", "model": "small@1", "reference": "tickets@1:test", "window": {"rows": 500},
    } | more  # fmt: skip


def create(project: Project, **more: Any) -> Monitor:
    return monitors.create(project=project, asked=asked(**more), by=project.created_by)


def fitted(monitor: Monitor) -> Monitor:
    MonitorLook.objects.filter(monitor=monitor).update(status="ready")
    Monitor.objects.filter(pk=monitor.pk).update(reference={"rows": 10}, fitted_at=timezone.now())
    return monitors.find(project=monitor.project, name=monitor.name)


def faults(project: Project, **more: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refused:
        create(project, **more)
    assert not Monitor.objects.exists()
    return refused.value.fields


# -- made -----------------------------------------------------------------------------------------


def test_a_monitor_of_little_is_whole(
    project: Project, rows: DatasetVersion, student: ModelVersion
) -> None:
    monitor = create(project)
    assert monitor.version == student
    assert (monitor.dataset_version, monitor.split) == (rows, "test")
    assert monitor.labels == LABELS
    assert [one["kind"] for one in monitor.detectors["numbers"]] == ["psi", "mann_whitney"]
    assert monitor.detectors["numbers"][0]["bins"] == 10
    assert (monitor.minimum_rows, monitor.retention_days, monitor.privacy) == (50, 90, "raw")
    assert (monitor.teacher, monitor.teacher_share) == (None, 0)
    assert MonitorLook.objects.get(monitor=monitor).fits
    assert monitor_health.health(monitor).state == "fitting"


def test_what_is_told_of_a_monitor_makes_the_same_again(
    project: Project, student: ModelVersion
) -> None:
    first = create(project, alerts={"rules": {"*": {"opens": 1}}, "least": "serious"})
    told = monitor_told.asked(first) | {"name": "b", "retraining": {"rows": 500}}
    again = monitors.create(project=project, asked=told, by=project.created_by)
    assert monitor_told.asked(again).pop("retraining")["rows"] == 500
    assert monitor_told.asked(again) | {"retraining": 0} == told | {"retraining": 0}


def test_what_is_watched_by_default_is_what_the_engine_falls_back_to() -> None:
    known = monitor_defaults.detectors(has_labels=True, by_word=True)
    assert set(known) == set(DETECTORS)
    assert monitor_rules.detectors(known) == known


def test_the_teacher_of_its_run_is_asked_so_that_a_window_has_a_hundred_answers(
    project: Project, rows: DatasetVersion, student: ModelVersion
) -> None:
    teacher = trained(project, "big", role="teacher")
    run = make.run(project, dataset_version=rows, output=student)
    run.teachers.add(trained(project, "other", labels=["x", "y"]), teacher)
    monitor = create(project)
    assert (monitor.teacher, monitor.teacher_share) == (teacher, 0.2)
    assert create(project, name="hourly", window={"hours": 1}).teacher_share == 0.1
    assert create(project, name="alone", teacher=None).teacher is None


def test_the_sentence_about_the_teacher_says_what_the_engine_computes() -> None:
    for before, after in ((0.95, 0.9), (0.95, 0.93), (0.9, 0.5)):
        assert monitor_defaults.rows_needed(before, after) == rows_needed(before, after)


def test_the_slices_of_the_dataset_are_watched_as_far_as_they_can_be(
    project: Project, rows: DatasetVersion, student: ModelVersion
) -> None:
    for name, conditions in (("refunds", {"q": "refund"}), ("tests", {"split": "test"})):
        rows.dataset.slices.create(name=name, conditions=conditions, created_by=project.created_by)
    assert create(project).slices == [{"name": "refunds", "query": {"q": "refund"}}]


def test_a_model_that_is_served_elsewhere_is_watched_by_its_name(project: Project) -> None:
    model = {"external": "vendor/one", "task": "text-classification", "labels": ["no", "yes"]}
    monitor = create(project, model=model, reference={"traffic": {"hours": 24}})
    assert (monitor.version, monitor.model, monitor.watched) == (None, None, "vendor/one")
    assert not monitor.looks.exists()
    assert monitor_health.health(monitor).state == "waiting"


# -- refused --------------------------------------------------------------------------------------


def test_every_fault_is_told_at_once_at_its_field(project: Project, student: ModelVersion) -> None:
    found = faults(
        project, name="no spaces", model="nobody@1", window={"rows": 3}, colour="red",
        privacy="none", alerts={"rules": {"age": {"opens": 1}}}, detectors={"numbers": ["mmd"]},
    )  # fmt: skip
    assert set(found) == {
        "name", "model", "window.rows", "colour", "privacy", "alerts.rules.age",
        "detectors.numbers.0",
    }  # fmt: skip
    assert "psi" in found["detectors.numbers.0"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "new"),
        ("model", 3),
        ("reference", "tickets@1:nowhere"),
        ("reference", "nothing@1:test"),
        ("window", {"rows": 500, "hours": 1}),
        ("minimum_rows", 501),
        ("schedule", {"cron": "* * * * *"}),
        ("correction", "none"),
        ("teacher_sample_rate", 0.5),
        ("retention_days", 0),
        ("kept_share", 1.5),
        ("retraining", "weekly"),
        ("notes", 3),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(
    project: Project, student: ModelVersion, field: str, value: Any
) -> None:
    assert set(faults(project, **{field: value})) == {field}


@pytest.mark.parametrize(
    "query",
    [
        {"length_from": "many"}, {"length_to": {}}, {"length_from": -1}, {"where": 5},
        {"where": "age:from:40"}, {"where": [["age"]]}, {"q": ["refund"]}, {"q": "x" * 1001},
        {"regex": "refund"}, {"label": 3}, "x" * 1001,
    ],
)  # fmt: skip
def test_a_slice_that_no_row_can_be_held_against_is_refused(
    project: Project, student: ModelVersion, query: Any
) -> None:
    slices = [{"name": "odd", "query": query}]
    assert set(faults(project, slices=slices)) == {"slices.0.query"}


@pytest.mark.parametrize("asked", [None, [], "live", 3])
def test_what_is_no_object_is_refused(project: Project, asked: Any) -> None:
    with pytest.raises(Invalid):
        monitors.create(project=project, asked=asked, by=project.created_by)


def test_what_gives_no_one_answer_is_not_watched(project: Project, rows: DatasetVersion) -> None:
    trained(project, "words", task="token-classification", labels=["a b", "O"])
    trained(project, "tags", problem="multi_label", labels=["a|b", "c"])
    make.model_version(project, "empty")
    for name in ("words", "tags", "empty"):
        assert set(faults(project, model=f"{name}@1")) == {"model"}


def test_a_teacher_of_other_labels_is_refused(project: Project, student: ModelVersion) -> None:
    trained(project, "other", labels=["x", "y"])
    assert set(faults(project, teacher="other@1")) == {"teacher"}


def test_what_is_not_to_be_kept_is_sent_to_no_service(
    project: Project, student: ModelVersion
) -> None:
    make.model_version(project, "service", labels=LABELS, source={"kind": "api"})
    assert set(faults(project, teacher="service@1", privacy="hashed")) == {"teacher"}
    assert create(project, teacher="service@1").teacher_share == 0.2


def test_a_name_is_taken_in_upper_and_lower_case(project: Project, student: ModelVersion) -> None:
    create(project)
    with pytest.raises(Conflict) as refused:
        create(project, name="LIVE")
    assert set(refused.value.fields) == {"name"}
    assert monitors.find(project=project, name="Live").name == "live"
    with pytest.raises(Missing):
        monitors.find(project=project, name="other")


def test_nothing_is_watched_in_an_archived_project(project: Project, student: ModelVersion) -> None:
    project.archived_at = timezone.now()
    project.save()
    with pytest.raises(Conflict):
        create(project)


# -- changed --------------------------------------------------------------------------------------


def test_a_change_of_what_is_usual_takes_the_reference_anew(
    project: Project, student: ModelVersion, erin: User
) -> None:
    monitor = fitted(create(project))
    edited = monitors.edit(monitor=monitor, asked={"notes": "mine"}, by=erin)
    assert edited.is_fitted
    edited = monitors.edit(monitor=edited, asked={"reference": "tickets@1:train"}, by=erin)
    assert not edited.is_fitted
    assert edited.looks.filter(fits=True, status="queued").count() == 1
    again = monitors.refit(monitor=edited, by=erin)
    assert again.looks.filter(fits=True, status="queued").count() == 1
    assert [one["what"] for one in again.marks] == ["made", "edited", "edited", "refit"]
    assert "erin changed the reference" in again.marks[2]["sentence"]


def test_a_window_keeps_its_length_once_there_are_some(
    project: Project, student: ModelVersion
) -> None:
    monitor = create(project)
    by = project.created_by
    monitor = monitors.edit(monitor=monitor, asked={"window": {"rows": 200}}, by=by)
    now = timezone.now()
    monitor.windows.create(number=0, starts_at=now, ends_at=now, sums=b"")
    monitors.edit(monitor=monitor, asked={"window": {"rows": 200}}, by=by)
    with pytest.raises(Invalid) as refused:
        monitors.edit(monitor=monitor, asked={"window": {"hours": 1}}, by=by)
    assert set(refused.value.fields) == {"window"}


def test_pausing_and_resuming_twice_is_once(project: Project, student: ModelVersion) -> None:
    monitor, by = fitted(create(project)), project.created_by
    for _ in range(2):
        monitor = monitors.pause(monitor=monitor, by=by)
    assert monitor_health.health(monitor).state == "paused"
    for _ in range(2):
        monitor = monitors.resume(monitor=monitor, by=by)
    assert [one["what"] for one in monitor.marks] == ["made", "paused", "resumed"]
    assert monitor_health.health(monitor).state == "quiet"


# -- following an alias ---------------------------------------------------------------------------


def alias(version: ModelVersion, name: str = "production") -> None:
    registry.set_alias(model=version.model, name=name, version=version, by=version.created_by)


def test_a_monitor_follows_its_alias_and_says_so(project: Project, student: ModelVersion) -> None:
    alias(student)
    monitor = fitted(create(project, model="small@production"))
    stays = fitted(create(project, name="stays"))
    assert following.look_again() == 0
    alias(second := trained(project))
    reaper.reap()
    monitor.refresh_from_db()
    assert (monitor.version, monitor.is_fitted) == (second, False)
    assert monitor.marks[-1]["version"] == "small@2"
    assert monitor.looks.filter(fits=True, status="queued").count() == 1
    assert following.look_again() == 0
    stays.refresh_from_db()
    assert stays.version == student
    promotion.roll_back(model=student.model, alias="production", by=project.created_by)
    assert following.look_again() == 1
    monitor.refresh_from_db()
    assert monitor.version == student


def test_labels_keep_their_order_where_the_next_version_has_another(
    project: Project, student: ModelVersion
) -> None:
    """It is that of probabilities that callers send, of batches that wait, and of stored rows."""
    alias(student)
    monitor = create(project, model="small@production")
    before = list(monitor.labels)
    alias(second := trained(project, labels=before[::-1]))
    assert following.look_again() == 1
    monitor.refresh_from_db()
    assert (monitor.version, monitor.labels) == (second, before)
    monitors.edit(monitor=monitor, asked={"model": second.reference}, by=project.created_by)
    monitor.refresh_from_db()
    assert (monitor.alias, monitor.labels) == ("", before)


def test_a_monitor_stays_where_its_alias_moves_to_other_labels(
    project: Project, student: ModelVersion
) -> None:
    alias(student)
    monitor = fitted(create(project, model="small@production"))
    alias(trained(project, labels=["x", "y"]))
    for _ in range(2):
        assert following.look_again() == 0
    monitor.refresh_from_db()
    assert (monitor.version, monitor.is_fitted) == (student, True)
    assert [one["what"] for one in monitor.marks] == ["made", "kept"]


def test_a_reference_of_traffic_is_taken_when_its_time_is_over(project: Project) -> None:
    model = {"external": "one", "task": "text-classification", "labels": ["no", "yes"]}
    monitor = create(project, model=model, reference={"traffic": {"hours": 1}})
    assert monitor.traffic_from is not None
    assert monitor.traffic_from.microsecond == 0
    written = MonitorDraft.of(monitor).texts["traffic_from"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written)
    assert following.look_again() == 0
    Monitor.objects.update(traffic_until=timezone.now() - timedelta(minutes=5))
    assert following.look_again() == 1
    assert following.look_again() == 0
    assert monitor.looks.get().fits


def test_traffic_replaces_rows_as_a_reference_once_its_time_is_over(
    project: Project, student: ModelVersion
) -> None:
    monitor = create(project)
    MonitorLook.objects.filter(monitor=monitor).update(status=MonitorLook.Status.READY)
    now = timezone.now()
    span = {"from": (now - timedelta(minutes=9)).isoformat(), "until": now.isoformat()}
    asked = {"reference": {"traffic": span}}
    monitors.edit(monitor=monitor, asked=asked, by=monitor.created_by)
    assert following.look_again() == 0  # rows of these minutes may still come
    Monitor.objects.update(traffic_until=now - timedelta(minutes=5))
    assert following.look_again() == 1


# -- what is around it ----------------------------------------------------------------------------


def test_a_monitor_outlives_its_dataset_and_its_teacher(
    project: Project, rows: DatasetVersion, student: ModelVersion
) -> None:
    teacher = trained(project, "big", role="teacher")
    monitor = fitted(create(project, teacher="big@1"))
    removal.delete_dataset(dataset=rows.dataset, by=project.created_by)
    teacher.model.delete()
    monitor = monitors.find(project=project, name="live")
    told = monitor_told.one(monitor)
    assert (told["reference"], told["teacher"], told["health"]["state"]) == (None, None, "quiet")
    assert monitors.edit(monitor=monitor, asked={"notes": "x"}, by=project.created_by).notes == "x"
    student.delete()
    told = monitor_told.one(monitors.find(project=project, name="live"))
    assert (told["model"], told["version"]) == (None, None)


def test_what_monitors_keep_is_counted_in_storage(
    project: Project, student: ModelVersion, alice: User
) -> None:
    monitor = create(project)
    file = {"name": "reference.json", "sha256": "b" * 64, "bytes": 70}
    Monitor.objects.update(reference_files=[file])
    for sha256 in ("c" * 64, "d" * 64):
        monitor.parts.create(
            kind="rows", day=timezone.now().date(), rows=5, sha256=sha256, size_bytes=100
        )
    assert storage_use.of_project(project=project, by=alice).parts["monitors"] == 270
    assert monitor_health.health(monitor).rows_today == 10


def test_what_settings_come_to_is_said_in_sentences(
    project: Project, student: ModelVersion
) -> None:
    monitor = create(project, window={"hours": 2}, teacher=None)
    columns = {one.name: getattr(monitor, one.name) for one in Monitor._meta.concrete_fields}
    told = monitor_meaning.of(columns, reference_rows=10_000)
    assert "2 hours" in told.window[0]
    assert "360 windows a month" in told.window[1]
    assert "No teacher is asked" in told.teacher[0]
    assert monitor_meaning.smallest_shift(1000, 10_000) < 0.25
    assert monitor_meaning.smallest_shift(100, 10_000) > 0.5


def test_a_window_says_which_version_it_was_judged_against(
    project: Project, student: ModelVersion
) -> None:
    alias(student)
    monitor = fitted(create(project, model="small@production"))
    now = timezone.now()
    early = MonitorWindow(monitor=monitor, number=0, starts_at=now, ends_at=now, judged_at=now)
    alias(trained(project))
    following.look_again()
    monitor.refresh_from_db()
    late = MonitorWindow(monitor=monitor, number=1, judged_at=timezone.now())
    assert monitor_marks.judged_against(monitor, early) == "small@1"
    assert monitor_marks.judged_against(monitor, late) == "small@2"
    assert [to for _, to in monitor_marks.moves(monitor)] == ["small@2"]


def test_windows_of_too_few_rows_are_neither_healthy_nor_ill(
    project: Project, student: ModelVersion
) -> None:
    monitor = fitted(create(project))
    now = timezone.now()
    for number, rows in enumerate((0, 10, 500)):
        monitor.windows.create(
            number=number, starts_at=now, ends_at=now, sums=b"", rows=rows, judged_at=now
        )
    cells = monitor_health.health(monitor).strip
    assert [one.word for one in cells] == ["no rows", "too few rows", "healthy"]
    assert monitor_health.health(monitor).word == "healthy"
    monitor.windows.filter(rows=500).update(rows=49)
    assert monitor_health.health(monitor).word == "too few rows"


def test_a_monitor_to_which_nothing_comes_any_more_is_not_called_healthy(
    project: Project, student: ModelVersion
) -> None:
    monitor = fitted(create(project))
    Monitor.objects.update(rows=500)
    monitor.refresh_from_db()
    now = timezone.now()
    for number, rows in enumerate((500, 0, 0, 0)):
        monitor.windows.create(
            number=number, starts_at=now, ends_at=now, sums=b"", rows=rows, judged_at=now
        )
    assert monitor_health.health(monitor).state == "silent"

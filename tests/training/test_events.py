"""What is told when something becomes true, and the law that its data are as its kind says."""

import ast
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from projects.management.commands import describe_events
from projects.models import Event, Project, User, event_kinds
from projects.services import events, projects, registry, webhook_messages
from tests import make
from training.models import Run
from training.services import incidents, reports, runs, tracking
from training.worker import bests, exports

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path for room in ("projects", "training", "distillhub") for path in (ROOT / room).rglob("*.py")
]
#: Kinds whose second half is a row's status or a line of its history.
MADE_OF_A_STATUS = {
    "dataset_version": {"ready", "failed"},
    "model_version": {"ready", "failed"},
    "study": {"finished", "failed"},
    "export": {"ready", "failed"},
    "gate": {"ready", "failed"},
    "publication": {"ready", "failed"},
    "import": {"ready", "failed"},
    "run": {"started", "finished", "failed", "cancelled"},
    "incident": {"opened", "worsened", "assigned", "closed"},
    "retraining": {"proposed", "begun", "deciding", "promoted", "kept", "failed", "cancelled"},
    "project": {"created", "archived", "restored"},
    "member": {"added", "changed", "removed"},
    "review": {"opened", "assigned", "closed"},
    "comment": {"created", "changed"},
}


def kinds(project: Project) -> list[str]:
    return [one.kind for one in reversed(events.feed(project=project))]


def only(project: Project, kind: str) -> Event:
    return Event.objects.get(project=project, kind=kind)


def named_in_code() -> set[str]:
    """Whatever looks like a kind in a call of `tell` or `announce`."""
    found = set()
    for path in SOURCES:
        text = path.read_text()
        if "tell(" not in text and "announce(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called not in {"tell", "announce"}:
                continue
            values = [*node.args, *(one.value for one in node.keywords if one.arg == "kind")]
            found |= {
                one.value
                for one in values
                if isinstance(one, ast.Constant)
                and isinstance(one.value, str)
                and re.fullmatch(r"[a-z_]+\.[a-z_]+", one.value)
            }
    return found


def test_every_kind_that_is_told_is_in_the_list_and_every_one_of_the_list_is_told() -> None:
    told = named_in_code()
    assert told <= event_kinds.KINDS.keys()
    told |= {f"{group}.{what}" for group, all_ in MADE_OF_A_STATUS.items() for what in all_}
    assert event_kinds.KINDS.keys() == told


@pytest.mark.parametrize("kind", event_kinds.KINDS.values(), ids=event_kinds.KINDS)
def test_the_schema_of_every_kind_is_one(kind: event_kinds.Kind) -> None:
    jsonschema.Draft202012Validator.check_schema(webhook_messages.schema_of(kind))
    assert kind.when.endswith(".")
    assert re.fullmatch(r"[a-z_]{1,25}\.[a-z_]{1,24}", kind.key)


def test_the_document_lists_every_kind_as_it_is() -> None:
    """Else: manage.py describe_events, and put it below `## Every type`."""
    document = (ROOT / "docs/webhooks.md").read_text()
    assert document.split("## Every type\n\n", 1)[1] == describe_events.listed()


@pytest.mark.django_db
def test_what_does_not_fit_its_kind_is_a_warning(project: Project) -> None:
    given: dict[str, Any] = {"project": project, "subject": "1", "title": "x", "sentence": "x"}
    for kind, data in (
        ("report.published", {"number": "three", "title": "x"}),
        ("report.published", {"number": 3}),
        ("report.published", {"number": 3, "title": "x", "more": 1}),
        ("nothing.known", {}),
    ):
        with pytest.warns(UserWarning, match=kind):
            events.tell(kind=kind, subject_kind="report", data=data, **given)


@pytest.mark.django_db
def test_people_and_projects_are_told_of(alice: User, erin: User) -> None:
    made = projects.create(name="New", by=alice)
    projects.add_member(project=made, email="erin", role="viewer", by=alice)
    projects.change_role(project=made, user=erin, role="editor", by=alice)
    projects.change_role(project=made, user=erin, role="editor", by=alice)  # changes nothing
    projects.remove_member(project=made, user=erin, by=alice)
    for _ in range(2):
        projects.archive(project=made, by=alice)
    projects.restore(project=made, by=alice)
    assert kinds(made) == [
        *("project.created", "member.added", "member.changed", "member.removed"),
        *("project.archived", "project.restored"),
    ]
    changed = only(made, "member.changed")
    assert changed.data == {
        "username": "erin", "name": "erin", "role": "editor", "before": "viewer",
    }  # fmt: skip
    assert (changed.by, changed.subject) == (alice, "erin")
    assert_as_said(made)


@pytest.mark.django_db
def test_models_and_aliases_are_told_of(project: Project, alice: User) -> None:
    asked: dict[str, Any] = {"role": "student", "task": "text-classification"}
    first = registry.register(
        project=project, name="small", source={"kind": "architecture"}, by=alice, **asked
    )
    second = registry.add_version(
        model=first.model, source={"kind": "run", "run": 4}, status="ready", by=alice
    )
    registry.set_alias(model=first.model, name="live", version=second, by=alice)
    registry.set_alias(model=first.model, name="live", version=second, by=alice)
    registry.remove_alias(model=first.model, name="live", by=alice)
    assert kinds(project) == [
        *("model.created", "model_version.ready", "alias.moved", "alias.moved"),
    ]
    assert only(project, "model_version.ready").data["run"] == 4
    moved, removed = (one.data for one in Event.objects.filter(kind="alias.moved").order_by("id"))
    assert (moved["version"], moved["before"], moved["how"]) == (2, None, "set")
    assert (removed["version"], removed["before"], removed["how"]) == (None, 2, "removed")
    assert_as_said(project)


@pytest.mark.django_db
def test_a_tracked_run_is_told_of_from_its_start_to_its_end(project: Project, erin: User) -> None:
    run = tracking.begin(project=project, by=erin, name="elsewhere", task="image-classification")
    tracking.end(project=project, number=run.number, by=erin)
    tracking.end(project=project, number=run.number, by=erin)  # said again
    runs.resume(run=runs.find(project=project, number=run.number), by=erin)
    tracking.end(project=project, number=run.number, by=erin, status="failed", error="It broke.")
    assert kinds(project) == ["run.started", "run.finished", "run.resumed", "run.failed"]
    failed = only(project, "run.failed")
    assert failed.data["error"] == {"code": "failed", "detail": "It broke."}
    assert (failed.data["origin"], failed.data["by"], failed.by) == ("tracked", "erin", erin)
    assert_as_said(project)


@pytest.mark.django_db
def test_controls_and_trials_tell_nothing_and_members_of_a_study_how_they_end(
    project: Project, alice: User
) -> None:
    run = make.run(project, name="one")
    make.run(project, control_of=run).tell("failed", "It broke.")
    seeds, sweep = (
        project.studies.create(number=n, kind=kind, name=kind, asked={}, created_by=alice)
        for n, kind in enumerate(("seeds", "sweep"), start=1)
    )
    make.run(project, study=sweep, status="failed").tell("failed", "It broke.")
    member = make.run(project, study=seeds, status="failed", attempt=1)
    member.tell("started", "Taken.")
    member.tell("failed", "It broke.")
    assert kinds(project) == ["run.failed"]
    assert only(project, "run.failed").data["study"] == 1
    sweep.settle({"verdict": {"answer": "helped", "sentence": "It helped."}}, is_told=True)
    assert sweep.settle({}, is_told=True) is False
    assert only(project, "study.finished").sentence == "It helped."
    assert_as_said(project)


def finished(project: Project, value: float | None, metric: str = "val/loss", **more: Any) -> Run:
    summary = {"selection_metric": metric, "best_value": value}
    made = make.run(project, status="finished", summary=summary, task="text-classification", **more)
    bests.announce(made)
    return made


@pytest.mark.django_db
def test_a_run_beats_the_best_by_the_direction_of_its_metric(project: Project) -> None:
    data, other = make.dataset_version(project, "a"), make.dataset_version(project, "b")
    finished(project, 0.5, dataset_version=data)  # the first beats nobody
    finished(project, None, dataset_version=data)
    finished(project, 0.1, dataset_version=other)
    finished(project, 0.6, dataset_version=data)
    finished(project, 0.2, "val/accuracy", dataset_version=data)  # by another metric
    assert kinds(project) == []
    better = finished(project, 0.4, dataset_version=data)
    finished(project, 0.4, dataset_version=data)  # as good is not better
    told = only(project, "run.beat_the_best")
    assert told.subject == str(better.number)
    assert (told.data["value"], told.data["before"], told.data["best"]) == (0.4, 0.5, 1)
    finished(project, 0.9, "val/accuracy", dataset_version=data)
    assert kinds(project) == ["run.beat_the_best"] * 2
    assert_as_said(project)


@pytest.mark.django_db
def test_other_work_is_told_of_when_it_is_over(project: Project, alice: User) -> None:
    version, data = make.model_version(project, "small"), make.dataset_version(project, "a")
    done = make.export(version, data, status="ready", files=[{"name": "x", "bytes": 7}])
    exports.WORK.announce(done)
    exports.WORK.announce(
        make.export(version, data, status="failed", error={"code": "lost", "detail": "Gone."})
    )
    report = reports.create(project=project, title="Told", body="", by=alice)
    reports.share(report=report, by=alice)
    incident = make.incident(make.monitor(version))
    incidents.own(incident=incident, owner="alice", by=alice)
    incidents.close(incident=incident, by=alice)
    assert kinds(project) == [
        *("export.ready", "export.failed", "report.published"),
        *("incident.assigned", "incident.closed"),
    ]
    assert only(project, "export.ready").data["bytes"] == 7
    assert only(project, "incident.assigned").data["owner"] == "alice"
    assert_as_said(project)


@pytest.mark.django_db
def test_the_feed_is_filtered_by_kind_person_and_subject(project: Project, erin: User) -> None:
    run = tracking.begin(project=project, by=erin)
    tracking.end(project=project, number=run.number, by=erin)
    make.model_version(project, "small").announce()
    found = events.feed(project=project, kind="run", by="erin", subject=f"run/{run.number}")
    assert [one.kind for one in found] == ["run.finished", "run.started"]
    assert [one.kind for one in events.feed(project=project, kind="model_version.ready")] == [
        "model_version.ready"
    ]
    assert not events.feed(project=project, by="alice").exists()


def assert_as_said(project: Project) -> None:
    """Each event as a webhook would send it is as the schema of its kind says."""
    for event in Event.objects.filter(project=project).select_related("project", "by"):
        schema = webhook_messages.schema_of(event_kinds.KINDS[event.kind])
        jsonschema.validate(webhook_messages.body_of(event), schema)

"""What REST answers of a run is written by hand; what OpenAPI says of it is declared. Each is held
against the other here, for runs in every state of their lives."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from openapi_schema_validator import OAS31Validator
from rest_framework import serializers

from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from training.api import run_representation
from training.api.run_serializers import RunShape
from training.models import Run
from training.services import metrics, queue, runs

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 27, 1, 2, 3, 456789, tzinfo=UTC)
FAULT = {
    "code": "out_of_memory", "detail": "It was too much.", "title": "Out of memory", "step": 3,
    "steps": 10, "attempt": 1, "memory": {"used": 5, "machine": 9}, "advice": ["Try less."],
    "trace": "secret", "last_lines": ["secret"],
}  # fmt: skip


@pytest.fixture
def lives(project: Project) -> dict[str, Run]:
    """Runs of all kinds, by what is special about them."""
    teacher = make.model_version(project, "big", role="teacher")
    found = {status: make.run(project, status=status) for status in Run.Status.values}
    found["distilled"] = make.distillation(project)
    found["control"] = found["distilled"].controls.get()
    failed, waiting, trained = found["failed"], found["waiting"], found["training"]
    failed.error = FAULT
    failed.summary = {"steps": 3}
    waiting.waits_for.add(found["paused"], trained)
    waiting.student = None
    waiting.config = waiting.config | {"student": "run/6"}
    trained.config = trained.config | {"teachers": [{"model": "big@1", "weight": 2.0}]}
    trained.teachers.add(teacher)
    trained.worker = make.worker()
    trained.pause_requested_at = trained.started_at = NOW
    trained.metrics = {"train/loss": 0.5, "val/loss": "NaN"}
    trained.eta_seconds, trained.steps, trained.stage = 12.5, 100, "training"
    found["finished"].output = make.model_version(project, "tiny")
    found["finished"].finished_at = NOW.replace(microsecond=0)
    found["finished"].tags, found["finished"].notes = ["a", "b"], "Good."
    found["queued"].priority = Run.Priority.HIGH
    for run in found.values():
        run.save()
    return found


def shown(found: dict[str, Run]) -> dict[str, dict[str, Any]]:
    pks = [run.pk for run in found.values()]
    return dict(zip(found, run_representation.represented(pks), strict=True))


def test_each_field_is_what_its_declaration_reads_of_the_run(lives: dict[str, Run]) -> None:
    """All that is declared with a source of its own, or is a column."""
    declared: Mapping[str, Any] = RunShape().fields
    plain = [name for name, field in declared.items() if hasattr(Run, field.source.split(".")[0])]
    told = shown(lives)
    for kind, stored in lives.items():
        run = Run.objects.get(pk=stored.pk)
        assert list(told[kind]) == list(declared)
        for name in ["progress", *plain]:
            field = declared[name]
            if name in OF_SEVERAL:
                continue
            value = read(field, run)
            assert told[kind][name] == value, (kind, name)


#: Made of several columns or rows; the test below says of each what it is.
OF_SEVERAL = {"student", "teachers", "error", "priority", "queue", "waits_for"}


def read(field: serializers.Field[Any, Any, Any, Any], run: Run) -> Any:
    try:
        value = field.get_attribute(run)
    except AttributeError:  # worker.name of a run without one
        value = None
    return None if value is None else field.to_representation(value)


def test_each_field_that_is_made_of_several_is_what_the_rows_say(lives: dict[str, Run]) -> None:
    told = shown(lives)
    for kind, stored in lives.items():
        run, one = Run.objects.get(pk=stored.pk), told[kind]
        assert one["student"] == (run.student.reference if run.student else "run/6")
        place = queue.places([run]).get(run.pk)
        assert one["queue"] == (place.as_dict() if place else None)
        assert (one["queue"] is None) == (kind not in ("queued", "waiting"))
        assert one["priority"] == ("high" if kind == "queued" else "normal")
        assert one["actions"] == runs.actions(run)
        assert one["waits_for"] == sorted(run.waits_for.values_list("number", flat=True))
        assert one["study"] is None
    kept = {name: value for name, value in FAULT.items() if name not in ("trace", "last_lines")}
    assert (told["failed"]["error"], told["queued"]["error"]) == (kept, None)
    assert told["training"]["teachers"] == ["big@1"]
    assert told["distilled"]["teachers"] == lives["distilled"].config["teachers"]
    assert told["distilled"]["control"] == lives["control"].number
    assert told["control"]["control"] is None
    assert len(told["waiting"]["waits_for"]) == 2
    assert told["finished"]["finished_at"] == "2026-11-27T01:02:03Z"


def test_openapi_tells_the_truth_of_each(client: Client, lives: dict[str, Run]) -> None:
    schema = client.get("/api/schema/", headers={"Accept": "application/json"}).json()
    whole = {"$ref": "#/components/schemas/RunShape", "components": schema["components"]}
    validator = OAS31Validator(whole, format_checker=OAS31Validator.FORMAT_CHECKER)
    for kind, one in shown(lives).items():
        faults = [fault.message for fault in validator.iter_errors(one)]
        assert not faults, (kind, faults)


def test_a_run_is_the_same_in_a_list_and_alone(
    alice: User, project: Project, lives: dict[str, Run]
) -> None:
    client, address = api_of(alice), f"/api/v1/projects/{project.slug}/runs/"
    listed = client.get(address).json()["results"]
    assert len(listed) == len(lives)
    for one in listed:
        assert client.get(f"{address}{one['number']}/").json() == one


def test_a_run_that_was_deleted_meanwhile_is_left_out(project: Project) -> None:
    first, second = make.run(project), make.run(project)
    pk = first.pk
    first.delete()
    assert [one["number"] for one in run_representation.represented([pk, second.pk])] == [2]


# Pages of a list ---------------------------------------------------------------------------------


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("minus", ["", "-"])
def test_pages_found_by_an_index_are_those_of_sorting_all(
    alice: User, project: Project, minus: str, filtered: bool
) -> None:
    """There and back, across runs that share a value and runs that have none."""
    version, student = make.dataset_version(project), make.model_version(project)
    expected: list[tuple[bool, float, int]] = []
    for number in range(1, 60):
        run = make.run(project, number=number, dataset_version=version, student=student)
        value = None if number % 7 == 0 else (number * 5 % 13) / 10
        if value is not None:
            metrics.append(run, [metrics.Measured("val/accuracy", 1, value, 0.0)])
        if not filtered or number % 3:
            expected.append((value is None, (value or 0.0) * (-1 if minus else 1), -number))
        else:
            Run.objects.filter(pk=run.pk).update(queue="gpu")
    numbers = [-number for *_, number in sorted(expected)]
    asked = {"limit": 20, "order": f"{minus}metrics.val/accuracy"}
    if filtered:
        asked["filter"] = "queue = default"
    client, address = api_of(alice), f"/api/v1/projects/{project.slug}/runs/"
    address += f"?{urlencode(asked)}"
    seen: list[int] = []
    last = ""
    while address:
        page = client.get(address).json()
        seen += [run["number"] for run in page["results"]]
        address, last = page["next"], address
    assert seen == numbers
    back: list[int] = []
    while last:
        page = client.get(last).json()
        back = [run["number"] for run in page["results"]] + back
        last = page["previous"]
    assert back == numbers


@pytest.mark.parametrize("order", ["number", "-created_at", "name", "-metrics.val/accuracy"])
@pytest.mark.parametrize("position", ["x", "2026-99-99", "1e999", "-1", "nan"])
def test_a_made_up_cursor_is_no_page_and_no_fault_of_ours(
    alice: User, project: Project, order: str, position: str
) -> None:
    make.run(project)
    cursor = base64.b64encode(urlencode({"p": position}).encode()).decode()
    address = f"/api/v1/projects/{project.slug}/runs/"
    for limit in (1, 100):
        answer = api_of(alice).get(address, {"order": order, "cursor": cursor, "limit": limit})
        assert answer.status_code in (200, 404), answer.content

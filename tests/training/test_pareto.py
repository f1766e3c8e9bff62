"""Models against what they cost to ask: only what was measured alike, the frontier as its
definition says, and the number of calls that pay a distillation back."""

import random
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from projects.models import ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in
from training.models import Run, TeacherAnswer
from training.services import break_even, pareto
from training.services.measured_points import Point

MACHINE = {"cpu": "Good CPU", "cpus": 4, "gpus": []}
KEY = "good-cpu-4-cores"


@pytest.fixture
def run(project: Project) -> Run:
    """A distillation and its control, finished on a machine of four cores; the student is version 2
    of what it began as."""
    made = make.distillation(project)
    worker = make.worker("one:1", machine=MACHINE)
    assert made.student is not None
    output = make.model_version(
        project, made.student.model.name, parameters=25_000, source={"kind": "run", "run": 1}
    )
    project.runs.update(worker=worker)
    Run.objects.filter(pk=made.pk).update(output=output)
    made.refresh_from_db()
    return made


@pytest.fixture
def address(project: Project) -> str:
    return f"/api/v1/projects/{project.slug}/pareto/"


@pytest.fixture
def client(vera: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(vera)
    return client


def look(project: Project, **address: Any) -> pareto.Found:
    return pareto.look(
        project=project, asked=pareto.read({name: str(one) for name, one in address.items()})
    )


def shipped(version: ModelVersion, run: Run, **fields: Any) -> None:
    """An export that was measured on the machine of the runs."""
    made = make.export(version, run.data, **fields)
    made.report = (made.report or {}) | {"machine": MACHINE}
    made.save()


def by_role(found: pareto.Found, role: str, form: str = "") -> pareto.Placed:
    (one,) = (one for one in found.placed if (one.point.role, one.point.form) == (role, form))
    return one


def test_teacher_student_and_control_stand_with_what_their_run_measured(run: Run) -> None:
    found = look(run.project, dataset=f"{run.data.reference}:test")
    assert (found.metric, found.split) == ("accuracy", "test")
    assert found.machine is not None
    assert found.machine.label == "Good CPU, 4 cores"
    said = {one.point.role: (one.score, one.x) for one in found.placed}
    assert said == {"teacher": (0.9, 4.2), "student": (0.88, 0.3), "control": (0.85, 0.3)}
    assert by_role(found, "student").point.reference == run.output.reference  # type: ignore[union-attr]
    assert by_role(found, "teacher").point.reference in run.config["teachers"]


def test_exports_are_judged_on_validation_rows_and_stand_with_those_alone(run: Run) -> None:
    assert run.output is not None
    shipped(run.output, run)
    found = look(run.project, dataset=f"{run.data.reference}:validation")
    form = by_role(found, "student", "onnx-int8")
    assert (form.score, form.x, form.point.size_bytes) == (0.89, 0.15, 1100)
    assert form.retention == pytest.approx(0.89 / 0.91)  # the teacher's, on the same rows
    tests = look(run.project, dataset=f"{run.data.reference}:test")
    assert [one.point.form for one in tests.placed] == ["", "", ""]


def test_machines_are_never_mixed_silently(run: Run) -> None:
    """An export that was measured nobody knows where has a machine of its own."""
    assert run.output is not None
    make.export(run.output, run.data)
    found = look(run.project)
    assert [one.key for one in found.machines] == [KEY, "unknown"]
    assert by_role(found, "student", "onnx-int8").x is None
    assert by_role(found, "student").x == 0.3
    elsewhere = look(run.project, machine="unknown")
    assert by_role(elsewhere, "student", "onnx-int8").x == 0.15
    assert by_role(elsewhere, "student").x is None
    sizes = look(run.project, x="size")
    assert all(one.x for one in sizes.placed)  # which no machine changes


def test_a_gate_scores_a_teacher_and_measures_no_speed(run: Run) -> None:
    other = make.model_version(run.project, "bigger", role="teacher", size_bytes=5)
    make.gate(other, run.data, accuracy=0.95)
    found = look(run.project)
    (one,) = (one for one in found.placed if one.point.name == other.reference)
    assert (one.score, one.point.role, one.x, one.on_frontier) == (0.95, "teacher", None, False)


def test_a_run_of_another_dataset_is_no_point(run: Run) -> None:
    make.distillation(run.project)
    assert len(look(run.project, dataset=f"{run.data.reference}:test").placed) == 3


def test_more_runs_cost_no_further_queries(
    run: Run, client: APIClient, django_assert_num_queries: Any
) -> None:
    address = f"/api/v1/projects/{run.project.slug}/pareto/"
    with CaptureQueriesContext(connection) as once:
        assert client.get(address).status_code == 200
    for number in range(100, 110):
        run.pk, run.number, run.output = None, number, None
        run._state.adding = True
        run.save()
    with django_assert_num_queries(len(once)):
        client.get(address)


@pytest.mark.parametrize("falls", [False, True])
def test_the_frontier_is_what_no_other_beats(falls: bool) -> None:
    """Against the definition, on a hundred random models."""
    chance = random.Random(3)
    placed = [
        pareto.Placed(
            point=Point(key=str(one), name=str(one), role="student"), speed=None,
            score=None, retention=None, cost=None, x=float(chance.randint(1, 20)),
            y=float(chance.randint(1, 20)),
        )
        for one in range(100)
    ]  # fmt: skip
    sign = -1 if falls else 1
    beaten = {
        one.point.key
        for one in placed
        for other in placed
        if other.x <= one.x  # type: ignore[operator]
        and sign * other.y >= sign * one.y  # type: ignore[operator]
        and (other.x, other.y) != (one.x, one.y)
    }
    told = {one.point.key for one in pareto._frontier(placed, falls=falls) if one.on_frontier}
    assert told == {one.point.key for one in placed} - beaten


def test_a_call_costs_the_time_of_its_machine_and_its_energy(run: Run) -> None:
    found = look(run.project, x="cost", price_per_hour=3.6)
    # 0.3 ms a call: 300 s a million, at 0.001 a second.
    assert by_role(found, "student").x == pytest.approx(0.3)
    many = look(run.project, x="cost", price_per_hour=3.6, batch=32)
    assert by_role(many, "student").x == pytest.approx(0.3 / 32)
    summary = run.summary
    summary["student"]["energy_per_million_wh"] = 500.0
    Run.objects.filter(pk=run.pk).update(summary=summary)
    found = look(run.project, x="cost", price_per_hour=3.6, energy_price=0.4)
    assert by_role(found, "student").x == pytest.approx(0.3 + 0.2)
    assert by_role(found, "teacher").x is None  # nobody measured its energy


def test_a_price_that_nobody_said_is_told_as_assumed(run: Run, settings: Any) -> None:
    assert look(run.project).price_is_assumed
    settings.DISTILLHUB_PRICE_PER_HOUR = 2.0
    found = look(run.project)
    assert (found.price_is_assumed, found.asked.price_per_hour) == (False, 2.0)
    assert look(run.project, price_per_hour=7).asked.price_per_hour == 7.0


def paid(run: Run, **address: Any) -> break_even.BreakEven:
    words = {name: str(one) for name, one in address.items()}
    _, found = break_even.answer(project=run.project, address=words)
    assert found is not None
    return found


def test_a_distillation_is_paid_back_by_what_each_call_saves(run: Run) -> None:
    """60 s and 60 s of its control, at 3.9 ms a call: 30 769.2 calls."""
    found = paid(run)
    assert [one.run for one in found.spent] == [1, 2]
    assert found.calls == 30_770
    assert "paid back after 30\u202f770 calls" in found.sentence
    assert paid(run, count="run").calls == 15_385
    # The price of an hour is on both sides.
    assert paid(run, price_per_hour=50).calls == found.calls


def test_a_student_that_is_not_cheaper_never_pays(run: Run) -> None:
    summary = run.summary
    summary["student"]["latency_ms"] = {"1": {"median": 4.3, "p95": 5.0}}
    Run.objects.filter(pk=run.pk).update(summary=summary)
    found = paid(run)
    assert found.calls is None
    assert found.sentence.endswith("never pays for itself here.")


def test_the_teacher_it_stands_in_for_is_the_cheapest_form_of_it(run: Run) -> None:
    teacher = run.teachers.get()
    assert paid(run).teacher.point.form == ""
    shipped(teacher, run, format="onnx")
    found = paid(run)
    assert (found.teacher.point.form, found.calls) == ("onnx", None)  # 0.15 ms: nothing is saved
    assert paid(run, teacher=teacher.reference).calls == 30_770


def test_rest_and_page_tell_the_same(
    run: Run, client: APIClient, address: str, vera: User, django_assert_max_num_queries: Any
) -> None:
    asked = {"y": "retention", "dataset": f"{run.data.reference}:test"}
    with django_assert_max_num_queries(12):
        told = client.get(address, asked).json()
    assert [one["role"] for one in told["points"]] == ["teacher", "student", "control"]
    assert [one["on_frontier"] for one in told["points"]] == [True, True, False]
    assert told["break_even"]["calls"] == 30_770
    page = signed_in(vera).get(f"/p/{run.project.slug}/pareto/", asked).content.decode()
    assert told["break_even"]["sentence"] in page
    assert "Good CPU, 4 cores" in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x", "beauty"),
        ("y", "beauty"),
        ("batch", "7"),
        ("machine", "no-such"),
        ("dataset", "nothing@1:test"),
        ("price_per_hour", "-1"),
        ("price_per_hour", "nan"),
        ("student", "nobody@1"),
        ("teacher", "nobody@1"),
        ("count", "all"),
    ],
)
def test_what_cannot_be_shown_is_refused_at_its_field(
    run: Run, client: APIClient, address: str, vera: User, field: str, value: str
) -> None:
    answer = client.get(address, {field: value})
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [field]
    page = signed_in(vera).get(f"/p/{run.project.slug}/pareto/", {field: value})
    assert page.status_code == 400
    assert "be shown." in page.content.decode()


def test_a_project_in_which_nothing_was_measured_says_what_to_do(
    project: Project, erin: User, vera: User, client: APIClient, address: str
) -> None:
    assert client.get(address).json()["points"] == []
    assert "Start a run" in signed_in(erin).get(f"/p/{project.slug}/pareto/").content.decode()
    assert "Start a run" not in signed_in(vera).get(f"/p/{project.slug}/pareto/").content.decode()


def test_a_score_of_which_less_is_better_is_not_retained(run: Run, client: APIClient) -> None:
    summary = run.summary | {"headline": "rmse"}
    summary["student"]["rmse"], summary["teacher"]["rmse"] = 2.0, 1.0
    Run.objects.filter(pk=run.pk).update(summary=summary)
    Run.objects.exclude(pk=run.pk).delete()
    answer = client.get(f"/api/v1/projects/{run.project.slug}/pareto/", {"y": "retention"})
    assert answer.json()["fields"] == {
        "y": ["Of rmse less is better, so there is no share of it to keep."]
    }
    found = look(run.project, dataset=f"{run.data.reference}:test")
    assert found.falls
    assert [one.retention for one in found.placed] == [None, None]


def test_a_saving_that_another_measurement_could_turn_round_is_told_with_care(run: Run) -> None:
    assert not any("with care" in note for note in paid(run).notes)
    summary = run.summary
    summary["student"]["latency_ms"] = {"1": {"median": 4.1, "p95": 5.0}}
    Run.objects.filter(pk=run.pk).update(summary=summary)
    assert any("with care" in note for note in paid(run).notes)


def test_a_service_costs_what_its_answers_took_on_average(run: Run) -> None:
    service = make.model_version(
        run.project, "gpt", role="teacher", source={"kind": "api", "model": "gpt"}
    )
    make.gate(service, run.data, accuracy=0.97)
    for place, cost in enumerate(("0.001", "0.003")):
        TeacherAnswer.objects.create(
            project=run.project, version=service, digest=str(place), purpose="x",
            status="answered", cost=Decimal(cost),
        )  # fmt: skip
    found = look(run.project, x="cost")
    (one,) = (one for one in found.placed if one.point.name == service.reference)
    assert one.x == pytest.approx(2000)
    assert one.on_frontier  # the best, though the dearest
    assert one.speed is None

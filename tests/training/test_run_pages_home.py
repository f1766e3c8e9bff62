"""Home and overview: what is there, and what to do next."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.models import Project, User
from tests import make
from tests.conftest import signed_in
from training.models import Run, Worker
from training.services import pipeline


def overview(client: Client, project: Project) -> str:
    return client.get(reverse("training:project_overview", args=[project.slug])).content.decode()


def advice(project: Project) -> str:
    return pipeline.standing(project=project).advice.title


def test_a_first_time_user_is_told_how_to_begin(charlie: User) -> None:
    shown = signed_in(charlie).get("/").content.decode()
    assert "Welcome to DistillHub" in shown
    assert reverse("projects:project_new") in shown


def test_home_shows_only_my_projects_and_runs(charlie: User, project: Project) -> None:
    make.distillation(project)
    shown = signed_in(charlie).get("/").content.decode()
    assert project.name not in shown


def test_home_shows_what_runs_and_what_came_out(vera: User, project: Project) -> None:
    make.distillation(project)
    make.run(project, name="still going", status=Run.Status.TRAINING, fraction=0.4)
    shown = signed_in(vera).get("/").content.decode()
    assert "still going" in shown
    assert "88.0 %" in shown


def test_a_teacher_behind_an_api_needs_no_training(project: Project) -> None:
    make.dataset_version(project)
    make.model_version(project)
    make.model_version(project, role="teacher", source={"kind": "api", "base_url": "http://x/v1"})
    assert advice(project) == "Have your teacher answer"
    steps = {step.key: step for step in pipeline.standing(project=project).steps}
    assert (steps["teachers"].tone, steps["teachers"].detail) == ("good", "1 through an API")
    make.model_version(project, role="teacher", source={"kind": "column", "dataset": "tickets"})
    assert advice(project) == "Distil"
    steps = {step.key: step for step in pipeline.standing(project=project).steps}
    assert steps["teachers"].detail == "1 of columns, 1 through an API"


def test_the_advice_walks_from_data_to_a_better_student(vera: User, project: Project) -> None:
    assert advice(project) == "Bring your data"
    version = make.dataset_version(project)
    assert advice(project) == "Register a teacher"
    make.model_version(project, role="teacher")
    assert advice(project) == "Register a student"
    student = make.model_version(project)
    assert advice(project) == "Teach the teacher"
    make.model_version(project, role="teacher", files=[{"name": "model.safetensors"}])
    assert advice(project) == "Distil"
    waiting = make.run(project, dataset_version=version, student=student)
    assert advice(project) == "1 run on the way"
    waiting.delete()
    make.distillation(project)
    assert advice(project) == "Try to beat your best"


def test_the_overview_names_the_best_result(vera: User, project: Project) -> None:
    make.distillation(project, accuracy=0.80)
    best = make.distillation(project, accuracy=0.88)
    shown = overview(signed_in(vera), project)
    assert f"Run {best.number}" in shown
    assert "of the teacher's accuracy" in shown


def test_the_best_is_chosen_on_validation_rows_and_told_by_its_test_rows(
    vera: User, project: Project
) -> None:
    chosen = make.distillation(project, accuracy=0.80)
    lucky = make.distillation(project, accuracy=0.88)  # on test rows
    Run.objects.exclude(dataset_version=chosen.dataset_version).update(
        dataset_version=chosen.dataset_version
    )
    for run, value in ((chosen, 0.90), (lucky, 0.70)):
        Run.objects.filter(pk=run.pk).update(summary=run.summary | {"best_value": value})
    best = pipeline.best_result(project=project)
    assert best is not None
    assert (best.run, best.validation, best.among) == (chosen, 0.90, 2)
    shown = overview(signed_in(vera), project)
    assert "Chosen by accuracy on validation rows (90.0 %), the best of 2" in shown
    assert "80.0 %" in shown


def test_the_best_of_another_dataset_is_not_compared(project: Project) -> None:
    make.distillation(project, accuracy=0.99)
    newest = make.distillation(project, accuracy=0.60)
    best = pipeline.best_result(project=project)
    assert best is not None
    assert best.run == newest


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        ({"answer": "hurt", "sentence": "The teacher hurt: 3 points worse."}, "The teacher hurt"),
        ({"answer": "no_evidence", "sentence": "No evidence that it helped."}, "No evidence"),
        (None, "no control to compare with"),
    ],
)
def test_the_best_result_says_where_its_teacher_did_not_help(
    vera: User, project: Project, comparison: dict[str, str] | None, words: str
) -> None:
    run = make.distillation(project)
    Run.objects.filter(pk=run.pk).update(comparison=comparison)
    shown = overview(signed_in(vera), project)
    assert words in shown
    assert "alert-warning" in shown
    assert "alert-warning" not in overview(signed_in(vera), _helped(project))


def _helped(project: Project) -> Project:
    make.distillation(project)
    return project


def test_an_empty_project_opens(vera: User, project: Project) -> None:
    assert "nothing uploaded yet" in overview(signed_in(vera), project)


def test_a_stranger_gets_404_for_a_project(charlie: User, project: Project) -> None:
    url = reverse("training:project_overview", args=[project.slug])
    assert signed_in(charlie).get(url).status_code == 404


@pytest.mark.parametrize(
    ("seen", "stopped", "word"),
    [(0, False, "online"), (600, False, "lost"), (5, True, "stopped")],
)
def test_the_workers_page_says_who_is_here(vera: User, seen: int, stopped: bool, word: str) -> None:
    now = timezone.now()
    Worker.objects.create(
        name="box:1",
        host="box",
        pid=1,
        queues=["default"],
        machine={"cpus": 2, "memory_bytes": 4e9, "gpus": []},
        load={"cpu_percent": 12.0, "memory_percent": 40.0},
        seen_at=now - timedelta(seconds=seen),
        stopped_at=now if stopped else None,
    )
    shown = signed_in(vera).get(reverse("training:worker_list")).content.decode()
    assert f'data-status="{word}"' in shown


def test_a_worker_shows_nobody_anothers_runs(charlie: User, project: Project) -> None:
    worker = Worker.objects.create(
        name="box:1", host="box", pid=1, queues=["default"], seen_at=timezone.now()
    )
    make.run(project, name="secret plan", status=Run.Status.TRAINING, worker=worker)
    shown = signed_in(charlie).get(reverse("training:worker_list")).content.decode()
    assert "secret plan" not in shown


def test_without_a_worker_the_page_says_how_to_start_one(vera: User) -> None:
    shown = signed_in(vera).get(reverse("training:worker_list")).content.decode()
    assert "distillhub worker" in shown

"""The table of runs and the page of a run: who sees them, what they say, what they cost."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from distillhub.lib import storage
from projects.models import Project, User
from tests import make
from tests.conftest import signed_in
from training.models import Artifact, Run
from training.worker import metrics

TABS = ["overview", "curves", "evaluation", "logs", "configuration", "artifacts"]


def page(client: Client, run: Run, tab: str = "overview") -> str:
    response = client.get(address(run), {"tab": tab})
    assert response.status_code == 200
    return response.content.decode()


def address(run: Run, name: str = "run_detail") -> str:
    return reverse(f"training:{name}", args=[run.project.slug, run.number])


def listed(client: Client, project: Project, **asked: str) -> str:
    response = client.get(reverse("training:run_list", args=[project.slug]), asked)
    assert response.status_code == 200
    return response.content.decode()


def evaluated(run: Run, folder: Path, *, taught: bool = True, **changes: Any) -> None:
    """Give the run the report of an evaluation."""
    part = run.summary["student"] | {
        "per_class": [
            {"label": label, "rows": 5, "precision": 0.9, "recall": 0.8, "f1": 0.85}
            for label in ("no", "yes")
        ],
        "confusion": [[4, 1], [0, 5]],
        "reliability": [
            {"low": 0.9, "high": 1.0, "count": 10, "confidence": 0.95, "accuracy": 0.9}
        ],
    }
    example = {
        "row_id": 3,
        "input": "<script>alert(1)</script>",
        "label": "yes",
        "student": "no",
        "student_confidence": 0.6,
        "teacher": "yes",
        "teacher_confidence": 0.9,
        "kind": "lost",
    }
    report = run.summary | {
        "labels": ["no", "yes"],
        "student": part,
        "teacher": part if taught else None,
        "slices": [
            {
                "column": "region",
                "metric": "accuracy",
                "parts": [
                    {"name": "<north>", "rows": 6, "student": 0.5, "teacher": 0.75},
                    {"name": "south", "rows": 4, "student": 1.0, "teacher": 1.0},
                ],
            }
        ],
        "examples": [example | changes],
        "temperature": {
            "own": [4.0],
            "by_temperature": [
                {"temperature": 1.0, "entropy": 0.2, "other_mass": 0.1},
                {"temperature": 4.0, "entropy": 0.5, "other_mass": 0.3},
            ],
            "rows": [
                {"row_id": 3, "input": "<b>hello</b>", "label": "yes", "logits": [-3.0, -0.1]}
            ],
        }
        if taught
        else None,
    }
    path = folder / "evaluation.json"
    path.write_text(json.dumps(report))
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="evaluation", name=path.name, sha256=blob.sha256, bytes=blob.bytes
    )


# Who --------------------------------------------------------------------------------------------


def verdict_cells(vera: User, project: Project) -> list[str]:
    text = signed_in(vera).get(reverse("training:run_list", args=[project.slug])).content.decode()
    return re.findall(r'<span class="chip[^"]*" title="[^"]*">[^<]*</span>|waits for its', text)


def test_the_table_says_whether_each_teacher_helped_and_by_how_much(
    vera: User, project: Project
) -> None:
    run = make.distillation(project, accuracy=0.88, control=0.85)
    title = "+3.0 points to the control, 95 % within +2.0 and +4.0"
    assert verdict_cells(vera, project) == [
        f'<span class="chip chip-good" title="{title}">helped</span>'
    ]
    assert run.comparison is not None
    run.comparison["answer"] = "no_evidence"
    run.save()
    assert ">no evidence<" in verdict_cells(vera, project)[0]
    Run.objects.filter(pk=run.pk).update(comparison=None)
    assert verdict_cells(vera, project) == []
    run.controls.update(status=Run.Status.TRAINING)
    assert verdict_cells(vera, project) == ["waits for its"]


def test_the_table_marks_the_run_that_validation_rows_prefer(vera: User, project: Project) -> None:
    lucky = make.distillation(project, accuracy=0.9)
    chosen = make.distillation(project, accuracy=0.8)
    for run, value in ((lucky, 0.7), (chosen, 0.75)):
        Run.objects.filter(pk=run.pk).update(
            summary=run.summary | {"best_value": value}, dataset_version=lucky.dataset_version
        )
    Run.objects.exclude(control_of=None).delete()
    page = signed_in(vera).get(reverse("training:run_list", args=[project.slug]))
    marked = [row.run for row in page.context["table"].rows if "score" in row.is_best]
    assert marked == [chosen]


@pytest.mark.parametrize(
    ("status", "words"), [("training", "about 9 m 18 s left"), ("cancelling", "")]
)
def test_the_time_left_is_told_of_a_run_that_goes_on(
    vera: User, project: Project, status: str, words: str
) -> None:
    run = make.run(project, status=status, eta_seconds=558.0, step=5, steps=100, fraction=0.05)
    live = signed_in(vera).get(address(run, "run_live")).json()
    assert live["values"]["eta"] == words
    shown = signed_in(vera).get(address(run)).content.decode()
    assert ("9 m 18 s left" in shown) is bool(words)


@pytest.mark.parametrize("name", ["run_detail", "run_live"])
def test_a_stranger_gets_404_for_a_run(charlie: User, project: Project, name: str) -> None:
    run = make.run(project)
    assert signed_in(charlie).get(address(run, name)).status_code == 404


def test_a_run_that_does_not_exist_is_404(vera: User, project: Project) -> None:
    run = Run(project=project, number=99)
    assert signed_in(vera).get(address(run)).status_code == 404


def test_a_viewer_reads_and_is_offered_nothing_to_change(vera: User, project: Project) -> None:
    shown = page(signed_in(vera), make.run(project))
    assert "Cancel" not in shown
    assert "edit-run" not in shown


@pytest.mark.parametrize("name", ["run_cancel", "run_resume", "run_edit"])
def test_a_viewer_changes_nothing(vera: User, project: Project, name: str) -> None:
    run = make.run(project)
    assert signed_in(vera).post(address(run, name)).status_code == 403
    run.refresh_from_db()
    assert run.status == Run.Status.QUEUED


# What it says -----------------------------------------------------------------------------------


def test_a_finished_distillation_says_whether_it_helped(vera: User, project: Project) -> None:
    shown = page(signed_in(vera), make.distillation(project))
    assert "Distilling helped" in shown
    assert "The student beats its control by 3.0 points" in shown
    for number in ("90.0 %", "88.0 %", "85.0 %", "97.8 %", "100×", "14×"):
        assert number in shown


def test_a_failed_run_opens_on_its_reason_and_what_to_do(vera: User, project: Project) -> None:
    error = {"code": "diverged", "detail": "The loss became infinite at step 203."}
    shown = page(signed_in(vera), make.run(project, status="failed", error=error))
    assert shown.index("The loss became infinite") < shown.index('class="tabs"')
    assert "Set max_grad_norm to 1" in shown


def test_a_queued_run_says_where_it_waits(vera: User, project: Project) -> None:
    assert "Place 1 in the queue" in page(signed_in(vera), make.run(project))


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("status", Run.Status.values)
def test_every_tab_opens_in_every_state(
    vera: User, project: Project, tab: str, status: str
) -> None:
    page(signed_in(vera), make.run(project, status=status), tab)


def test_an_unknown_tab_is_404(vera: User, project: Project) -> None:
    response = signed_in(vera).get(address(make.run(project)), {"tab": "nonsense"})
    assert response.status_code == 404


def test_the_evaluation_shows_examples_as_text(
    vera: User, project: Project, tmp_path: Path
) -> None:
    run = make.distillation(project)
    evaluated(run, tmp_path)
    shown = page(signed_in(vera), run, "evaluation")
    assert "Lost to the teacher" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert(1)" not in shown


def test_the_evaluation_is_told_in_parts(vera: User, project: Project, tmp_path: Path) -> None:
    run = make.distillation(project)
    evaluated(run, tmp_path)
    shown = page(signed_in(vera), run, "evaluation")
    assert "By region" in shown
    assert "&lt;north&gt;" in shown
    assert 'value="0.5000"' in shown


def test_the_evaluation_spells_labels_as_the_data_does(
    vera: User, project: Project, tmp_path: Path
) -> None:
    """`-1` and `1` are two labels; so are `no_show` and `no-show`."""
    run = make.distillation(project)
    evaluated(run, tmp_path, label="-1", student="no_show", teacher="no-show")
    shown = page(signed_in(vera), run, "evaluation")
    for label in ("-1", "no_show", "no-show"):
        assert f">{label}<" in shown


def test_without_a_teacher_examples_are_simply_wrong(
    vera: User, project: Project, tmp_path: Path
) -> None:
    run = make.distillation(project)
    evaluated(run, tmp_path, taught=False, kind="both_wrong")
    shown = page(signed_in(vera), run, "evaluation")
    assert "Wrong answers" in shown
    assert "Both wrong" not in shown


def test_the_configuration_shows_formula_weights_and_json(vera: User, project: Project) -> None:
    shown = page(signed_in(vera), make.distillation(project), "configuration")
    assert "<b>0.9</b>" in shown
    assert "temperature 4" in shown
    assert "&quot;temperature&quot;: 4.0" in shown


def test_names_notes_and_tags_are_text_everywhere(vera: User, project: Project) -> None:
    run = make.run(project, name="<img src=x>", notes="<script>1</script>", tags=["<b>"])
    for shown in (page(signed_in(vera), run), listed(signed_in(vera), project)):
        assert "<img src=x>" not in shown
        assert "<script>1" not in shown
        assert "<b></a>" not in shown


def test_an_artifact_is_downloaded_under_the_runs_name(
    vera: User, project: Project, tmp_path: Path
) -> None:
    run = make.distillation(project)
    evaluated(run, tmp_path)
    url = reverse("training:artifact_download", args=[project.slug, run.number, "evaluation.json"])
    assert url in page(signed_in(vera), run, "artifacts")
    response = signed_in(vera).get(url)
    name = f"{project.slug}-run-{run.number}-evaluation.json"
    assert name in response.headers["Content-Disposition"]
    assert json.loads(response.getvalue())["rows"] == 1000


# Changes ----------------------------------------------------------------------------------------


def test_an_editor_changes_name_notes_and_tags(erin: User, project: Project) -> None:
    run = make.run(project)
    sent = {"name": "warm", "notes": "Twice as hot.", "tags": "sweep, hot,  sweep"}
    response = signed_in(erin).post(address(run, "run_edit"), sent, follow=True)
    run.refresh_from_db()
    assert (run.name, run.notes, run.tags) == ("warm", "Twice as hot.", ["sweep", "hot"])
    assert "Saved." in response.content.decode()


def test_a_name_that_is_empty_is_refused_with_a_sentence(erin: User, project: Project) -> None:
    run = make.run(project)
    response = signed_in(erin).post(address(run, "run_edit"), {"name": " "}, follow=True)
    assert "A name has 1 to" in response.content.decode()


def test_an_editor_cancels_a_queued_run(erin: User, project: Project) -> None:
    run = make.run(project)
    signed_in(erin).post(address(run, "run_cancel"))
    run.refresh_from_db()
    assert run.status == Run.Status.CANCELLED


def test_cancelling_what_is_over_says_so(erin: User, project: Project) -> None:
    run = make.run(project, status=Run.Status.FINISHED)
    response = signed_in(erin).post(address(run, "run_cancel"), follow=True)
    assert "already finished" in response.content.decode()


def test_nothing_changes_by_following_a_link(erin: User, project: Project) -> None:
    assert signed_in(erin).get(address(make.run(project), "run_cancel")).status_code == 405


# Live -------------------------------------------------------------------------------------------


def test_the_page_polls_only_what_is_new(vera: User, project: Project) -> None:
    run = make.run(project, status=Run.Status.TRAINING, fraction=0.5, step=20)
    points = [metrics.Measured("train/loss", step, 1 / step, 0.0) for step in range(1, 21)]
    metrics.append(run, points)
    client = signed_in(vera)
    whole = client.get(address(run, "run_live")).json()
    assert whole["series"]["train/loss"]["steps"] == list(range(1, 21))
    more = client.get(address(run, "run_live"), {"since_step": 20, "after": 0}).json()
    assert more["series"]["train/loss"]["steps"] == [20]
    assert more["values"]["percent"] == "50 %"
    assert not more["is_final"]


def test_a_validation_written_after_its_step_was_polled_is_not_lost(
    vera: User, project: Project
) -> None:
    run = make.run(project, status=Run.Status.TRAINING, step=20)
    metrics.append(run, [metrics.Measured("train/loss", 20, 0.5, 0.0)])
    client = signed_in(vera)
    client.get(address(run, "run_live"))
    metrics.append(run, [metrics.Measured("val/accuracy", 20, 0.9, 0.0)])
    more = client.get(address(run, "run_live"), {"since_step": 20}).json()
    assert more["series"]["val/accuracy"]["values"] == [0.9]


def test_the_controls_curve_comes_with_the_runs(vera: User, project: Project) -> None:
    run = make.run(project, status=Run.Status.TRAINING)
    control = make.run(project, status=Run.Status.TRAINING, control_of=run)
    metrics.append(control, [metrics.Measured("val/accuracy", 5, 0.4, 0.0)])
    series = signed_in(vera).get(address(run, "run_live")).json()["series"]
    assert series["control/val/accuracy"]["values"] == [0.4]


def test_a_page_of_a_run_that_is_over_asks_for_nothing_more(vera: User, project: Project) -> None:
    client = signed_in(vera)
    assert "data-live-url" in page(client, make.run(project, status=Run.Status.TRAINING))
    assert "data-live-url" not in page(client, make.distillation(project))


# The table --------------------------------------------------------------------------------------


def test_only_what_differs_gets_a_column(vera: User, project: Project) -> None:
    hot, cold = make.distillation(project), make.distillation(project)
    hot.config["losses"][0]["temperature"] = 8.0
    hot.save()
    assert cold.config["losses"][0]["temperature"] == 4.0
    shown = listed(signed_in(vera), project)
    columns = re.findall(r'title="Differs between the listed runs">([^<]*)<', shown)
    assert columns == ["temperature"]


def test_runs_are_filtered_by_status_tag_and_words(vera: User, project: Project) -> None:
    make.run(project, name="warm one", tags=["sweep"])
    make.run(project, name="cold one", status=Run.Status.FAILED)
    client = signed_in(vera)
    for asked in ({"status": "failed"}, {"q": "cold"}):
        shown = listed(client, project, **asked)
        assert "cold one" in shown
        assert "warm one" not in shown
    shown = listed(client, project, tag="sweep")
    assert "warm one" in shown
    assert "cold one" not in shown


@pytest.mark.parametrize(
    "order",
    [
        "number",
        "-name",
        "status",
        "-accuracy",
        "-validation",
        "-agreement",
        "loss",
        "student",
        "dataset",
        "duration",
        "by",
        "-created",
        "-training.learning_rate",
    ],
)
def test_runs_are_sorted_by_any_column(vera: User, project: Project, order: str) -> None:
    make.distillation(project)
    make.run(project)
    listed(signed_in(vera), project, order=order)


def test_sorting_by_a_metric_puts_runs_without_it_last(vera: User, project: Project) -> None:
    better, worse, none = (make.run(project, name=name) for name in ("better", "worse", "none"))
    metrics.append(better, [metrics.Measured("test/accuracy", 1, 0.9, 0.0)])
    metrics.append(worse, [metrics.Measured("test/accuracy", 1, 0.4, 0.0)])
    shown = listed(signed_in(vera), project, order="-accuracy")
    places = [shown.index(f'id="run-{run.number}"') for run in (better, worse, none)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "asked",
    [{"order": "password"}, {"order": "training.__class__"}, {"status": "nonsense"}],
)
def test_what_cannot_be_asked_is_400(vera: User, project: Project, asked: dict[str, str]) -> None:
    url = reverse("training:run_list", args=[project.slug])
    assert signed_in(vera).get(url, asked).status_code == 400


def test_the_fragment_and_the_page_share_their_address(vera: User, project: Project) -> None:
    make.run(project)
    url = reverse("training:run_list", args=[project.slug])
    response = signed_in(vera).get(url, headers={"HX-Request": "true"})
    assert "<html" not in response.content.decode()
    assert "HX-Request" in response.headers["Vary"]


def test_a_table_polls_only_while_something_runs(vera: User, project: Project) -> None:
    run = make.run(project)
    assert "data-refresh" in listed(signed_in(vera), project)
    Run.objects.filter(pk=run.pk).update(status=Run.Status.CANCELLED)
    assert "data-refresh" not in listed(signed_in(vera), project)


def test_the_table_writes_shares_in_percent_as_every_page_does(
    vera: User, project: Project
) -> None:
    run = make.distillation(project, accuracy=0.9244)
    shown = listed(signed_in(vera), project)
    for said in ("92.4 %", "90.0 %"):  # accuracy, agreement
        assert said in shown
        assert said in page(signed_in(vera), run)
    assert "0.9244" not in shown
    assert "0.9000" not in shown


def test_the_table_tells_where_queued_runs_stand(vera: User, project: Project) -> None:
    first, second = make.run(project), make.run(project, priority=Run.Priority.HIGH)
    make.run(project, status="training")
    waiting = make.run(project, status="waiting")
    rows = signed_in(vera).get(reverse("training:run_list", args=[project.slug])).context["table"]
    assert {row.run.number: row.place for row in rows.rows if row.place} == {
        first.number: 2,
        second.number: 1,
    }
    shown = listed(signed_in(vera), project)
    assert 'title="Place 2 in the queue default"' in shown
    assert shown.count("in the queue default") == 2
    assert waiting.name in shown


# Cost -------------------------------------------------------------------------------------------


def test_a_list_of_runs_costs_the_same_however_long(
    vera: User, project: Project, django_assert_max_num_queries: Any
) -> None:
    for _ in range(15):
        make.distillation(project)
    make.run(project)
    Run.objects.filter(status=Run.Status.FINISHED)[:1].get().controls.update(status="training")
    client = signed_in(vera)
    for asked in ({}, {"q": "run"}, {"status": "active"}, {"order": "-score"}, {"order": "loss"}):
        with django_assert_max_num_queries(12):
            listed(client, project, **asked)


@pytest.mark.parametrize("tab", TABS)
def test_a_run_page_costs_at_most_fifteen_queries(
    vera: User, project: Project, tmp_path: Path, django_assert_max_num_queries: Any, tab: str
) -> None:
    run = make.distillation(project)
    evaluated(run, tmp_path)
    client = signed_in(vera)
    with django_assert_max_num_queries(15):
        page(client, run, tab)


def test_home_and_overview_cost_the_same_however_much_there_is(
    alice: User, project: Project, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(alice)
    for _ in range(5):
        make.distillation(make.project(owner=alice))
        make.distillation(project)
    with django_assert_max_num_queries(12):
        assert client.get("/").status_code == 200
    with django_assert_max_num_queries(12):
        assert client.get(reverse("training:project_overview", args=[project.slug])).status_code

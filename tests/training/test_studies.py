"""Studies: launched as a whole, told of when all their runs are over, and truthful."""

from typing import Any

import plotly.graph_objects as go
import pytest
import yaml
from django.test import Client
from rest_framework.test import APIClient

from projects.models import DatasetVersion, ModelVersion, Project, User
from projects.services import registry
from tests import make
from tests.conftest import api_of
from tests.training import in_process
from tests.training.conftest import asked
from training.charts import studies as charts
from training.models import Run, Study, Worker
from training.services import launching, runs, studies
from training.worker import reaper
from training.worker import studies as telling
from training.worker.study_pairs import seed_of

pytestmark = pytest.mark.django_db(transaction=True)

STUDIES = "/api/v1/projects/intents/studies/"


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


def members(study: Study) -> list[tuple[str, str, int]]:
    return [(run.arm, run.status, seed_of(run)) for run in study.runs.order_by("number")]


# Launching ---------------------------------------------------------------------------------------


def test_a_study_of_seeds_is_a_run_and_its_control_for_each(
    client: APIClient, taught: dict[str, Any]
) -> None:
    answer = client.post(STUDIES, {"kind": "seeds", "base": taught, "seeds": [3, 5]})
    assert answer.status_code == 201, answer.json()
    told = answer.json()
    assert (told["number"], told["status"], told["verdict"]) == (1, "running", None)
    assert told["runs"] == [1, 2, 3, 4]
    assert members(Study.objects.get()) == [
        ("distilled", "queued", 3), ("control", "queued", 3),
        ("distilled", "queued", 5), ("control", "queued", 5),
    ]  # fmt: skip
    assert [arm["label"] for arm in told["table"]] == ["Labels alone", "Distilled"]
    run = client.get("/api/v1/projects/intents/runs/3/").json()
    assert (run["study"], run["arm"]) == (1, "distilled")
    found = client.get("/api/v1/projects/intents/runs/?study=1").json()["results"]
    assert [one["number"] for one in found] == [4, 3, 2, 1]
    assert [one["number"] for one in client.get(STUDIES).json()["results"]] == [1]


def test_ways_are_told_apart_by_what_was_trained_and_not_by_what_was_declared(
    project: Project, taught: dict[str, Any]
) -> None:
    study = studies.launch(
        project=project,
        asked={"kind": "seeds", "base": taught, "seeds": 1},
        by=project.created_by,
    )
    ModelVersion.objects.filter(model__name="tiny").update(parameters=64_090)
    summary = {"headline": "accuracy", "student": {"accuracy": 0.9, "parameters": 8052}}
    study.runs.update(status="finished", summary=summary)
    assert {arm.parameters for arm in studies.arms(study)} == {8052}


def test_without_a_teacher_seeds_are_trained_without_a_question(
    client: APIClient, dataset: DatasetVersion, student: ModelVersion
) -> None:
    told = client.post(STUDIES, {"kind": "seeds", "base": asked(), "seeds": 2}).json()
    assert [one[0] for one in members(Study.objects.get())] == ["trained", "trained"]
    assert told["asked"]["comparisons"] == []


def test_strategies_train_the_teacher_once_and_wait_for_it(
    client: APIClient, taught: dict[str, Any]
) -> None:
    body = {"kind": "strategies", "base": taught, "seeds": 2}
    told = client.post(STUDIES, body | {"teacher_training": {"epochs": 1}}).json()
    assert members(Study.objects.get()) == [
        ("teacher", "queued", 0),
        ("distilled", "queued", 0), ("control", "queued", 0), ("taught_by_tuned", "waiting", 0),
        ("distilled", "queued", 1), ("control", "queued", 1), ("taught_by_tuned", "waiting", 1),
    ]  # fmt: skip
    first = Run.objects.get(number=1)
    assert (first.config["student"], first.config["training"]["epochs"]) == ("big@1", 1)
    assert first.config["teachers"] == []
    assert told["asked"]["comparisons"][0] == ["distilled", "control"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "guess"}, "kind"),
        ({"base": 3}, "base"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 11}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": ["1"]}, "seeds"),
        ({"seeds": True}, "seeds"),
        ({"more": 1}, "more"),
        ({"teacher_training": {}}, "teacher_training"),
        ({"name": "x" * 201}, "name"),
        ({"base": {"task": "text-classification"}}, "base.dataset"),
    ],
)
def test_what_is_no_study_is_refused_by_name_and_nothing_is_launched(
    client: APIClient, taught: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    answer = client.post(STUDIES, {"kind": "seeds", "base": taught} | changes)
    assert answer.status_code == 400, answer.json()
    assert field in answer.json()["fields"]
    assert not Run.objects.exists()
    assert not Study.objects.exists()


def test_a_fault_of_a_run_is_named_below_base(client: APIClient, taught: dict[str, Any]) -> None:
    base = taught | {"losses": [{"kind": "soft_targets", "temperature": -1}]}
    answer = client.post(STUDIES, {"kind": "seeds", "base": base})
    assert "base.losses.0.temperature" in answer.json()["fields"]


def test_strategies_need_exactly_one_teacher(client: APIClient, taught: dict[str, Any]) -> None:
    body = {"kind": "strategies", "base": taught | {"teachers": []}}
    assert "base.teachers" in client.post(STUDIES, body).json()["fields"]


def test_a_finished_run_is_repeated_with_more_seeds(
    project: Project, erin: User, taught: dict[str, Any]
) -> None:
    first = launching.launch(project=project, configuration=taught, by=erin)
    control = first.controls.get()
    for run in (first, control):
        study = studies.more_seeds(run=run, seeds=3, by=erin)
        assert study.runs.count() == 6
        assert {one.config["student"] for one in study.runs.all()} == {"tiny@1"}


# Ending ------------------------------------------------------------------------------------------


def end(run: Run, status: str) -> None:
    Run.objects.filter(pk=run.pk).update(status=status)


def test_it_is_told_once_all_are_over_and_not_before(
    client: APIClient, taught: dict[str, Any]
) -> None:
    client.post(STUDIES, {"kind": "seeds", "base": taught, "seeds": 1})
    study = Study.objects.get()
    first, second = study.runs.order_by("number")
    end(first, "failed")
    telling.tell(study.pk)
    study.refresh_from_db()
    assert study.status == "running"
    end(second, "failed")
    reaper.reap()  # nobody told it: the message was lost
    study.refresh_from_db()
    assert (study.status, study.verdict) == ("failed", None)
    runs.retry(run=Run.objects.get(pk=first.pk), by=first.created_by)
    study.refresh_from_db()
    assert (study.status, study.report, study.finished_at) == ("running", None, None)


def test_cancelling_ends_what_is_not_over(client: APIClient, taught: dict[str, Any]) -> None:
    client.post(STUDIES, {"kind": "strategies", "base": taught, "seeds": 2})
    told = client.post(f"{STUDIES}1/cancel/").json()
    assert {status for _, status, _ in members(Study.objects.get())} == {"cancelled"}
    assert told["progress"] == 1.0


def test_its_name_and_notes_change_and_are_bounded(
    client: APIClient, taught: dict[str, Any]
) -> None:
    client.post(STUDIES, {"kind": "seeds", "base": taught, "seeds": 1, "name": "First"})
    told = client.patch(f"{STUDIES}1/", {"notes": "why"}).json()
    assert (told["name"], told["notes"]) == ("First", "why")
    assert client.patch(f"{STUDIES}1/", {"name": " "}).status_code == 400


# The whole way -----------------------------------------------------------------------------------


@pytest.fixture
def trained(
    project: Project, dataset: DatasetVersion, student: ModelVersion, teacher: ModelVersion,
    worker: Worker,
) -> None:  # fmt: skip
    """The teacher learns."""
    base = asked(student="big@1", training={"epochs": 6})
    launching.launch(project=project, configuration=base, by=project.created_by)
    in_process.carry_out(project, worker)
    made = Run.objects.get(number=1)
    assert made.status == "finished", made.error
    assert made.output is not None
    registry.set_alias(
        model=made.output.model, name="best", version=made.output, by=project.created_by
    )


def test_the_whole_way_of_strategies(
    project: Project, trained: None, worker: Worker, client: APIClient
) -> None:
    body = {"kind": "strategies", "base": asked(teachers=["big@best"]), "seeds": 2}
    answer = client.post(STUDIES, body | {"teacher_training": {"epochs": 1}})
    assert answer.status_code == 201, answer.json()
    in_process.carry_out(project, worker)
    telling.tell(Study.objects.get().pk)
    told = client.get(f"{STUDIES}1/").json()
    assert (told["status"], told["progress"]) == ("finished", 1.0)
    assert [arm["finished"] for arm in told["table"]] == [2, 2, 1, 2]
    assert all(arm["score"] is not None for arm in told["table"])
    pairs = [(one["arm"], one["against"]) for one in told["comparisons"]]
    assert pairs == [
        ("distilled", "control"), ("taught_by_tuned", "control"), ("taught_by_tuned", "distilled"),
    ]  # fmt: skip
    first = told["comparisons"][0]
    scores = {arm["arm"]: arm["score"] for arm in told["table"]}
    assert first["difference"] == pytest.approx(scores["distilled"] - scores["control"])
    assert first["interval"][0] <= first["difference"] <= first["interval"][1]
    assert (first["seeds"], first["rows"], first["split"]) == (2, 30, "test")
    assert told["verdict"]["sentence"] == first["sentence"]
    assert "2 seeds" in first["sentence"]


# Pages -------------------------------------------------------------------------------------------


@pytest.fixture
def pages(client: APIClient, erin: User) -> Client:
    found = Client()
    found.force_login(erin)
    return found


def finished(study: Study, **arms: float) -> None:
    """Every run over, with a score of its arm."""
    for run in study.runs.all():
        score = arms[run.arm] + seed_of(run) / 100
        told = {"student": {"accuracy": score}, "headline": "accuracy", "seconds": 3.0}
        Run.objects.filter(pk=run.pk).update(status="finished", summary=told)
    compared = {
        "arm": "distilled", "against": "control", "metric": "accuracy", "unit": "points",
        "difference": 0.05, "interval": [0.02, 0.08], "level": 0.95, "answer": "helped",
        "seeds": 2, "rows": 30, "sentence": "Distilling is better <by> far.",
    }  # fmt: skip
    verdict = {key: compared[key] for key in ("answer", "difference", "interval", "level")}
    verdict |= {key: compared[key] for key in ("metric", "unit", "sentence")}
    study.settle({"comparisons": [compared], "verdict": verdict}, is_told=True)


def test_a_study_is_begun_on_the_page_of_a_new_run(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    form = pages.get("/p/intents/runs/new/?repeat=seeds-3").content.decode()
    assert '<option value="seeds-3" selected' in form
    sent = {
        "mode": "yaml", "yaml": yaml.safe_dump(taught), "repeat": "seeds-3", "action": "launch",
        "form_key": "once",
    }  # fmt: skip
    for _ in range(2):  # a double click is one study
        answer = pages.post("/p/intents/runs/new/", sent)
        assert answer.status_code == 302, answer.content.decode()
        assert answer.headers["Location"] == "/p/intents/studies/1/"
    assert Study.objects.get().runs.count() == 6
    shown = pages.get("/p/intents/studies/1/").content.decode()
    assert "The verdict is told once all its runs are over." in shown


def test_a_fault_of_the_base_stands_at_its_field(pages: Client, taught: dict[str, Any]) -> None:
    wrong = taught | {"losses": [{"kind": "soft_targets", "temperature": -1}]}
    sent = {"mode": "yaml", "yaml": yaml.safe_dump(wrong), "repeat": "seeds-3"}
    shown = pages.post("/p/intents/runs/new/", sent | {"action": "launch"}).content.decode()
    assert "losses.0.temperature" in shown
    assert "base.losses" not in shown


def test_its_page_tells_the_verdict_the_arms_and_each_seed(
    pages: Client, client: APIClient, taught: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    client.post(STUDIES, {"kind": "seeds", "base": taught, "seeds": 3, "name": "Sure?"})
    study = Study.objects.get()
    finished(study, distilled=0.9, control=0.8)
    with django_assert_max_num_queries(15):
        shown = pages.get("/p/intents/studies/1/").content.decode()
    assert "Distilling helped" in shown
    assert "Distilling is better &lt;by&gt; far." in shown
    assert "91.0 %" in shown
    assert "± 1.0 %" in shown
    with django_assert_max_num_queries(12):
        listed = pages.get("/p/intents/studies/").content.decode()
    assert "+5.0 points" in listed
    assert "of <a" in pages.get("/p/intents/runs/1/").content.decode()


def test_a_finished_run_offers_more_seeds_and_a_run_of_a_study_does_not(
    pages: Client,
    project: Project,
    student: ModelVersion,
    client: APIClient,
    taught: dict[str, Any],
) -> None:
    run = make.distillation(project)
    assert "Train three seeds" in pages.get(f"/p/intents/runs/{run.number}/").content.decode()
    client.post(STUDIES, {"kind": "seeds", "base": taught, "seeds": 1})
    study = Study.objects.get()
    finished(study, distilled=0.9, control=0.8)
    first = study.runs.order_by("number")[0]
    Run.objects.filter(pk=first.pk).update(comparison=run.comparison)
    assert "Train three seeds" not in pages.get(f"/p/intents/runs/{first.number}/").content.decode()


def test_pages_of_studies_say_what_to_do_where_there_are_none(pages: Client) -> None:
    assert "throw of the dice" in pages.get("/p/intents/studies/").content.decode()


def test_what_is_shown_of_many_arms_is_a_figure_that_plotly_reads() -> None:
    arms = [("control", "Labels <alone>", [(0, 0.8), (1, 0.81)]), ("x", "X", [(0, 0.9)])]
    go.Figure(charts.by_seed(arms, is_share=True))
    way = {"key": "x", "label": "X", "score": 0.8, "deviation": None, "seconds": 3.0}
    go.Figure(charts.against_cost([way], measure="accuracy", is_share=True, teacher=0.9))
    one = {"label": "a − b", "difference": 0.01, "interval": [-0.01, 0.03]}
    go.Figure(charts.differences([one], factor=100.0, unit="points"))

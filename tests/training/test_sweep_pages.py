"""The pages of a sweep: what is shown of it at every stage, and what its buttons do."""

from typing import Any

import plotly.graph_objects as go
import pytest
import yaml
from django.test import Client

from projects.models import Project, User
from tests.training.run_form.filled import inputs
from tests.training.sweep_trials import SPACE, carry_out, end, launch
from training.charts import sweeps as charts
from training.models import Study, Trial
from training.services import launching
from training.worker import studies as telling

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pages(erin: User, project: Project) -> Client:
    found = Client()
    found.force_login(erin)
    return found


def score(parameters: dict[str, Any]) -> float:
    return 0.9 - abs(float(parameters.get("losses.0.temperature", 9)) - 3) / 100


def test_a_sweep_shows_its_best_its_charts_and_every_trial(
    pages: Client,
    project: Project,
    taught: dict[str, Any],
    django_assert_max_num_queries: Any,
) -> None:
    study = launch(project, taught, control=True, trials=5, at_once=2, name="Which <heat>?")
    at = f"/p/intents/studies/{study.number}/"
    shown = pages.get(at).content.decode()
    assert "No trial is complete yet." in shown
    assert "2 of at most 10 trials were asked for" in shown
    carry_out(study, score)
    with django_assert_max_num_queries(15):
        shown = pages.get(at).content.decode()
    assert "Which &lt;heat&gt;?" in shown
    for title in ("History", "What mattered", "Trials side by side", "Two options together"):
        assert title in shown
    assert shown.count("complete</span>") == 10
    assert "Temperature, soft targets" in shown
    assert "Test the best" in shown
    best = max(study.trials.filter(arm="distilled"), key=lambda one: one.value or 0)
    assert f"trial {best.number} (<a" in shown
    other = pages.get(f"{at}?x=training.learning_rate&y=losses.0.temperature")
    assert other.status_code == 200
    listed = pages.get("/p/intents/studies/").content.decode()
    assert "Which configuration is best" in listed


def test_trials_are_downloaded_as_a_table(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, trials=2)
    end(study.trials.get(number=1), 0.5)
    Trial.objects.filter(number=2).update(told="=1+1")
    answer = pages.get(f"/p/intents/studies/{study.number}/trials.csv")
    lines = answer.content.decode().splitlines()
    assert lines[0] == f"trial,arm,state,val/accuracy,run,{','.join(SPACE)},told"
    assert lines[1].startswith("1,distilled,complete,0.5,1,4.0,0.01")
    assert lines[2].endswith("'=1+1")


def test_buttons_stop_resume_add_and_test(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1, trials=2)
    at = f"/p/intents/studies/{study.number}/"
    pages.post(f"{at}stop/")
    assert "those in training go on to their end" in pages.get(at).content.decode()
    carry_out(study)
    assert "Resume" in pages.get(at).content.decode()
    pages.post(f"{at}resume/")
    telling.tell(study.pk)
    carry_out(study)
    assert study.trials.count() == 2
    refused = pages.post(f"{at}trials/", {"trials": "many"}, follow=True).content.decode()
    assert "whole number from 1 to 498" in refused
    pages.post(f"{at}trials/", {"trials": "1"})
    telling.tell(study.pk)
    carry_out(study)
    assert study.trials.count() == 3
    answer = pages.post(f"{at}best/")
    made = Study.objects.order_by("number").last()
    assert made is not None
    assert answer.headers["Location"] == f"/p/intents/studies/{made.number}/"
    assert "The best was tested" in pages.get(at).content.decode()


def test_a_sweep_without_any_trial_that_is_complete_says_why(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, at_once=1, trials=2)
    end(study.trials.get(), None, "failed", error={"code": "diverged", "detail": "Not <finite>."})
    end(study.trials.get(number=2), None, "cancelled", error={"code": "pruned", "detail": "x"})
    shown = pages.get(f"/p/intents/studies/{study.number}/").content.decode()
    assert "Not &lt;finite&gt;." in shown
    assert "Test the best" not in shown


# Charts ------------------------------------------------------------------------------------------

SCORE = charts.Score("Accuracy", falls=False, is_share=True)
LOSS = charts.Score("RMSE", falls=True, is_share=False)
RATE = charts.Dimension("training.learning_rate", "Learning rate", None, is_log=True)
HEAT = charts.Dimension("losses.0.temperature", "Temperature", None, is_log=False)
WHO = charts.Dimension("student", "Student", ["tiny@1", "<b>@1"], is_log=False)


def points(count: int) -> list[charts.Point]:
    return [
        charts.Point(
            at,
            None if at % 7 == 6 else 0.5 + at / 100,
            is_pruned=at % 5 == 4,
            values={
                RATE.path: 10.0**-at,
                HEAT.path: float(at),
                WHO.path: WHO.words[at % 2] if WHO.words else "",
            },
        )
        for at in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 9])
@pytest.mark.parametrize("score", [SCORE, LOSS])
def test_plotly_accepts_the_figures_of_any_number_of_trials(
    count: int, score: charts.Score
) -> None:
    tried = points(count)
    go.Figure(charts.history([("student", "Distilled", tried), ("control", "Labels", [])], score))
    go.Figure(charts.together(tried, [RATE, HEAT, WHO], score))
    for across, up in ((RATE, HEAT), (HEAT, WHO), (WHO, RATE)):
        go.Figure(charts.contour(tried, across, up, score))
    go.Figure(charts.importance([("Temperature", 0.9), ("<b>", 0.1)][:count]))


def test_the_best_so_far_only_gets_better_whichever_way_that_is() -> None:
    for score, wanted in ((SCORE, [0.5, 0.7]), (LOSS, [0.5, 0.4])):
        tried = [
            charts.Point(at, value, is_pruned=False, values={})
            for at, value in enumerate([0.5, 0.4, 0.7, 0.6], 1)
        ]
        best = charts.history([("student", "D", tried)], score)["data"][1]
        assert list(dict.fromkeys(best["y"])) == wanted
        assert best["x"][-1] == 4


def test_few_trials_are_counted_in_whole_numbers() -> None:
    """Between them a half would be written as the number before it, once more."""
    for many, wanted in ((2, 1), (9, 1), (40, None)):
        drawn = charts.history([("student", "D", points(many))], SCORE)
        assert drawn["layout"]["xaxis"].get("dtick") == wanted


def test_pruned_trials_are_marked_and_never_the_best() -> None:
    tried = [
        charts.Point(1, 0.5, is_pruned=False, values={}),
        charts.Point(2, 0.9, is_pruned=True, values={}),
    ]
    told = charts.history([("student", "D", tried)], SCORE)["data"]
    assert [one["name"] for one in told] == ["D", "D, best so far", "D, pruned"]
    assert max(told[1]["y"]) == 0.5


def test_the_contour_guesses_nothing_far_from_any_trial() -> None:
    tried = [
        charts.Point(at, 0.5, is_pruned=False, values={HEAT.path: x, RATE.path: y})
        for at, (x, y) in enumerate([(0.0, 0.1), (0.1, 0.1001), (0.0, 0.1001), (10.0, 1e-9)])
    ]
    shade = charts.contour(tried, HEAT, RATE, SCORE)["data"][0]["z"]
    assert shade[0][0] is None
    assert any(cell is not None for row in shade for cell in row)
    cells = [cell for row in shade for cell in row if cell is not None]
    assert min(cells) == pytest.approx(0.5) == max(cells)


def test_two_numbers_are_drawn_together_before_a_word(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, space={"training.schedule": ["cosine", "constant"]} | SPACE)
    choices = pages.get(f"/p/intents/studies/{study.number}/").context["choices"]
    assert list(choices.values()) == list(SPACE)


# The form ----------------------------------------------------------------------------------------


def form_of(pages: Client, taught: dict[str, Any]) -> dict[str, Any]:
    """What the form of a sweep sends as it first comes, after the form of a run."""
    sent = {"mode": "yaml", "yaml": yaml.safe_dump(taught), "repeat": "sweep", "action": "launch"}
    answer = pages.post("/p/intents/runs/new/", sent)
    assert "What is varied" in answer.content.decode()
    return inputs(answer) | {"metric": ""}


def test_a_sweep_is_begun_where_a_run_is(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    assert "A sweep: vary options" in pages.get("/p/intents/runs/new/").content.decode()
    sent = form_of(pages, taught)
    assert (sent["low.training.learning_rate"], sent["high.training.learning_rate"]) == (
        "0.001",
        "0.1",
    )
    sent["vary"] = ["training.learning_rate", "losses.0.temperature", "training.schedule"]
    sent |= {"values.losses.0.temperature": "1, 2, 4.5", "trials": "5", "name": "Mine"}
    sent["log.training.learning_rate"] = "true"
    sent["choose.training.schedule"] = ["cosine", "constant"]
    for _ in range(2):  # a double click is one sweep
        answer = pages.post("/p/intents/sweeps/new/", sent)
        assert answer.status_code == 302, answer.content.decode()
    study = Study.objects.get()
    assert answer.headers["Location"] == f"/p/intents/studies/{study.number}/"
    assert (study.name, study.asked["trials"]) == ("Mine", 5)
    assert study.asked["space"] == {
        "losses.0.temperature": {"values": [1, 2, 4.5]},
        "training.learning_rate": {
            "low": 0.001, "high": 0.1, "log": True, "step": None, "type": "float",
        },
        "training.schedule": {"values": ["cosine", "constant"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "teachers"), [(True, ["big@1"]), (False, ["big@1"]), (True, [])]
)
def test_the_control_is_searched_for_where_the_run_would_have_had_one(
    pages: Client, project: Project, taught: dict[str, Any], wanted: bool, teachers: list[str]
) -> None:
    base = taught | {"control": wanted, "teachers": teachers}
    if not teachers:
        base["losses"] = [{"kind": "hard_labels"}]
    assert ("control" in form_of(pages, base)) == (wanted and bool(teachers))


def test_what_a_sweep_found_is_swept_around_in_numbers_that_one_can_read(
    pages: Client, taught: dict[str, Any]
) -> None:
    found = taught | {"losses": [{"kind": "soft_targets", "temperature": 3.0832187396920974}]}
    sent = form_of(pages, found)
    assert (sent["low.losses.0.temperature"], sent["high.losses.0.temperature"]) == (
        "1.233",
        "7.708",
    )


def test_faults_stand_at_their_options_and_what_was_typed_stays(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    sent = form_of(pages, taught)
    sent |= {"vary": ["training.epochs"], "low.training.epochs": "9", "high.training.epochs": "2"}
    shown = pages.post("/p/intents/sweeps/new/", sent | {"at_once": "none"}).content.decode()
    assert "It must be a whole number from 1 to 32." in shown
    answer = pages.post("/p/intents/sweeps/new/", sent)
    assert "low must be less than high." in answer.content.decode()
    again = inputs(answer)
    assert (again["low.training.epochs"], again["high.training.epochs"]) == ("9", "2")
    assert not Study.objects.exists()
    nothing = pages.post("/p/intents/sweeps/new/", sent | {"vary": []}).content.decode()
    assert "1 to 12 options" in nothing


def test_a_sweep_may_begin_at_a_run_and_never_at_nothing(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    run = launching.launch(project=project, configuration=taught, by=project.created_by)
    shown = pages.get(f"/p/intents/sweeps/new/?run={run.number}").content.decode()
    assert "What is varied" in shown
    for address in ("", "?run=x"):
        assert pages.get(f"/p/intents/sweeps/new/{address}").status_code == 302
    for base in ("", "[]", "{", "x" * 300_000):
        assert pages.post("/p/intents/sweeps/new/", {"base": base}).status_code == 302
    assert not Study.objects.exists()


def test_a_fault_of_the_run_is_told_before_anything_is_varied(
    pages: Client, taught: dict[str, Any]
) -> None:
    wrong = taught | {"losses": [{"kind": "soft_targets", "temperature": -1}]}
    sent = {"mode": "yaml", "yaml": yaml.safe_dump(wrong), "repeat": "sweep", "action": "launch"}
    shown = pages.post("/p/intents/runs/new/", sent).content.decode()
    assert "losses.0.temperature" in shown
    assert "What is varied" not in shown


# The runs of a sweep -----------------------------------------------------------------------------


def test_a_pruned_run_says_so_plainly_and_a_trial_that_its_test_rows_are_left_alone(
    pages: Client, project: Project, taught: dict[str, Any]
) -> None:
    study = launch(project, taught, trials=1)
    trial = study.trials.select_related("run").get()
    told = {"code": "pruned", "detail": "Pruned after 2 epochs: it is behind."}
    end(trial, None, "cancelled", error=told)
    assert trial.run is not None
    at = f"/p/intents/runs/{trial.run.number}/"
    shown = pages.get(at).content.decode()
    assert "Pruned after 2 epochs: it is behind." in shown
    assert "What to try" not in shown
    for tab in ("evaluation", "rows"):
        assert "Test rows are left alone" in pages.get(f"{at}?tab={tab}").content.decode()

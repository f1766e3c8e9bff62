"""The table of runs as people lay it out: columns, groups, a pinned run, filters, files, views."""

import csv
import io
from typing import Any

import pytest
from django.urls import reverse

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Run, SavedView
from training.services import metrics
from training.services.metrics import Measured


def table(user: User, project: Project, **asked: Any) -> Any:
    response = signed_in(user).get(reverse("training:run_list", args=[project.slug]), asked)
    assert response.status_code == 200, response.content
    return response.context["table"]


def numbers(shown: Any) -> list[int]:
    return [row.run.number for row in shown.rows]


@pytest.fixture
def runs(project: Project) -> list[Run]:
    """Three of one dataset that differ in temperature, F1 and learning rate, and a tracked one."""
    first = make.distillation(project)
    made = []
    for place, (temperature, f1) in enumerate(((2.0, 0.5), (8.0, 0.7), (4.0, None))):
        run = make.run(
            project,
            name=f"=run {place}",
            dataset_version=first.dataset_version,
            student=first.student,
            status="finished",
        )
        run.config |= {
            "losses": [
                {"kind": "hard_labels", "weight": 0.1},
                {"kind": "soft_targets", "weight": 0.9, "temperature": temperature},
            ],
            "training": run.config["training"] | {"learning_rate": 0.1 / (place + 1)},
        }
        if f1 is not None:
            run.metrics = metrics.append(run, [Measured("val/macro_f1", 1, f1, 0.0)])
        run.save()
        made.append(run)
    elsewhere = make.tracked(project, config={"params": {"lr": 0.5}})
    return [*made, elsewhere]


def test_any_metric_and_any_setting_can_be_a_column_and_an_order(
    vera: User, project: Project, runs: list[Run]
) -> None:
    two, eight, four, elsewhere = (run.number for run in runs)
    field = "config.losses.soft_targets.temperature"
    shown = table(vera, project, show=["score", "metrics.val/macro_f1", field], order=f"-{field}")
    assert shown.show == ["score"]
    assert [label for _, label in shown.fields] == [
        "macro F1, validation", "soft targets temperature"
    ]  # fmt: skip
    assert numbers(shown)[:1] == [eight]
    by_number = {row.run.number: row.fields for row in shown.rows}
    assert by_number[eight] == [0.7, 8.0]
    assert by_number[elsewhere] == [None, None]
    ranked = numbers(table(vera, project, order="-metrics.val/macro_f1"))
    assert ranked[:2] == [eight, two]
    assert numbers(table(vera, project, order="params.lr"))[0] == elsewhere
    assert numbers(table(vera, project, order="config.training.learning_rate"))[0] == four


@pytest.mark.parametrize(
    "asked", [{"order": "config.__class__"}, {"group": "metrics.val/loss"}, {"group": "x"}]
)
def test_what_cannot_be_sorted_or_grouped_by_is_400(
    vera: User, project: Project, runs: list[Run], asked: dict[str, str]
) -> None:
    url = reverse("training:run_list", args=[project.slug])
    assert signed_in(vera).get(url, asked).status_code == 400


def test_runs_are_told_against_the_pinned_one_which_stands_first(
    vera: User, project: Project, runs: list[Run]
) -> None:
    two, eight, *_ = (run.number for run in runs)
    shown = table(vera, project, pin=two, show="metrics.val/macro_f1", q="run")
    assert numbers(shown)[0] == two
    assert numbers(shown).count(two) == 1
    apart = {row.run.number: row.apart for row in shown.rows}
    assert apart[eight] == {"metrics.val/macro_f1": "+20.0"}
    assert apart[two] == {}
    hidden = table(vera, project, pin=two, status="failed")
    assert numbers(hidden) == [two]


@pytest.mark.parametrize("by", ["dataset", "student", "status", "task", "study", "by"])
def test_groups_hold_together_and_are_counted_over_all_pages(
    vera: User, project: Project, runs: list[Run], by: str
) -> None:
    shown = table(vera, project, group=by)
    begun = [row.group for row in shown.rows if row.group]
    assert len({group.name for group in begun}) == len(begun)
    assert sum(group.count for group in begun) == project.runs.count()


def test_groups_of_a_setting_tell_their_mean_score(
    vera: User, project: Project, runs: list[Run]
) -> None:
    for run, value in zip(runs[:2], (0.4, 0.8), strict=True):
        metrics.append(run, [Measured("test/accuracy", 1, value, 0.0)])
        run.config |= {"scheme": "born_again"}
        run.save()
    shown = table(vera, project, group="config.scheme")
    means = {row.group.name: row.group for row in shown.rows if row.group}
    assert means["born_again"].count == 2
    assert means["born_again"].mean == pytest.approx(0.6)
    assert means["none"].count == 1  # the tracked run has none


def test_the_table_is_filtered_by_an_expression_and_says_what_is_wrong_with_it(
    vera: User, project: Project, runs: list[Run]
) -> None:
    _, eight, *_ = (run.number for run in runs)
    asked = "metrics.val/macro_f1 > 0.6 and config.losses.soft_targets.temperature = 8"
    assert numbers(table(vera, project, filter=asked)) == [eight]
    wrong = table(vera, project, filter="metrics.val/macro_f1 >")
    assert wrong.rows == []
    assert "It ends where" in wrong.refused


@pytest.mark.parametrize(
    "asked",
    [
        {"pin": "1", "group": "dataset"},
        {"filter": "number > 0", "group": "config.scheme", "pin": "2"},
        {"show": ["metrics.val/accuracy", "config.training.learning_rate"]},
    ],
)
def test_a_table_that_is_laid_out_costs_little_more(
    vera: User, project: Project, django_assert_max_num_queries: Any, asked: dict[str, Any]
) -> None:
    for _ in range(8):
        make.distillation(project)
    client, url = signed_in(vera), reverse("training:run_list", args=[project.slug])
    with django_assert_max_num_queries(14):
        assert client.get(url, asked).status_code == 200


# Files ------------------------------------------------------------------------------------------


def rows_of(user: User, project: Project, **asked: Any) -> list[dict[str, str]]:
    response = signed_in(user).get(reverse("training:run_csv", args=[project.slug]), asked)
    assert response.status_code == 200
    assert "attachment" in response.headers["Content-Disposition"]
    text = b"".join(response).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_as_a_file_has_every_run_and_no_formula(
    vera: User, project: Project, runs: list[Run]
) -> None:
    found = rows_of(vera, project, order="number")
    assert [int(row["number"]) for row in found] == [
        run.number for run in project.runs.order_by("number")
    ]
    assert found[0]["verdict"] == "helped"
    assert {row["name"] for row in found} >= {"'=run 0", "'=run 1"}
    assert found[2]["config.losses.soft_targets.temperature"] == "2.0"
    assert found[-1]["params.lr"] == "0.5"


def test_a_file_holds_what_the_address_asks_for(
    vera: User, project: Project, runs: list[Run]
) -> None:
    field = "metrics.val/macro_f1"
    found = rows_of(vera, project, filter=f"{field} > 0.4", order=f"-{field}", show=field)
    assert [row[field] for row in found] == ["0.7", "0.5"]
    assert not any(name.startswith("config.") for name in found[0])
    chosen = rows_of(vera, project, runs=f"{runs[1].number},{runs[0].number}")
    assert [int(row["number"]) for row in chosen] == [runs[1].number, runs[0].number]
    assert rows_of(vera, project, q="nothing like this") == []


# Saved views --------------------------------------------------------------------------------------


def test_a_view_is_saved_by_name_shared_and_deleted(
    erin: User, vera: User, project: Project, runs: list[Run]
) -> None:
    client = signed_in(erin)
    save = reverse("training:view_save", args=[project.slug])
    query = "filter=number+%3E+1&page=3&group=dataset"
    response = client.post(save, {"name": "Mine", "query": query})
    address = reverse("training:run_list", args=[project.slug])
    assert response.headers["Location"] == f"{address}?filter=number+%3E+1&group=dataset"
    shown = signed_in(vera).get(address).content.decode()
    assert f'href="{address}?filter=number+%3E+1&amp;group=dataset"' in shown
    again = client.post(save, {"name": "Mine", "query": "q=x"}, follow=True)
    assert "There is a view Mine already" in again.content.decode()
    view = SavedView.objects.get()
    client.post(reverse("training:view_delete", args=[project.slug, view.pk]))
    assert not SavedView.objects.exists()


def test_views_through_rest(erin: User, vera: User, alice: User, project: Project) -> None:
    address = f"/api/v1/projects/{project.slug}/views/"
    api = api_of(erin)
    made = api.post(address, {"name": "Best", "page": "compare", "query": "?runs=1,2"})
    assert made.status_code == 201, made.content
    assert made.json()["query"] == "runs=1%2C2"
    assert api.post(address, {"name": "Best", "query": "q=x"}).status_code == 201  # of runs
    assert api.post(address, {"name": "Best", "query": "q=y"}).status_code == 409
    assert api.post(address, {"name": " ", "query": ""}).status_code == 400
    assert api.post(address, {"name": "x", "query": "y" * 5000}).status_code == 400
    assert [one["name"] for one in api_of(vera).get(address, {"page": "runs"}).json()] == ["Best"]
    one = f"{address}{made.json()['id']}/"
    assert api_of(vera).get(one).json()["created_by"] == "erin"
    assert api_of(vera).delete(one).status_code == 403
    other = make.project(owner=alice)
    elsewhere = f"/api/v1/projects/{other.slug}/views/{made.json()['id']}/"
    assert api_of(alice).get(elsewhere).status_code == 404
    assert api.delete(one).status_code == 204

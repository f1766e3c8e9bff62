"""Reports: drafted from facts, read as Markdown in which nothing runs, with live parts that are
what their project holds; and links for people without an account that can be ended."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.test_run_pages import evaluated
from training.models import Report, Run, Study
from training.services import reports
from training.views import report_parts


@pytest.fixture
def run(project: Project) -> Run:
    return make.distillation(project)


@pytest.fixture
def study(project: Project, run: Run) -> Study:
    made = Study.objects.create(
        project=project,
        number=1,
        kind="seeds",
        name="Is it sure?",
        asked={"base": run.config, "seeds": [0, 1]},
        status="finished",
        report={"verdict": run.comparison, "comparisons": []},
        created_by=run.created_by,
    )
    Run.objects.filter(pk=run.pk).update(study=made, arm="distilled")
    run.controls.update(study=made, arm="control")
    return made


def at(project: Project, rest: str = "") -> str:
    return f"/api/v1/projects/{project.slug}/reports/{rest}"


def kinds(project: Project, body: str) -> list[str]:
    return [part["kind"] for part in report_parts.parts(project, body)]


# Written -----------------------------------------------------------------------------------------


def test_a_report_of_a_study_begins_with_its_question_set_up_verdict_and_cost(
    study: Study, erin: User
) -> None:
    answer = api_of(erin).post(at(study.project), {"study": 1})
    assert answer.status_code == 201, answer.json()
    told = answer.json()
    assert (told["number"], told["title"], told["study"]) == (1, "Is it sure?", 1)
    assert re.findall(r"^## (.*)$", told["body"], re.M) == [
        "Question", "Set-up", "Verdict", "Results", "Cost", "Worth it?",
    ]  # fmt: skip
    assert "0.9 × soft targets at temperature 4" in told["body"]
    found = report_parts.parts(study.project, told["body"])
    assert [one["kind"] for one in found if one["kind"] != "markdown"] == [
        "verdict", "table", "chart", "cost", "chart", "cost", "chart",
    ]  # fmt: skip


def test_a_report_of_strategies_says_which_way_is_best_and_what_each_took_in_all(
    study: Study, erin: User
) -> None:
    said = {"best": "control", "sentences": ["On validation rows labels alone are best."]}
    study.kind, study.report = "strategies", {**(study.report or {}), "conclusion": said}
    study.save()
    for run in study.runs.all():
        spent = {
            one: {"seconds": took, "energy_wh": 1.0, "cost": None}
            for one, took in (("training", 740.0), ("asking", 14.0), ("evaluating", 90.0))
        }
        run.summary |= {"spent": spent}
        run.save()
    body = "{{ verdict: study 1 }}\n\n{{ table: study 1 }}\n"
    assert kinds(study.project, body) == ["conclusion", "verdict", "table"]
    made = reports.create(project=study.project, title="Ways", body=body, by=erin)
    page = signed_in(erin).get(f"/p/{study.project.slug}/reports/{made.number}/")
    shown = page.content.decode()
    assert "On validation rows labels alone are best." in shown
    assert "12 m 34 s" in shown  # asking and training a teacher counted in


def test_a_report_of_a_run_holds_its_charts(run: Run, erin: User) -> None:
    api_of(erin).post(at(run.project), {"run": run.number})
    found = report_parts.parts(run.project, Report.objects.get().body)
    titles = [one["title"] for one in found if one["kind"] == "chart"]
    assert titles[:2] == ["Validation accuracy", "Loss"]
    page = signed_in(erin).get(f"/p/{run.project.slug}/reports/1/").content.decode()
    assert "Distilling helped" in page
    assert page.count("data-chart-area") == len(titles)
    assert "paid back after" in page


def test_reports_are_changed_and_listed_and_deleted(
    project: Project, erin: User, alice: User
) -> None:
    client = api_of(erin)
    for number in (1, 2):
        made = client.post(at(project), {"title": f"Report {number}", "body": "*text*"})
        assert made.json()["number"] == number
    changed = client.patch(at(project, "1/"), {"body": "other"})
    assert (changed.json()["title"], changed.json()["body"]) == ("Report 1", "other")
    told = client.get(at(project)).json()["results"]
    assert [one["number"] for one in told] == [2, 1]
    assert "body" not in told[0]
    assert client.delete(at(project, "1/")).status_code == 403
    assert api_of(alice).delete(at(project, "1/")).status_code == 204
    assert client.get(at(project, "1/")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "field"), [({"title": " ", "body": ""}, "title"), ({"title": "x" * 201}, "title")]
)
def test_what_is_no_report_is_refused_at_its_field(
    project: Project, erin: User, asked: dict[str, Any], field: str
) -> None:
    answer = api_of(erin).post(at(project), {"body": "", **asked})
    assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


def test_the_editor_writes_previews_and_keeps_what_was_refused(study: Study, erin: User) -> None:
    pages, here = signed_in(erin), f"/p/{study.project.slug}/reports/"
    assert "Write a report" in pages.get(here).content.decode()
    form = pages.get(f"{here}new/?study=1").content.decode()
    assert "verdict: study 1" in form
    seen = pages.post(f"{here}preview/", {"body": "# Hello\n\n{{ verdict: study 1 }}"})
    assert "<h2>Hello</h2>" in seen.content.decode()
    assert "Distilling helped" in seen.content.decode()
    refused = pages.post(f"{here}new/", {"title": " ", "body": "my words"})
    assert refused.status_code == 400
    assert "my words" in refused.content.decode()
    kept = pages.post(f"{here}new/", {"title": "Mine", "body": "words", "study": "1"})
    assert kept["Location"] == f"{here}1/"
    assert Report.objects.get().study == study
    pages.post(f"{here}1/edit/", {"title": "Ours", "body": "better"})
    assert "Ours" in pages.get(here).content.decode()
    assert pages.get(f"{here}new/?study=99").status_code == 404


# Read --------------------------------------------------------------------------------------------


def test_live_lines_are_drawn_and_others_are_text(run: Run) -> None:
    body = f"""Before {{{{ chart: run 1 }}}} in a line.

{{{{ chart: run {run.number} loss }}}}
{{{{verdict:run {run.number}}}}}

```
{{{{ chart: run 1 }}}}
```
"""
    assert kinds(run.project, body) == ["markdown", "chart", "verdict", "markdown"]
    first, _, _, last = report_parts.parts(run.project, body)
    assert "{{ chart: run 1 }}" in first["html"]
    assert "<code>{{ chart: run 1 }}" in last["html"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{{ chart: run 99 loss }}", "There is no run 99"),
        ("{{ chart: run 1 beauty }}", "There is no such chart; there are loss, accuracy"),
        ("{{ picture: run 1 }}", "There is no such part; there are chart, table"),
        ("{{ table: everything }}", "It is about"),
        ("{{ pareto: nothing@1 }}", "nothing"),
        ("{{ pareto: nothing@1 x=beauty }}", "x: It must be one of"),
        ("{{ verdict: run 2 }}", "There is no verdict."),
        ("{{ cost: study 5 }}", "There is no study 5"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_a_sentence_in_its_place(
    run: Run, erin: User, line: str, said: str
) -> None:
    (part,) = report_parts.parts(run.project, line)
    assert part["kind"] == "fault"
    assert said in part["text"]
    reports.create(project=run.project, title="odd", body=line, by=erin)
    assert signed_in(erin).get(f"/p/{run.project.slug}/reports/1/").status_code == 200


def test_what_test_rows_said_is_drawn_too(run: Run, tmp_path: Path) -> None:
    evaluated(run, tmp_path)
    for name, title in (("confusion", "Confusion"), ("per_class", "F1 per class")):
        (part,) = report_parts.parts(run.project, f"{{{{ chart: run {run.number} {name} }}}}")
        assert part["title"] == title


def test_a_report_shows_nothing_of_another_project(run: Run, erin: User) -> None:
    other = make.project("elsewhere", owner=erin)
    assert kinds(other, f"{{{{ chart: run {run.number} loss }}}}") == ["fault"]
    assert kinds(other, f"{{{{ pareto: {run.data.reference} }}}}") == ["fault"]


def test_a_report_draws_few_trade_offs_and_each_line_once(run: Run) -> None:
    reference = run.dataset_version.reference  # type: ignore[union-attr]
    line = f"{{{{ pareto: {reference} }}}}\n"
    with CaptureQueriesContext(connection) as once:
        shown = report_parts.parts(run.project, line)
    with CaptureQueriesContext(connection) as often:
        assert report_parts.parts(run.project, line * 30) == shown * 30
    assert len(often) <= len(once)
    others = "".join(f"{{{{ pareto: {reference} price_per_hour={at} }}}}\n" for at in range(1, 9))
    told = [one.get("text", "") for one in report_parts.parts(run.project, line + others)]
    assert sum("at most 4 different trade-offs" in one for one in told) == 5


def test_a_report_draws_no_more_than_a_page_can_hold(run: Run) -> None:
    body = "\n".join(["{{ cost: run 1 }}"] * 45)
    assert kinds(run.project, body) == ["cost"] * 40 + ["fault"] * 5


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        '{{ chart: run 1 "><script>alert(1)</script> }}',
        "{{ <script>alert(1)</script>: run 1 }}",
    ],
)
def test_nothing_in_a_report_runs(run: Run, erin: User, body: str) -> None:
    reports.create(project=run.project, title="<script>alert(1)</script>", body=body, by=erin)
    page = signed_in(erin).get(f"/p/{run.project.slug}/reports/1/").content.decode()
    assert "<script>alert" not in page
    assert 'href="javascript' not in page


def test_a_page_of_a_report_stays_within_its_queries(
    study: Study, vera: User, erin: User, django_assert_max_num_queries: Any
) -> None:
    reports.create(project=study.project, study=1, by=erin)
    pages = signed_in(vera)
    with django_assert_max_num_queries(40):  # seven live parts of three to six each
        assert pages.get(f"/p/{study.project.slug}/reports/1/").status_code == 200
    with django_assert_max_num_queries(12):
        pages.get(f"/p/{study.project.slug}/reports/")


# Shared ------------------------------------------------------------------------------------------


@pytest.fixture
def link(study: Study, alice: User) -> str:
    reports.create(project=study.project, study=1, by=alice)
    answer = api_of(alice).post(at(study.project, "1/share/"))
    return str(answer.json()["link"]).partition("testserver")[2]


def test_anybody_with_the_link_reads_the_report_and_nothing_else(link: str, study: Study) -> None:
    answer = Client().get(link)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Distilling helped" in page
    assert "data-chart-area" in page
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer.headers["Cache-Control"]
    inside = re.findall(r'(?:href|src|action)="([^"]+)"', page)
    assert [one for one in inside if not one.startswith(("/static/", "#"))] == []
    assert study.project.slug not in page
    assert "csrf" not in page


def test_the_secret_of_a_link_is_stored_nowhere(link: str) -> None:
    report = Report.objects.get()
    secret = link.rstrip("/").rpartition("/")[2]
    assert len(secret) >= 43  # 256 bits
    assert secret not in str(vars(report))


def test_a_link_ends_when_its_owner_says_so(link: str, study: Study, alice: User) -> None:
    again = api_of(alice).post(at(study.project, "1/share/")).json()["link"]
    assert Client().get(link).status_code == 404
    newer = again.partition("testserver")[2]
    assert Client().get(newer).status_code == 200
    assert api_of(alice).delete(at(study.project, "1/share/")).status_code == 204
    assert Client().get(newer).status_code == 404
    assert api_of(alice).get(at(study.project, "1/")).json()["is_shared"] is False


def test_a_link_ends_with_its_report_and_rests_with_an_archived_project(
    link: str, study: Study
) -> None:
    Project.objects.update(archived_at="2026-01-01T00:00:00Z")
    assert Client().get(link).status_code == 404
    Project.objects.update(archived_at=None)
    assert Client().get(link).status_code == 200
    Report.objects.all().delete()
    assert Client().get(link).status_code == 404


def test_only_an_owner_shares_and_sees_the_link_once(study: Study, erin: User, alice: User) -> None:
    reports.create(project=study.project, study=1, by=erin)
    here = f"/p/{study.project.slug}/reports/1/"
    assert signed_in(erin).post(f"{here}share/").status_code == 403
    pages = signed_in(alice)
    told = pages.post(f"{here}share/", follow=True).content.decode()
    (address,) = re.findall(r"http://testserver(/shared/reports/[^<]+/)", told)
    assert Client().get(address).status_code == 200
    assert "/shared/reports/" not in pages.get(here).content.decode()
    pages.post(f"{here}unshare/")
    assert Client().get(address).status_code == 404
